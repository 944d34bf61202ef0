//! Whether one order of operations explains what many threads saw.
//!
//! Keys are independent, so each is judged alone. For one key the checker walks through calls and returns
//! in real-time order and keeps every *configuration* that explains what has returned so far: a state of
//! the model and the set of operations under way that have already taken place. An operation is made to
//! take place only when it must (because it returns), so few configurations exist at a time, whatever the
//! length of the history.

use crate::history::{History, Operation};
use crate::model::{Answer, Call, Rules, State, Violation};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Operations with an effect or an answer.
    pub operations: usize,
    /// Keys.
    pub keys: usize,
    /// The largest number of explanations open at one time.
    pub widest: usize,
}

/// Checks linearizability of every key, and over all keys that tokens rise and one winner lives at a time.
///
/// # Errors
/// The first contradiction found, with the operations around it.
pub fn check(history: &History, rules: Rules) -> Result<Checked, Violation> {
    check_tokens(history)?;
    let mut keys: BTreeMap<u32, Vec<&Operation>> = BTreeMap::new();
    for operation in history.operations.iter().filter(|operation| operation.answer != Answer::Refused) {
        keys.entry(operation.key).or_default().push(operation);
    }
    let mut checked = Checked { keys: keys.len(), ..Checked::default() };
    for operations in keys.values() {
        let moments = moments(operations, &history.crashes);
        check_winners(&moments)?;
        checked.operations += operations.len();
        checked.widest = checked.widest.max(Search::new(rules).walk(&moments)?);
    }
    Ok(checked)
}

/// One point of the real-time order of a key.
#[derive(Clone, Copy)]
enum Moment<'a> {
    Call(&'a Operation),
    Return(&'a Operation),
    Crash,
}

fn moments<'a>(operations: &[&'a Operation], crashes: &[u64]) -> Vec<Moment<'a>> {
    let mut stamped: Vec<(u64, Moment<'a>)> = crashes.iter().map(|stamp| (*stamp, Moment::Crash)).collect();
    for &operation in operations {
        stamped.push((operation.invoked, Moment::Call(operation)));
        // What nobody knows the end of may still take place after its call returned.
        if let (Some(returned), false) = (operation.returned, operation.answer == Answer::Unknown) {
            stamped.push((returned, Moment::Return(operation)));
        }
    }
    stamped.sort_by_key(|(stamp, _)| *stamp);
    stamped.into_iter().map(|(_, moment)| moment).collect()
}

/// Operations under way get a slot each; a configuration names those that took place by their bits.
const SLOTS: u32 = u128::BITS;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Configuration {
    state: State,
    placed: u128,
}

#[derive(Default)]
struct Reached {
    ends: HashSet<Configuration>,
    passed: HashSet<Configuration>,
}

struct Search<'a> {
    rules: Rules,
    open: BTreeMap<u32, &'a Operation>,
    configurations: HashSet<Configuration>,
    widest: usize,
    /// The last moments, for the report.
    recent: Vec<&'a Operation>,
}

