//! Decisions about several keys, and about all that filters leave.

use std::time::Duration;

use claimstore::{ClaimRequest, Failure};
use serde_json::Value;

use crate::sandbox::{Ran, Sandbox, key};
use crate::terminal;

const HOUR: Duration = Duration::from_secs(3_600);

/// Parked keys `a-0000`.. and `b-0000`.., and as many orphans `o-0000`.., in the namespace `jobs`.
fn parked(count: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let jobs = store.namespace("jobs").unwrap();
    let claim = |prefix: &str| {
        let name = |number| ClaimRequest::new(format!("{prefix}-{number:04}")).ttl(HOUR);
        let requests: Vec<_> = (0..count).map(name).collect();
        let claims = jobs.claim_many(&requests).unwrap().into_iter();
        claims.map(|claim| claim.unwrap().claimed().unwrap()).collect::<Vec<_>>()
    };
    drop(claim("o"));
    let orphans: Vec<_> = store.unheld().map(|orphan| orphan.unwrap()).collect();
    assert_eq!(orphans.len(), count);
    for prefix in ["a", "b"] {
        drop(claim(prefix));
    }
    let parking = store.unheld().map(Result::unwrap).filter(|record| !record.key().starts_with(b"o"));
    let parking: Vec<_> = parking.map(|record| (record, Failure::park("note"))).collect();
    store.fail_orphans(&parking).unwrap().into_iter().for_each(Result::unwrap);
    store.close().unwrap();
    sandbox
}

fn states(sandbox: &Sandbox, prefix: &str, state: &str) -> usize {
    let words = format!("list --json --limit 100000 --prefix {prefix} --state {state}");
    let listed: Value = serde_json::from_slice(&sandbox.run(&words).out).unwrap();
    listed["records"].as_array().unwrap().len()
}

fn lines(ran: &Ran) -> Vec<Value> {
    let text = std::str::from_utf8(&ran.out).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn several_keys_get_a_verdict_each_and_the_largest_exit_code_of_all() {
    for (names, code, done) in [
        ("parked", 0, 1),
        ("parked nothing", 1, 1),
        ("done parked", 4, 1),
        ("nothing done parked", 4, 1),
        ("done nothing", 4, 0),
        ("orphan held parked nothing", 75, 2),
        ("held", 75, 0),
    ] {
        let sandbox = Sandbox::new();
        sandbox.fill();
        let keys: Vec<_> = names.split(' ').map(key).collect();
        let words = format!("complete {} --namespace shop --yes --json", keys.join(" "));
        let ran = sandbox.run(&words);
        assert_eq!(ran.code, code, "{names}: {}", ran.err);
        assert!(!ran.err.contains("canary"), "{}", ran.err);
        let said = lines(&ran);
        if keys.len() == 1 {
            // One key: one object where it was done, and the reason on standard error where it was not.
            assert_eq!((said.len(), ran.err.is_empty()), (done, done == 1), "{names}");
            continue;
        }
        assert_eq!(said.len(), keys.len() + 1, "{names}: {said:?}");
        let (summary, verdicts) = said.split_last().unwrap();
        assert_eq!(summary["summary"]["done"], done, "{names}");
        let refused: u64 = summary["summary"]["refused"]
            .as_object()
            .unwrap()
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum();
        assert_eq!(refused as usize, keys.len() - done, "{names}");
        for verdict in verdicts {
            assert_eq!(verdict["done"].is_null(), verdict["refused"].is_string(), "{verdict}");
            assert_eq!((&verdict["namespace"], verdict["key_bytes"].is_u64()), (&"shop".into(), true));
        }
    }
}

#[test]
fn a_key_is_also_named_by_its_hash_among_others() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let shown = sandbox.explain("parked");
    let short = format!("{}+{}B", shown["key_hash"].as_str().unwrap(), shown["key_bytes"]);
    let ran = sandbox.run(&format!("complete {short} {} --namespace shop --yes", key("orphan")));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.err, "2 keys completed\n");
    assert_eq!(sandbox.explain("parked")["state"], "completed");
}

