//! Locks, atomics and threads, from one place.
//!
//! Nothing else in the engine names `std::sync`, `std::thread`, `parking_lot` or `arc_swap`, so that schedules can be
//! explored: in the builds of `explored/`, with `--cfg shuttle` or `--cfg loom`, everything uses these instead of the
//! operating system. Two modules are exceptions: `io`, whose disks and clocks guard state of their own and never wait
//! for the engine, and `planted`, which no release has.

#[cfg(any(shuttle, loom))]
mod explored;
#[cfg(not(any(shuttle, loom)))]
mod real;

#[cfg(any(shuttle, loom))]
use explored as chosen;
#[cfg(not(any(shuttle, loom)))]
use real as chosen;

pub(crate) use chosen::{
    AtomicBool, AtomicU64, AtomicUsize, JoinHandle, Mutex, MutexGuard, Now, Published, RwLock, ThreadId,
    current_thread, spawn, yield_now,
};
/// A count that orders nothing and decides nothing, so that no schedule needs to be explored around it.
pub(crate) use std::sync::atomic::AtomicU64 as Tally;
pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{Arc, Weak};

use chosen::{Condvar, Gate};
use std::time::Duration;

/// A wake-up without a payload: waiters re-check their own condition, which lives in atomics.
///
/// No wake-up is lost: a signaller changes the condition *first*, then takes `gate`, then notifies. A waiter holds
/// `gate` from its last check of the condition until it sleeps. So the signaller takes `gate` either before that
/// check, which then sees the change, or after the sleep began, and then the notification reaches the waiter.
#[derive(Debug, Default)]
pub(crate) struct Event {
    /// The number of sleepers: a notification without one would be a needless system call.
    gate: Gate<usize>,
    bell: Condvar,
}

impl Event {
    /// Sleeps until `ready` returns true.
    pub(crate) fn wait_until(&self, mut ready: impl FnMut() -> bool) {
        let mut gate = self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *gate += 1;
        while !ready() {
            gate = self.bell.wait(gate).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        *gate -= 1;
    }

    /// Sleeps until `ready` returns true or about `limit` has passed; returns the last result of `ready`.
    ///
    /// May return early with `false`: the caller decides by its own clock whether to wait again.
    pub(crate) fn wait_for(&self, limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
        let mut gate = self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if ready() {
            return true;
        }
        *gate += 1;
        let woken = self.bell.wait_timeout(gate, limit).unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut gate, _) = woken;
        *gate -= 1;
        drop(gate);
        ready()
    }

    /// Wakes one waiter, if there is one.
    pub(crate) fn signal_one(&self) {
        if self.has_sleepers() {
            self.bell.notify_one();
        }
    }

    /// Wakes every waiter.
    pub(crate) fn signal_all(&self) {
        if self.has_sleepers() {
            self.bell.notify_all();
        }
    }

    /// Whether there are sleepers. Taking `gate` waits for a thread that is between its check and its sleep; a later
    /// one finds the condition changed.
    fn has_sleepers(&self) -> bool {
        *self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner) > 0
    }
}
