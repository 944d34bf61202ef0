//! The live table: every claim in progress, and every record not yet checkpointed, sharded by key hash.
//!
//! Invariants:
//! - An entry changes only under its shard's lock *and* the order lock of `commit`, except for what lives in
//!   memory alone (lease terms, the marks of `Entry`).
//! - `Entry::batch` names the journal batch that carries `Entry::record`; no answer rests on the entry
//!   before that batch is committed.
//! - Only a checkpoint removes entries, after their records became visible in a run.

use super::decide::Hold;
use crate::codec::{Record, State};
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};
use hashbrown::HashTable;

/// Parts of the table, each under a lock of its own.
///
/// Explored builds have few: every lock is a place where a schedule branches, and hundreds that nobody else wants
/// would drown the others.
pub(crate) const SHARDS: usize = if cfg!(any(shuttle, loom)) { 4 } else { 1_024 };

/// What an entry costs beside its key and body.
const ENTRY_BYTES: usize = 224;
/// What extensions cost beside their bytes.
const EXTRA_BYTES: usize = 160;

#[derive(Debug)]
pub(crate) struct Live {
    shards: Box<[Mutex<Shard>]>,
    bytes: AtomicUsize,
    resolved_bytes: AtomicUsize,
    in_progress: AtomicUsize,
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    slots: HashTable<Slot>,
}

struct Slot {
    hash: u64,
    key: Box<[u8]>,
    entry: Entry,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("key_bytes", &self.key.len())
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

/// One key's newest record, and what is known of it in memory only.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// The journal batch that carries `record`; 0 for what was durable at open.
    pub(crate) batch: u64,
    /// Boot time at which the holder's lease lapses; for a claim of this life.
    pub(crate) lease_until_ms: u64,
    pub(crate) marks: Marks,
}

/// What is known of an entry in memory only.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own rule")]
pub(crate) struct Marks {
    /// The lease was dropped: nobody works on it.
    pub(crate) abandoned: bool,
    /// Granted, and the answer not handed out yet.
    pub(crate) undelivered: bool,
    /// A `Lease` object holds it, so `resume` must not make a second one.
    pub(crate) leased: bool,
    /// A row of this key lies in a run of the open bucket.
    pub(crate) spilled: bool,
    /// The row in the open bucket is this very version.
    pub(crate) spill_current: bool,
    /// An older version may lie in some bucket: the checkpoint looks, and covers it by a tombstone.
    pub(crate) may_shadow: bool,
    /// A row of this key may lie in the claims of `tables.redb`.
    pub(crate) in_tables: bool,
    /// A `transact` or `complete_in` is running on it.
    pub(crate) reserved: bool,
    /// The reservation stands on a key that was unknown: `record` is a placeholder.
    pub(crate) placeholder: bool,
}

impl Entry {
    pub(crate) fn new(record: Record, batch: u64, lease_until_ms: u64) -> Entry {
        Entry { record, batch, lease_until_ms, marks: Marks::default() }
    }

    /// Who stands behind it. `life` is the store's present life, `now_ms` store time, `boot_ms` boot time.
    pub(crate) fn hold(&self, life: u64, now_ms: u64, boot_ms: u64) -> Hold {
        if self.marks.reserved {
            return Hold::Reserved;
        }
        // Its lease runs from the acknowledgement, which is still on its way.
        if self.marks.undelivered {
            return Hold::Running { remaining_ms: 1 };
        }
        // A detached claim outlives its process on purpose, and is trusted by store time.
        if self.record.until_ms > now_ms && self.record.state == State::InProgress {
            return Hold::Running { remaining_ms: self.record.until_ms - now_ms };
        }
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
            bytes: AtomicUsize::new(0),
            resolved_bytes: AtomicUsize::new(0),
            in_progress: AtomicUsize::new(0),
        }
    }

    /// Locks the shard of a key. Lock order: order lock first, one shard at a time.
    pub(crate) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // Middle bits: the table inside uses the lowest ones for the place and the highest ones for the tag.
        let at = (hash >> 40) as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        self.shards[at].lock()
    }

    /// All shards, one after the other; each lock is held only while `visit` looks at that shard.
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
    pub(crate) fn entries(&self, shard: usize) -> Vec<(u64, Box<[u8]>, Entry)> {
        let shard = self.shards.get(shard).map(Mutex::lock);
        let slots = shard.iter().flat_map(|shard| shard.slots.iter());
        slots.map(|slot| (slot.hash, slot.key.clone(), slot.entry.clone())).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Memory of what a checkpoint would take out.
    pub(crate) fn resolved_bytes(&self) -> usize {
        self.resolved_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn in_progress(&self) -> usize {
        self.in_progress.load(Ordering::Relaxed)
    }

    /// Puts `entry` in the place of what is there, keeping the counts. Answers what was there.
    pub(crate) fn put(&self, shard: &mut Shard, hash: u64, key: &[u8], entry: Entry) -> Option<Entry> {
        self.count(key, &entry, true);
        if let Some(slot) = shard.slots.find_mut(hash, |slot| *slot.key == *key) {
            let old = std::mem::replace(&mut slot.entry, entry);
            self.count(key, &old, false);
            Some(old)
        } else {
            shard.slots.insert_unique(hash, Slot { hash, key: key.into(), entry }, |slot| slot.hash);
            None
        }
    }

    /// Takes a key out.
    pub(crate) fn remove(&self, shard: &mut Shard, hash: u64, key: &[u8]) -> Option<Entry> {
        let occupied = shard.slots.find_entry(hash, |slot| *slot.key == *key).ok()?;
        let (slot, _) = occupied.remove();
        self.count(key, &slot.entry, false);
        Some(slot.entry)
    }

    fn count(&self, key: &[u8], entry: &Entry, add: bool) {
        let bytes = entry.bytes(key);
        let change = |total: &AtomicUsize, by: usize| {
            if add { total.fetch_add(by, Ordering::Relaxed) } else { total.fetch_sub(by, Ordering::Relaxed) }
        };
        change(&self.bytes, bytes);
        if entry.is_in_progress() {
            change(&self.in_progress, 1);
        } else {
            change(&self.resolved_bytes, bytes);
        }
    }
}

impl Shard {
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.slots.find(hash, |slot| *slot.key == *key).map(|slot| &slot.entry)
    }

    /// For changing lease terms and marks; records change through [`Live::put`], which counts.
    pub(crate) fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Entry> {
        self.slots.find_mut(hash, |slot| *slot.key == *key).map(|slot| &mut slot.entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u8], &Entry)> {
        self.slots.iter().map(|slot| (slot.hash, &*slot.key, &slot.entry))
    }

    pub(crate) fn shrink(&mut self) {
        if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to(self.slots.len() * 2, |slot| slot.hash);
        }
    }
}
