//! Events for `tracing`, with the feature of that name: rare events only, with counts and durations.
//!
//! An event never has a key, a payload, a fingerprint, a namespace or a path: each of them may be a secret. Without
//! the feature every call here is empty.

#[cfg(feature = "tracing")]
use super::counters::Failed;
use super::measures::Pruned;
use crate::error::{ErrorKind, FileFault};

/// The target of all events and spans, independent of the module.
#[cfg(feature = "tracing")]
pub(super) const TARGET: &str = "claimstore";

macro_rules! event {
    ($level:ident, $($rest:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: TARGET, $($rest)*)
    };
}

/// The findings of the opening.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Opening {
    /// Batches replayed from the journal.
    pub(crate) replayed: u64,
    /// Whether the journal ended in the seal of a close.
    pub(crate) clean: bool,
    /// Whether a torn tail was cut off.
    pub(crate) tail_cut: bool,
}

pub(crate) fn opened(life: u64, opening: &Opening, took_ms: u64) {
    let Opening { replayed, clean, tail_cut } = *opening;
    event!(info, life, replayed_batches = replayed, clean, torn_tail_cut = tail_cut, took_ms, "store opened");
    let _ = (life, replayed, clean, tail_cut, took_ms);
}

pub(crate) fn closed(life: u64, sealed: bool) {
    event!(info, life, sealed, "store closed");
    let _ = (life, sealed);
}

/// The error is of the operating system, and says nothing but its number.
pub(crate) fn poisoned(error: &std::io::Error) {
    let (kind, os_error) = (error.kind(), FileFault::os_error(error));
    event!(error, ?kind, os_error, "the journal failed: the store is poisoned until it is reopened");
    let _ = (kind, os_error);
}

pub(crate) fn checkpointed(rows: u64, took_ms: u64) {
    event!(debug, rows, took_ms, "checkpoint");
    let _ = (rows, took_ms);
}

pub(crate) fn merged(runs: usize, rows: u64) {
    event!(debug, runs, rows, "merge");
    let _ = (runs, rows);
}

pub(crate) fn pruned(pruned: &Pruned) {
    event!(debug, runs = pruned.runs, records = pruned.records, bytes = pruned.bytes, "prune");
    let _ = pruned;
}

/// Work that failed so many times since this was told last, under the metrics name of its policy. `how` is what became of
/// the keys: `retry`, `final`, `parked`.
#[cfg(feature = "tracing")]
pub(super) fn failed(how: Failed, policy: &str, times: u64) {
    match how {
        Failed::Retry => {
            event!(info, how = "retry", policy, times, "claims failed");
        }
        Failed::Final => {
            event!(warn, how = "final", policy, times, "claims failed");
        }
        Failed::Parked => {
            event!(warn, how = "parked", policy, times, "keys are held for review");
        }
    }
}

/// Upkeep that is tried again in a moment; claims may soon be refused for want of it.
pub(crate) fn upkeep_failed(kind: ErrorKind) {
    event!(warn, ?kind, "upkeep failed and will be tried again");
    let _ = kind;
}
