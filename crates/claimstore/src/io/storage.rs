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
    /// Whether what is synced outlives the process. The default: it does.
    fn is_durable(&self) -> bool {
        true
    }
    /// Whether `name` leads to this open file. If the files of an open store were moved, the name leads to another
    /// file, or to none. The default is for storages whose files no other program can reach.
    fn leads_to(&self, name: &str, file: &dyn File) -> io::Result<bool> {
        let _ = name;
        file.has_name()
    }
    /// Takes a second ownership, of the file `name`, which must exist. Fails like [`lock`](Storage::lock).
    ///
    /// Programs that remove supposedly stale lock files remove the file of the first lock, but not this one, because
    /// it has data. The default is for storages whose files no other program can reach.
    fn lock_also(&self, name: &str) -> io::Result<LockGuard> {
        let _ = name;
        Ok(Box::new(()))
    }
    /// Locks the file `name` together with other readers, and against owners. Changes nothing. Fails with
    /// `WouldBlock` if an owner holds it; `None` if there is no such file or no lock can be taken.
    fn lock_shared(&self, name: &str) -> io::Result<Option<LockGuard>> {
        let _ = name;
        Ok(None)
    }
    /// The process that holds the ownership of the file `name`, if that is known for certain. Asked after
    /// [`lock`](Storage::lock) or [`lock_shared`](Storage::lock_shared) failed with `WouldBlock`.
    fn owner(&self, name: &str) -> Option<u32> {
        let _ = name;
        None
    }
    /// The directory that it is, if it is one of the operating system's.
    fn directory(&self) -> Option<&Path> {
        None
    }
    /// The length of a file in bytes, without changing anything.
    fn size(&self, name: &str) -> io::Result<u64> {
        self.open(name, OpenMode::Existing)?.len()
    }
    /// Bytes that may still be written; `None` if unknown.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// Keeps the ownership that [`Storage::lock`] granted until it is dropped.
pub type LockGuard = Box<dyn Ownership>;

/// The ownership that [`Storage::lock`] granted.
pub trait Ownership: Debug + Send + Sync {
    /// Checks that the locked file still has its name. If not, another owner could open the store: the error says
    /// what happened, and its kind is `StaleNetworkFileHandle`.
    ///
    /// The default is for storages whose files no other program can reach.
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
    /// Drops clean cached pages, so that the next read returns the contents of the disk.
    fn drop_cache(&self) -> io::Result<()>;
    /// The identity of the file on its disk, if known: the same for all its names and handles.
    fn id(&self) -> Option<(u64, u64)> {
        None
    }
    /// Whether the file still has a name. The bytes of a file without a name are lost with its last handle.
    fn has_name(&self) -> io::Result<bool> {
        Ok(true)
    }
    /// The name that errors give it, if its storage names it.
    fn name(&self) -> Option<&str> {
        None
    }
    /// Frees the last `bytes` of a file without a name, and returns whether more are left. A file that still has a
    /// name, such as another link, stays unchanged.
    ///
    /// A hint: such a file goes away with its last handle anyway. But a file system that frees much at once may delay
    /// all other syncs by tens of milliseconds.
    fn cut_nameless(&self, bytes: u64) -> io::Result<bool> {
        let _ = bytes;
        Ok(false)
    }
}
