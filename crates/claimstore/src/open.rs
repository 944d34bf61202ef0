//! Opening a store: the calls of [`Options`] that give a [`Store`].

use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::io::system::System;
use crate::io::{DirStorage, MemoryStorage, Storage};
use crate::options::Options;
use crate::store::Store;
use crate::sync::Arc;
use std::path::Path;

/// Opening.
impl Options {
    /// Opens the store in `path`, creating the directory and the store if they are absent.
    ///
    /// The store belongs to the process that opened it. In a child of `fork()` every call of an open store, its
    /// namespaces, leases, streams and futures is [`ErrorKind::Misuse`] and does nothing, closing included; a claim may
    /// also be answered from memory, `Duplicate` or `InProgress`. Dropping them there does nothing either: the child
    /// keeps their memory and descriptors until it ends or runs another program. It shares the lock of the
    /// directory, so after the *death* of its parent the directory is free when the child has ended too; a parent that
    /// closes the store frees the directory at once.
    ///
    /// Errors: [`ErrorKind::AlreadyOpen`] when it is open here or in another process, with the path and, where it is
    /// known for certain, the process ([`Error::file`], [`Error::owner_process`]); it can be
    /// [waited for](Options::wait_for_owner). [`ErrorKind::Misuse`]
    /// for a directory that holds other files or for limits that make no sense; [`ErrorKind::TooNew`] and
    /// [`ErrorKind::Corrupt`] for its files, which are left as they are; [`ErrorKind::Io`],
    /// [`ErrorKind::Full`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store, Error> {
        self.open_in(DirStorage::new(path))
    }

    /// The same in a directory of another kernel than the operating system's: what the simulator uses.
    #[doc(hidden)]
    pub fn open_in<S: System>(self, storage: DirStorage<S>) -> Result<Store, Error> {
        if self.read_only {
            return self.open_on(Arc::new(storage));
        }
        storage.create_root().map_err(|error| Error::io("cannot create the store's directory", error))?;
        self.open_on(Arc::new(storage))
    }

    /// Opens a store with nothing on disk: the same engine over [`MemoryStorage`].
    pub fn in_memory(mut self) -> Result<Store, Error> {
        // Nothing outlives the process, so nothing is gained by larger segments than a full batch needs.
        self.limits.segment_bytes = self.limits.segment_bytes.min(32 << 20);
        self.open_on(Arc::new(MemoryStorage::new()))
    }

    /// Opens a store on a [`Storage`] of your own: what the simulator uses.
    pub fn open_on(self, storage: Arc<dyn Storage>) -> Result<Store, Error> {
        self.check()?;
        Store::open_on(self, storage)
    }
}
