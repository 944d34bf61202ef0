//! Calls of `exec` on one key against a plain statement of what should come of them. The machine and the steps at the
//! store are the real ones, the store lies in memory and its clock stands still until it is moved. Commands, signals,
//! kills, other callers and whoever else has the directory open are the script's, between any two steps.
//!
//! What is taken for granted: a caller that lives does what it can do before time goes on, and nobody keeps the
//! directory for longer than a quarter of the lease at a time.

mod script;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use claimstore::ManualClock;
use claimstore::io::MemoryStorage;
use clap::Parser as _;
use proptest::prelude::*;

use super::args::{AfterCrash, Exec, OnFailure};
use super::hold::{Answer, Grant, Hold, Settlement};
use super::machine::{Delivery, End, Event, GRACE, Machine, Step, Terms, Verdict};
use super::outcome::{Outcome, Stream};
use crate::exit::Exit;
use crate::signals::Signals;
use script::{Action, Leaves, Place, SLOTS, TERM, action};

const LEASE: Duration = Duration::from_secs(8);
const ATTEMPTS: u32 = 3;

/// What a caller does at the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Claim,
    Renew,
    Settle(Verdict),
}

#[derive(Debug, Clone, Copy)]
struct Command {
    ended: Option<(End, Duration)>,
    leaves: Leaves,
    /// The record has what it gets of the output.
    is_cut: bool,
    is_recorded: bool,
}

struct Caller {
    id: u32,
    machine: Machine,
    starts: bool,
    jobs: VecDeque<(Job, Signals)>,
    events: VecDeque<Event>,
    grant: Option<Grant>,
    command: Option<Command>,
    is_over: bool,
}

/// What should be known of the key.
#[derive(Debug, Default)]
struct Plain {
    granted: u32,
    result: Option<u8>,
    /// Who has the claim, and whether somebody may rely on it.
    holder: Option<(u32, bool)>,
}

struct World<'a> {
    exec: &'a Exec,
    place: &'a Place,
    callers: [Option<Caller>; SLOTS],
    plain: Plain,
    calls: u32,
}

