//! A thread that appends to a journal and syncs, and notes how long each append took, while something else
//! goes on in the same directory.

use claimstore_bench::Result;
use claimstore_bench::device::{Access, AlignedBuf, Preallocated, SECTOR};
use claimstore_bench::time::Stopwatch;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

const JOURNAL_BYTES: u64 = 64 << 20;

/// The running thread. It appends all the time, and notes only while it is asked to.
#[derive(Debug)]
pub(crate) struct Probe {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Microseconds of the appends that ended since the list was put here.
    noted: Mutex<Option<Vec<f64>>>,
}

impl Probe {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let journal = Preallocated::create(&dir.join("journal"), JOURNAL_BYTES, Access::Direct)?;
        let shared = Arc::<Shared>::default();
        let seen = Arc::clone(&shared);
        let thread = Builder::new().name("journal".into()).spawn(move || append(&journal, &seen))?;
        Ok(Self { shared, thread })
    }

    /// Does something; the latencies of the appends that ended meanwhile, in microseconds.
    pub(crate) fn during(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<f64>> {
        *self.shared.noted() = Some(Vec::new());
        work()?;
        Ok(self.shared.noted().take().unwrap_or_default())
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| "the journal thread panicked")?
    }
}

impl Shared {
    fn noted(&self) -> MutexGuard<'_, Option<Vec<f64>>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(journal: &Preallocated, shared: &Shared) -> Result<()> {
    let mut entry = AlignedBuf::new(SECTOR);
    let mut offset = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        entry.as_mut_slice().fill((offset / SECTOR as u64) as u8);
        let watch = Stopwatch::start();
        journal.write_durably(entry.as_slice(), offset)?;
        let micros = watch.micros();
        if let Some(noted) = shared.noted().as_mut() {
            noted.push(micros);
        }
        offset = (offset + SECTOR as u64) % journal.len();
    }
    Ok(())
}
