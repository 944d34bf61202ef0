//! Opening a store for the command, and the claims of `dedupe`.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use claimstore::{Claim, ClaimRequest, ErrorKind, Lease, Namespace, OnOrphan, Options, Policy, Store};

use crate::args::StoreArgs;
use crate::batch::{Answer, Claims};
use crate::exit::{Exit, Failure};
use crate::signals::Signals;

/// How often a store that is open elsewhere is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(50);

/// Opens the store, or makes one; while another process has it open, waits as long as the user said.
pub(crate) fn open_waiting(args: &StoreArgs, signals: &Signals) -> anyhow::Result<Store> {
    open_with(&Options::new(), args, signals)
}

/// Opens a store that is there, to look at it or to mend it. Nothing is upkept behind the user's back: who looks for
/// what a prune would drop does not have it dropped by looking.
pub(crate) fn open_existing(args: &StoreArgs) -> anyhow::Result<Store> {
    open_existing_with(args, false)
}

/// The same; and if asked, the wall clock is taken at its word.
pub(crate) fn open_existing_with(args: &StoreArgs, accept_clock: bool) -> anyhow::Result<Store> {
    check_is_store(&args.store)?;
    open_with(&Options::new().background(false).accept_clock_step(accept_clock), args, &Signals::default())
}

/// Opens a store that is there, to look at it alone: read-only where this process cannot write to it.
pub(crate) fn open_to_look(args: &StoreArgs) -> anyhow::Result<Store> {
    check_is_store(&args.store)?;
    open_with(&to_look(&args.store), args, &Signals::default())
}

/// How a store is opened to be looked at. Nothing is upkept behind the user's back. A backup on a read-only mount, or a
/// directory of somebody else's, is opened without changing anything.
pub(crate) fn to_look(path: &Path) -> Options {
    Options::new().background(false).read_only(!can_write(path))
}

/// What every ordinary opening writes to.
fn can_write(path: &Path) -> bool {
    let may_write = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let needed = ["LOCK", "STORE", "catalog.redb", "journal", "runs"].map(|name| path.join(name));
    may_write(path) && needed.iter().all(|path| !path.exists() || may_write(path))
}

/// Opening would make a store here, and a user who mistyped a path is not helped by an empty one.
pub(crate) fn check_is_store(path: &Path) -> Result<(), Failure> {
    if is_store(path) {
        return Ok(());
    }
    Err(Failure::new(Exit::NoInput, format!("there is no store at {}", path.display())))
}

/// The identity file is the first a store gets.
pub(crate) fn is_store(path: &Path) -> bool {
    path.join("STORE").is_file()
}

fn open_with(options: &Options, args: &StoreArgs, signals: &Signals) -> anyhow::Result<Store> {
    let opened: Result<Store, Infallible> = open_unless(options, args, signals, || None)?;
    let Ok(store) = opened;
    Ok(store)
}

/// Whether the reason of an error is that another process has the store open.
pub(crate) fn is_open_elsewhere(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<claimstore::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::AlreadyOpen)
}

