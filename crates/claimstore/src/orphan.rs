//! Claims that nobody holds any more, and keys held for review: the calls that decide about them.
//!
//! The rules are in the engine; who decides by them is `claimstore-recovery`, or a program of your own.

use crate::engine::Engine;
use crate::engine::orphans::Unheld;
use crate::engine::settle::lease_ms;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::lease::Lease;
use crate::sync::Arc;
use crate::task::TaskFuture;
use crate::view::Record;
use crate::{Failure, Store};
use claimstore_core::review::{Note, Review};
use std::time::Duration;

/// Orphans and reviews.
impl Store {
    /// Claims that nobody stands behind: those of [`orphans`](Store::orphans), and those whose lease has lapsed.
    /// Read in bounded pieces, in no particular order. [`Record::orphaned`] says why each is here.
    pub fn unheld(&self) -> Unheld {
        Unheld::new(self.engine())
    }

    /// Takes over an orphan that [`unheld`](Store::unheld) showed, to find out what became of its work: under
    /// a fresh token, for `lease` (1 ms to 366 days). It is not an attempt at the work and counts as none;
    /// how often it was done is [`Record::asked`]. Durable when it returns.
    ///
    /// While the lease runs, claims of the key are `InProgress`, whatever the policy, and the holder before
    /// is fenced off. Settling it is the answer. Dropped, the claim is an orphan again; `release` is
    /// [`ErrorKind::Misuse`], as there is no attempt to undo.
    ///
    /// [`ErrorKind::StaleLease`] when the claim is no orphan any more: it was renewed, taken over or settled.
    pub fn take_over(&self, orphan: &Record, lease: Duration) -> Result<Lease, Error> {
        take_over(self.engine(), orphan, lease)
    }

    /// Ends orphans that [`unheld`](Store::unheld) showed without asking anybody: to be retried (parked when
    /// failures or losses are used up), parked, or failed for good; in one commit (at most 65,536). Answers a
    /// verdict for each: [`ErrorKind::StaleLease`] for one that is no orphan any more.
    pub fn fail_orphans(&self, orphans: &[(Record, Failure)]) -> Result<Vec<Result<(), Error>>, Error> {
        self.engine().fail_orphans(orphans)
    }

    /// Decides about a key that [`parked`](Store::parked) showed. Durable when it returns.
    ///
    /// [`ErrorKind::StaleLease`] when it is not parked any more, or again under another token.
    pub fn review(&self, parked: &Record, review: &Review, note: &Note) -> Result<(), Error> {
        self.engine().review(parked, review, note)
    }

    /// Makes a key unknown that a listing or [`get`](Store::get) showed, as [`forget`](Store::forget) does, but only
    /// if it still is what was shown and nobody is trusted with it. Durable when it returns.
    ///
    /// [`ErrorKind::StaleLease`] when it was claimed again, is held, or is gone.
    ///
    /// ```
    /// # fn main() -> Result<(), claimstore::Error> {
    /// # use claimstore::{ErrorKind, Failure, Store};
    /// # use std::time::Duration;
    /// let store = Store::in_memory()?;
    /// let claim = || store.claim("invoice-7", Duration::from_secs(60));
    /// claim()?.claimed().unwrap().fail(Failure::retry())?;
    /// let shown = store.get("invoice-7")?.unwrap();
    /// let lease = claim()?.claimed().unwrap(); // meanwhile somebody begins the work again
    /// assert_eq!(store.forget_unheld(&shown).unwrap_err().kind(), ErrorKind::StaleLease);
    /// lease.complete("done")?;
    /// # store.close() }
    /// ```
    pub fn forget_unheld(&self, listed: &Record) -> Result<(), Error> {
        self.engine().forget_unheld(listed)
    }

    /// The same also for a key that a holder is trusted with: the holder cannot settle any more, and its work may be done
    /// a second time.
    ///
    /// [`ErrorKind::StaleLease`] when it is not what was shown any more.
    pub fn forget_shown(&self, listed: &Record) -> Result<(), Error> {
        self.engine().forget_shown(listed)
    }

    /// Like [`take_over`](Store::take_over), as a future that runs on the upkeep thread of the store. Dropped, it
    /// takes the claim over and lets go of it again.
    pub fn take_over_async(&self, orphan: &Record, lease: Duration) -> TaskFuture<Lease> {
        let (engine, orphan) = (self.engine().clone(), orphan.clone());
        self.engine().run_elsewhere(move |_| take_over(&engine, &orphan, lease))
    }

    /// Like [`forget_unheld`](Store::forget_unheld), as a future that runs on the upkeep thread of the store.
    /// Dropping it does not stop it.
    pub fn forget_unheld_async(&self, listed: &Record) -> TaskFuture<()> {
        let listed = listed.clone();
        self.engine().run_elsewhere(move |engine| engine.forget_unheld(&listed))
    }

    /// Like [`fail_orphans`](Store::fail_orphans), as a future that runs on the upkeep thread of the store.
    /// Dropping it does not stop it.
    pub fn fail_orphans_async(&self, orphans: Vec<(Record, Failure)>) -> TaskFuture<Vec<Result<(), Error>>> {
        self.engine().run_elsewhere(move |engine| engine.fail_orphans(&orphans))
    }

    /// Like [`review`](Store::review), as a future that runs on the upkeep thread of the store. Dropping it does
    /// not stop it.
    pub fn review_async(&self, parked: &Record, review: Review, note: Note) -> TaskFuture<()> {
        let parked = parked.clone();
        self.engine().run_elsewhere(move |engine| engine.review(&parked, &review, &note))
    }
}

fn take_over(engine: &Arc<Engine>, orphan: &Record, lease: Duration) -> Result<Lease, Error> {
    let (space, granted) = engine.take_over(orphan, lease_ms(lease)?)?;
    Ok(Lease::new(engine, &space, orphan.key(), granted))
}
