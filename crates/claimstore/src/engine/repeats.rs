//! Repeated claims (duplicates and mismatches): counted in memory per record, saved with the record's next version.
//!
//! Counting must not slow down a duplicate. So it needs no lock of its own: the answer is read under the shard's
//! lock, and the count is updated under the same lock. If the key has an entry, the count is in the entry. If the
//! record is in runs only, the count is in a table of the shard, which has a fixed size and costs one cache line per
//! access. A key whose two places in that table are both taken is not counted. Counts that were not saved are lost
//! with the process.
//!
//! Invariant: a count belongs to one version of one record, the one from which the answer was read. The next version
//! is made from [`Entry::known`] or [`ColdRepeats::known`], which include the counts. A key that is claimed anew
//! after its record ended starts from zero.

use super::live::{Entry, Shard};
use crate::codec::{Record, Repeats};
use std::borrow::Cow;

/// Places for checkpointed keys, over all shards: 2 MiB, once every shard has counted one.
const PLACES: usize = 65_536;
/// Sets of one shard. The hash of a key chooses one of them, as in a two-way set-associative cache.
const SETS: usize = PLACES / super::live::SHARDS / 2;

/// Counts of records that have no entry in the live table.
#[derive(Debug, Default)]
pub(crate) struct ColdRepeats {
    /// Empty until the first claim is counted.
    sets: Box<[Set]>,
}

/// Two places in one cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Set([Place; 2]);

/// The counts of one version. The hash may belong to several keys, but the sequence number identifies the version,
/// and so the key: no two records of a store have the same.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    hash: u64,
    seq: u64,
    /// From this store time on the place may be reused. 0: free.
    ends_ms: u64,
    repeats: Repeats,
}

impl Entry {
    /// Adds claims that were answered from the record. Under the shard's lock, as for all access to an entry.
    pub(crate) fn count(&self, more: Repeats) {
        self.repeats.set(self.repeats.get().and(more));
    }

    /// The record, including the counts since it was written.
    pub(crate) fn known(&self) -> Cow<'_, Record> {
        with(Cow::Borrowed(&self.record), self.repeats.get())
    }

    /// The same as an owned record, without the body.
    pub(crate) fn known_without_body(&self) -> Record {
        with(Cow::Owned(self.record.without_body()), self.repeats.get()).into_owned()
    }

    /// The same; consumes the entry.
    pub(crate) fn into_known(self) -> Record {
        let repeats = self.repeats.get();
        with(Cow::Owned(self.record), repeats).into_owned()
    }
}

impl Shard {
    /// The newest version of a key, including the counts since it was written: that of its entry, or else that of the
    /// runs.
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
    /// Adds claims that were answered from `record`, at store time `now_ms`.
    pub(crate) fn count(&mut self, hash: u64, record: &Record, more: Repeats, now_ms: u64) {
        if more == Repeats::default() {
            return;
        }
        if self.sets.is_empty() {
            self.sets = vec![Set::default(); SETS].into();
        }
        let Some(Set(places)) = self.sets.get_mut(set_of(hash)) else { return };
        if let Some(place) = places.iter_mut().find(|place| place.is_of(hash, record)) {
            place.repeats = place.repeats.and(more);
            return;
        }
        // Prefer the place of an older version of the key: its counts were saved with this one, or its record has
        // ended. Otherwise reuse a place whose record has ended.
        let older = places.iter().position(|place| place.hash == hash);
        let at = older.or_else(|| places.iter().position(|place| place.ends_ms <= now_ms));
        if let Some(place) = at.and_then(|at| places.get_mut(at)) {
            // A record that does not expire keeps its place for one ttl.
            let ends_ms =
                if record.state.expires() { record.until_ms } else { now_ms.saturating_add(record.ttl_ms) };
            *place = Place { hash, seq: record.seq, ends_ms, repeats: more };
        }
    }

    /// Prefetch: reads the cache line that a count of this key would be written to.
    pub(super) fn bring_near(&self, hash: u64) -> u64 {
        self.sets.get(set_of(hash)).map_or(0, |Set([place, _])| place.hash)
    }

