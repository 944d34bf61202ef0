//! `claimstore exec`: how a run ends whose output is still open, closed, not read, or cannot be written.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use claimstore::Options;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use crate::exec::{exec, now, pause, ran, runs, started};
use crate::exec_signals::read_ready;
use crate::sandbox::{Sandbox, code, run, send, through};

/// Leaves a process behind that has its output open, and its number in a file.
const LEAVING: &str = "echo run >> $RUNS; echo out; sleep 60 & echo $! > $RUNS.left; exit 3";

/// Ends what the command left behind.
fn end_left(sandbox: &Sandbox) {
    let left = fs::read_to_string(sandbox.path("runs.left")).unwrap();
    let pid = Pid::from_raw(left.trim().parse().unwrap()).unwrap();
    let _ = kill_process(pid, Signal::KILL);
}

/// Reads lines of standard error until one has these words.
fn until_said(child: &mut Child, words: &str) -> BufReader<ChildStderr> {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(words) {
        let before = said.len();
        lines.read_line(&mut said).unwrap();
        assert!(said.len() > before, "ended without the words: {said}");
    }
    lines
}

/// Until the record of `k` says so.
fn until_state(sandbox: &Sandbox, state: &str) {
    let begun = now();
    loop {
        let ran = sandbox.run("get k --namespace exec --json");
        if ran.code == 0 && String::from_utf8_lossy(&ran.out).contains(&format!("\"{state}\"")) {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{}{}",
            ran.err,
            String::from_utf8_lossy(&ran.out)
        );
        pause(Duration::from_millis(20));
    }
}

#[test]
fn a_result_is_recorded_when_the_command_ends_whoever_has_its_output_open() {
    let words = "--key k --lease 1s --on-failure store";
    for (signal, exit) in [
        (Some(Signal::HUP), 3),
        (Some(Signal::INT), 3),
        (Some(Signal::QUIT), 3),
        (Some(Signal::TERM), 3),
        (Some(Signal::KILL), 128 + 9),
        (None, 3),
    ] {
        let sandbox = Sandbox::new();
        let mut child = exec(&sandbox, words, LEAVING).spawn().unwrap();
        let _stderr = until_said(&mut child, "its end is recorded");
        // While the first still waits.
        let again = ran(&sandbox, words, LEAVING);
        assert_eq!((again.code, again.out.as_slice()), (3, &b"out\n"[..]), "{}", again.err);
        match signal {
            Some(signal) => send(&child, signal),
            None => end_left(&sandbox),
        }
        assert_eq!(code(child.wait().unwrap()), exit, "{signal:?}");
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap_or_default();
        assert_eq!(out, "out\n");
        assert_eq!(ran(&sandbox, words, LEAVING).code, 3);
        assert_eq!(runs(&sandbox).len(), 1, "{signal:?}");
        end_left(&sandbox);
    }
}

#[test]
fn a_signal_that_ended_the_command_ends_the_wait_for_what_it_left() {
    let sandbox = Sandbox::new();
    let script = "sleep 60 & echo $! > $RUNS.left; echo ready; trap 'exit 5' TERM; wait";
    let mut child = started(&sandbox, "--key k --on-failure store", script);
    send(&child, Signal::TERM);
    assert_eq!(code(child.wait().unwrap()), 5);
    assert_eq!(ran(&sandbox, "--key k --on-failure store", script).out, b"ready\n");
    end_left(&sandbox);
}

#[test]
fn what_comes_after_the_end_is_passed_on_and_not_recorded() {
    let sandbox = Sandbox::new();
    let script = "echo one; (read line; echo two) < $RUNS.gate & exit 0";
    run(Command::new("mkfifo").arg(sandbox.path("runs.gate")));
    let mut child = exec(&sandbox, "--key k", script).spawn().unwrap();
    let mut gate = File::options().write(true).open(sandbox.path("runs.gate")).unwrap();
    let _stderr = until_said(&mut child, "its end is recorded");
    io::Write::write_all(&mut gate, b"go\n").unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!((code(child.wait().unwrap()), out.as_str()), (0, "one\ntwo\n"));
    assert_eq!(ran(&sandbox, "--key k", script).out, b"one\n");
}

