//! What a single-threaded script was told, and whether a reopened store still says so.
//!
//! The script runs once on a recording disk and notes for every operation where in the disk's log it began
//! and where it was acknowledged. That settles, for a crash behind any event, what must have survived (all
//! that was acknowledged by then), what may have (what was under way), and what cannot (the rest). A store
//! recovers a prefix of the script as a whole that contains every acknowledged promise (P2, P3, P8).

use crate::model::{Answer, Call, Rules, Seen, Stage, State, Violation};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A reopened store, as far as the oracle asks it. Errors are told to the reader and count as violations:
/// a recovered store answers.
pub trait Probe {
    /// The record of `key`.
    ///
    /// # Errors
    /// What the store said instead.
    fn get(&mut self, key: &[u8]) -> Result<Option<Seen>, String>;

    /// Claims `key`, without letting time pass, and leaves the claim standing.
    ///
    /// # Errors
    /// What the store said instead, but for `Parked`, which is an answer.
    fn claim(&mut self, key: &[u8]) -> Result<Answer, String>;

    /// All keys the store has a record of; `None` if it cannot list them.
    ///
    /// # Errors
    /// What the store said instead.
    fn keys(&mut self) -> Result<Option<Vec<Vec<u8>>>, String> {
        Ok(None)
    }
}

/// The account of a script, and the judge of what came back.
#[derive(Debug, Clone)]
pub struct Oracle {
    rules: Rules,
    steps: Vec<Step>,
    /// For every key its states in order, each with the number of steps it stands behind.
    timelines: BTreeMap<Vec<u8>, Vec<(usize, State)>>,
    /// The highest token known before the script began.
    token_floor: u64,
}

/// A step whose answer is awaited.
#[derive(Debug)]
#[must_use = "a step without an answer counts as under way for good"]
pub struct StepId(usize);

#[derive(Debug, Clone)]
struct Step {
    key: Vec<u8>,
    call: Call,
    answer: Answer,
    begun: usize,
    /// Where it was acknowledged as durable.
    acknowledged: Option<usize>,
    /// The first step of the same commit: a commit survives wholly or not at all.
    commit: usize,
}

impl Oracle {
    /// The account of a script on an empty store.
    pub fn new(rules: Rules) -> Oracle {
        Oracle { rules, steps: Vec::new(), timelines: BTreeMap::new(), token_floor: 0 }
    }

    /// Notes that an operation begins with `events` in the disk's log. Operations are noted in the order
    /// they are made, one at a time.
    pub fn begin(&mut self, events: usize, key: &[u8], call: Call) -> StepId {
        let commit = self.steps.len();
        self.push(events, key, call, commit)
    }

    /// Notes that a batch begins whose items commit together.
    pub fn begin_batch<'a>(
        &mut self,
        events: usize,
        items: impl IntoIterator<Item = (&'a [u8], Call)>,
    ) -> Vec<StepId> {
        let commit = self.steps.len();
        items.into_iter().map(|(key, call)| self.push(events, key, call, commit)).collect()
    }

    /// Notes the answer, with `events` in the log by then. From here on the answer binds the store.
    ///
    /// # Errors
    /// The answer is wrong even without a crash.
    pub fn acknowledge(&mut self, step: StepId, events: usize, answer: Answer) -> Result<(), Violation> {
        self.answer(step, Some(events), answer)
    }

    /// Notes an answer that promises nothing across a crash: an abandoned lease, time that passed, and
    /// everything under a weaker durability than `Sync`.
    ///
    /// # Errors
    /// The answer is wrong even without a crash.
    pub fn acknowledge_unsynced(&mut self, step: StepId, answer: Answer) -> Result<(), Violation> {
        self.answer(step, None, answer)
    }

