//! One thread of a history: does what its script says and notes what it saw.

use crate::executor::{block_on, poll_once};
use claimstore::{
    Claim, ClaimRequest, Error, ErrorKind, Failure, Lease, Record, RecordState, SettleError, Store,
};
use claimstore_sim::Rng;
use claimstore_sim::history::{Session, Ticket};
use claimstore_sim::model::{self, Answer, Call, Response, Seen, SeenStage};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

/// Far longer than any test runs.
pub(crate) const TTL: Duration = Duration::from_secs(7 * 86_400);
const LEASE: Duration = Duration::from_secs(86_400);
/// The largest response the stores of these tests take.
pub(crate) const MAX_RESPONSE_BYTES: usize = 4 << 10;

/// What one thread does next. Leases it holds are named by number, modulo how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Claim(u32),
    ClaimMany(Vec<u32>),
    /// `claim_or_wait` without patience.
    Ask(u32),
    /// `claim_async`, polled to its end.
    Async(u32),
    /// `claim_async`, polled once and dropped.
    Offer(u32),
    Complete(usize, usize),
    /// A response over the limit: refused, and the lease comes back.
    TooLarge(usize),
    CompleteMany,
    /// `complete_async`, polled to its end.
    CompleteAsync(usize),
    /// `release_async`, whose future is dropped.
    ReleaseUnheard(usize),
    Retry(usize),
    RetryLater(usize),
    Terminal(usize),
    Park(usize),
    Release(usize),
    Drop(usize),
    Renew(usize),
    Progress(usize),
    Get(u32),
    Forget(u32),
}

/// Which keys an action may name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// How many at a time.
    pub width: u32,
    /// After so many actions the window moves on by one key; 0: it stays, and keys are forgotten instead.
    pub stay: u32,
}

impl Keys {
    /// A random action of a thread that has done `done` before.
    pub(crate) fn action(&self, rng: &mut Rng, done: u32) -> Action {
        let base = done.checked_div(self.stay).unwrap_or(0);
        let key = |rng: &mut Rng| base + rng.below(u64::from(self.width)) as u32;
        let held = rng.index(64);
        match rng.below(100) {
            0..=27 => Action::Claim(key(rng)),
            28..=31 => {
                let count = 1 + rng.below(4);
                Action::ClaimMany((0..count).map(|_| key(rng)).collect())
            }
            32..=34 => Action::Ask(key(rng)),
            35..=38 => Action::Async(key(rng)),
            39 => Action::Offer(key(rng)),
            40..=49 => Action::Complete(held, rng.index(200)),
            50 => Action::TooLarge(held),
            51 => Action::CompleteMany,
            52..=54 => Action::CompleteAsync(held),
            55 => Action::ReleaseUnheard(held),
            56..=60 => Action::Retry(held),
            61 => Action::RetryLater(held),
            62..=63 => Action::Terminal(held),
            64 => Action::Park(held),
            65..=71 => Action::Release(held),
            72..=75 => Action::Drop(held),
            76..=77 => Action::Renew(held),
            78..=79 => Action::Progress(held),
            80..=89 => Action::Get(key(rng)),
            // What was pruned of its keys by completion must come back, or nothing would be left to do.
            _ if self.stay == 0 => Action::Forget(key(rng)),
            _ => Action::Claim(key(rng)),
        }
    }
}

/// How a worker looks at what it was not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The store lives on: what was begun takes place.
    Lives,
    /// The store may crash: what nobody was told may be gone.
    MayCrash,
}

/// One thread.
#[derive(Debug)]
pub(crate) struct Worker {
    store: Store,
    session: Session,
    held: Vec<(u32, Lease)>,
    ending: Ending,
    /// Set once the store says that it is over.
    pub over: bool,
}

static OFFERS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn key_bytes(key: u32) -> Vec<u8> {
    format!("key-{key}").into_bytes()
}

fn request(key: u32) -> ClaimRequest {
    ClaimRequest::new(key_bytes(key)).ttl(TTL).lease(LEASE)
}

impl Worker {
    pub(crate) fn new(store: Store, session: Session, ending: Ending) -> Worker {
        Worker { store, session, held: Vec::new(), ending, over: false }
    }

