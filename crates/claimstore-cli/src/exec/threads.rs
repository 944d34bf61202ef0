//! The threads of a call. Each waits for one thing and reports it: signals, the store, the end of the command, its two
//! streams. All of them are there before the command is started, so that none can be missing afterwards.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::process::{ChildStderr, ChildStdout};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope};

use claimstore::LeaseToken;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use signal_hook::low_level::siginfo::Origin;

use super::args::Exec;
use super::hold::{Answer, Hold, Settlement};
use super::machine::Delivery;
use super::outcome::{Outcome, Stream};
use super::pump::{Patience, Pump, write_out};
use crate::signals::Signals;

/// The two streams of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Stdout,
    Stderr,
}

/// What the threads report.
#[derive(Debug)]
pub(super) enum News {
    Signal(Origin),
    Claimed(anyhow::Result<Answer>),
    Renewed(anyhow::Result<bool>),
    Settled(anyhow::Result<()>),
    Ended(io::Result<()>),
    Output(Which, Stream, bool),
    Delivered(Which, Delivery, Option<io::Error>),
}

/// What is to be done with the store. The signals are those that end the queue for it.
#[derive(Debug)]
pub(super) enum Job {
    Claim(Signals),
    Renew(LeaseToken, Signals),
    Settle(LeaseToken, Settlement, Signals),
}

/// What the threads of a command wait for, to begin.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) end: Sender<Pid>,
    pub(super) stdout: Sender<ChildStdout>,
    pub(super) stderr: Sender<ChildStderr>,
}

/// What all threads use.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) exec: &'a Exec,
    pub(super) hold: Hold<'a, Exec>,
    /// Hung up when the output is over for what is recorded.
    pub(super) bell: PipeReader,
    pub(super) patience: Patience,
}

pub(super) fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() + Send + 'scope,
) -> io::Result<()> {
    thread::Builder::new().spawn_scoped(scope, work).map(drop)
}

/// Nobody listens any more once the end is decided.
pub(super) fn report(news: &Sender<News>, what: News) {
    let _ = news.send(what);
}

impl Shared<'_> {
    /// Does jobs at the store, one after the other.
    pub(super) fn work(&self, jobs: &Receiver<Job>, news: &Sender<News>) {
        for job in jobs {
            report(
                news,
                match job {
                    Job::Claim(queue) => News::Claimed(self.hold.claim(&queue)),
                    Job::Renew(token, queue) => News::Renewed(self.hold.renew(&token, &queue)),
                    Job::Settle(token, result, queue) => {
                        News::Settled(self.hold.settle(&token, &result, &queue))
                    }
                },
            );
        }
    }
}

/// Threads that wait for a command to begin, and go if it does not.
pub(super) fn make_ready<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shared: &'scope Shared<'_>,
    news: &Sender<News>,
) -> io::Result<Ready> {
    let ((end, begun), (stdout, out), (stderr, err)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    let ended = news.clone();
    spawn(scope, move || {
        if let Ok(pid) = begun.recv() {
            report(&ended, News::Ended(wait_without_reaping(pid)));
        }
    })?;
    let (of_stdout, of_stderr) = (news.clone(), news.clone());
    spawn(scope, move || pump(shared, &out, &io::stdout(), Which::Stdout, &of_stdout))?;
    spawn(scope, move || pump(shared, &err, &io::stderr(), Which::Stderr, &of_stderr))?;
    Ok(Ready { end, stdout, stderr })
}

fn pump<F: Read + AsFd>(
    shared: &Shared<'_>,
    from: &Receiver<F>,
    to: &impl AsFd,
    which: Which,
    news: &Sender<News>,
) {
    let Ok(from) = from.recv() else { return };
    let limit = usize::try_from(shared.exec.max_output).unwrap_or(usize::MAX);
    let note = |stream, is_open| report(news, News::Output(which, stream, is_open));
    let pump = Pump::new(Some(from), to.as_fd(), limit);
    let (delivery, error) = pump.run(shared.bell.as_fd(), &shared.patience, note);
    report(news, News::Delivered(which, delivery, error));
}

/// Writes what a run wrote.
pub(super) fn replay(shared: &Shared<'_>, outcome: &Outcome, news: &Sender<News>) {
    let (delivery, error) = write_out(&outcome.stdout.kept, io::stdout().as_fd(), &shared.patience);
    report(news, News::Delivered(Which::Stdout, delivery, error));
    let (delivery, error) = write_out(&outcome.stderr.kept, io::stderr().as_fd(), &shared.patience);
    report(news, News::Delivered(Which::Stderr, delivery, error));
}

fn wait_without_reaping(pid: Pid) -> io::Result<()> {
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(Errno::INTR) => {}
            result => return result.map(drop).map_err(io::Error::from),
        }
    }
}