#[test]
fn a_command_that_closes_its_output_is_waited_for() {
    let sandbox = Sandbox::new();
    let mut command = exec(&sandbox, "--key k", "exec >&- 2>&-; cat; exit 3");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap_or_default();
    drop(child.stdin.take());
    assert_eq!((code(child.wait().unwrap()), out.len()), (3, 0));
}

/// The directory is open elsewhere when the command ends.
fn ends_while_the_store_is_busy(words: &str) -> (Sandbox, Child, claimstore::Store, BufReader<ChildStderr>) {
    let sandbox = Sandbox::new();
    let mut child = started(&sandbox, words, "echo run >> $RUNS; echo ready; read line; exit 0");
    let store = sandbox.open();
    drop(child.stdin.take());
    // Said after a second in the queue: then it stands there.
    let stderr = until_said(&mut child, "the store is open elsewhere");
    (sandbox, child, store, stderr)
}

#[test]
fn a_result_is_not_given_up_because_the_store_is_busy_nor_for_one_signal() {
    let (sandbox, mut child, store, mut stderr) =
        ends_while_the_store_is_busy("--key k --lease 30s --lock-wait 0s");
    send(&child, Signal::TERM);
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("another signal gives it up"), "{line}");
    store.close().unwrap();
    assert_eq!(code(child.wait().unwrap()), 0);
    assert_eq!(ran(&sandbox, "--key k", "echo run >> $RUNS").out, b"ready\n");
    assert_eq!(runs(&sandbox).len(), 1);
}

#[test]
fn a_second_signal_gives_up_a_result_that_cannot_be_recorded() {
    let (sandbox, mut child, store, mut stderr) = ends_while_the_store_is_busy("--key k --lease 300s");
    send(&child, Signal::TERM);
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    send(&child, Signal::HUP);
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(code(child.wait().unwrap()), 74, "{said}");
    assert!(said.contains("the command ran, and its result could not be recorded"), "{said}");
    store.close().unwrap();
    assert_eq!(ran(&sandbox, "--key k", "echo run >> $RUNS").code, 75, "left to its term");
}

/// 1 MiB and more, in lines that are all different.
const LONG: &str =
    "i=0; while [ $i -lt 100000 ]; do echo $i; i=$((i+1)); done; seq 100000 200000; seq 1 9 >&2";

/// Makes a pipe whose writing end does not block, which is what it is for all who have it.
fn non_blocking() -> (io::PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    fcntl_setfl(&writer, fcntl_getfl(&writer).unwrap() | OFlags::NONBLOCK).unwrap();
    (reader, writer)
}

#[test]
fn a_non_blocking_output_gets_every_byte_at_the_run_and_at_the_replay() {
    let sandbox = Sandbox::new();
    let numbers: Vec<String> = (0..=200_000).map(|number| number.to_string()).collect();
    let expected = numbers.join("\n") + "\n";
    let recorded = &expected[..491_520];
    for expected in [expected.as_str(), recorded] {
        let (mut reader, writer) = non_blocking();
        let (mut errors, err) = non_blocking();
        let mut command = exec(&sandbox, "--key k --max-output 491520", LONG);
        let mut child = command.stdout(writer).stderr(err).spawn().unwrap();
        drop(command);
        // Full before the first byte is read, so that the writer has met what does not block.
        let begun = now();
        while rustix::io::ioctl_fionread(&reader).unwrap() < 60_000
            && begun.elapsed() < Duration::from_secs(30)
        {
            pause(Duration::from_millis(1));
        }
        let mut out = String::new();
        reader.read_to_string(&mut out).unwrap();
        let mut said = String::new();
        errors.read_to_string(&mut said).unwrap();
        assert_eq!(code(child.wait().unwrap()), 0, "{said}");
        assert!(out == expected, "{} of {} bytes: {said}", out.len(), expected.len());
        assert!(said.starts_with("1\n2\n3\n4\n5\n6\n7\n8\n9\n"), "{said}");
    }
}

