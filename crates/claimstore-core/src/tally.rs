//! [`Tally`]: what is counted of a key's attempts, and when.
//!
//! A record has three numbers. Its *attempt* is the ordinal of grants. *Failures* and *losses* count attempts that have ended
//! without a result, and each has a bound of its own in the policy. Invariants:
//!
//! 1. The end of an attempt is counted once: in the version that ends it. A version that says how an attempt ended and still
//!    is in progress has [`counted`](Tally::counted); the version that follows counts nothing then.
//! 2. A number changes in no other version. A lapse or a drop by itself counts nothing: it is no version.
//! 3. `failures + losses` is at most the number of attempts that have ended.
//!
//! In the bytes of a record they stand only where they differ from what [`Tally::assumed`] says, which goes by attempt and
//! state alone.

use crate::codec::{Cursor, Malformed, Record, State, put_varint};
use crate::history::Orphaned;
use crate::planted;
use crate::policy::Policy;

const IN_DOUBT: u8 = 1;
const COUNTED: u8 = 2;

/// What is counted of a key's attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts that failed, panicked, died, or lapsed and were taken over.
    pub failures: u32,
    /// Attempts whose lease was dropped, or whose work is known not to have happened.
    pub losses: u32,
    /// Attempts that ended without a word of their holder: what back-off goes by.
    pub interrupted: u32,
    /// Whether an earlier attempt may have had an effect that nobody knows of.
    pub in_doubt: bool,
    /// Whether the end of the present attempt is counted in this version, which is in progress all the same.
    pub counted: bool,
}

impl Tally {
    /// The tally of a record that has none in its bytes: each attempt that has ended was a failure, and nobody knows what became
    /// of it. So it was before there were tallies, and so it is of a key whose holders always died.
    #[inline]
    pub fn assumed(state: State, attempt: u32) -> Tally {
        let ended = match state {
            State::Retry | State::Parked => attempt,
            State::InProgress => attempt.saturating_sub(1),
            // What resolved is in no doubt any more.
            State::Completed | State::Failed | State::Erased => {
                let ended = attempt.saturating_sub(1);
                return Tally { failures: ended, interrupted: ended, ..Tally::default() };
            }
        };
        Tally { failures: ended, interrupted: ended, in_doubt: ended > 0, ..Tally::default() }
    }

    /// After an attempt that ended for this cause.
    #[must_use]
    pub fn ended(self, cause: Orphaned) -> Tally {
        let mut counted = self.counted;
        if planted::active(84) {
            counted = false;
        }
        if counted {
            return Tally { counted: false, ..self };
        }
        let mut next = self.interrupted();
        next = if cause == Orphaned::Abandoned { next.lost() } else { next.failed() };
        if planted::active(83) {
            next = self.interrupted().failed();
        }
        Tally { in_doubt: true, counted: false, ..next }
    }

    /// After an attempt whose holder said that it failed.
    #[must_use]
    pub fn said_to_have_failed(self) -> Tally {
        if self.counted { Tally { counted: false, ..self } } else { self.failed() }
    }

    /// After an attempt of which somebody found out that nothing came of it.
    #[must_use]
    pub fn did_not_happen(self) -> Tally {
        let next = if self.counted { self } else { self.interrupted().lost() };
        Tally { in_doubt: false, counted: false, ..next }
    }

    /// After a final settlement: nothing is in doubt any more.
    #[must_use]
    pub fn settled(self) -> Tally {
        Tally { in_doubt: false, counted: false, ..self }
    }

    /// Why no further attempt is allowed; `None` where one is.
    pub fn used_up(&self, record: &Record, policy: &Policy) -> Option<&'static [u8]> {
        let granted = record.extra.as_ref().map_or((0, 0), |extra| (extra.granted, extra.granted_losses));
        if self.failures >= policy.max_attempts.max(granted.0) {
            return Some(b"attempts used up");
        }
        (self.losses >= policy.max_losses.max(granted.1)).then_some(b"losses used up")
    }

    fn failed(self) -> Tally {
        Tally { failures: self.failures.saturating_add(1), ..self }
    }

    fn lost(self) -> Tally {
        Tally { losses: self.losses.saturating_add(1), ..self }
    }

    fn interrupted(self) -> Tally {
        Tally { interrupted: self.interrupted.saturating_add(1), ..self }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut out = vec![flag(self.in_doubt, IN_DOUBT) | flag(self.counted, COUNTED)];
        [self.failures, self.losses, self.interrupted]
            .into_iter()
            .for_each(|count| put_varint(u64::from(count), &mut out));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Tally, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let flags = cursor.u8("tally flags")?;
        if flags & !(IN_DOUBT | COUNTED) != 0 {
            return Err(Malformed("tally flags"));
        }
        let mut count = || u32::try_from(cursor.varint("tally")?).map_err(|_| Malformed("tally"));
        let (failures, losses, interrupted) = (count()?, count()?, count()?);
        cursor.finish("tally end")?;
        Ok(Tally {
            failures,
            losses,
            interrupted,
            in_doubt: flags & IN_DOUBT != 0,
            counted: flags & COUNTED != 0,
        })
    }
}

#[cfg(test)]
mod tests;
