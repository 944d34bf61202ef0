//! The checkpointed records: the published set of runs, and a generation (an epoch) that changes with it.
//!
//! Ordering (hazards 1, 2, 19): a checkpoint publishes its runs, *then* raises the generation, *then* removes the
//! keys from the live table, shard by shard under each shard's lock. A claimer reads the generation, looks the key up
//! in the runs, and under the shard lock reads the generation again. If it is unchanged, no key that was absent from
//! the runs it saw has left the live table since. The shard lock gives the happens-before edge: if the claimer does
//! not find an entry that a checkpoint removed, it also sees the raised generation.
//!
//! A prune raises the generation in the same way. Time is read after the look-up, so a record that the prune judged
//! expired is judged expired by the claimer too.

use crate::bucket::{BlockCache, Found, RunSet};
use crate::error::Error;
use crate::planted;
use crate::sync::{Arc, AtomicU64, Ordering, Published};

#[derive(Debug)]
pub(crate) struct Cold {
    set: Published<RunSet>,
    generation: AtomicU64,
    pub(crate) cache: BlockCache,
}

impl Cold {
    pub(crate) fn new(set: RunSet, cache_bytes: usize) -> Cold {
        Cold { set: Published::new(set), generation: AtomicU64::new(0), cache: BlockCache::new(cache_bytes) }
    }

    pub(crate) fn generation(&self) -> u64 {
        if planted::active(4) {
            return 0;
        }
        self.generation.load(Ordering::Acquire)
    }

    /// The runs, for longer use.
    pub(crate) fn set(&self) -> Arc<RunSet> {
        self.set.get()
    }

    /// Publishes a new set of runs. Only the holder of the upkeep lock calls it.
    pub(crate) fn publish(&self, set: RunSet) {
        // This order: a claimer that reads the new generation also sees the new runs.
        self.set.replace(set);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// The newest checkpointed version of a key. It may be a tombstone.
    pub(crate) fn lookup(&self, key: &[u8], hash: u64) -> Result<Option<Found>, Error> {
        self.set.now().lookup(key, hash, &self.cache)
    }
}
