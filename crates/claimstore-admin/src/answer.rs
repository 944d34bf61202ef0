//! Answers to requests, within the process. Used by the socket for a live store, and by the command for a closed one.

use crate::ask::{Request, Show, VERSION};
use crate::decide::decide;
use crate::decision::Verdict;
use crate::export::Page;
use crate::label::{KeyLabel, resolve};
use crate::live::{Live, Numbers};
use crate::page;
use crate::view::{PolicyView, RecordView, ms};
use claimstore::{ErrorKind, Filter, Namespace, RecordState, Store};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};
use std::path::Path;
use std::{fs, io};

/// An answer, or a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Answer {
    /// To [`Request::Hello`].
    Hello {
        /// The version of the protocol.
        protocol: u32,
        /// Whether decisions are allowed.
        decisions: bool,
    },
    /// To [`Request::Stats`].
    Stats {
        /// The numbers.
        stats: Box<Numbers>,
    },
    /// To [`Request::Live`].
    Live {
        /// What the store is doing.
        live: Box<Live>,
    },
    /// To [`Request::Get`].
    Record {
        /// The record.
        record: Box<RecordView>,
        /// Store time of the answer.
        store_time_ms: u64,
    },
    /// To [`Request::List`].
    Records {
        /// The page.
        records: Vec<RecordView>,
        /// The cursor of the next page, if there is one.
        next: Option<String>,
        /// Store time of the answer.
        store_time_ms: u64,
    },
    /// To [`Request::Policies`].
    Policies {
        /// By the numbers of namespaces.
        policies: Vec<PolicyView>,
    },
    /// To [`Request::Checkpoint`]: the runs as they are after it.
    Checkpointed {
        /// How many.
        runs: u64,
        /// Rows in them.
        run_rows: u64,
        /// Bytes of them.
        run_bytes: u64,
    },
    /// To [`Request::Prune`]: the files that were removed, or would be.
    Pruned {
        /// Records, tombstones included.
        records: u64,
        /// Run files.
        runs: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// To [`Request::Decide`].
    Decided {
        /// One for each target, in their order.
        verdicts: Vec<Verdict>,
    },
    /// To [`Request::SetPolicy`].
    PolicySet {
        /// The rules from now on.
        policy: PolicyView,
        /// Whether the namespace was created.
        made: bool,
    },
    /// To [`Request::Backup`].
    BackedUp {
        /// How many rows are in the copy.
        rows: u64,
    },
    /// To [`Request::Export`] and [`Request::ExportMore`].
    Exported(Page),
    /// There is none.
    Refused(Refusal),
}

/// How many other namespaces of a key are named.
pub(crate) const MOST_ELSEWHERE: usize = 3;

/// Why a request got no answer. The message has no key and no payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What can be done about it.
    pub kind: RefusalKind,
    /// For people.
    pub message: String,
    /// If the key is not in the default namespace: up to three other namespaces that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<String>,
}

/// What can be done about a [`Refusal`]. One that is not known here reads as [`RefusalKind::Failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", from = "String")]
#[non_exhaustive]
pub enum RefusalKind {
    /// The key or the namespace is not there.
    NotFound,
    /// The key is there, in a state in which this cannot be decided.
    WrongState,
    /// A holder is trusted with the key.
    Held,
    /// The program allows no decisions, or not to this user.
    Denied,
    /// The program cannot be asked this: it is of another version.
    Unsupported,
    /// The directory for a copy is not empty.
    Occupied,
    /// The request makes no sense.
    Usage,
    /// The request is of another version of the protocol.
    Version,
    /// It may succeed later.
    Busy,
    /// The store is damaged, or of a later version.
    Damaged,
    /// The store closed meanwhile.
    Closed,
    /// Something else failed.
    Failed,
}

impl RefusalKind {
    const ALL: [RefusalKind; 12] = [
        RefusalKind::NotFound,
        RefusalKind::WrongState,
        RefusalKind::Held,
        RefusalKind::Denied,
        RefusalKind::Unsupported,
        RefusalKind::Occupied,
        RefusalKind::Usage,
        RefusalKind::Version,
        RefusalKind::Busy,
        RefusalKind::Damaged,
        RefusalKind::Closed,
        RefusalKind::Failed,
    ];

