//! Operations on claims that nobody holds, and on keys held for review.
//!
//! Fencing: each checks, under the order lock and the shard's lock, that the key is in progress under exactly
//! the token it was listed with *and* that nobody stands behind it at that moment; or that it is parked under
//! that token. A holder renews and settles under the same locks, so whoever comes first wins.

use super::claims::Granted;
use super::commit::Waits;
use super::decide::{self, ChangeOf, Ending};
use super::held::{Held, stale};
use super::live::Entry;
use super::settle::no_look;
use super::spaces::{Space, is_reserved};
use super::time::Moment;
use super::write::{LeaseAfter, Standing, Turn, Verdict};
use super::{Class, Engine};
use crate::claim::FailureClass;
use crate::codec::{Asked, Record, State};
use crate::error::{Error, ErrorKind};
use crate::history::{ENTRY_BYTES, Happened, MAX_BY_BYTES, MAX_NOTE_BYTES, Orphaned, remember};
use crate::policy::Policy;
use crate::sync::Arc;
use crate::view;
use claimstore_core::review::{Note, Review};
use std::collections::VecDeque;

/// Most orphans of one call.
const MAX_ITEMS: usize = 65_536;
/// More than a history entry takes, its note and its name included.
const PAST_BYTES: usize = ENTRY_BYTES + MAX_NOTE_BYTES + MAX_BY_BYTES;

impl Entry {
    /// Why nobody stands behind it; `None` when somebody does, or when it is not in progress.
    pub(crate) fn orphaned(&self, life: u64, at: Moment) -> Option<Orphaned> {
        if self.record.state != State::InProgress {
            return None;
        }
        self.hold(life, at.store_ms, at.boot_ms).orphaned()
    }
}

/// Orphans.
impl Engine {
    /// Takes an orphan over without counting an attempt: a new token and a lease for whoever finds out what
    /// became of the work.
    pub(crate) fn take_over(
        &self,
        listed: &view::Record,
        lease_ms: u64,
    ) -> Result<(Arc<Space>, Granted), Error> {
        let held = self.held(listed)?;
        let (batch, granted) = self.begin_take_over(&held, lease_ms, Waits::Here)?;
        self.wait(batch)?;
        self.start_lease_now(&granted);
        Ok((held.space, granted))
    }

    /// The same without the wait: the batch to wait for, and the grant, whose lease starts then.
    pub(crate) fn begin_take_over(
        &self,
        held: &Held,
        lease_ms: u64,
        waits: Waits<'_>,
    ) -> Result<(u64, Granted), Error> {
        let change = held.change(Asked::BYTES + PAST_BYTES, 1);
        self.write(&change, waits, no_look, |standing| {
            let (cause, now_ms) = (self.check_orphan(held, standing)?, standing.at.store_ms);
            Ok(Verdict::write(LeaseAfter::Granted, move |earlier, seq| {
                let orphan = earlier.ok_or_else(stale)?;
                let record = decide::taken_over(&orphan, cause, seq, now_ms);
                let granted = Granted { lease_ms, ..Self::granted(held.keyed.clone(), &record) };
                Ok((record, granted))
            }))
        })
    }

    /// Ends orphans without asking anybody, in one batch. Answers whether each was still an orphan.
    pub(crate) fn fail_orphans(
        &self,
        items: &[(view::Record, crate::Failure)],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let (batch, verdicts) = self.begin_fail_orphans(items, Waits::Here)?;
        self.wait(batch)?;
        Ok(verdicts)
    }

