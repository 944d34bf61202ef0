//! Feature `tracing`: what is told, and that nothing telltale is in it (P18). A process of its own, because
//! the subscriber is one for all threads, the upkeep thread's included.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests may panic")]

#[path = "it/rig.rs"]
#[expect(dead_code, reason = "what other tests need of it")]
mod rig;
#[path = "../../claimstore-sim/tests/it/watch.rs"]
mod watch;

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
use tracing::{Event, Level, Metadata, Subscriber};

/// Every event as a line: target, level, fields. And every span, once it is over, with what was noted in it.
#[derive(Clone)]
struct Lines {
    most: Level,
    told: Arc<Mutex<String>>,
    spans: Arc<Mutex<Vec<(String, u32)>>>,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line::new(span.metadata());
        write!(line.0, " span {}", span.metadata().name()).unwrap();
        span.record(&mut line);
        let mut spans = self.spans.lock().unwrap();
        spans.push((line.0, 0));
        Id::from_u64(spans.len() as u64)
    }
    fn record(&self, id: &Id, values: &Record<'_>) {
        self.with(id, |(line, _)| {
            let mut noted = Line(std::mem::take(line));
            values.record(&mut noted);
            *line = noted.0;
        });
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line::new(event.metadata());
        event.record(&mut line);
        self.tell(&line.0);
    }
    fn enter(&self, id: &Id) {
        self.with(id, |(_, entered)| *entered += 1);
    }
    fn exit(&self, _: &Id) {}
    fn try_close(&self, id: Id) -> bool {
        let ended = self.with(&id, |(line, entered)| format!("{line} entered={entered}"));
        self.tell(&ended);
        true
    }
}

impl Lines {
    fn new(most: Level) -> Lines {
        Lines { most, told: Arc::default(), spans: Arc::default() }
    }

    fn with<T>(&self, id: &Id, of: impl FnOnce(&mut (String, u32)) -> T) -> T {
        of(&mut self.spans.lock().unwrap()[id.into_u64() as usize - 1])
    }

    fn tell(&self, line: &str) {
        let mut told = self.told.lock().unwrap();
        told.push_str(line);
        told.push('\n');
    }

    /// What spans of the store there were, by name, in the order they ended, with their level and fields.
    fn spans_of(&self, name: &str) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let spans = told.lines().filter_map(|line| line.strip_prefix("claimstore "));
        let of = spans.filter(|line| line.split(' ').skip(1).take(2).eq(["span", name]));
        of.map(str::to_owned).collect()
    }
}

struct Line(String);

impl Line {
    fn new(metadata: &Metadata<'_>) -> Line {
        Line(format!("{} {}", metadata.target(), metadata.level()))
    }
}

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

/// Work that fails in every way, in a store of its own. One key is parked by a claim, which nobody settled.
fn fail_some() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let store = Rig::default().open(rig::quiet(&clock));
    let policy = Policy::daily().max_losses(1).metrics_name("once");
    let once = store.namespace_with("canary-once", policy).unwrap();
    drop(claimed(once.claim_default("canary-lost")));
    for _ in 0..2 {
        assert_eq!(once.claim_default("canary-lost").unwrap_err().kind(), ErrorKind::Parked);
    }
    claimed(once.claim_default("canary-final")).fail(Failure::terminal("canary-response")).unwrap();
    claimed(once.claim_default("canary-released")).release().unwrap();
    claimed(store.claim("canary-again", DAY)).fail(Failure::retry()).unwrap();
    store.close().unwrap();
}

