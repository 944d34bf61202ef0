//! The life of a claim up to its answer. Of many in one call: [`batches`](super::batches).
//!
//! A claim that changes its key goes the [write path](super::write). Invariant: every answer waits for the batch of the
//! record it rests on.

pub(crate) use super::asked::Prepared;
use super::commit::Waits;
use super::decide::Wanted;
use super::judge::repeats;
use super::live::{Entry, Shard};
use super::spaces::{Keyed, Space};
pub(crate) use super::told::{Answer, Granted, Told, Unclaimed};
use super::write::{Change, Done, Looked, OP_BYTES, Seen, Standing, Turn, resting_on, until_current_of};
use super::{Class, Engine, spans};
use crate::claim::ClaimRequest;
use crate::codec::Record;
use crate::error::Error;
use crate::options::millis;
use crate::planted;
use crate::policy::Policy;
use crate::sync::MutexGuard;
use std::hint::black_box;
use std::time::Duration;

/// A claim that has been decided; the answer may be given once `batch` is committed.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) batch: u64,
    pub(crate) answer: Told,
}

impl Prepared<'_> {
    /// The claim as a change of the key. What is carried over stands once.
    pub(super) fn change<'a>(&'a self, space: &'a Space) -> Change<'a> {
        let added = self.wanted.origin.len() + self.wanted.fields.len();
        Change { space, keyed: &self.keyed, added, carries: 1 }
    }
}

impl Engine {
    /// Claims, on this thread.
    #[inline]
    pub(crate) fn claim(&self, space: &Space, request: &ClaimRequest) -> Told {
        self.claim_unless(space, request, |_| false)
    }

    /// The same for a call that goes on waiting where `waits` says so: such an answer is told to nobody.
    #[inline]
    fn claim_unless(&self, space: &Space, request: &ClaimRequest, waits: impl FnOnce(&Told) -> bool) -> Told {
        spans::claim().run(|span| {
            let Begun { batch, answer } = self.begin(space, request, Waits::Here)?;
            self.wait(batch)?;
            if waits(&answer) {
                self.waiters.looked();
            } else {
                self.deliver(space, &answer);
            }
            if let Ok(answer) = &answer {
                span.name("outcome", answer.name());
            }
            answer
        })
    }

    /// Decides a claim and queues its effect. Nothing may be told before [`Begun::batch`] is committed.
    pub(crate) fn begin(&self, space: &Space, request: &ClaimRequest, waits: Waits) -> Result<Begun, Error> {
        self.check_serving()?;
        self.check_writable()?;
        let policy = space.policy();
        let mut prepared = self.prepare(space, &policy, request)?;
        // Facts in the live table are answered without the order lock or a look at the runs, and without asking which
        // process this is as long as nothing is waited for.
        let seen_live = {
            let shard = self.shard_to_look(prepared.keyed.hash)?;
            let entry = shard.find(prepared.keyed.hash, &prepared.keyed.full);
            if entry.is_none() {
                // The processor waits for these lines together with those of the look itself.
                black_box(shard.bring_absent_near(prepared.keyed.hash));
            }
            if let Some(begun) = self.answer_live(space, &prepared, &shard, entry) {
                if !self.commit.has_reached(begun.batch) {
                    self.check_process()?;
                }
                return Ok(begun);
            }
            entry.is_some()
        };
        let look = |prepared: &Prepared<'_>| self.look(&prepared.keyed);
        until_current_of(&mut prepared, look, |prepared, mut looked| {
            if !seen_live && let Some(begun) = self.answer_cold(space, prepared, &mut looked)? {
                return Ok(Some(begun));
            }
            self.check_process()?;
            let cold = looked.found.as_ref();
            // What comes in behind these looks is noticed under the locks.
            let known = if seen_live || cold.is_some() { self.known_bytes(&prepared.keyed, cold) } else { 0 };
            let mut order = self.admit(request_bytes(request, known), Class::Claims(1))?;
            let mut turn = Turn { order: &mut order, at: self.time.moment(), waits };
            let begun = self.claim_in_turn(&mut turn, space, prepared, looked.seen());
            space.counters.claimed(begun.iter().map(|begun| &begun.answer));
            Ok(begun)
        })
    }