    /// `record`, including the counts since it was written.
    pub(crate) fn known<'a>(&self, hash: u64, record: Cow<'a, Record>) -> Cow<'a, Record> {
        let places = self.sets.get(set_of(hash)).map(|set| &set.0);
        let place = places.and_then(|places| places.iter().find(|place| place.is_of(hash, &record)));
        with(record, place.map_or_else(Repeats::default, |place| place.repeats))
    }
}

impl Place {
    fn is_of(&self, hash: u64, record: &Record) -> bool {
        self.hash == hash && self.seq == record.seq
    }
}

/// Uses the lowest bits of the hash; the shard is chosen by bits of the upper half.
fn set_of(hash: u64) -> usize {
    hash as usize % SETS
}

/// Adds counts to a record. Copies it only if there is something to add.
fn with(mut record: Cow<'_, Record>, more: Repeats) -> Cow<'_, Record> {
    if more != Repeats::default() {
        let extra = record.to_mut().extra.get_or_insert_default();
        extra.repeats = extra.repeats.and(more);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::{ColdRepeats, SETS};
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
        assert_eq!(of(&cold, 7, &older), (0, 0));
        cold.count(7, &older, REPLAY, 0);
        cold.count(7, &older, MISMATCH, 0);
        assert_eq!(
            (of(&cold, 7, &older), of(&cold, 7, &newer), of(&cold, 8, &older)),
            ((1, 1), (0, 0), (0, 0))
        );
        cold.count(7, &newer, REPLAY, 0);
        assert_eq!((of(&cold, 7, &older), of(&cold, 7, &newer)), ((0, 0), (1, 0)));
    }

    #[test]
    fn two_keys_share_a_set_and_a_third_waits_until_one_has_ended() {
        let mut cold = ColdRepeats::default();
        let keys: Vec<(u64, Record)> = (1..=3).map(|n| (n * SETS as u64, record(n, 40 + n))).collect();
        for (hash, record) in &keys {
            cold.count(*hash, record, REPLAY, 0);
        }
        let counts = |cold: &ColdRepeats| {
            keys.iter().map(|(hash, record)| of(cold, *hash, record).0).collect::<Vec<_>>()
        };
        assert_eq!(counts(&cold), [1, 1, 0]);
        cold.count(keys[2].0, &keys[2].1, REPLAY, 40);
        assert_eq!(counts(&cold), [1, 1, 0], "the first ends at 41");
        cold.count(keys[1].0, &keys[1].1, REPLAY, 41);
        cold.count(keys[2].0, &keys[2].1, REPLAY, 41);
        assert_eq!(counts(&cold), [0, 2, 1]);
    }

    #[test]
    fn a_record_without_an_end_keeps_its_place_for_its_ttl() {
        let mut cold = ColdRepeats::default();
        let parked = Record { state: State::Parked, until_ms: 0, ttl_ms: 50, ..record(1, 0) };
        cold.count(1, &parked, MISMATCH, 10);
        assert_eq!(of(&cold, 1, &parked), (0, 1));
        let others = [record(2, 1_000), record(3, 1_000)];
        cold.count(1 + SETS as u64, &others[0], REPLAY, 59);
        cold.count(1 + 2 * SETS as u64, &others[1], REPLAY, 59);
        assert_eq!(of(&cold, 1, &parked), (0, 1));
        cold.count(1 + 2 * SETS as u64, &others[1], REPLAY, 60);
        assert_eq!((of(&cold, 1, &parked), of(&cold, 1 + 2 * SETS as u64, &others[1])), ((0, 0), (1, 0)));
    }

    #[test]
    fn what_is_no_repeat_takes_no_room() {
        let mut cold = ColdRepeats::default();
        cold.count(1, &record(1, 100), Repeats::default(), 0);
        assert!(cold.sets.is_empty());
        assert_eq!(size_of::<super::Set>(), 64);
    }
}
