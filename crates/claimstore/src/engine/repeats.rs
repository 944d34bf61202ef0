//! Claims that came again: counted in memory for each record, saved with the record's next version.
//!
//! A duplicate must not pay for being counted. So it is counted under the lock that its answer is read under anyway,
//! that of the shard: in the key's entry, or, where the record lies in runs alone and has none, in a small table of
//! the shard. That table is bounded: a key that finds no room is not counted. What is not saved ends with the process.
//!
//! Invariant: a count belongs to one version of one record, the one the answer was read from. Whoever writes the next
//! version starts from [`Entry::known`] or [`ColdRepeats::known`], which have the counts in them; a new beginning of
//! the key starts from nothing, and so from zero.

use super::live::{Entry, Shard};
use crate::codec::{Record, Repeats};
use hashbrown::HashTable;
use std::borrow::Cow;

/// Most checkpointed keys that are counted, over all shards.
const MOST_KEYS: usize = 65_536;
/// The part of one shard.
const MOST_KEYS_OF_A_SHARD: usize = MOST_KEYS / super::live::SHARDS;

/// Counts of records that have no entry in the live table.
#[derive(Debug, Default)]
pub(crate) struct ColdRepeats {
    slots: HashTable<Slot>,
    /// Of a full table: before this store time no slot has ended. It is not searched for one in vain.
    full_until_ms: u64,
}

/// The counts of one version. Its number makes sure of the key too: no two records of a store share one.
#[derive(Debug)]
struct Slot {
    hash: u64,
    seq: u64,
    /// From when on nobody asks for them any more.
    ends_ms: u64,
    repeats: Repeats,
}

impl Entry {
    /// Counts claims that were answered from the record. Under the shard's lock, like everything about an entry.
    pub(crate) fn count(&self, more: Repeats) {
        self.repeats.set(self.repeats.get().and(more));
    }

    /// The record, with what was counted since it was written.
    pub(crate) fn known(&self) -> Cow<'_, Record> {
        with(Cow::Borrowed(&self.record), self.repeats.get())
    }

    /// The same, for good.
    pub(crate) fn into_known(self) -> Record {
        let repeats = self.repeats.get();
        with(Cow::Owned(self.record), repeats).into_owned()
    }
}

impl Shard {
    /// The newest version of a key with what was counted since it was written: that of its entry, or that of the runs.
    pub(crate) fn known<'a>(
        &self,
        hash: u64,
        entry: Option<&'a Entry>,
        cold: Option<&'a Record>,
    ) -> Option<Cow<'a, Record>> {
        match entry {
            Some(entry) => Some(entry.known()),
            None => cold.map(|record| self.cold_repeats.known(hash, Cow::Borrowed(record))),
        }
    }
}

impl ColdRepeats {
    /// Counts claims that were answered from `record`, at store time `now_ms`.
    pub(crate) fn count(&mut self, hash: u64, record: &Record, more: Repeats, now_ms: u64) {
        if more == Repeats::default() {
            return;
        }
        if let Some(slot) = self.slots.find_mut(hash, |slot| slot.hash == hash) {
            if slot.seq != record.seq {
                *slot = Slot::new(hash, record);
            }
            slot.repeats = slot.repeats.and(more);
            return;
        }
        if self.slots.len() >= MOST_KEYS_OF_A_SHARD && now_ms >= self.full_until_ms {
            self.slots.retain(|slot| slot.ends_ms > now_ms);
            self.full_until_ms = self.slots.iter().map(|slot| slot.ends_ms).min().unwrap_or(0);
        }
        if self.slots.len() < MOST_KEYS_OF_A_SHARD {
            let slot = Slot { repeats: more, ..Slot::new(hash, record) };
            self.slots.insert_unique(hash, slot, |slot| slot.hash);
        }
    }

    /// `record`, with what was counted since it was written.
    pub(crate) fn known<'a>(&self, hash: u64, record: Cow<'a, Record>) -> Cow<'a, Record> {
        let slot = self.slots.find(hash, |slot| slot.hash == hash && slot.seq == record.seq);
        with(record, slot.map_or_else(Repeats::default, |slot| slot.repeats))
    }

    /// A newer version of the key was written.
    pub(crate) fn forget(&mut self, hash: u64) {
        if self.slots.is_empty() {
            return;
        }
        if let Ok(slot) = self.slots.find_entry(hash, |slot| slot.hash == hash) {
            slot.remove();
        }
    }
}

