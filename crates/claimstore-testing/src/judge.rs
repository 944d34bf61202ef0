//! Compares what crashes left with what happens without one.

use crate::effects::Effect;
use crate::process::Death;
use crate::verdict::{Finding, FindingKind, Place, Row};
use claimstore::{Error, Filter, RecordState, Store};
use std::collections::{BTreeMap, BTreeSet};

/// How often each effect was done.
pub(crate) type Counts = BTreeMap<Effect, u64>;
/// Where keys stand.
pub(crate) type States = BTreeMap<Vec<u8>, RecordState>;

/// How a process is to end.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) death: Death,
    pub(crate) place: Place,
}

/// What there is in the end.
#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) counts: Counts,
    pub(crate) states: States,
    /// Where processes ended, and what the process after each of them found.
    pub(crate) places: Vec<Place>,
    pub(crate) found: Vec<States>,
    /// The handler of the last process said that it is done with the message.
    pub(crate) acked: bool,
    /// The others came to the points where they were to die.
    pub(crate) reached: bool,
}

impl Ended {
    /// Notes what a process found; the first found what was prepared.
    pub(crate) fn note(&mut self, found: States) {
        if !self.places.is_empty() {
            self.found.push(found);
        }
    }

    /// The places, with what was found of a key.
    fn places_of(&self, key: &[u8]) -> Vec<Place> {
        let places = self.places.iter().zip(&self.found);
        places.map(|(place, found)| Place { state: found.get(key).copied(), ..place.clone() }).collect()
    }
}

/// Compares what is there with what should be.
pub(crate) struct Judge {
    pub(crate) due: Counts,
    /// Where keys stand without a crash.
    without: States,
    pub(crate) rows: BTreeMap<Effect, Row>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) crashes: usize,
    pub(crate) missed: usize,
}

impl Judge {
    pub(crate) fn new(due: Counts, without_a_crash: &Ended) -> Judge {
        let row =
            |(effect, due): (&Effect, &u64)| (effect.clone(), Row { due: *due, least: *due, most: *due });
        let rows = due.iter().map(row).collect();
        let without = without_a_crash.states.clone();
        let mut judge = Judge { due, without, rows, findings: Vec::new(), crashes: 0, missed: 0 };
        judge.compare(without_a_crash);
        judge
    }

    pub(crate) fn look_at(&mut self, ended: &Ended) {
        self.crashes += 1;
        self.missed += usize::from(!ended.reached);
        self.compare(ended);
    }

    fn compare(&mut self, ended: &Ended) {
        let unsettled = self.unsettled(ended);
        let effects: Vec<Effect> = self.due.keys().chain(ended.counts.keys()).cloned().collect();
        let mut seen = BTreeSet::new();
        for effect in effects.into_iter().filter(|effect| seen.insert(effect.clone())) {
            let due = self.due.get(&effect).copied().unwrap_or(0);
            let times = ended.counts.get(&effect).copied().unwrap_or(0);
            let row = self.rows.entry(effect.clone()).or_insert(Row { due, least: times, most: times });
            (row.least, row.most) = (row.least.min(times), row.most.max(times));
            if times > due {
                self.find(FindingKind::Twice, effect, times, due, ended);
            } else if times < due && !unsettled.contains_key(&effect.0) {
                let acked = ended.acked || ended.states.contains_key(&effect.0);
                let kind = if acked { FindingKind::Lost } else { FindingKind::Unfinished };
                self.find(kind, effect, times, due, ended);
            }
        }
        for (key, kind) in unsettled {
            self.find(kind, (key, String::new()), 0, 0, ended);
        }
    }

    /// Keys that are not settled in the end, unless it is the same with them without a crash.
    fn unsettled(&self, ended: &Ended) -> BTreeMap<Vec<u8>, FindingKind> {
        let kind = |(key, state): (&Vec<u8>, &RecordState)| match state {
            state if is_settled(*state) => None,
            _ if self.without.get(key).is_some_and(|state| !is_settled(*state)) => None,
            RecordState::Parked => Some((key.clone(), FindingKind::InReview)),
            // Who acknowledged the message does not come back for it.
            _ if ended.acked && self.is_due(key, ended) => None,
            _ => Some((key.clone(), FindingKind::Unfinished)),
        };
        ended.states.iter().filter_map(kind).collect()
    }

    /// Whether something that is due for the key was not done.
    fn is_due(&self, key: &[u8], ended: &Ended) -> bool {
        let done = |effect: &Effect| ended.counts.get(effect).copied().unwrap_or(0);
        self.due.iter().any(|(effect, due)| effect.0 == key && done(effect) < *due)
    }

    fn find(&mut self, kind: FindingKind, effect: Effect, times: u64, due: u64, ended: &Ended) {
        let places = ended.places_of(&effect.0);
        self.findings.push(Finding { kind, effect, times, due, places });
    }
}

fn is_settled(state: RecordState) -> bool {
    matches!(state, RecordState::Completed | RecordState::Failed)
}

/// Where all keys stand.
pub(crate) fn states(store: &Store) -> Result<States, Error> {
    store
        .scan(Filter::new())
        .map(|record| record.map(|record| (record.key().to_vec(), record.state())))
        .collect()
}
