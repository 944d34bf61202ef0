//! Copies of the store, and what is done after one was put in its place.

use super::Store;
#[cfg(doc)]
use crate::claim::Receipt;
use crate::engine::Engine;
use crate::error::Error;
use crate::io::system::System;
use crate::io::{DirStorage, Named, Storage};
#[cfg(doc)]
use crate::options::Options;
use crate::sync::Arc;
use crate::task::TaskFuture;
use std::path::Path;

impl Store {
    /// Copies the store as of now into the directory `dir`, which is created and must be empty. Claims go on
    /// meanwhile. The copy's first open raises its life, so that its tokens lie above the original's.
    ///
    /// The key of [`fingerprinter`](Store::fingerprinter) is left out, so that whoever finds the copy cannot guess
    /// payloads from their fingerprints. A store restored from it makes a key of its own: fingerprints of before
    /// are then not compared any more ([`Receipt::fingerprint_checked`] is false), and none is mistaken for
    /// another. Lease tokens of before are [`ErrorKind::InvalidToken`](crate::ErrorKind::InvalidToken) there.
    /// [`backup_with_key`](Store::backup_with_key) takes the key along.
    pub fn backup(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        backup_to(self.engine(), DirStorage::new(dir), false)
    }

    /// Like [`backup`](Store::backup), with the key of the fingerprints: for a copy that is to take this store's
    /// place, and is kept as safe as the store.
    pub fn backup_with_key(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        backup_to(self.engine(), DirStorage::new(dir), true)
    }

    /// Like [`backup`](Store::backup), into a directory of another kernel than the operating system's: what the simulator
    /// uses.
    #[doc(hidden)]
    pub fn backup_in<S: System>(&self, target: DirStorage<S>) -> Result<(), Error> {
        backup_to(self.engine(), target, false)
    }

    /// Like [`backup`](Store::backup), onto a storage of the caller's: what [`Options::open_on`] opens.
    pub fn backup_on(&self, storage: &Arc<dyn Storage>) -> Result<(), Error> {
        self.engine().check_changes()?;
        self.engine().backup(&Named::other(storage.clone()), false)
    }

    /// To be called once, after a snapshot of the directory was restored: raises the life by 1,024, so that
    /// tokens given after the snapshot was taken are never given again.
    ///
    /// Takes effect at the next open: open the restored directory, call this, close, and open it again before
    /// the first claim. A copy made by [`backup`](Store::backup) needs none of this.
    pub fn after_restore(&self) -> Result<(), Error> {
        self.engine().after_restore()
    }
}

/// The same as futures, on the upkeep thread of the store. See [`TaskFuture`] for what dropping one means.
impl Store {
    /// Like [`backup`](Store::backup), as a future.
    pub fn backup_async(&self, dir: impl AsRef<Path>) -> TaskFuture<()> {
        let target = DirStorage::new(dir);
        self.engine().run_elsewhere(move |engine| backup_to(engine, target, false))
    }

    /// Like [`backup_with_key`](Store::backup_with_key), as a future.
    pub fn backup_with_key_async(&self, dir: impl AsRef<Path>) -> TaskFuture<()> {
        let target = DirStorage::new(dir);
        self.engine().run_elsewhere(move |engine| backup_to(engine, target, true))
    }

    /// Like [`after_restore`](Store::after_restore), as a future.
    pub fn after_restore_async(&self) -> TaskFuture<()> {
        self.engine().run_elsewhere(Engine::after_restore)
    }
}

fn backup_to<S: System>(engine: &Engine, target: DirStorage<S>, with_key: bool) -> Result<(), Error> {
    engine.check_changes()?;
    target.create_root().map_err(|error| Error::io("the backup directory cannot be created", error))?;
    let target: Arc<dyn Storage> = Named::other(Arc::new(target));
    engine.backup(&target, with_key)
}
