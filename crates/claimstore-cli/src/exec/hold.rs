//! The claim of one command: made, kept and settled, each time with the directory open only for that moment.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use anyhow::Context as _;
use claimstore::{
    Claim, ClaimRequest, Error, ErrorKind, Failure as Ending, Lease, LeaseToken, Namespace, SettleError,
    Store,
};
use claimstore_admin::key_label;

use super::args::Exec;
use super::machine::Verdict;
use super::outcome::{Outcome, Stream};
use super::say::say;
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::planted;
use crate::shell;
use crate::signals::Signals;
use crate::store::{is_open_elsewhere, open_waiting, rules_of};
use crate::store_args::StoreArgs;

/// After how long in the queue for the directory it is said that there is one.
const SAY_AFTER: Duration = Duration::from_secs(1);

/// So many descriptors more than the store has open when it is claimed in, recording needs at most. The output of the
/// command is open then. The store may have grown by what others did meanwhile: it has one for each run, of which merges
/// keep about two dozen, and while they work as many again for a moment.
const ROOM: usize = 64;

/// What a claim was answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// The command is ours to run.
    Granted(Grant),
    /// It ran before.
    Known(Outcome),
    /// It is running elsewhere, or to be retried later.
    Busy(Duration),
}

/// A claim of ours, detached.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) token: LeaseToken,
    pub(super) attempt: u32,
}

/// Where the store is opened. A trait, so that `exec` can be tried with a directory and a clock of the test's.
pub(super) trait Directory {
    /// Queues for it as long as `wait`, or until `queue` is told to stop.
    fn open(&self, wait: Duration, queue: &Signals) -> anyhow::Result<Store>;
}

/// The directory that the user named.
impl Directory for Exec {
    /// Says that there is a queue once it takes long.
    fn open(&self, wait: Duration, queue: &Signals) -> anyhow::Result<Store> {
        let mut args = StoreArgs { store: self.store.clone(), wait: wait.min(SAY_AFTER) };
        match open_waiting(&args, queue) {
            Err(error) if is_open_elsewhere(&error) && wait > SAY_AFTER => {
                say(&format!("the store is open elsewhere; waiting up to {}", duration::format(wait)));
                args.wait = wait.saturating_sub(SAY_AFTER);
                open_waiting(&args, queue)
            }
            result => result,
        }
    }
}

/// Opens the store for single steps.
#[derive(Debug)]
pub(super) struct Hold<'a, D> {
    exec: &'a Exec,
    directory: &'a D,
}

impl<'a, D: Directory> Hold<'a, D> {
    pub(super) fn new(exec: &'a Exec, directory: &'a D) -> Hold<'a, D> {
        Hold { exec, directory }
    }

    pub(super) fn claim(&self, queue: &Signals) -> anyhow::Result<Answer> {
        let store = self.directory.open(self.exec.lock_wait, queue)?;
        check_room()?;
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
            Err(error) => return Err(self.refused(error)),
        };
        store.close().context("closing the store")?;
        Ok(answer)
    }

    fn namespace(&self, store: &Store) -> anyhow::Result<Namespace> {
        let Exec { ttl, lease, attempts, on_orphan, namespace, .. } = self.exec;
        let rules = rules_of(store, namespace)?;
        let policy = rules.ttl(*ttl).lease(*lease).max_attempts(*attempts).on_orphan((*on_orphan).into());
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

    fn refused(&self, error: Error) -> anyhow::Error {
        match error.kind() {
            ErrorKind::Parked => {
                let Exec { key, namespace, store, .. } = self.exec;
                let short_name = key_label(key.as_bytes()).to_string();
                let line = shell::about_key("explain", &short_name, namespace, store.as_os_str());
                Failure::new(Exit::WrongState, format!("the key is held for review; to see why: {line}"))
                    .into()
            }
            ErrorKind::PayloadMismatch => {
                Failure::new(Exit::Data, "the key is known with other arguments of the command").into()
            }
            _ => anyhow::Error::from(error).context("claiming the key"),
        }
    }

    /// Starts the lease anew, queueing for what is left of it, which is half. False: somebody else has taken the key over.
    pub(super) fn renew(&self, token: &LeaseToken, queue: &Signals) -> anyhow::Result<bool> {
        let store = self.directory.open(self.exec.lease / 2, queue)?;
        let renewed = match store.resume(token.clone()) {
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

    /// Records what a run came to. The work is done, so this queues for longer than its beginning did: while the lease
    /// runs nobody else repeats it.
    pub(super) fn settle(
        &self,
        token: &LeaseToken,
        result: &Settlement,
        queue: &Signals,
    ) -> anyhow::Result<()> {
        let mut wait = self.exec.lock_wait.max(self.exec.lease);
        if planted::active(41) {
            wait = Duration::ZERO;
        }
        let store = self.directory.open(wait, queue)?;
        let settled = store.resume(token.clone()).and_then(|lease| result.apply(lease).map_err(Error::from));
        store.close().context("closing the store")?;
        settled.map_err(|error| match error.kind() {
            ErrorKind::StaleLease => {
                let message = "the claim was taken over meanwhile: what ran here does not count";
                Failure::new(Exit::Failed, message).into()
            }
            _ => anyhow::Error::from(error).context("settling the claim"),
        })
    }
}

/// What is written of a run.
#[derive(Debug)]
pub(super) struct Settlement {
    pub(super) verdict: Verdict,
    /// Why there is no result.
    pub(super) reason: String,
    pub(super) outcome: Outcome,
}

impl Settlement {
    /// As if the key had not been claimed.
    pub(super) fn release() -> Settlement {
        let outcome = Outcome { code: 0, stdout: Stream::default(), stderr: Stream::default() };
        Settlement { verdict: Verdict::Release, reason: String::new(), outcome }
    }

    fn apply(&self, lease: Lease) -> Result<(), SettleError> {
        match self.verdict {
            Verdict::Complete => lease.complete(self.outcome.encode()),
            Verdict::Fail => lease.fail(Ending::terminal(self.outcome.encode())),
            Verdict::Retry => lease.fail(Ending::retry().because(&self.reason)),
            Verdict::Release => lease.release(),
        }
    }
}

/// Refuses where there are too few descriptors for what is ahead. This is asked while the store is open and nothing is
/// claimed yet: so nothing runs then, and nothing is left behind; and once it has passed, claiming has them too.
fn check_room() -> anyhow::Result<()> {
    let (reader, _writer) = io::pipe().context("making a pipe")?;
    let taken = (0..ROOM).map(|_| reader.try_clone()).collect::<io::Result<Vec<_>>>();
    taken.map(drop).with_context(|| {
        format!("{ROOM} more descriptors have to be free, so that the end of the command can be recorded")
    })
}
