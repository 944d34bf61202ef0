//! What `exec` does next, as a state machine: it is told what happened and when, and says what to do. It does nothing
//! itself, so every order of ends, signals, renewals and other callers can be tried.
//!
//! What it keeps to, whatever the order:
//!
//! - The result is recorded once the command has ended, before anything is waited for that the command does not need
//!   any more: processes it left behind, a slow reader. Only its output is waited for, and only for [`GRACE`].
//! - While the command runs its claim is renewed with half of the lease left, so that a directory which is busy for
//!   less than that costs nothing.
//! - A run that had begun and has no result counts as an attempt, however it ended.
//! - No signal is without effect: before the command it ends the wait, while the command runs it is the command's, and
//!   after that it ends a wait. The wait to record is ended by the second one, after the first was warned.

use std::time::Duration;

use super::args::OnFailure;
use crate::exit::Exit;
use crate::planted;

/// How long to sleep between two looks at a claim that somebody else holds: half as long as it was waited already,
/// between these. Each look opens the store, which the holder wants to open too, and uses up one of its lives.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long output is waited for when the command has ended and others still have its standard output or error open.
/// A kill in this time makes an orphan of a command whose end was known, so it is short.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// What the user asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) lease: Duration,
    pub(super) wait: Duration,
    pub(super) on_failure: OnFailure,
}

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Code(u8),
    Signal(u8),
}

/// What became of output that was to be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Delivery {
    /// All of it was written.
    Whole,
    /// Nobody reads it any more.
    ReaderGone,
    /// Some of it was left when a signal ended the wait for its reader.
    Left,
    /// It could not be written.
    Failed,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The claim is ours.
    Granted,
    /// The command runs elsewhere, or is to be retried after so long.
    Busy(Duration),
    /// The command ran before, and ended with this code.
    Known(u8),
    /// The claim was refused, or failed.
    Refused,
    /// The command runs.
    Started,
    /// The command cannot be run.
    NotStarted,
    /// A signal came. The command may have it from whoever sent it.
    Told { signal: u8, has_it: bool },
    /// The time has come that [`Machine::due`] gave.
    Due,
    /// The claim has a whole lease again.
    Renewed,
    /// Somebody else has the claim.
    TakenOver,
    /// The store was busy or failed.
    NotRenewed,
    /// The command ended.
    Ended(End),
    /// What is to be recorded of the output is at hand. Others may still have it open.
    Output { is_open: bool },
    /// What was to be recorded or released is, or cannot be.
    Settled { is_done: bool },
    /// The output was passed on as far as it goes, and is closed.
    Delivered(Delivery),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Claim,
    /// Say that the command is busy, and when to ask again; then end.
    GiveUp(Duration),
    /// Start the command.
    Start,
    /// Send the signal to the command.
    PassOn(u8),
    Renew,
    /// Whatever waits for the directory of the store stops waiting.
    StopQueueing,
    /// The output is over for what is recorded.
    Cut,
    Record(Verdict),
    /// As if the claim had never been.
    Release,
    /// Print what is recorded.
    Replay,
    /// What others still write is not waited for.
    StopReading,
    /// Nor is a reader: output that is not passed on yet is given up.
    StopPassing,
    Say(Note),
    End(Exit),
    /// End with the error that was met.
    Fail,
}

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The result of the key.
    Complete,
    /// The result of the key, a failure.
    Fail,
    /// No result, one attempt less.
    Retry,
    /// As if it had not been.
    Release,
}

/// What the user is told on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    TakenOver,
    StillRecording,
    LeftOpen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `told`: a signal that came meanwhile.
    Claiming {
        told: Option<u8>,
    },
    Waiting {
        until: Duration,
    },
    Starting,
    Running {
        renewal: Renewal,
    },
    /// `until`: when the wait for output is over, unless it is already.
    Draining {
        end: End,
        until: Option<Duration>,
    },
    Recording {
        end: End,
        is_open: bool,
        is_warned: bool,
    },
    /// `exit`: how to end then; else with the error that was met.
    Releasing {
        exit: Option<Exit>,
    },
    Passing {
        exit: Exit,
        is_replay: bool,
    },
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    At(Duration),
    Asked,
    /// The claim is lost.
    Never,
}

/// One call of `exec`.
#[derive(Debug)]
pub(super) struct Machine {
    terms: Terms,
    state: State,
    /// When the command was first found busy.
    busy_since: Option<Duration>,
    granted: Duration,
    /// Signals for a command that is just being started.
    early: Vec<u8>,
    /// Whether one came while the command ran. Such a signal asks all of it to end.
    was_told: bool,
    /// The last signal that came after the command ended.
    told: Option<u8>,
    /// What came of the output before it was asked for.
    is_open: Option<bool>,
    delivery: Option<Delivery>,
}

impl Machine {
    /// The first thing to do is to claim.
    pub(super) fn new(terms: Terms) -> Machine {
        let state = State::Claiming { told: None };
        Machine {
            terms,
            state,
            busy_since: None,
            granted: Duration::ZERO,
            early: Vec::new(),
            was_told: false,
            told: None,
            is_open: None,
            delivery: None,
        }
    }

