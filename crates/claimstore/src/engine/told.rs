//! What the caller of a claim is told: plain data, between the decision and the handles.

use super::counters::{Counters, Failed};
use super::spaces::{Keyed, Space};
use crate::claim::{Holder, Receipt};
use crate::error::Error;

/// What the caller of a claim is told.
pub(crate) type Told = Result<Answer, Error>;

/// What a claim is answered, unless it is refused.
#[derive(Debug)]
pub(crate) enum Answer {
    Claimed(Granted),
    Unclaimed(Unclaimed),
}

/// What a claim is answered that is not granted.
#[derive(Debug)]
pub(crate) enum Unclaimed {
    Duplicate(Receipt),
    InProgress(Holder),
}

impl From<Unclaimed> for Answer {
    fn from(unclaimed: Unclaimed) -> Answer {
        Answer::Unclaimed(unclaimed)
    }
}

impl Answer {
    /// What was granted, if this is a grant.
    pub(super) fn granted(&self) -> Option<&Granted> {
        if let Answer::Claimed(granted) = self { Some(granted) } else { None }
    }

    /// What the answer is called in signals.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Answer::Claimed(_) => "claimed",
            Answer::Unclaimed(Unclaimed::Duplicate(_)) => "duplicate",
            Answer::Unclaimed(Unclaimed::InProgress(_)) => "in_progress",
        }
    }
}

/// A granted claim before its lease is handed out.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) keyed: Keyed,
    pub(crate) token: u64,
    pub(crate) attempt: u32,
    pub(crate) progress: Option<Box<[u8]>>,
    pub(crate) in_doubt: bool,
    pub(crate) lease_ms: u64,
    /// Where in its shard the claim lies, probably.
    pub(super) at: usize,
}

impl Space {
    /// Tells of failures that nobody was told of yet. Outside of all locks: a subscriber is the program's code.
    pub(crate) fn tell_failures(&self) {
        #[cfg(feature = "tracing")]
        for (how, times) in self.counters.untold() {
            super::observe::failed(how, self.policy().counted_as().unwrap_or_default(), times);
        }
        let _ = self;
    }
}

impl Counters {
    /// Counts an orphan that a claim has ended or put off, by what the claim is answered.
    pub(crate) fn ended_by_claim(&self, answer: Result<&Unclaimed, &Error>) {
        match answer {
            Ok(Unclaimed::Duplicate(_)) => self.failed(Failed::Final),
            Ok(Unclaimed::InProgress(_)) => {}
            Err(_) => self.failed(Failed::Parked),
        }
    }

    /// Counts the grants among these answers.
    pub(crate) fn claimed<'a>(&self, answers: impl IntoIterator<Item = &'a Told>) {
        let grants = answers.into_iter().flatten().filter_map(Answer::granted);
        let (claimed, taken_over) = grants.fold((0, 0), |(claimed, taken_over), granted| {
            (claimed + 1, taken_over + u64::from(granted.attempt > 1))
        });
        self.granted(claimed, taken_over);
    }
}
