//! The smallest executor: one future, this thread.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls `future` on this thread until it is ready, and parks the thread in between. There is no runtime: timers and
/// sockets of one do not work in it.
///
/// ```
/// # fn main() -> Result<(), claimstore::Error> {
/// use claimstore_testing::{Disk, block_on, small_options};
///
/// let store = small_options().open_on(Disk::new().storage())?;
/// let claim = block_on(store.claim_async(&claimstore::ClaimRequest::new("order-1")))?;
/// assert!(claim.claimed().is_some());
/// # Ok(()) }
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        // A wake-up between the poll and here makes this return at once.
        thread::park();
    }
}