    /// The name, as in answers.
    pub fn name(self) -> &'static str {
        match self {
            RefusalKind::NotFound => "not-found",
            RefusalKind::WrongState => "wrong-state",
            RefusalKind::Held => "held",
            RefusalKind::Denied => "denied",
            RefusalKind::Unsupported => "unsupported",
            RefusalKind::Occupied => "occupied",
            RefusalKind::Usage => "usage",
            RefusalKind::Version => "version",
            RefusalKind::Busy => "busy",
            RefusalKind::Damaged => "damaged",
            RefusalKind::Closed => "closed",
            RefusalKind::Failed => "failed",
        }
    }

    /// Whether this refusal would apply to every other key too.
    pub fn ends_all(self) -> bool {
        matches!(self, RefusalKind::Damaged | RefusalKind::Closed | RefusalKind::Failed)
    }
}

impl From<String> for RefusalKind {
    fn from(name: String) -> RefusalKind {
        let known = RefusalKind::ALL.into_iter().find(|kind| kind.name() == name);
        known.unwrap_or(RefusalKind::Failed)
    }
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, message: impl Into<String>) -> Refusal {
        Refusal { kind, message: message.into(), elsewhere: Vec::new() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<claimstore::Error> for Refusal {
    fn from(error: claimstore::Error) -> Refusal {
        let kind = match error.kind() {
            ErrorKind::Overloaded | ErrorKind::AlreadyOpen => RefusalKind::Busy,
            ErrorKind::Corrupt | ErrorKind::TooNew => RefusalKind::Damaged,
            ErrorKind::Misuse | ErrorKind::InvalidKey | ErrorKind::TooLarge => RefusalKind::Usage,
            ErrorKind::Closed => RefusalKind::Closed,
            _ => RefusalKind::Failed,
        };
        // With all causes: the error of the operating system is the helpful part.
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            let _ = write!(message, ": {error}");
            cause = error.source();
        }
        Refusal::new(kind, message)
    }
}

/// The kind of store that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// A store that was opened for this request: counters since the opening are the request's own, and pages may have
    /// any length.
    Briefly,
    /// A store that a program has open: pages are bounded.
    Live,
}

/// Answers `request` about `store`.
pub fn answer(store: &Store, request: &Request, served: Served) -> Result<Answer, Refusal> {
    match request {
        Request::Hello => Ok(Answer::Hello { protocol: VERSION, decisions: true }),
        Request::Stats => Ok(Answer::Stats { stats: Box::new(numbers(store, served)?) }),
        Request::Live => Ok(Answer::Live { live: Box::new(Live::of(store)?) }),
        Request::Get { namespace, key, show, history } => {
            let key = resolve(store, namespace, key)?;
            let record = get(store, namespace, &key, *show, *history)?;
            Ok(Answer::Record { record: Box::new(record), store_time_ms: ms(store.store_time()) })
        }
        Request::List(listing) => page::page(store, listing, served),
        Request::Policies { namespace } => policies(store, namespace.as_deref()),
        Request::Checkpoint => {
            store.checkpoint()?;
            let stats = store.stats()?;
            let (run_rows, run_bytes) = (stats.checkpointed_rows, stats.run_bytes);
            Ok(Answer::Checkpointed { runs: stats.runs, run_rows, run_bytes })
        }
        Request::Prune { dry_run } => {
            let pruned = if *dry_run { store.prunable()? } else { store.prune()? };
            Ok(Answer::Pruned { records: pruned.records, runs: pruned.runs, bytes: pruned.bytes })
        }
        Request::Decide(decision) => Ok(Answer::Decided { verdicts: decide(store, decision)? }),
        Request::SetPolicy(change) => {
            let made = change.apply(store)?;
            let policy = PolicyView::new(&change.namespace, &store.namespace(&change.namespace)?.policy());
            Ok(Answer::PolicySet { policy, made })
        }
        Request::Backup { dir, with_key } => backup(store, &dir.path()?, *with_key),
        Request::Export { .. } | Request::ExportMore => {
            Err(Refusal::new(RefusalKind::Usage, "an export goes on from page to page: see `Export`"))
        }
    }
}

