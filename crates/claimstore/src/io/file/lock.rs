//! The lock on a file of the directory: it says who owns the store.

use super::{DirStorage, again};
use crate::io::process::Process;
use crate::io::storage::Ownership;
use crate::io::system::{Locking, Opening, System};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How often [`Storage::lock`](crate::io::Storage::lock) starts again when the lock file is replaced under it.
const LOCK_TRIES: usize = 8;

impl<S: System> DirStorage<S> {
    pub(super) fn lock_file(&self, path: &Path, how: Opening, locking: Locking) -> io::Result<DirLock<S>> {
        for _ in 0..LOCK_TRIES {
            let file = self.open_at(path, how)?;
            // `flock` belongs to the open file, not to the process: a second open in the same process is refused like
            // any other, and closing another handle of the file does not release it.
            self.system.lock(&file, locking)?;
            // Second look. The file may have been replaced between open and lock; another process could then lock the
            // new file, and both would own the store.
            let id = self.system.status(&file)?.id;
            let system = self.system.clone();
            let (path, process) = (path.to_owned(), self.process);
            let lock = DirLock { system, file, path, id, process, signed: false };
            if lock.is_named()? {
                return Ok(lock);
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }
}

/// The lock is held until the process that took it drops this, or until every process with the open file has closed
/// it.
///
/// A child of `fork()` shares the open file, and so the lock. It must not release its parent's lock: only the process
/// that took the lock unlocks it. That process unlocks explicitly, so that the lock ends even if children still have
/// the file.
#[derive(Debug)]
pub(super) struct DirLock<S: System> {
    system: S,
    file: S::Handle,
    path: PathBuf,
    /// Device and inode number of the file.
    id: (u64, u64),
    process: Process,
    /// Whether the file may have the owner's signature.
    signed: bool,
}

impl<S: System> DirLock<S> {
    /// Writes who the owner is into the file, for those who find it locked. Not synced, as it says nothing to a later
    /// boot. Best effort: a full disk must not keep the store from being opened. What an owner that was killed has left
    /// goes in any case.
    pub(super) fn sign(&mut self) {
        let Some(owner) = self.system.this_process() else { return };
        self.signed = true;
        let signature = owner.signature();
        let written = again(|| self.system.write_at(&self.file, &signature, 0));
        if !written.is_ok_and(|written| written == signature.len()) {
            self.clear_signature();
        }
    }

    fn clear_signature(&self) {
        // If this fails too, the process still runs, and the kernel's list of locks is asked.
        let _ = again(|| self.system.set_len(&self.file, 0));
    }

    /// Whether the path still leads to the file; an error if that cannot be decided.
    fn is_named(&self) -> io::Result<bool> {
        match self.system.status_of(&self.path) {
            Ok(named) => Ok(named.id == self.id),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(false),
                _ => Err(error),
            },
        }
    }
}

impl<S: System> Ownership for DirLock<S> {
    /// One look-up by path covers the file and every directory above it: if the file, or a directory on the way, was
    /// removed, renamed or replaced, the look-up finds another inode number, or none.
    fn check(&self) -> io::Result<()> {
        // We may not look the path up any more (another user, or another root directory): then only the link count
        // can tell.
        if self.is_named().or_else(|_| Ok::<_, io::Error>(self.system.status(&self.file)?.links > 0))? {
            return Ok(());
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("{name} was removed, renamed or replaced while the store was open");
        Err(io::Error::new(ErrorKind::StaleNetworkFileHandle, text))
    }
}

impl<S: System> Drop for DirLock<S> {
    fn drop(&mut self) {
        if self.process.is_current() {
            if self.signed {
                // While the lock is held, so that the signature of the next owner is not touched.
                self.clear_signature();
            }
            // If no other process shares the file, closing it releases the lock too.
            let _ = self.system.unlock(&self.file);
        }
    }
}
