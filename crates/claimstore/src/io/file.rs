//! The real storage: a directory of the operating system.

use super::process::{FORKED, Process};
use super::storage::{File, LockGuard, OpenMode, Ownership, Storage};
use super::system::{Kernel, Locking, Opening, System};
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
    /// A child of `fork()` changes nothing of it.
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
        // Fails only where there is no current directory or no path; the first open will then say so.
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
        Ok(Arc::new(DirFile { system, buffered, direct, refused: AtomicBool::new(false), process }))
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

    fn lock(&self, name: &str) -> io::Result<LockGuard> {
        let path = self.path(name);
        self.lock_file(&path, Opening::Any, Locking::Exclusive)
    }

    fn lock_also(&self, name: &str) -> io::Result<LockGuard> {
        if planted::active(52) {
            return Ok(Box::new(()));
        }
        self.lock_file(&self.path(name), Opening::Existing, Locking::Exclusive)
    }

    fn lock_shared(&self, name: &str) -> io::Result<Option<LockGuard>> {
        match self.lock_file(&self.path(name), Opening::ReadOnly, Locking::Shared) {
            Ok(guard) => Ok(Some(guard)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            // No such file, no right to it, or a file system without locks: whoever only reads goes without.
            Err(_) => Ok(None),
        }
    }
}

impl<S: System> DirStorage<S> {
    fn lock_file(&self, path: &Path, how: Opening, locking: Locking) -> io::Result<LockGuard> {
        for _ in 0..LOCK_TRIES {
            let file = self.open_at(path, how)?;
            // A lock of this kind belongs to the open file, not to the process: a second open in the same
            // process is refused like any other, and closing some other handle does not give it up.
            self.system.lock(&file, locking)?;
            // Between open and lock somebody may have put another file in this place; whoever locks that
            // one would not meet us.
            let id = self.system.status(&file)?.id;
            let system = self.system.clone();
            let lock = DirLock { system, file, path: path.to_owned(), id, process: self.process };
            if lock.is_named()? {
                return Ok(Box::new(lock));
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }
}

/// Held until dropped by the process that took it, or until every process that has the open file has closed it.
///
/// A child of `fork()` shares the open file, and so the lock. It must not give up what its parent still has: only the
/// process that took the lock unlocks it, and that one does so whatever children it has left behind.
#[derive(Debug)]
struct DirLock<S: System> {
    system: S,
    file: S::Handle,
    path: PathBuf,
    /// Device and number of the file.
    id: (u64, u64),
    process: Process,
}

impl<S: System> DirLock<S> {
    /// Whether the path still leads to the file. An error that leaves it open says nothing.
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
    /// One look-up by the path answers for the file and for every directory above it: the number it finds is another
    /// one, or none, once the file or a directory on the way was removed, renamed or replaced.
    fn check(&self) -> io::Result<()> {
        // Who may not look any more (another user or root directory since) has no answer: links are counted then.
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
            // Closing it does the same where nobody shares it.
            let _ = self.system.unlock(&self.file);
        }
    }
}

impl Process {
    /// Refuses to change files in a child of `fork()`: they are its parent's.
    fn may_write(self) -> io::Result<()> {
        if self.is_current() { Ok(()) } else { Err(io::Error::other(FORKED)) }
    }
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
    process: Process,
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
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn store() -> (tempfile::TempDir, DirStorage) {
        let dir = tempfile::tempdir().unwrap();
        let storage = DirStorage::new(dir.path().join("a/store"));
        storage.create_root().unwrap();
        (dir, storage)
    }

    #[test]
    fn files_and_directories_belong_to_their_owner_alone() {
        let (dir, storage) = store();
        storage.create_root().unwrap();
        storage.create_dir("sub").unwrap();
        storage.create_dir("sub").unwrap();
        drop(storage.open("sub/file", OpenMode::CreateNew).unwrap());
        let _lock = storage.lock("LOCK").unwrap();
        for (name, mode) in
            [("a", 0o700), ("a/store/sub", 0o700), ("a/store/sub/file", 0o600), ("a/store/LOCK", 0o600)]
        {
            let found = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode & 0o777, "{name}");
        }
    }