/// Opens the store. While another process has it open, `otherwise` may answer something in its place; else it is
/// waited for as long as the user said.
pub(crate) fn open_unless<T>(
    options: &Options,
    args: &StoreArgs,
    signals: &Signals,
    otherwise: impl Fn() -> Option<T>,
) -> anyhow::Result<Result<Store, T>> {
    let mut waited = Duration::ZERO;
    loop {
        signals.check()?;
        match options.clone().open(&args.store) {
            Err(error) if error.kind() == ErrorKind::AlreadyOpen && waited < args.wait => {
                if let Some(other) = otherwise() {
                    return Ok(Err(other));
                }
                let pause = RETRY.min(args.wait.saturating_sub(waited));
                pause_for(pause);
                waited += pause;
            }
            Err(error) if error.kind() == ErrorKind::Misuse => {
                return Err(Failure::new(Exit::Usage, format!("{}: {error}", args.store.display())).into());
            }
            Err(error) => {
                if error.kind() == ErrorKind::AlreadyOpen
                    && let Some(other) = otherwise()
                {
                    return Ok(Err(other));
                }
                return Err(error).with_context(|| format!("opening the store {}", args.store.display()));
            }
            Ok(store) => return Ok(Ok(store)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a command waits in real time; there is no clock to step here")]
pub(crate) fn pause_for(pause: Duration) {
    std::thread::sleep(pause);
}

/// The rules of a namespace as they are, for a command that sets some of them; those of a new one, where it is not there.
pub(crate) fn rules_of(store: &Store, namespace: &str) -> anyhow::Result<Policy> {
    if !store.namespaces().iter().any(|name| name == namespace) {
        return Ok(Policy::new());
    }
    Ok(store.namespace(namespace).context("opening the namespace")?.policy())
}

/// The claims of one namespace of a store.
#[derive(Debug)]
pub(crate) struct StoreClaims {
    store: Store,
    namespace: Namespace,
    ttl: Duration,
}

impl StoreClaims {
    pub(crate) fn new(store: &Store, namespace: &str, ttl: Duration) -> anyhow::Result<StoreClaims> {
        // However many runs died with a record in hand, the next one may have it: nobody reviews parked records here.
        // The other rules are left as somebody set them.
        let rules = rules_of(store, namespace)?;
        let policy = rules.ttl(ttl).max_attempts(u32::MAX).on_orphan(OnOrphan::Retry);
        let namespace = store.namespace_with(namespace, policy).context("preparing the namespace")?;
        Ok(StoreClaims { store: store.clone(), namespace, ttl })
    }

    /// Sorts the answers; an error that is not about one key alone takes all claims back.
    fn sort(answers: Vec<Result<Claim, claimstore::Error>>) -> anyhow::Result<Vec<Answer<Lease>>> {
        let mut sorted = Vec::with_capacity(answers.len());
        let mut failed = None;
        for answer in answers {
            match answer {
                Ok(claim) => sorted.push(answer_of(claim)),
                Err(error) if is_about_the_key(error.kind()) => {
                    sorted.push(Answer::Refused(error.to_string()));
                }
                Err(error) => failed = Some(error),
            }
        }
        let Some(error) = failed else { return Ok(sorted) };
        for answer in sorted {
            if let Answer::Claimed { lease, .. } = answer {
                // What cannot be taken back is in doubt, as after a crash; the first error is the one to tell.
                let _ = lease.release();
            }
        }
        Err(error).context("claiming a batch")
    }
}

impl Claims for StoreClaims {
    type Lease = Lease;

    fn claim(&self, keys: &[&[u8]]) -> anyhow::Result<Vec<Answer<Lease>>> {
        let requests: Vec<_> = keys.iter().map(|key| ClaimRequest::new(key).ttl(self.ttl)).collect();
        StoreClaims::sort(self.namespace.claim_many(&requests).context("claiming a batch")?)
    }

    fn complete(&self, leases: Vec<Lease>) -> anyhow::Result<()> {
        if leases.is_empty() {
            return Ok(());
        }
        let settlements = leases.into_iter().map(|lease| (lease, Vec::new())).collect();
        for result in self.store.complete_many(settlements).context("completing a batch")? {
            result.context("completing a claim")?;
        }
        Ok(())
    }

    fn release(&self, leases: Vec<Lease>) -> anyhow::Result<()> {
        leases.into_iter().try_for_each(|lease| lease.release().context("releasing a claim"))
    }
}

fn answer_of(claim: Claim) -> Answer<Lease> {
    match claim {
        // A release takes its attempt back, so a second attempt means that the first one's run did not get to the end.
        Claim::Claimed(lease) => Answer::Claimed { in_doubt: lease.attempt() > 1, lease },
        Claim::Duplicate(_) => Answer::Duplicate,
        Claim::InProgress(_) => Answer::Refused("its event is in progress elsewhere".into()),
    }
}

fn is_about_the_key(kind: ErrorKind) -> bool {
    use ErrorKind::{FutureKey, InvalidKey, Parked, PayloadMismatch, TooLarge, TooOld};
    matches!(kind, Parked | PayloadMismatch | TooOld | FutureKey | InvalidKey | TooLarge)
}
