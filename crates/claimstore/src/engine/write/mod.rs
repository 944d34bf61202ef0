//! The write path: the one place where a key gets its next version.
//!
//! **Invariant.** Between the look-up that finds a key absent from the runs and the insertion of its record no
//! checkpoint has moved the key out of the live table. Else two claims of one key could both be the first.
//!
//! Every change of a key goes the same way:
//!
//! 1. *Look.* Read the generation of the runs, then look the key up in them ([`seen`]). No lock is held: the look-up may
//!    read from the disk.
//! 2. *Admit.* Take the order lock, with room in the journal for the version to come.
//! 3. *Read the time.*
//! 4. *Lock the shard* of the key.
//! 5. *Find* the key in the live table. If it is absent and the generation is no longer that of step 1, give both locks
//!    back and begin again.
//! 6. *Judge.* The caller's verdict on what stands: a [`Verdict`]. It changes nothing.
//! 7. *Write.* Compare the room once more, take the next number, build the record, append it to the open batch, put it
//!    into the live table.
//! 8. Give both locks back, *then* ring for those who wait for the key.
//!
//! Why the order is this one:
//!
//! - *The generation is read before the look-up and compared under the shard's lock.* A checkpoint publishes its runs,
//!   then raises the generation, then removes the keys from the live table, each under its shard's lock. Assume that the
//!   key is absent in step 5 because a checkpoint removed it. The removal released the lock that step 4 took, so the raise
//!   is visible in step 5. If the generation is unchanged all the same, it was raised before step 1; then the runs were
//!   published before the look-up, and the look-up found the key. So no key that is absent from both was moved between.
//! - *Only an absent key is compared.* An entry of the live table is newer than any run. And a claim in progress never
//!   leaves the table, so whoever ends or changes one needs no look at all ([`Seen::of_live`]).
//! - *The time is read after the look-up* (hazard 19). A prune takes its time, hides its runs, then raises the
//!   generation. What it hid as expired before the look-up is expired at the time read here; if it raised the generation
//!   later, the key is looked up again.
//! - *The order lock comes before the shard's*, and both are held from the judgement to the insertion. So the number,
//!   the place in the journal and the change of the table are one step, and the journal has versions in the order of
//!   their numbers.
//! - *The room is asked for twice.* Without the locks it is an estimate: the record may have grown since.
//! - *The number is taken last.* What is refused uses up none.
//! - *Bells ring without a lock.* They may run code of the caller's.
//!
//! Batches hold the order lock over many keys, and visit several shards together: for them steps 4 to 7 and 5 to 7 stand
//! by themselves, [`write_in_turn`](Engine::write_in_turn) and [`write_under`](Engine::write_under). If a checkpoint
//! passes in the midst of a batch, the rest of its keys are looked up with the order lock held. That is rare, and bounded
//! by the blocks of one key at a time.
//!
//! Beside this path stands what `transact` does to the live table alone ([`place`]): it reserves keys in memory, and
//! shows records that are durable in `tables.redb` already.

mod place;
mod seen;
mod turn;
mod verdict;

pub(crate) use place::resting_on;
pub(crate) use seen::{Looked, Seen, until_current, until_current_of};
pub(crate) use turn::{Change, OP_BYTES, Turn};
pub(crate) use verdict::{Build, Earlier, LeaseAfter, Standing, Verdict};

use super::commit::Waits;
use super::live::{Entry, Shard};
use super::spaces::Keyed;
use super::{Class, Engine};
use crate::codec::{Record, State};
use crate::error::{Error, ErrorKind};
use crate::history::ENTRY_BYTES;

/// What became of a change.
#[derive(Debug)]
pub(crate) struct Done<T> {
    /// The batch that must be committed before anybody hears of the answer.
    pub(crate) batch: u64,
    pub(crate) answer: T,
    /// Whether the key has no holder any more: those who wait for it must be told.
    pub(crate) ended: bool,
}

