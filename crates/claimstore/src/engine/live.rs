//! The live table: every claim in progress, and every record not yet checkpointed, sharded by key hash.
//!
//! Invariants:
//! - `Entry::record` is inserted and replaced only under the shard's lock *and* the order lock of `commit`. State
//!   that exists in memory only (lease terms, marks and counts of `Entry`) needs the shard's lock alone.
//! - `Entry::batch` names the journal batch that carries `Entry::record`. No answer that depends on the entry is
//!   returned before that batch is committed.
//! - A checkpoint removes an entry after its record became visible in a run. Nothing else removes entries, except
//!   that a `transact` which ends without a commit removes its placeholder. Removal needs the shard's lock alone.

use super::balance::Balance;
use super::decide::Hold;
use super::dense::{Dense, Hashed};
use super::repeats::ColdRepeats;
use crate::codec::{Record, Repeats, State};
use crate::key_bytes::KeyBytes;
use crate::sync::{Mutex, MutexGuard};
use std::cell::Cell;
use std::hint::black_box;

/// Parts of the table, each under a lock of its own.
///
/// Builds for schedule exploration have few: every lock operation is a branch of the search, and hundreds of
/// uncontended locks would use up its budget.
pub(crate) const SHARDS: usize = if cfg!(any(shuttle, loom)) { 4 } else { 1_024 };

/// The most shards that a batch locks together.
const TOGETHER: usize = 8;
/// Bytes of an entry beside its key and body.
const ENTRY_BYTES: usize = 224;
/// Bytes of a record's extensions beside their contents.
const EXTRA_BYTES: usize = 160;

#[derive(Debug)]
pub(crate) struct Live {
    shards: Box<[Mutex<Shard>]>,
    bytes: Balance,
    resolved_bytes: Balance,
    in_progress: Balance,
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    slots: Dense<Slot>,
    /// Duplicates counted for records that have no entry.
    pub(crate) cold_repeats: ColdRepeats,
}

/// Three cache lines. All fields that the start of a lease reads and writes are in the first one: another processor
/// probably wrote the slot last, so each further line would be one more cache miss.
#[repr(C, align(64))]
struct Slot {
    hash: u64,
    entry: Entry,
    key: KeyBytes,
}

impl Default for Slot {
    fn default() -> Slot {
        Slot { hash: 0, entry: Entry::new(Record::erased(0), 0, 0), key: KeyBytes::default() }
    }
}

impl Hashed for Slot {
    fn hash(&self) -> u64 {
        self.hash
    }
}

const _: () = assert!(size_of::<Slot>() == 192, "a slot fills its three cache lines");

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("key_bytes", &self.key.len())
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

/// One key's newest record, and the state of it that exists in memory only.
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) marks: Marks,
    /// Claims answered from `record` since it was written. A `Cell`, so that an answer counts through the shared
    /// reference that it already has and needs no second look-up.
    pub(crate) repeats: Cell<Repeats>,
    /// Boot time at which the holder's lease lapses. Only meaningful for a claim made in the present life of the
    /// store.
    pub(crate) lease_until_ms: u64,
    /// The journal batch that carries `record`; 0 if the record was durable at open.
    pub(crate) batch: u64,
    pub(crate) record: Record,
}

/// State of an entry that exists in memory only.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own rule")]
pub(crate) struct Marks {
    /// The lease was dropped without a settlement: the claim has no holder.
    pub(crate) abandoned: bool,
    /// Granted, but the answer has not been returned to the caller yet.
    pub(crate) undelivered: bool,
    /// A `Lease` object holds it, so `resume` must not make a second one.
    pub(crate) leased: bool,
    /// A run of the open bucket has a row of this key.
    pub(crate) spilled: bool,
    /// That row is the present version.
    pub(crate) spill_current: bool,
    /// Another bucket may have an older version: the next checkpoint looks for it and writes a tombstone there.
    pub(crate) may_shadow: bool,
    /// The claims of `tables.redb` may have a row of this key.
    pub(crate) in_tables: bool,
    /// A `transact` or `complete_in` is running on it.
    pub(crate) reserved: bool,
    /// The reserved key was unknown, so `record` is only a placeholder.
    pub(crate) placeholder: bool,
}

