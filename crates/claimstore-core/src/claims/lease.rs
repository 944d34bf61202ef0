//! The right to settle a claim of any backend: [`Lease`], and a refused settlement.

use super::Working;
use crate::backend::{Backend, Grant, Held, Settlement};
use crate::{Error, ErrorKind, Failure, Pending};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A granted claim: the work is yours to do, and yours alone while the lease runs.
///
/// Dropping it unsettled loses the attempt: nobody holds the key any more, the next claim takes it over, and one loss is
/// counted, or one failure if a panic dropped it ([`Policy::on_drop`](crate::Policy::on_drop) can say otherwise).
///
/// Settle it with [`complete`](Lease::complete), [`fail`](Lease::fail) or [`release`](Lease::release). A lease does not keep its
/// backend open.
///
/// A lease that has lapsed may still be settled as long as nobody took the key over.
#[must_use = "a lease that is dropped at once abandons the claim"]
pub struct Lease {
    backend: Arc<dyn Backend>,
    held: Held,
    /// The key as it was given, where its namespace's rule made another of it.
    given: Option<Box<[u8]>>,
    progress: Option<Box<[u8]>>,
    in_doubt: bool,
    /// Whether dropping the lease abandons the claim. Disarmed once it is settled or handed on.
    armed: bool,
}

impl Lease {
    /// The lease of a grant by `backend`; `given` is the key as the caller named it, where that is not the key that is
    /// held. For authors of backends.
    pub fn new(backend: Arc<dyn Backend>, grant: Grant, given: Option<Box<[u8]>>) -> Lease {
        let Grant { held, progress, in_doubt } = grant;
        Lease { backend, held, given, progress, in_doubt, armed: true }
    }

    /// Takes the lease apart without abandoning the claim: for a backend that makes its own kind of lease of it.
    pub fn into_grant(mut self) -> (Grant, Option<Box<[u8]>>) {
        self.armed = false;
        let grant =
            Grant { held: self.held.clone(), progress: self.progress.take(), in_doubt: self.in_doubt };
        (grant, self.given.take())
    }

    /// The key, as it was given.
    pub fn key(&self) -> &[u8] {
        self.given.as_deref().unwrap_or(&self.held.key)
    }

    /// The fencing token: higher than every token given for the key before. Pass it downstream.
    pub fn token(&self) -> u64 {
        self.held.token
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.held.attempt
    }

    /// Whether an earlier attempt may have had an effect that nobody knows of: see
    /// [`Record::in_doubt`](crate::Record::in_doubt). Find out before the work is done again.
    pub fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// What the last [`save_progress`](Lease::save_progress) of this or an earlier attempt stored.
    pub fn progress(&self) -> Option<&[u8]> {
        self.progress.as_deref()
    }

    /// A key for one step of the work, the same for every attempt of this key on every backend: what to give a downstream
    /// API as its idempotency key.
    pub fn child_key(&self, step: &str) -> [u8; 32] {
        claimstore_hash::child_key(&self.held.namespace, &self.held.key, step)
    }

    /// [`child_key`](Lease::child_key) in 64 lower-case hex digits, for an idempotency header.
    pub fn child_key_hex(&self, step: &str) -> String {
        claimstore_hash::child_key_hex(&self.held.namespace, &self.held.key, step)
    }

    /// What settles the claim, as data.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// The backend that granted it.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// The work is done; `response` is stored and given to every duplicate until the ttl ends.
    ///
    /// A refusal changed nothing and hands the lease back where it is still worth something.
    pub fn complete(self, response: impl Into<Vec<u8>>) -> Pending<(), SettleError> {
        self.settle(Settlement::Complete(response.into()))
    }

    /// The work failed; see [`Failure`] for what follows.
    pub fn fail(self, failure: Failure) -> Pending<(), SettleError> {
        self.settle(Settlement::Fail(failure))
    }

    /// As if never claimed: earlier attempts and progress are as they were. Only the token stays burnt.
    pub fn release(self) -> Pending<(), SettleError> {
        self.settle(Settlement::Release)
    }

    /// Ends the claim. It is on its way when this returns.
    pub fn settle(mut self, settlement: Settlement) -> Pending<(), SettleError> {
        self.armed = false;
        let settled = self.backend.settle(vec![(self.held.clone(), settlement)]);
        Pending::new(async move {
            let verdict = settled.await.and_then(|mut verdicts| verdicts.pop().unwrap_or_else(unanswered));
            verdict.map_err(|error| SettleError::new(error, self))
        })
    }

    /// Starts the lease anew: trusted for `term` from now.
    ///
    /// [`ErrorKind::StaleLease`] when somebody took over.
    pub fn renew(&self, term: Duration) -> Pending<()> {
        self.backend.renew(&self.held, term)
    }

