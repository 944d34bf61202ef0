//! The calls of [`Store`] that count and measure, beside [`stats`](Store::stats).

use crate::error::Error;
use crate::store::Store;
use crate::view::{Bucket, Census, Outcomes};

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
    pub fn outcomes(&self) -> Result<Vec<(Box<str>, Outcomes)>, Error> {
        self.engine().check_open()?;
        Ok(self.engine().outcomes())
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
