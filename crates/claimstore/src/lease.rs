//! The right to settle a claim: [`Lease`], and a refused settlement.

use crate::claim::{Claim, Failure};
use crate::engine::Engine;
use crate::engine::claims::{Answer, Granted, Unclaimed};
use crate::engine::commit::Waits;
use crate::engine::decide::Ending;
use crate::engine::held::Held;
use crate::engine::spaces::{Keyed, Space};
use crate::engine::spans;
use crate::error::{Error, ErrorKind};
use crate::future::SettleFuture;
use crate::keep_alive::KeepAlive;
use crate::planted;
use crate::queued::{CommitFuture, DetachFuture};
use crate::sync::{Arc, Weak};
use crate::token::{LeaseToken, Named};
use crate::transact::Transaction;
use crate::transacting::CompleteInFuture;
use claimstore_core::backend::Grant;
use claimstore_core::claims::Working;
use std::fmt;
use std::time::Duration;

/// A granted claim: the work is yours to do, and yours alone while the lease runs.
///
/// Dropping it unsettled loses the attempt: nobody holds the key any more, the next claim takes it over, and one loss is
/// counted, or one failure if a panic dropped it ([`Policy::on_drop`](crate::Policy::on_drop) can say otherwise). The drop itself
/// only marks the claim in memory: it never blocks, and a crash before the next version of the record counts as a death.
///
/// Settle it with [`complete`](Lease::complete), [`fail`](Lease::fail) or [`release`](Lease::release). A lease does not keep
/// the store open; one that is alive when the store is closed is a loss.
///
/// A lease that has lapsed may still be settled as long as the key was not taken over.
#[must_use = "a lease that is dropped at once abandons the claim"]
pub struct Lease {
    engine: Weak<Engine>,
    held: Held,
    /// The key as it was given, where its namespace's rule made another of it.
    given: Option<Box<[u8]>>,
    attempt: u32,
    progress: Option<Box<[u8]>>,
    in_doubt: bool,
    /// Whether dropping the lease abandons the claim. Disarmed once it is settled or handed on.
    armed: bool,
}

impl Lease {
    pub(crate) fn new(engine: &Arc<Engine>, space: &Arc<Space>, key: &[u8], granted: Granted) -> Lease {
        let given = (own_key(&granted.keyed) != key).then(|| key.into());
        Lease {
            engine: Arc::downgrade(engine),
            held: Held { space: space.clone(), keyed: granted.keyed, token: granted.token },
            given,
            attempt: granted.attempt,
            progress: granted.progress,
            in_doubt: granted.in_doubt,
            armed: true,
        }
    }

    /// A lease of a claim that is held already.
    pub(crate) fn of(engine: &Arc<Engine>, held: Held, grant: Grant, given: Option<Box<[u8]>>) -> Lease {
        let Grant { held: named, progress, in_doubt } = grant;
        let attempt = named.attempt;
        Lease { engine: Arc::downgrade(engine), held, given, attempt, progress, in_doubt, armed: true }
    }

    /// Takes the lease apart without abandoning the claim.
    pub(crate) fn into_grant(mut self) -> Grant {
        self.armed = false;
        let held = claimstore_core::backend::Held {
            namespace: (&*self.held.space.name).into(),
            key: own_key(&self.held.keyed).into(),
            token: self.held.token,
            attempt: self.attempt,
        };
        Grant { held, progress: self.progress.take(), in_doubt: self.in_doubt }
    }

    pub(crate) fn weak_engine(&self) -> Weak<Engine> {
        self.engine.clone()
    }

    /// The key as it was given, where its namespace's rule made another of it.
    pub(crate) fn given(&self) -> Option<Box<[u8]>> {
        self.given.clone()
    }

    /// The key, as it was given.
    pub fn key(&self) -> &[u8] {
        self.given.as_deref().unwrap_or_else(|| own_key(&self.held.keyed))
    }

