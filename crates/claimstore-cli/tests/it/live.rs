//! Looking at a store that a program has open: through the socket it serves, as at a closed one; and without one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use claimstore::{ClaimRequest, Failure, Policy, Store};
use claimstore_admin::ServeAdmin as _;
use serde_json::Value;

use crate::sandbox::{Sandbox, key, payload, run};

const DAY: Duration = Duration::from_secs(86_400);

/// Every question, with the least it needs.
const QUESTIONS: [&str; 11] = [
    "stats",
    "list",
    "get canary-key-done --namespace shop",
    "explain canary-key-parked --namespace shop",
    "stuck --older-than 0s",
    "orphans",
    "parked",
    "policy",
    "policy --namespace shop",
    "prune --dry-run",
    "top --once",
];

fn served() -> (Sandbox, Store) {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    drop(store.serve_admin().unwrap());
    (sandbox, store)
}

/// What is the same whenever it is asked.
fn lasting(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        for name in [
            "life",
            "store_time_ms",
            "clock_offset_ms",
            "live",
            "live_bytes",
            "run_bytes",
            "runs",
            "run_rows",
        ] {
            object.remove(name);
        }
        object.remove("index_bytes");
    }
    value
}

/// Ages are of whole seconds and more; the rest of a line stays.
fn without_ages(text: &str) -> Vec<String> {
    let is_age =
        |word: &str| word.ends_with(['s', 'm']) && word.starts_with(|digit: char| digit.is_ascii_digit());
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| word.trim_matches(['(', ')']));
        words.filter(|word| !is_age(word)).collect::<Vec<_>>().join(" ")
    };
    text.lines().filter(|line| !line.starts_with("store time")).map(line).collect()
}

#[test]
fn a_live_store_answers_as_a_closed_one_does() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let commands: Vec<String> = QUESTIONS
        .iter()
        .filter(|words| !words.starts_with("top") && !words.starts_with("stats"))
        .flat_map(|words| [(*words).to_owned(), format!("{words} --json")])
        .chain(
            ["list --show-keys --show-payload --json", "list --show-keys", "list --limit 2 --json"]
                .map(Into::into),
        )
        .chain([format!("get {} --namespace shop --show-keys --show-payload", key("orphan"))])
        .collect();
    let ask = |words: &String| {
        let ran = sandbox.run(words);
        assert_eq!(ran.code, 0, "{words}: {}", ran.err);
        String::from_utf8(ran.out).unwrap()
    };
    let closed: Vec<String> = commands.iter().map(ask).collect();
    let store = sandbox.open();
    drop(store.serve_admin().unwrap());
    for (words, closed) in commands.iter().zip(closed) {
        let live = ask(words);
        if words.ends_with("--json") {
            let read = |text: &str| lasting(serde_json::from_str(text).unwrap());
            assert_eq!(read(&live), read(&closed), "{words}");
        } else {
            assert_eq!(without_ages(&live), without_ages(&closed), "{words}");
        }
    }
    store.verify().unwrap();
    store.close().unwrap();
}

/// The lease was dropped in the program that has the store open: nobody has counted that yet, and the next lease is in doubt.
#[test]
fn an_orphan_of_a_live_store_is_in_doubt() {
    let (sandbox, store) = served();
    drop(store.namespace("shop").unwrap().claim(key("dropped"), DAY).unwrap().claimed().unwrap());
    let explained = sandbox.explain("dropped");
    assert_eq!((&explained["state"], &explained["in_doubt"]), (&"orphaned".into(), &false.into()));
    let expected = serde_json::json!({ "failures": 0, "losses": 1, "interrupted": 1, "in_doubt": true });
    assert_eq!(explained["once_ended"], expected);
    let ran = sandbox.run(&format!("explain {} --namespace shop", key("dropped")));
    let text = String::from_utf8(ran.out).unwrap();
    assert!(text.contains("in doubt   yes (this attempt)\n") && text.contains("\nWarning: "), "{text}");
    let lease = store.namespace("shop").unwrap().claim(key("dropped"), DAY).unwrap().claimed().unwrap();
    assert!(lease.in_doubt());
    lease.complete("").unwrap();
    store.close().unwrap();
}

