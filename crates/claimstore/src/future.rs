//! The asynchronous calls, as named futures for any runtime.
//!
//! Cancel safety: a claim future that is dropped before its answer was delivered releases what it claimed,
//! and the attempt does not count. A settlement is on its way as soon as the call returned its future;
//! dropping the future does not stop it. No future keeps the store open. The crate documentation says which futures are
//! lazy.

use crate::claim::{Claim, ClaimRequest};
use crate::engine::Engine;
use crate::engine::claims::{Answer, Begun, Granted, Told, is_held};
use crate::engine::commit::{Leads, Waits};
use crate::engine::decide::Ending;
use crate::engine::held::Held;
use crate::engine::spaces::Space;
use crate::engine::waiters::Bell;
use crate::error::Error;
use crate::lease::{Lease, SettleError};
use crate::options::millis;
use crate::store::{CompleteManyError, hand_out};
use crate::sync::Arc;
use claimstore_core::backend::may_block;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// Waits for a commit on behalf of a future.
pub(crate) fn poll_commit(engine: &Engine, batch: u64, waker: &Waker) -> Poll<Result<(), Error>> {
    engine.check_process()?;
    if may_block() {
        // This thread leads the commit itself, where nobody does. The service thread was woken all the same.
        return Poll::Ready(engine.commit.wait_after_all(batch, engine));
    }
    as_poll(engine.commit.poll(batch, waker, engine))
}