impl<'a> Search<'a> {
    fn new(rules: Rules) -> Search<'a> {
        let start = Configuration { state: State::fresh(), placed: 0 };
        Search {
            rules,
            open: BTreeMap::new(),
            configurations: HashSet::from([start]),
            widest: 1,
            recent: Vec::new(),
        }
    }

    fn walk(mut self, moments: &[Moment<'a>]) -> Result<usize, Violation> {
        for moment in moments {
            match moment {
                Moment::Call(operation) => self.call(operation)?,
                Moment::Return(operation) => self.returns(operation)?,
                Moment::Crash => self.crash(),
            }
            self.widest = self.widest.max(self.configurations.len());
        }
        Ok(self.widest)
    }

    fn call(&mut self, operation: &'a Operation) -> Result<(), Violation> {
        let slot = (0..SLOTS).find(|slot| !self.open.contains_key(slot));
        let slot = slot
            .ok_or_else(|| Violation::new(format!("key {}: over {SLOTS} operations open", operation.key)))?;
        self.open.insert(slot, operation);
        let found = std::mem::take(&mut self.configurations);
        self.configurations = found.into_iter().map(|configuration| self.absorb(configuration)).collect();
        Ok(())
    }

    /// Keeps the explanations in which `operation` took place by now, and finds those that place it now.
    fn returns(&mut self, operation: &'a Operation) -> Result<(), Violation> {
        let Some(slot) =
            self.open.iter().find(|(_, open)| std::ptr::eq(**open, operation)).map(|(slot, _)| *slot)
        else {
            return Ok(());
        };
        let bit = 1u128 << slot;
        let found = self.reach(|configuration| configuration.placed & bit != 0).ends;
        if found.is_empty() {
            return Err(self.contradiction(operation));
        }
        self.open.remove(&slot);
        self.remember(operation);
        self.configurations =
            found.into_iter().map(|found| Configuration { placed: found.placed & !bit, ..found }).collect();
        Ok(())
    }

    /// Everything under way took place before the crash, in any combination, or never will.
    fn crash(&mut self) {
        let found = self.reach(|_| false).passed;
        let pending = self.open.iter().filter(|(_, operation)| operation.answer == Answer::Unknown);
        let pending: Vec<u32> = pending.map(|(slot, _)| *slot).collect();
        let mut keep = u128::MAX;
        for slot in pending {
            self.open.remove(&slot);
            keep &= !(1 << slot);
        }
        let after = |found: Configuration| Configuration {
            state: found.state.crashed(),
            placed: found.placed & keep,
        };
        self.configurations = found.into_iter().map(after).collect();
    }

    /// Follows the open operations from every configuration. Answers the ends, where `done` says so, and
    /// all configurations that were passed on the way.
    fn reach(&self, done: impl Fn(&Configuration) -> bool) -> Reached {
        let mut reached = Reached::default();
        let mut todo: Vec<Configuration> = self.configurations.iter().cloned().collect();
        while let Some(configuration) = todo.pop() {
            if done(&configuration) {
                reached.ends.insert(configuration);
            } else if reached.passed.insert(configuration.clone()) {
                todo.extend(self.successors(&configuration));
            }
        }
        reached
    }

    fn successors(&self, from: &Configuration) -> Vec<Configuration> {
        let waiting = self.open.iter().filter(|(slot, _)| from.placed & (1 << **slot) == 0);
        // Of operations that nobody heard of and that asked the same, any one stands for all.
        let mut unheard: HashSet<&Call> = HashSet::new();
        let waiting = waiting
            .filter(|(_, operation)| operation.answer != Answer::Unknown || unheard.insert(&operation.call));
        let placed = waiting.filter_map(|(slot, operation)| {
            let state = from.state.step(&operation.call, &operation.answer, self.rules)?;
            let changed = operation.answer != Answer::Unknown || state != from.state;
            let next = Configuration { state, placed: from.placed | 1 << slot };
            changed.then(|| self.absorb(next))
        });
        placed.collect()
    }

    /// Places every open operation that only looked and saw what is the case. Never wrong: it changes
    /// nothing, so any explanation that places it later also holds with it placed now.
    fn absorb(&self, mut configuration: Configuration) -> Configuration {
        for (slot, operation) in &self.open {
            let bit = 1u128 << slot;
            if configuration.placed & bit == 0 && only_looks(operation) {
                let after = configuration.state.step(&operation.call, &operation.answer, self.rules);
                if after.as_ref() == Some(&configuration.state) {
                    configuration.placed |= bit;
                }
            }
        }
        configuration
    }

    fn remember(&mut self, operation: &'a Operation) {
        if self.recent.len() == 2 * REPORTED {
            self.recent.drain(..REPORTED);
        }
        self.recent.push(operation);
    }

    fn contradiction(&self, operation: &Operation) -> Violation {
        let mut what =
            format!("key {}: no order of operations explains\n  {}\n", operation.key, line(operation));
        what.push_str("possible states before it:\n");
        let states: BTreeSet<String> = self.configurations.iter().map(|c| format!("{:?}", c.state)).collect();
        for state in states.iter().take(REPORTED) {
            let _ = writeln!(what, "  {state}");
        }
        what.push_str("under way with it:\n");
        for open in self.open.values().filter(|open| !std::ptr::eq(**open, operation)) {
            let _ = writeln!(what, "  {}", line(open));
        }
        what.push_str("last to return before it:\n");
        for recent in self.recent.iter().rev().take(REPORTED).rev() {
            let _ = writeln!(what, "  {}", line(recent));
        }
        Violation::new(what)
    }
}

