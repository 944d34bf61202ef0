//! The state of a service, shared by the program, the serving thread and the close of the store.

use crate::serve::bell::Bell;
use crate::serve::jobs::Jobs;
use crate::serve::lock::lock;
use crate::socket::Place;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The state that the program, the serving thread and the close share.
#[derive(Debug)]
pub(crate) struct Service {
    bell: Arc<Bell>,
    decisions: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    pub(crate) jobs: Arc<Jobs>,
    place: Mutex<Option<Place>>,
    /// The process of the thread: a child of `fork()` does not have it, and the socket belongs to its parent.
    process: u32,
}

impl Service {
    /// The service, and the receiving end of its bell.
    pub(crate) fn new() -> io::Result<(Arc<Service>, UnixStream)> {
        let (bell, ear) = Bell::new()?;
        let service = Service {
            bell: bell.clone(),
            decisions: AtomicBool::new(false),
            thread: Mutex::default(),
            jobs: Arc::new(Jobs::new(bell)),
            place: Mutex::default(),
            process: std::process::id(),
        };
        Ok((Arc::new(service), ear))
    }

    /// Begins to serve, unless the service is over already: `start` makes the socket and starts the thread. An end that
    /// comes meanwhile waits for both, and takes them away.
    pub(crate) fn begin(
        &self,
        start: impl FnOnce() -> io::Result<(Place, JoinHandle<()>)>,
    ) -> io::Result<()> {
        let mut place = lock(&self.place);
        if self.is_ending() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the store was closed"));
        }
        let (made, thread) = start()?;
        *lock(&self.thread) = Some(thread);
        *place = Some(made);
        Ok(())
    }

    pub(crate) fn end(&self) {
        if self.process != std::process::id() {
            return;
        }
        self.bell.end();
        drop(lock(&self.place).take());
        // Take the handle out first, so that the lock is not held during the join: the thread itself may come here,
        // if it drops the last handle of the store.
        let thread = lock(&self.thread).take();
        join_unless_mine(thread);
        join_unless_mine(self.jobs.take_thread());
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.bell.is_ending()
    }

    pub(crate) fn allow(&self) {
        self.decisions.store(true, Ordering::SeqCst);
    }

    pub(crate) fn allows_decisions(&self) -> bool {
        self.decisions.load(Ordering::SeqCst)
    }
}

/// Joins a thread, unless it is the current one: the serving thread may drop the last handle of the store in the
/// middle of an answer.
fn join_unless_mine(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread
        && thread.thread().id() != std::thread::current().id()
    {
        drop(thread.join());
    }
}
