//! Sequence numbers: the life of the store (24 bits) and a counter within it.

/// Bits of the counter.
pub(crate) const SEQ_BITS: u32 = 40;
/// The highest life.
pub(crate) const LAST_LIFE: u64 = (1 << 24) - 1;