    /// The fencing token: higher than every token given before, by this store, ever. Pass it downstream.
    pub fn token(&self) -> u64 {
        self.held.token
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether an earlier attempt may have had an effect that nobody knows of: it died, lapsed, was dropped or panicked, or its
    /// holder said so, and nobody has found out since. Find out before the work is done again. Always true of a claim that
    /// was taken over.
    pub fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// The bytes that the last [`save_progress`](Lease::save_progress) of this or an earlier attempt stored.
    pub fn progress(&self) -> Option<&[u8]> {
        self.progress.as_deref()
    }

    /// A key for one step of the work, the same for every attempt of this key: what to give a downstream API
    /// as its idempotency key.
    pub fn child_key(&self, step: &str) -> [u8; 32] {
        claimstore_hash::child_key(&self.held.space.name, own_key(&self.held.keyed), step)
    }

    /// [`child_key`](Lease::child_key) in 64 lower-case hex digits, for an idempotency header.
    pub fn child_key_hex(&self, step: &str) -> String {
        claimstore_hash::child_key_hex(&self.held.space.name, own_key(&self.held.keyed), step)
    }

    /// The work is done; `response` (at most 1 MiB by default) is stored and given to every duplicate until the
    /// ttl ends. When this returns `Ok`, it stays done, whatever crashes.
    ///
    /// A refusal ([`ErrorKind::StaleLease`], [`ErrorKind::TooLarge`], ..) changed nothing and hands the lease
    /// back where it is still worth something.
    pub fn complete(self, response: impl AsRef<[u8]>) -> Result<(), SettleError> {
        self.settle(&Ending::Complete(response.as_ref()))
    }

    /// The work failed; see [`Failure`] for what follows.
    #[expect(clippy::needless_pass_by_value, reason = "a failure is said once")]
    pub fn fail(self, failure: Failure) -> Result<(), SettleError> {
        self.settle(&Ending::Fail(failure.class()))
    }

    /// As if never claimed: earlier attempts and progress are as they were. Only the token stays burnt.
    pub fn release(self) -> Result<(), SettleError> {
        self.settle(&Ending::Release)
    }

    fn settle(self, ending: &Ending<'_>) -> Result<(), SettleError> {
        let settled = spans::settle().run(|span| {
            span.name("how", ending.name());
            let engine = self.engine()?;
            let batch = engine.settle(&self.held, ending, Waits::Here)?;
            engine.wait(batch)
        });
        self.settled(settled)
    }

    /// The lease's end: disarmed if the settlement took effect, or may have.
    fn settled(mut self, outcome: Result<(), Error>) -> Result<(), SettleError> {
        match outcome {
            Ok(()) => {
                self.armed = false;
                Ok(())
            }
            Err(error) => Err(SettleError::new(error, self)),
        }
    }

    /// Like [`complete`](Lease::complete), as a future. Dropping the future does not stop the settlement.
    pub fn complete_async(self, response: impl AsRef<[u8]>) -> SettleFuture {
        self.settle_async(&Ending::Complete(response.as_ref()))
    }

    /// Like [`fail`](Lease::fail), as a future. Dropping the future does not stop the settlement.
    #[expect(clippy::needless_pass_by_value, reason = "a failure is said once")]
    pub fn fail_async(self, failure: Failure) -> SettleFuture {
        self.settle_async(&Ending::Fail(failure.class()))
    }

    /// Like [`release`](Lease::release), as a future. Dropping the future does not stop the settlement.
    pub fn release_async(self) -> SettleFuture {
        self.settle_async(&Ending::Release)
    }

    fn settle_async(mut self, ending: &Ending<'_>) -> SettleFuture {
        let begun = self.engine().and_then(|engine| {
            engine.serve_futures()?;
            let batch = engine.settle(&self.held, ending, Waits::Elsewhere)?;
            Ok((engine, batch))
        });
        match begun {
            Ok((engine, batch)) => {
                self.armed = false;
                SettleFuture::queued(&engine, batch, self)
            }
            Err(error) => SettleFuture::refused(SettleError::new(error, self)),
        }
    }

    /// Restarts the lease: it runs for `term` (1 ms to 366 days) from now. No I/O, except for a detached claim.
    ///
    /// Errors: [`ErrorKind::StaleLease`] if the key was taken over.
    pub fn renew(&self, term: Duration) -> Result<(), Error> {
        let engine = self.engine()?;
        let batch = engine.renew(&self.held, term, Waits::Here)?;
        if batch == 0 { Ok(()) } else { engine.wait(batch) }
    }

    /// Stores the progress of the work (at most 64 KiB by default), so that a next attempt can continue from it.
    /// Durable when it returns `Ok`.
    pub fn save_progress(&mut self, progress: impl AsRef<[u8]>) -> Result<(), Error> {
        let progress = progress.as_ref();
        let engine = self.engine()?;
        let batch = engine.save_progress(&self.held, progress, Waits::Here)?;
        engine.wait(batch)?;
        self.progress = Some(progress.into());
        Ok(())
    }

    /// Like [`renew`](Lease::renew), as a future. The lease is renewed when this returns; the future is for
    /// detached claims, whose term is durable.
    pub fn renew_async(&self, term: Duration) -> CommitFuture<()> {
        let engine = self.engine();
        let begun = self.engine().and_then(|engine| engine.renew(&self.held, term, Waits::Elsewhere));
        CommitFuture::new(engine, begun.map(|batch| (batch, ())))
    }

    /// Like [`save_progress`](Lease::save_progress), as a future. Dropping the future does not stop it, and
    /// [`progress`](Lease::progress) returns the new bytes at once.
    pub fn save_progress_async(&mut self, progress: impl AsRef<[u8]>) -> CommitFuture<()> {
        let progress = progress.as_ref();
        let engine = self.engine();
        let begun =
            self.engine().and_then(|engine| engine.save_progress(&self.held, progress, Waits::Elsewhere));
        if begun.is_ok() {
            self.progress = Some(progress.into());
        }
        CommitFuture::new(engine, begun.map(|batch| (batch, ())))
    }

    /// Settles the claim together with business rows: one commit for the rows and the result, fenced by this
    /// lease. The closure's bytes are the response. An error or panic of the closure rolls back the rows and
    /// hands the lease back.
    pub fn complete_in<F>(self, work: F) -> Result<Vec<u8>, SettleError>
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error>,
    {
        match self
            .engine()
            .and_then(|engine| engine.complete_in(&self.held, |write| work(&Transaction::new(write))))
        {
            Ok(response) => self.settled(Ok(())).map(|()| response),
            Err(error) => Err(SettleError::new(error, self)),
        }
    }

    /// Like [`complete_in`](Lease::complete_in), as a future. `work` runs on the upkeep thread of the store, where it
    /// keeps upkeep and other long calls waiting: let it write rows and nothing else. It must not wait for futures of
    /// the store.
    ///
    /// The settlement is queued when this returns. Dropping the future does not stop it: rows and result are there
    /// together or not at all, and a claim that was refused goes to its term. If `work` panics, the claim is abandoned,
    /// and the panic goes on where the future is polled.
    ///
    /// Errors: those of [`complete_in`](Lease::complete_in); [`ErrorKind::Overloaded`] when too many calls wait for the
    /// thread; [`ErrorKind::Closed`] when the store closed before the turn came. Each changed nothing and hands the
    /// lease back.
    pub fn complete_in_async<F>(self, work: F) -> CompleteInFuture
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error> + Send + 'static,
    {
        CompleteInFuture::begin(self, work)
    }

    /// Keeps the claim alive while its work goes on: renews the lease now and then at each third of its length, until
    /// the guard is dropped or `ceiling` has passed from now. No renewal reaches past the ceiling, and none shortens a
    /// term. The first refusal ends it, and the guard tells; see [`KeepAlive`].
    ///
    /// The length is the one the claim was granted with, whatever [`renew`](Lease::renew) said since. Renewals are made
    /// by a thread of the store. No I/O, except for a detached claim, whose term is durable.
    pub fn keep_alive(&self, ceiling: Duration) -> KeepAlive {
        KeepAlive::begin(self, ceiling)
    }

    /// Hands the right to settle to elsewhere in this process; [`Store::resume`](crate::Store::resume) takes
    /// it up again. The claim goes on until its term.
    pub fn into_token(mut self) -> LeaseToken {
        self.armed = false;
        let engine = self.engine.upgrade();
        if let Some(engine) = &engine {
            engine.let_go(&self.held);
        }
        let store_id = engine.map_or([0; 16], |engine| engine.store_id);
        LeaseToken::here(self.engine.clone(), store_id, self.named())
    }

    /// Makes the claim outlive this process: it is trusted until `term` is over, across restarts, and
    /// [`Store::resume`](crate::Store::resume) takes it up with the token. Durable when it returns `Ok`.
    ///
    /// The token is sealed with a key of the store. The first call in the store's life makes that key, in a file; see
    /// [`Store::fingerprinter`](crate::Store::fingerprinter) for its errors, which leave the claim as it was.
    pub fn detach(mut self, term: Duration) -> Result<LeaseToken, SettleError> {
        let detached = self.engine().and_then(|engine| {
            let sealer = engine.sealer()?;
            let batch = engine.detach(&self.held, term, Waits::Here)?;
            engine.wait(batch)?;
            engine.let_go(&self.held);
            Ok(sealer)
        });
        match detached {
            Ok(sealer) => {
                self.armed = false;
                Ok(LeaseToken::sealed(&sealer, self.named()))
            }
            Err(error) => Err(SettleError::new(error, self)),
        }
    }

    /// Like [`detach`](Lease::detach), as a future. Dropping the future does not stop it.
    ///
    /// Where the store has no key of seals yet, this call makes it, and writes and syncs a small file for that;
    /// [`Store::fingerprinter_async`](crate::Store::fingerprinter_async) makes it beforehand.
    pub fn detach_async(mut self, term: Duration) -> DetachFuture {
        let begun = self.engine().and_then(|engine| {
            engine.serve_futures()?;
            let sealer = engine.sealer()?;
            let batch = engine.detach(&self.held, term, Waits::Elsewhere)?;
            engine.let_go(&self.held);
            Ok((engine, batch, sealer))
        });
        match begun {
            Ok((engine, batch, sealer)) => {
                self.armed = false;
                let token = LeaseToken::sealed(&sealer, self.named());
                DetachFuture::queued(engine, batch, self, token)
            }
            Err(error) => DetachFuture::refused(SettleError::new(error, self)),
        }
    }

    fn named(&self) -> Named<'_> {
        Named { space: &self.held.space.name, key: self.key(), token: self.held.token }
    }

