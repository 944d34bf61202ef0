//! The real storage: a directory of the operating system.

use super::storage::{File, LockGuard, OpenMode, Storage};
use super::system::{Kernel, Opening, System};
use crate::planted;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(not(unix))]
compile_error!(
    "claimstore needs a Unix-like system: Linux (all promises) or macOS (builds and passes the tests)"
);

/// How often [`Storage::lock`] starts again when the lock file is replaced under it.
const LOCK_TRIES: usize = 8;

/// A [`Storage`] over one directory.
///
/// Files are created readable and writable by their owner only (mode 0600, directories 0700) and are closed
/// on `exec`. Symbolic links are followed the natural way: two paths to one directory meet at one lock.
#[derive(Debug, Clone)]
pub struct DirStorage<S = Kernel> {
    root: PathBuf,
    system: S,
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
        // Fails only where there is no current directory or no path; the first open will then say so.
        DirStorage { root: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()), system }
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
            self.create_one_dir(path)?;
            if let Some(parent) = path.parent()
                && !planted::active(61)
            {
                self.sync_path(parent)?;
            }
        }
        if self.is_dir(&self.root) { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) }
    }

    /// Makes the name of a directory that was found durable. Whoever made it may have been killed before that, and what
    /// is built in it would go with its name.
    ///
    /// So nothing is made in a directory before its own name was synced, and by induction none of those above can be
    /// lost either. A parent that is not ours to open, or that is on a file system without such a sync, is left to
    /// who made it.
    fn settle_name(&self, dir: &Path) -> io::Result<()> {
        let Some(parent) = dir.parent().filter(|_| !planted::active(61)) else { return Ok(()) };
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
            done => done,
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

    fn names_this_file(&self, path: &Path, file: &S::Handle) -> io::Result<bool> {
        let held = self.system.status(file)?;
        match self.system.status_of(path) {
            Ok(named) => Ok(named.id == held.id),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
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
        let how = if mode == OpenMode::CreateNew { Opening::New } else { Opening::Existing };
        let buffered = self.open_at(&path, how)?;
        let direct = if mode == OpenMode::Direct { self.open_direct(&path)? } else { None };
        let system = self.system.clone();
        Ok(Arc::new(DirFile { system, buffered, direct, refused: AtomicBool::new(false) }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.system.names(&self.path(dir))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.create_one_dir(&self.path(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.system.rename(&self.path(from), &self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
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

    fn lock(&self, name: &str) -> io::Result<LockGuard> {
        let path = self.path(name);
        for _ in 0..LOCK_TRIES {
            let file = self.open_at(&path, Opening::Any)?;
            // A lock of this kind belongs to the open file, not to the process: a second open in the same
            // process is refused like any other, and closing some other handle does not give it up.
            self.system.lock(&file)?;
            // Between open and lock somebody may have put another file in this place; whoever locks that
            // one would not meet us.
            if self.names_this_file(&path, &file)? {
                return Ok(Box::new(DirLock { _held: file }));
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }
}

/// Held until dropped: closing the file gives up the lock, once every process that shares it has closed it.
///
/// It is not unlocked: a process that was forked with the store open shares the lock, and must not lose it because the
/// other one is done. So a child that has not begun its program yet keeps the directory for that long.
#[derive(Debug)]
struct DirLock<H> {
    _held: H,
}

#[derive(Debug)]
struct DirFile<S: System> {
    system: S,
    /// Reads, sizes and syncs, and writes unless `direct` takes them.
    buffered: S::Handle,
    /// Writes past the page cache, where the file was opened so and the file system can.
    direct: Option<S::Handle>,
    /// Set for good once the file system refused the alignment of a direct write.
    refused: AtomicBool,
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
        if let Some(direct) = self.direct.as_ref().filter(|_| !self.refused.load(Ordering::Relaxed)) {
            match self.write_all(direct, data, offset) {
                // Some devices ask for more than 512 bytes of alignment. What a partial write left behind
                // is written again below.
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    self.refused.store(true, Ordering::Relaxed);
                }
                done => return done,
            }
        }
        self.write_all(&self.buffered, data, offset)
    }

    /// Not tried again when it was interrupted: nobody knows what a second one would stand for.
    fn sync_data(&self) -> io::Result<()> {
        if planted::active(63) && self.direct.is_some() {
            return Ok(());
        }
        // One sync covers both descriptors: it works on the file, not on the descriptor.
        self.system.sync_data(&self.buffered)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.system.status(&self.buffered)?.len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
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

    /// The nearest thing without a system call of our own: dropping the cache of a dirty range makes the kernel
    /// begin to write it, without waiting, and keeps what is dirty.
    fn start_writeback(&self, offset: u64, len: u64) {
        if len > 0 {
            // A hint that was not taken costs a longer sync later, nothing else.
            let _ = self.system.dont_need(&self.buffered, offset, len);
        }
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.system.dont_need(&self.buffered, 0, 0)
    }

    fn cut_nameless(&self, bytes: u64) -> io::Result<bool> {
        let found = self.system.status(&self.buffered)?;
        if found.links > 0 || found.len == 0 {
            return Ok(false);
        }
        let left = found.len.saturating_sub(bytes);
        self.resize(left)?;
        // Where freed blocks are discarded, that is done with the sync: piece by piece, too.
        self.system.sync_data(&self.buffered)?;
        Ok(left > 0)
    }
}

/// Makes a call until no signal interrupts it.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted && !planted::active(66) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
