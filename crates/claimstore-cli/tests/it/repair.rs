//! `release`, `complete`, `fail`, `requeue`, `forget`: what they do, to what, and what stays of it.

use claimstore::{Claim, Receipt};

use crate::sandbox::{Sandbox, key, payload};
use crate::terminal;

const SAID: &str = "--yes --by ada --why checked-by-hand";
/// Each decision, with a key it can be made about.
const DECISIONS: [(&str, &str); 5] = [
    ("release", "orphan"),
    ("complete", "parked"),
    ("fail", "orphan"),
    ("requeue", "parked"),
    ("forget", "done"),
];

fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.fill();
    sandbox
}

fn decide(sandbox: &Sandbox, verb: &str, name: &str) -> i32 {
    let ran = sandbox.run(&format!("{verb} {} --namespace shop {SAID}", key(name)));
    assert_eq!(ran.code == 0, ran.err.is_empty(), "{verb} {name}: {}", ran.err);
    ran.code
}

/// What a program that claims the key is answered now.
fn claim(sandbox: &Sandbox, name: &str) -> Claim {
    let store = sandbox.open();
    let answer = store.namespace("shop").unwrap().claim_default(key(name)).unwrap();
    store.close().unwrap();
    answer
}

fn receipt(sandbox: &Sandbox, name: &str) -> Receipt {
    match claim(sandbox, name) {
        Claim::Duplicate(receipt) => receipt,
        other => panic!("{other:?}"),
    }
}

/// Who and why is the last entry of the history.
fn assert_remembered(sandbox: &Sandbox, name: &str, what: &str) {
    let explained = sandbox.explain(name);
    let last = explained["history"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["what"], &last["by"]), (&what.into(), &"ada".into()));
    assert_eq!(last["note"], "checked-by-hand");
}

#[test]
fn a_parked_or_orphaned_key_is_completed_with_a_response() {
    for name in ["parked", "orphan"] {
        let sandbox = filled();
        assert_eq!(decide(&sandbox, &format!("complete --response {}", payload("new")), name), 0);
        assert_remembered(&sandbox, name, "completed");
        let receipt = receipt(&sandbox, name);
        assert_eq!((receipt.response(), receipt.is_failure()), (payload("new").as_bytes(), false));
    }
}

#[test]
fn a_parked_or_orphaned_key_is_failed_for_good() {
    for name in ["parked", "orphan"] {
        let sandbox = filled();
        let file = sandbox.path("response");
        std::fs::write(&file, b"\x00\xff").unwrap();
        assert_eq!(decide(&sandbox, &format!("fail --response-file {}", file.display()), name), 0);
        assert_remembered(&sandbox, name, "failed-for-good");
        let receipt = receipt(&sandbox, name);
        assert_eq!((receipt.response(), receipt.is_failure()), (&b"\x00\xff"[..], true));
    }
}

#[test]
fn a_parked_key_is_requeued_and_an_orphan_released() {
    for (verb, name) in [("requeue", "parked"), ("release", "orphan")] {
        let sandbox = filled();
        assert_eq!(decide(&sandbox, verb, name), 0);
        assert_remembered(&sandbox, name, "requeued");
        let Claim::Claimed(lease) = claim(&sandbox, name) else { panic!("it may be claimed") };
        assert_eq!(lease.attempt(), 2, "the count goes on");
    }
}

#[test]
fn any_key_that_nobody_holds_is_forgotten() {
    for name in ["done", "failed", "retry", "parked", "orphan"] {
        let sandbox = filled();
        assert_eq!(decide(&sandbox, "forget", name), 0);
        assert_eq!(sandbox.run(&format!("get {} --namespace shop", key(name))).code, 1);
        assert!(matches!(claim(&sandbox, name), Claim::Claimed(lease) if lease.attempt() == 1));
    }
}

#[test]
fn what_a_holder_is_trusted_with_is_not_taken_from_it() {
    let sandbox = filled();
    for verb in ["release", "complete", "fail", "forget"] {
        assert_eq!(decide(&sandbox, verb, "held"), 75, "{verb}");
        assert_eq!(sandbox.explain("held")["state"], "in-progress", "{verb}");
    }
    assert_eq!(decide(&sandbox, "requeue", "held"), 4);
    assert_eq!(decide(&sandbox, "forget --force", "held"), 0);
    assert!(matches!(claim(&sandbox, "held"), Claim::Claimed(_)));
}