impl Entry {
    pub(crate) fn new(record: Record, batch: u64, lease_until_ms: u64) -> Entry {
        Entry { record, batch, lease_until_ms, marks: Marks::default(), repeats: Cell::default() }
    }

    /// Whether the claim has a holder. `life` is the store's present life, `now_ms` store time, `boot_ms` boot time.
    ///
    /// The order of the checks matters: each is an exception to all that follow it.
    pub(crate) fn hold(&self, life: u64, now_ms: u64, boot_ms: u64) -> Hold {
        if self.marks.reserved {
            return Hold::Reserved;
        }
        // The lease starts at the acknowledgement, which has not been returned yet.
        if self.marks.undelivered {
            return Hold::Running { remaining_ms: 1 };
        }
        // A detached claim outlives its process on purpose: its term is durable and runs on store time. Checked
        // before the life, because a restart does not end it.
        if self.record.until_ms > now_ms && self.record.state == State::InProgress {
            return Hold::Running { remaining_ms: self.record.until_ms - now_ms };
        }
        // A claim of an earlier life: its process is gone, as a directory has one owner at a time.
        if self.marks.abandoned || self.record.token >> super::SEQ_BITS < life {
            return Hold::Orphaned;
        }
        match self.lease_until_ms.checked_sub(boot_ms) {
            Some(remaining_ms) if remaining_ms > 0 => Hold::Running { remaining_ms },
            _ => Hold::Lapsed,
        }
    }

    fn bytes(&self, key: &[u8]) -> usize {
        let extra = self.record.extra.as_ref().map_or(0, |_| EXTRA_BYTES);
        ENTRY_BYTES + key.len() + self.record.loose_bytes() + extra
    }

    fn is_in_progress(&self) -> bool {
        self.record.state == State::InProgress
    }
}

impl Live {
    pub(crate) fn new() -> Live {
        Live {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            bytes: Balance::default(),
            resolved_bytes: Balance::default(),
            in_progress: Balance::default(),
        }
    }

