//! What a program calls: the service of a store, begun, allowed more, and ended.

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
    /// Serves `admin.sock` in the store's directory, for its owner alone, until the store closes or
    /// [`Admin::stop`] is called. Starts one thread, which sleeps while nobody asks; it does not keep the store
    /// open. See the [crate](crate) for what can be asked. Nothing of a record can be changed unless
    /// [`Admin::allow_decisions`] is called too.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a store in memory, which has no directory, for one that was opened read-only, and in a child of
    /// `fork()`; `AddrInUse` when this store is served
    /// already; `NotConnected` when it was closed; those of the operating system.
    fn serve_admin(&self) -> io::Result<Admin>;
}

/// The service of one store. Dropping it changes nothing: the service ends with the store.
#[derive(Debug, Clone)]
pub struct Admin {
    service: Arc<Service>,
}

/// What the program, the serving thread and the close share.
#[derive(Debug)]
pub(crate) struct Service {
    stop: AtomicBool,
    decisions: AtomicBool,
    /// A byte here ends the thread's sleep.
    bell: UnixStream,
    thread: Mutex<Option<JoinHandle<()>>>,
    pub(crate) jobs: Jobs,
    place: Mutex<Option<Place>>,
    /// Where the thread is: a child of `fork()` has none, and the socket is its parent's.
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
        // Before anything is made: a close from here on waits for the place, and takes away what is there.
        // While it serves, its thread keeps it; what was stopped is not kept until the close.
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
    /// Also allows to decide through the socket: `requeue`, `release`, `complete`, `fail`, `forget`, to set policies,
    /// to take backups and to export. Whoever can connect can then change records as the program's own code can:
    /// that is the user the program runs as, and root.
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

    /// Ends the service: the socket is gone and its threads have ended when this returns. In a child of `fork()` nothing
    /// happens.
    pub fn stop(&self) {
        self.service.end();
    }
}

impl Service {
    /// The service, and the ear that hears its bell.
    pub(crate) fn new() -> io::Result<(Arc<Service>, UnixStream)> {
        let (bell, ear) = UnixStream::pair()?;
        // Rung once too often it is heard all the same, and nobody waits for it to be heard.
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
        // A bell that cannot be rung belongs to a thread that is gone.
        drop((&self.bell).write(&[1]));
    }

    pub(crate) fn end(&self) {
        if self.process != std::process::id() {
            return;
        }
        self.stop.store(true, Ordering::SeqCst);
        self.ring();
        drop(lock(&self.place).take());
        // Taken out first: the thread that is waited for may come here itself, by the last handle of the store.
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

/// The last handle may be dropped by the very thread that serves, in the middle of an answer.
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
