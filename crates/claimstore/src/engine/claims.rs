//! The life of a claim up to its answer. Of many in one call: [`batches`](super::batches).
//!
//! Invariant: between the look-up that finds a key absent and the insertion of its claim no checkpoint may
//! have moved the key (the generation is compared under the shard lock), and every answer waits for the
//! batch of the record it rests on.

use super::commit::{Order, Waits};
use super::decide::{self, Decision, Hold, Now, Wanted};
use super::live::{Entry, Marks, Shard};
use super::spaces::{Keyed, Space};
use super::time::Moment;
use super::write::{OP_BYTES, carried, resting_on};
use super::{Class, Engine, spans};
use crate::claim::{Claim, ClaimRequest, Holder, Receipt};
use crate::codec::{Fingerprint, Record, Repeats, State};
use crate::error::{Error, ErrorKind};
use crate::history::{self, ENTRY_BYTES, Happened, Orphaned};
use crate::lease::Lease;
use crate::options::{MAX_LEASE, MAX_ORIGIN_BYTES, MAX_TTL, MIN_TTL, millis};
use crate::planted;
use crate::policy::Policy;
use crate::sync::{Arc, MutexGuard};
use std::hint::black_box;
use std::time::Duration;

/// A claim that has been decided; the answer may be given once `batch` is committed.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) batch: u64,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Claimed(Granted),
    Duplicate(Receipt),
    InProgress(Holder),
    Refused(Error),
}

impl Answer {
    /// What was granted, if this is a grant.
    pub(super) fn granted(&self) -> Option<&Granted> {
        if let Answer::Claimed(granted) = self { Some(granted) } else { None }
    }

    /// What it counts as for the record it was read from.
    fn repeats(&self) -> Repeats {
        let mismatch = matches!(self, Answer::Refused(error) if error.kind() == ErrorKind::PayloadMismatch);
        Repeats { replays: u32::from(matches!(self, Answer::Duplicate(_))), mismatches: u32::from(mismatch) }
    }
}

/// A granted claim before its lease is handed out.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) keyed: Keyed,
    pub(crate) token: u64,
    pub(crate) attempt: u32,
    pub(crate) progress: Option<Box<[u8]>>,
    pub(crate) lease_ms: u64,
    /// Where in its shard the claim lies, probably.
    pub(super) at: usize,
}

/// What a look at the runs found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) cold: Option<&'a Record>,
    /// As of this generation of the runs.
    pub(crate) generation: u64,
}

/// A request, checked, with the policy's defaults filled in.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) keyed: Keyed,
    pub(crate) wanted: Wanted<'a>,
    pub(crate) policy: &'a Policy,
}

