//! Natural keys in random order, made from numbers without an allocation.

use std::hash::{BuildHasherDefault, Hasher};

/// Length of every key in the benches, in bytes.
pub const KEY_LEN: usize = 24;

/// Length of every stored response in the benches, in bytes.
pub const RESPONSE_LEN: usize = 64;

/// A key such as `INV-08301471120063925186`.
pub type Key = [u8; KEY_LEN];

/// The key of number `n`: different numbers have different keys, and neighbouring numbers lie far apart.
pub fn key(n: u64) -> Key {
    let mut out = *b"INV-00000000000000000000";
    let mut rest = mix(n);
    for digit in out.iter_mut().rev().take(20) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out
}

/// The response stored with a key.
pub fn response(key: &Key) -> [u8; RESPONSE_LEN] {
    let mut out = [b'.'; RESPONSE_LEN];
    for (to, from) in out.iter_mut().zip(key) {
        *to = *from;
    }
    out
}

/// A 64-bit hash of a key. Not keyed: nobody attacks a bench.
pub fn hash(key: &[u8]) -> u64 {
    key.chunks(8).fold(0, |hash, word| mix(hash ^ little_endian(word)))
}

/// Hashes the keys of the references' maps, as cheaply as a good hasher can.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyHasher(u64);

/// Builds [`KeyHasher`]s.
pub type BuildKeyHasher = BuildHasherDefault<KeyHasher>;

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    // Arrays announce their length first; all keys have the same.
    fn write_usize(&mut self, _: usize) {}
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection, so that no two numbers share a key.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

fn little_endian(word: &[u8]) -> u64 {
    word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_are_distinct_and_readable() {
        let keys: HashSet<Key> = (0..100_000).map(key).collect();
        assert_eq!(keys.len(), 100_000);
        assert!(keys.iter().all(|key| key.starts_with(b"INV-") && key.is_ascii()));
    }

    #[test]
    fn the_hasher_of_a_map_is_the_hash_of_the_key() {
        use std::hash::BuildHasher;
        assert_eq!(BuildKeyHasher::default().hash_one(key(7)), hash(&key(7)));
    }
}
