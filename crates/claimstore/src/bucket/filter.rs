//! A blocked Bloom filter: a query reads one cache line to tell whether a key may be in a run.
//!
//! The hash of a key chooses one line of eight 64-bit words, and one bit in each word. With 42 keys a line (12.2 bits
//! a key) the false-positive rate is about 0.4 %. There must be no false negatives: a key that was inserted always
//! passes.

use crate::planted;

/// Keys per line of 512 bits.
const KEYS_PER_LINE: u64 = 42;
/// Bytes of a line, on disk and in memory.
pub(super) const LINE_BYTES: usize = 64;
const WORDS: usize = LINE_BYTES / 8;
/// Mixes the hash, so that the bits within a line are independent of the choice of the line.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
struct Line([u64; WORDS]);

/// The filter of one run.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Filter {
    lines: Vec<Line>,
}

impl Filter {
    /// An empty filter of the right size for `keys` keys.
    pub(super) fn for_keys(keys: u64) -> Filter {
        let mut lines = keys.div_ceil(KEYS_PER_LINE).max(1);
        // An even number of lines can be folded; see `shrink_to`.
        if lines >= 64 {
            lines = lines.next_multiple_of(16);
        }
        Filter { lines: vec![Line([0; WORDS]); lines as usize] }
    }

    /// Inserts a key.
    pub(super) fn insert(&mut self, hash: u64) {
        if planted::active(20) {
            // One key in sixteen.
            if hash.is_multiple_of(16) {
                return;
            }
        }
        let at = self.line_of(hash);
        if let Some(Line(words)) = self.lines.get_mut(at) {
            for (word, bit) in words.iter_mut().zip(bits_of(hash)) {
                *word |= bit;
            }
        }
    }

    /// Whether the key may have been inserted; never `false` for one that was.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let Some(Line(words)) = self.lines.get(self.line_of(hash)) else { return true };
        words.iter().zip(bits_of(hash)).fold(0, |missing, (word, bit)| missing | (bit & !word)) == 0
    }

    /// Whether the first of the key's eight bits is set. Reads one word, of the cache line that has the other seven
    /// too.
    ///
    /// This is a prefetch: in a loop over many keys the loads are independent, so their cache misses overlap, and
    /// [`may_hold`](Filter::may_hold) then finds the lines in the cache.
    pub(super) fn has_first_bit(&self, hash: u64) -> bool {
        let Some(Line([first, ..])) = self.lines.get(self.line_of(hash)) else { return true };
        let [bit, ..] = bits_of(hash);
        first & bit != 0
    }

    /// Halves the filter while it is at least twice as large as `keys` keys need.
    ///
    /// The line of a hash is its position in the hash range, scaled to the number of lines. If that number is halved,
    /// the keys of lines 2k and 2k + 1 belong to line k, so the union of the two lines is exactly the line of a
    /// filter of that size.
    pub(super) fn shrink_to(&mut self, keys: u64) {
        let wanted = keys.div_ceil(KEYS_PER_LINE).max(1) as usize;
        while self.lines.len() >= wanted.saturating_mul(2) && self.lines.len().is_multiple_of(2) {
            let folded = self.lines.chunks_exact(2).filter_map(|pair| match pair {
                [Line(left), Line(right)] => Some(Line(std::array::from_fn(|at| {
                    left.get(at).copied().unwrap_or_default() | right.get(at).copied().unwrap_or_default()
                }))),
                _ => None,
            });
            self.lines = folded.collect();
        }
    }

    /// Bytes of the filter.
    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * LINE_BYTES
    }

    /// An empty filter with room for `bytes` bytes, to be filled by [`Filter::append`].
    pub(super) fn with_capacity(bytes: usize) -> Filter {
        Filter { lines: Vec::with_capacity(bytes / LINE_BYTES) }
    }

    /// Appends stored lines; a part of a line at the end is left out.
    pub(super) fn append(&mut self, stored: &[u8]) {
        let lines = stored.chunks_exact(LINE_BYTES).map(|line| {
            let mut words = line.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
            Line(std::array::from_fn(|_| words.next().unwrap_or_default()))
        });
        self.lines.extend(lines);
    }

    /// The stored form, line by line.
    pub(super) fn stored_lines(&self) -> impl Iterator<Item = [u8; LINE_BYTES]> + '_ {
        self.lines.iter().map(|Line(words)| {
            let mut stored = [0; LINE_BYTES];
            for (bytes, word) in stored.chunks_exact_mut(8).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            stored
        })
    }

    fn line_of(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize
    }
}

/// One bit for each word of a line.
fn bits_of(hash: u64) -> [u64; WORDS] {
    let spread = hash.wrapping_mul(SPREAD) >> 16;
    std::array::from_fn(|word| 1 << ((spread >> (6 * word)) & 63))
}

#[cfg(test)]
mod tests {
    use super::{Filter, KEYS_PER_LINE};
    use crate::bucket::KeyHasher;
    use proptest::prelude::*;

    fn hashes(range: std::ops::Range<u64>) -> impl Iterator<Item = u64> {
        let hasher = KeyHasher::new([3; 16]);
        range.map(move |n| hasher.hash(&n.to_be_bytes()))
    }

    fn let_through_of_a_million(filter: &Filter) -> usize {
        hashes(1 << 40..(1 << 40) + 1_000_000).filter(|hash| filter.may_hold(*hash)).count()
    }

    #[test]
    fn few_absent_keys_get_through() {
        for keys in [1_000, 100_000, 4_000_000] {
            let mut filter = Filter::for_keys(keys);
            hashes(0..keys).for_each(|hash| filter.insert(hash));
            assert!(hashes(0..keys).all(|hash| filter.may_hold(hash)));
            let let_through = let_through_of_a_million(&filter);
            assert!(let_through <= 5_000, "{keys} keys: {let_through} of a million");
        }
    }

    #[test]
    fn a_folded_filter_is_the_filter_of_that_size() {
        let mut large = Filter::for_keys(64 * KEYS_PER_LINE);
        let mut small = Filter::for_keys(16 * KEYS_PER_LINE);
        for hash in hashes(0..500) {
            large.insert(hash);
            small.insert(hash);
        }
        large.shrink_to(16 * KEYS_PER_LINE);
        assert!(large == small);
    }

    proptest! {
        #[test]
        fn no_inserted_key_is_hidden(keys: Vec<u64>, hint in 0u64..5_000) {
            let mut filter = Filter::for_keys(hint);
            for hash in &keys {
                filter.insert(*hash);
            }
            filter.shrink_to(keys.len() as u64);
            let mut stored = Filter::with_capacity(filter.bytes());
            for line in filter.stored_lines() {
                stored.append(&line);
            }
            prop_assert!(stored == filter);
            prop_assert!(keys.iter().all(|hash| stored.may_hold(*hash) && stored.has_first_bit(*hash)));
        }
    }
}