#[test]
fn numbers_of_a_live_store_tell_what_it_is_doing() {
    let (sandbox, store) = served();
    let closed = lasting(sandbox.json("stats"));
    assert_eq!(closed["completed"], 1);
    let lease = store.claim("canary-key-more", DAY).unwrap().claimed().unwrap();
    lease.complete("").unwrap();
    for _ in 0..30 {
        assert!(store.claim("canary-key-more", DAY).unwrap().claimed().is_none());
    }
    let numbers = sandbox.json("stats");
    assert_eq!(sandbox.json("explain canary-key-more")["replays"], 30);
    assert_eq!(numbers["completed"], 2);
    assert_eq!(numbers["live"]["outcomes"][0]["duplicates"], 30);
    assert_eq!(numbers["live"]["duplicate_ttl_percent"]["p99"], 0);
    let text = String::from_utf8(sandbox.run("stats").out).unwrap();
    assert!(text.contains("since it was opened:") && text.contains("duplicates come half within"), "{text}");
    store.close().unwrap();
    assert_eq!(sandbox.json("stats")["live"], Value::Null);
}

#[test]
fn upkeep_can_be_asked_for_and_changes_cannot() {
    let (sandbox, store) = served();
    store.claim("k", DAY).unwrap().claimed().unwrap().complete("").unwrap();
    let before = store.stats().unwrap().checkpoints;
    assert!(sandbox.json("checkpoint")["run_rows"].as_u64() > Some(0));
    assert_eq!(store.stats().unwrap().checkpoints, before + 1);
    assert_eq!(sandbox.json("prune")["dry_run"], false);
    let records = lasting(sandbox.json("list"));
    let copy = format!("backup {}", sandbox.path("copy").display());
    for words in [
        "verify",
        "compact",
        &copy,
        "policy --namespace shop --ttl 2d",
        "policy --namespace new --create",
        "release canary-key-orphan --namespace shop --yes",
        "complete canary-key-parked --namespace shop --yes",
        "fail canary-key-parked --namespace shop --yes",
        "requeue canary-key-parked --namespace shop --yes",
        "forget canary-key-done --namespace shop --yes",
        "export",
        "import",
        "clock",
        "clock --accept",
        "dedupe --whole-record --format ndjson",
    ] {
        let ran = sandbox.run(&format!("{words} --wait 0s"));
        assert_eq!((ran.code, ran.out.len()), (75, 0), "{words}: {}", ran.err);
    }
    let words = "exec --key k --namespace new --lock-wait 0s";
    let ran = run(sandbox.command(words).args(["--", "echo", "run"]));
    assert_eq!((ran.code, ran.out.len()), (75, 0), "{}", ran.err);
    assert!(!sandbox.path("copy").exists() && store.namespaces().len() == 2);
    assert_eq!(lasting(sandbox.json("list")), records);
    store.close().unwrap();
}

