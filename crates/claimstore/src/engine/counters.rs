//! Counters since the store was opened: outcomes of claims per namespace, and upkeep.

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
    /// In the order of [`Failed`].
    failed: [AtomicU64; 3],
    /// How many of them an event was told of.
    #[cfg(feature = "tracing")]
    told: [AtomicU64; 3],
    released: AtomicU64,
}

/// What became of a key whose work failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It may be claimed again.
    Retry,
    /// It has ended.
    Final,
    /// It is held for review.
    Parked,
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
            failed: Default::default(),
            #[cfg(feature = "tracing")]
            told: Default::default(),
            released: zero(),
        }
    }
}

impl Counters {
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

    /// Counts the end of a claim that was not given back, by the state it leaves the key in.
    pub(crate) fn settled(&self, state: State) {
        match state {
            State::Completed => add(&self.completed),
            State::Retry => self.failed(Failed::Retry),
            State::Failed => self.failed(Failed::Final),
            State::Parked => self.failed(Failed::Parked),
            State::Erased => self.released(),
            State::InProgress => {}
        }
    }

    /// Counts a claim that was given back, or a key that was forgotten.
    pub(crate) fn released(&self) {
        add(&self.released);
    }

    pub(crate) fn failed(&self, how: Failed) {
        let [retry, ended, parked] = &self.failed;
        add(match how {
            Failed::Retry => retry,
            Failed::Final => ended,
            Failed::Parked => parked,
        });
    }

    /// The failures that nobody was told of yet, which count as told from here on. Each is given to one caller.
    #[cfg(feature = "tracing")]
    pub(super) fn untold(&self) -> impl Iterator<Item = (Failed, u64)> {
        let kinds = [Failed::Retry, Failed::Final, Failed::Parked];
        kinds.into_iter().zip(self.failed.iter().zip(&self.told)).filter_map(|(kind, (failed, told))| {
            let now = failed.load(Ordering::Relaxed);
            if now == told.load(Ordering::Relaxed) {
                return None;
            }
            let new = now.saturating_sub(told.fetch_max(now, Ordering::Relaxed));
            (new > 0).then_some((kind, new))
        })
    }

    pub(crate) fn read(&self) -> Outcomes {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [retry, ended, parked] = &self.failed;
        Outcomes {
            claimed: read(&self.claimed),
            taken_over: read(&self.taken_over),
            duplicates: self.duplicates.sums().iter().sum(),
            in_progress: read(&self.in_progress),
            mismatches: read(&self.mismatches),
            refused: read(&self.refused),
            completed: read(&self.completed),
            failed: read(retry) + read(ended) + read(parked),
            parked: read(parked),
            released: read(&self.released),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
