//! A file as redb sees it: on trial first, condemned after the first failure.

use super::fault::{CommitFailed, Fault, damaged};
use super::paged::{PAGE_BYTES, Paged};
use crate::error::{Error, ErrorKind, FileFault};
use crate::io::File;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use redb::{StorageBackend, WriteTransaction};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A file as redb sees it. Remembers the first failure.
pub(in crate::bucket) struct Guarded {
    file: Paged,
    /// Whether redb's writes go to the file. Before that they are kept in `trial`.
    live: AtomicBool,
    /// The writes of the trial, in order.
    trial: Mutex<Vec<Change>>,
    /// Set once and for ever: all further writes and syncs are refused. A failed sync may have lost any earlier
    /// write, so the success of a later one would prove nothing.
    condemned: AtomicBool,
    /// The first error of the file, of which each reader gets a copy.
    trouble: Mutex<Option<io::Error>>,
    /// The first page that was not what had been written there.
    damage: Mutex<Option<io::Error>>,
}

enum Change {
    Write(u64, Box<[u8]>),
    SetLen(u64),
    Sync,
}

impl Guarded {
    /// A new file, which needs no trial.
    pub(super) fn live(file: Arc<dyn File>) -> Arc<Guarded> {
        Guarded::new(file, true)
    }

    /// A file that may still be refused: until [`admit`](Guarded::admit) nothing is written to it.
    pub(super) fn on_trial(file: Arc<dyn File>) -> Arc<Guarded> {
        Guarded::new(file, false)
    }

    fn new(file: Arc<dyn File>, live: bool) -> Arc<Guarded> {
        Arc::new(Guarded {
            file: Paged::new(file),
            live: AtomicBool::new(live),
            trial: Mutex::new(Vec::new()),
            condemned: AtomicBool::new(false),
            trouble: Mutex::new(None),
            damage: Mutex::new(None),
        })
    }

