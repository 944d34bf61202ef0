//! `list`, `get`, `explain`, `stuck`, `orphans`, `parked`: what they show, and of what.

use std::collections::BTreeSet;
use std::time::Duration;

use claimstore::{ClaimRequest, Policy, TimeOrdered};
use claimstore_admin::ServeAdmin as _;
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, key, payload};

fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.fill();
    sandbox
}

/// The keys of a listing, without what is the same in all of them.
fn keys(listing: &Value) -> BTreeSet<String> {
    let records = listing["records"].as_array().unwrap().iter();
    records.map(|record| record["key"].as_str().unwrap().replace("canary-key-", "")).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn list_filters() {
    let sandbox = filled();
    for (words, names) in [
        ("", &["done", "failed", "retry", "parked", "orphan", "held"][..]),
        (" --state completed --state failed", &["done", "failed"]),
        (" --state in-progress", &["held"]),
        (" --state orphaned", &["orphan"]),
        (" --state retry", &["retry"]),
        (" --prefix canary-key-p", &["parked"]),
        (" --namespace shop --state parked", &["parked"]),
        (" --older-than 1h", &[]),
        (" --newer-than 1h --state parked", &["parked"]),
    ] {
        let listing = sandbox.json(&format!("list --show-keys{words}"));
        assert_eq!(keys(&listing), set(names), "{words}");
        assert_eq!(listing["next"], Value::Null);
    }
}

#[test]
fn pages_hold_every_record_once_in_order_of_their_claims() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    for number in 0..50 {
        let lease = store.claim(format!("k{number:02}"), std::time::Duration::from_secs(60)).unwrap();
        lease.claimed().unwrap().complete("").unwrap();
    }
    store.close().unwrap();
    let (mut seen, mut times, mut after) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = sandbox.json(&format!("list --show-keys --limit 7{after}"));
        for record in page["records"].as_array().unwrap() {
            seen.push(record["key"].as_str().unwrap().to_owned());
            times.push(record["claimed_at_ms"].as_u64().unwrap());
        }
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(page["records"].as_array().unwrap().len(), 7);
        after = format!(" --after {next}");
    }
    assert!(times.is_sorted());
    seen.sort();
    assert_eq!(seen, (0..50).map(|number| format!("k{number:02}")).collect::<Vec<_>>());
}

#[test]
fn orphans_stuck_and_parked_keys_are_found() {
    let sandbox = filled();
    let orphans = sandbox.json("orphans --show-keys");
    assert_eq!(keys(&orphans), set(&["orphan"]));
    assert_eq!(orphans["records"][0]["orphaned"], "abandoned");
    assert_eq!(keys(&sandbox.json("parked --show-keys")), set(&["parked"]));
    assert_eq!(keys(&sandbox.json("stuck --show-keys --older-than 0s")), set(&["orphan", "held"]));
    assert_eq!(keys(&sandbox.json("stuck --show-keys")), set(&[]));
    let orphans = sandbox.run("orphans");
    let text = String::from_utf8(orphans.out).unwrap();
    assert!(text.starts_with("AGE ") && text.contains("orphaned (abandoned)  1"), "{text}");
}

/// Scripts rely on these.
#[test]
fn the_names_stay() {
    let sandbox = filled();
    let record = sandbox.json(&format!("get {} --namespace shop", key("retry")));
    let names: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names.join(" "),
        "asked asked_at_ms attempt attempts_granted claimed_at_ms detached_until_ms expires_at_ms failures has_fingerprint \
         in_doubt interrupted key_bytes key_hash losses losses_granted mismatches namespace note_bytes origin_bytes orphaned progress_bytes replays response_bytes retry_at_ms \
         settled_at_ms state token work_token"
    );
    let explained = sandbox.json(&format!("explain {} --namespace shop", key("retry")));
    let names: Vec<_> = explained["history"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names.join(" "), "at_ms attempt by claimed_at_ms note_bytes orphaned token what");
}

#[test]
fn get_shows_a_key_by_its_hash_and_its_payload_when_asked() {
    let sandbox = filled();
    let words = format!("get {} --namespace shop", key("done"));
    let record = sandbox.json(&words);
    assert_eq!(record["state"], "completed");
    assert_eq!(record["key_bytes"], key("done").len());
    assert_eq!(record["response_bytes"], payload("response").len());
    let record = sandbox.json(&format!("{words} --show-keys --show-payload"));
    assert_eq!((&record["key"], &record["response"]), (&key("done").into(), &payload("response").into()));
    let text = String::from_utf8(sandbox.run(&format!("{words} --show-keys")).out).unwrap();
    assert!(text.contains(&key("done")) && !text.contains("canary-payload"), "{text}");
}