#[test]
fn all_is_what_the_filters_leave_page_by_page() {
    let sandbox = parked(600);
    let ran = sandbox.run("requeue --all --namespace jobs --prefix a- --limit 7 --yes --json");
    let said = lines(&ran);
    assert_eq!((ran.code, said.len()), (0, 8), "{}", ran.err);
    assert_eq!(states(&sandbox, "a-", "retry"), 7);
    // More than a page of them.
    let ran = sandbox.run("requeue --all --older-than 0s --yes");
    assert_eq!((ran.code, ran.err.as_str()), (0, "1193 keys requeued\n"));
    assert_eq!(ran.out.split(|byte| *byte == b'\n').count() - 1, 1_193);
    assert!(
        std::str::from_utf8(&ran.out)
            .unwrap()
            .lines()
            .all(|line| line.ends_with("requeued in namespace jobs"))
    );
    assert_eq!((states(&sandbox, "", "retry"), states(&sandbox, "", "orphaned")), (1_200, 600));
    let ran = sandbox.run("complete --all --namespace jobs --state orphaned --yes");
    assert_eq!((ran.code, ran.err.as_str()), (0, "600 keys completed\n"));
    let ran = sandbox.run("release --all --yes");
    assert_eq!((ran.code, ran.err.as_str(), ran.out.len()), (0, "0 keys released\n", 0));
    let ran = sandbox.run("forget --all --newer-than 1h --state retry --yes");
    assert_eq!((ran.code, ran.err.as_str()), (0, "1200 keys forgotten\n"));
    assert_eq!(states(&sandbox, "", "completed"), 600);
}

#[test]
fn what_makes_no_sense_of_all_and_of_keys_is_usage() {
    let sandbox = parked(1);
    for words in [
        "requeue --yes",
        "requeue a-0000 --all --yes",
        "requeue a-0000 --prefix a --namespace jobs --yes",
        "requeue a-0000 --state parked --namespace jobs --yes",
        "requeue a-0000 --limit 3 --namespace jobs --yes",
        "requeue --all --limit 0 --yes",
        "requeue --all --hex --yes",
        "requeue --all --state completed --yes",
        "release --all --state parked --yes",
        "requeue --all",
        "requeue a-0000 b-0000 --namespace jobs",
    ] {
        let ran = sandbox.run(words);
        assert_eq!((ran.code, ran.out.len()), (64, 0), "{words}: {}", ran.err);
    }
    assert_eq!(sandbox.run("requeue --all --namespace nowhere --yes").code, 1);
    assert_eq!(states(&sandbox, "", "parked"), 2);
}

#[test]
fn many_keys_are_decided_about_when_their_number_is_typed() {
    let sandbox = parked(3);
    let ask = |words: &str, answer: &str| terminal::answer(sandbox.command(words), answer);
    for (words, question) in [
        (
            "requeue --all --namespace jobs",
            "requeue 6 keys in namespace jobs. Type how many these are, to do it: ",
        ),
        ("requeue --all --limit 4", "requeue 4 keys in all namespaces. Type"),
        ("forget a-0000 b-0000 --namespace jobs", "forget, so that its work may be done again, 2 keys. Type"),
    ] {
        for answer in ["y\n", "\n", "5\n", "66\n", "\u{4}"] {
            let ran = ask(words, answer);
            assert_eq!((ran.code, ran.out.len()), (64, 0), "{words} {answer:?}: {}", ran.err);
            assert!(ran.err.contains(question) && ran.err.contains("nothing was done"), "{}", ran.err);
        }
    }
    assert_eq!(states(&sandbox, "", "parked"), 6);
    // What cannot be decided about is said before the question, and is not in its number.
    let ran = ask("requeue a-0000 b-0000 o-0000 --namespace jobs", "2\n");
    assert!(ran.code == 4 && ran.err.contains("requeue 2 keys. Type"), "{}", ran.err);
    assert!(ran.err.contains("is orphaned, not parked"), "{}", ran.err);
    let ran = ask("requeue --all --limit 3 --namespace jobs", " 3 \n");
    assert!(ran.code == 0 && ran.err.ends_with("3 keys requeued\n"), "{}", ran.err);
    assert_eq!((states(&sandbox, "", "parked"), states(&sandbox, "", "retry")), (1, 5));
}

#[test]
fn one_key_is_no_several_keys_and_its_next_claim_comes_at_once() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let asked = sandbox.run("requeue --all --namespace shop");
    assert!(asked.code == 64 && asked.err.contains("requeue 1 key in namespace"), "{}", asked.err);
    let ran = sandbox.run("requeue --all --yes");
    assert_eq!((ran.code, ran.err.as_str()), (0, "1 key requeued\n"));
    for words in ["explain", "get"] {
        let ran = sandbox.run(&format!("{words} {} --namespace shop", key("parked")));
        let text = String::from_utf8(ran.out).unwrap();
        assert!(text.lines().any(|line| line == "retry at   at once"), "{text}");
        assert!(!text.contains("1970"), "{text}");
    }
    assert_eq!(sandbox.explain("parked")["retry_at_ms"], 0, "scripts have the number");
}
