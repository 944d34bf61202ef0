//! Signals for `claimstore exec`, `dedupe` and `import`: each reaches the command once, none is ignored that should not
//! be, and what was ignored stays ignored.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::exec::{exec, now, pause, ran, runs, started};
use crate::sandbox::{Sandbox, assert_each_once, code, rows, run, send, through, with_header};
use crate::terminal;

/// Notes each signal that comes, and ends with 7 by SIGTERM.
const NOTING: &str = "for name in HUP INT QUIT; do trap \"echo $name >> $RUNS\" $name; done
    trap 'kill -KILL $!; exit 7' TERM
    sleep 60 & echo ready; while :; do wait; done";

/// Waits for so many notes of the command.
fn until_noted(sandbox: &Sandbox, count: usize) {
    let begun = now();
    while runs(sandbox).len() < count {
        assert!(begun.elapsed() < Duration::from_secs(30), "a signal did not reach the command");
        pause(Duration::from_millis(5));
    }
}

/// In a session of its own, on a terminal; and our side of that. Nothing, if this machine cannot.
fn on_a_terminal(command: &Command) -> Option<(Child, File)> {
    if !Command::new("setsid").arg("--version").output().is_ok_and(|out| out.status.success()) {
        println!("SKIPPED: there is no setsid here");
        return None;
    }
    let own = std::process::id().to_string();
    if !std::fs::read_link("/proc/self").is_ok_and(|seen| seen == std::path::Path::new(&own)) {
        println!(
            "SKIPPED: without a /proc of this PID namespace the wrapper cannot tell whom a terminal reaches"
        );
        return None;
    }
    Some(terminal::start_session(command))
}

/// What is typed, or sent to the wrapper alone, reaches the command once; wherever its standard input comes from.
#[test]
fn each_signal_reaches_the_command_once() {
    for line in [r#"exec "$@" < /dev/null"#, r#"exec "$@""#] {
        for (typed, sent, noted) in [
            (Some(b"\x03"), None, "INT"),
            (Some(b"\x1c"), None, "QUIT"),
            (None, Some(Signal::INT), "INT"),
            (None, Some(Signal::QUIT), "QUIT"),
            (None, Some(Signal::HUP), "HUP"),
        ] {
            for own_session in [false, true] {
                let sandbox = Sandbox::new();
                let mut command = sandbox.command("exec --key k --on-failure store");
                command.args(if own_session {
                    &["--", "setsid", "sh", "-c", NOTING][..]
                } else {
                    &["--", "sh", "-c", NOTING]
                });
                command.env("RUNS", sandbox.path("runs"));
                let Some((mut child, mut terminal)) = on_a_terminal(&through(line, &command)) else { return };
                read_ready(&mut child);
                if let Some(typed) = typed {
                    terminal.write_all(typed).unwrap();
                }
                if let Some(sent) = sent {
                    send(&child, sent);
                }
                until_noted(&sandbox, 1);
                // Whatever was passed on a second time comes before this.
                send(&child, Signal::TERM);
                assert_eq!(code(child.wait().unwrap()), 7);
                assert_eq!(runs(&sandbox), [noted], "{line} {typed:?} {sent:?} {own_session}");
            }
        }
    }
}

pub(crate) fn read_ready(child: &mut Child) {
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
}

