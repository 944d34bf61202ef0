//! What the tests share: stores on disk and in memory under a clock that is moved by hand.

use crate::watch;
use claimstore::io::MemoryStorage;
use claimstore::{Claim, ClaimRequest, Error, ErrorKind, Lease, ManualClock, Options, Receipt, Store};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, UNIX_EPOCH};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Where the clocks of the tests begin, in seconds since 1970.
pub(crate) const START_S: u64 = 1_800_000_000;

/// A place a store can be opened in again and again, with a clock of its own.
pub(crate) struct Bed {
    place: Place,
    pub(crate) clock: ManualClock,
}

enum Place {
    Disk(tempfile::TempDir),
    Memory(Arc<MemoryStorage>),
}

impl Bed {
    pub(crate) fn disk() -> Bed {
        watch::this_test();
        Bed { place: Place::Disk(tempfile::tempdir().unwrap()), clock: clock() }
    }

    pub(crate) fn memory() -> Bed {
        watch::this_test();
        Bed { place: Place::Memory(Arc::new(MemoryStorage::new())), clock: clock() }
    }

    pub(crate) fn options(&self) -> Options {
        Options::new().clock(self.clock.clone()).background(false)
    }

    pub(crate) fn open(&self) -> Store {
        self.open_again(self.options())
    }

    /// Opens it where it may have been closed just now.
    #[track_caller]
    pub(crate) fn open_again(&self, options: Options) -> Store {
        match self.place {
            Place::Disk(_) => patiently(|| self.open_with(options.clone())).unwrap(),
            Place::Memory(_) => self.open_with(options).unwrap(),
        }
    }

    pub(crate) fn open_with(&self, options: Options) -> Result<Store, Error> {
        match &self.place {
            Place::Disk(dir) => options.open(dir.path()),
            Place::Memory(storage) => options.segment_bytes(8 << 20).open_on(storage.clone()),
        }
    }

    /// Closes `store` and opens it again.
    pub(crate) fn reopen(&self, store: Store) -> Store {
        done_with(store);
        self.open()
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        match &self.place {
            Place::Disk(dir) => dir.path(),
            Place::Memory(_) => panic!("a store in memory has no path"),
        }
    }
}

pub(crate) fn clock() -> ManualClock {
    watch::this_test();
    ManualClock::new(UNIX_EPOCH + Duration::from_secs(START_S))
}

/// Runs a test on disk and in memory.
pub(crate) fn on_both(test: impl Fn(&Bed)) {
    test(&Bed::disk());
    test(&Bed::memory());
}

/// What opening a directory is answered that was closed just now. A process that another test starts at that moment
/// has the lock too, between its fork and its exec, and for no longer than that.
#[track_caller]
pub(crate) fn patiently(open: impl Fn() -> Result<Store, Error>) -> Result<Store, Error> {
    let mut answer = open();
    eventually(|| {
        let is_held = matches!(&answer, Err(error) if error.kind() == ErrorKind::AlreadyOpen);
        if is_held {
            answer = open();
        }
        !is_held
    });
    answer
}

/// The end of every test that opened a store.
pub(crate) fn done_with(store: Store) {
    store.verify().unwrap();
    store.close().unwrap();
}

pub(crate) fn request(key: &str) -> ClaimRequest {
    ClaimRequest::new(key).ttl(DAY)
}

#[track_caller]
pub(crate) fn claimed(answer: Result<Claim, Error>) -> Lease {
    match answer {
        Ok(Claim::Claimed(lease)) => lease,
        other => panic!("not claimed: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn duplicate(answer: Result<Claim, Error>) -> Receipt {
    match answer {
        Ok(Claim::Duplicate(receipt)) => receipt,
        other => panic!("not a duplicate: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn in_progress(answer: Result<Claim, Error>) -> claimstore::Holder {
    match answer {
        Ok(Claim::InProgress(holder)) => holder,
        other => panic!("not in progress: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug, E: Into<Error>>(answer: Result<T, E>) -> ErrorKind {
    match answer {
        Err(error) => error.into().kind(),
        Ok(answer) => panic!("not refused: {answer:?}"),
    }
}

/// Makes `key` an orphan of this life.
pub(crate) fn abandon(store: &Store, key: &str) {
    drop(claimed(store.claim_with(&request(key))));
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits, in short naps, until `ready` answers true; panics after half a minute.
#[track_caller]
pub(crate) fn eventually(mut ready: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if ready() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("it did not happen in time");
}