    /// Locks the shard of a key.
    ///
    /// Lock order: the order lock first, where both are needed. A thread that holds a shard never blocks on another
    /// shard; `visit_together` takes further ones with a try-lock.
    pub(crate) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        self.shards[number_of(hash)].lock()
    }

    /// The same as a try-lock: `None` if another thread holds the shard.
    pub(crate) fn try_shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard>> {
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        self.shards[number_of(hash)].try_lock()
    }

    /// Calls `visit` for the shard of each hash, in groups of up to eight locked shards. In a group, `bring_near`
    /// prefetches for every shard before the first `visit`. Both get the index of the hash in `hashes`.
    ///
    /// Performance only. Taking or releasing a lock drains the store buffer, and later loads wait for that, so
    /// locking a shard per key serialises a batch's cache misses. Holding up to eight shard locks while `bring_near`
    /// reads lets the misses overlap. `bring_near` must only read what `visit` will need; nothing may be decided by
    /// its result.
    ///
    /// Cannot deadlock: we block only on the first lock of a group, while we hold no other shard; the rest are
    /// `try_lock`.
    pub(crate) fn visit_together(
        &self,
        hashes: &[u64],
        bring_near: impl Fn(&Shard, usize) -> u64,
        mut visit: impl FnMut(&mut Shard, usize),
    ) {
        let (mut from, mut locked) = (0, Vec::with_capacity(TOGETHER));
        while let Some((first, rest)) = hashes.get(from..).and_then(<[u64]>::split_first) {
            // The only lock we block on. The group ends at the first busy lock, which may be one of our own: two keys
            // of one shard. The next group begins with that key.
            locked.push(self.shard(*first));
            let shards = rest.iter().filter_map(|hash| self.shards.get(number_of(*hash)));
            locked.extend(shards.take(TOGETHER - 1).map_while(Mutex::try_lock));
            // Prefetch. `black_box` keeps the compiler from removing loads whose result is unused.
            let each = || locked.iter().zip(from..);
            black_box(each().fold(0, |sum, (shard, at)| sum ^ bring_near(shard, at)));
            let next = from + locked.len();
            // Each shard is unlocked as soon as it was visited.
            locked.drain(..).zip(from..).for_each(|(mut shard, at)| visit(&mut shard, at));
            from = next;
        }
    }

    /// Visits all shards, one after the other. One lock is held at a time, so this is no snapshot of the table.
    pub(crate) fn each_shard(&self, mut visit: impl FnMut(&mut Shard)) {
        for shard in &self.shards {
            visit(&mut shard.lock());
        }
    }

    /// The entries of one shard, under its lock.
    pub(crate) fn one_shard(&self, shard: usize, mut visit: impl FnMut(&[u8], &Entry)) {
        if let Some(shard) = self.shards.get(shard) {
            shard.lock().iter().for_each(|(_, key, entry)| visit(key, entry));
        }
    }

    /// A copy of one shard.
    pub(crate) fn entries(&self, shard: usize) -> Vec<(u64, KeyBytes, Entry)> {
        let shard = self.shards.get(shard).map(Mutex::lock);
        let slots = shard.iter().flat_map(|shard| shard.slots.iter());
        slots.map(|slot| (slot.hash, slot.key.clone(), slot.entry.clone())).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.now() as usize
    }

    /// Entries of all shards, counted one shard at a time: exact only while nothing changes.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().slots.len()).sum()
    }

    /// Bytes of the resolved entries: the memory that a checkpoint would free.
    pub(crate) fn resolved_bytes(&self) -> usize {
        self.resolved_bytes.now() as usize
    }

    pub(crate) fn in_progress(&self) -> usize {
        self.in_progress.now() as usize
    }

    /// Inserts `entry` or replaces the key's present one, and keeps the sums. Returns the replaced entry.
    ///
    /// The caller holds the order lock too, as [`Balance::add`] requires, or is alone, as at open.
    pub(crate) fn put(&self, shard: &mut Shard, hash: u64, key: &[u8], entry: Entry) -> Option<Entry> {
        self.count(key, &entry, Balance::add);
        if let Some(slot) = shard.slots.find_mut(hash, |slot| *slot.key == *key) {
            let old = std::mem::replace(&mut slot.entry, entry);
            self.count(key, &old, Balance::take_back);
            return Some(old);
        }
        shard.slots.insert(Slot { hash, key: key.into(), entry });
        None
    }

    /// Removes a key. Needs the shard's lock only.
    pub(crate) fn remove(&self, shard: &mut Shard, hash: u64, key: &[u8]) -> Option<Entry> {
        let slot = shard.slots.remove(hash, |slot| *slot.key == *key)?;
        self.count(key, &slot.entry, Balance::take_out);
        Some(slot.entry)
    }

    fn count(&self, key: &[u8], entry: &Entry, change: impl Fn(&Balance, u64)) {
        let bytes = entry.bytes(key) as u64;
        change(&self.bytes, bytes);
        if entry.is_in_progress() {
            change(&self.in_progress, 1);
        } else {
            change(&self.resolved_bytes, bytes);
        }
    }
}

/// Whether two keys, given by their hashes, are in the same shard.
pub(crate) fn share_a_shard(one: u64, other: u64) -> bool {
    number_of(one) == number_of(other)
}

/// The shard of a key.
fn number_of(hash: u64) -> usize {
    // Bits of the upper half. The hash table inside a shard uses the lower half, which thus stays evenly spread.
    (hash >> 40) as usize % SHARDS
}

