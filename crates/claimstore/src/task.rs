//! [`TaskFuture`]: a call that runs on a thread of the store.

use crate::error::{Error, ErrorKind};
use crate::io::{FORKED, Process};
use crate::sync::{Arc, Mutex};
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A call that runs on the upkeep thread of the store: upkeep, backup, closing.
///
/// It is queued when the call returns the future, after earlier ones, and runs whether the future is polled or not.
/// Dropping the future does not stop it; only its result is lost. If the store closes before its turn, the future
/// returns [`ErrorKind::Closed`]. The future does not keep the store open.
#[must_use = "the answer tells whether it worked"]
pub struct TaskFuture<T> {
    answer: Arc<Mutex<Answer<T>>>,
    /// The process of the thread that will complete it.
    process: Process,
}

enum Answer<T> {
    Awaited(Option<Waker>),
    Given(Result<T, Error>),
    Taken,
}

/// The other side of a [`TaskFuture`]. If it is dropped without a result, the future returns `Closed`.
pub(crate) struct Promise<T> {
    answer: Arc<Mutex<Answer<T>>>,
}

pub(crate) fn promise<T>() -> (Promise<T>, TaskFuture<T>) {
    let answer = Arc::new(Mutex::new(Answer::Awaited(None)));
    (Promise { answer: answer.clone() }, TaskFuture { answer, process: Process::current() })
}

impl<T> Promise<T> {
    pub(crate) fn keep(self, answer: Result<T, Error>) {
        self.give(answer);
    }

    /// The first answer counts.
    fn give(&self, answer: Result<T, Error>) {
        let waker = {
            let mut state = self.answer.lock();
            match &mut *state {
                Answer::Awaited(waker) => {
                    let waker = waker.take();
                    *state = Answer::Given(answer);
                    waker
                }
                Answer::Given(_) | Answer::Taken => None,
            }
        };
        // Without the lock: a waker may poll at once.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.give(Err(Error::new(ErrorKind::Closed, "the store was closed")));
    }
}

impl<T> TaskFuture<T> {
    pub(crate) fn refused(error: Error) -> TaskFuture<T> {
        TaskFuture { answer: Arc::new(Mutex::new(Answer::Given(Err(error)))), process: Process::current() }
    }
}

impl<T> Future for TaskFuture<T> {
    type Output = Result<T, Error>;

    /// Pending for ever once it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.process.is_current() {
            return Poll::Ready(Err(Error::new(ErrorKind::Misuse, FORKED)));
        }
        let mut state = self.answer.lock();
        match mem::replace(&mut *state, Answer::Taken) {
            Answer::Given(answer) => Poll::Ready(answer),
            Answer::Taken => Poll::Pending,
            Answer::Awaited(_) => {
                *state = Answer::Awaited(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for TaskFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::promise;
    use crate::error::ErrorKind;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    fn poll<T>(future: &mut super::TaskFuture<T>) -> Poll<Result<T, crate::Error>> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_kept_promise_is_delivered_once() {
        let (promise, mut future) = promise();
        assert!(poll(&mut future).is_pending());
        promise.keep(Ok(7));
        assert!(matches!(poll(&mut future), Poll::Ready(Ok(7))));
        assert!(poll(&mut future).is_pending());
    }

    #[test]
    fn a_dropped_promise_says_closed() {
        let (promise, mut future) = promise::<()>();
        drop(promise);
        let Poll::Ready(Err(error)) = poll(&mut future) else { panic!("no answer") };
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}