#[test]
fn a_slow_reader_holds_up_the_output_and_not_the_record() {
    let script = "head -c 100000 /dev/zero; exit 4";
    let words = "--key k --on-failure store";
    for signal in [None, Some(Signal::TERM)] {
        let sandbox = Sandbox::new();
        let mut child = exec(&sandbox, words, script).spawn().unwrap();
        until_state(&sandbox, "failed");
        if let Some(signal) = signal {
            send(&child, signal);
            assert_eq!(code(child.wait().unwrap()), 128 + 15);
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert!(said.contains("before all of standard output was passed on"), "{said}");
        } else {
            let mut out = Vec::new();
            child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
            assert_eq!((code(child.wait().unwrap()), out.len()), (4, 100_000));
        }
        assert_eq!(ran(&sandbox, words, script).out.len(), 100_000);
    }
}

#[test]
fn a_replay_that_nobody_reads_ends_by_a_signal() {
    let sandbox = Sandbox::new();
    assert_eq!(ran(&sandbox, "--key k", "head -c 200000 /dev/zero").code, 0);
    let mut child = exec(&sandbox, "--key k", "").spawn().unwrap();
    let out = child.stdout.take().unwrap();
    while rustix::io::ioctl_fionread(out.as_fd()).unwrap() < 60_000 {
        pause(Duration::from_millis(1));
    }
    send(&child, Signal::INT);
    assert_eq!(code(child.wait().unwrap()), 128 + 2);
}

#[test]
fn a_reader_that_goes_does_not_end_the_command() {
    let sandbox = Sandbox::new();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let first =
        run(exec(&sandbox, "--key k", "echo one; echo run >> $RUNS; seq 100000; exit 0").stdout(writer));
    assert_eq!((first.code, runs(&sandbox).len()), (0, 1), "{}", first.err);
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(exec(&sandbox, "--key k", "").stdout(writer)).code, 141, "of a replay, reading is all");
    assert!(ran(&sandbox, "--key k", "").out.starts_with(b"one\n1\n2\n"));
}

#[cfg(target_os = "linux")] // elsewhere there is no such device
#[test]
fn an_output_that_cannot_be_written_is_told_and_the_result_is_recorded() {
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let full = run(exec(&sandbox, "--key k", "echo run >> $RUNS; echo out").stdout(full));
        assert_eq!(full.code, 74);
        assert!(full.err.contains("standard output cannot be written"), "{}", full.err);
        assert_eq!(ran(&sandbox, "--key k", "echo run >> $RUNS").out, b"out\n");
    }
    assert_eq!(runs(&sandbox).len(), 1);
}