    /// The same without the wait: the batch to wait for, and the verdicts, to be told then.
    pub(crate) fn begin_fail_orphans(
        &self,
        items: &[(view::Record, crate::Failure)],
        waits: Waits<'_>,
    ) -> Result<(u64, Vec<Result<(), Error>>), Error> {
        self.check_changes()?;
        if items.len() > MAX_ITEMS {
            return Err(Error::new(ErrorKind::TooLarge, "a batch must have at most 65,536 items"));
        }
        let held: Vec<Result<Held, Error>> = items.iter().map(|(listed, _)| self.held(listed)).collect();
        let bytes = held.iter().zip(items).map(|(held, (_, failure))| {
            held.as_ref().map_or(0, |held| self.room_to_fail(held, failure.class()))
        });
        let bytes = bytes.sum();
        let mut last_batch = 0;
        let verdicts = {
            let mut order = self.admit(bytes, Class::Settlement)?;
            let mut turn = Turn { order: &mut order, at: self.time.moment(), waits };
            let end = |(held, (_, failure)): (&Result<Held, Error>, &(view::Record, crate::Failure))| {
                let held = held.as_ref().map_err(Error::again)?;
                last_batch = self.fail_orphan(&mut turn, held, failure.class())?.max(last_batch);
                Ok(())
            };
            held.iter().zip(items).map(end).collect()
        };
        for held in held.iter().flatten() {
            self.waiters.ring(held.keyed.hash);
            held.space.tell_failures();
        }
        Ok((last_batch, verdicts))
    }

    fn room_to_fail(&self, held: &Held, class: &FailureClass) -> usize {
        held.change(fail_bytes(class), 1).bytes(self.known_bytes(&held.keyed, None))
    }

    fn fail_orphan(&self, turn: &mut Turn<'_>, held: &Held, class: &FailureClass) -> Result<u64, Error> {
        let (ending, policy) = (&Ending::Fail(class), &*held.space.policy());
        self.check_ending(ending)?;
        turn.at = self.time.moment();
        let now_ms = turn.at.store_ms;
        let (batch, state) = self.settle_in_turn(turn, held, fail_bytes(class), |standing| {
            let cause = self.check_orphan(held, standing)?;
            Ok(Verdict::write(LeaseAfter::Ended, move |earlier, seq| {
                let earlier = earlier.ok_or_else(stale)?;
                let change = ChangeOf { policy, key_time_ms: held.keyed.time_ms, seq, now_ms };
                let mut record = decide::orphan_settled(&earlier, cause, ending, &change);
                if earlier.asked().is_none() {
                    let what = Happened::Orphaned(decide::first_cause(&earlier, cause));
                    remember(&mut record, &earlier, what, now_ms, b"", ending.note());
                }
                let state = record.state;
                Ok((record, state))
            }))
        })?;
        self.count_ended(held, ending, state);
        Ok(batch)
    }

    /// Checks that the claim is an orphan; returns why it is one.
    fn check_orphan(&self, held: &Held, standing: Standing<'_>) -> Result<Orphaned, Error> {
        standing.check_in_progress(held.token)?;
        standing.orphaned(self.life).ok_or_else(stale)
    }

    /// Namespace, key and token of a record that a listing showed.
    pub(crate) fn held(&self, listed: &view::Record) -> Result<Held, Error> {
        self.check_changes()?;
        let space = self.spaces.get(listed.namespace()).ok_or_else(stale)?;
        let keyed = self.keyed(&space, &space.policy(), listed.key())?;
        Ok(Held { space, keyed, token: listed.version().token })
    }
}

/// Keys held for review.
impl Engine {
    /// Ends the review of a parked key. Answers when that is durable.
    pub(crate) fn review(&self, listed: &view::Record, review: &Review, note: &Note) -> Result<(), Error> {
        let held = self.held(listed)?;
        let batch = self.begin_review(&held, review, note, Waits::Here)?;
        self.wait(batch)
    }

