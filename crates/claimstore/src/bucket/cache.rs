//! Verified blocks kept in memory.

use super::listed::ListedBlock;
use crate::io::Process;
use crate::sync::{Arc, Mutex, MutexGuard};
use hashbrown::HashTable;
use std::fmt;

/// Shards keep readers on different blocks from waiting for each other.
const SHARDS: usize = 16;
/// Memory of a cached block beside its bytes.
const ENTRY_BYTES: usize = 128;
/// After this many hits a block gets a list of its rows.
const LISTED_AT: u8 = 8;

/// A cache of blocks, bounded in bytes. Evicts by the second-chance (clock) algorithm: a block that was hit since the
/// hand last passed is skipped once.
pub(crate) struct BlockCache {
    shards: Box<[Mutex<Shard>]>,
    process: Process,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    run: u64,
    block: u32,
}

#[derive(Default)]
struct Shard {
    capacity: usize,
    used: usize,
    blocks: HashTable<Kept>,
    /// The ring of the clock's hand: the name of each block.
    slots: Vec<Name>,
    hand: usize,
}

/// A cached block. It is in the hash table itself, not in `slots`, so that a look-up needs no second step.
struct Kept {
    name: Name,
    block: Arc<ListedBlock>,
    /// Its place in `slots`.
    at: usize,
    /// Hits so far, up to [`LISTED_AT`].
    found: u8,
    /// Whether it was hit since the hand last passed. Here and not in `slots`, because a look-up has loaded this
    /// cache line anyway.
    asked: bool,
}

impl Kept {
    /// The bytes that count towards the bound.
    fn bytes(&self) -> usize {
        let list = if self.found < LISTED_AT { 0 } else { self.block.list_bytes() };
        self.block.bytes() + list + ENTRY_BYTES
    }
}

impl BlockCache {
    /// A cache that holds about `capacity_bytes`; 0 keeps nothing.
    pub(crate) fn new(capacity_bytes: usize) -> BlockCache {
        let shard = || Mutex::new(Shard { capacity: capacity_bytes / SHARDS, ..Shard::default() });
        BlockCache { shards: (0..SHARDS).map(|_| shard()).collect(), process: Process::current() }
    }

    /// Drops all blocks of a removed run.
    pub(crate) fn drop_run(&self, run: u64) {
        for shard in &self.shards {
            shard.lock().retain(|name| name.run != run);
        }
    }

    /// Bytes in use.
    pub(crate) fn used_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().used).sum()
    }

    pub(super) fn get(&self, run: u64, block: u32) -> Option<Arc<ListedBlock>> {
        let name = Name { run, block };
        // The list is built after the shard's lock is released: it takes a pass over the block.
        let (block, again) = self.locked(name)?.get(name)?;
        if again {
            block.make_list();
        }
        Some(block)
    }

    pub(super) fn insert(&self, run: u64, block: u32, bytes: &Arc<ListedBlock>) {
        let name = Name { run, block };
        if let Some(mut shard) = self.locked(name) {
            shard.insert(name, bytes);
        }
    }

    /// Locks a shard. `None` in a child of `fork()` if the lock is held: the thread that holds it does not exist
    /// there. Blocks are then read from their files.
    fn locked(&self, name: Name) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.shard(name)?;
        match shard.try_lock() {
            Some(shard) => Some(shard),
            None if !self.process.is_current() => None,
            None => Some(shard.lock()),
        }
    }

    fn shard(&self, name: Name) -> Option<&Mutex<Shard>> {
        self.shards.get((name.hash() >> 60) as usize % SHARDS)
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").finish_non_exhaustive()
    }
}

impl Name {
    fn hash(self) -> u64 {
        let mixed = self.run.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(self.block);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }
}

impl Shard {
    /// A block, and whether this hit makes a list of its rows worth the memory.
    fn get(&mut self, name: Name) -> Option<(Arc<ListedBlock>, bool)> {
        let kept = self.blocks.find_mut(name.hash(), |kept| kept.name == name)?;
        kept.asked = true;
        let block = kept.block.clone();
        if kept.found == LISTED_AT {
            return Some((block, false));
        }
        let before = kept.bytes();
        kept.found += 1;
        // The list counts from here on, so make room for it. Should this evict the block itself, our `Arc` keeps it.
        let more = kept.bytes() - before;
        self.used += more;
        self.make_room_for(0);
        Some((block, more > 0))
    }

    fn insert(&mut self, name: Name, block: &Arc<ListedBlock>) {
        let kept = Kept { name, block: block.clone(), at: 0, found: 0, asked: false };
        let bytes = kept.bytes();
        let is_known = self.blocks.find(name.hash(), |kept| kept.name == name).is_some();
        // A block larger than half a shard would evict blocks that are worth more together.
        if bytes > self.capacity / 2 || is_known {
            return;
        }
        self.make_room_for(bytes);
        self.blocks
            .insert_unique(name.hash(), Kept { at: self.slots.len(), ..kept }, |kept| kept.name.hash());
        self.slots.push(name);
        self.used += bytes;
    }

