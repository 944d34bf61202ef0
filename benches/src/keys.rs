//! The keys of the benches, made from numbers without an allocation.

use crate::time::unix_millis;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Length of a natural key, and the most a key of the benches can have, in bytes.
pub const KEY_LEN: usize = 24;

/// Length of every stored response in the benches, in bytes.
pub const RESPONSE_LEN: usize = 64;

/// `UUIDv7` keys made for one millisecond.
const KEYS_A_MILLISECOND: u64 = 1000;

/// How long ago the first `UUIDv7` key of a run was made: more keys than any run needs fit before now.
const UUID_AGE_MS: u64 = 3_600_000;

/// A key of at most [`KEY_LEN`] bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; KEY_LEN],
    len: u8,
}

impl Key {
    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.as_bytes().escape_ascii())
    }
}

/// A kind of keys, and with it the key of every number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// `INV-08301471120063925186`: natural keys that come in random order.
    Natural,
    /// `UUIDv7` of 16 bytes (RFC 9562), a thousand a millisecond, in random order within one.
    UuidV7 {
        /// Unix time of the key of number 0, in milliseconds.
        epoch_ms: u64,
    },
}

impl Keys {
    /// `UUIDv7` keys whose first was made an hour ago, so that none lies in the future.
    pub fn uuid_v7() -> Self {
        Self::UuidV7 { epoch_ms: unix_millis() - UUID_AGE_MS }
    }

    /// The word for tables and command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Natural => "natural",
            Self::UuidV7 { .. } => "uuidv7",
        }
    }

    /// The key of number `n`. Different numbers have different keys.
    pub fn key(self, n: u64) -> Key {
        match self {
            Self::Natural => key(n),
            Self::UuidV7 { epoch_ms } => uuid_v7(epoch_ms + n / KEYS_A_MILLISECOND, mix(n)),
        }
    }
}

/// The natural key of number `n`: neighbouring numbers lie far apart.
pub fn key(n: u64) -> Key {
    Key { bytes: natural(n), len: KEY_LEN as u8 }
}

/// The bytes of the natural key of number `n`.
pub fn natural(n: u64) -> [u8; KEY_LEN] {
    let mut bytes = *b"INV-00000000000000000000";
    let mut rest = mix(n);
    for digit in bytes.iter_mut().rev().take(20) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    bytes
}

/// 48 bits of time, version 7, 12 random bits, variant 2, 62 random bits; 64 of the random ones are given.
fn uuid_v7(millis: u64, random: u64) -> Key {
    let value = u128::from(millis) << 80 | 0x7 << 76 | u128::from(random >> 52) << 64 | 0b10 << 62;
    let value = value | u128::from(random & ((1 << 52) - 1)) << 10;
    let mut bytes = [0; KEY_LEN];
    bytes.split_at_mut(16).0.copy_from_slice(&value.to_be_bytes());
    Key { bytes, len: 16 }
}

/// The response stored with a key.
pub fn response(key: &[u8]) -> [u8; RESPONSE_LEN] {
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
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection, so that no two numbers share a key.
pub fn mix(n: u64) -> u64 {
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
        for keys in [Keys::Natural, Keys::uuid_v7()] {
            let made: HashSet<Key> = (0..100_000).map(|n| keys.key(n)).collect();
            assert_eq!(made.len(), 100_000);
        }
        assert!((0..1000).map(key).all(|key| key.as_bytes().starts_with(b"INV-")));
    }

    #[test]
    fn uuids_have_their_version_and_time() {
        let bytes = Keys::UuidV7 { epoch_ms: 0x0123_4567_89AB }.key(2000).as_bytes().to_vec();
        assert_eq!(bytes.len(), 16);
        assert_eq!(&bytes[..6], &[0x01, 0x23, 0x45, 0x67, 0x89, 0xAD]);
        assert_eq!((bytes[6] >> 4, bytes[8] >> 6), (7, 0b10));
    }

    #[test]
    fn the_hasher_of_a_map_is_the_hash_of_the_key() {
        use std::hash::BuildHasher;
        assert_eq!(BuildKeyHasher::default().hash_one(key(7)), hash(key(7).as_bytes()));
    }
}