/// Whoever restores over it is told what is there, not that it is busy: waiting would not help.
#[test]
fn a_live_store_is_neither_restored_over_nor_restored_from() {
    let (sandbox, store) = served();
    let (copy, place) = (sandbox.path("copy"), sandbox.path("place"));
    store.backup(&copy).unwrap();
    let records = lasting(sandbox.json("list"));
    for (from, to, code, said) in [
        (&copy, &sandbox.store(), 73, "is not empty"),
        (&sandbox.store(), &place, 75, "is open elsewhere"),
        (&sandbox.store(), &sandbox.store(), 73, "is not empty"),
    ] {
        let ran = sandbox.run_at(&format!("restore {} --wait 0s", from.display()), to);
        assert_eq!((ran.code, ran.out.len()), (code, 0), "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
    assert!(!place.exists());
    assert_eq!(lasting(sandbox.json("list")), records);
    store.close().unwrap();
}

#[test]
fn without_a_socket_it_is_said_so() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    for stale in [false, true] {
        if stale {
            drop(UnixListener::bind(sandbox.store().join("admin.sock")).unwrap());
        }
        for words in QUESTIONS.iter().chain(&["checkpoint", "prune"]) {
            let ran = sandbox.run(&format!("{words} --wait 0s"));
            assert_eq!((ran.code, ran.out.len()), (75, 0), "{words}: {}", ran.err);
            assert!(ran.err.contains("serves no socket"), "{words}: {}", ran.err);
        }
    }
    store.close().unwrap();
    assert_eq!(sandbox.run("list").code, 0, "what a crash left is no obstacle");
    fs::remove_file(sandbox.store().join("admin.sock")).unwrap();
}

#[test]
fn bad_questions_are_answered_as_for_a_closed_store() {
    let (sandbox, store) = served();
    for (words, code, said) in [
        ("get nothing --namespace shop", 1, "no key"),
        ("explain canary-key-done", 1, "no key"),
        ("get canary-key-done --namespace nowhere", 1, "no namespace `nowhere`"),
        ("list --namespace nowhere", 1, "no namespace `nowhere`"),
        ("orphans --namespace nowhere", 1, "no namespace `nowhere`"),
        ("policy --namespace nowhere", 1, "no namespace `nowhere`"),
        ("get abc --hex", 64, "hex digits"),
    ] {
        let ran = sandbox.run(words);
        assert_eq!((ran.code, ran.out.len()), (code, 0), "{words}: {}", ran.err);
        assert!(ran.err.contains(said) && !ran.err.contains("canary"), "{words}: {}", ran.err);
    }
    let long = sandbox.run(&format!("get {}", "k".repeat(1_025)));
    assert_eq!(long.code, 64, "{}", long.err);
    store.close().unwrap();
}

#[test]
fn pages_of_a_live_store_hold_every_record_once() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let requests: Vec<_> = (0..2_500).map(|n| ClaimRequest::new(format!("k{n:05}")).ttl(DAY)).collect();
    let leases = store.claim_many(&requests).unwrap();
    let leases = leases.into_iter().map(|claim| (claim.unwrap().claimed().unwrap(), Vec::new()));
    store.complete_many(leases.collect()).unwrap().into_iter().for_each(Result::unwrap);
    drop(store.serve_admin().unwrap());
    let page = sandbox.json("list --show-keys --limit 2400");
    let keys = |page: &Value| -> BTreeSet<String> {
        let records = page["records"].as_array().unwrap().iter();
        records.map(|record| record["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&page).len(), 2_400, "of several answers");
    let rest = sandbox.json(&format!("list --show-keys --after {}", page["next"].as_str().unwrap()));
    assert_eq!((keys(&rest).len(), &rest["next"]), (100, &Value::Null));
    assert!(keys(&rest).is_disjoint(&keys(&page)));
    store.close().unwrap();
}

/// P18.
#[test]
fn nothing_telltale_comes_through_the_socket_unless_asked() {
    let (sandbox, store) = served();
    let policy = Policy::daily().metrics_name("orders");
    let space = store.namespace_with("shop", policy).unwrap();
    let held = space.claim_default(key("more")).unwrap().claimed().unwrap();
    space.claim_default(key("parked")).unwrap_err();
    held.fail(Failure::park(payload("note"))).unwrap();
    for words in QUESTIONS {
        for suffix in ["", " --json"] {
            let ran = sandbox.run(&format!("{words}{suffix}"));
            let out = String::from_utf8(ran.out).unwrap();
            assert_eq!(ran.code, 0, "{words}: {}", ran.err);
            assert!(!out.contains("canary") && !ran.err.contains("canary"), "{words}: {out}{}", ran.err);
        }
    }
    let shown = String::from_utf8(sandbox.run("list --show-keys").out).unwrap();
    assert!(shown.contains("canary-key-more") && !shown.contains("canary-payload"));
    let shown = String::from_utf8(sandbox.run("list --show-payload --json").out).unwrap();
    assert!(shown.contains("canary-payload-note") && !shown.contains("canary-key"));
    store.close().unwrap();
}
