//! `claimstore exec`: a command runs once per key, whatever happens to its wrappers.

use std::fs;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::sandbox::{Ran, Sandbox, code, run, send};

/// `claimstore exec <words> -- sh -c <script>`, where `$RUNS` is a file of the sandbox.
pub(crate) fn exec(sandbox: &Sandbox, words: &str, script: &str) -> Command {
    let mut command = sandbox.command(&format!("exec {words}"));
    command.args(["--", "sh", "-c", script]).env("RUNS", sandbox.path("runs"));
    command
}

pub(crate) fn ran(sandbox: &Sandbox, words: &str, script: &str) -> Ran {
    run(&mut exec(sandbox, words, script))
}

/// The lines that runs of the command left behind.
pub(crate) fn runs(sandbox: &Sandbox) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path("runs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Starts it with an open standard input, and waits until the command said `ready`.
pub(crate) fn started(sandbox: &Sandbox, words: &str, script: &str) -> Child {
    let mut child = exec(sandbox, words, script).stdin(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[expect(clippy::disallowed_methods, reason = "the commands run in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Lets the wrapper have the directory: what it does there cannot be seen from outside.
#[expect(clippy::disallowed_methods, reason = "the other process runs in real time")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn a_command_runs_once_and_its_output_and_exit_code_are_replayed() {
    let sandbox = Sandbox::new();
    let script = "echo run >> $RUNS; printf 'out\\000put'; echo problem >&2";
    for _ in 0..3 {
        let ran = ran(&sandbox, "--key k", script);
        assert_eq!((ran.code, ran.out.as_slice()), (0, &b"out\0put"[..]), "{}", ran.err);
        assert_eq!(ran.err, "problem\n");
    }
    assert_eq!(runs(&sandbox).len(), 1);
    assert_eq!(ran(&sandbox, "--key other", script).code, 0);
    assert_eq!(runs(&sandbox).len(), 2, "another key is another run");
}

#[test]
fn the_command_is_told_key_token_and_attempt() {
    let sandbox = Sandbox::new();
    let script = "echo $CLAIMSTORE_KEY $CLAIMSTORE_ATTEMPT; echo $CLAIMSTORE_TOKEN >> $RUNS; exit 3";
    for attempt in 1..=3 {
        let ran = ran(&sandbox, "--key k7", script);
        assert_eq!((ran.code, String::from_utf8(ran.out).unwrap()), (3, format!("k7 {attempt}\n")));
    }
    let tokens: Vec<u64> = runs(&sandbox).iter().map(|token| token.parse().unwrap()).collect();
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    let parked = ran(&sandbox, "--key k7", script);
    assert_eq!((parked.code, runs(&sandbox).len()), (4, 3), "three attempts, then a person decides");
    assert!(parked.err.contains("held for review") && !parked.err.contains("k7"), "{}", parked.err);
    let explained = sandbox.json("explain k7 --namespace exec --show-payload");
    assert_eq!(
        (&explained["state"], &explained["history"][0]["note"]),
        (&"parked".into(), &"exit code 3".into())
    );
}

#[test]
fn a_failure_is_a_result_if_it_is_to_be_stored() {
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        let ran = ran(&sandbox, "--key k --on-failure store", "echo run >> $RUNS; echo no; exit 9");
        assert_eq!((ran.code, ran.out.as_slice()), (9, &b"no\n"[..]), "{}", ran.err);
    }
    assert_eq!(runs(&sandbox).len(), 1);
    assert_eq!(sandbox.json("get k --namespace exec")["state"], "failed");
}

#[test]
fn output_beyond_the_bound_passes_and_is_said_to_be_cut_when_replayed() {
    let sandbox = Sandbox::new();
    let script = "head -c 300000 /dev/zero; echo error >&2";
    let first = ran(&sandbox, "--key k --max-output 1000", script);
    assert_eq!((first.code, first.out.len()), (0, 300_000));
    let again = ran(&sandbox, "--key k", script);
    assert_eq!((again.code, again.out.len()), (0, 1_000));
    for said in [&first.err, &again.err] {
        assert!(said.contains("of 300000 bytes of standard output, the first 1000 are recorded"), "{said}");
    }
}

#[test]
fn the_same_key_with_other_arguments_is_refused_if_asked() {
    let sandbox = Sandbox::new();
    assert_eq!(ran(&sandbox, "--key k --fingerprint-args", "echo one").code, 0);
    assert_eq!(ran(&sandbox, "--key k --fingerprint-args", "echo one").code, 0);
    let other = ran(&sandbox, "--key k --fingerprint-args", "echo two");
    assert_eq!((other.code, other.out.len()), (65, 0), "{}", other.err);
    assert_eq!(ran(&sandbox, "--key k", "echo two").out, b"one\n", "not compared unless asked");
}

#[test]
fn what_cannot_be_run_is_named_and_was_never_claimed() {
    let sandbox = Sandbox::new();
    for (name, mode, bytes) in [
        ("plain", 0o644, &b"no program"[..]),
        ("binary", 0o755, b"\x7fELF\x02\0\0\0"),
        ("lost", 0o755, b"#!/nowhere/sh\necho run >> $RUNS\n"),
    ] {
        fs::write(sandbox.path(name), bytes).unwrap();
        fs::set_permissions(sandbox.path(name), Permissions::from_mode(mode)).unwrap();
    }
    let at = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    for (program, exit, said) in [
        ("nosuch".to_owned(), 127, "there is no command `nosuch` in the directories of PATH"),
        ("no\u{1b}such".to_owned(), 127, "`no\\u{1b}such`"),
        (at("nosuch"), 127, "there is no file `"),
        (at("plain"), 126, "plain` may not be executed"),
        (at(""), 126, "is a directory"),
        (at("binary"), 126, "binary` is neither a program for this machine nor a script"),
        (at("lost"), 126, "lost` is there, but what is to run it"),
    ] {
        let ran = run(sandbox.command("exec --key secret-key").args(["--", &program, "secret-argument"]));
        assert_eq!((ran.code, ran.out.len()), (exit, 0), "{}", ran.err);
        assert!(ran.err.contains(said) && !ran.err.contains("secret"), "{}", ran.err);
        assert_eq!(sandbox.run("get secret-key --namespace exec").code, 1);
    }
}

#[test]
fn a_script_that_does_not_say_who_runs_it_is_run_by_sh() {
    let sandbox = Sandbox::new();
    for (name, bytes) in
        [("script", &b"echo \"$1 $CLAIMSTORE_ATTEMPT\"; exit 3\n"[..]), ("-v", b"echo $#\n"), ("empty", b"")]
    {
        fs::write(sandbox.path(name), bytes).unwrap();
        fs::set_permissions(sandbox.path(name), Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", sandbox.path("").display(), std::env::var("PATH").unwrap());
    let script = sandbox.path("script");
    for (key, program, exit, out) in [
        ("a", script.to_str().unwrap(), 3, "a b 1\n"),
        ("b", "script", 3, "a b 1\n"),
        ("c", "-v", 0, "2\n"),
        ("d", "empty", 0, ""),
    ] {
        let mut command = sandbox.command(&format!("exec --key {key}"));
        let ran = run(command.args(["--", program, "a b", "c"]).env("PATH", &path));
        assert_eq!(
            (ran.code, String::from_utf8(ran.out).unwrap().as_str()),
            (exit, out),
            "{program}: {}",
            ran.err
        );
    }
}

#[test]
fn nonsense_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    for words in [
        "--key k --ttl soon",
        "--key k --lease 5ms",
        "--key k --attempts 0",
        "--key k --on-orphan wait",
        "--wait 1s",
    ] {
        let ran = ran(&sandbox, words, "echo run >> $RUNS");
        assert_eq!((ran.code, ran.out.len()), (64, 0), "{words}: {}", ran.err);
    }
    assert_eq!(sandbox.run("exec --key k").code, 64, "no command");
    assert!(!sandbox.store().exists() && runs(&sandbox).is_empty());
    fs::create_dir(sandbox.store()).unwrap();
    fs::write(sandbox.store().join("file"), "x").unwrap();
    assert_eq!(ran(&sandbox, "--key k", "echo run >> $RUNS").code, 64, "a foreign directory");
    fs::remove_dir_all(sandbox.store()).unwrap();
    let store = sandbox.open();
    let begun = now();
    let busy = ran(&sandbox, "--key k --lock-wait 1200ms", "echo run >> $RUNS");
    assert_eq!(busy.code, 75, "{}", busy.err);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(1_200) && waited < Duration::from_secs(30), "{waited:?}");
    assert!(busy.err.contains("the store is open elsewhere; waiting up to 1s200ms"), "{}", busy.err);
    store.close().unwrap();
    assert!(runs(&sandbox).is_empty());
}

#[test]
fn what_an_operator_decided_is_replayed() {
    let sandbox = Sandbox::new();
    for key in ["done", "strange"] {
        assert_eq!(ran(&sandbox, &format!("--key {key} --attempts 1"), "exit 1").code, 1);
        assert_eq!(ran(&sandbox, &format!("--key {key} --attempts 1"), "exit 1").code, 4);
    }
    assert_eq!(sandbox.run("complete done --namespace exec --yes").code, 0);
    assert_eq!(ran(&sandbox, "--key done", "exit 1").code, 0);
    assert_eq!(sandbox.run("complete strange --namespace exec --yes --response receipt").code, 0);
    assert_eq!(ran(&sandbox, "--key strange", "exit 1").code, 65);
}

#[test]
fn fifty_at_once_run_it_once_and_all_print_what_it_printed() {
    let sandbox = Sandbox::new();
    let start =
        || exec(&sandbox, "--key k --wait 120s --lock-wait 120s", "echo run >> $RUNS; echo result").spawn();
    let children: Vec<Child> = (0..50).map(|_| start().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((code(output.status), output.stdout.as_slice()), (0, &b"result\n"[..]), "{said}");
    }
    assert_eq!(runs(&sandbox).len(), 1);
}

/// For more than two renewals, others look at the claim: it always has much of its lease left.
#[test]
fn while_it_runs_others_are_told_so_and_the_store_is_free() {
    let sandbox = Sandbox::new();
    let mut first = started(&sandbox, "--key k --lease 4s", "echo ready; cat > /dev/null; echo done");
    let begun = now();
    while begun.elapsed() < Duration::from_millis(6_500) {
        let second = ran(&sandbox, "--key k", "echo run >> $RUNS");
        assert_eq!((second.code, second.out.len()), (75, 0), "{}", second.err);
        let left = second.err.split("ask again in ").nth(1).unwrap();
        // Renewed with half of it left; "470ms" would be less than an eighth.
        let is_low =
            left.trim().strip_suffix("ms").is_some_and(|ms| ms.parse::<u32>().is_ok_and(|ms| ms < 500));
        assert!(!is_low, "{left}");
        let record = sandbox.json("get k --namespace exec");
        assert_eq!((&record["state"], record["attempt"].as_u64()), (&"in-progress".into(), Some(1)));
    }
    drop(first.stdin.take());
    assert_eq!(code(first.wait().unwrap()), 0);
    assert_eq!(ran(&sandbox, "--key k", "echo run >> $RUNS").out, b"ready\ndone\n");
    assert!(runs(&sandbox).is_empty());
}

#[test]
fn signals_are_passed_on_and_the_commands_answer_is_the_result() {
    let sandbox = Sandbox::new();
    // Says which one came: another in its place is no signal passed on.
    let script = r#"for name in HUP INT QUIT TERM; do trap "echo $name; kill \$!; exit 7" $name; done
        sleep 60 & echo ready; wait"#;
    for (signal, name) in
        [(Signal::HUP, "HUP"), (Signal::INT, "INT"), (Signal::QUIT, "QUIT"), (Signal::TERM, "TERM")]
    {
        let words = format!("--key {name} --on-failure store");
        let mut child = started(&sandbox, &words, script);
        send(&child, signal);
        assert_eq!(code(child.wait().unwrap()), 7, "{name}");
        let replayed = ran(&sandbox, &words, script);
        assert_eq!(replayed.code, 7, "{name}: {}", replayed.err);
        assert_eq!(String::from_utf8(replayed.out).unwrap(), format!("ready\n{name}\n"));
    }
}

#[test]
fn a_command_that_a_signal_ended_may_be_run_again_and_counts_as_an_attempt() {
    let sandbox = Sandbox::new();
    let mut child = started(&sandbox, "--key k --on-failure store", "echo ready; exec sleep 60");
    send(&child, Signal::TERM);
    assert_eq!(code(child.wait().unwrap()), 128 + 15);
    assert_eq!(ran(&sandbox, "--key k", "echo second").out, b"second\n");
    for on_failure in ["retry", "store"] {
        let words = format!("--key {on_failure} --attempts 1 --on-failure {on_failure}");
        assert_eq!(ran(&sandbox, &words, "kill -KILL $$").code, 128 + 9);
        let second = ran(&sandbox, &words, "echo run >> $RUNS");
        assert_eq!((second.code, runs(&sandbox).len()), (4, 0), "{}", second.err);
    }
}

#[test]
fn after_a_kill_the_key_is_an_orphan_and_handled_as_configured() {
    for (rule, exit) in [("retry", 0), ("park", 4)] {
        let sandbox = Sandbox::new();
        let words = format!("--key k --lease 1s --on-orphan {rule}");
        let mut child = started(&sandbox, &words, "echo ready; cat > /dev/null");
        send(&child, Signal::KILL);
        child.wait().unwrap();
        let early = ran(&sandbox, &words, "echo run >> $RUNS");
        let late = ran(&sandbox, &format!("{words} --wait 30s"), "echo run >> $RUNS");
        assert!(early.code == 75 || early.code == exit, "{}: {}", early.code, early.err);
        assert_eq!(late.code, exit, "{}", late.err);
        assert_eq!(runs(&sandbox).len(), usize::from(rule == "retry"));
    }
}
