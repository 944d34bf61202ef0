//! `transact` and `complete_in` as futures: their closures run on the upkeep thread of the store.
//!
//! Cancel safety: a claim together with its rows is wholly there or wholly absent, whenever the future is dropped.

use crate::claim::ClaimRequest;
use crate::engine::Engine;
use crate::engine::spaces::Space;
use crate::engine::transact::Ran;
use crate::error::{Error, ErrorKind};
use crate::lease::{Lease, SettleError};
use crate::sync::{Arc, Weak};
use crate::task::TaskFuture;
use crate::transact::{Transacted, Transaction};
use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

type Work = Box<dyn FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error> + Send>;

/// What came of a call whose closure may have panicked.
type Outcome<T> = Result<Result<T, Error>, Box<dyn Any + Send>>;

/// Makes a call on the upkeep thread, which must outlive a panic of the caller's closure.
fn guarded<T>(call: impl FnOnce() -> Result<T, Error>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(call))
}

/// The result of the call. A panic of its closure goes on here.
fn outcome<T>(told: Result<Outcome<T>, Error>) -> Result<T, Error> {
    match told? {
        Ok(result) => result,
        Err(panic) => resume_unwind(panic),
    }
}

/// A `transact` under way; see [`Namespace::transact_async`](crate::Namespace::transact_async).
///
/// Dropped before the closure began, it does nothing. Dropped later, the claim, the rows and the response are there
/// together, or none of them, as the closure decides.
#[must_use = "nothing happens before it is polled"]
pub struct TransactFuture {
    state: Transacting,
}

enum Transacting {
    Asked {
        engine: Arc<Engine>,
        space: Arc<Space>,
        request: ClaimRequest,
        work: Work,
    },
    /// A task whose turn comes when nobody wants it any more does nothing.
    Queued {
        ran: TaskFuture<Outcome<Ran>>,
        wanted: Arc<()>,
    },
    Done,
}

impl TransactFuture {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        space: &Arc<Space>,
        request: ClaimRequest,
        work: impl FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error> + Send + 'static,
    ) -> TransactFuture {
        let (engine, space, work) = (engine.clone(), space.clone(), Box::new(work));
        TransactFuture { state: Transacting::Asked { engine, space, request, work } }
    }
}

/// Has the closure run when its turn comes, if somebody still waits for it then.
fn queue(
    engine: &Arc<Engine>,
    space: Arc<Space>,
    request: ClaimRequest,
    work: Work,
) -> (TaskFuture<Outcome<Ran>>, Arc<()>) {
    let wanted = Arc::new(());
    let still: Weak<()> = Arc::downgrade(&wanted);
    let ran = engine.run_elsewhere(move |engine| {
        if still.upgrade().is_none() {
            return Err(Error::new(ErrorKind::Closed, "nobody waited for it"));
        }
        Ok(guarded(|| engine.transact(&space, &request, |write| work(&Transaction::new(write)))))
    });
    (ran, wanted)
}

impl Future for TransactFuture {
    type Output = Result<Transacted, Error>;

    /// Pending for ever once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = match mem::replace(&mut self.state, Transacting::Done) {
            Transacting::Asked { engine, space, request, work } => {
                let (ran, wanted) = queue(&engine, space, request, work);
                Transacting::Queued { ran, wanted }
            }
            state => state,
        };
        let Transacting::Queued { mut ran, wanted } = state else { return Poll::Pending };
        match Pin::new(&mut ran).poll(cx) {
            Poll::Ready(told) => Poll::Ready(outcome(told).map(Transacted::from)),
            Poll::Pending => {
                self.state = Transacting::Queued { ran, wanted };
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for TransactFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactFuture").finish_non_exhaustive()
    }
}

/// A settlement together with rows, under way; see [`Lease::complete_in_async`].
///
/// Dropping it does not stop the settlement.
#[must_use = "the result tells whether it was settled"]
pub struct CompleteInFuture {
    state: Completing,
}

enum Completing {
    Queued { ran: TaskFuture<Outcome<Vec<u8>>>, lease: Lease },
    Refused(SettleError),
    Done,
}

impl CompleteInFuture {
    pub(crate) fn begin(
        mut lease: Lease,
        work: impl FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error> + Send + 'static,
    ) -> CompleteInFuture {
        let state = match lease.engine() {
            Err(error) => Completing::Refused(SettleError::new(error, lease)),
            Ok(engine) => {
                lease.disarm();
                let held = lease.held().clone();
                let ran = engine.run_elsewhere(move |engine| {
                    Ok(guarded(|| engine.complete_in(&held, |write| work(&Transaction::new(write)))))
                });
                Completing::Queued { ran, lease }
            }
        };
        CompleteInFuture { state }
    }
}

impl Future for CompleteInFuture {
    type Output = Result<Vec<u8>, SettleError>;

    /// Pending for ever once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match mem::replace(&mut self.state, Completing::Done) {
            Completing::Done => Poll::Pending,
            Completing::Refused(error) => Poll::Ready(Err(error)),
            Completing::Queued { mut ran, lease } => {
                let Poll::Ready(told) = Pin::new(&mut ran).poll(cx) else {
                    self.state = Completing::Queued { ran, lease };
                    return Poll::Pending;
                };
                Poll::Ready(outcome(told).map_err(|error| SettleError::new(error, lease)))
            }
        }
    }
}

impl fmt::Debug for CompleteInFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteInFuture").finish_non_exhaustive()
    }
}
