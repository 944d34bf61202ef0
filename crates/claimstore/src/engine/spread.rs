//! Which shard of the live table a key is in.

/// Parts of the table, each under a lock of its own.
///
/// Explored builds have few: every lock is a place where a schedule branches, and hundreds that nobody else wants
/// would drown the others.
pub(crate) const SHARDS: usize = if cfg!(any(shuttle, loom)) { 4 } else { 1_024 };

/// Whether two keys, by their hashes, lie in one shard.
pub(crate) fn share_a_shard(one: u64, other: u64) -> bool {
    number_of(one) == number_of(other)
}

/// The shard of a key.
pub(crate) fn number_of(hash: u64) -> usize {
    // Of the upper half: the table inside has the lower one.
    (hash >> 40) as usize % SHARDS
}
