//! The real storage: a directory of the operating system.

use super::process::{FORKED, Process};
use super::storage::{File, LockGuard, OpenMode, Ownership, Storage};
use crate::planted;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
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
pub struct DirStorage {
    root: PathBuf,
    /// A child of `fork()` changes nothing of it.
    process: Process,
}

impl DirStorage {
    /// The storage in directory `path`. Touches nothing on the disk; a relative path is taken from the
    /// current directory once, now, so that a later change of directory moves nothing.
    pub fn new(path: impl AsRef<Path>) -> DirStorage {
        let path = path.as_ref();
        // Fails only where there is no current directory or no path; the first open will then say so.
        let root = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        DirStorage { root, process: Process::current() }
    }

    /// The directory everything is in, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates the directory, with the parents that are missing, and makes every new entry durable. An
    /// existing directory is fine.
    ///
    /// # Errors
    ///
    /// Those of the operating system; `NotADirectory` when something else is there. Directories created
    /// before the error stay.
    pub fn create_root(&self) -> io::Result<()> {
        let missing: Vec<&Path> = self.root.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.into_iter().rev() {
            create_one_dir(path)?;
            if let Some(parent) = path.parent() {
                sync(&fs::File::open(parent)?)?;
            }
        }
        if self.root.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }
}

