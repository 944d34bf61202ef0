//! Opens a store for the command, and waits for one that is open elsewhere.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use claimstore::{ErrorKind, Options, Policy, Store};

use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::store_args::StoreArgs;

/// How long a store that is open elsewhere is waited for before signals are looked at.
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
    // The store itself waits, in slices: a signal is heeded between them, and so is what may answer in its place.
    let (mut waited, mut slice) = (Duration::ZERO, Duration::ZERO);
    loop {
        signals.check()?;
        match options.clone().wait_for_owner(slice).open(&args.store) {
            Err(error) if error.kind() == ErrorKind::AlreadyOpen && waited < args.wait => {
                if let Some(other) = otherwise() {
                    return Ok(Err(other));
                }
                slice = RETRY.min(args.wait.saturating_sub(waited));
                waited += slice;
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
