//! Deciding about a store that a program has open and lets be decided about: as about a closed one. And programs that
//! do not allow it, or are of another version.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;

use claimstore::Store;
use claimstore_admin::ServeAdmin as _;
use serde_json::Value;

use crate::sandbox::{Sandbox, key, open, payload};

const SAID: &str = "--namespace shop --yes --by ada --why checked-by-hand";

/// A store with a key in each state, open in this process, which allows decisions.
fn allowing() -> (Sandbox, Store) {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    drop(store.serve_admin().unwrap().allow_decisions());
    (sandbox, store)
}

/// What is the same of a key whenever it was made: no times and no tokens.
fn lasting(sandbox: &Sandbox, name: &str) -> Option<Value> {
    let ran = sandbox.run(&format!("explain {} --namespace shop --show-payload --json", key(name)));
    if ran.code != 0 {
        return None;
    }
    let mut record: Value = serde_json::from_slice(&ran.out).unwrap();
    let is_fleeting = |member: &str| member.ends_with("_ms") || member.ends_with("token");
    let keep = |value: &mut Value| {
        let members = value.as_object_mut().unwrap();
        // In words, the time and the place stand in these too.
        members.retain(|member, _| !is_fleeting(member) && member != "meaning" && member != "next");
    };
    record["history"].as_array_mut().unwrap().iter_mut().for_each(keep);
    keep(&mut record);
    Some(record)
}

#[test]
fn decisions_about_a_live_store_are_those_about_a_closed_one() {
    for words in [
        "release canary-key-orphan",
        "release canary-key-parked",
        "complete canary-key-parked --response canary-payload-new",
        "complete canary-key-orphan --response canary-payload-new --json",
        "fail canary-key-orphan",
        "fail canary-key-held",
        "requeue canary-key-parked --json",
        "requeue canary-key-nothing",
        "forget canary-key-done",
        "forget canary-key-held",
        "forget canary-key-held --force",
        "requeue canary-key-parked canary-key-done canary-key-nothing --json",
        "complete canary-key-parked canary-key-orphan canary-key-held",
        "forget --all --state retry --state failed",
    ] {
        let closed = Sandbox::new();
        closed.fill();
        let (live, store) = allowing();
        let (one, other) =
            (closed.run(&format!("{words} {SAID}")), live.run(&format!("{words} {SAID} --wait 0s")));
        // Which of two claims of a millisecond comes first is another matter in each store.
        let said = |out: Vec<u8>| -> BTreeSet<String> {
            String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
        };
        assert_eq!((one.code, said(one.out), one.err), (other.code, said(other.out), other.err), "{words}");
        for name in ["done", "failed", "retry", "parked", "orphan", "held"] {
            assert_eq!(lasting(&live, name), lasting(&closed, name), "{words}: {name}");
        }
        store.verify().unwrap();
        store.close().unwrap();
    }
}

#[test]
fn who_and_why_stand_in_the_history_of_a_live_store() {
    let (sandbox, store) = allowing();
    assert_eq!(sandbox.run(&format!("release {} {SAID}", key("orphan"))).code, 0);
    let history = sandbox.explain("orphan")["history"].clone();
    let last = history.as_array().unwrap().last().unwrap();
    assert_eq!((&last["by"], &last["note"]), (&"ada".into(), &"checked-by-hand".into()));
    let lease = store.namespace("shop").unwrap().claim_default(key("orphan")).unwrap().claimed().unwrap();
    assert_eq!(lease.attempt(), 2, "the program may go on with it at once");
    lease.complete(payload("r")).unwrap();
    store.close().unwrap();
}

