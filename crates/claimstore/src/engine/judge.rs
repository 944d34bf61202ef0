//! The verdict on a claim, and what it is answered.
//!
//! [`decide`](super::decide) decides, by what stands under the shard's lock; here a decision becomes an answer, or a
//! [`Verdict`] for the [write path](super::write).

use super::Engine;
use super::claims::{Answer, Prepared, Told, Unclaimed};
use super::decide::{self, ChangeOf, Decision, Ending, Hold, Now};
use super::held::stale;
use super::spaces::{Keyed, Space};
use super::time::Moment;
use super::write::{Build, Earlier, LeaseAfter, Standing, Verdict};
use crate::claim::{FailureClass, Holder, Receipt};
use crate::codec::{Record, Repeats, State};
use crate::error::{Error, ErrorKind};
use crate::history::{self, Happened, Orphaned};
use crate::planted;
use std::borrow::Cow;

/// What became of the reservation of a key for a `transact`.
#[derive(Debug)]
pub(super) enum Reserved {
    Taken { attempt: u32, earlier: Option<Record>, orphaned: Option<Orphaned> },
    Answered(Result<Unclaimed, Error>),
}

impl Engine {
    /// The verdict on a claim.
    pub(super) fn judge_claim<'a>(
        &self,
        space: &Space,
        prepared: &'a Prepared<'a>,
        standing: Standing<'_>,
    ) -> Result<Verdict<Told, impl Build<Told> + use<'a>>, Error> {
        let mut decision = self.decide(space, prepared, standing);
        if planted::active(3) {
            decision = self.decide_overlooking(space, prepared, standing);
        }
        if let Some(answer) = self.answer(&decision, prepared, standing) {
            return Ok(Verdict::Stands { answer, repeats: repeats(&decision) });
        }
        let (orphaned, at) = (standing.orphaned(self.life), standing.at);
        let mut lease = LeaseAfter::Ended;
        if let Decision::Claim { .. } = decision {
            self.check_new_claim(space, prepared, standing.record().is_none())?;
            lease = LeaseAfter::Granted;
        }
        Ok(Verdict::write(lease, move |earlier: Earlier<'_>, seq| {
            let earlier = earlier.as_deref();
            let Decision::Claim { attempt } = decision else {
                let earlier = earlier.ok_or_else(stale)?;
                let (record, answer) = orphan_ended(&decision, earlier, orphaned, prepared, seq, at);
                return Ok((record, answer.map(Answer::Unclaimed)));
            };
            let mut record = decide::claimed(earlier, orphaned, attempt, &prepared.wanted, seq, at.store_ms);
            if planted::active(7) {
                repeat_token(&mut record, earlier);
            }
            remember_orphan(&mut record, earlier, orphaned, at);
            let granted = Engine::granted(Keyed::default(), &record);
            Ok((record, Ok(Answer::Claimed(granted))))
        }))
    }

    /// The verdict on a claim that is not to be granted, but reserved for a `transact`.
    pub(super) fn judge_reservation<'a>(
        &self,
        space: &Space,
        prepared: &'a Prepared<'a>,
        standing: Standing<'_>,
    ) -> Result<Verdict<Reserved, impl Build<Reserved> + use<'a>>, Error> {
        let decision = self.decide(space, prepared, standing);
        if let Decision::Claim { attempt } = decision {
            self.check_new_claim(space, prepared, standing.record().is_none())?;
            let earlier = standing.known().map(Cow::into_owned);
            let orphaned = standing.orphaned(self.life);
            return Ok(Verdict::Reserve { answer: Reserved::Taken { attempt, earlier, orphaned } });
        }
        if let Some(answer) = self.answer(&decision, prepared, standing) {
            return Ok(Verdict::Stands { answer: Reserved::Answered(answer), repeats: repeats(&decision) });
        }
        let (orphaned, at) = (standing.orphaned(self.life), standing.at);
        Ok(Verdict::write(LeaseAfter::Ended, move |earlier: Earlier<'_>, seq| {
            let earlier = earlier.as_deref().ok_or_else(stale)?;
            let (record, answer) = orphan_ended(&decision, earlier, orphaned, prepared, seq, at);
            Ok((record, Reserved::Answered(answer)))
        }))
    }

    /// Planted bug 3: what came in before the locks were taken is overlooked where it would be the answer.
    fn decide_overlooking(
        &self,
        space: &Space,
        prepared: &Prepared<'_>,
        mut standing: Standing<'_>,
    ) -> Decision {
        let decision = self.decide(space, prepared, standing);
        let overlooked = self.answer::<Answer>(&decision, prepared, standing).is_some();
        standing.entry = standing.entry.filter(|_| !overlooked);
        self.decide(space, prepared, standing)
    }

    /// Limits that only new work meets.
    fn check_new_claim(&self, space: &Space, prepared: &Prepared<'_>, is_new: bool) -> Result<(), Error> {
        if self.live.in_progress() >= self.limits.in_progress {
            return Err(Error::new(ErrorKind::Overloaded, "the most claims are in progress"));
        }
        if self.live.bytes() >= self.limits.live_bytes {
            self.upkeep.ask();
            return Err(Error::new(
                ErrorKind::Overloaded,
                "results wait for a checkpoint; retry in a moment",
            ));
        }
        if is_new { Self::check_quota(space, prepared.policy, prepared.keyed.full.len()) } else { Ok(()) }
    }

    /// What a decision without an effect is answered; `None` where it has one. Built as the type that the caller needs: to
    /// turn one into the other afterwards costs a duplicate a twentieth of its time.
    #[inline]
    pub(super) fn answer<A: From<Unclaimed>>(
        &self,
        decision: &Decision,
        prepared: &Prepared<'_>,
        standing: Standing<'_>,
    ) -> Option<Result<A, Error>> {
        let record = standing.record();
        match *decision {
            Decision::Duplicate { failure, fingerprint_checked } => {
                let record = record?;
                self.measures.duplicate(record.settled_at_ms, record.until_ms, standing.at.store_ms);
                Some(Ok(Unclaimed::Duplicate(Receipt::of(record, failure, fingerprint_checked)).into()))
            }
            Decision::InProgress { retry_after_ms } => {
                Some(Ok(Unclaimed::InProgress(holder(record, retry_after_ms)).into()))
            }
            Decision::Refuse(ErrorKind::PayloadMismatch) => {
                let pointers = decide::differing_pointers(record?, &prepared.wanted);
                Some(Err(refusal(ErrorKind::PayloadMismatch).differing_at(pointers)))
            }
            Decision::Refuse(kind) => Some(Err(refusal(kind))),
            Decision::Claim { .. } | Decision::Park | Decision::Fail | Decision::Delay { .. } => None,
        }
    }

    /// Under the shard lock; the time was read after the look-up (hazard 19).
    pub(super) fn decide(&self, space: &Space, prepared: &Prepared<'_>, standing: Standing<'_>) -> Decision {
        let Standing { entry, cold, at, .. } = standing;
        let store_ms = planted::remembered_time(30).unwrap_or(at.store_ms);
        // Only keys that carry a time are judged by the wall clock.
        let wall_ms = prepared.wanted.key_time_ms.map_or(0, |_| self.time.wall_ms());
        let known = match entry {
            Some(entry) if entry.marks.reserved => return Decision::InProgress { retry_after_ms: 1 },
            Some(entry) => Some((&entry.record, entry.hold(self.life, store_ms, at.boot_ms))),
            None => cold.map(|record| (record, Hold::Orphaned)),
        };
        let now = Now { store_ms, wall_ms };
        decide::decide(known, &prepared.wanted, prepared.policy, space.watermark_ms(), now)
    }
}

