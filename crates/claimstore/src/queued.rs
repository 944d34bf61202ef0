//! Futures of calls that are on their way as soon as they were made: progress, renewal, detaching,
//! forgetting, reading, defining a namespace.
//!
//! Cancel safety: dropping one of these futures stops nothing; only its answer is lost.

use crate::engine::Engine;
use crate::engine::commit::Leads;
use crate::engine::spaces::Space;
use crate::error::{Error, ErrorKind};
use crate::future::poll_commit;
use crate::lease::{Lease, SettleError};
use crate::namespace::Namespace;
use crate::store::Handle;
use crate::sync::{Arc, Weak};
use crate::task::TaskFuture;
use crate::token::LeaseToken;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

/// An operation that waits for its commit; see [`Lease::save_progress_async`], [`Lease::renew_async`],
/// [`Store::get_async`](crate::Store::get_async), [`Store::forget_async`](crate::Store::forget_async).
///
/// Dropping it does not take the operation back.
#[must_use = "the answer tells whether it worked"]
pub struct CommitFuture<T> {
    state: Committing<T>,
}

enum Committing<T> {
    Queued { engine: Arc<Engine>, batch: u64, value: T },
    Refused(Error),
    Done,
}

impl<T> CommitFuture<T> {
    /// `begun` is the batch to wait for, and what to answer then.
    pub(crate) fn new(engine: Result<Arc<Engine>, Error>, begun: Result<(u64, T), Error>) -> CommitFuture<T> {
        let queued = begun.and_then(|(batch, value)| {
            let engine = engine?;
            engine.serve_futures()?;
            engine.nudge_service();
            Ok(Committing::Queued { engine, batch, value })
        });
        CommitFuture { state: queued.unwrap_or_else(Committing::Refused) }
    }
}

/// Nothing in it is ever pinned.
impl<T> Unpin for CommitFuture<T> {}

impl<T> Future for CommitFuture<T> {
    type Output = Result<T, Error>;

    /// Pending for ever once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match mem::replace(&mut self.state, Committing::Done) {
            Committing::Done => Poll::Pending,
            Committing::Refused(error) => Poll::Ready(Err(error)),
            Committing::Queued { engine, batch, value } => match poll_commit(&engine, batch, cx.waker()) {
                Poll::Ready(committed) => Poll::Ready(committed.map(|()| value)),
                Poll::Pending => {
                    self.state = Committing::Queued { engine, batch, value };
                    Poll::Pending
                }
            },
        }
    }
}

impl<T> fmt::Debug for CommitFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitFuture").finish_non_exhaustive()
    }
}

/// A claim on its way to outlive its process; see [`Lease::detach_async`].
///
/// Dropped, the claim is detached all the same; without the token it runs until its term.
#[must_use = "without the token nobody can settle the claim before its term"]
pub struct DetachFuture {
    state: Detaching,
}

enum Detaching {
    Queued { engine: Arc<Engine>, batch: u64, lease: Lease, token: LeaseToken },
    Refused(SettleError),
    Done,
}

impl DetachFuture {
    pub(crate) fn queued(engine: Arc<Engine>, batch: u64, lease: Lease, token: LeaseToken) -> DetachFuture {
        engine.nudge_service();
        DetachFuture { state: Detaching::Queued { engine, batch, lease, token } }
    }

    pub(crate) fn refused(error: SettleError) -> DetachFuture {
        DetachFuture { state: Detaching::Refused(error) }
    }
}

impl Future for DetachFuture {
    type Output = Result<LeaseToken, SettleError>;

    /// Pending for ever once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match mem::replace(&mut self.state, Detaching::Done) {
            Detaching::Done => Poll::Pending,
            Detaching::Refused(error) => Poll::Ready(Err(error)),
            Detaching::Queued { engine, batch, lease, token } => {
                match poll_commit(&engine, batch, cx.waker()) {
                    Poll::Ready(Ok(())) => Poll::Ready(Ok(token)),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(SettleError::new(error, lease))),
                    Poll::Pending => {
                        self.state = Detaching::Queued { engine, batch, lease, token };
                        Poll::Pending
                    }
                }
            }
        }
    }
}

impl fmt::Debug for DetachFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachFuture").finish_non_exhaustive()
    }
}

/// A namespace being defined; see [`Store::namespace_async`](crate::Store::namespace_async).
///
/// Dropping it does not take the definition back. It does not keep the store open.
#[must_use = "the answer is the namespace"]
pub struct NamespaceFuture {
    space: TaskFuture<Arc<Space>>,
    handle: Weak<Handle>,
}

impl NamespaceFuture {
    pub(crate) fn new(space: TaskFuture<Arc<Space>>, handle: &Arc<Handle>) -> NamespaceFuture {
        NamespaceFuture { space, handle: Arc::downgrade(handle) }
    }
}

impl Future for NamespaceFuture {
    type Output = Result<Namespace, Error>;

    /// Pending for ever once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.space).poll(cx).map(|space| {
            let space = space?;
            let closed = || Error::new(ErrorKind::Closed, "the store was closed");
            let handle = self.handle.upgrade().ok_or_else(closed)?;
            Ok(Namespace::new(handle, space))
        })
    }
}

impl fmt::Debug for NamespaceFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceFuture").finish_non_exhaustive()
    }
}
