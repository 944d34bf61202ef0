//! One pass over all orphans, with bounds on parallel calls and on memory.
//!
//! The thread of the pass lists the orphans, and ends those that need no resolver in bulk. The others go through a
//! short queue to the asker threads, each of which handles one orphan at a time. Nothing is kept of an orphan that is
//! done.

use crate::ask::{Answer, Asked, Asker, LeftBehind};
use crate::event::{Count, Event, Events, Outcome, Reason};
use crate::policy::OrphanPolicy;
use crate::resolver::{Orphan, Resolution};
use crate::time::Stopwatch;
use claimstore_core::tally::Tally;
use claimstore_core::{
    Claims, Error, ErrorKind, Failure, Lease, OnOrphan, Orphaned, Policy, Record, Records, SettleError,
    planted,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

/// Orphans that are ended in one commit, about a megabyte: so many that the commits of a million orphans take no
/// noticeable time.
const PAGE: usize = 4_096;
/// The most bytes of progress and origin in one page, so that its memory is bounded.
const PAGE_BYTES: usize = 1 << 20;
/// The progress call-back is called once per this many orphans that a resolver is asked about.
const PROGRESS_EVERY: usize = 64;

/// The configuration and shared state of all passes of a recovery.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) claims: Claims,
    pub(crate) plans: Plans,
    pub(crate) parallel: usize,
    pub(crate) events: Events,
    pub(crate) left_behind: Arc<LeftBehind>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) asking: AskingTime,
}

/// How long resolvers took, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct AskingTime {
    total_us: AtomicU64,
    longest_us: AtomicU64,
}

impl AskingTime {
    fn add(&self, took: Duration) {
        let took_us = took.as_micros() as u64;
        self.total_us.fetch_add(took_us, Ordering::Relaxed);
        self.longest_us.fetch_max(took_us, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> Duration {
        Duration::from_micros(self.total_us.load(Ordering::Relaxed))
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }
}

/// The policy and the resolver for each namespace.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    pub(crate) every: Option<OrphanPolicy>,
    pub(crate) named: HashMap<String, OrphanPolicy>,
    pub(crate) resolver: Option<Asked>,
    pub(crate) resolvers: HashMap<String, Asked>,
}

impl Plans {
    /// The policy given for a namespace.
    pub(crate) fn given(&self, namespace: &str) -> Option<&OrphanPolicy> {
        self.named.get(namespace).or(self.every.as_ref())
    }