impl World<'_> {
    fn hold(&self) -> Hold<'_, Place> {
        Hold::new(self.exec, self.place)
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Call { slot, waits, starts } if self.callers[slot].is_none() => {
                self.call(slot, waits, starts);
            }
            Action::Work(slot) => {
                self.work(slot);
            }
            Action::Kill { slot, after_work } => self.kill(slot, after_work),
            Action::Tell { slot, has_it } => self.tell(slot, Event::Told { signal: TERM, has_it }),
            Action::End { slot, end, leaves } => self.end(slot, end, leaves),
            Action::Close(slot) => self.close(slot),
            Action::Occupy(sixteenths) => {
                self.settle_down();
                if self.place.is_free() {
                    self.place.occupied_until.set(self.place.now.get() + LEASE * sixteenths / 16);
                }
            }
            Action::Pass(ms) => self.pass(Duration::from_millis(ms)),
            Action::Call { .. } => {}
        }
    }

    fn call(&mut self, slot: usize, waits: bool, starts: bool) {
        self.calls += 1;
        let wait = if waits { Duration::from_secs(3_600) } else { Duration::ZERO };
        let machine = Machine::new(Terms { lease: LEASE, wait, on_failure: self.exec.on_failure });
        let jobs = VecDeque::from([(Job::Claim, Signals::default())]);
        let (events, grant, command, is_over) = (VecDeque::new(), None, None, false);
        self.callers[slot] =
            Some(Caller { id: self.calls, machine, starts, jobs, events, grant, command, is_over });
    }

    fn kill(&mut self, slot: usize, after_work: bool) {
        if after_work {
            self.job(slot);
        }
        let Some(caller) = self.callers[slot].take() else { return };
        if let Some((holder, lives)) = &mut self.plain.holder
            && *holder == caller.id
        {
            *lives = false;
        }
    }

    /// One thing that a caller waits for, if there is any.
    fn work(&mut self, slot: usize) -> bool {
        let event = self.callers[slot].as_mut().and_then(|caller| caller.events.pop_front());
        if let Some(event) = event {
            self.tell(slot, event);
            return true;
        }
        self.job(slot)
    }

    /// The next job of a caller, as far as the directory is free for it.
    fn job(&mut self, slot: usize) -> bool {
        let Some(mut caller) = self.callers[slot].take() else { return false };
        let done = caller.jobs.front().is_some() && self.try_job(&mut caller);
        self.callers[slot] = Some(caller);
        done
    }

    fn try_job(&mut self, caller: &mut Caller) -> bool {
        let (job, queue) = caller.jobs[0].clone();
        self.place.queued.set(false);
        let event = match job {
            Job::Claim => {
                let answer = self.hold().claim(&queue);
                (!self.place.queued.get()).then(|| self.claimed(caller, answer))
            }
            Job::Renew => {
                let renewed = self.hold().renew(&caller.grant.as_ref().unwrap().token, &queue);
                (!self.place.queued.get()).then(|| self.renewed(caller, &renewed))
            }
            Job::Settle(verdict) => {
                let result = settlement(verdict, caller.command);
                let settled = self.hold().settle(&caller.grant.as_ref().unwrap().token, &result, &queue);
                (!self.place.queued.get()).then(|| self.settled(caller, &queue, settled))
            }
        };
        if let Some(event) = event {
            caller.jobs.pop_front();
            caller.events.push_back(event);
        }
        event.is_some()
    }

    fn claimed(&mut self, caller: &mut Caller, answer: anyhow::Result<Answer>) -> Event {
        let plain = &mut self.plain;
        let relied_on = plain.holder.is_some_and(|(_, lives)| lives);
        match answer {
            Ok(Answer::Granted(grant)) => {
                assert!(!relied_on, "the claim of a caller that lives was given away");
                assert_eq!(plain.result, None, "what is done is done again");
                plain.granted += 1;
                assert_eq!(grant.attempt, plain.granted, "attempts");
                assert!(grant.attempt <= ATTEMPTS);
                plain.holder = Some((caller.id, true));
                caller.grant = Some(grant);
                Event::Granted
            }
            Ok(Answer::Known(outcome)) => {
                assert_eq!(plain.result, Some(outcome.code), "another result");
                Event::Known(outcome.code)
            }
            Ok(Answer::Busy(retry_after)) => {
                assert!(plain.result.is_none() && plain.holder.is_some(), "nobody has it: {plain:?}");
                assert!(retry_after <= LEASE);
                Event::Busy(retry_after)
            }
            Err(error) => {
                let is_held = error.to_string().contains("held for review");
                let parks = self.exec.on_orphan == AfterCrash::Park && plain.holder.is_some();
                let expected = !relied_on && (plain.granted == ATTEMPTS || parks);
                assert!(!is_held || plain.result.is_none() && expected, "held for review: {plain:?}");
                Event::Refused
            }
        }
    }

    fn renewed(&self, caller: &Caller, renewed: &anyhow::Result<bool>) -> Event {
        match renewed {
            Ok(true) => Event::Renewed,
            Ok(false) => {
                assert_ne!(self.plain.holder, Some((caller.id, true)), "taken over, and nobody knows of it");
                Event::TakenOver
            }
            Err(_) => Event::NotRenewed,
        }
    }

    fn settled(&mut self, caller: &mut Caller, queue: &Signals, settled: anyhow::Result<()>) -> Event {
        let is_ours = self.plain.holder == Some((caller.id, true));
        let is_done = settled.is_ok();
        if let Err(error) = settled {
            assert!(queue.caught().is_some() || !is_ours, "a result was given up: {error:#}");
            if is_ours {
                self.plain.holder = Some((caller.id, false));
            }
        } else {
            assert!(is_ours, "somebody else has the key");
            self.plain.holder = None;
            match caller.command.and_then(|command| command.ended) {
                None => self.plain.granted -= 1,
                Some((End::Code(code), _)) if code == 0 || self.exec.on_failure == OnFailure::Store => {
                    self.plain.result = Some(code);
                }
                Some(_) => {}
            }
        }
        if let Some(command) = &mut caller.command {
            command.is_recorded = true;
        }
        Event::Settled { is_done }
    }

    fn end(&mut self, slot: usize, end: End, leaves: Leaves) {
        let now = self.place.now.get();
        let Some(caller) = &mut self.callers[slot] else { return };
        let Some(command) = caller.command.as_mut().filter(|command| command.ended.is_none()) else { return };
        (command.ended, command.leaves) = (Some((end, now)), leaves);
        caller.events.push_back(Event::Ended(end));
        match leaves {
            Leaves::Nothing => {
                caller.events.extend([Event::Output { is_open: false }, Event::Delivered(Delivery::Whole)]);
            }
            Leaves::Unread => caller.events.push_back(Event::Output { is_open: false }),
            Leaves::Process => {}
        }
    }

    fn close(&mut self, slot: usize) {
        let Some(caller) = &mut self.callers[slot] else { return };
        let Some(command) = caller.command.as_mut().filter(|command| command.ended.is_some()) else { return };
        if command.leaves == Leaves::Process && !command.is_cut {
            caller.events.push_back(Event::Output { is_open: false });
        }
        if command.leaves != Leaves::Nothing {
            command.leaves = Leaves::Nothing;
            caller.events.push_back(Event::Delivered(Delivery::Whole));
        }
    }

    /// Tells a caller's machine, and does what it says.
    fn tell(&mut self, slot: usize, event: Event) {
        let now = self.place.now.get();
        let Some(mut caller) = self.callers[slot].take() else { return };
        for step in caller.machine.on(now, event) {
            self.take(&mut caller, step);
        }
        if !caller.is_over {
            self.callers[slot] = Some(caller);
        } else if let Some((holder, lives)) = &mut self.plain.holder
            && *holder == caller.id
        {
            *lives = false;
        }
    }

    fn take(&mut self, caller: &mut Caller, step: Step) {
        let command = caller.command;
        let job = |job| (job, Signals::default());
        match step {
            Step::Claim => caller.jobs.push_back(job(Job::Claim)),
            Step::Renew => caller.jobs.push_back(job(Job::Renew)),
            Step::Record(verdict) => caller.jobs.push_back(job(Job::Settle(verdict))),
            Step::Release => caller.jobs.push_back(job(Job::Settle(Verdict::Release))),
            Step::StopQueueing => caller.jobs.iter().for_each(|(_, queue)| queue.raise(TERM)),
            Step::Start if caller.starts => {
                assert_eq!(self.plain.holder, Some((caller.id, true)), "runs what is not its own");
                let leaves = Leaves::Nothing;
                caller.command = Some(Command { ended: None, leaves, is_cut: false, is_recorded: false });
                caller.events.push_back(Event::Started);
            }
            Step::Start => caller.events.push_back(Event::NotStarted),
            // Nobody else can have its number: it has not ended, or nobody has heard of it yet.
            Step::PassOn(signal) => {
                let is_its_own = |command: Command| {
                    command.ended.is_none_or(|(end, _)| caller.events.contains(&Event::Ended(end)))
                };
                assert!(signal == TERM && command.is_some_and(is_its_own));
            }
            Step::Cut => {
                caller.command.as_mut().unwrap().is_cut = true;
                caller.events.push_back(Event::Output { is_open: true });
            }
            Step::Replay => caller.events.push_back(Event::Delivered(Delivery::Whole)),
            Step::StopReading if command.is_some_and(|command| command.leaves == Leaves::Process) => {
                caller.command.as_mut().unwrap().leaves = Leaves::Nothing;
                caller.events.push_back(Event::Delivered(Delivery::Whole));
            }
            Step::StopPassing => match command.map(|command| command.leaves) {
                Some(Leaves::Process) => caller.events.push_back(Event::Delivered(Delivery::Whole)),
                Some(Leaves::Unread) => caller.events.push_back(Event::Delivered(Delivery::Left)),
                Some(Leaves::Nothing) | None => {}
            },
            Step::StopReading | Step::Say(_) => {}
            Step::End(exit) => self.over(caller, Some(exit)),
            Step::GiveUp(_) => self.over(caller, Some(Exit::Busy)),
            Step::Fail => self.over(caller, None),
        }
    }

    fn over(&self, caller: &mut Caller, exit: Option<Exit>) {
        // A code that a caller is given is the recorded one, or that of a run which counts as failed.
        match (exit, caller.command.and_then(|command| command.ended)) {
            (Some(Exit::Command(0)), _) => assert_eq!(self.plain.result, Some(0)),
            (Some(Exit::Command(code)), None) => assert_eq!(self.plain.result, Some(code)),
            (Some(Exit::Command(code)), Some((end, _))) => assert_eq!(End::Code(code), end),
            _ => {}
        }
        caller.is_over = true;
    }

    /// Everybody does what can be done without time going on.
    fn settle_down(&mut self) {
        while (0..SLOTS).any(|slot| self.work(slot)) {}
        for caller in self.callers.iter().flatten() {
            let Some(command) = caller.command else { continue };
            let is_late = command.ended.is_some_and(|(_, at)| self.place.now.get() >= at + GRACE);
            assert!(!is_late || command.is_recorded || !self.place.is_free(), "ended, and not recorded");
        }
    }

    /// Time goes on, from one moment at which something is due to the next.
    fn pass(&mut self, time: Duration) {
        let until = self.place.now.get() + time;
        loop {
            self.settle_down();
            let now = self.place.now.get();
            let due = self.callers.iter().flatten().filter_map(|caller| caller.machine.due());
            let next = due.chain((!self.place.is_free()).then(|| self.place.occupied_until.get())).min();
            let next = next.unwrap_or(until).clamp(now, until);
            self.place.clock.advance(next.saturating_sub(now));
            self.place.now.set(next);
            let is_due = |caller: &Caller| caller.machine.due().is_some_and(|due| due <= next);
            let due: Vec<usize> =
                (0..SLOTS).filter(|slot| self.callers[*slot].as_ref().is_some_and(is_due)).collect();
            due.iter().for_each(|slot| self.tell(*slot, Event::Due));
            if due.is_empty() && next == until {
                return self.settle_down();
            }
        }
    }

    /// Whoever is still there ends, its command ended, by signals alone; also where the directory stays occupied.
    fn end_by_signals(&mut self, is_occupied: bool) {
        for slot in 0..SLOTS {
            self.settle_down();
            self.end(slot, End::Signal(TERM), Leaves::Process);
        }
        if is_occupied {
            self.place.occupied_until.set(Duration::MAX);
        }
        for _ in 0..4 {
            for slot in 0..SLOTS {
                self.tell(slot, Event::Told { signal: TERM, has_it: false });
                while (0..SLOTS).any(|slot| self.work(slot)) {}
            }
        }
        let left = self.callers.iter().flatten().count();
        assert_eq!(left, 0, "signals are ignored");
        self.place.occupied_until.set(Duration::ZERO);
    }

    /// One last caller that waits finds the result, or makes it, or finds the key held for review.
    fn find_out(&mut self) {
        self.call(0, true, true);
        for _ in 0..100 {
            self.pass(Duration::from_secs(1));
            self.end(0, End::Code(0), Leaves::Nothing);
        }
        assert!(self.callers[0].is_none(), "still not over");
        let record = self.place.open_now();
        let record = record.namespace("exec").unwrap().get("k").unwrap();
        if let Some(record) = record {
            assert_eq!(record.attempt(), self.plain.granted, "{record:?}");
            assert_eq!(record.response().is_some(), self.plain.result.is_some(), "{record:?}");
        }
    }
}