    /// Lets go of the leases and gives the notebook up.
    pub(crate) fn finish(mut self) -> Session {
        while !self.held.is_empty() {
            self.abandon(0);
        }
        self.session
    }

    /// Carries out one action.
    pub(crate) fn act(&mut self, action: &Action) {
        match action {
            Action::Claim(key) => {
                let ticket = self.session.invoke(*key, Call::Claim);
                let answer = self.store.claim_with(&request(*key));
                self.claimed(*key, ticket, answer);
            }
            Action::ClaimMany(keys) => self.claim_many(keys),
            Action::Ask(key) => {
                let ticket = self.session.invoke(*key, Call::Claim);
                let answer = self.store.claim_or_wait(&request(*key), Duration::ZERO);
                self.claimed(*key, ticket, answer);
            }
            Action::Async(key) => {
                let ticket = self.session.invoke(*key, Call::Claim);
                let answer = block_on(self.store.claim_async(&request(*key)));
                self.claimed(*key, ticket, answer);
            }
            Action::Offer(key) => self.offer(*key),
            Action::Complete(held, len) => {
                let response = vec![b'r'; *len];
                let call = |token| Call::Complete { token, response: response.as_slice().into() };
                self.settle(*held, call, |lease| lease.complete(&response));
            }
            Action::TooLarge(held) => {
                let response = vec![b'x'; MAX_RESPONSE_BYTES + 1];
                let call = |token| Call::Complete { token, response: response.as_slice().into() };
                self.settle(*held, call, |lease| lease.complete(&response));
            }
            Action::CompleteMany => self.complete_many(),
            Action::CompleteAsync(held) => {
                let call = |token| Call::Complete { token, response: Response::from(*b"async") };
                self.settle(*held, call, |lease| block_on(lease.complete_async(b"async")));
            }
            Action::ReleaseUnheard(held) => self.release_unheard(*held),
            Action::Retry(held) => {
                let call = |token| Call::Fail { token, failure: model::Failure::Retry };
                self.settle(*held, call, |lease| lease.fail(Failure::retry()));
            }
            Action::RetryLater(held) => {
                let call = |token| Call::Fail { token, failure: model::Failure::RetryAfter };
                self.settle(*held, call, |lease| lease.fail(Failure::retry_after(TTL)));
            }
            Action::Terminal(held) => {
                let failure = model::Failure::Terminal(Response::from(*b"no"));
                let call = |token| Call::Fail { token, failure };
                self.settle(*held, call, |lease| lease.fail(Failure::terminal("no")));
            }
            Action::Park(held) => {
                let call = |token| Call::Fail { token, failure: model::Failure::Park };
                self.settle(*held, call, |lease| lease.fail(Failure::park("look")));
            }
            Action::Release(held) => {
                self.settle(*held, |token| Call::Release { token }, Lease::release);
            }
            Action::Drop(held) => self.abandon(*held),
            Action::Renew(held) => self.touch(*held, |lease| lease.renew(LEASE)),
            Action::Progress(held) => self.touch(*held, |lease| lease.save_progress(b"half-way")),
            Action::Get(key) => {
                self.get(*key);
            }
            Action::Forget(key) => {
                let ticket = self.session.invoke(*key, Call::Forget);
                let answer = self.store.forget(key_bytes(*key)).map(drop);
                let answer = self.told(answer);
                self.session.answer(ticket, answer);
            }
        }
    }

    /// Notes what `get` shows. Answers whether it showed anything.
    pub(crate) fn get(&mut self, key: u32) -> bool {
        let ticket = self.session.invoke(key, Call::Get);
        let answer = match self.store.get(key_bytes(key)) {
            Ok(record) => Answer::Seen(record.as_ref().map(seen)),
            Err(error) => self.refused(error.kind()),
        };
        // Who was not told what he asked for knows nothing.
        let shown = matches!(answer, Answer::Seen(_));
        self.session.answer(ticket, if shown { answer } else { Answer::Refused });
        shown
    }

