//! After a write or sync error of the journal the store stops: the kernel may have dropped the pages, so
//! neither the batch nor anything behind it can be vouched for. Reopening tells.

use crate::error::{Error, ErrorKind};
use crate::sync::{AtomicU64, Ordering};

const HEALTHY: u64 = u64::MAX;

/// The one failure of this handle, if there was one.
#[derive(Debug)]
pub(crate) struct Poison {
    /// The last batch that may have been written, and was not committed. Everything behind it was not.
    last_unknown: AtomicU64,
}

impl Default for Poison {
    fn default() -> Poison {
        Poison { last_unknown: AtomicU64::new(HEALTHY) }
    }
}

impl Poison {
    /// Poisons the store: batches up to `last_unknown` that were not committed before are indeterminate. The
    /// first failure counts; nothing is written after it.
    pub(crate) fn set(&self, last_unknown: u64) {
        // An error means that the store is poisoned already.
        let _first =
            self.last_unknown.compare_exchange(HEALTHY, last_unknown, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.last_unknown.load(Ordering::Acquire) != HEALTHY
    }

    /// For calls that begin now: nothing of them has happened.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_set() { Err(Poison::error()) } else { Ok(()) }
    }

    pub(crate) fn error() -> Error {
        Error::new(ErrorKind::Poisoned, "an earlier write failed; reopen the store")
    }

    /// For an operation queued in `batch` that is not committed: of what may have been written nobody knows,
    /// of later batches nothing was.
    pub(crate) fn check_batch(&self, batch: u64) -> Result<(), Error> {
        match self.last_unknown.load(Ordering::Acquire) {
            HEALTHY => Ok(()),
            last_unknown if batch <= last_unknown => Err(Error::new(
                ErrorKind::Indeterminate,
                "the commit failed half-way; reopen the store to learn",
            )),
            _ => Err(Poison::error()),
        }
    }
}