#[test]
fn a_live_store_is_exported_and_backed_up_as_a_closed_one() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    // Keys and payloads that are no text, fingerprints with fields, and more than a page.
    let bytes = store.namespace("bytes").unwrap();
    let day = std::time::Duration::from_secs(86_400);
    for number in 0..1_100_u32 {
        let name = [&b"\xff\x00"[..], &number.to_be_bytes()].concat();
        let request = claimstore::ClaimRequest::new(name).ttl(day).fingerprint([7; 32]).origin(b"\x80");
        let lease = bytes.claim_with(&request).unwrap().claimed().unwrap();
        lease.complete([&b"\xfe"[..], &number.to_be_bytes()].concat()).unwrap();
    }
    store.close().unwrap();
    let export = |words: &str| {
        let ran = sandbox.run(words);
        assert_eq!(ran.code, 0, "{words}: {}", ran.err);
        let out = String::from_utf8(ran.out).unwrap();
        let last = out.lines().last().unwrap().to_owned();
        (out.lines().map(str::to_owned).collect::<BTreeSet<_>>(), out.lines().count(), last)
    };
    let closed = [export("export"), export("export --namespace shop")];
    let store = sandbox.open();
    drop(store.serve_admin().unwrap().allow_decisions());
    let live = [export("export --wait 0s"), export("export --namespace shop --wait 0s")];
    assert_eq!(live, closed);
    assert_eq!(closed[0].2, "{\"kind\":\"end\",\"records\":1106}");
    // A path is taken from where the command runs.
    let mut command = sandbox.command("backup copy --json --wait 0s");
    let ran = crate::sandbox::run(command.current_dir(sandbox.path("")));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let said: Value = serde_json::from_slice(&ran.out).unwrap();
    assert!(said["rows"].as_u64() >= Some(1_106) && said["with_key"] == false, "{said}");
    assert_eq!(sandbox.run_at("verify", &sandbox.path("copy")).code, 0);
    let full = sandbox.run(&format!("backup {} --wait 0s", sandbox.path("copy").display()));
    assert!(full.code == 73 && full.err.contains("is not empty"), "{}", full.err);
    let copy = open(&sandbox.path("copy"));
    assert_eq!(copy.parked().count(), 1);
    copy.close().unwrap();
    let nowhere = sandbox.run("export --namespace nowhere --wait 0s");
    assert_eq!((nowhere.code, nowhere.out.len()), (1, 0), "{}", nowhere.err);
    store.close().unwrap();
}

#[test]
fn policies_of_a_live_store_are_set() {
    let (sandbox, store) = allowing();
    let set = sandbox.json("policy --namespace shop --attempts 7 --quota none --wait 0s");
    assert_eq!(set["policies"][0]["max_attempts"], 7);
    assert_eq!(store.namespace("shop").unwrap().policy().attempts_allowed(), 7);
    let missing = sandbox.run("policy --namespace new --ttl 2d --wait 0s");
    assert_eq!(missing.code, 1, "{}", missing.err);
    for made in [true, false] {
        let said = sandbox.json("policy --namespace new --ttl 2d --if-absent --wait 0s");
        assert_eq!((&said["made"], &said["policies"][0]["ttl_ms"]), (&made.into(), &172_800_000.into()));
    }
    store.close().unwrap();
}

/// What needs a program's permission, each with the least it needs.
const NEEDING: [&str; 8] = [
    "release canary-key-orphan --namespace shop --yes",
    "requeue --all --yes",
    "complete canary-key-parked --namespace shop",
    "fail canary-key-parked --namespace shop --yes --json",
    "forget canary-key-done --namespace shop --yes",
    "policy --namespace shop --ttl 2d",
    "export",
    "backup COPY",
];

#[test]
fn without_permission_it_is_said_what_would_help() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    let check = |why: &str| {
        for words in NEEDING {
            let words = words.replace("COPY", sandbox.path("copy").to_str().unwrap());
            let ran = sandbox.run(&format!("{words} --wait 0s"));
            assert_eq!((ran.code, ran.out.len()), (75, 0), "{words}: {}", ran.err);
            assert!(ran.err.contains(why) && ran.err.contains("allow_decisions"), "{words}: {}", ran.err);
            assert!(!ran.err.contains("canary"), "{}", ran.err);
        }
        assert!(!sandbox.path("copy").exists());
    };
    check("serves no socket");
    let admin = store.serve_admin().unwrap();
    check("allows no decisions");
    admin.stop();
    let records = store.scan(claimstore::Filter::new()).count();
    assert_eq!(records, 6);
    store.close().unwrap();
}

/// A program that was built before there were decisions: it says of everything new that it cannot be asked.
#[test]
fn a_program_of_another_version_is_told_apart() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    let listener = UnixListener::bind(sandbox.store().join("admin.sock")).unwrap();
    let serve = move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|count| count > 0) {
                let kind = if line.contains("\"v\":1") { "usage" } else { "version" };
                let answer =
                    format!("{{\"answer\":\"refused\",\"kind\":\"{kind}\",\"message\":\"nothing\"}}\n");
                if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                    break;
                }
                line.clear();
            }
        }
    };
    drop(std::thread::Builder::new().spawn(serve).unwrap());
    for words in NEEDING {
        let words = words.replace("COPY", sandbox.path("copy").to_str().unwrap());
        let ran = sandbox.run(&format!("{words} --wait 0s"));
        assert_eq!((ran.code, ran.out.len()), (75, 0), "{words}: {}", ran.err);
        assert!(ran.err.contains("of another version"), "{words}: {}", ran.err);
    }
    store.close().unwrap();
    std::fs::remove_file(sandbox.store().join("admin.sock")).unwrap();
}