    fn claimed(&mut self, key: u32, ticket: Ticket, answer: Result<Claim, Error>) {
        let answer = match answer {
            Ok(Claim::Claimed(lease)) => {
                let answer = Answer::Claimed { token: lease.token(), attempt: lease.attempt() };
                self.held.push((key, lease));
                answer
            }
            Ok(Claim::Duplicate(receipt)) => {
                Answer::Duplicate { response: receipt.response().into(), failure: receipt.is_failure() }
            }
            Ok(Claim::InProgress(_)) => Answer::InProgress,
            Err(error) => self.refused(error.kind()),
        };
        self.session.answer(ticket, answer);
    }

    fn claim_many(&mut self, keys: &[u32]) {
        let tickets: Vec<Ticket> = keys.iter().map(|key| self.session.invoke(*key, Call::Claim)).collect();
        let requests: Vec<ClaimRequest> = keys.iter().map(|key| request(*key)).collect();
        match self.store.claim_many(&requests) {
            Ok(answers) => {
                for ((key, ticket), answer) in keys.iter().zip(tickets).zip(answers) {
                    self.claimed(*key, ticket, answer);
                }
            }
            Err(error) => {
                let answer = self.refused(error.kind());
                tickets.into_iter().for_each(|ticket| self.session.answer(ticket, answer.clone()));
            }
        }
    }

    fn offer(&mut self, key: u32) {
        let offer = OFFERS.fetch_add(1, Ordering::Relaxed);
        let mut future = self.store.claim_async(&request(key));
        let begun = self.session.invoke(key, Call::Offer { offer });
        match poll_once(&mut future) {
            Poll::Ready(Ok(Claim::Claimed(lease))) => {
                self.session.answer(begun, Answer::Done);
                let ended = self.session.invoke(key, Call::Withdraw { offer });
                self.give_back(lease, ended);
            }
            // Answered at once, and without an effect.
            Poll::Ready(_) => self.session.answer(begun, Answer::Refused),
            Poll::Pending if self.ending == Ending::Lives => {
                self.session.answer(begun, Answer::Done);
                let ended = self.session.invoke(key, Call::Withdraw { offer });
                drop(future);
                self.session.answer(ended, Answer::Done);
            }
            Poll::Pending => {
                // A crash may take back the claim and its end, unless an answer behind them was heard.
                let ended = self.session.invoke(key, Call::Withdraw { offer });
                drop(future);
                if self.get(key) {
                    self.session.answer(begun, Answer::Done);
                    self.session.answer(ended, Answer::Done);
                }
            }
        }
    }

    /// The commit was faster than the poll: a release does what the drop would have done.
    fn give_back(&mut self, lease: Lease, ended: Ticket) {
        let mut lease = Some(lease);
        while let Some(held) = lease.take() {
            let Err(refused) = held.release() else { break };
            match self.refused(refused.kind()) {
                Answer::Stale => break,
                // Open until the crash: the claim may be there or not.
                Answer::Unknown => return,
                _ if self.over => return,
                _ => lease = refused.into_parts().1,
            }
        }
        self.session.answer(ended, Answer::Done);
    }

    fn take(&mut self, held: usize) -> Option<(u32, Lease)> {
        let at = held.checked_rem(self.held.len())?;
        Some(self.held.swap_remove(at))
    }

    fn settle(
        &mut self,
        held: usize,
        call: impl FnOnce(u64) -> Call,
        run: impl FnOnce(Lease) -> Result<(), SettleError>,
    ) {
        let Some((key, lease)) = self.take(held) else { return };
        let ticket = self.session.invoke(key, call(lease.token()));
        let verdict = run(lease);
        self.settled(key, ticket, verdict);
    }

    fn settled(&mut self, key: u32, ticket: Ticket, verdict: Result<(), SettleError>) {
        let answer = match verdict {
            Ok(()) => Answer::Done,
            Err(refused) => {
                let answer = self.refused(refused.kind());
                if let (_, Some(lease)) = refused.into_parts() {
                    self.held.push((key, lease));
                }
                answer
            }
        };
        self.session.answer(ticket, answer);
    }

