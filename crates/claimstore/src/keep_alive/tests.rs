use super::KeepAlive;
use crate::{Claim, ClaimRequest, Error, ErrorKind, Lease, ManualClock, Options, Store};
use proptest::prelude::*;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

const LEASE_MS: u64 = 60_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Advance(u64),
    /// A new guard takes the place of one that is there.
    KeepAlive(u64),
    DropGuard,
    Renew(u64),
    HandOn,
    Detach(u64),
    DropLease,
    Complete,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u64..30_000).prop_map(Step::Advance),
        1 => (30_000u64..200_000).prop_map(Step::Advance),
        4 => (0u64..240_000).prop_map(Step::KeepAlive),
        1 => Just(Step::DropGuard),
        2 => (1u64..200_000).prop_map(Step::Renew),
        2 => Just(Step::HandOn),
        1 => (1u64..200_000).prop_map(Step::Detach),
        1 => Just(Step::DropLease),
        1 => Just(Step::Complete),
    ]
}

/// What a guard should do.
#[derive(Debug, Clone, Copy)]
struct Guard {
    ends_ms: u64,
    due_ms: u64,
    ended: Option<Result<(), ErrorKind>>,
}

/// One claim and its guard, beside what should have become of them.
struct Run {
    store: Store,
    clock: ManualClock,
    lease: Option<Lease>,
    alive: Option<KeepAlive>,
    now_ms: u64,
    /// Of the lease in this process.
    until_ms: u64,
    /// Of a detached claim. Once it is over, the lease counts.
    detached_until_ms: Option<u64>,
    abandoned: bool,
    /// Nobody has the lease any more, whether the claim keeps its term or not.
    dropped: bool,
    completed: bool,
    /// Somebody else claimed the key, until then.
    taken_until_ms: Option<u64>,
    taken: Option<Lease>,
    guard: Option<Guard>,
}

impl Run {
    fn new() -> Run {
        let clock = ManualClock::new(UNIX_EPOCH);
        let store = Options::new().clock(clock.clone()).background(false).in_memory().unwrap();
        let lease = store.claim_with(&ClaimRequest::new("k").lease(ms(LEASE_MS))).unwrap().claimed();
        Run {
            store,
            clock,
            lease,
            alive: None,
            now_ms: 0,
            until_ms: LEASE_MS,
            detached_until_ms: None,
            abandoned: false,
            dropped: false,
            completed: false,
            taken_until_ms: None,
            taken: None,
            guard: None,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Advance(by_ms) => {
                self.now_ms += by_ms;
                self.clock.advance(ms(by_ms));
            }
            Step::KeepAlive(ceiling_ms) => {
                let Some(lease) = &self.lease else { return };
                self.alive = Some(lease.keep_alive(ms(ceiling_ms)));
                self.guard = Some(Guard { ends_ms: self.now_ms + ceiling_ms, due_ms: 0, ended: None });
            }
            Step::DropGuard => (self.alive, self.guard) = (None, None),
            Step::Renew(term_ms) => {
                let Some(lease) = &self.lease else { return };
                let renewed = lease.renew(ms(term_ms));
                assert_eq!(renewed.is_ok(), self.taken.is_none());
                *self.term_mut() = self.now_ms + term_ms;
            }
            Step::HandOn => self.hand_on(Lease::into_token),
            Step::Detach(term_ms) => {
                if self.taken.is_none() && self.lease.is_some() {
                    self.hand_on(|lease| lease.detach(ms(term_ms)).unwrap());
                    self.detached_until_ms = Some(self.now_ms + term_ms);
                }
            }
            Step::DropLease => {
                let is_detached = self.detached_until_ms.is_some();
                self.abandoned |= self.lease.is_some() && !is_detached && self.taken.is_none();
                self.dropped |= self.lease.is_some();
                self.lease = None;
            }
            Step::Complete => {
                let Some(lease) = self.lease.take() else { return };
                self.completed |= lease.complete("r").is_ok();
            }
        }
    }

    /// What renewals change.
    fn term_mut(&mut self) -> &mut u64 {
        self.detached_until_ms.as_mut().unwrap_or(&mut self.until_ms)
    }