    fn resolver(&self, namespace: &str) -> Option<&Asked> {
        self.resolvers.get(namespace).or(self.resolver.as_ref())
    }
}

/// The rules for the orphans of one namespace in this pass.
#[derive(Debug)]
struct Ruling {
    orphans: OrphanPolicy,
    policy: Policy,
}

/// An orphan in the queue for a resolver.
struct Case {
    record: Record,
    ruling: Arc<Ruling>,
}

impl Rules {
    /// Goes through all orphans once. Returns when the first of those that were left for later is due, if any.
    pub(crate) fn pass(&self, progress: &mut dyn FnMut()) -> Result<Option<SystemTime>, Error> {
        let (cases, queue) = sync_channel::<Case>(self.parallel);
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            // Owned by this closure: when it ends, the queue closes and the askers end.
            let cases = cases;
            let mut askers = 0;
            self.list(progress, &mut |case| {
                if askers < self.parallel {
                    let ask = || self.ask_all(&queue);
                    let started = thread::Builder::new().name("claimstore-recovery".to_owned());
                    askers += usize::from(started.spawn_scoped(scope, ask).is_ok());
                }
                self.hand_on(&cases, case, askers);
            })
        })
    }

    fn hand_on(&self, cases: &SyncSender<Case>, case: Case, askers: usize) {
        if askers > 0 {
            // The receiver lives as long as the scope.
            drop(cases.send(case));
        } else {
            // No thread could be started: resolve it on this one.
            self.resolve(&mut Asker::new(&self.left_behind), &case);
        }
    }

    fn list(
        &self,
        progress: &mut dyn FnMut(),
        ask: &mut dyn FnMut(Case),
    ) -> Result<Option<SystemTime>, Error> {
        let backend = self.claims.backend();
        let mut rulings = HashMap::new();
        let mut page = Page::new(backend.promises().batch_items);
        let mut asked = 0;
        let mut first_due: Option<SystemTime> = None;
        for record in Records::new(backend.orphans()) {
            let record = record?;
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            self.events.count(Count::Found);
            let ruling = self.ruling(&mut rulings, record.namespace())?;
            match self.sentence(&record, &ruling) {
                Sentence::End(failure) => page.push(record, failure),
                Sentence::Ask => {
                    ask(Case { record, ruling });
                    asked += 1;
                    if asked % PROGRESS_EVERY == 0 {
                        progress();
                    }
                }
                Sentence::Wait(due, reason) => {
                    let before = first_due;
                    first_due = before.into_iter().chain(due).min();
                    if planted::active(67) {
                        first_due = before.max(due);
                    }
                    self.tell(&record, Outcome::Waiting, reason);
                }
            }
            if page.is_full() {
                self.end(&page.orphans, &rulings);
                page.clear();
                progress();
            }
        }
        self.end(&page.orphans, &rulings);
        Ok(first_due)
    }

    fn ruling(
        &self,
        rulings: &mut HashMap<String, Arc<Ruling>>,
        namespace: &str,
    ) -> Result<Arc<Ruling>, Error> {
        if let Some(ruling) = rulings.get(namespace) {
            return Ok(ruling.clone());
        }
        let policy = self.apply(namespace)?;
        let given = self.plans.given(namespace).cloned();
        let orphans = given.unwrap_or_else(|| OrphanPolicy::stored(&policy));
        let ruling = Arc::new(Ruling { orphans, policy });
        rulings.insert(namespace.to_owned(), ruling.clone());
        Ok(ruling)
    }

    /// Writes the given policy of a namespace into its stored policy, if they differ.
    pub(crate) fn apply(&self, namespace: &str) -> Result<Policy, Error> {
        let backend = self.claims.backend();
        let stored = backend.define(namespace, None).wait()?;
        let Some(given) = self.plans.given(namespace) else { return Ok(stored) };
        let policy = given.onto(stored.clone());
        if policy == stored {
            return Ok(stored);
        }
        backend.define(namespace, Some(policy)).wait()
    }

    fn sentence(&self, record: &Record, ruling: &Ruling) -> Sentence {
        match ruling.orphans.rule {
            // The stored policy has this rule, and the back-off: the store goes by them.
            OnOrphan::Retry => Sentence::End(Failure::unknown()),
            OnOrphan::Fail => Sentence::End(Failure::terminal(&ruling.orphans.response)),
            OnOrphan::Resolve => self.sentence_to_ask(record, ruling),
            // A rule of a later version: holding the orphan for review is safest.
            _ => Sentence::End(Failure::park(Reason::Policy.text())),
        }
    }

    fn sentence_to_ask(&self, record: &Record, ruling: &Ruling) -> Sentence {
        let asking = ruling.orphans.asking;
        if self.plans.resolver(record.namespace()).is_none() {
            return Sentence::Wait(None, Reason::NoResolver);
        }
        if record.asked() >= asking.max_asks {
            return Sentence::End(Failure::park(Reason::AsksUsedUp.text()));
        }
        let due = record.asked_at().map(|asked_at| asked_at + asking.wait_after(record.asked()));
        match due {
            Some(due) if due > self.claims.backend().now() => Sentence::Wait(Some(due), Reason::NotDue),
            _ => Sentence::Ask,
        }
    }

    /// Ends a page of orphans in one commit, or in several if it is too large for one.
    fn end(&self, page: &[(Record, Failure)], rulings: &HashMap<String, Arc<Ruling>>) {
        if page.is_empty() {
            return;
        }
        // A copy: the events tell of the orphans as they were.
        let ended = self.claims.backend().fail_orphans(page.to_vec()).wait();
        match ended {
            Err(error) if error.kind() == ErrorKind::TooLarge && page.len() > 1 => {
                let (front, back) = page.split_at(page.len() / 2);
                self.end(front, rulings);
                self.end(back, rulings);
            }
            Ok(verdicts) => {
                let mut verdicts = verdicts.into_iter();
                for (record, _) in page {
                    let verdict = verdicts.next().unwrap_or_else(|| Err(no_verdict()));
                    match (verdict, rulings.get(record.namespace())) {
                        (Ok(()), Some(ruling)) => {
                            let (outcome, reason) = ruling.ended(record);
                            self.tell(record, outcome, reason);
                        }
                        (Err(error), _) => self.tell_error(record, &error),
                        (Ok(()), None) => {}
                    }
                }
            }
            Err(error) => page.iter().for_each(|(record, _)| self.tell_error(record, &error)),
        }
    }

    /// The askers' loop.
    fn ask_all(&self, queue: &Mutex<Receiver<Case>>) {
        let mut asker = Asker::new(&self.left_behind);
        loop {
            // The lock is held during `recv`, so the other askers wait for the lock instead of the channel.
            let case = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(case) = case else { return };
            self.resolve(&mut asker, &case);
        }
    }

    /// Takes an orphan over, asks, and applies the answer.
    fn resolve(&self, asker: &mut Asker, case: &Case) {
        let Case { record, ruling } = case;
        let resolver = self.plans.resolver(record.namespace());
        let (Some(resolver), false) = (resolver, self.stop.load(Ordering::Acquire)) else {
            return self.tell(record, Outcome::Waiting, Reason::NotDue);
        };
        if self.left_behind.is_full() {
            return self.tell(record, Outcome::Error, Reason::TooManyBlocked);
        }
        let lease = match self.claims.take_over(record, ruling.orphans.asking.lease()).wait() {
            Ok(lease) => lease,
            Err(error) => return self.tell_error(record, &error),
        };
        let why = record.orphaned().unwrap_or(Orphaned::EarlierLife);
        let orphan = Orphan::new(record.clone(), why, lease.token(), self.claims.backend().now());
        self.events.count(Count::Asked);
        let watch = Stopwatch::start();
        let answer = asker.ask(resolver, orphan, ruling.orphans.asking.time_limit);
        self.asking.add(watch.elapsed());
        self.settle(record, ruling, lease, answer);
    }

    fn settle(&self, record: &Record, ruling: &Ruling, lease: Lease, answer: Answer) {
        let park = |lease: Lease, reason: Reason| {
            (lease.fail(Failure::park(reason.text())).wait(), Outcome::Parked, reason)
        };
        let (settled, outcome, reason) = match answer {
            Answer::Resolution(Resolution::Happened(response)) => {
                (lease.complete(response).wait(), Outcome::Completed, Reason::Resolver)
            }
            Answer::Resolution(Resolution::Failed(response)) => {
                (lease.fail(Failure::terminal(response)).wait(), Outcome::Failed, Reason::Resolver)
            }
            Answer::Resolution(Resolution::DidNotHappen) => {
                let (outcome, reason) =
                    ruling.retried(record, record.tally().did_not_happen(), Reason::Resolver);
                let failure = Failure::did_not_happen().because("it did not happen");
                (lease.fail(failure).wait(), outcome, reason)
            }
            Answer::Resolution(Resolution::Unknown) if ruling.asks_again(record) => {
                // An orphan again, and due when the policy says; nothing to commit.
                drop(lease);
                return self.tell(record, Outcome::Waiting, Reason::NotDue);
            }
            Answer::Resolution(Resolution::Unknown) => park(lease, Ruling::unknown(record)),
            Answer::Panicked => {
                self.events.count(Count::Panicked);
                park(lease, Reason::Panicked)
            }
            Answer::TimedOut => {
                self.events.count(Count::TimedOut);
                park(lease, Reason::TimedOut)
            }
            Answer::NotAsked => {
                drop(lease);
                return self.tell(record, Outcome::Error, Reason::TooManyBlocked);
            }
        };
        match settled {
            Ok(()) => self.tell(record, outcome, reason),
            Err(refused) => self.settle_refused(record, refused),
        }
    }

    /// The answer could not be applied. An answer that is too large parks the orphan; otherwise it would be asked
    /// about for ever.
    fn settle_refused(&self, record: &Record, refused: SettleError) {
        let (error, lease) = refused.into_parts();
        match lease {
            Some(lease) if error.kind() == ErrorKind::TooLarge => {
                match lease.fail(Failure::park(Reason::TooLarge.text())).wait() {
                    Ok(()) => self.tell(record, Outcome::Parked, Reason::TooLarge),
                    Err(error) => self.tell_error(record, &error.into()),
                }
            }
            // Dropped: an orphan again, for the next pass.
            _ => self.tell_error(record, &error),
        }
    }

    fn tell(&self, record: &Record, outcome: Outcome, reason: Reason) {
        let cause = record.orphaned();
        self.events.tell(&Event { record, cause, outcome, reason, error: None, note: None });
    }

    fn tell_error(&self, record: &Record, error: &Error) {
        let stale = error.kind() == ErrorKind::StaleLease;
        let outcome = if stale { Outcome::Superseded } else { Outcome::Error };
        let (cause, reason) = (record.orphaned(), Reason::Store);
        self.events.tell(&Event { record, cause, outcome, reason, error: Some(error), note: None });
    }
}