impl Engine {
    /// Claims, on this thread.
    pub(crate) fn claim(
        self: &Arc<Self>,
        space: &Arc<Space>,
        request: &ClaimRequest,
    ) -> Result<Claim, Error> {
        spans::claim().run(|span| {
            let begun = self.begin(space, request, Waits::Here)?;
            self.wait(begun.batch)?;
            let claim = self.deliver(space, &request.key, begun.answer)?;
            span.name("outcome", claim.name());
            Ok(claim)
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
            if let Some(begun) = self.answer_live(space, &prepared, entry) {
                if !self.commit.has_reached(begun.batch) {
                    self.check_process()?;
                }
                return Ok(begun);
            }
            entry.is_some()
        };
        loop {
            let generation = self.cold.generation();
            let found = self.cold.lookup(&prepared.keyed.full, prepared.keyed.hash)?;
            let mut cold = found.map(|found| found.record);
            if !seen_live
                && let Some(record) = &mut cold
                && let Some(begun) = self.answer_cold(space, &prepared, record, generation)?
            {
                return Ok(begun);
            }
            self.check_process()?;
            // What comes in behind these looks is noticed under the locks.
            let known = if seen_live || cold.is_some() {
                self.known_bytes(&prepared.keyed, cold.as_ref())
            } else {
                0
            };
            let mut order = self.admit(request_bytes(request, known), Class::Claim)?;
            let at = self.time.moment();
            let seen = Seen { cold: cold.as_ref(), generation };
            let begun = {
                let mut shard = self.live.shard(prepared.keyed.hash);
                self.decide_and_apply(&mut order, &mut shard, space, &mut prepared, seen, at, waits)
            };
            if let Some(begun) = begun {
                space.counters.claimed([&begun.answer]);
                return Ok(begun);
            }
        }
    }

    /// Checks a request against limits and policy.
    pub(crate) fn prepare<'a>(
        &self,
        space: &Space,
        policy: &'a Policy,
        request: &'a ClaimRequest,
    ) -> Result<Prepared<'a>, Error> {
        planted::remember_time(|| self.time.now_ms());
        let keyed = self.keyed(space, policy, &request.key)?;
        let ttl_ms = request.ttl_ms.unwrap_or(policy.ttl_ms);
        let lease_ms = request.lease_ms.unwrap_or(policy.lease_ms);
        let misuse = |message| Err(Error::new(ErrorKind::Misuse, message));
        if !(MIN_TTL..=MAX_TTL).contains(&Duration::from_millis(ttl_ms)) {
            return misuse("a ttl must lie between 1 second and 10 years");
        }
        if lease_ms == 0 || lease_ms > millis(MAX_LEASE) {
            return misuse("a lease must lie between 1 ms and 366 days");
        }
        if keyed.time_ms.is_some() && ttl_ms < policy.ttl_ms {
            return misuse("a ttl below the policy's would let a time-ordered key come back");
        }
        if policy.require_fingerprint && request.fingerprint.is_none() {
            return misuse("the namespace requires a fingerprint");
        }
        if request.origin.len() > MAX_ORIGIN_BYTES {
            return Err(Error::new(ErrorKind::TooLarge, "an origin must have at most 4,096 bytes"));
        }
        let fingerprint = request
            .fingerprint
            .as_ref()
            .map(|given| Fingerprint { scheme: given.scheme(), digest: given.to_bytes() });
        let key_time_ms = keyed.time_ms;
        let (fields, origin) = (&*request.fields, &*request.origin);
        let wanted = Wanted { ttl_ms, lease_ms, fingerprint, fields, origin, key_time_ms };
        Ok(Prepared { keyed, wanted, policy })
    }

    /// The answer, if the live table alone gives one.
    fn answer_live(&self, space: &Space, prepared: &Prepared<'_>, entry: Option<&Entry>) -> Option<Begun> {
        let entry = entry?;
        let answer = self.answer_without_effect(space, prepared, Some(entry), None, self.time.moment())?;
        entry.count(answer.repeats());
        Some(Begun { batch: resting_on(entry), answer })
    }

    /// The answer, if a checkpointed record alone gives one and nothing moved since it was read. That of a duplicate takes
    /// the record's body.
    fn answer_cold(
        &self,
        space: &Space,
        prepared: &Prepared<'_>,
        cold: &mut Record,
        generation: u64,
    ) -> Result<Option<Begun>, Error> {
        let mut shard = self.shard_to_look(prepared.keyed.hash)?;
        let moved = self.cold.generation() != generation;
        if moved || shard.find(prepared.keyed.hash, &prepared.keyed.full).is_some() {
            return Ok(None);
        }
        let at = self.time.moment();
        // No judgement rests on the body, and a duplicate gets this one rather than a copy.
        let body = std::mem::take(&mut cold.body);
        let answer = self.answer_without_effect(space, prepared, None, Some(cold), at);
        let answer = match answer {
            Some(Answer::Duplicate(receipt)) => Answer::Duplicate(receipt.with_response(body)),
            other => {
                cold.body = body;
                let Some(other) = other else { return Ok(None) };
                other
            }
        };
        shard.cold_repeats.count(prepared.keyed.hash, cold, answer.repeats(), at.store_ms);
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

    fn answer_without_effect(
        &self,
        space: &Space,
        prepared: &Prepared<'_>,
        entry: Option<&Entry>,
        cold: Option<&Record>,
        at: Moment,
    ) -> Option<Answer> {
        let record = entry.map(|entry| &entry.record).or(cold);
        match self.decide(space, prepared, entry, cold, at) {
            Decision::Duplicate { failure, fingerprint_checked } => {
                let record = record?;
                self.measures.duplicate(record.settled_at_ms, record.until_ms, at.store_ms);
                Some(Answer::Duplicate(Receipt::of(record, failure, fingerprint_checked)))
            }
            Decision::InProgress { retry_after_ms } => {
                Some(Answer::InProgress(holder(record, retry_after_ms)))
            }
            Decision::Refuse(ErrorKind::PayloadMismatch) => {
                let pointers = decide::differing_pointers(record?, &prepared.wanted);
                Some(Answer::Refused(refusal(ErrorKind::PayloadMismatch).differing_at(pointers)))
            }
            Decision::Refuse(kind) => Some(Answer::Refused(refusal(kind))),
            Decision::Claim { .. } | Decision::Park | Decision::Fail | Decision::Delay { .. } => None,
        }
    }

    /// Under the shard lock; `at` was read after the look-up (hazard 19).
    pub(crate) fn decide(
        &self,
        space: &Space,
        prepared: &Prepared<'_>,
        entry: Option<&Entry>,
        cold: Option<&Record>,
        at: Moment,
    ) -> Decision {
        let store_ms = planted::remembered_time(30).unwrap_or(at.store_ms);
        // Only keys that carry a time are judged by the wall clock.
        let wall_ms = prepared.wanted.key_time_ms.map_or(0, |_| self.time.wall_ms());
        let standing = match entry {
            Some(entry) if entry.marks.reserved => return Decision::InProgress { retry_after_ms: 1 },
            Some(entry) => Some((&entry.record, entry.hold(self.life, store_ms, at.boot_ms))),
            None => cold.map(|record| (record, Hold::Orphaned)),
        };
        let now = Now { store_ms, wall_ms };
        decide::decide(standing, &prepared.wanted, prepared.policy, space.watermark_ms(), now)
    }

    /// Decides under both locks and applies the effect; to count a grant is left to the caller. `None`: a checkpoint
    /// passed since the look-up.
    #[expect(clippy::too_many_arguments, reason = "both locks, the look-up and its circumstances")]
    pub(crate) fn decide_and_apply(
        &self,
        order: &mut Order,
        shard: &mut Shard,
        space: &Space,
        prepared: &mut Prepared<'_>,
        Seen { cold, generation }: Seen<'_>,
        at: Moment,
        waits: Waits,
    ) -> Option<Begun> {
        let keyed = &prepared.keyed;
        let entry = shard.find(keyed.hash, &keyed.full).filter(|entry| {
            // What would have been an answer before the lock was taken came in meanwhile.
            !planted::active(3)
                || self.answer_without_effect(space, prepared, Some(entry), None, at).is_none()
        });
        if entry.is_none() && self.cold.generation() != generation {
            return None;
        }
        let cold = cold.filter(|_| entry.is_none());
        let decision = self.decide(space, prepared, entry, cold, at);
        let earlier = entry.map(|entry| &entry.record).or(cold);
        let orphaned = entry.and_then(|entry| entry.orphaned(self.life, at));
        let has_effect = matches!(
            decision,
            Decision::Claim { .. } | Decision::Park | Decision::Fail | Decision::Delay { .. }
        );
        let bytes = OP_BYTES
            + orphaned.map_or(0, |_| ENTRY_BYTES)
            + keyed.full.len()
            + prepared.wanted.origin.len()
            + prepared.wanted.fields.len()
            + earlier.map_or(0, Record::loose_bytes);
        if has_effect && !order.takes(bytes) {
            // The record has grown since the room was asked for.
            let error = Error::new(ErrorKind::Overloaded, "the journal has no room just now; retry");
            return Some(Begun { batch: 0, answer: Answer::Refused(error) });
        }
        // With what was counted since it was written: a new version saves it. What has no effect needs no copy of it.
        let known = if has_effect { shard.known(keyed.hash, entry, cold) } else { None };
        let earlier = known.as_deref();
        let begun = match decision {
            Decision::Claim { attempt } => {
                if let Err(error) = self.check_new_claim(space, prepared, earlier.is_none()) {
                    return Some(Begun { batch: 0, answer: Answer::Refused(error) });
                }
                let seq = order.take_seq();
                let mut record = decide::claimed(earlier, attempt, &prepared.wanted, seq, at.store_ms);
                if let Some(released) = earlier.filter(|earlier| planted::active(7) && earlier.token > 0)
                    && matches!(released.state, State::Erased | State::Retry)
                {
                    record.token = released.token;
                }
                remember_orphan(&mut record, earlier, orphaned, at);
                let token = record.token;
                let marks = Marks { leased: true, undelivered: true, ..carried(entry, cold.is_some()) };
                let progress = if record.body.is_empty() { None } else { Some(record.body.clone()) };
                let lease_ms = record.lease_ms;
                let batch = self.put_by_hand(order, shard, space, keyed, record, marks, at, waits);
                let at = shard.newest();
                // The key goes on to the lease: no further copy of it is made.
                let keyed = std::mem::take(&mut prepared.keyed);
                let granted = Granted { keyed, token, attempt, progress, lease_ms, at };
                Begun { batch, answer: Answer::Claimed(granted) }
            }
            Decision::Park => {
                let note = decide::parking_note(earlier?, prepared.policy);
                let mut record = decide::parked(earlier?, note, order.take_seq(), at.store_ms);
                remember_orphan(&mut record, earlier, orphaned, at);
                let marks = carried(entry, cold.is_some());
                let batch = self.put_by_hand(order, shard, space, keyed, record, marks, at, waits);
                Begun { batch, answer: Answer::Refused(refusal(ErrorKind::Parked)) }
            }
            Decision::Fail => {
                let ending =
                    decide::Ending::Fail(&crate::claim::FailureClass::Terminal { response: Box::default() });
                let (seq, now_ms) = (order.take_seq(), at.store_ms);
                let mut record =
                    decide::settled(earlier?, &ending, prepared.policy, keyed.time_ms, seq, now_ms);
                remember_orphan(&mut record, earlier, orphaned, at);
                let receipt = Receipt::of(&record, true, false);
                let marks = carried(entry, cold.is_some());
                let batch = self.put_by_hand(order, shard, space, keyed, record, marks, at, waits);
                Begun { batch, answer: Answer::Duplicate(receipt) }
            }
            Decision::Delay { after_ms } => {
                let mut record = decide::delayed(earlier?, after_ms, order.take_seq(), at.store_ms);
                remember_orphan(&mut record, earlier, orphaned, at);
                let answer = Answer::InProgress(holder(Some(&record), after_ms));
                let marks = carried(entry, cold.is_some());
                let batch = self.put_by_hand(order, shard, space, keyed, record, marks, at, waits);
                Begun { batch, answer }
            }
            Decision::Duplicate { .. } | Decision::InProgress { .. } | Decision::Refuse(_) => {
                let batch = entry.map_or(0, resting_on);
                let answer = self.answer_without_effect(space, prepared, entry, cold, at)?;
                match (entry, cold) {
                    (Some(entry), _) => entry.count(answer.repeats()),
                    (None, Some(cold)) => {
                        shard.cold_repeats.count(keyed.hash, cold, answer.repeats(), at.store_ms);
                    }
                    (None, None) => {}
                }
                Begun { batch, answer }
            }
        };
        Some(begun)
    }

    /// Limits that only new work meets.
    pub(crate) fn check_new_claim(
        &self,
        space: &Space,
        prepared: &Prepared<'_>,
        is_new: bool,
    ) -> Result<(), Error> {
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

    pub(crate) fn granted(keyed: &Keyed, record: &Record) -> Granted {
        Granted {
            keyed: keyed.clone(),
            token: record.token,
            attempt: record.attempt,
            progress: if record.body.is_empty() { None } else { Some(record.body.clone()) },
            lease_ms: record.lease_ms,
            at: 0,
        }
    }

    /// Puts a key's new version in place: into the live table and the queue in one critical section.
    #[expect(clippy::too_many_arguments, reason = "both locks, the key, and what becomes of it")]
    pub(crate) fn put_by_hand(
        &self,
        order: &mut Order,
        shard: &mut Shard,
        space: &Space,
        keyed: &Keyed,
        record: Record,
        marks: Marks,
        at: Moment,
        waits: Waits,
    ) -> u64 {
        let batch = order.append_record(&keyed.full, &record, at.store_ms, waits);
        let lease_until_ms = at.boot_ms.saturating_add(record.lease_ms);
        let entry = Entry { marks, ..Entry::new(record, batch, lease_until_ms) };
        self.put_entry(order, shard, space, keyed, entry);
        batch
    }

    /// Turns a committed answer into what the caller gets.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        space: &Arc<Space>,
        key: &[u8],
        answer: Answer,
    ) -> Result<Claim, Error> {
        if let Answer::Claimed(granted) = &answer {
            let now_ms = self.time.moment().boot_ms;
            self.start_lease(&mut self.live.shard(granted.keyed.hash), granted, now_ms);
        }
        self.hand_out(space, key, answer)
    }

    /// The same for an answer whose lease, if it is one, has started.
    pub(super) fn hand_out(
        self: &Arc<Self>,
        space: &Arc<Space>,
        key: &[u8],
        answer: Answer,
    ) -> Result<Claim, Error> {
        match answer {
            Answer::Claimed(granted) => Ok(Claim::Claimed(Lease::new(self, space, key, granted))),
            Answer::Duplicate(receipt) => {
                space.counters.duplicate();
                Ok(Claim::Duplicate(receipt))
            }
            Answer::InProgress(holder) => {
                space.counters.in_progress();
                Ok(Claim::InProgress(holder))
            }
            Answer::Refused(error) => {
                space.counters.refused(error.kind());
                Err(error)
            }
        }
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
    pub(crate) fn claim_or_wait(
        self: &Arc<Self>,
        space: &Arc<Space>,
        request: &ClaimRequest,
        limit: Duration,
    ) -> Result<Claim, Error> {
        self.check_changes()?;
        let hash = self.keyed(space, &space.policy(), &request.key)?.hash;
        let deadline_ms = self.time.boot_ms().saturating_add(millis(limit));
        let bell = self.waiters.register(hash);
        let answer = loop {
            if !planted::active(65) {
                bell.silence();
            }
            match self.claim(space, request) {
                Ok(Claim::InProgress(holder)) => {
                    if planted::active(65) {
                        bell.silence();
                    }
                    let left_ms = deadline_ms.saturating_sub(self.time.boot_ms());
                    if left_ms == 0 {
                        break Ok(Claim::InProgress(holder));
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

/// A claim that ends an orphan keeps in the record that there was one.
fn remember_orphan(record: &mut Record, earlier: Option<&Record>, orphaned: Option<Orphaned>, at: Moment) {
    if let (Some(earlier), Some(cause)) = (earlier, orphaned)
        && earlier.asked().is_none()
    {
        history::remember(record, earlier, Happened::Orphaned(cause), at.store_ms, b"", b"");
    }
}

fn holder(record: Option<&Record>, retry_after_ms: u64) -> Holder {
    let (since_ms, attempt) = record.map_or((0, 0), |record| (record.claimed_at_ms, record.attempt));
    Holder { retry_after_ms, since_ms, attempt }
}

/// What a claim may add to the journal; `known` is what it carries over.
pub(crate) fn request_bytes(request: &ClaimRequest, known: usize) -> usize {
    OP_BYTES + request.key.len() + request.origin.len() + request.fields.len() + known
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
