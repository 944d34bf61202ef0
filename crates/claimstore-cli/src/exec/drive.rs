//! Does what the [`Machine`] says, and tells it what happened.
//!
//! The command is reaped by the thread that also sends it signals, after it ended: until then its process id is its own.

use std::io::{self, PipeWriter};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use claimstore::LeaseToken;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::siginfo::Origin;

use super::args::Exec;
use super::hold::{Answer, Grant, Hold, Settlement};
use super::machine::{Delivery, End, Event, Machine, Note, Step, Terms};
use super::outcome::{Outcome, Stream};
use super::pump::Patience;
use super::say::say;
use super::threads::{self, Job, News, Shared, Which, make_ready, report, spawn};
use super::{program, told};
use crate::exit::{self, Exit, Failure};
use crate::signals::{Signals, heeded};
use crate::{descriptors, duration};

/// The signals that ask a process to end, which the command gets in our place.
const PASSED_ON: [(i32, Signal); 4] =
    [(SIGHUP, Signal::HUP), (SIGINT, Signal::INT), (SIGQUIT, Signal::QUIT), (SIGTERM, Signal::TERM)];

pub(crate) fn run(exec: &Exec) -> anyhow::Result<Exit> {
    let numbers = heeded(&PASSED_ON.map(|(number, _)| number));
    // Once all is decided, a signal ends a process that is still writing its last line.
    let is_over = Arc::new(AtomicBool::new(false));
    for number in &numbers {
        flag::register_conditional_default(*number, Arc::clone(&is_over)).context("attending to signals")?;
    }
    // An ignored SIGCHLD is inherited, and with it how a child ended cannot be learned: the wait would fail. A handler undoes
    // that, for us and for the command, which gets the default action.
    flag::register(SIGCHLD, Arc::default()).context("attending to signals")?;
    // In this order whoever hears of a signal sees that it is noted.
    let noted = Signals::noting(&numbers).context("attending to signals")?;
    let mut signals = SignalsInfo::<WithOrigin>::new(&numbers).context("attending to signals")?;
    let handle = signals.handle();
    let (bell, ringer) = io::pipe().context("making a pipe")?;
    let shared = Shared { exec, hold: Hold::new(exec, exec), bell, patience: Patience::default() };
    let (news, inbox) = mpsc::channel();
    let (jobs, work) = mpsc::channel();
    thread::scope(|scope| {
        let (told, done) = (news.clone(), news.clone());
        let shared = &shared;
        // Also after a panic, or the scope would wait for its threads for ever.
        let _ending = Ending { patience: &shared.patience, signals: handle, is_over };
        let started =
            spawn(scope, move || signals.forever().for_each(|origin| report(&told, News::Signal(origin))))
                .and_then(|()| spawn(scope, move || shared.work(&work, &done)));
        let drive = Drive::new(scope, shared, noted, ringer, news, jobs);
        started.context("starting a thread").and_then(|()| drive.run(&inbox))
    })
}

/// Ends the threads of a call. Dropped after the drive, and with that what its threads wait for.
struct Ending<'a> {
    patience: &'a Patience,
    signals: Handle,
    is_over: Arc<AtomicBool>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.patience.stop();
        self.signals.close();
        self.is_over.store(true, Ordering::SeqCst);
    }
}

#[expect(clippy::disallowed_methods, reason = "a command runs in real time; there is no clock to step here")]
fn now() -> Instant {
    Instant::now()
}

/// One call, on its way.
struct Drive<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shared: &'env Shared<'env>,
    began: Instant,
    machine: Machine,
    /// Signals that have come, seen before they are reported.
    noted: Signals,
    /// A signal that came while the command was being started: it may have been too early for it.
    early: Option<u8>,
    /// Ends the queue of the job at hand.
    queue: Signals,
    ringer: Option<PipeWriter>,
    news: Sender<News>,
    jobs: Sender<Job>,
    grant: Option<Grant>,
    child: Option<Child>,
    /// What the command left, or what was recorded.
    outcome: Outcome,
    ended: Option<End>,
    open: Vec<bool>,
    deliveries: Vec<Delivery>,
    error: Option<anyhow::Error>,
}

