//! A blocked Bloom filter of 12.5 bits a key: one cache line a look-up.

use claimstore_bench::keys;

const BITS_PER_2_KEYS: usize = 25;
const LINE_BITS: usize = 512;
const PROBES: u32 = 7;

/// A filter over the keys of one run.
pub(crate) struct Filter {
    lines: Vec<[u64; LINE_BITS / 64]>,
}

impl Filter {
    pub(crate) fn build(keys: &[crate::Key]) -> Self {
        let bits = keys.len() * BITS_PER_2_KEYS / 2;
        let mut filter = Self { lines: vec![[0; 8]; bits.div_ceil(LINE_BITS).max(1)] };
        for key in keys {
            let hash = keys::hash(key);
            let line = filter.line_of(hash);
            let Some(line) = filter.lines.get_mut(line) else { continue };
            for (word, bit) in bits_of(hash) {
                if let Some(word) = line.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        filter
    }

    pub(crate) fn may_hold(&self, key: &crate::Key) -> bool {
        let hash = keys::hash(key);
        let Some(line) = self.lines.get(self.line_of(hash)) else { return true };
        bits_of(hash).all(|(word, bit)| line.get(word).is_none_or(|word| word & bit != 0))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.lines.as_flattened().iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn line_of(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize
    }
}

/// Nine bits of a second hash for each probe: three choose the word, six the bit.
fn bits_of(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let bits = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..PROBES).map(move |probe| {
        let nine = bits >> (probe * 9 + 1);
        ((nine >> 6 & 7) as usize, 1 << (nine & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_hides_nothing_and_errs_seldom() {
        let keys: Vec<_> = (0..10_000).map(keys::natural).collect();
        let filter = Filter::build(&keys);
        assert!(keys.iter().all(|key| filter.may_hold(key)));
        let wrong = (10_000..110_000).filter(|n| filter.may_hold(&keys::natural(*n))).count();
        assert!(wrong < 1_000, "{wrong} of 100,000");
    }
}
