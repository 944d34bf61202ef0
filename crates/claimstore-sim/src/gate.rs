//! A disk that stops a thread at each operation on some files, until it is told to go on: what happens in the midst of a
//! long call is then chosen, not left to luck.
//!
//! Only operations on runs and on the catalogue stop: no caller waits for a lock that is held across one of these, but
//! for those who wait for upkeep.

use claimstore::io::{File, LockGuard, OpenMode, Storage};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The storage behind the gate.
#[derive(Debug)]
pub struct Gated {
    inner: Arc<dyn Storage>,
}

/// The side of the thread that stops.
#[derive(Debug)]
pub struct Stopper {
    stopped: Sender<()>,
    go_on: Receiver<()>,
}

/// The side of the thread that lets it go on. Dropped, it lets the other run to its end.
#[derive(Debug)]
pub struct Keeper {
    stopped: Receiver<()>,
    go_on: Sender<()>,
}

thread_local! {
    static STOPPER: RefCell<Option<Stopper>> = const { RefCell::new(None) };
}

/// Both sides of a gate.
pub fn gate() -> (Stopper, Keeper) {
    let (tell_stopped, stopped) = channel();
    let (tell_go_on, go_on) = channel();
    (Stopper { stopped: tell_stopped, go_on }, Keeper { stopped, go_on: tell_go_on })
}

impl Stopper {
    /// Runs `work`, which stops at each operation this thread makes on a gated file.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        STOPPER.set(Some(self));
        let done = work();
        // Whoever keeps the gate hears that nobody will stop any more.
        STOPPER.set(None);
        done
    }
}

impl Keeper {
    /// Waits until the other has stopped; false: it has come to its end.
    pub fn stopped(&self) -> bool {
        self.stopped.recv().is_ok()
    }

    /// Lets the other go on.
    pub fn go_on(&self) {
        // It may have ended by a panic, which its join tells.
        let _ended = self.go_on.send(());
    }
}

impl Gated {
    /// A gate before `inner`.
    pub fn before(inner: Arc<dyn Storage>) -> Gated {
        Gated { inner }
    }
}

fn stop(name: &str) {
    if !(name.starts_with("runs") || name.starts_with("catalog")) {
        return;
    }
    STOPPER.with_borrow(|stopper| {
        if let Some(stopper) = stopper
            && stopper.stopped.send(()).is_ok()
        {
            // Nobody keeps the gate any more: on to the end.
            let _open = stopper.go_on.recv();
        }
    });
}

impl Storage for Gated {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        stop(name);
        let inner = self.inner.open(name, mode)?;
        Ok(Arc::new(GatedFile { name: name.to_owned(), inner }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        stop(name);
        self.inner.remove(name)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        stop(dir);
        self.inner.sync_dir(dir)
    }

    fn lock(&self, name: &str) -> io::Result<LockGuard> {
        self.inner.lock(name)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.inner.size(name)
    }
}

struct GatedFile {
    name: String,
    inner: Arc<dyn File>,
}

impl File for GatedFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        stop(&self.name);
        self.inner.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        stop(&self.name);
        self.inner.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        stop(&self.name);
        self.inner.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        stop(&self.name);
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.inner.drop_cache()
    }

    fn cut_nameless(&self, bytes: u64) -> io::Result<bool> {
        self.inner.cut_nameless(bytes)
    }
}

impl fmt::Debug for GatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatedFile").finish_non_exhaustive()
    }
}