/// What a step leads to at once.
enum Next {
    Nothing,
    Event(Event),
    End(anyhow::Result<Exit>),
}

impl<'scope, 'env> Drive<'scope, 'env> {
    fn new(
        scope: &'scope Scope<'scope, 'env>,
        shared: &'env Shared<'env>,
        noted: Signals,
        ringer: PipeWriter,
        news: Sender<News>,
        jobs: Sender<Job>,
    ) -> Drive<'scope, 'env> {
        let Exec { lease, wait, on_failure, .. } = *shared.exec;
        Drive {
            scope,
            shared,
            began: now(),
            machine: Machine::new(Terms { lease, wait, on_failure }),
            noted,
            early: None,
            queue: Signals::default(),
            ringer: Some(ringer),
            news,
            jobs,
            grant: None,
            child: None,
            outcome: Outcome { code: 0, stdout: Stream::default(), stderr: Stream::default() },
            ended: None,
            open: Vec::new(),
            deliveries: Vec::new(),
            error: None,
        }
    }

    fn run(mut self, inbox: &Receiver<News>) -> anyhow::Result<Exit> {
        self.job(Job::Claim);
        loop {
            let Some(event) = self.next(inbox)? else { continue };
            if let Some(result) = self.tell(event) {
                return result;
            }
        }
    }

    /// What happens next, if it is anything for the machine.
    fn next(&mut self, inbox: &Receiver<News>) -> anyhow::Result<Option<Event>> {
        let left = self.machine.due().map(|due| due.saturating_sub(self.began.elapsed()));
        let news = match left {
            None => inbox.recv().context("all threads are gone")?,
            Some(left) => match inbox.recv_timeout(left) {
                Ok(news) => news,
                Err(RecvTimeoutError::Timeout) => return Ok(Some(Event::Due)),
                Err(error) => return Err(error).context("all threads are gone"),
            },
        };
        self.event_of(news)
    }

