//! A second backend, for tests: claims in a map, decided by claimstore-core. Nothing in it is of the embedded store.
//!
//! It takes three items at once, lists two records a page, is never ready at the first poll, and loses answers on request.

use claimstore_core::backend::{
    Answer, Backend, ClockOf, Durable, Grant, Held, OrphanWatch, Pages, Promises, Settlement,
};
use claimstore_core::codec;
use claimstore_core::codec::State;
use claimstore_core::decide::{self, ChangeOf, Decision, Ending, Hold, Now, Wanted};
use claimstore_core::history::remember;
use claimstore_core::{
    ClaimRequest, Claims, Error, ErrorKind, Failure, Filter, Happened, Holder, Note, Orphaned, Pending,
    Policy, Receipt, Record, Review,
};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const BATCH_ITEMS: usize = 3;
const PAGE_RECORDS: usize = 2;

/// Where the next call of a kind fails without anybody knowing what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Request,
    Reply,
}

#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kept: Mutex<Kept>,
    rung: Condvar,
}

#[derive(Default)]
struct Kept {
    policies: BTreeMap<String, Policy>,
    rows: BTreeMap<(String, Vec<u8>), Row>,
    last_seq: u64,
    now_ms: u64,
    rings: u64,
    is_closed: bool,
    lost: BTreeMap<&'static str, Lost>,
    calls: BTreeMap<&'static str, usize>,
}

struct Row {
    record: codec::Record,
    lease_until_ms: u64,
    is_abandoned: bool,
}

impl Shelf {
    pub(crate) fn new() -> Shelf {
        let shelf = Shelf::default();
        shelf.kept().now_ms = 1_800_000_000_000;
        shelf
    }

    pub(crate) fn claims(&self) -> Claims {
        Claims::new(Arc::new(self.clone()), "")
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.kept().now_ms += by.as_millis() as u64;
        self.ring();
    }

    /// The next call of `call` is carried out or not, and is `Indeterminate` in either case.
    pub(crate) fn lose(&self, call: &'static str, lost: Lost) {
        self.kept().lost.insert(call, lost);
    }

    pub(crate) fn calls(&self, call: &str) -> usize {
        self.kept().calls.get(call).copied().unwrap_or_default()
    }

    pub(crate) fn close(&self) {
        self.kept().is_closed = true;
        self.ring();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap()
    }

    fn ring(&self) {
        self.kept().rings += 1;
        self.0.rung.notify_all();
    }

    fn run<T>(
        &self,
        call: &'static str,
        run: impl FnOnce(&mut Kept) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut kept = self.kept();
        if kept.is_closed {
            return Err(Error::new(ErrorKind::Closed, "closed"));
        }
        *kept.calls.entry(call).or_default() += 1;
        let lost = kept.lost.remove(call);
        let unknown = || Err(Error::new(ErrorKind::Indeterminate, "the connection was lost"));
        if lost == Some(Lost::Request) {
            return unknown();
        }
        let result = run(&mut kept);
        if lost == Some(Lost::Reply) { unknown() } else { result }
    }

    /// A call that is over when this returns; only its result comes later.
    fn call<T: Send + 'static>(
        &self,
        call: &'static str,
        run: impl FnOnce(&mut Kept) -> Result<T, Error>,
    ) -> Pending<T> {
        let result = self.run(call, run);
        Pending::new(async move {
            not_at_once().await;
            result
        })
    }

    /// A call that begins when it is waited for.
    fn grant<T: Send + 'static>(
        &self,
        call: &'static str,
        run: impl FnOnce(&mut Kept) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let of_call = self.clone();
        Pending::new(async move {
            not_at_once().await;
            of_call.run(call, run)
        })
    }

    fn list(&self, shows: impl Fn(&Record) -> bool) -> Box<dyn Pages> {
        let kept = self.kept();
        let records = kept.rows.iter().filter_map(|((namespace, key), row)| match kept.cause(row) {
            Some(cause) => Record::orphan(namespace, key, row.record.clone(), cause),
            None => Record::new(namespace, key, row.record.clone(), kept.hold(row)),
        });
        let records = records.filter(|record| shows(record)).collect();
        Box::new(Listed { shelf: self.clone(), records })
    }
}