    fn complete_many(&mut self) {
        let held = std::mem::take(&mut self.held);
        let mut tickets = Vec::new();
        let mut items = Vec::new();
        for (key, lease) in held {
            let call = Call::Complete { token: lease.token(), response: Response::from(*b"many") };
            tickets.push((key, self.session.invoke(key, call)));
            items.push((lease, b"many".to_vec()));
        }
        match self.store.complete_many(items) {
            Ok(verdicts) => {
                for ((key, ticket), verdict) in tickets.into_iter().zip(verdicts) {
                    self.settled(key, ticket, verdict);
                }
            }
            Err(refused) => {
                let answer = self.refused(refused.kind());
                let (_, items) = refused.into_parts();
                for ((key, ticket), (lease, _)) in tickets.into_iter().zip(items) {
                    self.session.answer(ticket, answer.clone());
                    self.held.push((key, lease));
                }
            }
        }
    }

    /// The settlement takes place, whether or not anybody waits for it.
    fn release_unheard(&mut self, held: usize) {
        let Some((key, lease)) = self.take(held) else { return };
        let ticket = self.session.invoke(key, Call::Release { token: lease.token() });
        let mut future = lease.release_async();
        match poll_once(&mut future) {
            Poll::Ready(verdict) => self.settled(key, ticket, verdict),
            Poll::Pending => {
                drop(future);
                let answer = if self.ending == Ending::Lives { Answer::Done } else { Answer::Unknown };
                self.session.answer(ticket, answer);
            }
        }
    }

    fn abandon(&mut self, held: usize) {
        let Some((key, lease)) = self.take(held) else { return };
        let ticket = self.session.invoke(key, Call::Abandon { token: lease.token() });
        drop(lease);
        self.session.answer(ticket, Answer::Done);
    }

    /// For calls that change nothing the model knows of, and are refused when the lease is stale.
    fn touch(&mut self, held: usize, run: impl FnOnce(&mut Lease) -> Result<(), Error>) {
        let Some((key, mut lease)) = self.take(held) else { return };
        let ticket = self.session.invoke(key, Call::Renew { token: lease.token() });
        let verdict = run(&mut lease);
        let answer = self.told(verdict);
        // A stale lease is worth nothing; dropping it abandons nothing.
        if answer != Answer::Stale {
            self.held.push((key, lease));
        }
        // Whether or not it took place, the key is as it was.
        let answer = if answer == Answer::Unknown { Answer::Refused } else { answer };
        self.session.answer(ticket, answer);
    }

    fn told(&mut self, verdict: Result<(), Error>) -> Answer {
        match verdict {
            Ok(()) => Answer::Done,
            Err(error) => self.refused(error.kind()),
        }
    }

    fn refused(&mut self, kind: ErrorKind) -> Answer {
        match kind {
            ErrorKind::Parked => Answer::Parked,
            // Not among the answers that rest on durable facts only: a crash may take back what it told.
            ErrorKind::StaleLease if self.ending == Ending::MayCrash => Answer::Refused,
            ErrorKind::StaleLease => Answer::Stale,
            ErrorKind::Indeterminate => Answer::Unknown,
            ErrorKind::TooLarge | ErrorKind::Overloaded | ErrorKind::Full => Answer::Refused,
            ErrorKind::Io if self.ending == Ending::MayCrash => Answer::Refused,
            ErrorKind::Poisoned | ErrorKind::Closed if self.ending == Ending::MayCrash => {
                self.over = true;
                Answer::Refused
            }
            other => panic!("{other:?}"),
        }
    }
}

fn seen(record: &Record) -> Seen {
    let stage = match record.state() {
        RecordState::InProgress | RecordState::Orphaned => SeenStage::InProgress,
        RecordState::Completed => SeenStage::Completed,
        RecordState::Failed => SeenStage::Failed,
        RecordState::Retry => SeenStage::Retry,
        RecordState::Parked => SeenStage::Parked,
        other => panic!("{other:?}"),
    };
    let token = (stage == SeenStage::InProgress).then(|| record.token());
    let (attempt, failures, losses) = (record.attempt(), record.failures(), record.losses());
    Seen { stage, response: record.response().map(Into::into), attempt, failures, losses, token }
}
