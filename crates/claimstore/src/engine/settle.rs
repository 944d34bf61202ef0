//! The life of a claim from its answer to its end: complete, fail, release, renew, progress, detach, resume.
//!
//! Fencing: every transition checks, under the shard lock, that the key is in progress under exactly this
//! token. A lapsed lease passes: the work is done, and refusing it would have it done again. A superseded,
//! parked or settled one does not.

use super::Class;
use super::Engine;
use super::claims::Granted;
use super::commit::{Leads, Waits};
use super::decide::{self, Ending};
use super::held::{Held, live_claim_mut, reserved, stale};
use super::live::{Entry, Marks};
use super::spaces::Space;
use super::time::Moment;
use super::write::{Build, Change, Earlier, LeaseAfter, Looked, Seen, Standing, Turn, Verdict};
use crate::claim::FailureClass;
use crate::codec::{Record, State};
use crate::error::{Error, ErrorKind};
use crate::history;
use crate::options::{MAX_LEASE, MAX_ORIGIN_BYTES, MAX_TTL, millis};
use crate::planted;
use crate::policy::{OnDrop, Policy};
use crate::sync::{Arc, Now};
use std::thread::panicking;
use std::time::Duration;

/// The lease by which a claim is renewed that cannot be renewed just now.
const SOON_MS: u64 = 300;

impl Held {
    /// A change of the claim that adds bytes, and carries over those it has so many times.
    pub(crate) fn change(&self, added: usize, carries: usize) -> Change<'_> {
        Change { space: &self.space, keyed: &self.keyed, added, carries }
    }
}

impl Engine {
    /// Queues the end of a claim; answers the batch to wait for.
    pub(crate) fn settle(&self, held: &Held, ending: &Ending<'_>, waits: Waits) -> Result<u64, Error> {
        self.check_open()?;
        self.check_ending(ending)?;
        let policy = held.space.policy();
        let change = held.change(ending.body_len(), 1);
        let (batch, state) = self.write(&change, waits, no_look, |standing| {
            check_settlement(held, ending, standing)?;
            Ok(settlement(held, ending, &policy, standing))
        })?;
        self.count_ended(held, ending, state);
        held.space.tell_failures();
        Ok(batch)
    }

