//! Upkeep, for programs that do it themselves.

use super::Store;
use crate::engine::Engine;
use crate::engine::measures::Pruned;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
#[cfg(doc)]
use crate::options::Options;
use crate::task::TaskFuture;
use crate::view::Report;

impl Store {
    /// Drops the time buckets that have ended. Runs by itself unless [`Options::background`] is off. Works on
    /// a full disk. Like all upkeep it is [`ErrorKind::Misuse`] inside the closure of a `transact`.
    pub fn prune(&self) -> Result<Pruned, Error> {
        self.engine().prune()
    }

    /// What [`prune`](Store::prune) would drop now; nothing is dropped.
    pub fn prunable(&self) -> Result<Pruned, Error> {
        self.engine().prunable()
    }

    /// Moves what is resolved and durable out of the journal into sorted runs. Runs by itself unless
    /// [`Options::background`] is off.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.engine().checkpoint()
    }

    /// One slice of whatever upkeep is due: a segment, a checkpoint, a prune, a piece of a merge. Answers
    /// whether there may be more. What the background thread calls.
    pub fn upkeep(&self) -> Result<bool, Error> {
        self.engine().upkeep()
    }

    /// Merges runs until there is one for each stretch of time that gets no more records, dropping older
    /// versions and tombstones. Claims go on meanwhile.
    pub fn compact(&self) -> Result<(), Error> {
        self.engine().compact()
    }

    /// Reads every byte of every run, every row of the catalogue and of the callers' tables, and checks every
    /// invariant that can be checked. [`ErrorKind::Corrupt`] at the first damage.
    pub fn verify(&self) -> Result<Report, Error> {
        self.engine().verify()
    }
}

/// Upkeep as futures, run one after the other on the upkeep thread of the store, which is started for it
/// where [`Options::background`] is off. See [`TaskFuture`] for what dropping one means.
impl Store {
    /// Like [`prune`](Store::prune), as a future.
    pub fn prune_async(&self) -> TaskFuture<Pruned> {
        self.engine().run_elsewhere(Engine::prune)
    }

    /// Like [`checkpoint`](Store::checkpoint), as a future.
    pub fn checkpoint_async(&self) -> TaskFuture<()> {
        self.engine().run_elsewhere(Engine::checkpoint)
    }

    /// Like [`upkeep`](Store::upkeep), as a future.
    pub fn upkeep_async(&self) -> TaskFuture<bool> {
        self.engine().run_elsewhere(Engine::upkeep)
    }

    /// Like [`compact`](Store::compact), as a future.
    pub fn compact_async(&self) -> TaskFuture<()> {
        self.engine().run_elsewhere(Engine::compact)
    }

    /// Like [`verify`](Store::verify), as a future.
    pub fn verify_async(&self) -> TaskFuture<Report> {
        self.engine().run_elsewhere(Engine::verify)
    }
}