/// What an answer counts as for the record it was read from.
pub(super) fn repeats(decision: &Decision) -> Repeats {
    Repeats {
        replays: u32::from(matches!(decision, Decision::Duplicate { .. })),
        mismatches: u32::from(matches!(decision, Decision::Refuse(ErrorKind::PayloadMismatch))),
    }
}

/// The next version of an orphan that a claim ends or puts off, and what the claim is answered.
fn orphan_ended(
    decision: &Decision,
    earlier: &Record,
    orphaned: Option<Orphaned>,
    prepared: &Prepared<'_>,
    seq: u64,
    at: Moment,
) -> (Record, Result<Unclaimed, Error>) {
    let Prepared { keyed, policy, .. } = prepared;
    let mut record = match (decision, orphaned) {
        (Decision::Fail, Some(cause)) => {
            let ending = Ending::Fail(&FailureClass::Terminal { response: Box::default() });
            let change = ChangeOf { policy, key_time_ms: keyed.time_ms, seq, now_ms: at.store_ms };
            decide::orphan_settled(earlier, cause, &ending, &change)
        }
        (Decision::Delay { after_ms }, _) => decide::delayed(earlier, orphaned, *after_ms, seq, at.store_ms),
        _ => decide::parked(earlier, orphaned, policy, seq, at.store_ms),
    };
    remember_orphan(&mut record, Some(earlier), orphaned, at);
    let answer = match decision {
        Decision::Fail => Ok(Unclaimed::Duplicate(Receipt::of(&record, true, false))),
        Decision::Delay { after_ms } => Ok(Unclaimed::InProgress(holder(Some(&record), *after_ms))),
        _ => Err(refusal(ErrorKind::Parked)),
    };
    (record, answer)
}

/// Planted bug 7: the token of a claim that was released is given once more.
fn repeat_token(record: &mut Record, earlier: Option<&Record>) {
    if let Some(released) = earlier.filter(|earlier| earlier.token > 0)
        && matches!(released.state, State::Erased | State::Retry)
    {
        record.token = released.token;
    }
}

/// A claim that ends an orphan keeps in the record that there was one.
fn remember_orphan(record: &mut Record, earlier: Option<&Record>, orphaned: Option<Orphaned>, at: Moment) {
    if let (Some(earlier), Some(cause)) = (earlier, orphaned)
        && earlier.asked().is_none()
    {
        let what = Happened::Orphaned(decide::first_cause(earlier, cause));
        history::remember(record, earlier, what, at.store_ms, b"", b"");
    }
}

fn holder(record: Option<&Record>, retry_after_ms: u64) -> Holder {
    let (since_ms, attempt) = record.map_or((0, 0), |record| (record.claimed_at_ms, record.attempt));
    Holder::new(retry_after_ms, since_ms, attempt)
}

/// The error of a refused claim.
pub(crate) fn refusal(kind: ErrorKind) -> Error {
    Error::new(
        kind,
        match kind {
            ErrorKind::PayloadMismatch => "the key is known with another payload",
            ErrorKind::Parked => "the key is held for review",
            ErrorKind::TooOld => "the key is older than the store remembers",
            ErrorKind::FutureKey => "the key lies too far in the future",
            _ => "the claim was refused",
        },
    )
}
