//! The storage seam: a flat directory tree of named files.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How [`Storage::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Must not exist yet; is created empty, readable and writable.
    CreateNew,
    /// Must exist; readable and writable.
    Existing,
    /// Must exist; readable, and writes bypass the page cache where the file system can do so.
    ///
    /// Offsets, lengths and (where the platform asks for it) buffer addresses of writes are multiples of
    /// 512 bytes. A storage that cannot bypass its cache opens the file as with [`OpenMode::Existing`].
    Direct,
    /// Must exist; is read and never written.
    ReadOnly,
}

/// A directory tree seen as names: `"STORE"`, `"journal/0000000000000001.seg"`.
///
/// Names use `/`, never start with it and never contain `..`. A created, renamed or removed name is
/// durable only after [`sync_dir`](Storage::sync_dir) of its directory returned `Ok`; written bytes are
/// durable only after [`File::sync_data`] of the file returned `Ok`. After an error of either, what is
/// durable is unknown, and calling it again proves nothing.
pub trait Storage: Debug + Send + Sync + 'static {
    /// Opens a file. Errors are those of the operating system (`NotFound`, `AlreadyExists`, ..).
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// The names of the entries directly inside `dir` (`""` is the root), in no particular order.
    /// A missing directory is `NotFound`.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Creates a directory; an existing one is fine.
    fn create_dir(&self, dir: &str) -> io::Result<()>;
    /// Renames a file, replacing the target if there is one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Open handles of it stay usable.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the entries of `dir` (`""` is the root) durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Takes the exclusive ownership of the whole tree, using the file `name`. Fails with `WouldBlock` when
    /// another owner, in this process or another, holds it. Ownership ends when the guard is dropped or the
    /// process dies.
    fn lock(&self, name: &str) -> io::Result<LockGuard>;
    /// Whether `name` leads to this open file. Another one may stand there, or none, where the files of an open store were
    /// moved. The default is for storages whose files nobody else can reach.
    fn leads_to(&self, name: &str, file: &dyn File) -> io::Result<bool> {
        let _ = name;
        file.has_name()
    }
    /// Takes a second ownership, of the file `name`, which must exist. Fails like [`lock`](Storage::lock).
    ///
    /// Programs that clear away what they take for a stale lock file remove the file of the first one; this one they
    /// leave, as it holds data. The default is for storages whose files nobody else can reach.
    fn lock_also(&self, name: &str) -> io::Result<LockGuard> {
        let _ = name;
        Ok(Box::new(()))
    }
    /// Shares the file `name` with other readers, and with nobody who owns it. Changes nothing. Fails with `WouldBlock`
    /// when an owner holds it; `None` where there is no such file or no lock can be taken.
    fn lock_shared(&self, name: &str) -> io::Result<Option<LockGuard>> {
        let _ = name;
        Ok(None)
    }
    /// The directory that it is, if it is one of the operating system's.
    fn directory(&self) -> Option<&Path> {
        None
    }
    /// The length of a file in bytes, without changing anything.
    fn size(&self, name: &str) -> io::Result<u64> {
        self.open(name, OpenMode::Existing)?.len()
    }
    /// Bytes that may still be written; `None` where there is no saying.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// Keeps the ownership that [`Storage::lock`] granted until it is dropped.
pub type LockGuard = Box<dyn Ownership>;

/// What was granted by [`Storage::lock`].
pub trait Ownership: Debug + Send + Sync {
    /// Whether the file that was locked still has its name. Another owner could come in where it has not: the error
    /// says what happened, and its kind is `StaleNetworkFileHandle`.
    ///
    /// The default is for storages whose files nobody else can reach.
    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing is held.
impl Ownership for () {}

/// One open file. All methods take `&self`; positions are explicit.
pub trait File: Debug + Send + Sync {
    /// Fills `buf` from `offset`; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `data` at `offset`, growing the file if need be. Not durable before
    /// [`sync_data`](File::sync_data).
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all written bytes, and the length, durable.
    fn sync_data(&self) -> io::Result<()>;
    /// The current length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or grows the file; new bytes read as zero.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space for the first `len` bytes and grows the file to them, so that writing there cannot run
    /// out of space. New bytes read as zero.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Asks for write-back of a range to begin. A hint: no promise, no waiting.
    fn start_writeback(&self, offset: u64, len: u64);
    /// Drops clean cached pages, so that the next read shows what the device holds.
    fn drop_cache(&self) -> io::Result<()>;
    /// Which file it is on its disk, where that can be told: the same for all its names and handles.
    fn id(&self) -> Option<(u64, u64)> {
        None
    }
    /// Whether the file still has a name: bytes of one that has none are gone with its last handle.
    fn has_name(&self) -> io::Result<bool> {
        Ok(true)
    }
    /// Gives the last `bytes` of a file that no name is left for back to the file system, and answers whether
    /// more are left. A file that still has a name, another link say, is left as it is.
    ///
    /// A hint, as such a file goes away with its last handle: a file system that is handed much at once may
    /// keep everybody else's syncs waiting for tens of milliseconds.
    fn cut_nameless(&self, bytes: u64) -> io::Result<bool> {
        let _ = bytes;
        Ok(false)
    }
}
