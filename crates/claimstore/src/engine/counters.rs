//! What happened since the store was opened.

use crate::codec::State;
use crate::error::ErrorKind;
use crate::sync::{AtomicU64, Ordering};

/// Counts of outcomes. Relaxed: they order nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) claimed: AtomicU64,
    pub(crate) taken_over: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) in_progress: AtomicU64,
    pub(crate) mismatches: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) released: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) pruned: AtomicU64,
    pub(crate) upkeep_failures: AtomicU64,
}

impl Counters {
    pub(crate) fn claimed(&self, taken_over: bool) {
        add(&self.claimed);
        if taken_over {
            add(&self.taken_over);
        }
    }

    pub(crate) fn duplicate(&self) {
        add(&self.duplicates);
    }

    pub(crate) fn in_progress(&self) {
        add(&self.in_progress);
    }

    pub(crate) fn refused(&self, kind: ErrorKind) {
        add(if kind == ErrorKind::PayloadMismatch { &self.mismatches } else { &self.refused });
    }

    pub(crate) fn settled(&self, state: State) {
        match state {
            State::Completed => add(&self.completed),
            State::Failed | State::Parked | State::Retry => add(&self.failed),
            State::Erased => add(&self.released),
            State::InProgress => {}
        }
    }

    pub(crate) fn upkeep_failed(&self, _kind: ErrorKind) {
        add(&self.upkeep_failures);
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