    pub(crate) fn engine(&self) -> Result<Arc<Engine>, Error> {
        self.engine.upgrade().ok_or_else(|| Error::new(ErrorKind::Closed, "the store was closed"))
    }

    /// Whether this engine granted it. As long as the lease exists, no other engine has its address.
    pub(crate) fn is_of(&self, engine: &Arc<Engine>) -> bool {
        std::ptr::eq(self.engine.as_ptr(), Arc::as_ptr(engine))
    }

    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// The claim is settled or on its way to be: dropping the lease no longer abandons it.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Claim {
    /// What the engine answered, with a lease if that is a grant.
    #[inline]
    pub(crate) fn new(engine: &Arc<Engine>, space: &Arc<Space>, key: &[u8], answer: Answer) -> Claim {
        match answer {
            Answer::Claimed(granted) => Claim::Claimed(Lease::new(engine, space, key, granted)),
            Answer::Unclaimed(Unclaimed::Duplicate(receipt)) => Claim::Duplicate(receipt),
            Answer::Unclaimed(Unclaimed::InProgress(holder)) => Claim::InProgress(holder),
        }
    }
}

/// The key without its namespace.
fn own_key(keyed: &Keyed) -> &[u8] {
    keyed.full.get(4..).unwrap_or_default()
}

impl Working for Lease {
    fn attempt(&self) -> u32 {
        self.attempt()
    }