#[test]
fn a_key_in_another_state_is_left_as_it_is() {
    let sandbox = filled();
    let before = sandbox.json("list");
    for verb in ["release", "requeue", "complete", "fail"] {
        for name in ["done", "failed", "retry"] {
            assert_eq!(decide(&sandbox, verb, name), 4, "{verb} {name}");
        }
    }
    assert_eq!(decide(&sandbox, "release", "parked"), 4);
    assert_eq!(decide(&sandbox, "requeue", "orphan"), 4);
    assert_eq!(sandbox.json("list"), before);
}

#[test]
fn without_a_yes_and_nobody_to_ask_nothing_is_done() {
    let sandbox = filled();
    let before = sandbox.json("list");
    for (verb, name) in DECISIONS {
        let ran = sandbox.run(&format!("{verb} {} --namespace shop", key(name)));
        assert_eq!((ran.code, ran.out.len()), (64, 0), "{verb}");
        assert!(ran.err.contains("--yes"), "{}", ran.err);
    }
    assert_eq!(sandbox.json("list"), before);
}

#[test]
fn a_question_that_is_not_answered_with_yes_changes_nothing() {
    let sandbox = filled();
    let before = sandbox.json("list --show-payload");
    let refused = |verb: &str, name: &str, answer: &str| {
        let command = sandbox.command(&format!("{verb} {} --namespace shop", key(name)));
        let ran = terminal::answer(command, answer);
        assert_eq!((ran.code, ran.out.len()), (64, 0), "{verb} {answer:?}: {}", ran.err);
        assert!(ran.err.starts_with(verb) && ran.err.contains(". Do it? [y/N] "), "{}", ran.err);
        assert!(ran.err.ends_with("claimstore: nothing was done\n"), "{verb} {answer:?}: {}", ran.err);
        assert!(!ran.err.contains("canary"), "{}", ran.err);
    };
    for (verb, name) in DECISIONS {
        refused(verb, name, "n\n");
    }
    // The last one is the end of the input, as it is typed.
    for answer in ["\n", "N\n", "no\n", "yes please\n", "YES\n", "\u{4}"] {
        refused("requeue", "parked", answer);
    }
    assert_eq!(sandbox.json("list --show-payload"), before);
}

/// Who decides is the login name, unless said otherwise.
#[test]
fn a_question_answered_with_yes_is_done_and_the_history_says_who() {
    for (verb, name, state, what, answer, variable) in [
        ("release", "orphan", "orphaned", "requeued", "y\n", "USER"),
        ("complete", "parked", "parked", "completed", "Y\n", "LOGNAME"),
        ("fail", "orphan", "orphaned", "failed-for-good", "yes\n", "USER"),
        ("requeue", "parked", "parked", "requeued", " y \n", "LOGNAME"),
    ] {
        let sandbox = filled();
        let words = format!("{verb} {} --namespace shop --why checked-by-hand", key(name));
        let mut command = sandbox.command(&words);
        command.env_remove("USER").env_remove("LOGNAME").env(variable, "ada");
        let ran = terminal::answer(command, answer);
        assert!(ran.code == 0 && !ran.out.is_empty(), "{verb}: {}", ran.err);
        let asked = format!(", which is {state}. Do it? [y/N] ");
        assert!(ran.err.starts_with(verb) && ran.err.contains(&asked), "{}", ran.err);
        assert!(!ran.err.contains("claimstore:") && !ran.err.contains("canary"), "{}", ran.err);
        assert_remembered(&sandbox, name, what);
    }
}

#[test]
fn a_key_is_forgotten_after_a_yes() {
    let sandbox = filled();
    let command = sandbox.command(&format!("forget {} --namespace shop", key("done")));
    let ran = terminal::answer(command, "y\n");
    assert!(ran.code == 0 && ran.err.contains("so that its work may be done again"), "{}", ran.err);
    assert_eq!(sandbox.run(&format!("get {} --namespace shop", key("done"))).code, 1);
}

#[test]
fn what_was_done_is_said() {
    let sandbox = filled();
    let said = sandbox.json(&format!("forget {} --namespace shop --yes", key("done")));
    let names: Vec<_> = said.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names.join(" "), "done key_bytes key_hash namespace");
    assert_eq!((&said["done"], &said["namespace"]), (&"forgotten".into(), &"shop".into()));
}
