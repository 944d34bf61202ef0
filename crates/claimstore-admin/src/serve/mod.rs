//! The calls of a program: start the service of a store, allow decisions, stop it.

mod bell;
mod bounds;
mod guest;
mod host;
mod jobs;
mod lock;
mod peer;
mod service;

use crate::socket;
use bounds::BOUNDS;
use claimstore::io::SystemClock;
use claimstore::{ErrorKind, Store};
use host::Host;
use service::Service;
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread::Builder;

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
        let (store, service_of_host) = (self.downgrade(), service.clone());
        service.begin(move || {
            let (listener, made) = socket::bind(dir)?;
            listener.set_nonblocking(true)?;
            let (clock, deaf_until_ms) = (Arc::new(SystemClock), Cell::new(0));
            let host =
                Host { listener, ear, store, service: service_of_host, clock, bounds: BOUNDS, deaf_until_ms };
            let thread = Builder::new().name("claimstore-admin".into()).spawn(move || host.run())?;
            Ok((made, thread))
        })?;
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
