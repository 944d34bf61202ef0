//! Feature `tracing`: what is told, and that nothing telltale is in it (P18). A process of its own, because
//! the subscriber is one for all threads, the upkeep thread's included.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests may panic")]

#[path = "it/rig.rs"]
#[expect(dead_code, reason = "what other tests need of it")]
mod rig;

use claimstore::{Claim, ClaimRequest, Error, ErrorKind, Failure, Lease, ManualClock, Options, Policy};
use rig::Rig;
use std::fmt::{Debug, Write as _};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Every event as a line: target, level, fields.
#[derive(Default, Clone)]
struct Lines(Arc<Mutex<String>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.line(span.metadata(), |line| span.record(line));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        self.line(event.metadata(), |line| event.record(line));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Lines {
    fn line(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
        let mut line = Line(format!("{} {}", metadata.target(), metadata.level()));
        record(&mut line);
        self.0.lock().unwrap().push_str(&(line.0 + "\n"));
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn claimed(answer: Result<Claim, Error>) -> Lease {
    answer.unwrap().claimed().unwrap()
}

/// A store whose disk fails, with upkeep that notices.
fn poison_one() {
    let rig = Rig::default();
    let store = rig.open(Options::new());
    rig.faults.fail_syncs.store(true, Ordering::SeqCst);
    assert_eq!(store.claim("canary-key", DAY).unwrap_err().kind(), ErrorKind::Indeterminate);
    // Upkeep fails at its next look, which a task that it runs comes before.
    assert!(finished(store.upkeep_async()).is_err());
    assert!(finished(store.upkeep_async()).is_err());
    drop(store.close());
}

fn finished<F: Future + Unpin>(mut future: F) -> F::Output {
    loop {
        let polled = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = polled {
            return output;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn p18_the_life_of_a_store_is_told_and_nothing_telltale_with_it() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let dir = tempfile::Builder::new().prefix("canary-dir").tempdir().unwrap();
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let open =
        |background| Options::new().clock(clock.clone()).background(background).open(dir.path()).unwrap();
    let store = open(false);
    let tenant = store.namespace_with("canary-tenant", Policy::daily().metrics_name("orders")).unwrap();
    let request = ClaimRequest::new("canary-key").ttl(HOUR).origin("canary-origin").fingerprint([7; 32]);
    claimed(tenant.claim_with(&request)).complete("canary-response").unwrap();
    assert!(tenant.claim_with(&request).unwrap().claimed().is_none());
    let other = ClaimRequest::new("canary-key").ttl(HOUR).fingerprint([8; 32]);
    tenant.claim_with(&other).unwrap_err();
    let failure = Failure::retry_after(HOUR).because("canary-reason");
    claimed(store.claim("canary-2", DAY)).fail(failure).unwrap();
    // Four runs of records without an end are merged into one.
    for number in 0..4 {
        let parked = claimed(store.claim(format!("canary-parked-{number}"), DAY));
        parked.fail(Failure::park("canary-note")).unwrap();
        store.checkpoint().unwrap();
    }
    store.compact().unwrap();
    clock.advance(20 * DAY);
    store.prune().unwrap();
    drop(tenant);
    store.close().unwrap();
    open(true).close().unwrap();
    poison_one();
    let lines = lines.0.lock().unwrap();
    let told = ["store opened", "store closed", "checkpoint", "merge", "prune"];
    for told in told.iter().chain(&["the journal failed", "upkeep failed"]) {
        assert!(lines.contains(told), "{told} is not told: {lines}");
    }
    // redb, beneath, may tell of itself.
    assert!(lines.lines().any(|line| line.starts_with("claimstore ")), "{lines}");
    assert!(!lines.contains("canary"), "{lines}");
}