impl Storage for DirStorage {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let path = self.path(name);
        let is_new = mode == OpenMode::CreateNew;
        if is_new {
            self.process.may_write()?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::ReadOnly).mode(0o600).create_new(is_new);
        let buffered = options.open(&path)?;
        let direct = if mode == OpenMode::Direct { open_direct(&path)? } else { None };
        Ok(Arc::new(DirFile { buffered, direct, refused: AtomicBool::new(false), process: self.process }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(dir))? {
            // A name that is not UTF-8 is none of ours: nobody could ask for it.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.process.may_write()?;
        create_one_dir(&self.path(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.process.may_write()?;
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.process.may_write()?;
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        sync(&fs::File::open(self.path(dir))?)
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn free_bytes(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(&self.root).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn lock(&self, name: &str) -> io::Result<LockGuard> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        self.lock_file(&path, &options, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock_also(&self, name: &str) -> io::Result<LockGuard> {
        if planted::active(52) {
            return Ok(Box::new(()));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        self.lock_file(&self.path(name), &options, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock_shared(&self, name: &str) -> io::Result<Option<LockGuard>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match self.lock_file(&self.path(name), &options, FlockOperation::NonBlockingLockShared) {
            Ok(guard) => Ok(Some(guard)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // No such file, no right to it, or a file system without locks: whoever only reads goes without.
            Err(_) => Ok(None),
        }
    }
}

impl DirStorage {
    fn lock_file(&self, path: &Path, how: &OpenOptions, lock: FlockOperation) -> io::Result<LockGuard> {
        for _ in 0..LOCK_TRIES {
            let file = how.open(path)?;
            // A lock of this kind belongs to the open file, not to the process: a second open in the same
            // process is refused like any other, and closing some other handle does not give it up.
            rustix::fs::flock(&file, lock)?;
            // Between open and lock somebody may have put another file in this place; whoever locks that
            // one would not meet us.
            let found = file.metadata()?;
            let lock =
                DirLock { file, path: path.to_owned(), identity: identity(&found), process: self.process };
            if lock.is_named()? {
                return Ok(Box::new(lock));
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Held until dropped by the process that took it, or until every process that has the open file has closed it.
///
/// A child of `fork()` shares the open file, and so the lock. It must not give up what its parent still has: only the
/// process that took the lock unlocks it, and that one does so whatever children it has left behind.
#[derive(Debug)]
struct DirLock {
    file: fs::File,
    path: PathBuf,
    /// Device and number of the file.
    identity: (u64, u64),
    process: Process,
}

impl DirLock {
    /// Whether the path still leads to the file. An error that leaves it open says nothing.
    fn is_named(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(named) => Ok(identity(&named) == self.identity),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
                _ => Err(error),
            },
        }
    }
}

impl Ownership for DirLock {
    /// One look-up by the path answers for the file and for every directory above it: the number it finds is another
    /// one, or none, once the file or a directory on the way was removed, renamed or replaced.
    fn check(&self) -> io::Result<()> {
        // Who may not look any more (another user or root directory since) has no answer: links are counted then.
        if self.is_named().or_else(|_| Ok::<_, io::Error>(self.file.metadata()?.nlink() > 0))? {
            return Ok(());
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("{name} was removed, renamed or replaced while the store was open");
        Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, text))
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        if self.process.is_current() {
            // Closing it does the same where nobody shares it.
            let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        }
    }
}

impl Process {
    /// Refuses to change files in a child of `fork()`: they are its parent's.
    fn may_write(self) -> io::Result<()> {
        if self.is_current() { Ok(()) } else { Err(io::Error::other(FORKED)) }
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[derive(Debug)]
struct DirFile {
    /// Reads, sizes and syncs, and writes unless `direct` takes them.
    buffered: fs::File,
    /// Writes past the page cache, where the file was opened so and the file system can.
    direct: Option<fs::File>,
    /// Set for good once the file system refused the alignment of a direct write.
    refused: AtomicBool,
    process: Process,
}

impl File for DirFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.buffered.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.process.may_write()?;
        if let Some(direct) = self.direct.as_ref().filter(|_| !self.refused.load(Ordering::Relaxed)) {
            match direct.write_all_at(data, offset) {
                // Some devices ask for more than 512 bytes of alignment. What a partial write left behind
                // is written again below.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                    self.refused.store(true, Ordering::Relaxed);
                }
                done => return done,
            }
        }
        self.buffered.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        // One sync covers both descriptors: it works on the file, not on the descriptor.
        sync_data(&self.buffered)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.buffered.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.process.may_write()?;
        self.buffered.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.process.may_write()?;
        allocate(&self.buffered, len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        start_writeback(&self.buffered, offset, len);
    }

    fn drop_cache(&self) -> io::Result<()> {
        drop_cache(&self.buffered)
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.buffered.metadata()?.nlink() > 0)
    }

    fn cut_nameless(&self, bytes: u64) -> io::Result<bool> {
        self.process.may_write()?;
        let found = self.buffered.metadata()?;
        if found.nlink() > 0 || found.len() == 0 {
            return Ok(false);
        }
        let left = found.len().saturating_sub(bytes);
        self.buffered.set_len(left)?;
        // Where freed blocks are discarded, that is done with the sync: piece by piece, too.
        sync_data(&self.buffered)?;
        Ok(left > 0)
    }
}

fn create_one_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        done => done,
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<Option<fs::File>> {
    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    match OpenOptions::new().write(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        // The file system has no such mode.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> io::Result<Option<fs::File>> {
    Ok(None)
}

#[cfg(not(target_vendor = "apple"))]
fn sync_data(file: &fs::File) -> io::Result<()> {
    Ok(rustix::fs::fdatasync(file)?)
}

#[cfg(not(target_vendor = "apple"))]
fn sync(file: &fs::File) -> io::Result<()> {
    Ok(rustix::fs::fsync(file)?)
}

/// On macOS `fsync` only hands the bytes to the drive; this asks the drive to keep them.
#[cfg(target_vendor = "apple")]
fn sync_data(file: &fs::File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(file)?)
}

#[cfg(target_vendor = "apple")]
fn sync(file: &fs::File) -> io::Result<()> {
    sync_data(file)
}

#[cfg(target_os = "linux")]
fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => grow(file, len),
        done => Ok(done?),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    grow(file, len)
}

fn grow(file: &fs::File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
}

/// The nearest thing without a system call of our own: dropping the cache of a dirty range makes the kernel
/// begin to write it, without waiting, and keeps what is dirty.
#[cfg(target_os = "linux")]
fn start_writeback(file: &fs::File, offset: u64, len: u64) {
    // A hint that was not taken costs a longer sync later, nothing else.
    let _ = rustix::fs::fadvise(file, offset, NonZeroU64::new(len), rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn start_writeback(_file: &fs::File, _offset: u64, _len: u64) {}

#[cfg(target_os = "linux")]
fn drop_cache(file: &fs::File) -> io::Result<()> {
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

#[cfg(not(target_os = "linux"))]
fn drop_cache(_file: &fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
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