    /// Runs something that may enter redb. A panic inside means that redb stumbled over damage.
    pub(in crate::bucket) fn call<T>(&self, run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Error> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(fault)) => Err(self.placed(fault.into_error(self.trouble(), self.damage()))),
            Err(_panic) => {
                // redb's memory may be in an inconsistent state: none of it may reach the file.
                self.condemn();
                Err(self.placed(damaged("redb stumbled over its file", self.damage())))
            }
        }
    }

    /// Commits; see [`Db::commit`](super::Db::commit).
    pub(in crate::bucket) fn commit(&self, transaction: WriteTransaction) -> Result<(), CommitFailed> {
        if self.is_condemned() {
            // All writes since were refused, so nothing of this transaction is in the file.
            return Err(CommitFailed::Absent(self.failed_earlier()));
        }
        let mut rolled_back = false;
        let committed = self.call(|| {
            transaction.commit().map_err(|error| {
                rolled_back = matches!(error, redb::CommitError::TransactionPoisoned);
                Fault::from(error)
            })
        });
        let committed = committed.and_then(|()| self.check_name());
        committed.map_err(|error| {
            self.condemn();
            if rolled_back { CommitFailed::Absent(error) } else { CommitFailed::Unknown(error) }
        })
    }

    /// Fails if the file has lost its name: a commit into such a file is lost with this handle.
    fn check_name(&self) -> Result<(), Error> {
        let checked = self.file.has_name().and_then(|named| {
            let text = "a redb file was removed while the store was open";
            if named { Ok(()) } else { Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, text)) }
        });
        checked.map_err(|error| Error::io("a redb file is not where it was", error))
    }

    fn failed_earlier(&self) -> Error {
        match self.trouble() {
            Some(trouble) => Error::io("the redb file failed before", trouble),
            None => self.placed(damaged("the redb file failed before", self.damage())),
        }
    }

    /// Damage and failures of the file name it; refusals of what a caller asked for do not.
    fn placed(&self, error: Error) -> Error {
        match (error.kind(), self.file.name()) {
            (ErrorKind::Corrupt | ErrorKind::TooNew | ErrorKind::Io | ErrorKind::Full, Some(name)) => {
                error.in_file(name, None)
            }
            _ => error,
        }
    }

    fn damage(&self) -> Option<io::Error> {
        self.damage.lock().as_ref().map(FileFault::copy_of)
    }

    /// Refuses all further writes and syncs.
    pub(in crate::bucket) fn condemn(&self) {
        self.condemned.store(true, Ordering::Release);
    }

    pub(in crate::bucket) fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::Acquire)
    }

    pub(super) fn condemn_if_on_trial(&self) {
        if !self.is_live() {
            self.condemn();
        }
    }

    fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Writes redb's changes of the trial, in redb's order and with redb's syncs, so that redb can handle a crash in
    /// between. No other thread may be using the file yet.
    pub(super) fn admit(&self) -> io::Result<()> {
        for change in self.trial.lock().drain(..) {
            self.noted(|| self.put(&change))?;
        }
        self.live.store(true, Ordering::Release);
        Ok(())
    }

    fn change(&self, change: Change) -> io::Result<()> {
        if self.is_condemned() {
            return Err(io::Error::other("an earlier write or sync failed"));
        }
        if self.is_live() {
            return self.noted(|| self.put(&change));
        }
        self.trial.lock().push(change);
        Ok(())
    }

    fn put(&self, change: &Change) -> io::Result<()> {
        match change {
            Change::Write(offset, data) => self.file.write(*offset, data),
            Change::SetLen(len) => self.file.set_len(*len),
            Change::Sync => self.file.sync(),
        }
    }

    /// Keeps the first error, and condemns the file after any.
    fn noted<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        act().inspect_err(|error| {
            // The reason first: a caller that finds the file condemned reads it.
            self.note(error);
            self.condemn();
        })
    }

    fn note(&self, error: &io::Error) {
        self.trouble.lock().get_or_insert_with(|| FileFault::copy_of(error));
    }

    pub(super) fn trouble(&self) -> Option<io::Error> {
        self.trouble.lock().as_ref().map(FileFault::copy_of)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        let stored = self.stored_len()?;
        Ok(if self.is_live() { stored } else { trial_len(stored, &self.trial.lock()) })
    }

    /// The length by the file system. After a shutdown of XFS this call fails with `EIO`.
    fn stored_len(&self) -> io::Result<u64> {
        self.noted(|| self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_live() {
            return self.read_file(offset, out);
        }
        self.read_on_trial(&self.trial.lock(), offset, out)
    }

    fn read_file(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.file.read(offset, out);
        read.inspect_err(|error| {
            // A wrong page, and an offset beyond the end of a cut file, are damage, not failures of the disk.
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) {
                self.damage.lock().get_or_insert_with(|| FileFault::copy_of(error));
            } else {
                // The disk failed, perhaps only once. redb returns errors from here on, so the file must be reopened.
                self.note(error);
                self.condemn();
            }
        })
    }

    /// The file's bytes, overlaid with the changes. Goes page by page, because a page that was written on trial must
    /// not be read from the file.
    fn read_on_trial(&self, changes: &[Change], offset: u64, out: &mut [u8]) -> io::Result<()> {
        let stored = self.stored_len()?;
        let end = offset.checked_add(out.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > trial_len(stored, changes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (offset, page) in (offset..).step_by(PAGE_BYTES).zip(out.chunks_mut(PAGE_BYTES)) {
            match last_change(changes, offset) {
                Some(Change::Write(at, data)) => copy_from(data, offset - at, page),
                None if offset < stored => self.read_file(offset, page)?,
                // Cut off and grown again, or grown, during the trial.
                Some(_) | None => page.fill(0),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("condemned", &self.is_condemned()).finish_non_exhaustive()
    }
}

fn trial_len(stored: u64, changes: &[Change]) -> u64 {
    changes.iter().fold(stored, |len, change| match change {
        Change::Write(at, data) => len.max(at.saturating_add(data.len() as u64)),
        Change::SetLen(new) => *new,
        Change::Sync => len,
    })
}

/// The last change of the page at `offset`. Pages are written whole.
fn last_change(changes: &[Change], offset: u64) -> Option<&Change> {
    changes.iter().rev().find(|change| match change {
        Change::Write(at, data) => (*at..at.saturating_add(data.len() as u64)).contains(&offset),
        Change::SetLen(len) => *len <= offset,
        Change::Sync => false,
    })
}

/// Copies `data` from `skip` on, and fills the rest with zeros: a header may be shorter than `out`.
fn copy_from(data: &[u8], skip: u64, out: &mut [u8]) {
    let data = data.get(skip as usize..).unwrap_or_default();
    let shared = data.len().min(out.len());
    let (front, rest) = out.split_at_mut(shared);
    front.copy_from_slice(data.get(..shared).unwrap_or_default());
    rest.fill(0);
}

/// The backend that redb gets. It does not lock: the store has its own [`Storage::lock`](crate::io::Storage::lock).
#[derive(Debug)]
pub(super) struct RedbFile(pub(super) Arc<Guarded>);

impl StorageBackend for RedbFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.change(Change::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.change(Change::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.change(Change::Write(offset, data.into()))
    }
}
