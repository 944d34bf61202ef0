//! The real storage: a directory of the operating system.

use super::owner::{Running, SIGNATURE_BYTES};
use super::process::{FORKED, Process};
use super::storage::{File, LockGuard, OpenMode, Storage};
use super::system::{Kernel, Locking, Opening, System};
use crate::error::FileFault;
use crate::planted;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

#[cfg(not(unix))]
compile_error!(
    "claimstore needs a Unix-like system: Linux (all promises) or macOS (builds and passes the tests)"
);

/// A [`Storage`] over one directory.
///
/// Files are created readable and writable by their owner only (mode 0600, directories 0700) and are closed on
/// `exec`. Symbolic links are followed, so two paths to one directory lead to the same lock.
#[derive(Debug, Clone)]
pub struct DirStorage<S = Kernel> {
    root: PathBuf,
    system: S,
    /// The process that may change files; a child of `fork()` may not.
    process: Process,
}

impl DirStorage {
    /// The storage in directory `path`. Touches nothing on the disk; a relative path is taken from the
    /// current directory once, now, so that a later change of directory moves nothing.
    pub fn new(path: impl AsRef<Path>) -> DirStorage {
        DirStorage::on(Kernel, path)
    }
}

impl<S: System> DirStorage<S> {
    /// The same on another kernel than the operating system's: what the simulator uses.
    #[doc(hidden)]
    pub fn on(system: S, path: impl AsRef<Path>) -> DirStorage<S> {
        let path = path.as_ref();
        // Fails only without a current directory, or for an empty path; the first open then returns the error.
        let root = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        DirStorage { root, system, process: Process::current() }
    }

    /// The directory everything is in, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates the directory, with the parents that are missing, and makes its name and theirs durable. An existing
    /// directory is fine.
    ///
    /// # Errors
    ///
    /// Those of the operating system; `NotADirectory` when something else is there. Directories created
    /// before the error stay.
    pub fn create_root(&self) -> io::Result<()> {
        let missing = |path: &&Path| self.system.status_of(path).is_err();
        let missing: Vec<&Path> = self.root.ancestors().take_while(missing).collect();
        self.settle_name(missing.last().and_then(|path| path.parent()).unwrap_or(&self.root))?;
        for path in missing.into_iter().rev() {
            named(path, self.create_one_dir(path))?;
            let mut parent = path.parent();
            if planted::active(61) {
                parent = None;
            }
            if let Some(parent) = parent {
                named(parent, self.sync_path(parent))?;
            }
        }
        let is_dir = if self.is_dir(&self.root) { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) };
        named(&self.root, is_dir)
    }

    /// Makes the name of an existing directory durable. The process that created it may have been killed before it
    /// synced the name, and everything in the directory would be lost with the name.
    ///
    /// So nothing is created in a directory before its own name was synced; by induction this holds for all
    /// directories above. A parent that we may not open, or on a file system without such a sync, is left to its
    /// creator.
    fn settle_name(&self, dir: &Path) -> io::Result<()> {
        if planted::active(61) {
            return Ok(());
        }
        let Some(parent) = dir.parent() else { return Ok(()) };
        match self.sync_path(parent) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied
                        | ErrorKind::InvalidInput
                        | ErrorKind::Unsupported
                        | ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Ok(())
            }
            done => named(parent, done),
        }
    }

    fn create_one_dir(&self, path: &Path) -> io::Result<()> {
        match again(|| self.system.make_dir(path)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.is_dir(path) => Ok(()),
            done => done,
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.system.status_of(path).is_ok_and(|found| found.is_dir)
    }

    fn open_at(&self, path: &Path, how: Opening) -> io::Result<S::Handle> {
        again(|| self.system.open(path, how))
    }

    /// Makes the names in a directory durable.
    fn sync_path(&self, dir: &Path) -> io::Result<()> {
        self.system.sync(&self.open_at(dir, Opening::Directory)?)
    }

    /// `None`: the file system has no such mode.
    fn open_direct(&self, path: &Path) -> io::Result<Option<S::Handle>> {
        match self.open_at(path, Opening::Direct) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }
}