impl Engine {
    /// The whole path, for one key that somebody settles, reviews or forgets. Returns the batch to wait for.
    pub(crate) fn write<T, B>(
        &self,
        change: &Change<'_>,
        waits: Waits<'_>,
        look: impl Fn() -> Result<Looked<Option<Record>>, Error>,
        mut judge: impl FnMut(Standing<'_>) -> Result<Verdict<T, B>, Error>,
    ) -> Result<(u64, T), Error>
    where
        B: Build<T>,
    {
        let done = until_current(look, |looked| {
            let seen = looked.seen();
            let known = if change.carries > 0 { self.known_bytes(change.keyed, seen.cold) } else { 0 };
            let mut order = self.admit(change.bytes(known), Class::Settlement)?;
            let mut turn = Turn { order: &mut order, at: self.time.moment(), waits };
            self.write_in_turn(&mut turn, change, seen, &mut judge)
        })?;
        if done.ended {
            self.waiters.ring(change.keyed.hash);
        }
        Ok((done.batch, done.answer))
    }

    /// Steps 4 to 7, under the order lock. `None`: a checkpoint passed since the look.
    pub(crate) fn write_in_turn<T, B>(
        &self,
        turn: &mut Turn<'_>,
        change: &Change<'_>,
        seen: Seen<'_>,
        judge: impl FnOnce(Standing<'_>) -> Result<Verdict<T, B>, Error>,
    ) -> Result<Option<Done<T>>, Error>
    where
        B: Build<T>,
    {
        let mut shard = self.live.shard(change.keyed.hash);
        self.write_under(turn, &mut shard, change, seen, judge)
    }

    /// Steps 5 to 7, under the order lock and that of the key's shard. `None`: a checkpoint passed since the look.
    #[inline]
    pub(crate) fn write_under<T, B>(
        &self,
        turn: &mut Turn<'_>,
        shard: &mut Shard,
        change: &Change<'_>,
        seen: Seen<'_>,
        judge: impl FnOnce(Standing<'_>) -> Result<Verdict<T, B>, Error>,
    ) -> Result<Option<Done<T>>, Error>
    where
        B: Build<T>,
    {
        let Keyed { full, hash, .. } = change.keyed;
        let entry = shard.find(*hash, full);
        if entry.is_none() && !seen.is_current(&self.cold) {
            return Ok(None);
        }
        let cold = seen.cold.filter(|_| entry.is_none());
        let done = match judge(Standing::new(shard, *hash, entry, cold, turn.at))? {
            Verdict::Stands { answer, repeats } => {
                let batch = entry.map_or(0, resting_on);
                match (entry, cold) {
                    (Some(entry), _) => entry.count(repeats),
                    (None, Some(cold)) => shard.cold_repeats.count(*hash, cold, repeats, turn.at.store_ms),
                    (None, None) => {}
                }
                Done { batch, answer, ended: false }
            }
            Verdict::Reserve { answer } => {
                let batch = entry.map_or(0, |entry| entry.batch);
                self.reserve_under(turn.order, shard, change, cold.is_some());
                Done { batch, answer, ended: false }
            }
            Verdict::Write { lease, build } => {
                if !turn.order.takes(change.bytes(carried_bytes(entry, cold))) {
                    return Err(no_room());
                }
                // With what was counted since it was written: the next version saves it.
                let earlier = shard.known(*hash, entry, cold);
                let after = lease.after(entry, cold.is_some());
                let (record, answer) = build(earlier, turn.order.take_seq())?;
                let batch = self.put(turn, shard, change, record, after);
                Done { batch, answer, ended: lease == LeaseAfter::Ended }
            }
        };
        Ok(Some(done))
    }

    /// Bytes of a key's newest record that its next version may carry over.
    pub(crate) fn known_bytes(&self, keyed: &Keyed, cold: Option<&Record>) -> usize {
        let shard = self.live.shard(keyed.hash);
        carried_bytes(shard.find(keyed.hash, &keyed.full), cold)
    }

    /// Bytes that new versions may carry over from the newest records of these keys. Also a prefetch: the live
    /// table's entries of the keys are in the cache afterwards.
    pub(crate) fn known_bytes_of(&self, items: &[(&Keyed, Option<&Record>)]) -> usize {
        let hashes: Vec<u64> = items.iter().map(|(keyed, _)| keyed.hash).collect();
        let found = |shard: &Shard, place: usize| {
            let (keyed, cold) = items.get(place)?;
            Some(carried_bytes(shard.find(keyed.hash, &keyed.full), *cold))
        };
        let bring_near = |shard: &Shard, place: usize| found(shard, place).unwrap_or(0) as u64;
        let mut bytes = 0;
        self.live
            .visit_together(&hashes, bring_near, |shard, place| bytes += found(shard, place).unwrap_or(0));
        bytes
    }
}

/// Bytes of the newest record of a key that its next version may carry over.
pub(crate) fn carried_bytes(entry: Option<&Entry>, cold: Option<&Record>) -> usize {
    // A claim that is in progress may turn out to be an orphan, which its history then tells.
    entry.map(|entry| &entry.record).or(cold).map_or(0, |record| {
        record.loose_bytes() + if record.state == State::InProgress { ENTRY_BYTES } else { 0 }
    })
}

/// The record has grown since the room was asked for.
fn no_room() -> Error {
    Error::new(ErrorKind::Overloaded, "the journal has no room just now; retry")
}
