//! What the store should say of a key: a second, plain statement of the rules.

use claimstore::{OnOrphan, Record, RecordState};
use std::time::UNIX_EPOCH;

pub(super) const KEYS: [&str; 3] = ["a", "b", "c"];
/// Failures that the policy allows.
pub(super) const MOST: u32 = 3;
/// Losses that the policy allows.
pub(super) const MOST_LOST: u32 = 4;

/// `Err` says what disagrees.
pub(super) type Verdict = Result<(), String>;

macro_rules! same {
    ($left:expr, $right:expr, $($what:tt)*) => {
        if $left != $right {
            return Err(format!("{}: {:?}, expected {:?}", format!($($what)*), $left, $right));
        }
    };
}

pub(super) use same;

/// What the model knows of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) attempt: u32,
    pub(super) failures: u32,
    pub(super) losses: u32,
    /// Attempts that ended without a word: back-off goes by them.
    pub(super) interrupted: u32,
    /// Failures and losses that a reviewer allowed.
    pub(super) granted: (u32, u32),
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Unknown,
    Held(Held),
    Retry {
        due_ms: u64,
    },
    Parked,
    Done {
        response: Vec<u8>,
        failure: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) token: u64,
    /// The token of whoever did the work.
    pub(super) work: u64,
    /// 0 where nobody is behind it any more.
    pub(super) until_ms: u64,
    pub(super) asks: u32,
    pub(super) asked_at_ms: u64,
    /// Claimed in this life of the store.
    pub(super) is_ours: bool,
    /// Dropped, or alive when its store was closed.
    pub(super) is_lost: bool,
    /// Its end is counted: its store was closed.
    pub(super) counted: bool,
}

/// What a claim should be answered.
#[derive(Debug)]
pub(super) enum Expected {
    Claimed,
    /// The orphan is noticed, and waits for up to so long.
    BackOff(u64),
    InProgress(Option<u64>),
    Parked,
    Duplicate,
}

impl Key {
    pub(super) fn is_used_up(&self) -> bool {
        self.failures >= MOST.max(self.granted.0) || self.losses >= MOST_LOST.max(self.granted.1)
    }

    /// Counts the end of an attempt that its holder did not end, once.
    pub(super) fn count_end(&mut self) {
        let Stage::Held(held) = &mut self.stage else { return };
        if std::mem::replace(&mut held.counted, true) {
            return;
        }
        self.interrupted += 1;
        if held.is_lost { self.losses += 1 } else { self.failures += 1 }
    }

    /// Counts an orphan whose work did not happen.
    pub(super) fn count_none(&mut self) {
        if let Stage::Held(held) = &mut self.stage {
            held.is_lost = true;
        }
        self.count_end();
    }

    pub(super) fn orphan(&self, now_ms: u64) -> Option<&Held> {
        match &self.stage {
            Stage::Held(held) if held.until_ms <= now_ms => Some(held),
            _ => None,
        }
    }

    pub(super) fn claim(&mut self, rule: OnOrphan, now_ms: u64) -> Expected {
        match &self.stage {
            Stage::Unknown => self.next(),
            Stage::Retry { due_ms } if *due_ms > now_ms => Expected::InProgress(Some(due_ms - now_ms)),
            Stage::Retry { .. } => self.next(),
            Stage::Parked => Expected::Parked,
            Stage::Done { .. } => Expected::Duplicate,
            Stage::Held(held) if held.until_ms > now_ms => Expected::InProgress(Some(held.until_ms - now_ms)),
            Stage::Held(_) => match rule {
                OnOrphan::Retry => {
                    self.count_end();
                    match backoff_ms(self.interrupted) {
                        full_ms if full_ms > 0 && !self.is_used_up() => Expected::BackOff(full_ms),
                        _ => self.next(),
                    }
                }
                OnOrphan::Park => {
                    self.count_end();
                    self.stage = Stage::Parked;
                    Expected::Parked
                }
                OnOrphan::Fail => {
                    self.count_end();
                    self.stage = Stage::Done { response: Vec::new(), failure: true };
                    Expected::Duplicate
                }
                _ => Expected::InProgress(None),
            },
        }
    }

    fn next(&mut self) -> Expected {
        if self.is_used_up() {
            self.stage = Stage::Parked;
            return Expected::Parked;
        }
        self.attempt += 1;
        Expected::Claimed
    }

    /// What becomes of it when it is to be retried; `record` is of afterwards.
    pub(super) fn retried(&self, record: &Record, now_ms: u64) -> Result<Stage, String> {
        if self.is_used_up() {
            return Ok(Stage::Parked);
        }
        let at = record.retry_at().ok_or_else(|| format!("not waiting: {record:?}"))?;
        let due_ms = at.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        in_range(due_ms - now_ms, backoff_ms(self.interrupted))?;
        Ok(Stage::Retry { due_ms })
    }

    pub(super) fn check(&self, record: Option<&Record>) -> Verdict {
        let Some(record) = record else {
            same!(self.stage, Stage::Unknown, "nothing is known");
            return Ok(());
        };
        same!(record.attempt(), self.attempt, "attempt");
        let counts = (record.failures(), record.losses(), record.interrupted());
        same!(counts, (self.failures, self.losses, self.interrupted), "failures, losses, interrupted");
        match (&self.stage, record.state()) {
            (Stage::Held(held), RecordState::InProgress | RecordState::Orphaned) => {
                same!(record.token(), held.token, "token");
            }
            (Stage::Retry { .. }, RecordState::Retry) | (Stage::Parked, RecordState::Parked) => {}
            (Stage::Done { response, failure: false }, RecordState::Completed)
            | (Stage::Done { response, failure: true }, RecordState::Failed) => {
                same!(record.response(), Some(&response[..]), "response");
            }
            (stage, state) => return Err(format!("{state:?}, expected {stage:?}")),
        }
        Ok(())
    }
}

/// The full wait when so many attempts were interrupted.
fn backoff_ms(interrupted: u32) -> u64 {
    match interrupted {
        0 | 1 => 0,
        2 => 1_000,
        3 => 2_000,
        4 => 4_000,
        _ => 8_000,
    }
}

pub(super) fn in_range(wait_ms: u64, full_ms: u64) -> Verdict {
    if wait_ms <= full_ms && wait_ms >= full_ms * 3 / 4 {
        return Ok(());
    }
    Err(format!("a wait of {wait_ms} ms, of {full_ms}"))
}
