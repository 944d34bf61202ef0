//! The smallest executors: one future on this thread, or very many.

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls a future once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(future).poll(&mut context)
}

/// Many futures on one thread. Each is polled when it was woken and at no other time, so that a wake-up that
/// does not come is not made up for by one that was meant for another.
pub(crate) struct Crowd<F: Future> {
    futures: HashMap<usize, Pin<Box<F>>>,
    woken: Receiver<usize>,
    wake: Sender<usize>,
    next: usize,
}

struct Ring {
    number: usize,
    wake: Sender<usize>,
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more once the crowd is gone.
        let _gone = self.wake.send(self.number);
    }
}

impl<F: Future> Crowd<F> {
    pub(crate) fn new() -> Crowd<F> {
        let (wake, woken) = channel();
        Crowd { futures: HashMap::new(), woken, wake, next: 0 }
    }

    /// Takes a future in; it is polled by the next [`next`](Crowd::next).
    pub(crate) fn push(&mut self, future: F) {
        self.futures.insert(self.next, Box::pin(future));
        self.wake.send(self.next).unwrap();
        self.next += 1;
    }

    /// The next output; `None` once no future is left.
    pub(crate) fn next(&mut self) -> Option<F::Output> {
        while !self.futures.is_empty() {
            let number = self.woken.recv().unwrap();
            let Some(future) = self.futures.get_mut(&number) else { continue };
            let waker = Waker::from(Arc::new(Ring { number, wake: self.wake.clone() }));
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.futures.remove(&number);
                return Some(output);
            }
        }
        None
    }
}
