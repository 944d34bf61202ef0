//! The claim of one command: made, kept and settled, each time with the directory open only for that moment.

use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use anyhow::Context as _;
use claimstore::{
    Claim, ClaimRequest, Error, ErrorKind, Failure as Ending, Lease, LeaseToken, Namespace, Policy,
    SettleError, Store,
};

use super::{Exec, Outcome, say};
use crate::args::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::store::{open_waiting, pause_for};

/// How long to sleep between two looks at a claim that somebody else holds: half as long as it was waited already,
/// between these. Each look opens the store, which the holder wants to open too, and uses up one of its lives.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// After how long in the queue for the directory it is said that there is one.
const SAY_AFTER: Duration = Duration::from_secs(1);

/// What a claim was answered.
pub(super) enum Answer {
    /// The command is ours to run.
    Granted(Grant),
    /// It ran before.
    Known(Outcome),
    /// It is running elsewhere, or to be retried later.
    Busy(Duration),
}

/// A claim of ours, detached.
pub(super) struct Grant {
    pub(super) token: LeaseToken,
    pub(super) attempt: u32,
}

/// Opens the store for single steps.
pub(super) struct Hold<'a> {
    exec: &'a Exec,
    signals: Signals,
}

impl<'a> Hold<'a> {
    /// `signals` end the wait for a claim; what was begun is settled whatever signals come.
    pub(super) fn new(exec: &'a Exec, signals: Signals) -> Hold<'a> {
        Hold { exec, signals }
    }

    /// Claims the key, and waits for another holder as long as the user said.
    pub(super) fn claim(&self) -> anyhow::Result<Answer> {
        let mut waited = Duration::ZERO;
        loop {
            let retry_after = match self.claim_once()? {
                Answer::Busy(retry_after) => retry_after,
                answer => return Ok(answer),
            };
            let left = self.exec.wait.saturating_sub(waited);
            if left.is_zero() {
                return Ok(Answer::Busy(retry_after));
            }
            let pause = (waited / 2).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1).min(left);
            pause_for(pause);
            waited += pause;
        }
    }

    fn claim_once(&self) -> anyhow::Result<Answer> {
        let store = self.open(self.exec.lock_wait, &self.signals)?;
        let namespace = self.namespace(&store)?;
        let answer = match namespace.claim_with(&self.request(&store)?) {
            Ok(Claim::Claimed(lease)) => {
                let attempt = lease.attempt();
                let token = lease.detach(self.exec.lease).map_err(Error::from).context("claiming the key")?;
                Answer::Granted(Grant { token, attempt })
            }
            Ok(Claim::Duplicate(receipt)) => {
                let unknown =
                    || Failure::new(Exit::Data, "what is recorded for the key is not of `claimstore exec`");
                Answer::Known(Outcome::decode(receipt.response()).ok_or_else(unknown)?)
            }
            Ok(Claim::InProgress(holder)) => Answer::Busy(holder.retry_after()),
            Err(error) => return Err(refused(error)),
        };
        store.close().context("closing the store")?;
        Ok(answer)
    }

    fn namespace(&self, store: &Store) -> anyhow::Result<Namespace> {
        let Exec { ttl, lease, attempts, on_orphan, namespace, .. } = self.exec;
        let policy =
            Policy::new().ttl(*ttl).lease(*lease).max_attempts(*attempts).on_orphan((*on_orphan).into());
        store.namespace_with(namespace, policy).context("preparing the namespace")
    }

    fn request(&self, store: &Store) -> anyhow::Result<ClaimRequest> {
        let request = ClaimRequest::new(self.exec.key.as_bytes());
        if !self.exec.fingerprint_args {
            return Ok(request);
        }
        let fingerprinter = store.fingerprinter().context("preparing the fingerprint")?;
        let arguments: Vec<_> = self.exec.command.iter().map(|argument| argument.as_bytes()).collect();
        Ok(request.fingerprint(fingerprinter.raw_parts(&arguments)))
    }

    /// Starts the lease anew, queueing for what is left of it, which is half. False: somebody else has taken the key over.
    pub(super) fn renew(&self, grant: &Grant) -> anyhow::Result<bool> {
        let store = self.open(self.exec.lease / 2, &Signals::default())?;
        let renewed = match store.resume(grant.token.clone()) {
            Ok(lease) => lease.detach(self.exec.lease).map(drop).map_err(Error::from),
            Err(error) => Err(error),
        };
        store.close().context("closing the store")?;
        match renewed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::StaleLease => Ok(false),
            Err(error) => Err(error).context("renewing the claim"),
        }
    }

    pub(super) fn complete(&self, grant: Grant, outcome: &Outcome) -> anyhow::Result<()> {
        self.settle(grant, |lease| lease.complete(outcome.encode()))
    }

    pub(super) fn fail(&self, grant: Grant, outcome: &Outcome) -> anyhow::Result<()> {
        self.settle(grant, |lease| lease.fail(Ending::terminal(outcome.encode())))
    }

    pub(super) fn retry(&self, grant: Grant, because: &str) -> anyhow::Result<()> {
        self.settle(grant, |lease| lease.fail(Ending::retry().because(because)))
    }

    pub(super) fn release(&self, grant: Grant) -> anyhow::Result<()> {
        self.settle(grant, Lease::release)
    }

    /// The work is done, so its end is queued for longer than its beginning was.
    fn settle(&self, grant: Grant, end: impl FnOnce(Lease) -> Result<(), SettleError>) -> anyhow::Result<()> {
        let store = self.open(self.exec.lock_wait.max(self.exec.lease), &Signals::default())?;
        let settled = store.resume(grant.token).and_then(|lease| end(lease).map_err(Error::from));
        store.close().context("closing the store")?;
        settled.map_err(|error| match error.kind() {
            ErrorKind::StaleLease => {
                let message = "the claim was taken over meanwhile: what ran here does not count";
                Failure::new(Exit::Failed, message).into()
            }
            _ => anyhow::Error::from(error).context("settling the claim"),
        })
    }

    /// Queues for the directory, and says so once it takes long.
    fn open(&self, wait: Duration, signals: &Signals) -> anyhow::Result<Store> {
        let mut args = StoreArgs { store: self.exec.store.clone(), wait: wait.min(SAY_AFTER) };
        match open_waiting(&args, signals) {
            Err(error) if is_busy(&error) && wait > SAY_AFTER => {
                say(&format!("the store is open elsewhere; waiting up to {}", crate::duration::format(wait)));
                args.wait = wait.saturating_sub(SAY_AFTER);
                open_waiting(&args, signals)
            }
            result => result,
        }
    }
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::AlreadyOpen)
}

fn refused(error: Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::Parked => {
            Failure::new(Exit::WrongState, "the key is held for review: see `claimstore explain`").into()
        }
        ErrorKind::PayloadMismatch => {
            Failure::new(Exit::Data, "the key is known with other arguments of the command").into()
        }
        _ => anyhow::Error::from(error).context("claiming the key"),
    }
}