    /// Checks a request against limits and policy.
    pub(crate) fn prepare<'a>(
        &self,
        space: &Space,
        policy: &'a Policy,
        request: &'a ClaimRequest,
    ) -> Result<Prepared<'a>, Error> {
        planted::remember_time(|| self.time.now_ms());
        let keyed = self.keyed(space, policy, request.key())?;
        let wanted = Wanted::of(request, policy, keyed.time_ms)?;
        Ok(Prepared { keyed, wanted, policy })
    }

    /// The answer, if the live table alone gives one.
    fn answer_live(
        &self,
        space: &Space,
        prepared: &Prepared<'_>,
        shard: &Shard,
        entry: Option<&Entry>,
    ) -> Option<Begun> {
        let entry = entry?;
        let standing = Standing::new(shard, prepared.keyed.hash, Some(entry), None, self.time.moment());
        let decision = self.decide(space, prepared, standing);
        let answer = self.answer(&decision, prepared, standing)?;
        entry.count(repeats(&decision));
        Some(Begun { batch: resting_on(entry), answer })
    }

    /// The answer, if a checkpointed record alone gives one and nothing moved since it was read. That of a duplicate takes
    /// the record's body.
    fn answer_cold(
        &self,
        space: &Space,
        prepared: &Prepared<'_>,
        looked: &mut Looked<Option<Record>>,
    ) -> Result<Option<Begun>, Error> {
        if looked.found.is_none() {
            return Ok(None);
        }
        let Keyed { full, hash, .. } = &prepared.keyed;
        let mut shard = self.shard_to_look(*hash)?;
        let moved = !looked.is_current(&self.cold);
        let Some(cold) = looked.found.as_mut().filter(|_| !moved && shard.find(*hash, full).is_none()) else {
            return Ok(None);
        };
        // No judgement rests on the body, and a duplicate gets this one rather than a copy.
        let body = std::mem::take(&mut cold.body);
        let standing = Standing::new(&shard, *hash, None, Some(cold), self.time.moment());
        let now_ms = standing.at.store_ms;
        let decision = self.decide(space, prepared, standing);
        let answer = match self.answer(&decision, prepared, standing) {
            Some(Ok(Answer::Unclaimed(Unclaimed::Duplicate(receipt)))) => {
                Ok(Unclaimed::Duplicate(receipt.with_response(body)).into())
            }
            other => {
                cold.body = body;
                let Some(other) = other else { return Ok(None) };
                other
            }
        };
        shard.cold_repeats.count(*hash, cold, repeats(&decision), now_ms);
        Ok(Some(Begun { batch: 0, answer }))
    }

    /// The shard of a key, for an answer from memory. It is free nearly always; where it is not, whoever has it may be a
    /// thread that a child of `fork()` does not have, so that is asked before it is waited for.
    fn shard_to_look(&self, hash: u64) -> Result<MutexGuard<'_, Shard>, Error> {
        if let Some(shard) = self.live.try_shard(hash) {
            return Ok(shard);
        }
        self.check_process()?;
        Ok(self.live.shard(hash))
    }

    /// [`claim_under`](Engine::claim_under), under the order lock.
    pub(super) fn claim_in_turn(
        &self,
        turn: &mut Turn<'_>,
        space: &Space,
        prepared: &mut Prepared<'_>,
        seen: Seen<'_>,
    ) -> Option<Begun> {
        let mut shard = self.live.shard(prepared.keyed.hash);
        self.claim_under(turn, &mut shard, space, prepared, seen)
    }

    /// Claims under both locks; to count a grant is left to the caller. `None`: a checkpoint
    /// passed since the look.
    #[inline]
    pub(super) fn claim_under(
        &self,
        turn: &mut Turn<'_>,
        shard: &mut Shard,
        space: &Space,
        prepared: &mut Prepared<'_>,
        seen: Seen<'_>,
    ) -> Option<Begun> {
        let change = prepared.change(space);
        let judge = |standing: Standing<'_>| self.judge_claim(space, prepared, standing);
        match self.write_under(turn, shard, &change, seen, judge) {
            Ok(None) => None,
            Ok(Some(Done { batch, mut answer, ended })) => {
                if ended {
                    match &answer {
                        Ok(Answer::Claimed(_)) => {}
                        Ok(Answer::Unclaimed(unclaimed)) => space.counters.ended_by_claim(Ok(unclaimed)),
                        Err(refused) => space.counters.ended_by_claim(Err(refused)),
                    }
                }
                if let Ok(Answer::Claimed(granted)) = &mut answer {
                    granted.at = shard.newest();
                    // The key goes on to the lease: no further copy of it is made.
                    granted.keyed = std::mem::take(&mut prepared.keyed);
                }
                Some(Begun { batch, answer })
            }
            Err(refused) => Some(Begun { batch: 0, answer: Err(refused) }),
        }
    }

    /// What is granted with a claim that is in progress.
    pub(crate) fn granted(keyed: Keyed, record: &Record) -> Granted {
        Granted {
            keyed,
            token: record.token,
            attempt: record.attempt,
            // Whoever takes a claim over does so because nobody knows what became of it.
            in_doubt: record.tally().in_doubt || record.asked().is_some(),
            progress: if record.body.is_empty() { None } else { Some(record.body.clone()) },
            lease_ms: record.lease_ms,
            at: 0,
        }
    }

    /// What comes before a committed answer is told: its lease starts, if it is a grant, and it is counted.
    #[inline]
    pub(crate) fn deliver(&self, space: &Space, answer: &Told) {
        if let Ok(Answer::Claimed(granted)) = answer {
            self.start_lease_now(granted);
        }
        Self::count_told(space, answer);
    }

    /// Counts an answer that is told. Grants were counted when they were made.
    #[inline]
    pub(super) fn count_told(space: &Space, answer: &Told) {
        match answer {
            Ok(Answer::Claimed(_)) => {}
            Ok(Answer::Unclaimed(unclaimed)) => Self::count_unclaimed(space, Ok(unclaimed)),
            Err(refused) => Self::count_unclaimed(space, Err(refused)),
        }
    }

    /// The same for one that is no grant.
    pub(super) fn count_unclaimed(space: &Space, answer: Result<&Unclaimed, &Error>) {
        match answer {
            Ok(Unclaimed::Duplicate(receipt)) => {
                space.counters.duplicate();
                if receipt.is_failure() {
                    space.tell_failures();
                }
            }
            Ok(Unclaimed::InProgress(_)) => space.counters.in_progress(),
            Err(refused) => {
                space.counters.refused(refused.kind());
                space.tell_failures();
            }
        }
    }

    /// [`start_lease`](Engine::start_lease) for a claim by itself.
    pub(crate) fn start_lease_now(&self, granted: &Granted) {
        let now_ms = self.time.moment().boot_ms;
        self.start_lease(&mut self.live.shard(granted.keyed.hash), granted, now_ms);
    }

    /// The lease runs from here: a lease of T does not lapse before T after the acknowledgement, and nobody
    /// took the claim over while its answer was on the way. Under the lock of the claim's shard.
    pub(super) fn start_lease(&self, shard: &mut Shard, granted: &Granted, now_ms: u64) {
        if let Some(entry) = shard.find_claim(granted.at, granted.keyed.hash, granted.token) {
            entry.marks.undelivered = false;
            entry.lease_until_ms = now_ms.saturating_add(granted.lease_ms);
            self.lapses.note(entry.lease_until_ms);
        }
    }

    /// Claims, or waits until the holder is done or gone, or `limit` is over.
    pub(crate) fn claim_or_wait(&self, space: &Space, request: &ClaimRequest, limit: Duration) -> Told {
        self.check_changes()?;
        let hash = self.keyed(space, &space.policy(), request.key())?.hash;
        let deadline_ms = self.time.boot_ms().saturating_add(millis(limit));
        let bell = self.waiters.register(hash);
        let mut asks_first = false;
        if planted::active(65) {
            asks_first = true;
        }
        let answer = loop {
            if !asks_first {
                bell.silence();
            }
            match self.claim_unless(space, request, is_held) {
                Ok(Answer::Unclaimed(Unclaimed::InProgress(holder))) => {
                    if asks_first {
                        bell.silence();
                    }
                    let left_ms = deadline_ms.saturating_sub(self.time.boot_ms());
                    if left_ms == 0 {
                        space.counters.in_progress();
                        break Ok(Answer::Unclaimed(Unclaimed::InProgress(holder)));
                    }
                    bell.wait(holder.retry_after().min(Duration::from_millis(left_ms)));
                }
                other => break other,
            }
        };
        self.waiters.deregister(hash, &bell);
        answer
    }
}

/// Whether somebody is on it: a call that waits asks again, and tells nobody of this answer.
pub(crate) fn is_held(answer: &Told) -> bool {
    matches!(answer, Ok(Answer::Unclaimed(Unclaimed::InProgress(_))))
}

/// What a claim may add to the journal; `known` is what it carries over.
pub(crate) fn request_bytes(request: &ClaimRequest, known: usize) -> usize {
    let request = request.parts();
    OP_BYTES + request.key.len() + request.origin.len() + request.fields.len() + known
}
