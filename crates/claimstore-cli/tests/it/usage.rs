//! Exit codes for what cannot be done.

use std::time::Duration;

use claimstore::Store;

use crate::sandbox::{Sandbox, run};

#[test]
fn nonsense_is_a_usage_error_and_makes_no_store() {
    for words in [
        "",
        "--key a --whole-record",
        "--key a --ttl soon",
        "--key a --delimiter ;;",
        "--key nowhere",
        "--key a --format xml",
        "--key a --format ndjson",
        "--key a,a",
        "--whole-record --batch 0",
        "--whole-record --surprise",
    ] {
        let sandbox = Sandbox::new();
        let ran = sandbox.dedupe(words, b"a,b\n1,2\n");
        assert_eq!((ran.code, ran.out.as_slice()), (64, &b""[..]), "{words}");
        assert!(!ran.err.is_empty() && !sandbox.store().exists(), "{words}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for words in ["--help", "--version", "dedupe --help"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_claimstore"));
        let ran = run(command.args(words.split(' ')));
        assert_eq!(ran.code, 0);
        assert!(ran.out.starts_with(b"claimstore ") || ran.out.len() > 100);
    }
}

#[test]
fn a_header_without_an_end_is_bad_data() {
    let ran = Sandbox::new().dedupe("--whole-record", b"\"a,b\n1,2\n");
    assert_eq!((ran.code, ran.out.as_slice()), (65, &b""[..]));
}

#[test]
fn a_store_open_elsewhere_is_busy() {
    let sandbox = Sandbox::new();
    let store = Store::open(sandbox.store()).unwrap();
    for command in
        ["dedupe --whole-record --wait 0s", "dedupe --whole-record --wait 200ms", "stats --wait 0s"]
    {
        let ran = run(sandbox.command(command).stdin(sandbox.file(b"a\n1\n")));
        assert_eq!((ran.code, ran.out.as_slice()), (75, &b""[..]), "{}", ran.err);
    }
    store.close().unwrap();
}

#[test]
fn a_busy_store_is_waited_for() {
    let sandbox = Sandbox::new();
    let store = Store::open(sandbox.store()).unwrap();
    let mut command = sandbox.command("dedupe --whole-record --wait 60s");
    let child = command.stdin(sandbox.file(b"a\n1\n")).spawn().unwrap();
    pause(Duration::from_millis(300));
    store.close().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"a\n1\n"[..]));
}

/// The command has to meet the store closed at least once; nothing it does can be seen from outside until then.
#[expect(clippy::disallowed_methods, reason = "the other process runs in real time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn a_directory_with_other_files_is_not_made_a_store() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("other")).unwrap();
    std::fs::write(sandbox.path("other/file"), "x").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_claimstore"));
    command.args(["dedupe", "--whole-record", "--store"]).arg(sandbox.path("other"));
    assert_eq!(run(command.stdin(sandbox.file(b"a\n1\n"))).code, 64);
    assert_eq!(std::fs::read(sandbox.path("other/file")).unwrap(), b"x");
    assert!(!sandbox.path("other/STORE").exists());
}

#[test]
fn stats_of_nothing_make_nothing() {
    let sandbox = Sandbox::new();
    let ran = run(&mut sandbox.command("stats"));
    assert_eq!(ran.code, 66, "{}", ran.err);
    assert!(!sandbox.store().exists());
}

#[test]
fn exec_leaves_the_namespaces_of_dedupe_alone() {
    for (name, code) in [("dedupe/whole-record", 64), ("dedupe/x", 64), ("dedupe", 0), ("x/dedupe/", 0)] {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(&format!("exec --key k --namespace {name}"));
        let ran = run(command.args(["--", "true"]));
        assert_eq!((ran.code, sandbox.store().exists()), (code, code == 0), "{name}: {}", ran.err);
    }
}
