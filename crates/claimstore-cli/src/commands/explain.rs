//! `claimstore explain`: one key, how it came to be as it is, and what a claim of it would be answered.

use claimstore_admin::{RecordView, State};
use clap::Args;
use serde_json::Value;

use crate::exit::Exit;
use crate::look::LookArgs;
use crate::{print, show};

/// Shows one key with its history, the last 16 entries, and what a claim of it would be answered.
///
/// Exit codes: 0 shown; 1 no such key or namespace; 64 usage; 65 the store is damaged; 66 no store; 74 reading failed;
/// 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    look: LookArgs,
}

impl Explain {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let (record, now) = self.look.record(true)?;
        if self.look.show.json {
            return print::json(&json(&record)?);
        }
        let mut text = show::lines(&record, now) + "\n" + &print::wrapped(meaning(record.state), 0);
        let history = record.history.as_deref().unwrap_or_default();
        if !history.is_empty() {
            text.push_str("\nhistory, oldest first:\n");
            history.iter().for_each(|past| text.push_str(&print::wrapped(&show::past_line(past), 4)));
        }
        print::text(&text)
    }
}

fn json(record: &RecordView) -> serde_json::Result<Value> {
    let mut object = serde_json::to_value(record)?;
    if let Some(members) = object.as_object_mut() {
        members.insert("meaning".into(), meaning(record.state).into());
    }
    Ok(object)
}

/// What the state means for whoever claims the key next, and what can be done.
fn meaning(state: State) -> &'static str {
    match state {
        State::Completed => {
            "Done: a claim is answered Duplicate, with the stored response, until it expires."
        }
        State::Failed => {
            "Failed for good: a claim is answered Duplicate, as a failure, until it expires. `forget` lets it be done again."
        }
        State::Retry => "Not done: a claim is granted from the time of the retry on.",
        State::Parked => {
            "Held for review: claims are refused until `requeue`, `complete`, `fail` or `forget` decides."
        }
        State::Orphaned => {
            "Nobody stands behind the claim: the next claim is answered as the namespace's rule for orphans says. \
             `release`, `complete`, `fail` or `forget` decides now."
        }
        State::InProgress => {
            "In progress: claims are answered InProgress until the holder settles it or its time is over."
        }
    }
}