impl Slot {
    fn new(hash: u64, record: &Record) -> Slot {
        let ends_ms = if record.state.expires() { record.until_ms } else { u64::MAX };
        Slot { hash, seq: record.seq, ends_ms, repeats: Repeats::default() }
    }
}

/// Copies the record only if there is something to add.
fn with(mut record: Cow<'_, Record>, more: Repeats) -> Cow<'_, Record> {
    if more != Repeats::default() {
        let extra = record.to_mut().extra.get_or_insert_default();
        extra.repeats = extra.repeats.and(more);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::{ColdRepeats, MOST_KEYS_OF_A_SHARD};
    use crate::codec::{Record, Repeats, State};
    use crate::engine::live::Entry;
    use std::borrow::Cow;

    const REPLAY: Repeats = Repeats { replays: 1, mismatches: 0 };
    const MISMATCH: Repeats = Repeats { replays: 0, mismatches: 1 };

    fn record(seq: u64, until_ms: u64) -> Record {
        let mut record = Record::erased(seq);
        (record.state, record.until_ms) = (State::Completed, until_ms);
        record
    }

    fn of(cold: &ColdRepeats, hash: u64, record: &Record) -> (u32, u32) {
        let repeats = cold.known(hash, Cow::Borrowed(record)).into_owned().take_repeats();
        (repeats.replays, repeats.mismatches)
    }

    #[test]
    fn an_entry_adds_to_what_its_record_has() {
        let mut saved = record(1, 100);
        saved.extra.get_or_insert_default().repeats = Repeats { replays: u32::MAX - 1, mismatches: 4 };
        let entry = Entry::new(saved.clone(), 0, 0);
        assert!(matches!(entry.known(), Cow::Borrowed(_)));
        [REPLAY, REPLAY, REPLAY, MISMATCH].into_iter().for_each(|more| entry.count(more));
        assert_eq!(entry.known().into_owned().take_repeats(), Repeats { replays: u32::MAX, mismatches: 5 });
        assert_eq!(entry.into_known().take_repeats(), Repeats { replays: u32::MAX, mismatches: 5 });
    }

    #[test]
    fn a_version_has_its_own_counts() {
        let mut cold = ColdRepeats::default();
        let (older, newer) = (record(1, 100), record(2, 100));
        cold.count(7, &older, REPLAY, 0);
        cold.count(7, &older, MISMATCH, 0);
        assert_eq!(
            (of(&cold, 7, &older), of(&cold, 7, &newer), of(&cold, 8, &older)),
            ((1, 1), (0, 0), (0, 0))
        );
        cold.count(7, &newer, REPLAY, 0);
        assert_eq!((of(&cold, 7, &older), of(&cold, 7, &newer)), ((0, 0), (1, 0)));
        cold.forget(8);
        assert_eq!(of(&cold, 7, &newer), (1, 0));
        cold.forget(7);
        assert_eq!((of(&cold, 7, &newer), cold.slots.len()), ((0, 0), 0));
    }

    #[test]
    fn a_full_table_counts_whom_it_knows_and_makes_room_of_what_has_ended() {
        let mut cold = ColdRepeats::default();
        let most = MOST_KEYS_OF_A_SHARD as u64;
        for hash in 0..most {
            cold.count(hash, &record(hash, if hash < 2 { 50 } else { 100 }), REPLAY, 0);
        }
        cold.count(most, &record(most, 100), REPLAY, 0);
        assert_eq!(cold.full_until_ms, 50);
        cold.count(most, &record(most, 100), REPLAY, 49);
        assert_eq!((of(&cold, most, &record(most, 100)), cold.slots.len() as u64), ((0, 0), most));
        cold.count(most - 1, &record(most - 1, 100), REPLAY, 49);
        assert_eq!(of(&cold, most - 1, &record(most - 1, 100)), (2, 0));
        cold.count(most, &record(most, 100), REPLAY, 50);
        assert_eq!((of(&cold, most, &record(most, 100)), cold.slots.len() as u64), ((1, 0), most - 1));
    }

    #[test]
    fn what_is_no_repeat_takes_no_room() {
        let mut cold = ColdRepeats::default();
        cold.count(1, &record(1, 100), Repeats::default(), 0);
        assert!(cold.slots.is_empty());
    }
}