    /// The keys of the script.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.timelines.keys().map(Vec::as_slice)
    }

    /// Where `key` stands after all answers so far.
    pub fn state(&self, key: &[u8]) -> State {
        self.state_behind(key, self.steps.len())
    }

    /// Compares a store reopened after a crash behind the first `events` events with the account, changing
    /// nothing. To be called before anything else is done to the store. Answers the account to go on with:
    /// its script has yet to begin, and its keys stand where the store showed them.
    ///
    /// # Errors
    /// The first promise that was not kept.
    pub fn check(&self, events: usize, probe: &mut dyn Probe) -> Result<Oracle, Violation> {
        let (first, last) = self.bounds(events);
        let mut cuts: Vec<usize> = (first..=last).filter(|cut| self.ends_a_commit(*cut, last)).collect();
        for key in self.timelines.keys() {
            let seen = probe.get(key).map_err(|error| told("get", key, &error))?;
            let before = cuts.clone();
            cuts.retain(|cut| self.recovered(key, *cut).shows(seen.as_ref(), self.rules));
            if cuts.is_empty() {
                return Err(self.contradiction(key, events, &before, &format!("get shows {seen:?}")));
            }
        }
        let Some(cut) = cuts.last().copied() else {
            return Err(Violation::new("no state is allowed: the script noted a commit twice".to_owned()));
        };
        self.check_phantoms(cut, probe)?;
        Ok(self.next_life(cut, last))
    }

    /// Claims every key of the account of a reopened store (see [`check`](Oracle::check)) and judges the
    /// answers: settled keys answer so, all others are won with the right attempt and a token above every
    /// token of earlier lives. The claims enter the account as acknowledged with `events` in the log.
    ///
    /// # Errors
    /// The first promise that was not kept.
    pub fn claim_all(&mut self, events: impl Fn() -> usize, probe: &mut dyn Probe) -> Result<(), Violation> {
        let keys: Vec<Vec<u8>> = self.timelines.keys().cloned().collect();
        for key in keys {
            let step = self.begin(events(), &key, Call::Claim);
            let answer = probe.claim(&key).map_err(|error| told("claim", &key, &error))?;
            self.acknowledge(step, events(), answer)?;
        }
        Ok(())
    }

    fn push(&mut self, begun: usize, key: &[u8], call: Call, commit: usize) -> StepId {
        let step =
            Step { key: key.to_vec(), call, answer: Answer::Unknown, begun, acknowledged: None, commit };
        self.steps.push(step);
        let id = self.steps.len() - 1;
        self.stand(id, &Answer::Unknown);
        StepId(id)
    }

    #[expect(clippy::needless_pass_by_value, reason = "a step is answered once")]
    fn answer(&mut self, id: StepId, acknowledged: Option<usize>, answer: Answer) -> Result<(), Violation> {
        if let Answer::Claimed { token, .. } = answer {
            let highest = self.highest_token(self.steps.len());
            if token <= highest {
                return Err(Violation::new(format!("token {token} was issued after {highest} had been")));
            }
        }
        let Some(step) = self.steps.get_mut(id.0) else { return Ok(()) };
        step.answer = answer.clone();
        // An operation that may or may not have taken place binds nobody, whoever told its caller so.
        step.acknowledged = acknowledged.filter(|_| answer != Answer::Unknown);
        let key = step.key.clone();
        if self.stand(id.0, &answer) {
            return Ok(());
        }
        let step = self.steps.get(id.0).map(|step| format!("{:?}", step.call)).unwrap_or_default();
        let before = self.state_behind(&key, id.0);
        Err(Violation::new(format!("key {}: {step} answered {answer:?} in {before:?}", shown(&key))))
    }

    /// Writes the state behind step `id` into its key's timeline, for the answer known by now.
    fn stand(&mut self, id: usize, answer: &Answer) -> bool {
        let Some(Step { key, call, .. }) = self.steps.get(id).cloned() else { return false };
        let before = self.state_behind(&key, id);
        let after = match answer {
            Answer::Refused => Some(before.clone()),
            // What cannot have had an effect had none.
            Answer::Unknown => before.step(&call, answer, self.rules).or(Some(before.clone())),
            _ => before.step(&call, answer, self.rules),
        };
        let timeline = self.timelines.entry(key).or_default();
        let fits = after.is_some();
        let after = after.unwrap_or(before);
        timeline.retain(|(behind, _)| *behind != id + 1);
        let at = timeline.partition_point(|(behind, _)| *behind <= id);
        timeline.insert(at, (id + 1, after));
        fits
    }

    /// The state of `key` when the first `cut` steps took place and no other.
    fn state_behind(&self, key: &[u8], cut: usize) -> State {
        let timeline = self.timelines.get(key).map(Vec::as_slice).unwrap_or_default();
        let past = timeline.partition_point(|(behind, _)| *behind <= cut);
        past.checked_sub(1)
            .and_then(|last| timeline.get(last))
            .map_or_else(State::fresh, |(_, state)| state.clone())
    }

    /// The fewest and the most steps that may have survived a crash behind `events` events.
    fn bounds(&self, events: usize) -> (usize, usize) {
        let last = self.steps.partition_point(|step| step.begun <= events);
        let begun = self.steps.iter().take(last).enumerate();
        let mut bound = begun.filter(|(_, step)| step.acknowledged.is_some_and(|at| at <= events));
        (bound.next_back().map_or(0, |(index, _)| index + 1), last)
    }

    /// Whether a cut behind `cut` steps leaves every commit whole.
    fn ends_a_commit(&self, cut: usize, last: usize) -> bool {
        let next = self.steps.get(cut).filter(|_| cut < last);
        next.is_none_or(|next| next.commit == cut)
    }

    fn check_phantoms(&self, cut: usize, probe: &mut dyn Probe) -> Result<(), Violation> {
        let listed = probe.keys().map_err(|error| Violation::new(format!("listing keys: {error}")))?;
        let Some(listed) = listed else { return Ok(()) };
        let mut once = BTreeSet::new();
        for key in &listed {
            if self.state_behind(key, cut).stage == Stage::Fresh {
                return Err(Violation::new(format!("key {} is listed and was never claimed", shown(key))));
            }
            if !once.insert(key) {
                return Err(Violation::new(format!("key {} is listed twice", shown(key))));
            }
        }
        let missing = self
            .timelines
            .keys()
            .find(|key| !once.contains(key) && self.state_behind(key, cut).stage != Stage::Fresh);
        match missing {
            Some(key) => Err(Violation::new(format!("key {} is held and not listed", shown(key)))),
            None => Ok(()),
        }
    }

    fn next_life(&self, cut: usize, last: usize) -> Oracle {
        let token_floor = self.highest_token(last);
        let states = self.timelines.keys().map(|key| {
            let state = State { last_token: token_floor, ..self.recovered(key, cut) };
            (key.clone(), vec![(0, state)])
        });
        Oracle { rules: self.rules, steps: Vec::new(), timelines: states.collect(), token_floor }
    }

    fn recovered(&self, key: &[u8], cut: usize) -> State {
        self.state_behind(key, cut).crashed()
    }

    fn highest_token(&self, steps: usize) -> u64 {
        let issued = self.steps.iter().take(steps).filter_map(|step| match step.answer {
            Answer::Claimed { token, .. } => Some(token),
            _ => None,
        });
        issued.max().unwrap_or(0).max(self.token_floor)
    }

    fn contradiction(&self, key: &[u8], events: usize, cuts: &[usize], seen: &str) -> Violation {
        let mut what = format!("key {}, crash behind event {events}: {seen}; allowed were\n", shown(key));
        for cut in cuts {
            let _ = writeln!(what, "  behind step {cut}: {:?}", self.recovered(key, *cut));
        }
        what.push_str("the key's steps:\n");
        for (index, step) in self.steps.iter().enumerate().filter(|(_, step)| step.key == key) {
            let Step { call, answer, begun, acknowledged, .. } = step;
            let until = acknowledged.map_or("..".to_owned(), |at| at.to_string());
            let _ = writeln!(what, "  {} [events {begun} - {until}] {call:?} -> {answer:?}", index + 1);
        }
        Violation::new(what)
    }
}

fn told(asked: &str, key: &[u8], error: &str) -> Violation {
    Violation::new(format!("{asked} of key {}: {error}", shown(key)))
}

fn shown(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