fn as_poll(committed: Result<bool, Error>) -> Poll<Result<(), Error>> {
    match committed {
        Ok(true) => Poll::Ready(Ok(())),
        Ok(false) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// Releases a claim whose answer was never received.
fn release_undelivered(engine: &Engine, space: &Arc<Space>, granted: Granted) {
    if !engine.is_here() {
        return;
    }
    let held = Held { space: space.clone(), keyed: granted.keyed, token: granted.token };
    match engine.settle(&held, &Ending::Release, Waits::Elsewhere) {
        Ok(_batch) => engine.nudge_service(),
        // No room, or poisoned: an abandoned claim is taken over at once all the same.
        Err(_) => engine.abandon(&held),
    }
}

/// A claim under way; see [`Store::claim_async`](crate::Store::claim_async).
#[must_use = "nothing happens before it is polled"]
pub struct ClaimFuture {
    engine: Arc<Engine>,
    space: Arc<Space>,
    request: ClaimRequest,
    begun: Option<Begun>,
    /// Whether an answer that somebody is on it is only looked at, and told to nobody.
    looks: bool,
}

impl ClaimFuture {
    pub(crate) fn new(engine: &Arc<Engine>, space: &Arc<Space>, request: ClaimRequest) -> ClaimFuture {
        ClaimFuture { engine: engine.clone(), space: space.clone(), request, begun: None, looks: false }
    }

    /// Begins, or goes on to wait.
    fn poll_begun(&mut self, waker: &Waker) -> Poll<Result<(), Error>> {
        if let Some(begun) = &self.begun {
            return poll_commit(&self.engine, begun.batch, waker);
        }
        self.engine.check_process()?;
        self.engine.serve_futures()?;
        let begun = self.engine.begin(&self.space, &self.request, Waits::Polled(waker))?;
        let Begun { batch, answer } = self.begun.insert(begun);
        match answer {
            // Its operation is queued, and the waker with it.
            Ok(Answer::Claimed(_)) if !may_block() => {
                as_poll(self.engine.commit.poll_queued(*batch, &*self.engine))
            }
            _ => poll_commit(&self.engine, *batch, waker),
        }
    }
}

impl Future for ClaimFuture {
    type Output = Result<Claim, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let committed = ready!(this.poll_begun(cx.waker()));
        // Whatever came of the commit, nothing is left for a drop to take back.
        let begun = this.begun.take();
        committed?;
        match begun {
            Some(Begun { answer, .. }) => {
                if this.looks && is_held(&answer) {
                    this.engine.waiters.looked();
                } else {
                    this.engine.deliver(&this.space, &answer);
                }
                let key = this.request.key();
                Poll::Ready(answer.map(|answer| Claim::new(&this.engine, &this.space, key, answer)))
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for ClaimFuture {
    fn drop(&mut self) {
        if let Some(Begun { answer: Ok(Answer::Claimed(granted)), .. }) = self.begun.take() {
            release_undelivered(&self.engine, &self.space, granted);
        }
    }
}

impl fmt::Debug for ClaimFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimFuture").field("begun", &self.begun.is_some()).finish_non_exhaustive()
    }
}

/// A batch of claims under way; see [`Store::claim_many_async`](crate::Store::claim_many_async).
#[must_use = "nothing happens before it is polled"]
pub struct ClaimManyFuture {
    engine: Arc<Engine>,
    space: Arc<Space>,
    requests: Vec<ClaimRequest>,
    begun: Option<(u64, Vec<Told>)>,
}

impl ClaimManyFuture {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        space: &Arc<Space>,
        requests: Vec<ClaimRequest>,
    ) -> ClaimManyFuture {
        ClaimManyFuture { engine: engine.clone(), space: space.clone(), requests, begun: None }
    }

    fn begin(&self) -> Result<(u64, Vec<Told>), Error> {
        self.engine.serve_futures()?;
        self.engine.begin_many(&self.space, &self.requests, Waits::Elsewhere)
    }
}

impl Future for ClaimManyFuture {
    type Output = Result<Vec<Result<Claim, Error>>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let batch = match &this.begun {
            Some((batch, _)) => *batch,
            None => this.begun.insert(this.begin()?).0,
        };
        let committed = ready!(poll_commit(&this.engine, batch, cx.waker()));
        let begun = this.begun.take();
        committed?;
        match begun {
            Some((_, answers)) => {
                this.engine.deliver_many(&this.space, &answers);
                let items = this.requests.iter().zip(answers);
                let hand_out = |(request, answer): (&ClaimRequest, Told)| {
                    answer.map(|answer| Claim::new(&this.engine, &this.space, request.key(), answer))
                };
                Poll::Ready(Ok(items.map(hand_out).collect()))
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for ClaimManyFuture {
    fn drop(&mut self) {
        let Some((_, answers)) = self.begun.take() else { return };
        for answer in answers {
            if let Ok(Answer::Claimed(granted)) = answer {
                release_undelivered(&self.engine, &self.space, granted);
            }
        }
    }
}

impl fmt::Debug for ClaimManyFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimManyFuture").field("items", &self.requests.len()).finish_non_exhaustive()
    }
}

/// A claim that waits for its holder; see
/// [`Store::claim_or_wait_async`](crate::Store::claim_or_wait_async).
#[must_use = "nothing happens before it is polled"]
pub struct WaitFuture {
    claim: ClaimFuture,
    limit: Duration,
    waiting: Option<Waiting>,
}

/// Registered before the first question, so that no change of hands is missed.
struct Waiting {
    hash: u64,
    bell: Arc<Bell>,
    deadline_ms: u64,
}

impl WaitFuture {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        space: &Arc<Space>,
        request: ClaimRequest,
        limit: Duration,
    ) -> WaitFuture {
        let mut claim = ClaimFuture::new(engine, space, request);
        claim.looks = true;
        WaitFuture { claim, limit, waiting: None }
    }

    fn register(&mut self) -> Result<(), Error> {
        self.claim.engine.check_changes()?;
        if self.waiting.is_none() {
            let ClaimFuture { engine, space, request, .. } = &self.claim;
            let hash = engine.keyed(space, &space.policy(), request.key())?.hash;
            let deadline_ms = engine.time.boot_ms().saturating_add(millis(self.limit));
            self.waiting = Some(Waiting { hash, bell: engine.waiters.register(hash), deadline_ms });
        }
        Ok(())
    }
}

impl Future for WaitFuture {
    type Output = Result<Claim, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Err(error) = this.register() {
            return Poll::Ready(Err(error));
        }
        loop {
            let Some(waiting) = &this.waiting else { return Poll::Pending };
            if this.claim.begun.is_none() {
                waiting.bell.silence();
            }
            let holder = match Pin::new(&mut this.claim).poll(cx) {
                Poll::Ready(Ok(Claim::InProgress(holder))) => holder,
                other => return other,
            };
            let engine = &this.claim.engine;
            let now_ms = engine.time.boot_ms();
            if now_ms >= waiting.deadline_ms {
                this.claim.space.counters.in_progress();
                return Poll::Ready(Ok(Claim::InProgress(holder)));
            }
            // At the latest in a minute, so that the timer of a dropped future is not kept for long.
            let again_ms =
                now_ms.saturating_add(millis(holder.retry_after()).min(60_000)).min(waiting.deadline_ms);
            engine.wake_at(again_ms, cx.waker());
            if !waiting.bell.poll(cx.waker()) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for WaitFuture {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting
            && self.claim.engine.is_here()
        {
            self.claim.engine.waiters.deregister(waiting.hash, &waiting.bell);
        }
    }
}

impl fmt::Debug for WaitFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitFuture").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// A settlement under way; see [`Lease::complete_async`].
#[must_use = "the result tells whether it was settled"]
pub struct SettleFuture {
    state: Option<Settling>,
}

enum Settling {
    Queued { engine: Arc<Engine>, batch: u64, lease: Lease },
    Refused(SettleError),
}

impl SettleFuture {
    pub(crate) fn queued(engine: &Arc<Engine>, batch: u64, lease: Lease) -> SettleFuture {
        engine.nudge_service();
        SettleFuture { state: Some(Settling::Queued { engine: engine.clone(), batch, lease }) }
    }

    pub(crate) fn refused(error: SettleError) -> SettleFuture {
        SettleFuture { state: Some(Settling::Refused(error)) }
    }
}

impl Future for SettleFuture {
    type Output = Result<(), SettleError>;

    /// Pending for ever once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.state.take() {
            None => Poll::Pending,
            Some(Settling::Refused(error)) => Poll::Ready(Err(error)),
            Some(Settling::Queued { engine, batch, lease }) => {
                match poll_commit(&engine, batch, cx.waker()) {
                    Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(SettleError::new(error, lease))),
                    Poll::Pending => {
                        self.state = Some(Settling::Queued { engine, batch, lease });
                        Poll::Pending
                    }
                }
            }
        }
    }
}

