//! `claimstore exec`: a command runs once per key, whatever happens to its wrappers.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::sandbox::{Ran, Sandbox, code, run, send};

/// `claimstore exec <words> -- sh -c <script>`, where `$RUNS` is a file of the sandbox.
fn exec(sandbox: &Sandbox, words: &str, script: &str) -> Command {
    let mut command = sandbox.command(&format!("exec {words}"));
    command.args(["--", "sh", "-c", script]).env("RUNS", sandbox.path("runs"));
    command
}

fn ran(sandbox: &Sandbox, words: &str, script: &str) -> Ran {
    run(&mut exec(sandbox, words, script))
}

/// The lines that runs of the command left behind.
fn runs(sandbox: &Sandbox) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path("runs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Starts it with an open standard input, and waits until the command said `ready`.
fn started(sandbox: &Sandbox, words: &str, script: &str) -> Child {
    let mut child = exec(sandbox, words, script).stdin(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[expect(clippy::disallowed_methods, reason = "the commands run in real time")]
fn now() -> Instant {
    Instant::now()
}

/// Lets the wrapper have the directory: what it does there cannot be seen from outside.
#[expect(clippy::disallowed_methods, reason = "the other process runs in real time")]
fn pause(time: Duration) {
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
fn what_cannot_be_run_was_never_claimed() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("plain"), "no program").unwrap();
    let plain = sandbox.path("plain");
    for (program, exit) in [("/nowhere/at/all", 127), (plain.to_str().unwrap(), 126)] {
        let ran = run(sandbox.command("exec --key k").args(["--", program]));
        assert_eq!((ran.code, ran.out.len()), (exit, 0), "{}", ran.err);
        assert_eq!(sandbox.run("get k --namespace exec").code, 1);
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

#[test]
fn while_it_runs_others_are_told_so_and_the_store_is_free() {
    let sandbox = Sandbox::new();
    let mut first = started(&sandbox, "--key k --lease 6s", "echo ready; cat > /dev/null; echo done");
    let begun = now();
    // For longer than two leases: only renewing keeps the claim.
    while begun.elapsed() < Duration::from_secs(13) {
        pause(Duration::from_millis(200));
        let second = ran(&sandbox, "--key k", "echo run >> $RUNS");
        assert_eq!((second.code, second.out.len()), (75, 0), "{}", second.err);
        assert_eq!(sandbox.json("get k --namespace exec")["state"], "in-progress");
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
fn a_command_that_a_signal_ended_may_be_run_again() {
    let sandbox = Sandbox::new();
    let mut child = started(&sandbox, "--key k --on-failure store", "echo ready; exec sleep 60");
    send(&child, Signal::TERM);
    assert_eq!(code(child.wait().unwrap()), 128 + 15);
    assert_eq!(ran(&sandbox, "--key k", "echo second").out, b"second\n");
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

/// A command that leaves key and token behind, and prints the token.
const TELLING: &str = "echo $CLAIMSTORE_KEY $CLAIMSTORE_TOKEN >> $RUNS; echo $CLAIMSTORE_TOKEN";

/// The tokens of the runs of one key.
fn tokens(sandbox: &Sandbox, key: &str) -> Vec<String> {
    let of_key = |line: String| Some(line.strip_prefix(key)?.strip_prefix(' ')?.to_owned());
    runs(sandbox).into_iter().filter_map(of_key).collect()
}

/// One kill -9 of a wrapper after about `point`. What it printed, if it came to its end before.
fn kill_at(sandbox: &Sandbox, words: &str, point: Duration) -> Option<Vec<u8>> {
    let begun = now();
    let mut child = exec(sandbox, words, TELLING).spawn().unwrap();
    while begun.elapsed() < point {
        std::thread::yield_now();
    }
    send(&child, Signal::KILL);
    let (mut out, status) = (child.stdout.take().unwrap(), child.wait().unwrap());
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut out, &mut said).unwrap();
    (code(status) == 0).then_some(said)
}

/// What came of one kill.
#[derive(Default)]
struct Killed {
    /// The wrapper had not come to its end.
    early: u32,
    /// The key is held for review.
    parked: u32,
}

/// After the kill the key is retried until there is a result: what all later calls replay is one run's.
fn killed_and_retried(sandbox: &Sandbox, key: &str, point: Duration) -> Killed {
    let words = format!("--key {key} --lease 1s --attempts 9 --wait 60s --lock-wait 60s --on-orphan retry");
    let first = kill_at(sandbox, &words, point);
    let results: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let ran = ran(sandbox, &words, TELLING);
            assert_eq!(ran.code, 0, "{}", ran.err);
            ran.out
        })
        .collect();
    assert_eq!(results[0], results[1], "two results were given out");
    let early = u32::from(first.is_none());
    assert!(first.is_none_or(|first| first == results[0]), "a run that ended well was recorded");
    let result = String::from_utf8(results[0].clone()).unwrap();
    let of_result = tokens(sandbox, key).iter().filter(|token| **token == result.trim()).count();
    assert_eq!(of_result, 1, "the result is of one run");
    Killed { early, parked: 0 }
}

/// After the kill the key has its one result, or was never claimed, or is held for review: no second run either way.
fn killed_and_parked(sandbox: &Sandbox, key: &str, point: Duration) -> Killed {
    let words = format!("--key {key} --lease 1s --wait 60s --lock-wait 60s --on-orphan park");
    let first = kill_at(sandbox, &words, point);
    let ended = ran(sandbox, &words, TELLING);
    let again = ran(sandbox, &words, TELLING);
    assert!(ended.code == 0 || ended.code == 4, "{}: {}", ended.code, ended.err);
    assert_eq!((ended.code, &ended.out), (again.code, &again.out));
    let tokens = tokens(sandbox, key);
    assert!(tokens.len() <= 1, "{tokens:?}");
    let killed = Killed { early: u32::from(first.is_none()), parked: u32::from(ended.code == 4) };
    match first {
        Some(first) => assert_eq!((ended.code, first), (0, ended.out), "a run that ended well was recorded"),
        None if ended.code == 4 => {
            let explained = sandbox.json(&format!("explain {key} --namespace exec"));
            assert_eq!(explained["state"], "parked");
        }
        None => assert_eq!(ended.out, format!("{}\n", tokens[0]).as_bytes()),
    }
    killed
}

/// So many kills go on at a time.
const LANES: u32 = 10;

/// `CLAIMSTORE_KILLS` of them, half of them with each rule for orphans.
#[test]
fn kills_at_any_point_never_leave_two_results() {
    let kills: u32 = std::env::var("CLAIMSTORE_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let lanes = std::thread::scope(|scope| {
        let spawn = |lane| scope.spawn(move || kills_of_a_lane((lane..kills).step_by(LANES as usize), kills));
        let lanes: Vec<_> = (0..LANES.min(kills)).map(spawn).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect::<Vec<_>>()
    });
    let early: u32 = lanes.iter().map(|killed| killed.early).sum();
    let parked: u32 = lanes.iter().map(|killed| killed.parked).sum();
    println!(
        "{kills} kills of exec: {early} before its end, {parked} keys held for review, 0 with two results"
    );
}

/// Kills of these numbers, out of so many, one after the other on a store of their own.
fn kills_of_a_lane(numbers: impl Iterator<Item = u32>, kills: u32) -> Killed {
    let sandbox = Sandbox::new();
    // The second: the first makes the store.
    let mut whole = Duration::ZERO;
    for key in ["first", "second"] {
        let begun = now();
        let ran = ran(&sandbox, &format!("--key {key} --lock-wait 60s"), "echo whole");
        assert_eq!(ran.code, 0, "{}", ran.err);
        whole = begun.elapsed();
    }
    let mut all = Killed::default();
    for kill in numbers {
        // Spread over what a run takes, from before the claim to after the recording.
        let point = whole * kill * 5 / (kills * 4);
        let key = format!("k{kill}");
        // Neighbouring points get the same rule in turns of ten, so that both see all of the run.
        let killed = if (kill + kill / LANES).is_multiple_of(2) {
            killed_and_retried(&sandbox, &key, point)
        } else {
            killed_and_parked(&sandbox, &key, point)
        };
        all.early += killed.early;
        all.parked += killed.parked;
    }
    all
}