/// Pending once, then ready.
async fn not_at_once() {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Kept {
    fn seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    fn policy(&mut self, namespace: &str) -> &mut Policy {
        self.policies.entry(namespace.to_owned()).or_default()
    }

    fn hold(&self, row: &Row) -> Hold {
        match row.lease_until_ms.checked_sub(self.now_ms) {
            _ if row.is_abandoned => Hold::Dropped,
            _ if row.record.left().is_some() => Hold::Orphaned,
            None | Some(0) => Hold::Lapsed,
            Some(remaining_ms) => Hold::Running { remaining_ms },
        }
    }

    fn cause(&self, row: &Row) -> Option<Orphaned> {
        self.hold(row).orphaned().filter(|_| row.record.state == State::InProgress)
    }

    fn row(&self, namespace: &str, key: &[u8], token: u64, state: State) -> Result<&Row, Error> {
        let row = self.rows.get(&(namespace.to_owned(), key.to_vec()));
        row.filter(|row| row.record.token == token && row.record.state == state).ok_or_else(stale)
    }

    fn held(&self, held: &Held) -> Result<codec::Record, Error> {
        Ok(self.row(&held.namespace, &held.key, held.token, State::InProgress)?.record.clone())
    }

    fn orphan(&self, shown: &Record) -> Result<(codec::Record, Orphaned), Error> {
        let row = self.row(shown.namespace(), shown.key(), shown.version().token, State::InProgress)?;
        Ok((row.record.clone(), self.cause(row).ok_or_else(stale)?))
    }

    fn put(&mut self, namespace: &str, key: &[u8], record: codec::Record, lease: Duration) {
        let lease_until_ms = self.now_ms + lease.as_millis() as u64;
        let row = Row { record, lease_until_ms, is_abandoned: false };
        self.rows.insert((namespace.to_owned(), key.to_vec()), row);
    }

    fn claim(&mut self, namespace: &str, request: &ClaimRequest) -> Result<Answer, Error> {
        let (policy, now_ms) = (self.policy(namespace).clone(), self.now_ms);
        let key = request.key();
        let wanted = Wanted::of(request, &policy, policy.identify(key)?.time_ms())?;
        let row = self.rows.get(&(namespace.to_owned(), key.to_vec()));
        let found = row.map(|row| (&row.record, self.hold(row)));
        let earlier = row.map(|row| row.record.clone());
        let orphaned = row.and_then(|row| self.cause(row));
        match decide::decide(found, &wanted, &policy, 0, Now { store_ms: now_ms, wall_ms: now_ms }) {
            Decision::Claim { attempt } => {
                let record =
                    decide::claimed(earlier.as_ref(), orphaned, attempt, &wanted, self.seq(), now_ms);
                self.put(namespace, key, record.clone(), Duration::from_millis(record.lease_ms));
                Ok(Answer::Claimed(grant(namespace, key, &record)))
            }
            Decision::Duplicate { failure, fingerprint_checked } => {
                let record = earlier.ok_or_else(stale)?;
                Ok(Answer::Duplicate(Receipt::of(&record, failure, fingerprint_checked)))
            }
            Decision::InProgress { retry_after_ms } | Decision::Delay { after_ms: retry_after_ms } => {
                let (since_ms, attempt) =
                    earlier.map_or((0, 0), |record| (record.claimed_at_ms, record.attempt));
                Ok(Answer::InProgress(Holder::new(retry_after_ms, since_ms, attempt)))
            }
            Decision::Refuse(kind) => Err(Error::new(kind, "refused")),
            Decision::Park | Decision::Fail => Err(Error::new(ErrorKind::Parked, "parked")),
        }
    }

    fn end(
        &mut self,
        namespace: &str,
        key: &[u8],
        (earlier, cause): (&codec::Record, Option<Orphaned>),
        ending: &Ending<'_>,
    ) -> &mut codec::Record {
        let (seq, now_ms) = (self.seq(), self.now_ms);
        let policy = &*self.policy(namespace);
        let record = match cause {
            None => decide::settled(earlier, ending, policy, None, seq, now_ms),
            Some(cause) => {
                let change = ChangeOf { policy, key_time_ms: None, seq, now_ms };
                decide::orphan_settled(earlier, cause, ending, &change)
            }
        };
        self.put(namespace, key, record, Duration::ZERO);
        &mut self.rows.get_mut(&(namespace.to_owned(), key.to_vec())).unwrap().record
    }

    fn settle(&mut self, held: &Held, settlement: &Settlement) -> Result<(), Error> {
        let (earlier, now_ms) = (self.held(held)?, self.now_ms);
        let ending = match settlement {
            Settlement::Complete(response) => Ending::Complete(response),
            Settlement::Fail(failure) => Ending::Fail(failure.class()),
            Settlement::Release => Ending::Release,
        };
        let record = self.end(&held.namespace, &held.key, (&earlier, None), &ending);
        if let Some(what) = ending.past() {
            remember(record, &earlier, what, now_ms, b"", ending.note());
        }
        Ok(())
    }

    fn fail_orphan(&mut self, shown: &Record, failure: &Failure) -> Result<(), Error> {
        let ((earlier, cause), now_ms) = (self.orphan(shown)?, self.now_ms);
        let ending = Ending::Fail(failure.class());
        let record = self.end(shown.namespace(), shown.key(), (&earlier, Some(cause)), &ending);
        remember(record, &earlier, Happened::Orphaned(cause), now_ms, b"", ending.note());
        Ok(())
    }

    fn take_over(&mut self, shown: &Record, lease: Duration) -> Result<Grant, Error> {
        let (orphan, cause) = self.orphan(shown)?;
        let record = decide::taken_over(&orphan, cause, self.seq(), self.now_ms);
        let granted = grant(shown.namespace(), shown.key(), &record);
        self.put(shown.namespace(), shown.key(), record, lease);
        Ok(granted)
    }

    fn review(&mut self, shown: &Record, review: &Review, note: &Note) -> Result<(), Error> {
        let (namespace, key, now_ms) = (shown.namespace(), shown.key(), self.now_ms);
        let parked = self.row(namespace, key, shown.version().token, State::Parked)?.record.clone();
        let (policy, seq) = (self.policy(namespace).clone(), self.seq());
        let (mut record, what) = match review {
            Review::Requeue => (decide::requeued(&parked, &policy, seq, now_ms), Happened::Requeued),
            Review::Complete(response) => {
                let ending = Ending::Complete(response);
                (decide::settled(&parked, &ending, &policy, None, seq, now_ms), Happened::Completed)
            }
            _ => return Err(not_here()),
        };
        remember(&mut record, &parked, what, now_ms, note.by(), note.why());
        self.put(namespace, key, record, Duration::ZERO);
        Ok(())
    }
}

fn grant(namespace: &str, key: &[u8], record: &codec::Record) -> Grant {
    let (namespace, key) = (namespace.into(), key.into());
    let progress = (!record.body.is_empty()).then(|| record.body.clone());
    let in_doubt = record.tally().in_doubt || record.asked().is_some();
    Grant { held: Held { namespace, key, token: record.token, attempt: record.attempt }, progress, in_doubt }
}

fn stale() -> Error {
    Error::new(ErrorKind::StaleLease, "it is not what it was")
}

fn not_here() -> Error {
    Error::new(ErrorKind::Misuse, "recovery does not need this")
}

impl Backend for Shelf {
    fn promises(&self) -> Promises {
        let mut promises = Promises::new(Durable::BestEffort, ClockOf::Server);
        promises.batch_items = BATCH_ITEMS;
        promises
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.kept().now_ms)
    }

    fn define(&self, namespace: &str, policy: Option<Policy>) -> Pending<Policy> {
        self.call("define", |kept| {
            let stored = kept.policy(namespace);
            *stored = policy.unwrap_or_else(|| stored.clone());
            Ok(stored.clone())
        })
    }

    fn namespaces(&self) -> Pending<Vec<String>> {
        self.call("namespaces", |kept| Ok(kept.policies.keys().cloned().collect()))
    }

    fn claim(&self, namespace: &str, requests: Vec<ClaimRequest>) -> Pending<Vec<Result<Answer, Error>>> {
        let namespace = namespace.to_owned();
        self.grant("claim", move |kept| {
            Ok(requests.iter().map(|request| kept.claim(&namespace, request)).collect())
        })
    }

    fn claim_or_wait(&self, _: &str, _: ClaimRequest, _: Duration) -> Pending<Answer> {
        Pending::done(Err(not_here()))
    }

    fn settle(&self, items: Vec<(Held, Settlement)>) -> Pending<Vec<Result<(), Error>>> {
        self.call("settle", |kept| {
            Ok(items.iter().map(|(held, settlement)| kept.settle(held, settlement)).collect())
        })
    }

    fn renew(&self, _: &Held, _: Duration) -> Pending<()> {
        Pending::done(Err(not_here()))
    }

    fn save_progress(&self, held: &Held, progress: Vec<u8>) -> Pending<()> {
        self.call("save_progress", |kept| {
            let mut record = kept.held(held)?;
            (record.seq, record.body) = (kept.seq(), progress.into());
            let lease = Duration::from_millis(record.lease_ms);
            kept.put(&held.namespace, &held.key, record, lease);
            Ok(())
        })
    }

    fn detach(&self, _: &Held, _: Duration) -> Pending<()> {
        Pending::done(Err(not_here()))
    }

    fn resume(&self, _: &str, _: &[u8], _: u64) -> Pending<Grant> {
        Pending::done(Err(not_here()))
    }

    fn abandon(&self, held: &Held) {
        if let Some(row) = self.kept().rows.get_mut(&((*held.namespace).to_owned(), held.key.to_vec())) {
            row.is_abandoned |= row.record.token == held.token;
        }
        self.ring();
    }

    fn let_go(&self, _: &Held) {}

    fn get(&self, namespace: &str, key: &[u8]) -> Pending<Option<Record>> {
        self.call("get", |kept| {
            let row = kept.rows.get(&(namespace.to_owned(), key.to_vec()));
            Ok(row.and_then(|row| Record::new(namespace, key, row.record.clone(), kept.hold(row))))
        })
    }

    fn scan(&self, filter: Filter) -> Box<dyn Pages> {
        self.list(|record| filter.shows(record))
    }

    fn orphans(&self) -> Box<dyn Pages> {
        self.list(|record| record.orphaned().is_some())
    }

    fn watch_orphans(&self) -> Result<Box<dyn OrphanWatch>, Error> {
        Ok(Box::new(Watch { shelf: self.clone(), seen: Mutex::new(0) }))
    }

    fn take_over(&self, orphan: &Record, lease: Duration) -> Pending<Grant> {
        let orphan = orphan.clone();
        self.grant("take_over", move |kept| kept.take_over(&orphan, lease))
    }

    fn fail_orphans(&self, orphans: Vec<(Record, Failure)>) -> Pending<Vec<Result<(), Error>>> {
        assert!(orphans.len() <= BATCH_ITEMS, "{} at once", orphans.len());
        self.call("fail_orphans", |kept| {
            Ok(orphans.iter().map(|(shown, failure)| kept.fail_orphan(shown, failure)).collect())
        })
    }

    fn review(&self, parked: &Record, review: Review, note: Note) -> Pending<()> {
        self.call("review", |kept| kept.review(parked, &review, &note))
    }

    fn forget(&self, _: &str, _: &[u8]) -> Pending<bool> {
        Pending::done(Err(not_here()))
    }

    fn forget_shown(&self, _: &Record, _: bool) -> Pending<()> {
        Pending::done(Err(not_here()))
    }

    fn upkeep(&self) -> Pending<bool> {
        Pending::done(Ok(false))
    }

    fn is_same(&self, other: &dyn Backend) -> bool {
        other.as_any().downcast_ref::<Shelf>().is_some_and(|other| std::ptr::eq(self, other))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct Listed {
    shelf: Shelf,
    records: Vec<Record>,
}

impl Pages for Listed {
    fn next_page(&mut self) -> Pending<Vec<Record>> {
        let left = self.records.split_off(self.records.len().min(PAGE_RECORDS));
        let page = std::mem::replace(&mut self.records, left);
        self.shelf.call("next_page", |_| Ok(page))
    }
}

struct Watch {
    shelf: Shelf,
    seen: Mutex<u64>,
}

impl OrphanWatch for Watch {
    fn look(&self) {
        *self.seen.lock().unwrap() = self.shelf.kept().rings;
    }

    fn sleep(&self, at_most: Duration) {
        let seen = *self.seen.lock().unwrap();
        let nothing_new = |kept: &mut Kept| kept.rings == seen && !kept.is_closed;
        let kept = self.shelf.0.rung.wait_timeout_while(self.shelf.kept(), at_most, nothing_new);
        drop(kept.unwrap());
    }

    fn wake(&self) {
        self.shelf.ring();
    }
}

macro_rules! shows_its_name {
    ($($kind:ident)*) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($kind))
            }
        }
    )*};
}

shows_its_name!(Shelf Listed Watch);
