//! `claimstore explain`: one key, how it came to be as it is, and what a claim of it would be answered.

use claimstore::{Record, RecordState};
use clap::Args;
use serde_json::Value;

use crate::exit::Exit;
use crate::look::LookArgs;
use crate::print;

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
        let (record, now) = self.look.record()?;
        let show = self.look.show;
        if show.json {
            return print::json(&self.json(&record));
        }
        let mut text = show.lines(&record, now) + "\n" + &print::wrapped(meaning(record.state()), 0);
        let history = record.history();
        if !history.is_empty() {
            text.push_str("\nhistory, oldest first:\n");
            history.iter().for_each(|past| text.push_str(&print::wrapped(&show.past_line(past), 4)));
        }
        print::text(&text)
    }

    fn json(&self, record: &Record) -> Value {
        let mut object = self.look.show.record(record);
        if let Some(members) = object.as_object_mut() {
            let history = record.history().iter().map(|past| self.look.show.past(past)).collect();
            members.insert("history".into(), Value::Array(history));
            members.insert("meaning".into(), meaning(record.state()).into());
        }
        object
    }
}

/// What the state means for whoever claims the key next, and what can be done.
fn meaning(state: RecordState) -> &'static str {
    match state {
        RecordState::Completed => {
            "Done: a claim is answered Duplicate, with the stored response, until it expires."
        }
        RecordState::Failed => {
            "Failed for good: a claim is answered Duplicate, as a failure, until it expires. `forget` lets it be done again."
        }
        RecordState::Retry => "Not done: a claim is granted from the time of the retry on.",
        RecordState::Parked => {
            "Held for review: claims are refused until `requeue`, `complete`, `fail` or `forget` decides."
        }
        RecordState::Orphaned => {
            "Nobody stands behind the claim: the next claim is answered as the namespace's rule for orphans says. \
             `release`, `complete`, `fail` or `forget` decides now."
        }
        _ => "In progress: claims are answered InProgress until the holder settles it or its time is over.",
    }
}
