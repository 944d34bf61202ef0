//! After a write or sync error of the journal the store stops. The kernel may have dropped the pages, so the state of
//! the batch on the disk is unknown, and nothing may be written after it. Reopening tells.

use crate::error::{Error, ErrorKind, FileFault};
use crate::planted;
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::io;

const HEALTHY: u64 = u64::MAX;
/// Another process may have opened what now stands at the store's path.
const LOST: &str =
    "the store's files were removed, renamed or replaced while it was open; put them back, then reopen";

/// The one failure of this handle, if there was one.
#[derive(Debug)]
pub(crate) struct Poison {
    /// The last batch that may have been written but was not committed. Later batches were not written.
    last_unknown: AtomicU64,
    /// The error of the operating system, or the loss of the files. Set before `last_unknown`.
    cause: Mutex<Option<io::Error>>,
}

impl Default for Poison {
    fn default() -> Poison {
        Poison { last_unknown: AtomicU64::new(HEALTHY), cause: Mutex::new(None) }
    }
}

impl Poison {
    /// Poisons the store: batches up to `last_unknown` that were not committed before are indeterminate. The
    /// first failure counts; nothing is written after it.
    pub(crate) fn set(&self, last_unknown: u64, cause: &io::Error) {
        // The cause first: a caller that finds the store poisoned reads it.
        self.cause.lock().get_or_insert_with(|| FileFault::copy_of(cause));
        // An error means that the store is poisoned already.
        let _first =
            self.last_unknown.compare_exchange(HEALTHY, last_unknown, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.last_unknown.load(Ordering::Acquire) != HEALTHY
    }

    /// For calls that begin now, and so had no effect yet.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_set() { Err(self.error()) } else { Ok(()) }
    }

    /// For calls that meet a poisoned store.
    pub(crate) fn error(&self) -> Error {
        self.because(ErrorKind::Poisoned, "an earlier write failed; reopen the store")
    }

    /// Adds the cause as source. If the files were moved or removed, the message says so: reopening does not help
    /// then.
    fn because(&self, kind: ErrorKind, message: &'static str) -> Error {
        if planted::active(93) {
            return Error::new(kind, message);
        }
        let Some(cause) = self.cause.lock().as_ref().map(FileFault::copy_of) else {
            return Error::new(kind, message);
        };
        let message = match cause.kind() {
            io::ErrorKind::StaleNetworkFileHandle => LOST,
            _ => message,
        };
        Error::with_source(kind, message, cause)
    }

    /// For an operation in `batch`, which is not committed: its state is unknown if the batch may have been written;
    /// later batches were not written.
    pub(crate) fn check_batch(&self, batch: u64) -> Result<(), Error> {
        match self.last_unknown.load(Ordering::Acquire) {
            HEALTHY => Ok(()),
            last_unknown if batch <= last_unknown => Err(self
                .because(ErrorKind::Indeterminate, "the commit failed half-way; reopen the store to learn")),
            _ => Err(self.error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Poison;
    use crate::error::ErrorKind;
    use std::error::Error as _;
    use std::io;

    #[test]
    fn every_error_of_a_poisoned_store_tells_its_first_cause() {
        let poison = Poison::default();
        assert!(poison.check().is_ok() && poison.check_batch(7).is_ok());
        poison.set(7, &io::Error::from_raw_os_error(5));
        poison.set(9, &io::Error::other("later"));
        let told = [
            (poison.check(), ErrorKind::Poisoned),
            (poison.check_batch(7), ErrorKind::Indeterminate),
            (poison.check_batch(8), ErrorKind::Poisoned),
        ];
        for (answer, kind) in told {
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), kind);
            let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
            assert_eq!(cause.and_then(io::Error::raw_os_error), Some(5));
        }
    }

    #[test]
    fn files_that_are_gone_are_told_in_the_text() {
        let poison = Poison::default();
        poison.set(7, &io::Error::new(io::ErrorKind::StaleNetworkFileHandle, "LOCK was removed"));
        for error in [poison.check().unwrap_err(), poison.check_batch(7).unwrap_err()] {
            assert!(error.to_string().contains("removed, renamed or replaced"), "{error}");
            assert_eq!(error.source().unwrap().to_string(), "LOCK was removed");
        }
    }
}