/// A terminal that goes tells the wrapper alone, if that leads the session.
#[test]
fn a_terminal_that_hangs_up_is_told_to_the_command_once() {
    let sandbox = Sandbox::new();
    let script =
        "trap 'echo HUP >> $RUNS; kill -KILL $!; exit 7' HUP; sleep 60 & echo ready; while :; do wait; done";
    let command = exec(&sandbox, "--key k --on-failure store", script);
    let Some((mut child, terminal)) = on_a_terminal(&through(r#"exec "$@""#, &command)) else { return };
    read_ready(&mut child);
    drop(terminal);
    assert_eq!(code(child.wait().unwrap()), 7);
    assert_eq!(runs(&sandbox), ["HUP"]);
}

/// `kill 0` in a script signals its group, and we are in it.
#[test]
fn what_the_command_sends_to_its_group_does_not_come_back() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo TERM >> $RUNS' TERM; echo ready; kill 0; sleep 0.5; exit 7";
    let command = exec(&sandbox, "--key k --on-failure store", script);
    let Some((mut child, _terminal)) = on_a_terminal(&through(r#"exec "$@""#, &command)) else { return };
    assert_eq!(code(child.wait().unwrap()), 7);
    assert_eq!(runs(&sandbox), ["TERM"]);
}

/// Makes a PID namespace, as root or as somebody who may make namespaces of users; with a `/proc` of its own or not.
fn namespace(mounts: bool) -> Option<Command> {
    let users = ["--user", "--map-root-user", "--fork", "--pid", "--mount-proc"];
    for first in [2, 0] {
        let words = &users[first..users.len() - usize::from(!mounts)];
        let made = Command::new("unshare").args(words).arg("true").output();
        if made.is_ok_and(|made| made.status.success()) {
            let mut command = Command::new("unshare");
            command.args(words);
            return Some(command);
        }
    }
    println!("SKIPPED: PID namespaces cannot be made here");
    None
}

/// In a container our process group and our session can be those of somebody outside, and have no number: `docker exec`.
#[test]
fn in_a_namespace_of_processes_each_signal_is_passed_on() {
    for (signal, mounts) in [("HUP", true), ("TERM", true), ("HUP", false), ("TERM", false)] {
        let sandbox = Sandbox::new();
        let Some(mut command) = namespace(mounts) else { return };
        let of_command = format!(
            "trap 'echo {signal} >> $RUNS; exit 7' {signal}; while :; do echo ready; sleep 0.1; done"
        );
        let wrapper = exec(&sandbox, "--key k --on-failure store", &of_command);
        // The first process of a namespace is treated in a way of its own, so that is a shell.
        let outer = format!(
            "\"$@\" > $RUNS.out 2> $RUNS.err & until grep -q ready $RUNS.out; do sleep 0.01; done; kill -{signal} $!; wait $!"
        );
        command.args(["sh", "-c", &outer, "sh"]).arg(wrapper.get_program()).args(wrapper.get_args());
        let ended = command.env("RUNS", sandbox.path("runs")).output().unwrap();
        let said = std::fs::read_to_string(sandbox.path("runs.err")).unwrap();
        assert_eq!((code(ended.status), runs(&sandbox)), (7, vec![signal.to_owned()]), "{said}");
    }
}

#[test]
fn repeated_signals_are_each_passed_on() {
    let sandbox = Sandbox::new();
    let mut child = started(&sandbox, "--key k --on-failure store", NOTING);
    for count in 1..=5 {
        send(&child, if count % 2 == 0 { Signal::INT } else { Signal::HUP });
        until_noted(&sandbox, count);
    }
    send(&child, Signal::TERM);
    assert_eq!(code(child.wait().unwrap()), 7);
    assert_eq!(runs(&sandbox), ["HUP", "INT", "HUP", "INT", "HUP"]);
}

#[test]
fn a_signal_before_the_command_ends_the_wait_and_nothing_runs() {
    for (signal, exit) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131), (Signal::TERM, 143)] {
        let sandbox = Sandbox::new();
        let mut first = started(&sandbox, "--key k", "echo ready; cat > /dev/null");
        // Waits for the claim: it has been at the store, which is free again.
        let mut second = exec(&sandbox, "--key k --wait 300s", "echo run >> $RUNS").spawn().unwrap();
        pause(Duration::from_millis(300));
        let begun = now();
        send(&second, signal);
        assert_eq!(code(second.wait().unwrap()), exit);
        assert!(begun.elapsed() < Duration::from_secs(20));
        drop(first.stdin.take());
        assert_eq!(code(first.wait().unwrap()), 0);
        // Waits for the directory.
        let store = sandbox.open();
        let mut third = exec(&sandbox, "--key l --lock-wait 300s", "echo run >> $RUNS").spawn().unwrap();
        let mut said = [0; 32];
        third.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
        send(&third, signal);
        assert_eq!(code(third.wait().unwrap()), exit);
        store.close().unwrap();
        assert!(runs(&sandbox).is_empty());
        assert_eq!(sandbox.run("get l --namespace exec").code, 1, "never claimed");
    }
}

/// `nohup`, and the background jobs of a script.
const IGNORING: &str = r#"trap '' HUP INT; exec "$@""#;

#[test]
fn what_was_ignored_stays_ignored_for_the_wrapper_and_the_command() {
    let sandbox = Sandbox::new();
    let script = "kill -HUP $$; kill -INT $$; echo ready; cat; kill -TERM $$";
    let mut command = through(IGNORING, &exec(&sandbox, "--key k", script));
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    read_ready(&mut child);
    send(&child, Signal::HUP);
    send(&child, Signal::INT);
    child.stdin.take().unwrap().write_all(b"still here\n").unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(
        (code(child.wait().unwrap()), out.as_str()),
        (143, "still here\n"),
        "what was not ignored works"
    );
}

/// With SIGCHLD ignored, as some supervisors leave it, the system forgets at once how a child ended.
#[test]
fn an_ignored_sigchld_hides_no_end() {
    if !Command::new("bash").arg("--version").output().is_ok_and(|out| out.status.success()) {
        println!("SKIPPED: there is no bash here, and other shells do not ignore SIGCHLD for what they run");
        return;
    }
    let sandbox = Sandbox::new();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("sh -c 'exit 5'", 5)] {
        let words = format!("--key k{code} --on-failure store");
        let line = r#"exec bash -c 'trap "" CHLD; exec "$@"' bash "$@""#;
        let ran = run(&mut through(line, &exec(&sandbox, &words, script)));
        assert_eq!(ran.code, code, "{script}: {}", ran.err);
        let again = run(&mut exec(&sandbox, &words, "exit 99"));
        assert_eq!(again.code, code, "recorded: {}", again.err);
    }
}