    fn token(&self) -> u64 {
        self.token()
    }

    fn in_doubt(&self) -> bool {
        self.in_doubt()
    }

    fn progress(&self) -> Option<&[u8]> {
        self.progress()
    }

    fn child_key(&self, step: &str) -> [u8; 32] {
        self.child_key(step)
    }

    fn save_progress(&mut self, progress: Vec<u8>) -> Result<(), Error> {
        self.save_progress(progress)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.armed
            && let Some(engine) = self.engine.upgrade()
        {
            engine.abandon(&self.held);
        }
    }
}

/// Shows token and attempt, never the key.
impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("token", &self.held.token)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// A settlement that was refused. It changed nothing, unless its kind is [`ErrorKind::Indeterminate`].
///
/// It holds the lease, so that finished work is not taken for abandoned: dropping the error, or turning it
/// into an [`Error`] with `?`, leaves the claim to its term.
pub struct SettleError {
    error: Error,
    /// Disarmed while it is in here.
    lease: Option<Lease>,
}

impl SettleError {
    pub(crate) fn new(error: Error, mut lease: Lease) -> SettleError {
        let worthless = matches!(error.kind(), ErrorKind::StaleLease | ErrorKind::Indeterminate);
        if planted::active(24) {
            return SettleError { error, lease: None };
        }
        lease.armed = false;
        SettleError { error, lease: if worthless { None } else { Some(lease) } }
    }

    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// The error, and the lease where it is still worth something: not after [`ErrorKind::StaleLease`] and
    /// [`ErrorKind::Indeterminate`]. Dropping *that* lease abandons the claim as usual.
    pub fn into_parts(self) -> (Error, Option<Lease>) {
        let lease = self.lease.map(|mut lease| {
            lease.armed = true;
            lease
        });
        (self.error, lease)
    }
}

/// Leaves the claim to its term.
impl From<SettleError> for Error {
    fn from(refused: SettleError) -> Error {
        if let Some(lease) = &refused.lease
            && let Some(engine) = lease.engine.upgrade()
        {
            engine.let_go(&lease.held);
        }
        refused.error
    }
}

impl fmt::Debug for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleError").field("error", &self.error).field("lease", &self.lease).finish()
    }
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for SettleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}