/// A backend that gives fewer verdicts than it was asked for is at fault; nothing may be concluded from that.
fn no_verdict() -> Error {
    Error::new(ErrorKind::Indeterminate, "the backend gave no verdict for the orphan")
}

/// Orphans that are to be ended in one commit.
struct Page {
    orphans: Vec<(Record, Failure)>,
    /// Their progress and origin.
    bytes: usize,
    most: usize,
}

impl Page {
    /// `batch_items`: the most that the backend takes at once.
    fn new(batch_items: usize) -> Page {
        Page { orphans: Vec::new(), bytes: 0, most: PAGE.min(batch_items) }
    }

    fn push(&mut self, record: Record, failure: Failure) {
        self.bytes += record.progress().map_or(0, <[u8]>::len) + record.origin().len();
        self.orphans.push((record, failure));
    }

    fn is_full(&self) -> bool {
        if planted::active(69) {
            return false;
        }
        !self.orphans.is_empty() && (self.orphans.len() >= self.most || self.bytes >= PAGE_BYTES)
    }

    fn clear(&mut self) {
        self.orphans.clear();
        self.bytes = 0;
    }
}

/// The decision about an orphan.
enum Sentence {
    End(Failure),
    Ask,
    Wait(Option<SystemTime>, Reason),
}