/// Each failure and each key that is parked is told once.
fn check_failures(lines: &str) {
    let events = lines.lines().filter(|line| line.contains(" how=\"") && line.contains("policy="));
    let mut told = std::collections::BTreeMap::<String, usize>::new();
    for event in events {
        let field = |name: &str| event.split(' ').find_map(|word| word.strip_prefix(name)).unwrap();
        assert_eq!(field("times="), "1", "{event}");
        *told.entry(format!("{} {}", field("how="), field("policy="))).or_default() += 1;
    }
    let told: Vec<_> = told.iter().map(|(what, times)| (what.as_str(), *times)).collect();
    let expected = [
        ("\"final\" \"once\"", 1),
        ("\"parked\" \"\"", 4),
        ("\"parked\" \"once\"", 1),
        ("\"retry\" \"\"", 2),
    ];
    assert_eq!(told, expected, "{lines}");
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

fn check_spans(all: &Lines) {
    let mut missing = Vec::new();
    for (name, expected) in [
        ("open", "INFO span open life=1 entered=1"),
        ("recovery", "INFO span recovery runs=2 replayed_batches="),
        ("close", "INFO span close life=1 entered=1"),
        ("checkpoint", "DEBUG span checkpoint rows=3 entered=1"),
        ("merge", "DEBUG span merge runs=4 done=true entered=1"),
        ("prune", "DEBUG span prune runs=1 records=1"),
        ("compact", "INFO span compact slices=1 entered=1"),
        ("backup", "INFO span backup with_key=false runs="),
        ("verify", "INFO span verify runs=2 rows="),
        ("claim", "TRACE span claim outcome=\"claimed\" entered=1"),
        ("claim", "TRACE span claim outcome=\"duplicate\" entered=1"),
        ("claim", "TRACE span claim error=PayloadMismatch entered=1"),
        ("claim_many", "TRACE span claim_many items=2 entered=1"),
        ("settle", "TRACE span settle how=\"complete\" entered=1"),
        ("settle", "TRACE span settle how=\"park\" entered=1"),
        ("complete_many", "TRACE span complete_many items=2 entered=1"),
        ("close", "INFO span close life=1 error=Poisoned entered=1"),
    ] {
        let spans = all.spans_of(name);
        if !spans.iter().any(|span| span.starts_with(expected)) {
            missing.push(format!("{expected} is not in {spans:#?}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Where nobody asks for `TRACE`, claims and settlements make no span.
#[test]
fn claims_are_spans_for_who_asks_for_all() {
    let most = Lines::new(Level::DEBUG);
    tracing::subscriber::with_default(most.clone(), || {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let store = Rig::default().open(rig::quiet(&clock));
        claimed(store.claim("canary-key", DAY)).complete("").unwrap();
        store.close().unwrap();
    });
    assert_eq!((most.spans_of("claim").len(), most.spans_of("settle").len()), (0, 0));
    assert_eq!((most.spans_of("open").len(), most.spans_of("checkpoint").len()), (1, 1));
    assert!(!most.told.lock().unwrap().contains("canary"));
}

#[test]
fn p18_the_life_of_a_store_is_told_and_nothing_telltale_with_it() {
    let all = Lines::new(Level::TRACE);
    tracing::subscriber::set_global_default(all.clone()).unwrap();
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
    store.verify().unwrap();
    store.backup(dir.path().join("canary-backup")).unwrap();
    let batch = [ClaimRequest::new("canary-3"), ClaimRequest::new("canary-4")];
    let claims = store.claim_many(&batch).unwrap().into_iter().map(claimed);
    store.complete_many(claims.map(|lease| (lease, b"canary-response".to_vec())).collect()).unwrap();
    clock.advance(20 * DAY);
    store.prune().unwrap();
    drop(tenant);
    store.close().unwrap();
    open(true).close().unwrap();
    fail_some();
    poison_one();
    check_spans(&all);
    let lines = all.told.lock().unwrap();
    let told = ["store opened", "store closed", "checkpoint", "merge", "prune"];
    for told in told.iter().chain(&["the journal failed", "upkeep failed"]) {
        assert!(lines.contains(told), "{told} is not told: {lines}");
    }
    // redb, beneath, may tell of itself.
    assert!(lines.lines().any(|line| line.starts_with("claimstore ")), "{lines}");
    assert!(!lines.contains("canary"), "{lines}");
    check_failures(&lines);
}
