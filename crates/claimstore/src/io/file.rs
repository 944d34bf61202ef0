//! The real storage: a directory of the operating system.

use super::storage::{File, LockGuard, OpenMode, Storage};
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
}

impl DirStorage {
    /// The storage in directory `path`. Touches nothing on the disk; a relative path is taken from the
    /// current directory once, now, so that a later change of directory moves nothing.
    pub fn new(path: impl AsRef<Path>) -> DirStorage {
        let path = path.as_ref();
        // Fails only where there is no current directory or no path; the first open will then say so.
        DirStorage { root: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()) }
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
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).create_new(mode == OpenMode::CreateNew);
        let buffered = options.open(&path)?;
        let direct = if mode == OpenMode::Direct { open_direct(&path)? } else { None };
        Ok(Arc::new(DirFile { buffered, direct, refused: AtomicBool::new(false) }))
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
        create_one_dir(&self.path(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
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
        for _ in 0..LOCK_TRIES {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            // A lock of this kind belongs to the open file, not to the process: a second open in the same
            // process is refused like any other, and closing some other handle does not give it up.
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            // Between open and lock somebody may have put another file in this place; whoever locks that
            // one would not meet us.
            if names_this_file(&path, &file)? {
                return Ok(Box::new(DirLock { _held: file }));
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Held until dropped: closing the file gives up the lock, once every process that shares it has closed it.
///
/// It is not unlocked: a process that was forked with the store open shares the lock, and must not lose it because the
/// other one is done. So a child that has not begun its program yet keeps the directory for that long.
#[derive(Debug)]
struct DirLock {
    _held: fs::File,
}

#[derive(Debug)]
struct DirFile {
    /// Reads, sizes and syncs, and writes unless `direct` takes them.
    buffered: fs::File,
    /// Writes past the page cache, where the file was opened so and the file system can.
    direct: Option<fs::File>,
    /// Set for good once the file system refused the alignment of a direct write.
    refused: AtomicBool,
}

impl File for DirFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.buffered.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
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
        self.buffered.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        allocate(&self.buffered, len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        start_writeback(&self.buffered, offset, len);
    }

    fn drop_cache(&self) -> io::Result<()> {
        drop_cache(&self.buffered)
    }

    fn cut_nameless(&self, bytes: u64) -> io::Result<bool> {
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

fn names_this_file(path: &Path, file: &fs::File) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok(named.dev() == held.dev() && named.ino() == held.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
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
    fn a_lock_file_put_in_the_place_of_another_is_noticed() {
        let (_dir, storage) = store();
        let path = storage.path("LOCK");
        drop(storage.lock("LOCK").unwrap());
        let old = fs::File::open(&path).unwrap();
        assert!(names_this_file(&path, &old).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!names_this_file(&path, &old).unwrap());
        fs::write(&path, b"").unwrap();
        assert!(!names_this_file(&path, &old).unwrap());
    }

    #[test]
    fn relative_paths_are_taken_from_here() {
        assert!(DirStorage::new("somewhere").root().is_absolute());
    }
}