impl<S: System> Storage for DirStorage<S> {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let path = self.path(name);
        let how = match mode {
            OpenMode::CreateNew => {
                self.process.may_write()?;
                Opening::New
            }
            OpenMode::ReadOnly => Opening::ReadOnly,
            _ => Opening::Existing,
        };
        let buffered = self.open_at(&path, how)?;
        let direct = if mode == OpenMode::Direct { self.open_direct(&path)? } else { None };
        let (system, process) = (self.system.clone(), self.process);
        Ok(Arc::new(DirFile {
            system,
            buffered,
            direct,
            refused: AtomicBool::new(false),
            process,
            id: OnceLock::new(),
        }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.system.names(&self.path(dir))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.process.may_write()?;
        self.create_one_dir(&self.path(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.process.may_write()?;
        self.system.rename(&self.path(from), &self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.process.may_write()?;
        self.system.remove(&self.path(name))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        if planted::active(60) {
            return Ok(());
        }
        self.sync_path(&self.path(dir))
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.system.status_of(&self.path(name))?.len)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.system.free_bytes(&self.root)
    }

    fn leads_to(&self, name: &str, file: &dyn File) -> io::Result<bool> {
        let Some(id) = file.id() else { return file.has_name() };
        match self.system.status_of(&self.path(name)) {
            Ok(named) => Ok(named.id == id),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(false),
                // We may not look the path up any more: then only the link count can tell.
                _ => file.has_name(),
            },
        }
    }

    fn lock(&self, name: &str) -> io::Result<LockGuard> {
        let mut lock = self.lock_file(&self.path(name), Opening::Any, Locking::Exclusive)?;
        lock.sign();
        Ok(Box::new(lock))
    }

    fn lock_also(&self, name: &str) -> io::Result<LockGuard> {
        if planted::active(52) {
            return Ok(Box::new(()));
        }
        Ok(Box::new(self.lock_file(&self.path(name), Opening::Existing, Locking::Exclusive)?))
    }

    fn lock_shared(&self, name: &str) -> io::Result<Option<LockGuard>> {
        match self.lock_file(&self.path(name), Opening::ReadOnly, Locking::Shared) {
            Ok(lock) => Ok(Some(Box::new(lock))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            // No such file, no permission, or a file system without locks: a reader goes on without a lock.
            Err(_) => Ok(None),
        }
    }

    fn owner(&self, name: &str) -> Option<u32> {
        let file = self.open_at(&self.path(name), Opening::ReadOnly).ok()?;
        let mut signature = [0; SIGNATURE_BYTES];
        let read = again(|| self.system.read_at(&file, &mut signature, 0)).ok()?;
        let owner = Running::signed(signature.get(..read)?)?;
        let (_, inode) = self.system.status(&file).ok()?.id;
        self.system.may_hold(&owner, inode).then_some(owner.id)
    }
}

impl Process {
    /// Refuses changes in a child of `fork()`: the files belong to its parent.
    fn may_write(self) -> io::Result<()> {
        if self.is_current() { Ok(()) } else { Err(io::Error::other(FORKED)) }
    }
}

#[derive(Debug)]
struct DirFile<S: System> {
    system: S,
    /// For reads, lengths and syncs, and for writes that `direct` does not accept.
    buffered: S::Handle,
    /// For writes that bypass the page cache, if the file was opened so and the file system supports it.
    direct: Option<S::Handle>,
    /// Set for ever once the file system refused the alignment of a direct write.
    refused: AtomicBool,
    process: Process,
    /// Device and inode number, once they were read.
    id: OnceLock<(u64, u64)>,
}

impl<S: System> DirFile<S> {
    fn write_all(&self, handle: &S::Handle, data: &[u8], offset: u64) -> io::Result<()> {
        let (mut rest, mut at) = (data, offset);
        while !rest.is_empty() {
            let written = again(|| self.system.write_at(handle, rest, at))?;
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            if planted::active(62) {
                return Ok(());
            }
            rest = rest.get(written..).unwrap_or_default();
            at += written as u64;
        }
        Ok(())
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        again(|| self.system.set_len(&self.buffered, len))
    }
}

impl<S: System> File for DirFile<S> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let read = again(|| self.system.read_at(&self.buffered, rest, at))?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            rest = rest.get_mut(read..).unwrap_or_default();
            at += read as u64;
        }
        Ok(())
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.process.may_write()?;
        if let Some(direct) = self.direct.as_ref().filter(|_| !self.refused.load(Ordering::Relaxed)) {
            match self.write_all(direct, data, offset) {
                // Some devices require an alignment of more than 512 bytes. A partial write is overwritten below.
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    self.refused.store(true, Ordering::Relaxed);
                }
                done => return done,
            }
        }
        self.write_all(&self.buffered, data, offset)
    }

    /// Not repeated if it was interrupted: the success of a second sync would prove nothing about the first.
    fn sync_data(&self) -> io::Result<()> {
        if planted::active(63) {
            // Only where data went past the page cache.
            if self.direct.is_some() {
                return Ok(());
            }
        }
        // One sync covers both descriptors: it works on the file, not on the descriptor.
        self.system.sync_data(&self.buffered)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.system.status(&self.buffered)?.len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.process.may_write()?;
        self.resize(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.process.may_write()?;
        if len == 0 {
            return Ok(());
        }
        match again(|| self.system.allocate(&self.buffered, len)) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                if self.len()? < len {
                    self.resize(len)
                } else {
                    Ok(())
                }
            }
            done => done,
        }
    }

    /// Uses `POSIX_FADV_DONTNEED`: for a dirty range it makes the kernel start write-back, without waiting, and keeps
    /// the dirty pages.
    fn start_writeback(&self, offset: u64, len: u64) {
        if len > 0 {
            // If the hint is ignored, a later sync takes longer; nothing else changes.
            let _ = self.system.dont_need(&self.buffered, offset, len);
        }
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.system.dont_need(&self.buffered, 0, 0)
    }

    fn id(&self) -> Option<(u64, u64)> {
        let asked = || self.system.status(&self.buffered).ok().map(|found| found.id);
        self.id.get().copied().or_else(|| asked().map(|id| *self.id.get_or_init(|| id)))
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.system.status(&self.buffered)?.links > 0)
    }

    fn cut_nameless(&self, bytes: u64) -> io::Result<bool> {
        self.process.may_write()?;
        let found = self.system.status(&self.buffered)?;
        if found.links > 0 || found.len == 0 {
            return Ok(false);
        }
        let left = found.len.saturating_sub(bytes);
        self.resize(left)?;
        // If the file system discards freed blocks, it does so with the sync, and so piece by piece too.
        self.system.sync_data(&self.buffered)?;
        Ok(left > 0)
    }
}

/// Adds the path to an error. The other calls get their names from [`Named`](super::named::Named).
fn named<T>(path: &Path, done: io::Result<T>) -> io::Result<T> {
    done.map_err(|error| FileFault::wrap(&path.to_string_lossy(), None, error))
}

/// Makes a call until no signal interrupts it.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        let done = call();
        if planted::active(66) {
            return done;
        }
        match done {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

mod lock;
#[cfg(test)]
mod tests;
