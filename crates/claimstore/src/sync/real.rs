//! The operating system's.

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
pub(super) use std::sync::{Condvar, Mutex as Gate};
pub(crate) use std::thread::{JoinHandle, ThreadId, yield_now};

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