    /// Until when nobody may take the key over.
    fn held_until_ms(&self) -> u64 {
        let detached = self.detached_until_ms.filter(|until_ms| *until_ms > self.now_ms);
        self.taken_until_ms.or(detached).unwrap_or(self.until_ms)
    }

    fn hand_on(&mut self, hand_on: impl FnOnce(Lease) -> crate::LeaseToken) {
        if self.taken.is_some() {
            return;
        }
        let Some(lease) = self.lease.take() else { return };
        self.lease = Some(self.store.resume(hand_on(lease)).unwrap());
    }

    /// What the guard should do now, beside what it does.
    fn beat(&mut self) {
        let (Some(alive), Some(mut guard)) = (self.alive.take(), self.guard) else { return };
        // The thread of the store may have been first: the second one finds nothing due.
        alive.pulse.beat();
        if guard.ended.is_none() {
            let is_held = !self.dropped && !self.completed && self.taken.is_none();
            if self.now_ms >= guard.ends_ms {
                guard.ended = Some(Ok(()));
            } else if self.now_ms >= guard.due_ms && is_held {
                let renewed_ms = (self.now_ms + LEASE_MS).min(guard.ends_ms);
                let term_ms = self.term_mut();
                *term_ms = renewed_ms.max(*term_ms);
                guard.due_ms = self.now_ms + LEASE_MS / 3;
            } else if self.now_ms >= guard.due_ms {
                guard.ended = Some(Err(ErrorKind::StaleLease));
            }
        }
        let told = match &alive.pulse.ended.lock().how {
            Some(Err(refusal)) => Some(Err(refusal.kind())),
            Some(Ok(())) => Some(Ok(())),
            None => None,
        };
        assert_eq!(told, guard.ended);
        assert_eq!(alive.is_over(), told.is_some());
        assert_eq!(alive.check().map_err(|error| error.kind()), told.unwrap_or(Ok(())));
        (self.alive, self.guard) = (Some(alive), Some(guard));
    }

    /// Asks the key, and takes it over if that is its turn.
    fn ask(&mut self) {
        let answer = self.store.claim_with(&ClaimRequest::new("k").lease(ms(LEASE_MS))).unwrap();
        let until_ms = self.held_until_ms();
        match answer {
            Claim::Duplicate(_) => assert!(self.completed),
            Claim::InProgress(holder) => {
                assert!(!self.abandoned && !self.completed);
                assert_eq!(holder.retry_after(), ms(until_ms - self.now_ms), "{until_ms}");
            }
            Claim::Claimed(lease) => {
                assert!(self.abandoned || self.now_ms >= until_ms, "{} of {until_ms}", self.now_ms);
                assert!(!self.completed);
                self.taken_until_ms = Some(self.now_ms + LEASE_MS);
                self.taken = Some(lease);
                self.abandoned = false;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every answer is that of a claim which is renewed at each third, to the ceiling and no longer.
    #[test]
    fn a_claim_is_kept_alive_until_the_ceiling_or_its_end(steps in prop::collection::vec(step(), 1..40)) {
        let mut run = Run::new();
        for step in steps {
            // One owner after another is enough.
            if run.taken.is_some() && run.now_ms > run.taken_until_ms.unwrap_or(0) - 1 {
                break;
            }
            run.step(step);
            run.beat();
            if run.taken_until_ms.is_none_or(|until_ms| run.now_ms < until_ms) {
                run.ask();
            }
        }
    }
}

fn poll(alive: &mut KeepAlive) -> Poll<Result<(), Error>> {
    Pin::new(alive).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_future_is_ready_once_and_the_check_goes_on_telling() {
    let mut run = Run::new();
    let lease = run.lease.take().unwrap();
    let mut alive = lease.keep_alive(ms(1_000_000));
    assert!(poll(&mut alive).is_pending());
    lease.release().unwrap();
    run.clock.advance(ms(LEASE_MS / 3));
    alive.pulse.beat();
    let Poll::Ready(Err(error)) = poll(&mut alive) else { panic!("no refusal") };
    assert_eq!(error.kind(), ErrorKind::StaleLease);
    assert!(poll(&mut alive).is_pending());
    assert_eq!(alive.check().unwrap_err().kind(), ErrorKind::StaleLease);
}
