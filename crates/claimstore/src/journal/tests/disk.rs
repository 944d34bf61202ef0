//! A disk for tests: a page cache over sectors, power cuts, failing syncs, and a log of what was done.

use crate::io::{File, LockGuard, OpenMode, Storage};
use crate::journal::frame::SECTOR_BYTES;
use crate::sync::{Arc, Mutex};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A small generator, so that a seed is a case.
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % below
    }
}

#[derive(Debug, Default)]
pub(super) struct TestDisk {
    names: Mutex<BTreeMap<String, Arc<Inode>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    log: Mutex<Vec<String>>,
    failing_syncs: Mutex<u32>,
}

#[derive(Debug, Default)]
struct Inode {
    name: Mutex<String>,
    bytes: Mutex<Bytes>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default, Clone)]
struct Bytes {
    cache: Vec<u8>,
    disk: Vec<u8>,
    /// Sectors of the cache the disk has not got.
    dirty: BTreeSet<usize>,
    /// Sectors that were synced once: these are never torn into garbage.
    settled: BTreeSet<usize>,
}

impl TestDisk {
    pub(super) fn new() -> Arc<TestDisk> {
        Arc::new(TestDisk::default())
    }

    /// What was done since the last call.
    pub(super) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.log.lock())
    }

    /// Makes the next syncs of files fail; the pages count as clean afterwards.
    pub(super) fn fail_syncs(&self, count: u32) {
        *self.shared.failing_syncs.lock() = count;
    }

    /// The disk after a power cut: any part of what was not synced, by sectors.
    pub(super) fn cut_power(&self, dice: &mut Dice) -> Arc<TestDisk> {
        let after = TestDisk::new();
        for (name, inode) in &*self.names.lock() {
            let old = inode.bytes.lock().clone();
            let mut disk = old.disk.clone();
            disk.resize(old.cache.len().max(old.disk.len()), 0);
            for &sector in &old.dirty {
                let range = sector * SECTOR_BYTES..((sector + 1) * SECTOR_BYTES).min(old.cache.len());
                match dice.roll(5) {
                    0 | 1 => disk[range.clone()].copy_from_slice(&old.cache[range]),
                    2 if !old.settled.contains(&sector) => disk[range].fill(dice.roll(256) as u8),
                    _ => {}
                }
            }
            after.insert(
                name,
                Bytes { cache: disk.clone(), disk, dirty: BTreeSet::new(), settled: old.settled },
            );
        }
        after
    }

    /// An independent copy, everything in it durable.
    pub(super) fn copy(&self) -> Arc<TestDisk> {
        let after = TestDisk::new();
        for (name, inode) in &*self.names.lock() {
            let cache = inode.bytes.lock().cache.clone();
            after.insert(name, Bytes { disk: cache.clone(), cache, ..Bytes::default() });
        }
        after
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        self.names.lock()[name].bytes.lock().cache.clone()
    }

    /// Changes a file behind everybody's back, durably.
    pub(super) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let names = self.names.lock();
        let mut bytes = names[name].bytes.lock();
        edit(&mut bytes.cache);
        bytes.disk = bytes.cache.clone();
    }

    fn insert(&self, name: &str, bytes: Bytes) {
        let inode = Inode {
            name: Mutex::new(name.to_owned()),
            bytes: Mutex::new(bytes),
            shared: self.shared.clone(),
        };
        self.names.lock().insert(name.to_owned(), Arc::new(inode));
    }

    fn note(&self, what: String) {
        self.shared.log.lock().push(what);
    }
}

impl Storage for TestDisk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let known = self.names.lock().contains_key(name);
        match (known, mode == OpenMode::CreateNew) {
            (true, true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (false, false) => return Err(io::ErrorKind::NotFound.into()),
            (false, true) => self.insert(name, Bytes::default()),
            (true, false) => {}
        }
        Ok(Arc::new(Handle(self.names.lock()[name].clone())))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{dir}/");
        Ok(self
            .names
            .lock()
            .keys()
            .filter_map(|name| name.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect())
    }

    fn create_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names.lock();
        let inode = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        to.clone_into(&mut inode.name.lock());
        names.insert(to.to_owned(), inode);
        drop(names);
        self.note(format!("rename {from} {to}"));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.names.lock().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.note(format!("sync_dir {dir}"));
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<LockGuard> {
        Ok(Box::new(()))
    }
}

#[derive(Debug)]
struct Handle(Arc<Inode>);

impl Handle {
    fn note(&self, what: &str) {
        let line = format!("{what} {}", self.0.name.lock().as_str());
        self.0.shared.log.lock().push(line);
    }
}

impl File for Handle {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.note("read");
        let bytes = self.0.bytes.lock();
        let range = offset as usize..offset as usize + buf.len();
        buf.copy_from_slice(bytes.cache.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.note("write");
        let (start, end) = (offset as usize, offset as usize + data.len());
        let mut bytes = self.0.bytes.lock();
        if bytes.cache.len() < end {
            bytes.cache.resize(end, 0);
        }
        bytes.cache[start..end].copy_from_slice(data);
        bytes.dirty.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note("sync");
        let mut bytes = self.0.bytes.lock();
        let mut failing = self.0.shared.failing_syncs.lock();
        if *failing > 0 {
            *failing -= 1;
            bytes.dirty.clear();
            return Err(io::Error::other("planned"));
        }
        let dirty = std::mem::take(&mut bytes.dirty);
        let len = bytes.cache.len();
        bytes.disk.resize(len, 0);
        for &sector in &dirty {
            let range = sector * SECTOR_BYTES..((sector + 1) * SECTOR_BYTES).min(len);
            let new = bytes.cache[range.clone()].to_vec();
            bytes.disk[range].copy_from_slice(&new);
        }
        bytes.settled.extend(dirty);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes.lock().cache.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.0.bytes.lock();
        bytes.cache.resize(len as usize, 0);
        bytes.dirty.retain(|&sector| ((sector * SECTOR_BYTES) as u64) < len);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.set_len(len) } else { Ok(()) }
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}

    fn drop_cache(&self) -> io::Result<()> {
        self.note("drop_cache");
        let mut bytes = self.0.bytes.lock();
        let len = bytes.disk.len();
        for sector in 0..len.div_ceil(SECTOR_BYTES) {
            let range = sector * SECTOR_BYTES..((sector + 1) * SECTOR_BYTES).min(len);
            if !bytes.dirty.contains(&sector) {
                let old = bytes.disk[range.clone()].to_vec();
                bytes.cache[range].copy_from_slice(&old);
            }
        }
        Ok(())
    }
}