    fn make_room_for(&mut self, bytes: usize) {
        while self.used + bytes > self.capacity && self.evict_one() {}
    }

    fn evict_one(&mut self) -> bool {
        while let Some(&name) = self.slots.get(self.hand) {
            let kept = self.blocks.find_mut(name.hash(), |kept| kept.name == name);
            if kept.is_some_and(|kept| std::mem::take(&mut kept.asked)) {
                self.move_hand();
                continue;
            }
            // Removal moves the last slot, that of the newest block, into this place. The hand steps over it.
            self.remove(self.hand);
            self.move_hand();
            return true;
        }
        false
    }

    fn move_hand(&mut self) {
        self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
    }

    fn retain(&mut self, keep: impl Fn(Name) -> bool) {
        let mut at = 0;
        while let Some(&name) = self.slots.get(at) {
            if keep(name) { at += 1 } else { self.remove(at) }
        }
    }

    /// Removes the block at a slot; the last slot moves into its place.
    fn remove(&mut self, at: usize) {
        let removed = self.slots.swap_remove(at);
        if let Ok(entry) = self.blocks.find_entry(removed.hash(), |kept| kept.name == removed) {
            let (kept, _) = entry.remove();
            self.used -= kept.bytes();
        }
        if let Some(&moved) = self.slots.get(at)
            && let Some(kept) = self.blocks.find_mut(moved.hash(), |kept| kept.name == moved)
        {
            kept.at = at;
        }
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, BlockCache, Kept, ListedBlock, SHARDS, Shard};
    use crate::bucket::block::{Block, BlockBuilder, BlockName};
    use crate::bucket::fixture::completed;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn block(body_bytes: usize) -> Arc<ListedBlock> {
        let name = BlockName { store_id: [0; 16], run: 1, block: 1 };
        let (mut builder, mut bytes) = (BlockBuilder::new(), Vec::new());
        builder.push(b"", b"key", &completed(1, &vec![0; body_bytes]));
        let (_, crc) = builder.finish(&name, &mut bytes);
        let block = Block::check(bytes, &name, crc).unwrap();
        Arc::new(ListedBlock::new(block, b"key", b"key"))
    }

    proptest! {
        #[test]
        fn what_is_found_was_put_there_and_the_bound_holds(
            calls in prop::collection::vec((0u64..4, 0u32..40, 0usize..3_000, 0u8..10), 1..400),
        ) {
            let cache = BlockCache::new(40_000);
            let mut put: HashMap<(u64, u32), Arc<ListedBlock>> = HashMap::new();
            for (run, number, body_bytes, what) in calls {
                match what {
                    0 => {
                        cache.drop_run(run);
                        put.retain(|(of, _), _| *of != run);
                    }
                    1..5 => {
                        let found = cache.get(run, number);
                        prop_assert!(found.is_none_or(|block| Arc::ptr_eq(&block, &put[&(run, number)])));
                    }
                    _ => {
                        let block = if let Some(block) = cache.get(run, number) { block } else { block(body_bytes) };
                        cache.insert(run, number, &block);
                        put.insert((run, number), block);
                    }
                }
                prop_assert!(cache.used_bytes() <= 40_000);
                prop_assert!(cache.shards.iter().all(|shard| shard.lock().is_consistent()));
            }
            (0..4).for_each(|run| cache.drop_run(run));
            prop_assert_eq!(cache.used_bytes(), 0);
        }
    }

    impl Shard {
        /// Whether the hand has one slot for each block, under the block's name.
        fn is_consistent(&self) -> bool {
            let named = |kept: &Kept| self.slots.get(kept.at) == Some(&kept.name);
            let used = self.blocks.iter().map(Kept::bytes).sum::<usize>();
            self.slots.len() == self.blocks.len() && self.blocks.iter().all(named) && self.used == used
        }
    }

    #[test]
    fn blocks_in_use_outlive_a_walk_over_all_others() {
        let (cache, one) = (BlockCache::new(SHARDS * 10_000), block(100));
        cache.insert(1, 0, &one);
        for other in 1..2_000 {
            assert!(cache.get(1, 0).is_some(), "gone after {other} others");
            cache.insert(2, other, &one);
        }
    }

    #[test]
    fn a_cache_without_room_keeps_nothing() {
        let cache = BlockCache::new(0);
        cache.insert(1, 0, &block(0));
        assert!(cache.get(1, 0).is_none());
    }
}
