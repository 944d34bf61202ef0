//! Looking: scans and numbers.

use super::Store;
use crate::engine::records::Records;

use crate::error::Error;
use crate::view::{Bucket, Census, DuplicateRate, Filter, Outcomes, RecordState, Stats};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

impl Store {
    /// The records of a filter, read in bounded pieces, in no particular order. Expired records are left
    /// out. A key that changes meanwhile shows once, in one of its states.
    pub fn scan(&self, filter: Filter) -> Records {
        Records::new(self.engine(), filter)
    }

    /// Claims with nobody behind them: of an earlier life, or abandoned by a drop.
    pub fn orphans(&self) -> Records {
        self.scan(Filter::new().state(RecordState::Orphaned))
    }

    /// Keys held for review.
    pub fn parked(&self) -> Records {
        self.scan(Filter::new().state(RecordState::Parked))
    }

    /// Numbers about the store.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.engine().check_open()?;
        Ok(self.engine().stats())
    }

    /// How often calls that wait for a holder asked and went on waiting. For the tests of this repository.
    #[doc(hidden)]
    pub fn looks_of_waiters(&self) -> u64 {
        self.engine().waiters.looks()
    }

    /// How much the store holds on to in memory, by name. For the tests of this repository: neither the names nor that
    /// there is such a call is part of the API.
    #[doc(hidden)]
    pub fn sizes(&self) -> Result<Vec<(&'static str, u64)>, Error> {
        self.engine().check_open()?;
        Ok(self.engine().sizes())
    }

    /// The names of all namespaces, oldest first; the default one's is empty. That of the streams, which nobody
    /// can open, is left out.
    ///
    /// A child of `fork()` gets an empty list.
    pub fn namespaces(&self) -> Vec<String> {
        if self.engine().is_here() { self.engine().namespaces() } else { Vec::new() }
    }

    /// Store time: what ttls, back-offs and the times in records are counted in.
    pub fn store_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.engine().time.now_ms())
    }
}

/// Counting.
impl Store {
    /// The number of claims by state: claims in progress by age, lapsed leases, orphans, retries, parked keys.
    ///
    /// Scans the live table, one shard after the other, and reads the runs of records that do not expire (retries and
    /// parked keys): some 50 ms for a million claims in progress. Claims go on meanwhile.
    pub fn census(&self) -> Result<Census, Error> {
        self.engine().census()
    }

    /// Outcomes of claims since the store was opened, by the [metrics names](crate::Policy::metrics_name) of
    /// policies; those without one under the empty name.
    ///
    /// Every answer that a caller was given to a claim counts once. Look-ups do not count: `get`, listings, and the looks
    /// of a call that waits for a holder.
    pub fn outcomes(&self) -> Result<Vec<(Box<str>, Outcomes)>, Error> {
        self.engine().check_open()?;
        Ok(self.engine().outcomes())
    }

    /// How many of the latest claims were duplicates, all namespaces together.
    ///
    /// The window is the last five minutes, and up to ten seconds more: the upkeep thread notes the counts every ten seconds,
    /// and a rate is counted from one of these notes. Right after the opening it is the time since. Without
    /// [`Options::background`](crate::Options::background) only this call makes notes, so the window may be longer.
    /// [`DuplicateRate::over`] says what it was.
    pub fn duplicate_rate(&self) -> Result<DuplicateRate, Error> {
        self.engine().check_open()?;
        Ok(self.engine().duplicate_rate())
    }

    /// The time buckets, those that end first in front; the one of records without an end is last.
    pub fn buckets(&self) -> Result<Vec<Bucket>, Error> {
        self.engine().check_open()?;
        Ok(self.engine().buckets())
    }

    /// Hands what was counted and measured since the last time to the recorder of the `metrics` facade. The upkeep
    /// thread does it once a second by itself, and the close once more; call it where
    /// [`Options::background`](crate::Options::background) is off.
    #[cfg(feature = "metrics")]
    pub fn publish_metrics(&self) {
        if !self.engine().is_here() {
            return;
        }
        self.engine().publish();
        self.engine().publish_census();
    }
}
