//! What is measured: anything that claims keys durably.

use crate::Result;
use crate::keys::Key;
use crate::stock::Stock;
use std::time::Duration;

/// A store under load. `worker` counts the calling threads from zero; each makes one call at a time.
pub trait Subject: Sync {
    /// A short name for tables, without spaces.
    fn name(&self) -> &str;

    /// Claims keys, in one call if there are several; the number of them that were fresh, once all of those are
    /// durable. The answer for a key that is completed includes its response.
    fn claim(&self, worker: usize, keys: &[Key]) -> Result<u64>;

    /// Completes, each with [`crate::keys::response`], what this worker's claims of these keys won; returns when
    /// that is durable.
    fn complete(&self, worker: usize, keys: &[Key]) -> Result<()>;

    /// Enters keys as completed before a measurement.
    fn load(&self, keys: &mut dyn Iterator<Item = Key>) -> Result<()> {
        const CHUNK: usize = 4096;
        loop {
            let chunk: Vec<Key> = keys.take(CHUNK).collect();
            if chunk.is_empty() {
                return self.settle();
            }
            self.claim(0, &chunk)?;
            self.complete(0, &chunk)?;
        }
    }

    /// Claims a second over `duration` of measured time, with `calls` asynchronous claims of fresh keys in flight on
    /// this thread; `None` where there are no such calls.
    fn measure_in_flight(&self, calls: u64, duration: Duration, stock: &Stock) -> Result<Option<f64>> {
        let _ = (calls, duration, stock);
        Ok(None)
    }

    /// Puts away what a burst left behind, so that every burst begins alike; outside the measured time.
    fn settle(&self) -> Result<()> {
        Ok(())
    }
}