    /// Stores how far the work has come, for the next attempt to go on from. [`progress`](Lease::progress) gives the
    /// new bytes at once, also where the call is refused.
    pub fn save_progress(&mut self, progress: impl Into<Vec<u8>>) -> Pending<()> {
        let progress = progress.into();
        self.progress = Some(progress.as_slice().into());
        self.backend.save_progress(&self.held, progress)
    }

    /// Hands the right to settle to elsewhere in this process; [`Claims::resume`](crate::Claims::resume) takes it up
    /// again. The claim goes on until its term.
    pub fn into_held(mut self) -> Held {
        self.armed = false;
        self.backend.let_go(&self.held);
        self.held.clone()
    }

    /// Makes the claim outlive this process: it is trusted until `term` is over, and
    /// [`Claims::resume`](crate::Claims::resume) takes it up.
    pub fn detach(mut self, term: Duration) -> Pending<Held, SettleError> {
        self.armed = false;
        let detached = self.backend.detach(&self.held, term);
        Pending::new(async move {
            match detached.await {
                Ok(()) => Ok(self.into_held()),
                Err(error) => Err(SettleError::new(error, self)),
            }
        })
    }

    pub(crate) fn is_of(&self, backend: &Arc<dyn Backend>) -> bool {
        self.backend.is_same(&**backend)
    }

    /// The claim is settled or on its way to be: dropping the lease no longer abandons it.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }
}

/// A backend that gives no verdict is at fault; nothing may be concluded from that.
fn unanswered() -> Result<(), Error> {
    Err(Error::new(ErrorKind::Indeterminate, "the backend gave no verdict for the settlement"))
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
        let before = self.progress.clone();
        self.save_progress(progress).wait().inspect_err(|_| self.progress = before)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.armed {
            self.backend.abandon(&self.held);
        }
    }
}

/// Shows token and attempt, never the key.
impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("token", &self.held.token)
            .field("attempt", &self.held.attempt)
            .finish_non_exhaustive()
    }
}

/// A settlement that was refused. It changed nothing, unless its kind is [`ErrorKind::Indeterminate`].
///
/// It holds the lease, so that finished work is not taken for abandoned: dropping the error, or turning it into an
/// [`Error`] with `?`, leaves the claim to its term.
pub struct SettleError {
    error: Error,
    /// Disarmed while it is in here.
    lease: Option<Lease>,
}

impl SettleError {
    pub(crate) fn new(error: Error, mut lease: Lease) -> SettleError {
        lease.armed = false;
        let worthless = matches!(error.kind(), ErrorKind::StaleLease | ErrorKind::Indeterminate);
        SettleError { error, lease: if worthless { None } else { Some(lease) } }
    }

    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// The error, and the lease where it is still worth something: not after [`ErrorKind::StaleLease`] and
    /// [`ErrorKind::Indeterminate`]. Dropping *that* lease abandons the claim as usual.
    pub fn into_parts(mut self) -> (Error, Option<Lease>) {
        let lease = self.lease.take().map(|mut lease| {
            lease.armed = true;
            lease
        });
        (self.error, lease)
    }
}

/// Leaves the claim to its term.
impl From<SettleError> for Error {
    fn from(refused: SettleError) -> Error {
        if let Some(lease) = &refused.lease {
            lease.backend.let_go(&lease.held);
        }
        refused.error
    }
}

impl fmt::Debug for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleError").field("error", &self.error).finish_non_exhaustive()
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

/// [`Claims::complete_many`](crate::Claims::complete_many) as a whole was refused; here are the leases and responses back.
/// Nothing happened, unless its kind is [`ErrorKind::Indeterminate`].
pub struct CompleteManyError {
    error: Error,
    items: Vec<(Lease, Vec<u8>)>,
}

impl CompleteManyError {
    pub(crate) fn new(error: Error, mut items: Vec<(Lease, Vec<u8>)>) -> CompleteManyError {
        items.iter_mut().for_each(|(lease, _)| lease.armed = false);
        CompleteManyError { error, items }
    }

    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// The error and everything that was given in. Dropping *those* leases abandons their claims as usual.
    pub fn into_parts(self) -> (Error, Vec<(Lease, Vec<u8>)>) {
        let rearm = |(mut lease, response): (Lease, Vec<u8>)| {
            lease.armed = true;
            (lease, response)
        };
        (self.error, self.items.into_iter().map(rearm).collect())
    }
}

/// Leaves the claims to their terms.
impl From<CompleteManyError> for Error {
    fn from(refused: CompleteManyError) -> Error {
        refused.items.iter().for_each(|(lease, _)| lease.backend.let_go(&lease.held));
        refused.error
    }
}

impl fmt::Debug for CompleteManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteManyError")
            .field("error", &self.error)
            .field("items", &self.items.len())
            .finish()
    }
}

impl fmt::Display for CompleteManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for CompleteManyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}