    /// When [`Event::Due`] is to come, if nothing else happens before.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.state {
            State::Waiting { until } | State::Running { renewal: Renewal::At(until) } => Some(until),
            State::Draining { until, .. } => until,
            _ => None,
        }
    }

    pub(super) fn on(&mut self, now: Duration, event: Event) -> Vec<Step> {
        match event {
            Event::Output { is_open } => self.is_open = Some(is_open),
            Event::Delivered(delivery) => self.delivery = Some(delivery),
            _ => {}
        }
        match self.state {
            State::Claiming { told } => self.claiming(now, told, event),
            State::Waiting { until } => self.waiting(now, until, event),
            State::Starting => self.starting(event),
            State::Running { renewal } => self.running(now, renewal, event),
            State::Draining { end, until } => self.draining(now, end, until, event),
            State::Recording { end, is_open, is_warned } => self.recording(end, is_open, is_warned, event),
            State::Releasing { exit } => self.releasing(exit, event),
            State::Passing { exit, is_replay } => self.passing(exit, is_replay, event),
            State::Over => Vec::new(),
        }
    }

    fn claiming(&mut self, now: Duration, told: Option<u8>, event: Event) -> Vec<Step> {
        match (event, told) {
            (Event::Told { signal, .. }, _) => {
                self.state = State::Claiming { told: Some(signal) };
                vec![Step::StopQueueing]
            }
            (Event::Granted, Some(signal)) => self.release(Some(Exit::Signal(signal))),
            (Event::Granted, None) => {
                self.granted = now;
                self.go(State::Starting, [Step::Start])
            }
            (Event::Busy(_) | Event::Known(_), Some(signal)) => self.end(Exit::Signal(signal)),
            (Event::Busy(retry_after), None) => self.wait(now, retry_after),
            (Event::Known(code), None) => {
                let exit = Exit::Command(code);
                self.go(State::Passing { exit, is_replay: true }, [Step::Replay])
            }
            (Event::Refused, _) => self.go(State::Over, [Step::Fail]),
            _ => Vec::new(),
        }
    }

    /// For a while, or not at all any more.
    fn wait(&mut self, now: Duration, retry_after: Duration) -> Vec<Step> {
        let waited = now.saturating_sub(*self.busy_since.get_or_insert(now));
        let left = self.terms.wait.saturating_sub(waited);
        if left.is_zero() {
            return self.go(State::Over, [Step::GiveUp(retry_after)]);
        }
        let pause = (waited / 2).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1).min(left);
        self.go(State::Waiting { until: now + pause }, [])
    }

    fn waiting(&mut self, now: Duration, until: Duration, event: Event) -> Vec<Step> {
        match event {
            Event::Due if now >= until => self.go(State::Claiming { told: None }, [Step::Claim]),
            Event::Told { signal, .. } => self.end(Exit::Signal(signal)),
            _ => Vec::new(),
        }
    }

    fn starting(&mut self, event: Event) -> Vec<Step> {
        match event {
            Event::Started => {
                let renewal = Renewal::At(self.granted + self.until_renewal());
                self.state = State::Running { renewal };
                self.was_told = !self.early.is_empty();
                self.early.drain(..).map(Step::PassOn).collect()
            }
            Event::NotStarted => self.release(self.early.first().map(|signal| Exit::Signal(*signal))),
            Event::Told { signal, .. } => {
                self.early.push(signal);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// How long after a renewal the next one is asked for.
    fn until_renewal(&self) -> Duration {
        if planted::active(40) {
            return self.terms.lease;
        }
        self.terms.lease / 2
    }

    fn running(&mut self, now: Duration, renewal: Renewal, event: Event) -> Vec<Step> {
        match (event, renewal) {
            (Event::Told { signal, has_it }, _) => {
                self.was_told = true;
                if has_it { Vec::new() } else { vec![Step::PassOn(signal)] }
            }
            (Event::Due, Renewal::At(at)) if now >= at => {
                self.go(State::Running { renewal: Renewal::Asked }, [Step::Renew])
            }
            (Event::Renewed, _) => self.renew_in(now, self.until_renewal()),
            (Event::NotRenewed, _) => self.renew_in(now, self.terms.lease / 8),
            (Event::TakenOver, _) => {
                self.go(State::Running { renewal: Renewal::Never }, [Step::Say(Note::TakenOver)])
            }
            (Event::Ended(end), renewal) => {
                let mut steps = Vec::new();
                if renewal == Renewal::Asked {
                    steps.push(Step::StopQueueing);
                }
                steps.extend(self.drain(now, end));
                steps
            }
            _ => Vec::new(),
        }
    }

    fn renew_in(&mut self, now: Duration, pause: Duration) -> Vec<Step> {
        self.go(State::Running { renewal: Renewal::At(now + pause) }, [])
    }

    fn drain(&mut self, now: Duration, end: End) -> Vec<Step> {
        let mut until = Some(now + GRACE);
        if planted::active(43) {
            until = None;
        }
        match self.is_open {
            Some(is_open) => self.record(end, is_open),
            None => self.go(State::Draining { end, until }, []),
        }
    }

    fn draining(&mut self, now: Duration, end: End, until: Option<Duration>, event: Event) -> Vec<Step> {
        match (event, until) {
            (Event::Output { is_open }, _) => self.record(end, is_open),
            (Event::Due, Some(until)) if now < until => Vec::new(),
            (Event::Due, Some(_)) => self.go(State::Draining { end, until: None }, [Step::Cut]),
            (Event::Told { signal, .. }, Some(_)) => {
                self.told = Some(signal);
                self.go(State::Draining { end, until: None }, [Step::Cut])
            }
            _ => Vec::new(),
        }
    }

    fn record(&mut self, end: End, is_open: bool) -> Vec<Step> {
        let verdict = verdict(end, self.terms.on_failure);
        self.go(State::Recording { end, is_open, is_warned: false }, [Step::Record(verdict)])
    }

    fn recording(&mut self, end: End, is_open: bool, is_warned: bool, event: Event) -> Vec<Step> {
        match event {
            Event::Settled { is_done } => {
                let exit = if is_done { end.exit() } else { Exit::Failed };
                self.pass(exit, is_done && is_open)
            }
            Event::Told { signal, .. } => {
                self.told = Some(signal);
                let step = if is_warned { Step::StopQueueing } else { Step::Say(Note::StillRecording) };
                self.go(State::Recording { end, is_open, is_warned: true }, [step])
            }
            _ => Vec::new(),
        }
    }

    /// Passes on what is left of the output.
    fn pass(&mut self, exit: Exit, is_open: bool) -> Vec<Step> {
        self.state = State::Passing { exit, is_replay: false };
        match self.delivery {
            Some(delivery) => self.passing(exit, false, Event::Delivered(delivery)),
            None if self.told.is_some() => vec![Step::StopPassing],
            None if self.was_told => vec![Step::StopReading],
            None if is_open => vec![Step::Say(Note::LeftOpen)],
            None => Vec::new(),
        }
    }

    fn passing(&mut self, exit: Exit, is_replay: bool, event: Event) -> Vec<Step> {
        match event {
            Event::Told { signal, .. } => {
                self.told = Some(signal);
                vec![Step::StopPassing]
            }
            Event::Delivered(delivery) => self.end(delivered(exit, delivery, is_replay, self.told)),
            _ => Vec::new(),
        }
    }

    fn release(&mut self, exit: Option<Exit>) -> Vec<Step> {
        self.go(State::Releasing { exit }, [Step::Release])
    }

    fn releasing(&mut self, exit: Option<Exit>, event: Event) -> Vec<Step> {
        match (event, exit) {
            (Event::Settled { is_done: true }, Some(exit)) => self.end(exit),
            (Event::Settled { .. }, _) => self.go(State::Over, [Step::Fail]),
            (Event::Told { .. }, _) => vec![Step::StopQueueing],
            _ => Vec::new(),
        }
    }

    fn end(&mut self, exit: Exit) -> Vec<Step> {
        self.go(State::Over, [Step::End(exit)])
    }

    fn go<const N: usize>(&mut self, state: State, steps: [Step; N]) -> Vec<Step> {
        self.state = state;
        steps.into()
    }
}

impl End {
    pub(super) fn exit(self) -> Exit {
        match self {
            End::Code(code) => Exit::Command(code),
            End::Signal(signal) => Exit::Signal(signal),
        }
    }

    /// What the history of the key says of a run without a result.
    pub(super) fn reason(self) -> String {
        match self {
            End::Code(code) => format!("exit code {code}"),
            End::Signal(signal) => format!("ended by signal {signal}"),
        }
    }
}

/// What a run comes to that ended so.
pub(super) fn verdict(end: End, on_failure: OnFailure) -> Verdict {
    let verdict = match (end, on_failure) {
        (End::Code(0), _) => Verdict::Complete,
        (End::Code(_), OnFailure::Store) => Verdict::Fail,
        (End::Code(_), OnFailure::Retry) | (End::Signal(_), _) => Verdict::Retry,
    };
    if planted::active(42) {
        return if matches!(end, End::Signal(_)) { Verdict::Release } else { verdict };
    }
    verdict
}

/// The exit code, given what became of the output. Whoever reads the output of a command may go, and its work still
/// counts; of what is printed again, reading is all there is.
fn delivered(exit: Exit, delivery: Delivery, is_replay: bool, told: Option<u8>) -> Exit {
    match (delivery, told) {
        // What is not recorded matters most, whatever became of the output.
        _ if exit == Exit::Failed => exit,
        (Delivery::Failed, _) => Exit::Failed,
        (Delivery::Left, Some(signal)) => Exit::Signal(signal),
        (Delivery::ReaderGone, _) if is_replay => Exit::ReaderGone,
        _ => exit,
    }
}

#[cfg(test)]
mod tests;
