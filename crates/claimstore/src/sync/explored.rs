//! The same names on top of shuttle or loom. These run all threads on one thread, and choose the next one at every
//! lock, atomic and wake-up. Only in the builds of `explored/`: with `--cfg shuttle` for claimstore-sim's
//! `tests/schedules.rs`, with `--cfg loom` for the smallest core (`engine/baton.rs`).
//!
//! Time stands still there unless a clock is moved by hand, and a wait with a limit never times out. So a thread that
//! misses its wake-up sleeps for ever, and the explorer reports it as a deadlock.

#[cfg(loom)]
use loom as explorer;
#[cfg(shuttle)]
use shuttle as explorer;

use super::Arc;
use explorer::sync::{Mutex as Inner, RwLock as InnerRw, RwLockReadGuard, RwLockWriteGuard};
use std::sync::{PoisonError, TryLockError};

pub(crate) use explorer::sync::MutexGuard;
pub(crate) use explorer::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
pub(super) use explorer::sync::{Condvar, Mutex as Gate};
pub(crate) use explorer::thread::{JoinHandle, ThreadId, yield_now};

pub(crate) fn spawn<F>(name: &str, body: F) -> std::io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    explorer::thread::Builder::new().name(name.to_owned()).spawn(body)
}

pub(crate) fn current_thread() -> ThreadId {
    explorer::thread::current().id()
}

/// A lock that a panic does not poison, as parking_lot's.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T: ?Sized>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(Inner::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A value that is read all the time and replaced now and then.
#[derive(Debug)]
pub(crate) struct Published<T>(RwLock<Arc<T>>);

/// The value as it was when it was asked for.
pub(crate) type Now<T> = Box<Arc<T>>;

impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Published<T> {
        Published(RwLock::new(Arc::new(value)))
    }

    pub(crate) fn now(&self) -> Now<T> {
        Box::new(self.get())
    }

    pub(crate) fn get(&self) -> Arc<T> {
        self.0.read().clone()
    }

    pub(crate) fn replace(&self, value: T) {
        *self.0.write() = Arc::new(value);
    }
}

/// A lock that a panic does not poison, as parking_lot's.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(InnerRw<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> RwLock<T> {
        RwLock(InnerRw::new(value))
    }
}

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
