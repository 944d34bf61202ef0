//! `claimstore policy`: shown, set, and in force for the next claim.

use std::time::Duration;

use claimstore::{ErrorKind, Policy};
use claimstore_admin::ServeAdmin as _;
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, run};

fn shop(sandbox: &Sandbox, words: &str) -> Value {
    let shown = sandbox.json(&format!("policy --namespace shop{words}"));
    shown["policies"][0].clone()
}

#[test]
fn the_rules_are_shown_under_names_that_stay() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let expected = json!({
        "namespace": "shop",
        "ttl_ms": 7 * 86_400_000_u64,
        "lease_ms": 60_000,
        "skew_ms": 300_000,
        "max_attempts": 2,
        "max_losses": 10,
        "on_drop": "lost",
        "on_orphan": "retry",
        "time_order": null,
        "quota": null,
        "require_fingerprint": false,
        "key_rule": false,
        "orphan_backoff": null,
        "metrics_name": null,
    });
    assert_eq!(shop(&sandbox, ""), expected);
    let text = String::from_utf8(sandbox.run("policy").out).unwrap();
    assert!(text.lines().any(|line| line.starts_with("7d") && line.ends_with("shop")), "{text}");
}

#[test]
fn what_is_given_is_set_and_the_rest_stays() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let set = shop(&sandbox, " --ttl 2d --on-orphan park --quota 7,900");
    assert_eq!((&set["ttl_ms"], &set["on_orphan"]), (&json!(172_800_000), &json!("park")));
    assert_eq!(set["quota"], json!({ "records": 7, "bytes": 900 }));
    assert_eq!((&set["max_attempts"], &set["lease_ms"]), (&json!(2), &json!(60_000)));
    assert_eq!(shop(&sandbox, " --metrics-name orders")["metrics_name"], "orders");
    assert_eq!(sandbox.run("policy --namespace shop --metrics-name canary/1").code, 64);
    let set = shop(&sandbox, " --lease 5m --attempts 9 --quota none");
    assert_eq!(
        (&set["lease_ms"], &set["max_attempts"], &set["quota"]),
        (&json!(300_000), &json!(9), &Value::Null)
    );
    assert_eq!((shop(&sandbox, ""), &set["ttl_ms"]), (set.clone(), &json!(172_800_000)));
}

#[test]
fn if_absent_makes_a_namespace_once_and_leaves_one_that_is_there() {
    let sandbox = Sandbox::new();
    sandbox.open().close().unwrap();
    let words = "policy --namespace shop --if-absent";
    let made = sandbox.json(&format!("{words} --ttl 2d --on-orphan park"));
    assert_eq!((&made["made"], &made["policies"][0]["ttl_ms"]), (&json!(true), &json!(172_800_000)));
    let set = shop(&sandbox, " --ttl 5d");
    let again = sandbox.json(&format!("{words} --ttl 2d --on-orphan retry"));
    assert_eq!((&again["made"], &again["policies"][0]), (&json!(false), &set), "what was set since stays");
    assert_eq!(sandbox.run(&format!("{words} --create")).code, 64);
    assert_eq!(sandbox.run("policy --if-absent --ttl 2d").code, 64, "of which namespace?");
    let long = format!("policy --if-absent --namespace {}", "n".repeat(513));
    assert_eq!(sandbox.run(&long).code, 64);
    // A program that has the store open is no obstacle where there is nothing to do.
    let store = sandbox.open();
    drop(store.serve_admin().unwrap());
    assert_eq!(sandbox.json(&format!("{words} --ttl 9d"))["policies"][0], set);
    let absent = sandbox.run("policy --namespace new --if-absent --ttl 9d --wait 0s");
    assert!(absent.code == 75 && absent.err.contains("allows no decisions"), "{}", absent.err);
    assert!(!store.namespaces().contains(&"new".to_owned()));
    store.close().unwrap();
}

#[test]
fn a_quota_holds_for_the_next_claim() {
    let sandbox = Sandbox::new();
    let made = sandbox.open();
    made.close().unwrap();
    assert_eq!(shop(&sandbox, " --create --quota 0,0")["quota"], json!({ "records": 0, "bytes": 0 }));
    let store = sandbox.open();
    let refused = store.namespace("shop").unwrap().claim_default("k").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    store.close().unwrap();
}

/// `exec` and `dedupe` set the rules that they have options for, at each call; the others are left as they were set.
#[test]
fn a_command_leaves_the_rules_that_it_does_not_name() {
    let sandbox = Sandbox::new();
    sandbox.open().close().unwrap();
    for (name, words) in [
        ("exec", "exec --key k --ttl 3d --lease 2m --attempts 9 --on-orphan park -- true"),
        ("dedupe/whole-record", "dedupe --whole-record --ttl 3d"),
    ] {
        let store = sandbox.open();
        let rules = Policy::daily().skew(Duration::from_secs(7)).quota(77, 7_777).metrics_name("orders");
        store.namespace_with(name, rules).unwrap();
        store.close().unwrap();
        let rules = || sandbox.json(&format!("policy --namespace {name}"))["policies"][0].clone();
        let mut expected = rules();
        let (verb, rest) = words.split_once(' ').unwrap();
        let mut command = sandbox.command(verb);
        let ran = run(command.args(rest.split(' ')).stdin(sandbox.file(b"a\n1\n")));
        assert_eq!(ran.code, 0, "{words}: {}", ran.err);
        expected["ttl_ms"] = json!(3 * 86_400_000_u64);
        let (attempts, on_orphan) = if verb == "exec" { (9, "park") } else { (u32::MAX, "retry") };
        (expected["max_attempts"], expected["on_orphan"]) = (json!(attempts), json!(on_orphan));
        expected["max_losses"] = json!(if verb == "exec" { 10 } else { u32::MAX });
        if verb == "exec" {
            expected["lease_ms"] = json!(120_000);
        }
        assert_eq!(rules(), expected, "{words}");
    }
}