    /// Tells the machine, and does what it says. Some: how to end.
    fn tell(&mut self, event: Event) -> Option<anyhow::Result<Exit>> {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for step in self.machine.on(self.began.elapsed(), event) {
                match self.take(step) {
                    Next::Nothing => {}
                    Next::Event(event) => events.push(event),
                    Next::End(result) => return Some(result),
                }
            }
        }
        None
    }

    fn event_of(&mut self, news: News) -> anyhow::Result<Option<Event>> {
        Ok(Some(match news {
            News::Signal(origin) => return Ok(self.told(&origin)),
            News::Claimed(Ok(Answer::Granted(grant))) => {
                self.grant = Some(grant);
                Event::Granted
            }
            News::Claimed(Ok(Answer::Busy(retry_after))) => Event::Busy(retry_after),
            News::Claimed(Ok(Answer::Known(outcome))) => {
                self.outcome = outcome;
                Event::Known(self.outcome.code)
            }
            News::Claimed(Err(error)) => {
                self.error = Some(error);
                Event::Refused
            }
            News::Renewed(Ok(true)) => Event::Renewed,
            News::Renewed(Ok(false)) => Event::TakenOver,
            News::Renewed(Err(error)) => {
                // A command that has ended meanwhile needs no renewal any more.
                if self.ended.is_none() {
                    say(&format!("the claim could not be renewed: {}", exit::message(&error)));
                }
                Event::NotRenewed
            }
            News::Settled(result) => self.settled(result),
            News::Ended(result) => {
                let child = self.child.as_mut().context("a command ended that never began")?;
                let status = result.and_then(|()| child.wait());
                // Without an end the claim is left to its term: what cannot be recorded must not be undone either.
                let end = end_of(status.context("the command ran, and how it ended is not known")?);
                self.ended = Some(end);
                if let End::Code(code) = end {
                    self.outcome.code = code;
                }
                Event::Ended(end)
            }
            News::Output(which, stream, is_open) => return Ok(self.output(which, stream, is_open)),
            News::Delivered(which, delivery, error) => return Ok(self.delivered(which, delivery, error)),
        }))
    }

    /// Nothing, if the machine knows of it.
    fn told(&mut self, origin: &Origin) -> Option<Event> {
        let signal = u8::try_from(origin.signal).unwrap_or(u8::MAX);
        let is_early = self.early.take_if(|early| *early == signal).is_some();
        let running = self.child.as_ref().filter(|_| self.ended.is_none());
        let sender = told::Sender::of(origin);
        let has_it = match running {
            None if is_early => return None,
            None => false,
            // The terminal may have been too early for the command.
            Some(_) if is_early && sender == told::Sender::Kernel => false,
            Some(child) => told::has_it(origin.signal, sender, Pid::from_child(child)),
        };
        Some(Event::Told { signal, has_it })
    }

    fn settled(&mut self, result: anyhow::Result<()>) -> Event {
        let is_done = result.is_ok();
        match result {
            Err(error) if self.child.is_some() => {
                say(&format!(
                    "the command ran, and its result could not be recorded: {}",
                    exit::message(&error)
                ));
            }
            Err(error) => {
                let error = error
                    .context("the claim could not be given back, and is trusted until its lease is over");
                match &self.error {
                    Some(_) => say(&exit::message(&error)),
                    None => self.error = Some(error),
                }
            }
            Ok(()) => {}
        }
        Event::Settled { is_done }
    }

    /// Of both streams, the second makes the event.
    fn output(&mut self, which: Which, stream: Stream, is_open: bool) -> Option<Event> {
        match which {
            Which::Stdout => self.outcome.stdout = stream,
            Which::Stderr => self.outcome.stderr = stream,
        }
        self.open.push(is_open);
        (self.open.len() == 2).then(|| Event::Output { is_open: self.open.contains(&true) })
    }

    fn delivered(&mut self, which: Which, delivery: Delivery, error: Option<io::Error>) -> Option<Event> {
        let name = if which == Which::Stdout { "standard output" } else { "standard error" };
        if let Some(error) = error {
            say(&format!("{name} cannot be written, and what is recorded was not passed on whole: {error}"));
        } else if delivery == Delivery::Left {
            say(&format!("ended by a signal before all of {name} was passed on"));
        }
        // Whoever closed standard error does not want it.
        let is_unwanted = which == Which::Stderr && delivery == Delivery::ReaderGone;
        self.deliveries.push(if is_unwanted { Delivery::Whole } else { delivery });
        let worst = self.deliveries.iter().max().copied();
        (self.deliveries.len() == 2).then_some(worst).flatten().map(Event::Delivered)
    }

    fn take(&mut self, step: Step) -> Next {
        match step {
            Step::Claim => self.job(Job::Claim),
            Step::Renew => self.job_of_grant(Job::Renew),
            Step::Record(verdict) => {
                let reason = self.ended.map(End::reason).unwrap_or_default();
                let outcome = self.outcome.clone();
                self.job_of_grant(|token, queue| {
                    Job::Settle(token, Settlement { verdict, reason, outcome }, queue)
                });
            }
            Step::Release => {
                self.job_of_grant(|token, queue| Job::Settle(token, Settlement::release(), queue));
            }
            Step::StopQueueing => self.queue.raise(self.noted.caught().unwrap_or(SIGTERM as u8)),
            Step::Start => return Next::Event(self.start()),
            Step::PassOn(signal) => self.pass_on(signal),
            Step::Cut => drop(self.ringer.take()),
            Step::Replay => {
                if let Err(error) = self.replay() {
                    return Next::End(Err(error).context("starting a thread"));
                }
            }
            Step::StopReading => self.shared.patience.stop_reading(),
            Step::StopPassing => self.shared.patience.stop(),
            Step::Say(note) => say(&note.text()),
            Step::GiveUp(retry_after) => return Next::End(Err(busy(retry_after))),
            Step::End(exit) => {
                self.outcome.what_is_cut().iter().for_each(|message| say(message));
                return Next::End(Ok(exit));
            }
            Step::Fail => {
                let unknown = || anyhow::anyhow!("ended without a reason");
                return Next::End(Err(self.error.take().unwrap_or_else(unknown)));
            }
        }
        Next::Nothing
    }

    fn job(&mut self, make: impl FnOnce(Signals) -> Job) {
        self.queue = Signals::default();
        // The thread is there as long as the channel is.
        let _ = self.jobs.send(make(self.queue.clone()));
    }

    fn job_of_grant(&mut self, make: impl FnOnce(LeaseToken, Signals) -> Job) {
        if let Some(token) = self.grant.as_ref().map(|grant| grant.token.clone()) {
            self.job(|queue| make(token, queue));
        }
    }

    fn start(&mut self) -> Event {
        if let Some(signal) = self.noted.caught() {
            // Nothing runs yet, and it is to stay so.
            self.early = Some(signal);
            self.error = Some(Failure::new(Exit::Signal(signal), "ended by a signal").into());
            return Event::NotStarted;
        }
        if descriptors::was_closed(io::stdout()) {
            say("standard output is closed: what the command prints is recorded, and shown to nobody");
        }
        match self.start_with_threads() {
            Ok(()) => {
                self.early = self.noted.caught();
                Event::Started
            }
            Err(error) => {
                self.error = Some(error);
                Event::NotStarted
            }
        }
    }

    /// An error: nothing ran.
    fn start_with_threads(&mut self) -> anyhow::Result<()> {
        let grant = self.grant.as_ref().context("nothing was claimed")?;
        let ready = make_ready(self.scope, self.shared, &self.news).context("starting a thread")?;
        let mut child = program::start(self.shared.exec, grant)?;
        descriptors::allow_all();
        // The threads are there: they end when this is done at the earliest.
        let _ = ready.end.send(Pid::from_child(&child));
        let _ = child.stdout.take().map(|stdout| ready.stdout.send(stdout));
        let _ = child.stderr.take().map(|stderr| ready.stderr.send(stderr));
        self.child = Some(child);
        Ok(())
    }

    fn pass_on(&self, signal: u8) {
        let named = PASSED_ON.iter().find(|(number, _)| *number == i32::from(signal));
        if let (Some((_, signal)), Some(child)) = (named, &self.child) {
            // An error: it has ended by itself.
            let _ = kill_process(Pid::from_child(child), *signal);
        }
    }

    fn replay(&self) -> io::Result<()> {
        let (shared, news, outcome) = (self.shared, self.news.clone(), self.outcome.clone());
        spawn(self.scope, move || threads::replay(shared, &outcome, &news))
    }
}

fn busy(retry_after: Duration) -> anyhow::Error {
    let message = format!(
        "the command is running elsewhere, or is to be retried later; ask again in {}",
        duration::format(retry_after)
    );
    Failure::new(Exit::Busy, message).into()
}

fn end_of(status: ExitStatus) -> End {
    match (status.signal(), status.code()) {
        (Some(signal), _) => End::Signal(u8::try_from(signal).unwrap_or(u8::MAX)),
        (None, code) => End::Code(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)),
    }
}

impl Note {
    fn text(self) -> String {
        match self {
            Note::TakenOver => "the claim was taken over: what this run comes to will not count",
            Note::StillRecording => {
                "the command has ended, and its end waits to be recorded, because the store is open elsewhere; \
                 another signal gives it up, and then the command may run again"
            }
            Note::LeftOpen => {
                "the command has ended, and its end is recorded; something that it started still has its output \
                 open: what that writes is passed on and not recorded, and a signal ends the wait for it"
            }
        }
        .into()
    }
}
