//! `prune`, `checkpoint`, `compact`, `verify`.

use std::time::{Duration, SystemTime};

use claimstore::{ManualClock, Options};
use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const DAY: Duration = Duration::from_secs(86_400);

/// Ten keys that were to be remembered for a day, ten days ago.
fn with_expired_keys() -> Sandbox {
    let sandbox = Sandbox::new();
    let store = Options::new().clock(ManualClock::new(ten_days_ago())).open(sandbox.store()).unwrap();
    for number in 0..10 {
        store.claim(format!("k{number}"), DAY).unwrap().claimed().unwrap().complete("").unwrap();
    }
    store.close().unwrap();
    sandbox
}

#[expect(clippy::disallowed_methods, reason = "the command runs in real time")]
fn ten_days_ago() -> SystemTime {
    SystemTime::now() - 10 * DAY
}

fn counts(value: &Value) -> (u64, u64, bool) {
    let count = |name: &str| value[name].as_u64().unwrap();
    assert_eq!(count("bytes") > 0, count("runs") > 0);
    (count("records"), count("runs"), value["dry_run"].as_bool().unwrap())
}

#[test]
fn prune_drops_what_is_no_longer_remembered_and_a_dry_run_does_not() {
    let sandbox = with_expired_keys();
    assert_eq!(counts(&sandbox.json("prune --dry-run")), (10, 1, true));
    assert_eq!(counts(&sandbox.json("prune --dry-run")), (10, 1, true));
    assert_eq!(counts(&sandbox.json("prune")), (10, 1, false));
    assert_eq!(counts(&sandbox.json("prune")), (0, 0, false));
    let said = sandbox.run("prune --dry-run").out;
    assert_eq!(String::from_utf8(said).unwrap(), "would drop 0 records in 0 runs, 0 B\n");
}

#[test]
fn prune_leaves_what_is_remembered() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let before = sandbox.json("list");
    assert_eq!(counts(&sandbox.json("prune")), (0, 0, false));
    assert_eq!(sandbox.json("list"), before);
}

#[test]
fn checkpoint_and_compact_keep_every_record() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let before = sandbox.json("list");
    let runs = sandbox.json("checkpoint");
    assert!(
        runs["runs"].as_u64() > Some(0) && runs["run_rows"].as_u64() > Some(0) && runs["run_bytes"].is_u64()
    );
    let compacted = sandbox.json("compact");
    assert!(compacted["runs"].as_u64() <= compacted["runs_before"].as_u64());
    assert_eq!(sandbox.json("list"), before);
}

#[test]
fn compact_merges_runs() {
    let sandbox = Sandbox::new();
    for number in 0..8 {
        let store = sandbox.open();
        store.claim(format!("k{number}"), DAY).unwrap().claimed().unwrap().complete("").unwrap();
        store.close().unwrap();
    }
    let compacted = sandbox.json("compact");
    assert!(compacted["run_bytes"].as_u64() > Some(0), "{compacted}");
    assert_eq!(sandbox.json("list")["records"].as_array().unwrap().len(), 8);
}

#[test]
fn verify_counts_what_it_read() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let report = sandbox.json("verify");
    assert_eq!(report["table_rows"], json!(0));
    assert!(report["rows"].as_u64() >= Some(1) && report["runs"].as_u64() >= Some(1), "{report}");
    assert!(sandbox.run("verify").out.starts_with(b"in order: "));
}

/// Longer ago than a closed store believes the wall clock after a restart of the machine.
const LONG_AGO: Duration = Duration::from_secs(200 * 86_400);

#[test]
fn a_wall_clock_that_jumped_is_followed_once_it_is_accepted() {
    let sandbox = Sandbox::new();
    let clock = ManualClock::new(ten_days_ago() - LONG_AGO);
    let store = Options::new().clock(clock).open(sandbox.store()).unwrap();
    store.claim("k", 100 * DAY).unwrap().claimed().unwrap().complete("").unwrap();
    store.close().unwrap();
    let offset_days = |words: &str| sandbox.json(words)["clock_offset_ms"].as_i64().unwrap() / 86_400_000;
    assert_eq!((offset_days("clock"), offset_days("stats")), (210, 210));
    assert_eq!(sandbox.run("get k").code, 0, "not forgotten by a clock that may be wrong");
    let said = String::from_utf8(sandbox.run("clock").out).unwrap();
    assert!(said.starts_with("store time 20") && said.contains("the wall clock 210d"), "{said}");
    assert_eq!(offset_days("clock --accept"), 0);
    assert_eq!((offset_days("clock"), sandbox.run("get k").code), (0, 1));
}