impl Ruling {
    /// The outcome of `record`, which was ended by the rule, without a resolver.
    fn ended(&self, record: &Record) -> (Outcome, Reason) {
        match self.orphans.rule {
            OnOrphan::Retry => {
                let cause = record.orphaned().unwrap_or(Orphaned::EarlierLife);
                self.retried(record, record.tally().ended(cause), Reason::Policy)
            }
            OnOrphan::Fail => (Outcome::Failed, Reason::Policy),
            OnOrphan::Resolve => (Outcome::Parked, Reason::AsksUsedUp),
            _ => (Outcome::Parked, Reason::Policy),
        }
    }

    /// The outcome of `record` if it is to be retried, with this tally: parked once failures or losses are used up.
    fn retried(&self, record: &Record, tally: Tally, reason: Reason) -> (Outcome, Reason) {
        if tally.used_up(record.version(), &self.policy).is_some() {
            (Outcome::Parked, Reason::AttemptsUsedUp)
        } else {
            (Outcome::Retried, reason)
        }
    }

    /// Whether the resolver is asked again after an unknown result. `record` does not count this time yet.
    fn asks_again(&self, record: &Record) -> bool {
        record.asked().saturating_add(1) < self.orphans.asking.max_asks
    }

    fn unknown(record: &Record) -> Reason {
        if record.asked() > 0 { Reason::AsksUsedUp } else { Reason::Unknown }
    }
}
