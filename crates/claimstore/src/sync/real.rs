//! The operating system's.

use super::Arc;
use arc_swap::ArcSwap;

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
pub(super) use std::sync::{Condvar, Mutex as Gate};
pub(crate) use std::thread::{JoinHandle, ThreadId, yield_now};

/// A value that is read all the time and replaced now and then. A lock, even one that readers share, has every reader
/// write to the memory that all of them read; whoever asks this one for [`now`](Published::now) writes to memory of their
/// own.
#[derive(Debug)]
pub(crate) struct Published<T>(ArcSwap<T>);

/// The value as it was when it was asked for.
pub(crate) type Now<T> = arc_swap::Guard<Arc<T>>;

impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Published<T> {
        Published(ArcSwap::from_pointee(value))
    }

    /// For a look at it.
    pub(crate) fn now(&self) -> Now<T> {
        self.0.load()
    }

    /// To be kept.
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