const REPORTED: usize = 12;

fn line(operation: &Operation) -> String {
    let returned = operation.returned.map_or("..".to_owned(), |stamp| stamp.to_string());
    format!("[{} - {returned}] {:?} -> {:?}", operation.invoked, operation.call, operation.answer)
}

/// Whether the operation, where it changes nothing, never changes anything.
fn only_looks(operation: &Operation) -> bool {
    let looked = matches!(
        operation.answer,
        Answer::Duplicate { .. } | Answer::InProgress | Answer::Parked | Answer::Stale | Answer::Seen(_)
    );
    looked
        || operation.call == Call::Get
        || matches!(operation.call, Call::Renew { .. }) && operation.answer == Answer::Done
}

/// Over the whole store: a token issued by a claim that began after another had returned is the higher
/// one, and no token is issued twice.
fn check_tokens(history: &History) -> Result<(), Violation> {
    let mut claims: Vec<(u64, u64, u64)> = history.operations.iter().filter_map(claim_of).collect();
    let mut tokens = HashSet::new();
    if let Some((token, ..)) = claims.iter().find(|(token, ..)| !tokens.insert(*token)) {
        return Err(Violation::new(format!("token {token} was issued twice")));
    }
    let mut by_return = claims.clone();
    by_return.sort_by_key(|(_, _, returned)| *returned);
    claims.sort_by_key(|(_, invoked, _)| *invoked);
    let (mut earlier, mut highest) = (by_return.iter().peekable(), 0);
    for (token, invoked, _) in claims {
        while let Some((issued, ..)) = earlier.next_if(|(_, _, returned)| *returned < invoked) {
            highest = highest.max(*issued);
        }
        if token < highest {
            return Err(Violation::new(format!("token {token} was issued after {highest} had been")));
        }
    }
    Ok(())
}

/// Token, call and return of a claim that was won.
fn claim_of(operation: &Operation) -> Option<(u64, u64, u64)> {
    match operation.answer {
        Answer::Claimed { token, .. } => Some((token, operation.invoked, operation.returned?)),
        _ => None,
    }
}

/// Two claims were won while one holder, known to hold, had not begun to let go. The search finds this
/// too; here it gets a name. Keys whose holders can lose them by no act of their own are left to it.
fn check_winners(moments: &[Moment<'_>]) -> Result<(), Violation> {
    let taken_away = |moment: &Moment<'_>| matches!(moment, Moment::Call(op) if matches!(op.call, Call::Forget | Call::Lapse));
    if moments.iter().any(taken_away) {
        return Ok(());
    }
    let mut living: BTreeSet<u64> = BTreeSet::new();
    let mut at_call: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for moment in moments {
        match moment {
            Moment::Call(operation) => match (&operation.call, &operation.answer) {
                (Call::Claim, Answer::Claimed { token, .. }) => {
                    at_call.insert(*token, living.clone());
                }
                (call, _) => {
                    living.retain(|token| !lets_go(call, *token));
                }
            },
            Moment::Return(operation) => {
                let Answer::Claimed { token, .. } = operation.answer else { continue };
                let before = at_call.remove(&token).unwrap_or_default();
                if let Some(other) = before.intersection(&living).next() {
                    return Err(Violation::new(format!(
                        "key {}: {token} won while {other} held it",
                        operation.key
                    )));
                }
                living.insert(token);
            }
            Moment::Crash => living.clear(),
        }
    }
    Ok(())
}

fn lets_go(call: &Call, holder: u64) -> bool {
    match call {
        Call::Complete { token, .. }
        | Call::Fail { token, .. }
        | Call::Release { token }
        | Call::Abandon { token } => *token == holder,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
