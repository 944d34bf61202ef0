//! The operating system's.

use super::Arc;
use arc_swap::ArcSwap;

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
pub(super) use std::sync::{Condvar, Mutex as Gate};
pub(crate) use std::thread::{JoinHandle, ThreadId, yield_now};

/// A value that is read often and replaced rarely. With a lock, even a reader-writer lock, every reader writes to a
/// cache line that all readers share. A reader of [`now`](Published::now) writes to memory of its own thread only.
#[derive(Debug)]
pub(crate) struct Published<T>(ArcSwap<T>);

/// The value as it was when it was asked for.
pub(crate) type Now<T> = arc_swap::Guard<Arc<T>>;

impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Published<T> {
        Published(ArcSwap::from_pointee(value))
    }

    /// The value, for short use.
    pub(crate) fn now(&self) -> Now<T> {
        self.0.load()
    }

    /// The value, for longer use.
    pub(crate) fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    pub(crate) fn replace(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

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
