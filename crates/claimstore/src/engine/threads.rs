//! Which of the store's own threads were started, and that they stop.

use crate::error::Error;
use crate::sync::{AtomicBool, JoinHandle, Mutex, Ordering, current_thread, spawn};

/// The threads of one store.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    stop: AtomicBool,
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// Of the thread that leads commits for futures.
    pub(crate) serving: AtomicBool,
    /// Of the upkeep thread: started at open, or for a task.
    pub(crate) working: AtomicBool,
}

impl Threads {
    /// Starts a thread unless its flag, `started`, says that it was.
    pub(crate) fn start_once(
        &self,
        started: &AtomicBool,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        if started.load(Ordering::Acquire) || started.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let thread = spawn(name, body).map_err(|error| {
            // The next caller tries again, rather than wait for a thread that is not there.
            started.store(false, Ordering::Release);
            Error::io("a thread of the store could not start", error)
        })?;
        self.handles.lock().push(thread);
        Ok(())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Tells the threads to end. They must be woken after it.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Waits until they have ended.
    pub(crate) fn join(&self) {
        let handles = std::mem::take(&mut *self.handles.lock());
        for thread in handles {
            // A waker may drop the last handle on one of these threads itself.
            if thread.thread().id() != current_thread() {
                drop(thread.join());
            }
        }
    }
}