/// Of a closed store and of a live one.
#[test]
fn a_key_of_another_namespace_is_pointed_at() {
    let sandbox = filled();
    let store = sandbox.open();
    let other = store.namespace("prod/\u{1b}other").unwrap();
    store.namespace_with("ordered", Policy::new().time_ordered_keys(TimeOrdered::UuidV7)).unwrap();
    for (namespace, name) in [(&store.namespace("shop").unwrap(), "both"), (&other, "both")] {
        namespace
            .claim(key(name), Duration::from_secs(3_600))
            .unwrap()
            .claimed()
            .unwrap()
            .complete("")
            .unwrap();
    }
    drop(other);
    let ask = |is: &str| {
        for verb in ["get", "explain"] {
            for (words, said, elsewhere) in [
                (key("done"), "; there is one in namespace `shop`: pass `--namespace shop`", &["shop"][..]),
                (
                    key("both"),
                    "; namespaces `prod/\\u{1b}other`, `shop` have one",
                    &["prod/\u{1b}other", "shop"],
                ),
                (key("none"), "in this namespace\n", &[]),
                (format!("{} --namespace prod/other", key("done")), "no namespace", &[]),
            ] {
                let ran = sandbox.run(&format!("{verb} {words}"));
                assert_eq!((ran.code, ran.out.len()), (1, 0), "{is}: {verb} {words}: {}", ran.err);
                assert!(ran.err.contains(said) && !ran.err.contains("canary"), "{is}: {}", ran.err);
                let ran = sandbox.run(&format!("{verb} {words} --json"));
                assert!(ran.code == 1 && ran.err.contains(said), "{is}: {}", ran.err);
                if elsewhere.is_empty() {
                    assert!(ran.out.is_empty(), "{is}");
                } else {
                    let told: Value = serde_json::from_slice(&ran.out).unwrap();
                    assert_eq!(told, json!({ "found": false, "elsewhere": elsewhere }), "{is}");
                }
            }
        }
    };
    drop(store.serve_admin().unwrap());
    ask("live");
    store.close().unwrap();
    ask("closed");
}

#[test]
fn a_key_of_any_bytes_can_be_named_in_hex() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let lease = store.claim(b"\x00\xff", std::time::Duration::from_secs(60)).unwrap().claimed().unwrap();
    lease.complete(b"\x1b[2J").unwrap();
    store.close().unwrap();
    let record = sandbox.json("get 00ff --hex --show-keys --show-payload");
    assert_eq!((&record["key_hex"], &record["response"]), (&"00ff".into(), &"\u{1b}[2J".into()));
    let text = sandbox.run("get 00ff --hex --show-keys --show-payload").out;
    assert!(!text.contains(&0x1b), "a terminal is not told to do anything");
}

#[test]
fn explain_tells_how_often_a_key_came_again() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let request =
        |print| ClaimRequest::new(key("again")).ttl(Duration::from_secs(3_600)).fingerprint([print; 32]);
    store.claim_with(&request(1)).unwrap().claimed().unwrap().complete(payload("response")).unwrap();
    for _ in 0..3 {
        assert!(store.claim_with(&request(1)).unwrap().claimed().is_none());
    }
    assert!(store.claim_with(&request(2)).is_err());
    store.close().unwrap();
    for verb in ["get", "explain"] {
        let words = format!("{verb} {}", key("again"));
        let shown = sandbox.json(&words);
        assert_eq!((&shown["replays"], &shown["mismatches"]), (&3.into(), &1.into()), "{verb}");
        let text = String::from_utf8(sandbox.run(&words).out).unwrap();
        assert!(text.contains("\nreplays    3\nmismatches 1\n"), "{text}");
    }
}

#[test]
fn explain_tells_the_history() {
    let sandbox = filled();
    let explained = sandbox.explain("retry");
    let history = explained["history"].as_array().unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!((&history[0]["what"], &history[0]["note"]), (&"failed".into(), &payload("error").into()));
    let words = format!("explain {} --namespace shop", key("retry"));
    let text = String::from_utf8(sandbox.run(&words).out).unwrap();
    assert!(
        text.contains("history, oldest first:") && text.contains("attempt 1  failed  note 20 B"),
        "{text}"
    );
}

#[test]
fn looking_changes_nothing() {
    let sandbox = filled();
    let before = sandbox.json("list");
    for words in ["stuck", "orphans", "parked", "policy", "prune --dry-run", "verify", "stats"] {
        assert_eq!(sandbox.run(words).code, 0, "{words}");
    }
    assert_eq!(sandbox.json("list"), before);
}

#[test]
fn tables_fit_eighty_columns() {
    let sandbox = filled();
    for words in ["list", "stuck --older-than 0s", "orphans", "parked", "policy"] {
        let text = String::from_utf8(sandbox.run(words).out).unwrap();
        assert!(text.lines().count() > 1, "{words}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{words}: {text}");
    }
}
