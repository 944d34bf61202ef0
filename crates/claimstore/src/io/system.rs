//! The system calls that [`DirStorage`](super::DirStorage) is made of.
//!
//! A seam below the storage, so that a simulated kernel can run the same code as real machines. The system calls of
//! that code, and their order, decide what a power loss leaves. Each call behaves like the kernel's: a read or write
//! may be short, most calls may be interrupted, and nothing is repeated here.
//!
//! Programs have no use for it, and it is not part of the stable interface.

#[cfg(target_os = "linux")]
use super::clock::{Clock as _, SystemClock};
#[cfg(target_os = "linux")]
use super::owner;
pub use super::owner::Running;
#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::fs::{FlockOperation, OFlags};
#[cfg(target_os = "linux")]
use rustix::io::Errno;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How [`System::open`] opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A file that must not exist, created for its owner only (`O_CREAT | O_EXCL`, mode 0600).
    New,
    /// A file that is created if it is missing (`O_CREAT`, mode 0600).
    Any,
    /// A file that must exist.
    Existing,
    /// A file that must exist, for reading only (`O_RDONLY`).
    ReadOnly,
    /// A file that must exist, to write past the page cache (`O_DIRECT`). `InvalidInput` where that is not to be had.
    Direct,
    /// A directory, to be synced.
    Directory,
}

/// How [`System::lock`] locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locking {
    /// For its owner alone (`LOCK_EX`).
    Exclusive,
    /// Beside others that only read (`LOCK_SH`).
    Shared,
}

/// Metadata of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Device and inode number: the same for all its names.
    pub id: (u64, u64),
    /// Its length in bytes.
    pub len: u64,
    /// How many names it has.
    pub links: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A kernel, as far as a storage needs one.
