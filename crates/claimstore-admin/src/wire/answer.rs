//! Answers to requests.

use crate::wire::decision::Verdict;
use crate::wire::export::Page;
use crate::wire::numbers::{Live, Numbers};
use crate::wire::policy::PolicyView;
use crate::wire::record::RecordView;
use crate::wire::refusal::Refusal;
#[cfg(doc)]
use crate::wire::request::Request;
use serde::{Deserialize, Serialize};

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
