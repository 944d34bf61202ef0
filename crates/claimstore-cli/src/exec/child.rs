//! The command while it runs: output passed on and kept, signals passed on, the claim renewed.

use std::io::{self, IsTerminal as _, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use super::hold::{Grant, Hold};
use super::outcome::{Outcome, Stream};
use super::{Exec, say};
use crate::exit::Exit;

const READ_BYTES: usize = 16 << 10;
/// The signals that ask a process to end, which the command gets in our place.
pub(super) const PASSED_ON: [(i32, Signal); 4] =
    [(SIGHUP, Signal::HUP), (SIGINT, Signal::INT), (SIGQUIT, Signal::QUIT), (SIGTERM, Signal::TERM)];

/// How the command ended.
pub(super) enum Ended {
    Code(u8, Outcome),
    Signal(u8),
}

impl Ended {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Ended::Code(code, _) => Exit::Command(*code),
            Ended::Signal(signal) => Exit::Signal(*signal),
        }
    }
}

/// Starts the command. An error: nothing ran.
pub(super) fn start(exec: &Exec, grant: &Grant) -> io::Result<Child> {
    let (program, arguments) = exec.program();
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("CLAIMSTORE_KEY", &exec.key);
    command.env("CLAIMSTORE_TOKEN", grant.token.token().to_string());
    command.env("CLAIMSTORE_ATTEMPT", grant.attempt.to_string());
    command.spawn()
}

/// Attends to the command until it ends. An error: it ran, and how it ended is not known.
pub(super) fn attend(
    exec: &Exec,
    hold: &Hold<'_>,
    grant: &Grant,
    signals: &Passing,
    mut child: Child,
) -> io::Result<Ended> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let limit = usize::try_from(exec.max_output).unwrap_or(usize::MAX);
    let (stop, stopped) = mpsc::channel();
    let (status, stdout, stderr) = thread::scope(|scope| {
        let stdout = scope.spawn(|| pass_on(out, io::stdout(), limit));
        let stderr = scope.spawn(|| pass_on(err, io::stderr(), limit));
        scope.spawn(move || renew(exec, hold, grant, &stopped));
        let forwarding = scope.spawn(|| signals.forward(&child));
        let ended = wait_without_reaping(&child);
        // The process id is the command's as long as nobody has reaped it, and that is after this.
        signals.stop();
        let _ = forwarding.join();
        let streams = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        drop(stop);
        (ended, streams.0, streams.1)
    });
    status?;
    Ok(ended(child.wait()?, stdout, stderr))
}

fn ended(status: ExitStatus, stdout: Stream, stderr: Stream) -> Ended {
    match (status.code(), status.signal()) {
        (_, Some(signal)) => Ended::Signal(u8::try_from(signal).unwrap_or(u8::MAX)),
        (code, None) => {
            let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
            let outcome = Outcome { code, stdout, stderr };
            outcome.say_what_is_cut();
            Ended::Code(code, outcome)
        }
    }
}

fn wait_without_reaping(child: &Child) -> io::Result<()> {
    loop {
        match waitid(WaitId::Pid(Pid::from_child(child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map(drop).map_err(io::Error::from),
        }
    }
}

/// Passes a stream on as it comes, and keeps its beginning. A reader of ours that is gone does not end the command:
/// its work goes on and is recorded.
fn pass_on(from: Option<impl Read>, mut to: impl Write, limit: usize) -> Stream {
    let mut stream = Stream::default();
    let Some(mut from) = from else { return stream };
    let mut buffer = vec![0; READ_BYTES];
    let mut has_reader = true;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return stream,
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                stream.note(bytes, limit);
                has_reader = has_reader && to.write_all(bytes).and_then(|()| to.flush()).is_ok();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return stream,
        }
    }
}

/// Renews the claim at half the lease until `stopped` is hung up. Where the store is busy or failing it tries again
/// sooner; where somebody has taken the key over, it says so and is done: the result will be refused.
fn renew(exec: &Exec, hold: &Hold<'_>, grant: &Grant, stopped: &mpsc::Receiver<()>) {
    let mut pause = exec.lease / 2;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = match hold.renew(grant) {
            Ok(true) => exec.lease / 2,
            Ok(false) => {
                say("the claim was taken over: what this run comes to will not count");
                return;
            }
            Err(error) => {
                say(&format!("the claim could not be renewed: {error:#}"));
                exec.lease / 8
            }
        };
    }
}

/// Takes signals in the place of the command, and passes them on to it.
pub(super) struct Passing {
    /// The terminal tells its whole foreground group: the command has those signals already.
    at_terminal: bool,
    caught: [(Arc<AtomicBool>, Signal); 4],
    bell: UnixStream,
    ringer: UnixStream,
    over: AtomicBool,
}

impl Passing {
    pub(super) fn install() -> io::Result<Passing> {
        let (bell, ringer) = UnixStream::pair()?;
        let mut caught = PASSED_ON.map(|(_, signal)| (Arc::new(AtomicBool::new(false)), signal));
        for ((number, _), (flag, _)) in PASSED_ON.iter().zip(&mut caught) {
            // In this order, whoever hears the bell sees the flag.
            flag::register(*number, Arc::clone(flag))?;
            pipe::register(*number, ringer.try_clone()?)?;
        }
        let at_terminal = io::stdin().is_terminal();
        Ok(Passing { at_terminal, caught, bell, ringer, over: AtomicBool::new(false) })
    }

    fn forward(&self, child: &Child) {
        let mut rung = [0; 64];
        while !self.over.load(Ordering::SeqCst) {
            for (caught, signal) in &self.caught {
                let is_known = self.at_terminal && matches!(*signal, Signal::INT | Signal::QUIT);
                if caught.swap(false, Ordering::SeqCst) && !is_known {
                    // An error: it has ended by itself.
                    let _ = kill_process(Pid::from_child(child), *signal);
                }
            }
            let _ = (&self.bell).read(&mut rung);
        }
    }

    fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = (&self.ringer).write(&[0]);
    }
}