#[test]
fn with_closed_descriptors_a_command_runs_and_is_recorded() {
    for (line, is_warned) in [
        (r#"exec "$@" >&-"#, true),
        (r#"exec "$@" <&-"#, false),
        (r#"exec "$@" 2>&-"#, false),
        (r#"exec "$@" <&- >&- 2>&-"#, false),
        (r#"exec "$@" > /dev/null"#, false),
    ] {
        let sandbox = Sandbox::new();
        let script = "echo run >> $RUNS; echo out; cat; echo err >&2";
        let first = run(&mut through(line, &exec(&sandbox, "--key k", script)));
        assert_eq!(first.code, 0, "{line}: {}", first.err);
        assert_eq!(
            first.err.matches("standard output is closed").count(),
            usize::from(is_warned),
            "{}",
            first.err
        );
        let again = ran(&sandbox, "--key k", script);
        assert_eq!((again.out.as_slice(), again.err.as_str()), (&b"out\n"[..], "err\n"), "{line}");
        assert_eq!(runs(&sandbox).len(), 1);
    }
}

/// A pipe that nobody reads and that has no room.
fn full() -> (io::PipeReader, io::PipeWriter) {
    let (reader, mut writer) = non_blocking();
    while io::Write::write(&mut writer, &[b'x'; 4_096]).is_ok() {}
    fcntl_setfl(&writer, fcntl_getfl(&writer).unwrap() - OFlags::NONBLOCK).unwrap();
    (reader, writer)
}

#[test]
fn messages_that_nobody_reads_hold_up_nothing() {
    let words = "--key k --on-failure store";
    let sandbox = Sandbox::new();
    let (_reader, err) = full();
    let mut child = exec(&sandbox, words, LEAVING).stderr(err.try_clone().unwrap()).spawn().unwrap();
    until_state(&sandbox, "failed");
    send(&child, Signal::TERM);
    assert_eq!(code(child.wait().unwrap()), 3);
    end_left(&sandbox);
    // The last line is written when there is nothing left to decide.
    let store = sandbox.open();
    let mut child = exec(&sandbox, "--key l --lock-wait 0s", "").stderr(err).spawn().unwrap();
    let begun = now();
    while child.try_wait().unwrap().is_none() {
        send(&child, Signal::TERM);
        pause(Duration::from_millis(20));
        assert!(begun.elapsed() < Duration::from_secs(30), "signals are ignored");
    }
    store.close().unwrap();
}

/// With so many descriptors at most.
fn limited(sandbox: &Sandbox, limit: usize, key: &str, script: &str) -> Command {
    through(&format!("ulimit -S -n {limit}; exec \"$@\""), &exec(sandbox, &format!("--key {key}"), script))
}

/// How many descriptors a call needs at a store with one record. The README says how many that are, besides those that
/// are open already.
fn least_descriptors(sandbox: &Sandbox) -> usize {
    let (mut too_few, mut enough) = (8, 136);
    while too_few + 1 < enough {
        let limit = usize::midpoint(too_few, enough);
        let before = runs(sandbox).len();
        let key = format!("k{limit}");
        let ran = run(&mut limited(sandbox, limit, &key, "echo run >> $RUNS; echo out"));
        assert_eq!(runs(sandbox).len(), before + usize::from(ran.code == 0), "{limit}: {}", ran.err);
        if ran.code == 0 {
            enough = limit;
        } else {
            assert!(matches!(ran.code, 74 | 126 | 127 | 134), "{limit}: {} {}", ran.code, ran.err);
            assert!(ran.code != 74 || ran.err.contains("ulimit -n"), "{limit}: {}", ran.err);
            too_few = limit;
        }
    }
    enough
}

/// The store has a descriptor for each run. The command keeps the limit that it was given.
#[test]
fn a_store_that_grows_while_the_command_runs_can_record_its_end() {
    if rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.is_some_and(|most| most < 512) {
        println!("SKIPPED: no more than 512 descriptors are to be had here");
        return;
    }
    let sandbox = Sandbox::new();
    let script = "ulimit -n >> $RUNS; echo ready; cat; exit 3";
    let words = "--key k --on-failure store";
    let mut command = through("ulimit -S -n 100; exec \"$@\"", &exec(&sandbox, words, script));
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    read_ready(&mut child);
    let store = Options::new().background(false).open(sandbox.store()).unwrap();
    for number in 0..120 {
        let lease = store.claim(format!("{number}"), Duration::from_secs(3_600)).unwrap().claimed().unwrap();
        lease.complete("").unwrap();
        store.checkpoint().unwrap();
    }
    let grown = store.stats().unwrap().runs;
    store.close().unwrap();
    assert!(grown > 100, "{grown} runs");
    drop(child.stdin.take());
    assert_eq!(code(child.wait().unwrap()), 3);
    let again = run(&mut exec(&sandbox, words, "echo again >> $RUNS"));
    assert_eq!((again.code, runs(&sandbox)), (3, vec!["100".to_owned()]), "{}", again.err);
}

/// Where descriptors are too few, nothing runs; where a command runs, its end is recorded.
#[test]
fn too_few_descriptors_are_found_before_the_command_runs() {
    let sandbox = Sandbox::new();
    assert_eq!(ran(&sandbox, "--key first", "").code, 0);
    let least = least_descriptors(&sandbox);
    println!("exec needs {least} descriptors");
    assert!((20..=96).contains(&least), "{least}");
}

#[test]
fn a_key_that_is_held_for_review_is_told_with_a_line_to_paste() {
    let sandbox = Sandbox::new();
    let words = "--key canary --namespace it's --attempts 1";
    for _ in 0..2 {
        ran(&sandbox, words, "exit 1");
    }
    let held = ran(&sandbox, words, "exit 1");
    assert_eq!(held.code, 4, "{}", held.err);
    assert!(!held.err.contains("canary"), "{}", held.err);
    let (_, line) = held.err.trim_end().split_once("; to see why: claimstore ").unwrap();
    let script = format!("exec {} {line}", env!("CARGO_BIN_EXE_claimstore"));
    let explained = run(Command::new("sh").args(["-c", &script]));
    assert_eq!(explained.code, 0, "{line}: {}", explained.err);
    assert!(String::from_utf8_lossy(&explained.out).contains("parked"), "{line}");
}
