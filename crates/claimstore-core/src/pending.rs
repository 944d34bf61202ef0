//! [`Pending`]: a call that is under way.

use crate::Error;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// A call that is under way: a future for any runtime, which [`wait`](Pending::wait) turns into a blocking call.
///
/// The method that returns it says what becomes of the call when the future is dropped.
#[must_use = "the result tells whether it worked"]
pub struct Pending<T, E = Error> {
    call: Call<T, E>,
}

enum Call<T, E> {
    Done(Option<Result<T, E>>),
    Running(Pin<Box<dyn Future<Output = Result<T, E>> + Send>>),
}

impl<T, E> Pending<T, E> {
    /// A call that `future` carries out.
    pub fn new(future: impl Future<Output = Result<T, E>> + Send + 'static) -> Pending<T, E> {
        Pending { call: Call::Running(Box::pin(future)) }
    }

    /// A call that is over.
    pub fn done(result: Result<T, E>) -> Pending<T, E> {
        Pending { call: Call::Done(Some(result)) }
    }

    /// Parks this thread until the result is there.
    ///
    /// Not for threads of an asynchronous runtime: what the call waits for may need that very thread.
    pub fn wait(mut self) -> Result<T, E> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            let polled = {
                let _blocking = Blocking::begin();
                Pin::new(&mut self).poll(&mut cx)
            };
            if let Poll::Ready(result) = polled {
                return result;
            }
            // A wake-up between the poll and here makes this return at once.
            thread::park();
        }
    }
}

thread_local! {
    /// Whether this thread polls a call in [`Pending::wait`].
    static BLOCKING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the thread that polls does so in [`Pending::wait`], and has nothing else to do.
///
/// A future of a backend may then block until it is ready, on condition that this needs no other future of the same thread. It
/// saves the way over another thread and back.
pub fn may_block() -> bool {
    BLOCKING.get()
}

/// Sets the mark of this thread, and puts back what was there, also after a panic.
struct Blocking(bool);

impl Blocking {
    fn begin() -> Blocking {
        Blocking(BLOCKING.replace(true))
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        BLOCKING.set(self.0);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A running call is boxed, and a result that is there is never pinned.
impl<T, E> Unpin for Pending<T, E> {}

impl<T, E> Future for Pending<T, E> {
    type Output = Result<T, E>;

    /// Pending for ever after the result was given.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.call {
            Call::Done(result) => result.take().map_or(Poll::Pending, Poll::Ready),
            Call::Running(future) => {
                let polled = future.as_mut().poll(cx);
                if polled.is_ready() {
                    self.call = Call::Done(None);
                }
                polled
            }
        }
    }
}

impl<T: Send + 'static, E: Send + 'static> From<Result<T, E>> for Pending<T, E> {
    fn from(result: Result<T, E>) -> Pending<T, E> {
        Pending::done(result)
    }
}

impl<T, E> fmt::Debug for Pending<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Pending, may_block};
    use crate::Error;
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Poll, Waker};
    use std::thread;

    #[test]
    fn what_is_done_is_given_once() {
        assert_eq!(Pending::<_, Error>::done(Ok(7)).wait().unwrap(), 7);
        let mut pending = Pending::<_, Error>::done(Ok(7));
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let mut poll = || std::pin::Pin::new(&mut pending).poll(&mut cx).is_ready();
        assert!(poll());
        assert!(!poll(), "it was given");
    }

    #[test]
    fn only_a_thread_that_waits_may_block() {
        let look = || Pending::<_, Error>::new(async { Ok(may_block()) });
        assert!(look().wait().unwrap());
        let mut polled = look();
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(matches!(std::pin::Pin::new(&mut polled).poll(&mut cx), Poll::Ready(Ok(false))));
        let outer = Pending::<_, Error>::new(async move { Ok((look().wait()?, may_block())) });
        assert_eq!(outer.wait().unwrap(), (true, true));
        assert!(!may_block(), "it is over");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the threads are the test's own")]
    fn a_wait_ends_when_another_thread_is_done() {
        let (done, waker) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None::<Waker>)));
        let (seen, of_future) = (done.clone(), waker.clone());
        let pending = Pending::<_, Error>::new(poll_fn(move |cx| {
            *of_future.lock().unwrap() = Some(cx.waker().clone());
            if seen.load(Ordering::Acquire) { Poll::Ready(Ok("done")) } else { Poll::Pending }
        }));
        let other = thread::spawn(move || {
            let waker = loop {
                if let Some(waker) = waker.lock().unwrap().take() {
                    break waker;
                }
                thread::yield_now();
            };
            done.store(true, Ordering::Release);
            waker.wake();
        });
        assert_eq!(pending.wait().unwrap(), "done");
        other.join().unwrap();
    }
}
