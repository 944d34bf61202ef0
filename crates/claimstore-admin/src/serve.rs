//! The calls of a program: start the service of a store, allow decisions, stop it.

use crate::host::{BOUNDS, Host};
use crate::jobs::Jobs;
use crate::socket::{self, Place};
use claimstore::io::SystemClock;
use claimstore::{ErrorKind, Store};
use std::cell::Cell;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// A store that serves a socket in its directory.
pub trait ServeAdmin {
    /// Serves `admin.sock` in the store's directory, for its owner only, until the store closes or [`Admin::stop`] is
    /// called. Starts one thread, which sleeps while there is no request; it does not keep the store open. See the
    /// [crate](crate) for the requests. Records cannot be changed unless [`Admin::allow_decisions`] is called too.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a store in memory, which has no directory, for one that was opened read-only, and in a child
    /// of `fork()`; `AddrInUse` if this store is served already; `NotConnected` if it was closed; those of the
    /// operating system.
    fn serve_admin(&self) -> io::Result<Admin>;
}

/// The service of one store. Dropping it changes nothing: the service ends with the store.
#[derive(Debug, Clone)]
pub struct Admin {
    service: Arc<Service>,
}

/// The state that the program, the serving thread and the close share.
#[derive(Debug)]
pub(crate) struct Service {
    stop: AtomicBool,
    decisions: AtomicBool,
    /// A byte here ends the thread's sleep.
    bell: UnixStream,
    thread: Mutex<Option<JoinHandle<()>>>,
    pub(crate) jobs: Jobs,
    place: Mutex<Option<Place>>,
    /// The process of the thread: a child of `fork()` does not have it, and the socket belongs to its parent.
    process: u32,
}

impl ServeAdmin for Store {
    fn serve_admin(&self) -> io::Result<Admin> {
        let dir = self.directory().ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "a store in memory has no directory for a socket")
        })?;
        if self.is_read_only() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a read-only store makes no socket"));
        }
        if let Err(error) = self.outcomes()
            && error.kind() == ErrorKind::Misuse
        {
            return Err(io::Error::new(io::ErrorKind::Unsupported, error));
        }
        let (service, ear) = Service::new()?;
        // Registered before anything is created: a close from here on waits for the lock of `place`, and removes the
        // socket. A weak reference: the serving thread keeps the service, and a stopped service need not live until
        // the close.
        let at_close = Arc::downgrade(&service);
        self.on_close(move || {
            if let Some(service) = at_close.upgrade() {
                service.end();
            }
        });
        let mut place = lock(&service.place);
        if service.is_ending() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the store was closed"));
        }
        let (listener, made) = socket::bind(dir)?;
        listener.set_nonblocking(true)?;
        let clock = Arc::new(SystemClock);
        let (store, service_of_host) = (self.downgrade(), service.clone());
        let deaf_until_ms = Cell::new(0);
        let host =
            Host { listener, ear, store, service: service_of_host, clock, bounds: BOUNDS, deaf_until_ms };
        let thread = Builder::new().name("claimstore-admin".into()).spawn(move || host.run())?;
        *lock(&service.thread) = Some(thread);
        *place = Some(made);
        drop(place);
        Ok(Admin { service })
    }
}

impl Admin {
    /// Also allows decisions through the socket: `requeue`, `release`, `complete`, `fail`, `forget`, changes of
    /// policies, backups and exports. Everyone who can connect, which is the user that the program runs as and root,
    /// can then change records like the program's own code.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// use claimstore_admin::ServeAdmin as _;
    /// let store = claimstore::Store::open(dir.path())?;
    /// store.serve_admin()?.allow_decisions();
    /// # store.close()?;
    /// # Ok(()) }
    /// ```
    #[expect(clippy::return_self_not_must_use, reason = "the service goes on whatever becomes of the handle")]
    pub fn allow_decisions(self) -> Admin {
        self.service.allow();
        self
    }

    /// Ends the service: when this returns, the socket is removed and its threads have ended. Does nothing in a child
    /// of `fork()`.
    pub fn stop(&self) {
        self.service.end();
    }
}

impl Service {
    /// The service, and the receiving end of its bell.
    pub(crate) fn new() -> io::Result<(Arc<Service>, UnixStream)> {
        let (bell, ear) = UnixStream::pair()?;
        // Non-blocking: if the buffer is full of rings, one more is not needed, and a caller must not wait.
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let service = Service {
            stop: AtomicBool::new(false),
            decisions: AtomicBool::new(false),
            bell,
            thread: Mutex::default(),
            jobs: Jobs::default(),
            place: Mutex::default(),
            process: std::process::id(),
        };
        Ok((Arc::new(service), ear))
    }

    /// Wakes the serving thread.
    pub(crate) fn ring(&self) {
        // If the write fails, the thread is gone, or has unread rings.
        drop((&self.bell).write(&[1]));
    }

    pub(crate) fn end(&self) {
        if self.process != std::process::id() {
            return;
        }
        self.stop.store(true, Ordering::SeqCst);
        self.ring();
        drop(lock(&self.place).take());
        // Take the handle out first, so that the lock is not held during the join: the thread itself may come here,
        // if it drops the last handle of the store.
        let thread = lock(&self.thread).take();
        join_unless_mine(thread);
        join_unless_mine(self.jobs.take_thread());
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
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

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
