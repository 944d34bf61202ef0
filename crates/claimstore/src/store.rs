//! [`Store`]: the handle. Opening and closing stand here, each further group of calls in a file of its own.

mod backups;
mod beside;
mod claiming;
mod looking;
mod settling;
mod upkeep;
mod weak;

use crate::engine::Engine;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::io::Storage;
use crate::namespace::Namespace;
use crate::options::Options;
use crate::policy::Policy;
use crate::queued::NamespaceFuture;
use crate::recovery;
use crate::sync::Arc;
use crate::task::TaskFuture;
use std::fmt;
use std::path::Path;

pub use settling::CompleteManyError;
pub(crate) use settling::hand_out;
pub use weak::WeakStore;

/// A claim store, open. Clones are handles of the same store; it closes when [`close`](Store::close) is
/// called or the last handle is dropped. Leases and futures do not keep it open.
///
/// ```
/// # fn main() -> Result<(), claimstore::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// use claimstore::{Claim, Store};
/// use std::time::Duration;
///
/// let store = Store::open(dir.path())?;
/// match store.claim("order-4711/paid", Duration::from_secs(86_400))? {
///     Claim::Claimed(lease) => {
///         // do the work, then say what came of it
///         lease.complete("receipt 17")?;
///     }
///     Claim::Duplicate(receipt) => println!("done before: {:?}", receipt.response()),
///     Claim::InProgress(holder) => println!("ask again in {:?}", holder.retry_after()),
/// }
/// # store.close() }
/// ```
#[derive(Clone)]
pub struct Store {
    pub(crate) handle: Arc<Handle>,
    pub(crate) default: Namespace,
}

/// Closes the engine when the last store or namespace handle is gone.
pub(crate) struct Handle {
    pub(crate) engine: Arc<Engine>,
}

impl Drop for Handle {
    /// A child of `fork()` keeps what it has of the store until it ends: given back, redb would write to its parent's
    /// files, and memory be freed that a thread which is not there was changing.
    fn drop(&mut self) {
        if self.engine.is_here() {
            self.engine.close_quietly();
        } else {
            std::mem::forget(self.engine.clone());
        }
    }
}

/// Opening and closing.
impl Store {
    /// Opens the store in `path` with the defaults; see [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Store, Error> {
        Options::new().open(path)
    }

    /// A store with nothing on disk: the same engine, for tests and for work that need not survive.
    pub fn in_memory() -> Result<Store, Error> {
        Options::new().in_memory()
    }

    pub(crate) fn open_on(options: Options, storage: Arc<dyn Storage>) -> Result<Store, Error> {
        let engine = recovery::open(options, storage)?;
        let space = engine.space("", None)?;
        let handle = Arc::new(Handle { engine });
        Ok(Store { default: Namespace::new(handle.clone(), space), handle })
    }

    /// Closes the store for all its clones: finishes queued work, checkpoints, seals the journal. Later
    /// calls answer [`ErrorKind::Closed`]. Dropping the last handle does the same, quietly.
    ///
    /// Waits for a running `transact`; inside the closure of one it is [`ErrorKind::Misuse`]. Any other error
    /// leaves a store that recovers at the next open like after a crash.
    ///
    /// Where another clone's `close` is at work already, this one answers `Ok` at once and does not wait for it,
    /// so that a waker may call it; the directory is free when the first has returned.
    pub fn close(self) -> Result<(), Error> {
        self.engine().close()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.handle.engine
    }

    /// The namespace `name` (up to 512 bytes, such as `prod/acme/order-sync`), with its stored policy, or
    /// with the default one if it is new. Durable when it returns.
    pub fn namespace(&self, name: &str) -> Result<Namespace, Error> {
        let space = self.engine().space(name, None)?;
        Ok(Namespace::new(self.handle.clone(), space))
    }

    /// The namespace `name` with `policy`, which replaces a stored one for later claims. Another time order
    /// than the stored one is [`ErrorKind::Misuse`].
    pub fn namespace_with(&self, name: &str, policy: Policy) -> Result<Namespace, Error> {
        let space = self.engine().space(name, Some(policy))?;
        Ok(Namespace::new(self.handle.clone(), space))
    }
}

/// Opening and closing, as futures; see [`TaskFuture`] for what dropping one means.
impl Store {
    /// Like [`close`](Store::close), as a future. What was queued before on the same thread comes first.
    pub fn close_async(self) -> TaskFuture<()> {
        let engine = self.engine().clone();
        // The handle goes along: dropped here, it would close the store on this thread.
        engine.run_elsewhere(move |engine| {
            let closed = engine.close();
            drop(self);
            closed
        })
    }

    /// Like [`namespace`](Store::namespace), as a future.
    pub fn namespace_async(&self, name: &str) -> NamespaceFuture {
        self.define_async(name, None)
    }

    /// Like [`namespace_with`](Store::namespace_with), as a future.
    pub fn namespace_with_async(&self, name: &str, policy: Policy) -> NamespaceFuture {
        self.define_async(name, Some(policy))
    }

    fn define_async(&self, name: &str, policy: Option<Policy>) -> NamespaceFuture {
        let name = name.to_owned();
        let space = self.engine().run_elsewhere(move |engine| engine.space(&name, policy));
        NamespaceFuture::new(space, &self.handle)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("life", &self.engine().life).finish_non_exhaustive()
    }
}
