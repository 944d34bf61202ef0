//! The hash that filters are built on.

use siphasher::sip::SipHasher13;
use std::fmt;

/// SipHash-1-3 under the store's own random key, so that an attacker cannot choose keys that collide.
#[derive(Clone)]
pub(crate) struct KeyHasher {
    sip: SipHasher13,
}

impl KeyHasher {
    /// A hasher under a 128-bit key, which must stay the same for the life of the store.
    pub(crate) fn new(key: [u8; 16]) -> KeyHasher {
        KeyHasher { sip: SipHasher13::new_with_key(&key) }
    }

    /// The hash of an engine key.
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.sip.hash(key)
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::KeyHasher;

    #[test]
    fn the_hash_is_frozen_and_depends_on_the_key() {
        let key = *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
        // The reference vector of SipHash-1-3 for the empty message under this key.
        assert_eq!(KeyHasher::new(key).hash(b""), 0xabac_0158_050f_c4dc);
        assert_ne!(KeyHasher::new(key).hash(b"a"), KeyHasher::new([0; 16]).hash(b"a"));
    }

    #[test]
    fn its_debug_shows_no_key() {
        assert_eq!(format!("{:?}", KeyHasher::new([7; 16])), "KeyHasher { .. }");
    }
}
