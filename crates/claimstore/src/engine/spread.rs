//! Which shard of the live table a key is in.

/// Parts of the table, each under a lock of its own.
///
/// Builds for schedule exploration have few: every lock operation is a branch of the search, and hundreds of
/// uncontended locks would use up its budget.
pub(crate) const SHARDS: usize = if cfg!(any(shuttle, loom)) { 4 } else { 1_024 };

/// Whether two keys, given by their hashes, are in the same shard.
pub(crate) fn share_a_shard(one: u64, other: u64) -> bool {
    number_of(one) == number_of(other)
}

/// The shard of a key.
pub(crate) fn number_of(hash: u64) -> usize {
    // Bits of the upper half. The hash table inside a shard uses the lower half, which thus stays evenly spread.
    (hash >> 40) as usize % SHARDS
}