impl Shard {
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.slots.find(hash, |slot| *slot.key == *key).map(|slot| &slot.entry)
    }

    /// For changes of lease terms and marks. A record changes through [`Live::put`], which keeps the sums.
    pub(crate) fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Entry> {
        self.slots.find_mut(hash, |slot| *slot.key == *key).map(|slot| &mut slot.entry)
    }

    /// The claim with this token. Tokens are unique, so the key is not compared. `at` is a hint: the
    /// [`newest`](Shard::newest) place when the claim was inserted, where it mostly still is.
    pub(crate) fn find_claim(&mut self, at: usize, hash: u64, token: u64) -> Option<&mut Entry> {
        let is_it = |slot: &Slot| slot.entry.record.token == token;
        let slot = if self.slots.get(at).is_some_and(is_it) {
            self.slots.get_mut(at)
        } else {
            self.slots.find_mut(hash, is_it)
        };
        slot.map(|slot| &mut slot.entry)
    }

    /// Prefetch: reads the cache line with the marks of the claim at a place.
    pub(crate) fn bring_near(&self, at: usize) -> u64 {
        self.slots.get(at).map_or(0, |slot| slot.entry.record.token)
    }

    /// Prefetch: reads all three cache lines of the slot that the next new key will be written to.
    pub(crate) fn bring_blank_near(&self) -> u64 {
        let blank = self.slots.get(self.slots.len());
        blank.map_or(0, |blank| blank.hash ^ blank.entry.record.until_ms ^ blank.key.len() as u64)
    }

    /// Prefetch for a key without an entry: the line where a duplicate would be counted, and the blank slot that a
    /// new claim would be written to.
    pub(crate) fn bring_absent_near(&self, hash: u64) -> u64 {
        self.cold_repeats.bring_near(hash) ^ self.bring_blank_near()
    }

    /// The place of the key that was inserted last, until something is removed.
    pub(crate) fn newest(&self) -> usize {
        self.slots.newest()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u8], &Entry)> {
        self.slots.iter().map(|slot| (slot.hash, &*slot.key, &slot.entry))
    }

    /// How many entries the buckets have room for.
    pub(crate) fn room(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn shrink(&mut self) {
        if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: u64 = 3;
    const NOW_MS: u64 = 1_000;
    const BOOT_MS: u64 = 50;

    fn entry(state: State, until_ms: u64, marks: Marks) -> Entry {
        let mut record = Record::erased((LIFE << super::super::SEQ_BITS) + 7);
        (record.state, record.until_ms, record.token) = (state, until_ms, record.seq);
        Entry { marks, ..Entry::new(record, 0, BOOT_MS + 20) }
    }

    fn hold(entry: &Entry) -> Hold {
        entry.hold(LIFE, NOW_MS, BOOT_MS)
    }

    #[test]
    fn a_holder_is_trusted_to_the_last_millisecond_of_its_lease() {
        let entry = entry(State::InProgress, 0, Marks::default());
        assert_eq!(hold(&entry), Hold::Running { remaining_ms: 20 });
        assert_eq!(entry.hold(LIFE, NOW_MS, BOOT_MS + 19), Hold::Running { remaining_ms: 1 });
        assert_eq!(entry.hold(LIFE, NOW_MS, BOOT_MS + 20), Hold::Lapsed);
        assert_eq!(entry.hold(LIFE, NOW_MS, BOOT_MS + 21), Hold::Lapsed);
    }

    #[test]
    fn a_claim_of_an_earlier_life_or_a_dropped_lease_is_an_orphan_at_once() {
        let entry = entry(State::InProgress, 0, Marks::default());
        assert_eq!(entry.hold(LIFE + 1, NOW_MS, BOOT_MS), Hold::Orphaned);
        let abandoned = Entry { marks: Marks { abandoned: true, ..Marks::default() }, ..entry };
        assert_eq!(hold(&abandoned), Hold::Orphaned);
    }

    #[test]
    fn a_detached_claim_is_trusted_by_store_time_across_lives() {
        let abandoned = Marks { abandoned: true, ..Marks::default() };
        let detached = entry(State::InProgress, NOW_MS + 2, abandoned);
        assert_eq!(detached.hold(LIFE + 1, NOW_MS, BOOT_MS + 99), Hold::Running { remaining_ms: 2 });
        assert_eq!(detached.hold(LIFE + 1, NOW_MS + 1, BOOT_MS), Hold::Running { remaining_ms: 1 });
        assert_eq!(detached.hold(LIFE + 1, NOW_MS + 2, BOOT_MS), Hold::Orphaned);
        // Elsewhere the number means something else.
        let retry = entry(State::Retry, NOW_MS + 2, abandoned);
        assert_eq!(hold(&retry), Hold::Orphaned);
    }

    #[test]
    fn nobody_takes_a_key_whose_answer_is_on_its_way_or_that_is_reserved() {
        let undelivered = Marks { undelivered: true, abandoned: true, ..Marks::default() };
        let on_its_way = entry(State::InProgress, 0, undelivered);
        assert_eq!(on_its_way.hold(LIFE, NOW_MS, BOOT_MS + 99), Hold::Running { remaining_ms: 1 });
        let reserved = Entry { marks: Marks { reserved: true, ..undelivered }, ..on_its_way };
        assert_eq!(hold(&reserved), Hold::Reserved);
    }

    #[test]
    fn counts_follow_what_is_in_the_table() {
        let live = Live::new();
        let put = |hash, key: &[u8], state| {
            let entry = entry(state, 0, Marks::default());
            live.put(&mut live.shard(hash), hash, key, entry).map(|old| old.record.state)
        };
        assert_eq!(put(1, b"one", State::InProgress), None);
        let (one, none) = (live.bytes(), live.resolved_bytes());
        assert!(one >= ENTRY_BYTES + 3);
        assert_eq!((live.in_progress(), none), (1, 0));
        assert_eq!(put(2, b"two", State::Completed), None);
        assert_eq!((live.in_progress(), live.bytes(), live.resolved_bytes()), (1, 2 * one, one));
        assert_eq!(put(1, b"one", State::Completed), Some(State::InProgress));
        assert_eq!((live.in_progress(), live.bytes(), live.resolved_bytes()), (0, 2 * one, 2 * one));
        // Two keys of one hash are two keys.
        assert_eq!(put(1, b"uno", State::InProgress), None);
        assert!(live.shard(1).find(1, b"one").is_some_and(|entry| entry.record.state == State::Completed));
        let removed = live.remove(&mut live.shard(1), 1, b"uno").map(|entry| entry.record.state);
        assert_eq!(removed, Some(State::InProgress));
        assert!(live.remove(&mut live.shard(1), 1, b"uno").is_none());
        assert!(live.remove(&mut live.shard(1), 1, b"one").is_some());
        assert!(live.remove(&mut live.shard(2), 2, b"two").is_some());
        assert_eq!((live.in_progress(), live.bytes(), live.resolved_bytes()), (0, 0, 0));
    }

    #[test]
    fn a_slot_has_three_cache_lines_and_the_first_says_whose_it_is() {
        use std::mem::offset_of;
        assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (192, 64));
        assert!(offset_of!(Slot, entry) + offset_of!(Entry, record) + offset_of!(Record, token) + 8 <= 64);
    }

    #[test]
    fn what_a_record_carries_counts() {
        let plain = entry(State::Completed, 0, Marks::default());
        let mut heavy = plain.clone();
        heavy.record.body = vec![0; 100].into();
        assert_eq!(heavy.bytes(b"key"), plain.bytes(b"key") + 100);
        heavy.record.extra.get_or_insert_default().note = vec![0; 50].into();
        assert_eq!(heavy.bytes(b"key"), plain.bytes(b"key") + 150 + EXTRA_BYTES);
        assert_eq!(heavy.bytes(b"longer"), heavy.bytes(b"key") + 3);
    }

    #[test]
    fn a_shard_that_was_full_gives_its_room_back() {
        let live = Live::new();
        let keys: Vec<Vec<u8>> = (0..1_000_u64).map(|n| n.to_le_bytes().to_vec()).collect();
        let hash_of = |key: &[u8]| u64::from(key[0]) << 8 | u64::from(key[1]);
        let mut shard = live.shard(0);
        for key in &keys {
            live.put(&mut shard, hash_of(key), key, entry(State::Completed, 0, Marks::default()));
        }
        shard.shrink();
        assert!(shard.slots.capacity() >= 1_000);
        for key in &keys[10..] {
            live.remove(&mut shard, hash_of(key), key);
        }
        shard.shrink();
        assert!(shard.slots.capacity() <= 64);
        assert_eq!(shard.iter().count(), 10);
        assert!(keys[..10].iter().all(|key| shard.find(hash_of(key), key).is_some()));
    }

    /// A shard with `entries` entries, which are then removed one by one until `few` says that few enough are left.
    fn drained(entries: u64, few: fn(usize, usize) -> bool) -> Shard {
        let (live, mut shard) = (Live::new(), Shard::default());
        let hashes = || (0..entries).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for hash in hashes() {
            live.put(&mut shard, hash, &hash.to_le_bytes(), entry(State::Completed, 0, Marks::default()));
        }
        for hash in hashes() {
            if few(shard.slots.len(), shard.slots.capacity()) {
                break;
            }
            live.remove(&mut shard, hash, &hash.to_le_bytes());
        }
        shard
    }

    #[test]
    fn a_shard_shrinks_below_an_eighth_of_its_room_and_keeps_room_for_as_many_again() {
        let check = |mut shard: Shard, shrinks: bool| {
            let (len, room) = (shard.slots.len(), shard.slots.capacity());
            shard.shrink();
            assert_eq!(shard.slots.len(), len);
            assert_eq!(shard.slots.capacity() < room, shrinks, "{len} of {room}");
            assert!(!shrinks || shard.slots.capacity() >= 2 * len, "{len} of {room}");
        };
        check(drained(900, |len, room| len == room / 8), false);
        check(drained(900, |len, room| len < room / 8), true);
        check(drained(900, |len, room| len < room / 15), true);
        // Small ones stay as they are.
        check(drained(40, |len, _| len == 1), false);
    }

    #[test]
    fn every_entry_is_met_once_in_the_shard_that_its_hash_names() {
        let live = Live::new();
        let hashes: Vec<u64> = (0..2 * SHARDS as u64).map(|n| (n << 40) + n * 7).collect();
        for &hash in &hashes {
            let entry = entry(State::Completed, hash, Marks::default());
            live.put(&mut live.shard(hash), hash, &hash.to_le_bytes(), entry);
        }
        // One shard after the other, two entries in each; there is none after the last.
        let mut copied: Vec<_> = (0..=SHARDS)
            .flat_map(|shard| {
                let copy = live.entries(shard);
                assert_eq!(copy.len(), if shard < SHARDS { 2 } else { 0 });
                copy.into_iter().map(|(hash, key, entry)| (hash, key.to_vec(), entry.record.until_ms))
            })
            .collect();
        copied.sort_unstable();
        let expected: Vec<_> = hashes.iter().map(|&hash| (hash, hash.to_le_bytes().to_vec(), hash)).collect();
        assert_eq!(copied, expected);
        let mut visited = Vec::new();
        (0..=SHARDS).for_each(|shard| live.one_shard(shard, |_, entry| visited.push(entry.record.until_ms)));
        let mut changed = Vec::new();
        live.each_shard(|shard| changed.extend(shard.iter().map(|(hash, _, _)| hash)));
        assert_eq!((visited.len(), changed), (hashes.len(), visited.clone()));
        visited.sort_unstable();
        assert_eq!(visited, hashes);
        let (first, same, next) = (hashes[0], hashes[SHARDS], hashes[1]);
        assert!(share_a_shard(first, same) && !share_a_shard(first, next));
    }

    #[test]
    fn marks_and_terms_change_in_place() {
        let live = Live::new();
        live.put(&mut live.shard(1), 1, b"one", entry(State::InProgress, 0, Marks::default()));
        assert!(live.shard(1).find_mut(1, b"uno").is_none());
        live.shard(1).find_mut(1, b"one").unwrap().lease_until_ms = 77;
        assert_eq!(live.shard(1).find(1, b"one").unwrap().lease_until_ms, 77);
        let token = live.shard(1).find(1, b"one").unwrap().record.token;
        live.shard(1).find_claim(0, 1, token).unwrap().marks.leased = true;
        assert!(live.shard(1).find(1, b"one").unwrap().marks.leased);
        for at in [0, 1, usize::MAX] {
            assert!(live.shard(1).find_claim(at, 1, token).is_some_and(|entry| entry.marks.leased));
            assert!(live.shard(1).find_claim(at, 1, token + 1).is_none());
        }
    }
}