    /// Ends many claims in one batch. Answers the batch, and per item whether it was accepted.
    pub(crate) fn settle_many(
        &self,
        items: &[(&Held, Ending<'_>)],
        waits: Waits,
    ) -> Result<(u64, Vec<Result<(), Error>>), Error> {
        self.check_open()?;
        let keyed: Vec<_> = items.iter().map(|(held, _)| (&held.keyed, None)).collect();
        let asked: usize =
            items.iter().map(|(held, ending)| held.change(ending.body_len(), 1).bytes(0)).sum();
        let bytes = asked + self.known_bytes_of(&keyed);
        let mut order = self.admit(bytes, Class::Settlement)?;
        let mut turn = Turn { order: &mut order, at: self.time.moment(), waits };
        let mut last_batch = 0;
        // Neighbours are mostly of one namespace: its policy is asked for once.
        let mut known: Option<(&Arc<Space>, Now<Policy>)> = None;
        let verdicts = items.iter().map(|(held, ending)| {
            if planted::active(74) {
                // The batch of the last item is taken for that of all.
                last_batch = 0;
            }
            self.check_ending(ending)?;
            let same = known.take().filter(|(space, _)| Arc::ptr_eq(space, &held.space));
            let (_, policy) = known.insert(same.unwrap_or_else(|| (&held.space, held.space.policy())));
            let (batch, state) = self.settle_in_turn(&mut turn, held, ending.body_len(), |standing| {
                check_settlement(held, ending, standing)?;
                Ok(settlement(held, ending, policy, standing))
            })?;
            self.count_ended(held, ending, state);
            last_batch = last_batch.max(batch);
            Ok(())
        });
        let verdicts = verdicts.collect();
        drop(order);
        for (held, ending) in items {
            self.waiters.ring(held.keyed.hash);
            if matches!(ending, Ending::Fail(_)) {
                held.space.tell_failures();
            }
        }
        Ok((last_batch, verdicts))
    }

    /// Counts the end of a claim. One that is given back has not failed, whatever state that leaves the key in. One that is
    /// still in progress goes on without a holder.
    pub(super) fn count_ended(&self, held: &Held, ending: &Ending<'_>, state: State) {
        match ending {
            Ending::Release => held.space.counters.released(),
            Ending::Complete(_) | Ending::Fail(_) => held.space.counters.settled(state),
        }
        if state == State::InProgress {
            self.lapses.ring();
        }
    }

    /// Ends a claim under the order lock, as judged. Answers the batch to wait for, and the state of the key; to count
    /// the end is left to the caller.
    pub(crate) fn settle_in_turn<B>(
        &self,
        turn: &mut Turn<'_>,
        held: &Held,
        added: usize,
        judge: impl FnOnce(Standing<'_>) -> Result<Verdict<State, B>, Error>,
    ) -> Result<(u64, State), Error>
    where
        B: Build<State>,
    {
        let done = self.write_in_turn(turn, &held.change(added, 1), Seen::of_live(), judge)?;
        let done = done.ok_or_else(stale)?;
        Ok((done.batch, done.answer))
    }

    pub(crate) fn check_ending(&self, ending: &Ending<'_>) -> Result<(), Error> {
        if let Ending::Fail(FailureClass::Retry { after_ms, .. }) = ending
            && *after_ms > millis(MAX_TTL)
        {
            return Err(Error::new(ErrorKind::Misuse, "a retry must be due within 10 years"));
        }
        let (len, most, message) = match ending {
            Ending::Complete(response) => {
                (response.len(), self.limits.response_bytes, "the response is too large")
            }
            Ending::Fail(FailureClass::Terminal { response }) => {
                (response.len(), self.limits.response_bytes, "the response is too large")
            }
            Ending::Fail(FailureClass::Park { note }) => {
                (note.len(), MAX_ORIGIN_BYTES, "the note is too large")
            }
            Ending::Fail(
                FailureClass::Retry { .. } | FailureClass::Unknown { .. } | FailureClass::DidNotHappen { .. },
            )
            | Ending::Release => return Ok(()),
        };
        if len > most { Err(Error::new(ErrorKind::TooLarge, message)) } else { Ok(()) }
    }

    /// Starts the lease anew, `term` from now. Durable only for a detached claim: leases die with the process.
    /// Answers the batch to wait for.
    pub(crate) fn renew(&self, held: &Held, term: Duration, waits: Waits) -> Result<u64, Error> {
        self.check_open()?;
        let lease_ms = lease_ms(term)?;
        let detached = {
            let mut shard = self.live.shard(held.keyed.hash);
            let entry = live_claim_mut(shard.find_mut(held.keyed.hash, &held.keyed.full), held.token)?;
            check_unreserved(entry)?;
            if entry.record.until_ms == 0 {
                // The new term counts, also where it ends sooner.
                let mut until_ms = self.time.boot_ms().saturating_add(lease_ms);
                if planted::active(72) {
                    until_ms = until_ms.max(entry.lease_until_ms);
                }
                entry.lease_until_ms = until_ms;
                self.lapses.note(entry.lease_until_ms);
            }
            entry.record.until_ms != 0
        };
        if !detached {
            return Ok(0);
        }
        let until_ms = self.time.now_ms().saturating_add(lease_ms);
        self.lapses.note(self.time.boot_ms().saturating_add(lease_ms));
        self.change(held, 0, waits, |record| record.until_ms = until_ms)
    }

    /// Renews a lease as of `at`, for its own length, but not past `ends_ms` on the boot clock, and never to an earlier
    /// end. Returns the length of the lease. Refused for a claim that nobody holds.
    pub(crate) fn prolong(&self, held: &Held, at: Moment, ends_ms: u64) -> Result<u64, Error> {
        self.check_changes()?;
        let boot_ms = at.boot_ms;
        let (lease_ms, term_ms, detached_until_ms) = {
            let mut shard = self.live.shard(held.keyed.hash);
            let entry = live_claim_mut(shard.find_mut(held.keyed.hash, &held.keyed.full), held.token)?;
            if entry.marks.abandoned || entry.marks.dropped {
                return Err(Error::new(ErrorKind::StaleLease, "the lease was dropped"));
            }
            let lease_ms = entry.record.lease_ms;
            let mut term_ms = lease_ms.min(ends_ms.saturating_sub(boot_ms));
            if planted::active(98) {
                term_ms = lease_ms;
            }
            if entry.record.until_ms == 0 {
                entry.lease_until_ms = entry.lease_until_ms.max(boot_ms.saturating_add(term_ms));
                self.lapses.note(entry.lease_until_ms);
            }
            // Nobody takes over what is reserved. A detached claim gets no version meanwhile: it is tried again soon.
            if entry.marks.reserved {
                let detached = entry.record.until_ms != 0;
                return Ok(if detached { lease_ms.min(SOON_MS) } else { lease_ms });
            }
            (lease_ms, term_ms, entry.record.until_ms)
        };
        let until_ms = at.store_ms.saturating_add(term_ms);
        if detached_until_ms != 0 && detached_until_ms < until_ms {
            self.lapses.note(boot_ms.saturating_add(term_ms));
            self.change(held, 0, Waits::Elsewhere, |record| record.until_ms = record.until_ms.max(until_ms))?;
            self.nudge_service();
        }
        Ok(lease_ms)
    }

    /// Makes a claim outlive this process until `term` is over.
    pub(crate) fn detach(&self, held: &Held, term: Duration, waits: Waits) -> Result<u64, Error> {
        let lease_ms = lease_ms(term)?;
        let until_ms = self.time.now_ms().saturating_add(lease_ms);
        self.lapses.note(self.time.boot_ms().saturating_add(lease_ms));
        self.change(held, 0, waits, |record| record.until_ms = until_ms)
    }

    /// Stores how far the work has come. The progress before this attempt is kept, for `release`.
    pub(crate) fn save_progress(&self, held: &Held, progress: &[u8], waits: Waits) -> Result<u64, Error> {
        if progress.len() > self.limits.progress_bytes {
            return Err(Error::new(ErrorKind::TooLarge, "the progress is too large"));
        }
        self.change(held, progress.len(), waits, |record| {
            let before = std::mem::replace(&mut record.body, progress.into());
            let extra = record.extra.get_or_insert_default();
            extra.earlier_progress.get_or_insert(before);
        })
    }

    /// Changes a claim that stays in progress.
    fn change(
        &self,
        held: &Held,
        bytes: usize,
        waits: Waits,
        edit: impl Fn(&mut Record),
    ) -> Result<u64, Error> {
        self.check_open()?;
        let (batch, ()) = self.write(&held.change(bytes, 2), waits, no_look, |standing| {
            standing.check_claim(held.token)?;
            standing.check_unreserved()?;
            Ok(Verdict::write(LeaseAfter::Kept, |earlier, seq| {
                let mut record = earlier.ok_or_else(stale)?.into_owned();
                record.seq = seq;
                edit(&mut record);
                Ok((record, ()))
            }))
        })?;
        Ok(batch)
    }

    /// A lease was dropped unsettled: nobody works on the key, unless the policy keeps its term. In memory only: the next
    /// version of the record counts it, or a clean close; to a crash before that it is a death.
    pub(crate) fn abandon(&self, held: &Held) {
        if !self.is_here() {
            return;
        }
        let keeps_term = held.space.policy().drop_rule() == OnDrop::KeepTerm;
        {
            let mut shard = self.live.shard(held.keyed.hash);
            let Ok(entry) = live_claim_mut(shard.find_mut(held.keyed.hash, &held.keyed.full), held.token)
            else {
                return;
            };
            entry.marks.leased = false;
            entry.marks.undelivered = false;
            entry.marks.panicked = panicking();
            entry.marks.dropped = true;
            // A detached claim is trusted until its time is over, whoever lets go of it. Whoever took an orphan over has none
            // of its term.
            let trusted = entry.record.until_ms != 0 || (keeps_term && entry.record.asked().is_none());
            entry.marks.abandoned = !trusted;
        }
        self.waiters.ring(held.keyed.hash);
        self.lapses.ring();
    }

    /// The lease object is gone, the claim goes on: until its term, or until it is resumed.
    pub(crate) fn let_go(&self, held: &Held) {
        if !self.is_here() {
            return;
        }
        let mut shard = self.live.shard(held.keyed.hash);
        if let Ok(entry) = live_claim_mut(shard.find_mut(held.keyed.hash, &held.keyed.full), held.token) {
            entry.marks.leased = false;
        }
    }

    /// Takes up a claim again by its token.
    pub(crate) fn resume(
        &self,
        space: &Arc<Space>,
        key: &[u8],
        token: u64,
    ) -> Result<(Held, Granted), Error> {
        self.check_changes()?;
        let keyed = self.keyed(space, &space.policy(), key)?;
        let mut shard = self.live.shard(keyed.hash);
        let life = self.life;
        let entry = live_claim_mut(shard.find_mut(keyed.hash, &keyed.full), token)?;
        // Of an earlier life only detached claims go on; the others are orphans, by proof.
        if token >> super::SEQ_BITS < life && entry.record.until_ms == 0 {
            return Err(stale());
        }
        if entry.marks.leased {
            return Err(Error::new(ErrorKind::Misuse, "a lease of this token lives"));
        }
        entry.marks.leased = true;
        entry.marks.abandoned = false;
        entry.marks.panicked = false;
        entry.marks.dropped = false;
        let granted = Self::granted(keyed.clone(), &entry.record);
        Ok((Held { space: space.clone(), keyed, token }, granted))
    }
}

/// A claim in progress is in the live table.
#[expect(clippy::unnecessary_wraps, reason = "it stands where others look and may fail")]
pub(crate) fn no_look() -> Result<Looked<Option<Record>>, Error> {
    Ok(Looked::none())
}

/// Whether a claim may be settled like this.
fn check_settlement(held: &Held, ending: &Ending<'_>, standing: Standing<'_>) -> Result<(), Error> {
    let record = standing.check_claim(held.token)?;
    standing.check_unreserved()?;
    if matches!(ending, Ending::Release) && record.asked().is_some() {
        return Err(Error::new(ErrorKind::Misuse, "a claim taken over has no attempt that could be undone"));
    }
    if matches!(ending, Ending::Fail(FailureClass::DidNotHappen { .. })) && record.asked().is_none() {
        return Err(Error::new(
            ErrorKind::Misuse,
            "only of a claim taken over can be said that it did not happen",
        ));
    }
    Ok(())
}

/// The settlement of a claim that may be settled.
fn settlement<'a>(
    held: &'a Held,
    ending: &'a Ending<'a>,
    policy: &'a Policy,
    standing: Standing<'_>,
) -> Verdict<State, impl Build<State> + use<'a>> {
    let now_ms = standing.at.store_ms;
    Verdict::write(LeaseAfter::Ended, move |earlier: Earlier<'_>, seq| {
        let earlier = earlier.ok_or_else(stale)?;
        let mut record = decide::settled(&earlier, ending, policy, held.keyed.time_ms, seq, now_ms);
        if planted::active(7) {
            repeat_token(&mut record, &earlier);
        }
        let told_before =
            matches!(ending, Ending::Fail(FailureClass::Unknown { .. })) && earlier.asked().is_some();
        if let Some(what) = ending.past().filter(|_| !told_before) {
            history::remember(&mut record, &earlier, what, now_ms, b"", ending.note());
        }
        let state = record.state;
        Ok((record, state))
    })
}

/// Planted bug 7: the token of a claim that was released is given once more.
fn repeat_token(record: &mut Record, released: &Record) {
    if record.state == State::Erased {
        record.token = released.token;
    }
}

/// Checks that no `transact` and no settlement with rows is running on the claim: its record must be the next one.
fn check_unreserved(entry: &Entry) -> Result<(), Error> {
    if entry.marks.reserved { Err(reserved()) } else { Ok(()) }
}

pub(crate) fn lease_ms(term: Duration) -> Result<u64, Error> {
    if term < Duration::from_millis(1) || term > MAX_LEASE {
        return Err(Error::new(ErrorKind::Misuse, "a lease must lie between 1 ms and 366 days"));
    }
    Ok(millis(term))
}

/// Marks of a claim whose settlement is running elsewhere.
impl Marks {
    pub(crate) fn reserved(self) -> Marks {
        Marks { reserved: true, ..self }
    }
}
