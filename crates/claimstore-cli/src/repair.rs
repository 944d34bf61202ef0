//! Decisions about one key that stands in the way: the part that `release`, `complete`, `fail`, `requeue` and
//! `forget` share.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use claimstore::{ErrorKind, Failure as Ending, Note, Record, RecordState, Review, Store};
use clap::Args;
use serde_json::json;

use crate::args::StoreArgs;
use crate::confirm::ConfirmArgs;
use crate::exit::{Exit, Failure};
use crate::print;
use crate::show::{key_hash, key_name, state_name};
use crate::store;
use crate::target::{KeyArgs, namespace, not_found};

/// What every decision takes.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    #[command(flatten)]
    pub(crate) key: KeyArgs,

    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,

    /// One JSON object, with names that stay.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The work of a parked or orphaned key has an outcome: the part that `complete` and `fail` share.
#[derive(Debug, Args)]
pub(crate) struct OutcomeArgs {
    #[command(flatten)]
    repair: RepairArgs,

    /// The response that duplicates are given [default: empty].
    #[arg(long, value_name = "TEXT", conflicts_with = "response_file")]
    response: Option<String>,

    /// A file with that response.
    #[arg(long, value_name = "FILE")]
    response_file: Option<PathBuf>,
}

impl OutcomeArgs {
    /// Ends the key by the review that `outcome` makes of the response.
    pub(crate) fn decide(
        &self,
        outcome: impl FnOnce(Vec<u8>) -> Review,
        verb: &str,
        done: &str,
    ) -> anyhow::Result<Exit> {
        let response = match (&self.response, &self.response_file) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(file)) => fs::read(file).with_context(|| format!("reading {}", file.display()))?,
            (None, None) => Vec::new(),
        };
        self.repair.decide(From::Stuck, &outcome(response), verb, done)
    }
}

/// From which states a decision may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// Held for review.
    Parked,
    /// Nobody stands behind the claim.
    Orphaned,
    /// Either.
    Stuck,
}

impl From {
    fn takes(self, state: RecordState) -> bool {
        match state {
            RecordState::Parked => self != From::Orphaned,
            // In progress: the store says whether somebody stands behind it.
            RecordState::Orphaned | RecordState::InProgress => self != From::Parked,
            _ => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            From::Parked => "parked",
            From::Orphaned => "orphaned",
            From::Stuck => "parked or orphaned",
        }
    }
}

impl RepairArgs {
    /// Ends a parked or orphaned key by `review`. `verb` names it in the question, `done` in the answer.
    pub(crate) fn decide(&self, from: From, review: &Review, verb: &str, done: &str) -> anyhow::Result<Exit> {
        let store = store::open_existing(&self.store)?;
        let record = self.key.find(&store)?;
        if !from.takes(record.state()) {
            let state = state_name(record.state());
            let message = format!("the key {} is {state}, not {}", key_name(record.key()), from.name());
            return Err(Failure::new(Exit::WrongState, message).into());
        }
        self.ask(verb, &record)?;
        let note = self.confirm.note();
        let parked = park(&store, record, &note, &self.key)?;
        store.review(&parked, review, &note).context("deciding about the key")?;
        self.finish(store, parked.key(), done)
    }

    /// Makes the key unknown, whatever it is; one that somebody may be working on only if `force` says so.
    pub(crate) fn forget(&self, force: bool) -> anyhow::Result<Exit> {
        let store = store::open_existing(&self.store)?;
        let record = self.key.find(&store)?;
        if record.state() == RecordState::InProgress && !force {
            return Err(held(&record).into());
        }
        self.ask("forget, so that its work may be done again,", &record)?;
        if record.state() == RecordState::Parked {
            store.review(&record, &Review::Forget, &self.confirm.note()).context("forgetting the key")?;
        } else {
            let namespace = namespace(&store, &self.key.namespace)?;
            namespace.forget(record.key()).context("forgetting the key")?;
        }
        self.finish(store, record.key(), "forgotten")
    }

    fn ask(&self, verb: &str, record: &Record) -> anyhow::Result<()> {
        let (state, key) = (state_name(record.state()), key_name(record.key()));
        self.confirm.ask(&format!("{verb} the key {key}, which is {state}"))
    }

    fn finish(&self, store: Store, key: &[u8], done: &str) -> anyhow::Result<Exit> {
        store.close().context("closing the store")?;
        if self.json {
            let object = json!({
                "key_hash": key_hash(key),
                "key_bytes": key.len(),
                "namespace": self.key.namespace,
                "done": done,
            });
            return print::json(&object);
        }
        print::text(&format!("{} {done}\n", key_name(key)))
    }
}

/// Parks an orphan, so that what follows is a review, which keeps who decided and why. A crash in between leaves the
/// key parked, where it can be found and decided about again.
fn park(store: &Store, record: Record, note: &Note, key: &KeyArgs) -> anyhow::Result<Record> {
    if record.state() == RecordState::Parked {
        return Ok(record);
    }
    let parking = Ending::park(note.why());
    let verdicts = store.fail_orphans(&[(record.clone(), parking)]).context("taking the claim over")?;
    for verdict in verdicts {
        match verdict {
            Err(error) if error.kind() == ErrorKind::StaleLease => return Err(held(&record).into()),
            verdict => verdict.context("taking the claim over")?,
        }
    }
    let parked = key.find(store)?;
    if parked.state() == RecordState::Parked { Ok(parked) } else { Err(not_found(record.key()).into()) }
}

/// A claim with a holder that is trusted: only time, or the holder, ends it.
fn held(record: &Record) -> Failure {
    let key = key_name(record.key());
    Failure::new(Exit::Busy, format!("the key {key} is in progress, and its holder is still trusted with it"))
}
