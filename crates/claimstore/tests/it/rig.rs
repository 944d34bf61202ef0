//! A storage that can be left behind, and that can fail.

use crate::watch;
use claimstore::io::{File, LockGuard, MemoryStorage, OpenMode, Storage};
use claimstore::{ManualClock, Options, Store};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Memory whose owner may be gone without a word, as after the death of a process; and whose syncs can be held
/// up or made to fail.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rig {
    memory: Arc<MemoryStorage>,
    pub(crate) faults: Arc<Faults>,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) fail_syncs: AtomicBool,
    hold_syncs: AtomicBool,
    held: AtomicU32,
}

/// Syncs are held up until this is dropped: also by a test that fails, as its threads would wait for ever else.
#[must_use]
pub(crate) struct HeldSyncs<'a>(&'a Faults);

impl HeldSyncs<'_> {
    /// Waits until more than `looks` times a sync looked whether it may go on.
    pub(crate) fn wait_for(&self, looks: u32) {
        for _ in 0..30_000 {
            if self.0.held.load(Ordering::SeqCst) > looks {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        panic!("no sync was begun");
    }
}

impl Drop for HeldSyncs<'_> {
    fn drop(&mut self) {
        self.0.hold_syncs.store(false, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct RigFile {
    file: Arc<dyn File>,
    faults: Arc<Faults>,
}

impl Rig {
    pub(crate) fn open(&self, options: Options) -> Store {
        watch::this_test();
        options.segment_bytes(8 << 20).open_on(Arc::new(self.clone())).unwrap()
    }

    /// Holds up all syncs from here on.
    pub(crate) fn hold_syncs(&self) -> HeldSyncs<'_> {
        self.faults.held.store(0, Ordering::SeqCst);
        self.faults.hold_syncs.store(true, Ordering::SeqCst);
        HeldSyncs(&self.faults)
    }

    /// Opens it again although nobody closed it.
    pub(crate) fn crash(&self, store: Store, options: Options) -> Store {
        std::mem::forget(store);
        self.open(options)
    }
}

impl Storage for Rig {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.memory.open(name, mode)?;
        Ok(Arc::new(RigFile { file, faults: self.faults.clone() }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.memory.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.memory.create_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.memory.sync_dir(dir)
    }

    fn lock(&self, _name: &str) -> io::Result<LockGuard> {
        Ok(Box::new(()))
    }
}

impl File for RigFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        while self.faults.hold_syncs.load(Ordering::SeqCst) {
            self.faults.held.fetch_add(1, Ordering::SeqCst);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if self.faults.fail_syncs.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk says no"));
        }
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.file.start_writeback(offset, len);
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}

pub(crate) fn quiet(clock: &ManualClock) -> Options {
    Options::new().clock(clock.clone()).background(false)
}