pub trait System: Debug + Clone + Send + Sync + 'static {
    /// An open file or directory; dropping it closes it.
    type Handle: Debug + Send + Sync + 'static;

    /// `open`. The handle is closed on `exec`.
    fn open(&self, path: &Path, how: Opening) -> io::Result<Self::Handle>;
    /// `pread`: how many bytes were read; 0 at the end of the file.
    fn read_at(&self, file: &Self::Handle, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// `pwrite`: how many bytes were written.
    fn write_at(&self, file: &Self::Handle, data: &[u8], offset: u64) -> io::Result<usize>;
    /// `fdatasync`: the file's bytes, and its length.
    fn sync_data(&self, file: &Self::Handle) -> io::Result<()>;
    /// `fsync`: of a directory, its names.
    fn sync(&self, handle: &Self::Handle) -> io::Result<()>;
    /// `fstat`.
    fn status(&self, handle: &Self::Handle) -> io::Result<Status>;
    /// `stat`, which follows symbolic links.
    fn status_of(&self, path: &Path) -> io::Result<Status>;
    /// `ftruncate`.
    fn set_len(&self, file: &Self::Handle, len: u64) -> io::Result<()>;
    /// `fallocate` of the first `len` bytes, at least one. `Unsupported` where the file system has no such call.
    fn allocate(&self, file: &Self::Handle, len: u64) -> io::Result<()>;
    /// `posix_fadvise(POSIX_FADV_DONTNEED)`; a length of 0 is the whole rest of the file.
    fn dont_need(&self, file: &Self::Handle, offset: u64, len: u64) -> io::Result<()>;
    /// `flock` with `LOCK_NB`. `WouldBlock` when another open file has it.
    fn lock(&self, file: &Self::Handle, how: Locking) -> io::Result<()>;
    /// `flock(LOCK_UN)`.
    fn unlock(&self, file: &Self::Handle) -> io::Result<()>;
    /// `mkdir`, for its owner alone (mode 0700).
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// `rename`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// `unlink`.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// `readdir`: the names that are UTF-8; others cannot be asked for.
    fn names(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// `statvfs`: the bytes that may still be written.
    fn free_bytes(&self, dir: &Path) -> Option<u64>;
    /// This process. `None`, the default, where there is no way to tell it from a later one with its number.
    fn this_process(&self) -> Option<Running> {
        None
    }
    /// Whether that process still runs, and nothing says that it has no lock on the file with this inode number.
    fn may_hold(&self, process: &Running, inode: u64) -> bool {
        let _ = (process, inode);
        false
    }
}

/// The operating system's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl System for Kernel {
    type Handle = fs::File;

    fn open(&self, path: &Path, how: Opening) -> io::Result<fs::File> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match how {
            Opening::New => options.write(true).create_new(true),
            Opening::Any => options.write(true).create(true).truncate(false),
            Opening::Existing => options.write(true),
            Opening::ReadOnly => &mut options,
            #[cfg(target_os = "linux")]
            Opening::Direct => {
                options.read(false).write(true).custom_flags(OFlags::DIRECT.bits().cast_signed())
            }
            #[cfg(not(target_os = "linux"))]
            Opening::Direct => return Err(io::ErrorKind::InvalidInput.into()),
            Opening::Directory => options.custom_flags(OFlags::DIRECTORY.bits().cast_signed()),
        };
        options.open(path)
    }

    fn read_at(&self, file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(file, buf, offset)
    }

    fn write_at(&self, file: &fs::File, data: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(file, data, offset)
    }

    #[cfg(not(target_vendor = "apple"))]
    fn sync_data(&self, file: &fs::File) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(file)?)
    }

    #[cfg(not(target_vendor = "apple"))]
    fn sync(&self, handle: &fs::File) -> io::Result<()> {
        Ok(rustix::fs::fsync(handle)?)
    }

    /// On macOS `fsync` only hands the bytes to the drive; this asks the drive to keep them.
    #[cfg(target_vendor = "apple")]
    fn sync_data(&self, file: &fs::File) -> io::Result<()> {
        Ok(rustix::fs::fcntl_fullfsync(file)?)
    }

    #[cfg(target_vendor = "apple")]
    fn sync(&self, handle: &fs::File) -> io::Result<()> {
        self.sync_data(handle)
    }

    #[cfg(target_os = "linux")]
    fn status(&self, handle: &fs::File) -> io::Result<Status> {
        match timeless_status(handle.as_fd(), Path::new(""), AtFlags::EMPTY_PATH) {
            Err(Errno::NOSYS) => Ok(status_from(&handle.metadata()?)),
            found => Ok(found?),
        }
    }

    #[cfg(target_os = "linux")]
    fn status_of(&self, path: &Path) -> io::Result<Status> {
        match timeless_status(rustix::fs::CWD, path, AtFlags::empty()) {
            Err(Errno::NOSYS) => Ok(status_from(&fs::metadata(path)?)),
            found => Ok(found?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn status(&self, handle: &fs::File) -> io::Result<Status> {
        Ok(status_from(&handle.metadata()?))
    }

    #[cfg(not(target_os = "linux"))]
    fn status_of(&self, path: &Path) -> io::Result<Status> {
        Ok(status_from(&fs::metadata(path)?))
    }

    fn set_len(&self, file: &fs::File, len: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(file, len)?)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, file: &fs::File, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
            done => Ok(done?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _file: &fs::File, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(target_os = "linux")]
    fn dont_need(&self, file: &fs::File, offset: u64, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fadvise(file, offset, NonZeroU64::new(len), rustix::fs::Advice::DontNeed)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn dont_need(&self, _file: &fs::File, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, file: &fs::File, how: Locking) -> io::Result<()> {
        let operation = match how {
            Locking::Exclusive => FlockOperation::NonBlockingLockExclusive,
            Locking::Shared => FlockOperation::NonBlockingLockShared,
        };
        Ok(rustix::fs::flock(file, operation)?)
    }

    fn unlock(&self, file: &fs::File) -> io::Result<()> {
        Ok(rustix::fs::flock(file, FlockOperation::Unlock)?)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn free_bytes(&self, dir: &Path) -> Option<u64> {
        let space = rustix::fs::statvfs(dir).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    #[cfg(target_os = "linux")]
    fn this_process(&self) -> Option<Running> {
        let id = std::process::id();
        let began = owner::began(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let namespace = rustix::fs::stat("/proc/self/ns/pid").ok()?.st_ino;
        Some(Running { id, began, namespace, boot: u128::from_be_bytes(SystemClock.boot_id()) })
    }

    #[cfg(target_os = "linux")]
    fn may_hold(&self, process: &Running, inode: u64) -> bool {
        let Some(here) = self.this_process() else { return false };
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id)).unwrap_or_default();
        (process.namespace, process.boot) == (here.namespace, here.boot)
            && owner::began(&stat) == Some(process.began)
            && !owner::is_denied(&fs::read_to_string("/proc/locks").unwrap_or_default(), inode, process.id)
    }
}

/// `statx` without times. Performance only: since Linux 6.13 a file whose times were asked for gets finer ones with its
/// next write, so that each write after such a call changes the inode, and the sync after it has more to do. The journal
/// is looked at after every sync; with times, a claim on ext4 took half as long again.
#[cfg(target_os = "linux")]
fn timeless_status(dir: BorrowedFd<'_>, path: &Path, flags: AtFlags) -> Result<Status, Errno> {
    let wanted = StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::INO | StatxFlags::SIZE;
    let found = rustix::fs::statx(dir, path, flags, wanted)?;
    let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
    let is_dir = FileType::from_raw_mode(found.stx_mode.into()).is_dir();
    Ok(Status { id: (device, found.stx_ino), len: found.stx_size, links: found.stx_nlink.into(), is_dir })
}

fn status_from(found: &fs::Metadata) -> Status {
    Status { id: (found.dev(), found.ino()), len: found.len(), links: found.nlink(), is_dir: found.is_dir() }
}
