//! What the tests share: a store in memory, opened again and again, under a clock that is moved by hand.

use claimstore::io::MemoryStorage;
use claimstore::{
    Claim, ClaimRequest, Error, ErrorKind, Lease, ManualClock, Options, Receipt, Record, Store,
};
use claimstore_recovery::{Events, Outcome, Reason};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) struct Bed {
    storage: Arc<MemoryStorage>,
    pub(crate) clock: ManualClock,
}

impl Bed {
    pub(crate) fn new() -> Bed {
        crate::watch::this_test();
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        Bed { storage: Arc::new(MemoryStorage::new()), clock }
    }

    pub(crate) fn open(&self) -> Store {
        let options = Options::new().clock(self.clock.clone()).background(false).segment_bytes(8 << 20);
        options.open_on(self.storage.clone()).unwrap()
    }

    /// Closes `store` and opens it again: every claim in progress becomes an orphan.
    pub(crate) fn reopen(&self, store: Store) -> Store {
        done_with(store);
        self.open()
    }
}

/// The end of every test that opened a store.
pub(crate) fn done_with(store: Store) {
    store.verify().unwrap();
    store.close().unwrap();
}

pub(crate) fn request(key: &str) -> ClaimRequest {
    ClaimRequest::new(key).ttl(DAY)
}

/// Makes `key` an orphan of this life.
pub(crate) fn abandon(store: &Store, key: &str) {
    drop(claimed(store.claim_with(&request(key))));
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
pub(crate) fn in_progress(answer: Result<Claim, Error>) -> Duration {
    match answer {
        Ok(Claim::InProgress(holder)) => holder.retry_after(),
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

pub(crate) fn record(store: &Store, key: &str) -> Record {
    store.get(key).unwrap().unwrap()
}

/// Why `key` is parked.
#[track_caller]
pub(crate) fn parked_for(store: &Store, key: &str) -> String {
    let record = record(store, key);
    assert_eq!(record.state(), claimstore::RecordState::Parked, "{record:?}");
    String::from_utf8(record.note().to_vec()).unwrap()
}

/// What was told, in order: key, outcome and reason.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<(String, Outcome, Reason)>>>);

impl Told {
    pub(crate) fn by(events: &Events) -> Told {
        let told = Told::default();
        let of_subscriber = told.clone();
        events.subscribe(move |event| {
            let key = String::from_utf8(event.record().key().to_vec()).unwrap();
            of_subscriber.0.lock().unwrap().push((key, event.outcome(), event.reason()));
        });
        told
    }

    pub(crate) fn sorted(&self) -> Vec<(String, Outcome, Reason)> {
        let mut told = self.0.lock().unwrap().clone();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        told
    }
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