/// Copies the store. Existing files in the target stay untouched.
fn backup(store: &Store, dir: &Path, with_key: bool) -> Result<Answer, Refusal> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            let message = format!("{} is not empty", dir.display());
            return Err(Refusal::new(RefusalKind::Occupied, message));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let message = format!("looking at {}: {error}", dir.display());
            return Err(Refusal::new(RefusalKind::Failed, message));
        }
        _ => {}
    }
    if with_key {
        store.backup_with_key(dir)?;
    } else {
        store.backup(dir)?;
    }
    Ok(Answer::BackedUp { rows: store.stats()?.checkpointed_rows })
}

/// An existing namespace. `Store::namespace` would create a missing one.
pub(crate) fn namespace(store: &Store, name: &str) -> Result<Namespace, Refusal> {
    if !store.namespaces().iter().any(|known| known == name) {
        let message = format!("the store has no namespace `{}`", name.escape_debug());
        return Err(Refusal::new(RefusalKind::NotFound, message));
    }
    Ok(store.namespace(name)?)
}

fn get(store: &Store, name: &str, key: &[u8], show: Show, history: bool) -> Result<RecordView, Refusal> {
    let record = namespace(store, name)?.get(key)?.ok_or_else(|| unknown(store, name, key))?;
    let view = RecordView::new(&record, show);
    Ok(if history { view.with_history(&record, show) } else { view })
}

/// The refusal for an unknown key. If no namespace was given, it names others that have the key.
pub(crate) fn unknown(store: &Store, name: &str, key: &[u8]) -> Refusal {
    // Named by its hash: a key must not appear in a log.
    let message = format!("the store knows no key {} in this namespace", KeyLabel::of(key));
    let mut refusal = Refusal::new(RefusalKind::NotFound, message);
    if name.is_empty() {
        // It may be no valid key in this namespace; then it is unknown there.
        let has = |other: &String| {
            let found = store.namespace(other).and_then(|namespace| namespace.get(key));
            matches!(found, Ok(Some(_)))
        };
        let others = store.namespaces().into_iter().filter(|other| !other.is_empty() && has(other));
        refusal.elsewhere = others.take(MOST_ELSEWHERE).collect();
        refusal.elsewhere.sort();
    }
    refusal
}

fn policies(store: &Store, name: Option<&str>) -> Result<Answer, Refusal> {
    let names = match name {
        Some(name) => vec![namespace(store, name)?.name().to_owned()],
        None => store.namespaces(),
    };
    let view = |name: &String| Ok(PolicyView::new(name, &store.namespace(name)?.policy()));
    let policies = names.iter().map(view).collect::<Result<_, claimstore::Error>>()?;
    Ok(Answer::Policies { policies })
}

/// Counts every record. The store keeps no such counts, because they would slow down every commit.
fn numbers(store: &Store, served: Served) -> Result<Numbers, claimstore::Error> {
    let mut numbers = Numbers::default();
    for record in store.scan(Filter::new()) {
        *match record?.state() {
            RecordState::Completed => &mut numbers.completed,
            RecordState::Failed => &mut numbers.failed,
            RecordState::Orphaned => &mut numbers.orphaned,
            RecordState::Retry => &mut numbers.retry,
            RecordState::Parked => &mut numbers.parked,
            // A state of a later version counts as not ended.
            _ => &mut numbers.in_progress,
        } += 1;
    }
    let stats = store.stats()?;
    let live = if served == Served::Live { Some(Live::of(store)?) } else { None };
    Ok(Numbers {
        namespaces: stats.namespaces,
        runs: stats.runs,
        run_bytes: stats.run_bytes,
        run_rows: stats.checkpointed_rows,
        live_bytes: stats.live_bytes,
        index_bytes: stats.index_bytes,
        life: stats.life,
        store_time_ms: stats.store_time_ms,
        clock_offset_ms: stats.clock_offset,
        live,
        ..numbers
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_refusals_have_one_name_each_and_later_ones_can_be_read() {
        for kind in RefusalKind::ALL {
            let written = serde_json::to_string(&kind).unwrap();
            assert_eq!(written, format!("\"{}\"", kind.name()));
            assert_eq!(serde_json::from_str::<RefusalKind>(&written).unwrap(), kind);
        }
        assert_eq!(serde_json::from_str::<RefusalKind>("\"later\"").unwrap(), RefusalKind::Failed);
    }
}
