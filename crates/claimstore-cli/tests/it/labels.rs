//! A key by the short name that lists show: wherever a key is taken, of a closed store and of a live one.

use std::time::Duration;

use claimstore_admin::{ServeAdmin as _, key_label};

use crate::sandbox::{Sandbox, key};

const DAY: Duration = Duration::from_secs(86_400);

fn label(key: &str) -> String {
    key_label(key).to_string()
}

/// The short names of a listing, as they stand in its last column.
fn listed(sandbox: &Sandbox, words: &str) -> Vec<String> {
    let text = String::from_utf8(sandbox.run(words).out).unwrap();
    text.lines().skip(1).map(|line| line.split_whitespace().last().unwrap().to_owned()).collect()
}

#[test]
fn what_a_list_shows_is_taken_for_a_key() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let ask = |is: &str| {
        let labels = listed(&sandbox, "list --namespace shop");
        assert_eq!(labels.len(), 6);
        for label in labels {
            for verb in ["get", "explain"] {
                let found = sandbox.json(&format!("{verb} {label} --namespace shop"));
                let (hash, bytes) = (found["key_hash"].as_str().unwrap(), &found["key_bytes"]);
                assert_eq!(format!("{hash}+{bytes}B"), label, "{is}: {verb}");
            }
        }
    };
    ask("closed");
    let store = sandbox.open();
    drop(store.serve_admin().unwrap());
    ask("live");
    store.close().unwrap();
}

#[test]
fn a_decision_takes_it_too() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    for (verb, name, state) in
        [("requeue", "parked", "retry"), ("release", "orphan", "retry"), ("complete", "parked", "completed")]
    {
        let sandbox = Sandbox::new();
        sandbox.fill();
        let ran = sandbox.run(&format!("{verb} {} --namespace shop --yes", label(&key(name))));
        assert_eq!(ran.code, 0, "{verb}: {}", ran.err);
        assert_eq!(sandbox.explain(name)["state"], state, "{verb}");
    }
    // Two keys, of which one is spelt like the short name of the other: only `--hex` tells them apart.
    let store = sandbox.open();
    let other = label(&key("done"));
    store.namespace("shop").unwrap().claim(&other, DAY).unwrap().claimed().unwrap().complete("").unwrap();
    store.close().unwrap();
    let before = sandbox.json("list --show-payload");
    for verb in ["forget", "complete", "get", "explain"] {
        let yes = if verb == "forget" || verb == "complete" { " --yes" } else { "" };
        let ran = sandbox.run(&format!("{verb} {other} --namespace shop{yes}"));
        assert_eq!((ran.code, ran.out.len()), (64, 0), "{verb}: {}", ran.err);
        assert!(ran.err.contains("more than one key") && ran.err.contains("--hex"), "{}", ran.err);
    }
    assert_eq!(sandbox.json("list --show-payload"), before);
    let ran = sandbox.run(&format!("forget {} --namespace shop --yes", label(&key("failed"))));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let left = sandbox.json("list --namespace shop");
    assert_eq!(left["records"].as_array().unwrap().len(), 6, "one of seven, and the right one");
    assert_eq!(sandbox.run(&format!("get {} --namespace shop", key("failed"))).code, 1);
}

#[test]
fn one_that_nobody_has_is_said_to_be_unknown_and_where_it_is() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let (there, nowhere) = (label(&key("done")), label(&key("nothing")));
    let ask = |is: &str| {
        for verb in ["get", "explain"] {
            let ran = sandbox.run(&format!("{verb} {there}"));
            assert!(ran.code == 1 && ran.err.contains("pass `--namespace shop`"), "{is}: {}", ran.err);
            let ran = sandbox.run(&format!("{verb} {nowhere} --namespace shop"));
            assert!(
                ran.code == 1 && ran.err.contains(&format!("knows no key {nowhere}")),
                "{is}: {}",
                ran.err
            );
            assert_eq!(sandbox.run(&format!("{verb} {there} --namespace nowhere")).code, 1, "{is}");
            assert_eq!(sandbox.run(&format!("{verb} {there} --namespace shop --hex")).code, 64, "{is}");
        }
    };
    ask("closed");
    let store = sandbox.open();
    drop(store.serve_admin().unwrap());
    ask("live");
    store.close().unwrap();
}