fn settlement(verdict: Verdict, command: Option<Command>) -> Settlement {
    let Some((end, _)) = command.and_then(|command| command.ended) else { return Settlement::release() };
    let code = if let End::Code(code) = end { code } else { 0 };
    let outcome = Outcome { code, stdout: Stream::default(), stderr: Stream::default() };
    Settlement { verdict, reason: end.reason(), outcome }
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    exec: Exec,
}

fn exec(on_failure: OnFailure, on_orphan: AfterCrash) -> Exec {
    let words = ["x", "--store", "s", "--key", "k", "--lease", "8s", "--attempts", "3", "--", "c"];
    Exec { on_failure, on_orphan, ..Line::parse_from(words).exec }
}

fn check(actions: &[Action], on_failure: OnFailure, on_orphan: AfterCrash, is_occupied: bool) {
    let exec = exec(on_failure, on_orphan);
    let place = Place {
        storage: Arc::new(MemoryStorage::new()),
        clock: ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        now: Cell::new(Duration::ZERO),
        occupied_until: Cell::new(Duration::ZERO),
        queued: Cell::new(false),
    };
    let callers = std::array::from_fn(|_| None);
    let mut world = World { exec: &exec, place: &place, callers, plain: Plain::default(), calls: 0 };
    actions.iter().for_each(|action| world.act(action));
    world.end_by_signals(is_occupied);
    world.find_out();
}

fn cases() -> u32 {
    std::env::var("CLAIMSTORE_CASES").map_or(100, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn calls_of_one_key_come_to_what_the_model_says(
        actions in prop::collection::vec(action(), 1..80),
        stores in any::<bool>(),
        parks in any::<bool>(),
        is_occupied in any::<bool>(),
    ) {
        let on_failure = if stores { OnFailure::Store } else { OnFailure::Retry };
        let on_orphan = if parks { AfterCrash::Park } else { AfterCrash::Retry };
        check(&actions, on_failure, on_orphan, is_occupied);
    }
}
