//! The worker: recovers what it left when it was killed, then posts invoices, on four threads.
//!
//! What an unanswered request means it does not guess. Where the API can be asked it lets go of the lease, and the
//! reaper asks; where not, it parks the invoice.

use crate::http::call;
use crate::{Kind, Result, invoice};
use claimstore::{Claim, ClaimRequest, ErrorKind, Failure, Lease, Namespace, Options, Policy, Store};
use claimstore_recovery::{Orphan, OrphanPolicy, Recovery, Resolution};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How long the worker waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(25);

const THREADS: u64 = 4;
/// How often the resolver asks before it says that it cannot tell.
const QUESTIONS: u32 = 5;

/// Posts the first `invoices` invoices.
pub(crate) fn run(dir: &Path, port: u16, invoices: u64) -> Result<()> {
    let store = open(dir)?;
    let recovery = || {
        let millis = Duration::from_millis;
        let ask = OrphanPolicy::resolve()
            .max_attempts(u32::MAX)
            .backoff(millis(2), millis(20))
            .ask_again(millis(5), millis(100))
            .max_asks(u32::MAX);
        Recovery::new(&store)
            .policy_for("asked", ask)
            .policy_for("blind", OrphanPolicy::park())
            .resolver_for("asked", move |orphan: &Orphan| ask_the_api(port, orphan))
    };
    recovery().run()?;
    let reaper = recovery().spawn()?;
    let done = thread::scope(|scope| {
        let post_some = |first| {
            let store = &store;
            move || {
                (first..invoices).step_by(THREADS as usize).try_for_each(|number| post(store, port, number))
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(post_some(first))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    });
    reaper.stop();
    store.close()?;
    done
}

/// The store, with small segments: it is opened some hundred times.
pub(crate) fn open(dir: &Path) -> Result<Store> {
    let store = Options::new().segment_bytes(1 << 20).max_response_bytes(4 << 10).open(dir)?;
    for name in ["asked", "blind"] {
        let policy = store.namespace(name)?.policy();
        if policy == Policy::new() {
            store.namespace_with(name, Policy::daily().lease(Duration::from_secs(5)))?;
        }
    }
    Ok(store)
}

/// Whether the invoice was booked, asked until somebody answers. What the old holder sent and what is still on
/// its way is fenced off by the question.
fn ask_the_api(port: u16, orphan: &Orphan) -> Resolution {
    let Ok(key) = std::str::from_utf8(orphan.key()) else { return Resolution::Unknown };
    for _ in 0..QUESTIONS {
        match call(port, "GET", &format!("/invoices/{key}"), orphan.fence(), PATIENCE) {
            Ok((200, number)) => return Resolution::Happened(number.into_bytes()),
            Ok((404, _)) => return Resolution::DidNotHappen,
            Ok(_) | Err(_) => {}
        }
    }
    Resolution::Unknown
}

/// Posts one invoice, unless that is done, and stays with it until it is done or parked.
fn post(store: &Store, port: u16, number: u64) -> Result<()> {
    let (kind, key) = invoice(number);
    let namespace = store.namespace(if kind == Kind::Asked { "asked" } else { "blind" })?;
    while let Some(lease) = claim(&namespace, &key)? {
        match call(port, "POST", &format!("/invoices/{key}"), lease.token(), PATIENCE) {
            Ok((201, booked)) => return Ok(lease.complete(booked)?),
            Ok(_) | Err(_) => give_up(kind, lease)?,
        }
    }
    Ok(())
}

/// The lease, or `None` when the invoice is done or parked.
fn claim(namespace: &Namespace, key: &str) -> Result<Option<Lease>> {
    loop {
        match namespace.claim_or_wait(&ClaimRequest::new(key), Duration::from_secs(10)) {
            Ok(Claim::Claimed(lease)) => return Ok(Some(lease)),
            Ok(Claim::Duplicate(_)) => return Ok(None),
            Ok(Claim::InProgress(_)) => {}
            Err(error) if error.kind() == ErrorKind::Parked => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// No answer: it may have been booked, or be booked later.
fn give_up(kind: Kind, lease: Lease) -> Result<()> {
    match kind {
        // The reaper sees it at once, and asks.
        Kind::Asked => drop(lease),
        Kind::Blind => lease.fail(Failure::park("no answer, and nobody to ask"))?,
    }
    Ok(())
}