    #[test]
    fn names_come_and_go() {
        let (_dir, storage) = store();
        let missing = |done: io::Result<()>| assert_eq!(done.unwrap_err().kind(), io::ErrorKind::NotFound);
        missing(storage.open("one", OpenMode::Existing).map(drop));
        missing(storage.open("one", OpenMode::Direct).map(drop));
        missing(storage.list("sub").map(drop));
        drop(storage.open("one", OpenMode::CreateNew).unwrap());
        let again = storage.open("one", OpenMode::CreateNew).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        storage.rename("one", "two").unwrap();
        storage.sync_dir("").unwrap();
        assert_eq!(storage.list("").unwrap(), ["two"]);
        storage.remove("two").unwrap();
        missing(storage.remove("two"));
        assert!(storage.list("").unwrap().is_empty());
        drop(storage.open("file", OpenMode::CreateNew).unwrap());
        let inside = DirStorage::new(storage.root().join("file"));
        assert_eq!(inside.create_root().unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn what_is_written_is_read_buffered_and_direct() {
        let (_dir, storage) = store();
        let file = storage.open("file", OpenMode::CreateNew).unwrap();
        file.allocate(8192).unwrap();
        file.allocate(4096).unwrap();
        assert_eq!(file.len().unwrap(), 8192);
        file.write_all_at(&[7; 8192], 0).unwrap();
        file.start_writeback(0, 8192);
        file.sync_data().unwrap();
        file.drop_cache().unwrap();

        let direct = storage.open("file", OpenMode::Direct).unwrap();
        let memory = vec![9u8; 8192];
        let aligned = memory.as_ptr().align_offset(4096);
        direct.write_all_at(&memory[aligned..aligned + 1024], 512).unwrap();
        // Whatever the file system makes of this one, it arrives.
        direct.write_all_at(&memory[aligned + 1..aligned + 4], 5000).unwrap();
        direct.write_all_at(&memory[aligned..aligned + 512], 4096).unwrap();
        direct.sync_data().unwrap();
        let mut expected = [7u8; 8192];
        expected[512..1536].fill(9);
        expected[5000..5003].fill(9);
        expected[4096..4608].fill(9);
        for handle in [&file, &direct] {
            let mut found = [0u8; 8192];
            handle.read_exact_at(&mut found, 0).unwrap();
            assert!(found == expected);
            let beyond = handle.read_exact_at(&mut found, 1).unwrap_err();
            assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        }
        file.set_len(100).unwrap();
        assert_eq!(direct.len().unwrap(), 100);
        assert!(!file.is_empty().unwrap());
    }

    #[test]
    fn only_a_file_without_a_name_is_cut() {
        let (_dir, storage) = store();
        let file = storage.open("file", OpenMode::CreateNew).unwrap();
        file.write_all_at(&[7; 10_000], 0).unwrap();
        fs::hard_link(storage.root().join("file"), storage.root().join("copy")).unwrap();
        assert!(!file.cut_nameless(4_096).unwrap());
        storage.remove("file").unwrap();
        assert!(!file.cut_nameless(4_096).unwrap());
        assert_eq!(file.len().unwrap(), 10_000, "the copy has these bytes");
        storage.remove("copy").unwrap();
        assert!(file.cut_nameless(4_096).unwrap());
        assert_eq!(file.len().unwrap(), 5_904);
        assert!(file.cut_nameless(4_096).unwrap());
        assert!(!file.cut_nameless(4_096).unwrap());
        assert!(file.is_empty().unwrap() && !file.cut_nameless(4_096).unwrap());
    }

    #[test]
    fn one_owner_by_whatever_path() {
        let (dir, storage) = store();
        std::os::unix::fs::symlink(storage.root(), dir.path().join("link")).unwrap();
        let linked = DirStorage::new(dir.path().join("link"));
        let held = storage.lock("LOCK").unwrap();
        for other in [&storage, &linked] {
            assert_eq!(other.lock("LOCK").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        drop(held);
        let held = linked.lock("LOCK").unwrap();
        assert!(storage.lock("LOCK").is_err());
        drop(held);
    }

    #[test]
    fn what_is_locked_is_missed_whatever_becomes_of_its_name() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 7] = [
            ("removed", |dir| fs::remove_file(dir.join("LOCK")).unwrap()),
            ("renamed", |dir| fs::rename(dir.join("LOCK"), dir.join("old")).unwrap()),
            ("replaced", |dir| {
                fs::write(dir.join("other"), b"").unwrap();
                fs::rename(dir.join("other"), dir.join("LOCK")).unwrap();
            }),
            ("removed and made again", |dir| {
                // The old file keeps its number for as long as it is open.
                fs::remove_file(dir.join("LOCK")).unwrap();
                fs::write(dir.join("LOCK"), b"").unwrap();
            }),
            ("directory renamed", |dir| fs::rename(dir, dir.with_extension("old")).unwrap()),
            ("directory removed", |dir| fs::remove_dir_all(dir).unwrap()),
            ("directory replaced by a file", |dir| {
                fs::remove_dir_all(dir).unwrap();
                fs::write(dir, b"").unwrap();
            }),
        ];
        for (name, change) in changes {
            let (_dir, storage) = store();
            let held = storage.lock("LOCK").unwrap();
            held.check().unwrap();
            let file = storage.open("file", OpenMode::CreateNew).unwrap();
            assert!(file.has_name().unwrap());
            change(storage.root());
            assert_eq!(held.check().unwrap_err().kind(), io::ErrorKind::StaleNetworkFileHandle, "{name}");
        }
    }

    #[test]
    fn a_file_without_a_name_says_so() {
        let (_dir, storage) = store();
        let file = storage.open("file", OpenMode::CreateNew).unwrap();
        storage.rename("file", "other").unwrap();
        assert!(file.has_name().unwrap());
        storage.remove("other").unwrap();
        assert!(!file.has_name().unwrap());
    }

    #[test]
    fn readers_share_what_nobody_owns() {
        let (_dir, storage) = store();
        assert!(storage.lock_shared("LOCK").unwrap().is_none(), "no file is made");
        assert!(storage.list("").unwrap().is_empty());
        assert_eq!(storage.lock_also("LOCK").unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(storage.lock("LOCK").unwrap());
        let one = storage.lock_shared("LOCK").unwrap();
        let other = storage.lock_shared("LOCK").unwrap();
        assert!(one.is_some() && other.is_some());
        assert_eq!(storage.lock("LOCK").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop((one, other));
        let owned = storage.lock_also("LOCK").unwrap();
        assert_eq!(storage.lock_shared("LOCK").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(owned);
    }

    #[test]
    fn relative_paths_are_taken_from_here() {
        assert!(DirStorage::new("somewhere").root().is_absolute());
    }
}
