//! A storage that forgets what was not synced and fails when told to, and the sweep over damaged bytes.

use crate::error::{Error, ErrorKind};
use crate::io::{File, LockGuard, OpenMode, Storage};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
use std::collections::BTreeMap;
use std::io;

/// Files in memory, each with what the device holds and what the page cache shows.
#[derive(Debug, Default)]
pub(in crate::bucket) struct LossyStorage {
    files: Mutex<BTreeMap<String, Arc<LossyFile>>>,
    fuse: Arc<Fuse>,
}

/// Lets so many writes, syncs and questions for a length through and fails one; those after it succeed again, as a kernel's do.
#[derive(Debug)]
struct Fuse {
    left: AtomicU64,
    /// Decides which sectors of a failed sync reached the device.
    seed: AtomicU64,
    /// Whether the next read fails.
    read: AtomicBool,
}

impl Default for Fuse {
    fn default() -> Fuse {
        Fuse { left: AtomicU64::new(u64::MAX), seed: AtomicU64::new(1), read: AtomicBool::new(false) }
    }
}

impl Fuse {
    fn burn(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.left.store(u64::MAX, Ordering::Relaxed);
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    fn coin(&self) -> bool {
        let mut x = self.seed.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.seed.store(x, Ordering::Relaxed);
        x.is_multiple_of(2)
    }
}

impl LossyStorage {
    pub(in crate::bucket) fn of(name: &str, bytes: &[u8]) -> Arc<LossyStorage> {
        let storage = LossyStorage::default();
        let file = storage.open(name, OpenMode::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.sync_data().unwrap();
        Arc::new(storage)
    }

    /// Fails the operation after the next `let_through`.
    pub(in crate::bucket) fn fail_after(&self, let_through: u64, seed: u64) {
        self.fuse.seed.store(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, Ordering::Relaxed);
        self.fuse.left.store(let_through, Ordering::Relaxed);
    }

    /// Whether the failure is still to come; it comes no more.
    pub(in crate::bucket) fn disarm(&self) -> bool {
        self.fuse.left.swap(u64::MAX, Ordering::Relaxed) < u64::MAX / 2
    }

    /// Fails the next read.
    pub(in crate::bucket) fn fail_a_read(&self) {
        self.fuse.read.store(true, Ordering::Relaxed);
    }

    /// What the device holds.
    pub(in crate::bucket) fn durable(&self, name: &str) -> Vec<u8> {
        self.files.lock().get(name).unwrap().bytes.lock().durable.clone()
    }
}

/// Whether an error or one behind it says that the bytes are damaged.
pub(in crate::bucket) fn blames_bytes(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref().map(Error::kind) == Some(ErrorKind::Corrupt) {
            return true;
        }
        next = error.source();
    }
    false
}

impl Storage for LossyStorage {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut files = self.files.lock();
        match (files.get(name), mode) {
            (Some(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (None, OpenMode::CreateNew) => {
                let file = Arc::new(LossyFile { bytes: Mutex::default(), fuse: self.fuse.clone() });
                files.insert(name.to_owned(), file.clone());
                Ok(file)
            }
            (Some(file), _) => Ok(file.clone()),
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, _dir: &str) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn create_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        self.fuse.burn()
    }

    fn lock(&self, _name: &str) -> io::Result<LockGuard> {
        Ok(Box::new(()))
    }
}

#[derive(Debug, Default)]
struct Bytes {
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// Whether they may differ.
    dirty: bool,
}

#[derive(Debug)]
struct LossyFile {
    bytes: Mutex<Bytes>,
    fuse: Arc<Fuse>,
}

impl File for LossyFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.fuse.read.swap(false, Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let bytes = self.bytes.lock();
        let start = offset as usize;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes.cached.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.fuse.burn()?;
        let mut bytes = self.bytes.lock();
        let end = offset as usize + data.len();
        if bytes.cached.len() < end {
            bytes.cached.resize(end, 0);
        }
        bytes.cached[offset as usize..end].copy_from_slice(data);
        bytes.dirty = true;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let outcome = self.fuse.burn();
        let mut bytes = self.bytes.lock();
        let Bytes { durable, cached, dirty } = &mut *bytes;
        if outcome.is_ok() {
            if std::mem::take(dirty) {
                durable.clone_from(cached);
            }
            return Ok(());
        }
        durable.resize(cached.len(), 0);
        for (old, new) in durable.chunks_mut(512).zip(cached.chunks(512)) {
            if self.fuse.coin() {
                old.copy_from_slice(new);
            }
        }
        outcome
    }

    /// Fails like a write: a file system that has shut down does not even tell a length.
    fn len(&self) -> io::Result<u64> {
        self.fuse.burn()?;
        Ok(self.bytes.lock().cached.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fuse.burn()?;
        let mut bytes = self.bytes.lock();
        bytes.cached.resize(len as usize, 0);
        bytes.dirty = true;
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let short = (self.bytes.lock().cached.len() as u64) < len;
        if short { self.set_len(len) } else { Ok(()) }
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}

    fn drop_cache(&self) -> io::Result<()> {
        let mut bytes = self.bytes.lock();
        if std::mem::take(&mut bytes.dirty) {
            bytes.cached = bytes.durable.clone();
        }
        Ok(())
    }
}

/// What became of the flips of one sweep.
#[derive(Debug, Default)]
pub(in crate::bucket) struct Sweep {
    pub(in crate::bucket) right: usize,
    pub(in crate::bucket) refused: usize,
    /// Offset and mask of the flips after which something else was read.
    pub(in crate::bucket) other: Vec<(usize, u8)>,
}

/// Reads everything; says whether it is what was written.
pub(in crate::bucket) type Probe = dyn Fn(&Arc<dyn Storage>) -> Result<bool, Error>;

/// Opens the file with one byte changed at a time. A refused file must be left as it was.
///
/// redb's header is swept bit by bit, the rest is sampled; with `CLAIMSTORE_SWEEP=full`, small files are
/// swept bit by bit too, and large ones sampled more densely.
pub(in crate::bucket) fn sweep(name: &str, bytes: &[u8], probe: &Probe) -> Sweep {
    let full = std::env::var("CLAIMSTORE_SWEEP").is_ok_and(|how| how == "full");
    let stride = if full { 7 } else { (bytes.len() / 1_500).max(1) };
    let mut sweep = Sweep::default();
    let mut damaged = bytes.to_vec();
    for offset in 0..bytes.len() {
        let thorough = offset < 512 || full && bytes.len() < 512 << 10;
        if !thorough && offset % stride != 0 {
            continue;
        }
        for mask in [0xff, 1, 2, 4, 8, 16, 32, 64, 128].into_iter().take(if thorough { 9 } else { 1 }) {
            damaged[offset] ^= mask;
            let storage = LossyStorage::of(name, &damaged);
            match probe(&(storage.clone() as Arc<dyn Storage>)) {
                Ok(true) => sweep.right += 1,
                Ok(false) => sweep.other.push((offset, mask)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {offset} ^ {mask:#x}: {error:?}");
                    assert_eq!(storage.durable(name), damaged, "byte {offset} ^ {mask:#x}: touched");
                    sweep.refused += 1;
                }
            }
            damaged[offset] ^= mask;
        }
    }
    sweep
}
