//! Counters since the store was opened: outcomes of claims per namespace, and upkeep.

use super::claims::Answer;
use super::striped::Striped;
use crate::codec::State;
use crate::error::ErrorKind;
use crate::sync::{AtomicU64, Ordering};
use crate::view::Outcomes;

/// Counters of outcomes of one namespace. All access is relaxed: no ordering depends on them.
#[derive(Debug)]
pub(crate) struct Counters {
    claimed: AtomicU64,
    taken_over: AtomicU64,
    duplicates: Striped,
    in_progress: AtomicU64,
    mismatches: AtomicU64,
    refused: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    released: AtomicU64,
}

/// Counts of upkeep.
#[derive(Debug, Default)]
pub(crate) struct UpkeepCounters {
    pub(crate) checkpoints: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) pruned: AtomicU64,
    pub(crate) failures: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        let zero = AtomicU64::default;
        Counters {
            claimed: zero(),
            taken_over: zero(),
            duplicates: Striped::new(1),
            in_progress: zero(),
            mismatches: zero(),
            refused: zero(),
            completed: zero(),
            failed: zero(),
            released: zero(),
        }
    }
}

impl Counters {
    /// Counts the grants among these answers.
    pub(crate) fn claimed<'a>(&self, answers: impl IntoIterator<Item = &'a Answer>) {
        let grants = answers.into_iter().filter_map(Answer::granted);
        let (claimed, taken_over) = grants.fold((0, 0), |(claimed, taken_over), granted| {
            (claimed + 1, taken_over + u64::from(granted.attempt > 1))
        });
        self.granted(claimed, taken_over);
    }

    /// Counts grants; `taken_over` of them were not the first attempt of their key.
    pub(crate) fn granted(&self, claimed: u64, taken_over: u64) {
        for (counter, more) in [(&self.claimed, claimed), (&self.taken_over, taken_over)] {
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn duplicate(&self) {
        self.duplicates.add(0);
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

    pub(crate) fn read(&self) -> Outcomes {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Outcomes {
            claimed: read(&self.claimed),
            taken_over: read(&self.taken_over),
            duplicates: self.duplicates.sums().iter().sum(),
            in_progress: read(&self.in_progress),
            mismatches: read(&self.mismatches),
            refused: read(&self.refused),
            completed: read(&self.completed),
            failed: read(&self.failed),
            released: read(&self.released),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
