//! Locks, atomics and threads, from one place.
//!
//! Nothing else in the engine names `std::sync`, `std::thread` or `parking_lot`, so that a schedule
//! explorer can be put underneath by changing this file alone. Outside it stand `io`, whose disks and clocks
//! guard state of their own and never wait for the engine, and `planted`, which no release has.

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Arc, Weak};
pub(crate) use std::thread::{JoinHandle, ThreadId, yield_now};

use std::time::Duration;

/// Starts a named thread. The only place where this crate starts one.
pub(crate) fn spawn<F>(name: &str, body: F) -> std::io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Which thread this is.
pub(crate) fn current_thread() -> ThreadId {
    std::thread::current().id()
}

/// A wake-up without a payload: waiters re-check their own condition, which lives in atomics.
///
/// Ordering argument: a signaller changes the condition *first*, then takes `gate` and notifies. A
/// waiter holds `gate` from its last check of the condition until it sleeps, so the change falls
/// either before that check (seen) or after the sleep began (the notification reaches it).
#[derive(Debug, Default)]
pub(crate) struct Event {
    gate: std::sync::Mutex<()>,
    bell: std::sync::Condvar,
}

impl Event {
    /// Sleeps until `ready` answers true.
    pub(crate) fn wait_until(&self, mut ready: impl FnMut() -> bool) {
        let mut gate = self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while !ready() {
            gate = self.bell.wait(gate).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Sleeps until `ready` answers true or about `limit` has gone by; answers what `ready` said last.
    ///
    /// May return early with `false`: the caller decides by its own clock whether to wait again.
    pub(crate) fn wait_for(&self, limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
        let gate = self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if ready() {
            return true;
        }
        let woken = self.bell.wait_timeout(gate, limit);
        drop(woken);
        ready()
    }

    /// Wakes one waiter, if there is one.
    pub(crate) fn signal_one(&self) {
        drop(self.gate.lock());
        self.bell.notify_one();
    }

    /// Wakes every waiter.
    pub(crate) fn signal_all(&self) {
        drop(self.gate.lock());
        self.bell.notify_all();
    }
}
