//! [`KeepAlive`]: renewals of a lease while its work goes on.
//!
//! Nothing runs for it but a timer of the store. When the timer is due, the thread that serves timers makes the renewal
//! and sets the next one.

use crate::engine::Engine;
use crate::engine::held::Held;
use crate::error::{Error, ErrorKind};
use crate::io::{FORKED, Process};
use crate::lease::Lease;
use crate::options::millis;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Longest time between two looks at the clock, so that what a dropped guard leaves behind is not kept for long.
const LONGEST_NAP_MS: u64 = 60_000;

/// Keeps a claim alive; made by [`Lease::keep_alive`]. Dropping it ends the renewals, and leaves the claim its term.
///
/// # How a refusal is learned
///
/// As a future, it is ready with the first refusal, or with `Ok` when the ceiling is reached: poll it beside the work,
/// as `&mut guard`. Blocking code calls [`check`](KeepAlive::check) between the steps of its work. After a refusal the
/// claim is not renewed again; the work should stop, for somebody else may begin it.
///
/// # What ends it
///
/// | what happens | it ends with |
/// |---|---|
/// | the guard is dropped | a renewal that is under way at that moment may still take effect |
/// | the ceiling is reached | `Ok`; the lease lapses then, unless it had a longer term without the renewals |
/// | the claim is settled, superseded or parked, or its lease was dropped | [`ErrorKind::StaleLease`], at the next renewal |
/// | the store closes | [`ErrorKind::Closed`], at once |
/// | the store is poisoned | [`ErrorKind::Poisoned`], at the next renewal |
///
/// It belongs to the claim, not to the lease object. [`Lease::into_token`] and [`Store::resume`](crate::Store::resume) do
/// not end it, nor does [`Lease::detach`]: renewals of a detached claim are durable, and begin when less than the lease's
/// length is left of its term. While `complete_in` runs on the claim, nobody can take
/// it over; a detached claim is renewed when that has ended.
///
/// It does not keep the store open. Polled or not, renewals go on.
///
/// ```
/// # fn main() -> Result<(), claimstore::Error> {
/// use claimstore::Store;
/// use std::time::Duration;
///
/// let store = Store::in_memory()?;
/// let lease = store.claim("report", Duration::from_secs(86_400))?.claimed().unwrap();
/// let alive = lease.keep_alive(Duration::from_secs(3_600)); // an hour at most
/// for _page in 0..3 {
///     alive.check()?; // stop when the claim is lost
/// }
/// drop(alive);
/// lease.complete("three pages")?;
/// # Ok(()) }
/// ```
#[must_use = "dropping it ends the renewals"]
pub struct KeepAlive {
    pulse: Arc<Pulse>,
    /// The process whose thread makes the renewals.
    process: Process,
}

/// What the timer wakes.
struct Pulse {
    engine: Weak<Engine>,
    held: Held,
    /// The ceiling, on the boot clock.
    ends_ms: u64,
    /// When the next renewal is due, on the boot clock. Locked while one is made, so that there is one at a time. No
    /// other lock is held then.
    due_ms: Mutex<u64>,
    dropped: AtomicBool,
    ended: Mutex<Ended>,
}

#[derive(Default)]
struct Ended {
    how: Option<Result<(), Error>>,
    told: bool,
    waker: Option<Waker>,
}

impl KeepAlive {
    pub(crate) fn begin(lease: &Lease, ceiling: Duration) -> KeepAlive {
        let engine = lease.engine();
        let ends_ms =
            engine.as_ref().map_or(0, |engine| engine.time.boot_ms().saturating_add(millis(ceiling)));
        let pulse = Arc::new(Pulse {
            engine: lease.weak_engine(),
            held: lease.held().clone(),
            ends_ms,
            due_ms: Mutex::new(0),
            dropped: AtomicBool::new(false),
            ended: Mutex::default(),
        });
        match engine.and_then(|engine| engine.check_open().and_then(|()| engine.serve_futures())) {
            Ok(()) => pulse.beat(),
            Err(error) => pulse.end(Err(error)),
        }
        KeepAlive { pulse, process: Process::current() }
    }

    /// Whether the claim is still held, as far as the last renewal told: the first refusal, each time it is asked, and
    /// `Ok` before it. Reaching the ceiling is no refusal. Does not block.
    pub fn check(&self) -> Result<(), Error> {
        self.check_process()?;
        match &self.pulse.ended.lock().how {
            Some(Err(refusal)) => Err(refusal.again()),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Whether the renewals have ended, by the ceiling or a refusal. Does not block.
    pub fn is_over(&self) -> bool {
        self.check_process().is_err() || self.pulse.ended.lock().how.is_some()
    }

    fn check_process(&self) -> Result<(), Error> {
        if self.process.is_current() { Ok(()) } else { Err(Error::new(ErrorKind::Misuse, FORKED)) }
    }
}

impl Pulse {
    /// Renews the lease if that is due, and sets the timer.
    fn beat(self: &Arc<Self>) {
        if self.dropped.load(Ordering::Acquire) {
            return;
        }
        if let Err(how) = self.renew_and_wait() {
            self.end(how);
        }
    }

    /// The error is how it ended.
    fn renew_and_wait(self: &Arc<Self>) -> Result<(), Result<(), Error>> {
        let closed = || Err(Error::new(ErrorKind::Closed, "the store was closed"));
        let engine = self.engine.upgrade().ok_or_else(closed)?;
        if engine.is_closed() {
            return Err(closed());
        }
        let mut due_ms = self.due_ms.lock();
        let at = engine.time.moment();
        if at.boot_ms >= self.ends_ms {
            return Err(Ok(()));
        }
        if at.boot_ms >= *due_ms {
            let lease_ms = engine.prolong(&self.held, at, self.ends_ms).map_err(Err)?;
            *due_ms = at.boot_ms.saturating_add((lease_ms / 3).max(1));
        }
        let look_ms = at.boot_ms.saturating_add(LONGEST_NAP_MS).min(*due_ms).min(self.ends_ms);
        engine.wake_at(look_ms, &Waker::from(self.clone()));
        // A close that woke all timers before this one was there.
        if engine.is_closed() { Err(closed()) } else { Ok(()) }
    }

    /// The first end counts.
    fn end(&self, how: Result<(), Error>) {
        let waker = {
            let mut ended = self.ended.lock();
            ended.how.get_or_insert(how);
            ended.waker.take()
        };
        // Without the lock: a waker may poll at once.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Pulse {
    fn wake(self: Arc<Self>) {
        self.beat();
    }
}

impl Future for KeepAlive {
    type Output = Result<(), Error>;

    /// Pending for ever once it was ready; [`check`](KeepAlive::check) still tells.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.check_process()?;
        let mut ended = self.pulse.ended.lock();
        let how = match &ended.how {
            Some(_) if ended.told => return Poll::Pending,
            Some(Ok(())) => Ok(()),
            Some(Err(refusal)) => Err(refusal.again()),
            None => {
                ended.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        };
        ended.told = true;
        Poll::Ready(how)
    }
}

impl Drop for KeepAlive {
    /// Takes no lock: it may be dropped in a child of `fork()`.
    fn drop(&mut self) {
        self.pulse.dropped.store(true, Ordering::Release);
    }
}

impl fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepAlive").field("token", &self.pulse.held.token).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