#[test]
fn dedupe_and_import_ignore_what_they_were_told_to() {
    let (sandbox, rows) = (Sandbox::new(), rows(100));
    let words = "dedupe --delimiter ; --whole-record";
    let mut child = through(IGNORING, &sandbox.command(words)).stdin(Stdio::piped()).spawn().unwrap();
    let (one, other) = rows.split_at(50);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&with_header(one)).unwrap();
    let mut out = vec![0; with_header(one).len()];
    child.stdout.as_mut().unwrap().read_exact(&mut out).unwrap();
    send(&child, Signal::INT);
    send(&child, Signal::HUP);
    stdin.write_all(other.concat().as_bytes()).unwrap();
    drop(stdin);
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    assert_eq!(code(child.wait().unwrap()), 0);
    assert_each_once(&[&out], &rows);

    let from = Sandbox::new();
    from.fill();
    let export = run(&mut from.command("export"));
    let (sandbox, half) = (Sandbox::new(), export.out.len() / 2);
    let mut child = through(IGNORING, &sandbox.command("import")).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&export.out[..half]).unwrap();
    // The store is there once it reads.
    let begun = now();
    while !sandbox.store().join("STORE").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        pause(Duration::from_millis(5));
    }
    send(&child, Signal::INT);
    stdin.write_all(&export.out[half..]).unwrap();
    drop(stdin);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(code(ended.status), 0, "{}", String::from_utf8_lossy(&ended.stderr));
}

/// A command has nothing of ours open: neither the lock of the store nor the store.
#[test]
fn a_process_left_behind_does_not_hold_the_store() {
    let sandbox = Sandbox::new();
    let script = "sleep 60 > /dev/null 2>&1 & echo $! > $RUNS.left; ls -l /proc/self/fd";
    let first = ran(&sandbox, "--key k", script);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(
        !String::from_utf8_lossy(&first.out).contains("store"),
        "{}",
        String::from_utf8_lossy(&first.out)
    );
    assert_eq!(ran(&sandbox, "--key l --lock-wait 0s", "echo ok").out, b"ok\n");
    let left = std::fs::read_to_string(sandbox.path("runs.left")).unwrap();
    let pid = rustix::process::Pid::from_raw(left.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}