    /// The same without the wait: the batch to wait for.
    pub(crate) fn begin_review(
        &self,
        held: &Held,
        review: &Review,
        note: &Note,
        waits: Waits<'_>,
    ) -> Result<u64, Error> {
        let Held { space, keyed, token } = held;
        let response = review.response();
        if response.len() > self.limits.response_bytes {
            return Err(Error::new(ErrorKind::TooLarge, "the response is too large"));
        }
        let policy = space.policy();
        let change = held.change(response.len() + PAST_BYTES, 1);
        let (batch, state) = self.write(
            &change,
            waits,
            || self.look(keyed),
            |standing| {
                standing.check_unreserved()?;
                let is_listed = |record: &&Record| record.state == State::Parked && record.token == *token;
                standing.record().filter(is_listed).ok_or_else(stale)?;
                let (policy, now_ms) = (&*policy, standing.at.store_ms);
                Ok(Verdict::write(LeaseAfter::Ended, move |earlier, seq| {
                    let parked = earlier.ok_or_else(stale)?;
                    let (mut record, what) = reviewed(&parked, review, policy, keyed.time_ms, seq, now_ms);
                    if record.state != State::Erased {
                        remember(&mut record, &parked, what, now_ms, note.by(), note.why());
                    }
                    let state = record.state;
                    Ok((record, state))
                }))
            },
        )?;
        // A key that may be tried again after a review has not failed again.
        if !matches!(review, Review::Requeue) {
            space.counters.settled(state);
        }
        space.tell_failures();
        Ok(batch)
    }
}

/// A parked record, reviewed, and what its history keeps of that.
fn reviewed(
    parked: &Record,
    review: &Review,
    policy: &Policy,
    key_time_ms: Option<u64>,
    seq: u64,
    now_ms: u64,
) -> (Record, Happened) {
    let end = |ending: &Ending<'_>| decide::settled(parked, ending, policy, key_time_ms, seq, now_ms);
    match review {
        Review::Requeue => (decide::requeued(parked, policy, seq, now_ms), Happened::Requeued),
        Review::Complete(response) => (end(&Ending::Complete(response)), Happened::Completed),
        Review::Fail(response) => {
            let class = FailureClass::Terminal { response: response.as_slice().into() };
            (end(&Ending::Fail(&class)), Happened::FailedForGood)
        }
        // Nothing is left that could remember.
        Review::Forget => (Record::erased(seq), Happened::Parked),
    }
}

/// Bytes that the end of an orphan adds to its record.
fn fail_bytes(class: &FailureClass) -> usize {
    Ending::Fail(class).body_len() + PAST_BYTES
}

/// Claims that nobody holds, a shard at a time. Durable facts only; ends after an error.
pub struct Unheld {
    engine: Arc<Engine>,
    next_shard: usize,
    page: VecDeque<view::Record>,
    failed: bool,
}

impl Unheld {
    pub(crate) fn new(engine: &Arc<Engine>) -> Unheld {
        Unheld { engine: engine.clone(), next_shard: 0, page: VecDeque::new(), failed: false }
    }

    fn list_shard(&mut self) -> Result<(), Error> {
        self.engine.check_open()?;
        let at = self.engine.time.moment();
        let mut found = Vec::new();
        let mut last_batch = 0;
        self.engine.live.one_shard(self.next_shard, |key, entry| {
            if let Some(cause) = entry.orphaned(self.engine.life, at)
                && !entry.marks.placeholder
            {
                last_batch = last_batch.max(entry.batch);
                found.push((Box::<[u8]>::from(key), entry.known().into_owned(), cause));
            }
        });
        self.next_shard += 1;
        self.engine.wait(last_batch)?;
        for (key, record, cause) in found {
            let Some((id, key)) = key.split_first_chunk::<4>() else { continue };
            let Some(space) = self.engine.spaces.by_id(u32::from_be_bytes(*id)) else { continue };
            // The record of a stream is a claim of an earlier life until the stream is opened, and nobody's to end.
            if is_reserved(&space.name) {
                continue;
            }
            self.page.extend(view::Record::orphan(&space.name, key, record, cause));
        }
        Ok(())
    }
}

impl Iterator for Unheld {
    type Item = Result<view::Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.page.pop_front() {
                return Some(Ok(record));
            }
            if self.failed || self.next_shard >= super::live::SHARDS {
                return None;
            }
            if let Err(error) = self.list_shard() {
                self.failed = true;
                return Some(Err(error));
            }
        }
    }
}

impl std::fmt::Debug for Unheld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unheld").field("next_shard", &self.next_shard).finish_non_exhaustive()
    }
}