impl fmt::Debug for SettleFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleFuture").finish_non_exhaustive()
    }
}

/// A batch of completions under way; see
/// [`Store::complete_many_async`](crate::Store::complete_many_async).
#[must_use = "the result tells whether it was settled"]
pub struct BatchSettleFuture {
    state: Option<BatchSettling>,
}

enum BatchSettling {
    Queued { engine: Arc<Engine>, batch: u64, items: Vec<(Lease, Vec<u8>)>, verdicts: Vec<Result<(), Error>> },
    Refused(CompleteManyError),
}

impl BatchSettleFuture {
    pub(crate) fn queued(
        engine: &Arc<Engine>,
        batch: u64,
        mut items: Vec<(Lease, Vec<u8>)>,
        verdicts: Vec<Result<(), Error>>,
    ) -> BatchSettleFuture {
        engine.nudge_service();
        // Accepted settlements happen whether or not anybody waits for them.
        for ((lease, _), verdict) in items.iter_mut().zip(&verdicts) {
            if verdict.is_ok() {
                lease.disarm();
            }
        }
        BatchSettleFuture {
            state: Some(BatchSettling::Queued { engine: engine.clone(), batch, items, verdicts }),
        }
    }

    pub(crate) fn refused(error: CompleteManyError) -> BatchSettleFuture {
        BatchSettleFuture { state: Some(BatchSettling::Refused(error)) }
    }
}

impl Future for BatchSettleFuture {
    type Output = Result<Vec<Result<(), SettleError>>, CompleteManyError>;

    /// Pending for ever once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.state.take() {
            None => Poll::Pending,
            Some(BatchSettling::Refused(error)) => Poll::Ready(Err(error)),
            Some(BatchSettling::Queued { engine, batch, items, verdicts }) => {
                match poll_commit(&engine, batch, cx.waker()) {
                    Poll::Ready(Ok(())) => Poll::Ready(Ok(hand_out(items, verdicts))),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(CompleteManyError::new(error, items))),
                    Poll::Pending => {
                        self.state = Some(BatchSettling::Queued { engine, batch, items, verdicts });
                        Poll::Pending
                    }
                }
            }
        }
    }
}

impl fmt::Debug for BatchSettleFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSettleFuture").finish_non_exhaustive()
    }
}
