//! `claimstore explain`: one key, how it came to be as it is, and what a claim of it would be answered.

use std::fmt::Write as _;

use anyhow::Context as _;
use claimstore::{Record, RecordState};
use clap::Args;
use serde_json::Value;

use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::show::ShowArgs;
use crate::target::KeyArgs;
use crate::{print, store};

/// Shows one key with its history, the last 16 entries, and what a claim of it would be answered.
///
/// Exit codes: 0 shown; 1 no such key or namespace; 64 usage; 65 the store is damaged; 66 no store; 74 reading failed;
/// 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    show: ShowArgs,
}

impl Explain {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let store = store::open_existing(&self.store)?;
        let (record, now) = (self.key.find(&store)?, store.store_time());
        store.close().context("closing the store")?;
        if self.show.json {
            return print::json(&self.json(&record));
        }
        let mut text = self.show.lines(&record, now);
        let _ = write!(text, "\n{}\n", meaning(record.state()));
        let history = record.history();
        if !history.is_empty() {
            text.push_str("\nhistory, oldest first:\n");
            history.iter().for_each(|past| text.push_str(&self.show.past_line(past)));
        }
        print::text(&text)
    }

    fn json(&self, record: &Record) -> Value {
        let mut object = self.show.record(record);
        if let Some(members) = object.as_object_mut() {
            let history = record.history().iter().map(|past| self.show.past(past)).collect();
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
