//! No key and no payload appears anywhere unless asked: in output, in messages, in names of files.

use std::path::Path;

use crate::sandbox::{Sandbox, key, payload, run};

const CANARY: &str = "canary";

fn assert_silent(words: &str, code: i32, sandbox: &Sandbox) {
    let ran = sandbox.run(words);
    assert_eq!(ran.code, code, "{words}: {}", ran.err);
    let out = String::from_utf8(ran.out).unwrap();
    assert!(!out.contains(CANARY), "{words} shows {out}");
    assert!(!ran.err.contains(CANARY), "{words} says {}", ran.err);
}

#[test]
fn nothing_telltale_is_shown_unless_asked() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let names = ["done", "failed", "retry", "parked", "orphan", "held"];
    for suffix in ["", " --json"] {
        for words in
            ["list", "stuck --older-than 0s", "orphans", "parked", "policy", "stats", "verify", "prune"]
        {
            assert_silent(&format!("{words}{suffix}"), 0, &sandbox);
        }
        for name in names {
            for verb in ["get", "explain"] {
                assert_silent(&format!("{verb} {} --namespace shop{suffix}", key(name)), 0, &sandbox);
            }
        }
        assert_silent(&format!("get {}{suffix}", key("parked")), 1, &sandbox);
    }
    for verb in ["release", "complete", "fail", "forget"] {
        assert_silent(&format!("{verb} {} --namespace shop --yes", key("held")), 75, &sandbox);
        assert_silent(&format!("{verb} {} --namespace shop", key("orphan")), 64, &sandbox);
        assert_silent(&format!("{verb} {} --yes", key("orphan")), 1, &sandbox);
    }
    assert_silent(&format!("requeue {} --namespace shop --yes", key("done")), 4, &sandbox);
    let response = payload("response");
    for (words, name) in [
        (format!("complete --response {response}"), "parked"),
        (format!("fail --response {response}"), "orphan"),
        ("forget".to_owned(), "done"),
    ] {
        assert_silent(&format!("{words} {} --namespace shop --yes --why {CANARY}", key(name)), 0, &sandbox);
    }
    assert_silent(&format!("explain {} --namespace shop", key("parked")), 0, &sandbox);
    assert_no_telltale_names(&sandbox.store());
}

#[test]
fn exec_says_no_key_of_its_own_accord() {
    let sandbox = Sandbox::new();
    let exec = |words: &str, script: &str| {
        let words = format!("exec --key {} --attempts 1 {words}", key("command"));
        let ran = run(sandbox.command(words.trim_end()).args(["--", "sh", "-c", script]));
        assert!(!ran.err.contains(CANARY) && ran.out.is_empty(), "{}", ran.err);
        ran.code
    };
    assert_eq!(exec("--fingerprint-args", "exit 1"), 1);
    assert_eq!(exec("--fingerprint-args", "exit 2"), 65);
    assert_eq!(exec("", "exit 1"), 4);
    assert_no_telltale_names(&sandbox.store());
}

/// The first test would pass if nothing were ever shown.
#[test]
fn everything_is_shown_when_asked() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let out = sandbox.run("list --show-keys").out;
    assert_eq!(String::from_utf8(out).unwrap().matches("canary-key-").count(), 6);
    let out = sandbox.run(&format!("get {} --namespace shop --show-payload", key("orphan"))).out;
    assert_eq!(String::from_utf8(out).unwrap().matches("canary-payload-").count(), 2, "progress and origin");
}

fn assert_no_telltale_names(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        assert!(!path.to_string_lossy().contains(CANARY), "{}", path.display());
        if path.is_dir() {
            assert_no_telltale_names(&path);
        }
    }
}
