//! What was counted when: the latest samples, for rates over a window.

use crate::view::DuplicateRate;
use std::collections::VecDeque;
use std::time::Duration;

/// The time that a rate is of.
const WINDOW_MS: u64 = 300_000;
/// How long a sample stands before the next one is taken.
const EVERY_MS: u64 = 10_000;
/// Samples within the window, the one before it, and one to spare.
const MOST: usize = (WINDOW_MS / EVERY_MS) as usize + 2;

/// The counts at one moment of the boot clock.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: u64,
    answered: u64,
    duplicates: u64,
}

/// Samples, oldest first. The first is of the opening, when nothing had been counted.
#[derive(Debug)]
pub(crate) struct Recent {
    samples: VecDeque<Sample>,
}

impl Recent {
    pub(crate) fn since(opened_ms: u64) -> Recent {
        let opening = Sample { at_ms: opened_ms, answered: 0, duplicates: 0 };
        Recent { samples: VecDeque::from([opening]) }
    }

    /// Whether the newest sample is old enough for another.
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        self.samples.back().is_none_or(|newest| now_ms >= newest.at_ms.saturating_add(EVERY_MS))
    }

    /// Takes a sample if one is due, and forgets what no window reaches any more.
    pub(crate) fn note(&mut self, now_ms: u64, answered: u64, duplicates: u64) {
        if self.is_due(now_ms) {
            self.samples.push_back(Sample { at_ms: now_ms, answered, duplicates });
        }
        let begins_ms = now_ms.saturating_sub(WINDOW_MS);
        while self.samples.get(1).is_some_and(|second| second.at_ms <= begins_ms) || self.samples.len() > MOST
        {
            self.samples.pop_front();
        }
    }

    /// What was counted since the newest sample that is as old as the window, or since the oldest there is.
    pub(crate) fn rate(&mut self, now_ms: u64, answered: u64, duplicates: u64) -> DuplicateRate {
        self.note(now_ms, answered, duplicates);
        let Some(first) = self.samples.front() else { return DuplicateRate::default() };
        DuplicateRate {
            over: Duration::from_millis(now_ms.saturating_sub(first.at_ms)),
            answered: answered.saturating_sub(first.answered),
            duplicates: duplicates.saturating_sub(first.duplicates),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EVERY_MS, MOST, Recent, WINDOW_MS};

    const MINUTE_MS: u64 = 60_000;

    fn check(recent: &mut Recent, at_ms: u64, counts: (u64, u64), expected: (u64, u64, u64)) {
        let rate = recent.rate(at_ms, counts.0, counts.1);
        let over_ms = u64::try_from(rate.over.as_millis()).unwrap();
        assert_eq!((over_ms, rate.answered, rate.duplicates), expected, "at {at_ms}");
    }

    #[test]
    fn a_rate_is_of_the_window_or_of_all_there_is() {
        let mut recent = Recent::since(1_000);
        check(&mut recent, 1_000, (0, 0), (0, 0, 0));
        check(&mut recent, 2_000, (10, 4), (1_000, 10, 4));
        for minute in 1..=20 {
            for part in 0..6 {
                let at_ms = minute * MINUTE_MS + part * EVERY_MS;
                recent.note(at_ms, 100 * at_ms / EVERY_MS, at_ms / EVERY_MS);
                assert!(recent.samples.len() <= MOST);
            }
        }
        let at_ms = 20 * MINUTE_MS + 5 * EVERY_MS + 1;
        let now = at_ms / EVERY_MS;
        check(&mut recent, at_ms, (100 * now + 7, now), (WINDOW_MS + 1, 3_007, 30));
    }

    #[test]
    fn nobody_looked_for_long() {
        let mut recent = Recent::since(0);
        check(&mut recent, 60 * MINUTE_MS, (50, 50), (60 * MINUTE_MS, 50, 50));
        check(&mut recent, 61 * MINUTE_MS, (60, 50), (61 * MINUTE_MS, 60, 50));
        check(&mut recent, 66 * MINUTE_MS, (70, 60), (5 * MINUTE_MS, 10, 10));
        check(&mut recent, 65 * MINUTE_MS, (70, 60), (4 * MINUTE_MS, 10, 10));
    }
}
