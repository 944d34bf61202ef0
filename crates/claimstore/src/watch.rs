//! [`OrphanWatch`]: sleeps until a claim may have lost its holder.

use crate::Store;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::sync::{Arc, Mutex, Weak};
use std::fmt;
use std::time::Duration;

impl Store {
    /// A watch that sleeps until there may be orphans. One at a time: else [`ErrorKind::Misuse`].
    pub fn watch_orphans(&self) -> Result<OrphanWatch, Error> {
        OrphanWatch::begin(self.engine())
    }
}

/// Sleeps until a claim may have lost its holder. Does not keep the store open.
///
/// The order is [`look`](OrphanWatch::look), then go through [`Store::unheld`], then
/// [`sleep`](OrphanWatch::sleep): what happens after the look ends the sleep.
pub struct OrphanWatch {
    engine: Weak<Engine>,
    looked_at_ms: Mutex<u64>,
}

impl OrphanWatch {
    pub(crate) fn begin(engine: &Arc<Engine>) -> Result<OrphanWatch, Error> {
        engine.check_open()?;
        if !engine.lapses.begin_watch() {
            return Err(Error::new(ErrorKind::Misuse, "the store's orphans are watched already"));
        }
        Ok(OrphanWatch { engine: Arc::downgrade(engine), looked_at_ms: Mutex::new(0) })
    }

    /// `None` where nothing is to be done: the store is gone, or this is a child of `fork()`.
    fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.upgrade().filter(|engine| engine.is_here())
    }

    /// To be called before going through the orphans.
    pub fn look(&self) {
        if let Some(engine) = self.engine() {
            *self.looked_at_ms.lock() = engine.begin_looking();
        }
    }

    /// Sleeps until a claim was abandoned, or a lease lapsed, after the last look; or until
    /// [`wake`](OrphanWatch::wake) is called, `at_most` is over, or the store ends. May return early. Without
    /// any of these it uses no processor time, but for one look at the clock a minute.
    pub fn sleep(&self, at_most: Duration) {
        let Some(engine) = self.engine() else { return };
        let looked_at_ms = *self.looked_at_ms.lock();
        let due_ms = engine.time.boot_ms().saturating_add(crate::options::millis(at_most));
        engine.sleep_until_orphan(looked_at_ms, due_ms);
    }

    /// Ends a sleep, from any thread; or the next one, when there has been no look since.
    pub fn wake(&self) {
        if let Some(engine) = self.engine() {
            engine.lapses.ring();
        }
    }
}

impl Drop for OrphanWatch {
    fn drop(&mut self) {
        if let Some(engine) = self.engine() {
            engine.lapses.end_watch();
        }
    }
}

impl fmt::Debug for OrphanWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrphanWatch").finish_non_exhaustive()
    }
}
