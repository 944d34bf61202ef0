//! The short name of a key, which lists show instead of the key.

use crate::hex::hex;
use claimstore_hash::digest_key;
use std::fmt;

/// How many bytes of a key's digest stand for the key.
pub(crate) const HASH_BYTES: usize = 6;

/// The first 12 hex digits of a key's digest, which stand for it where keys are not shown.
pub fn key_hash(key: &[u8]) -> String {
    hex(digest_key(&[key]).get(..HASH_BYTES).unwrap_or_default())
}

/// The short name of a key, as lists show it: `3f9a2b77c0de+14B`, the first 12 hex digits of a plain digest of the
/// key, and its length. It does not reveal the key, and two keys of a store very rarely have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLabel {
    hash: String,
    bytes: usize,
}

impl KeyLabel {
    /// The short name of a key.
    pub fn of(key: &[u8]) -> KeyLabel {
        KeyLabel { hash: key_hash(key), bytes: key.len() }
    }

    /// Reads a short name; `None` for any other text.
    pub fn parse(text: &str) -> Option<KeyLabel> {
        let (hash, bytes) = text.strip_suffix('B')?.split_once('+')?;
        let is_hash = hash.len() == 2 * HASH_BYTES && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let label = KeyLabel { hash: hash.to_ascii_lowercase(), bytes: bytes.parse().ok()? };
        // Only the canonical spelling: no sign and no leading zero.
        (is_hash && label.bytes.to_string() == bytes).then_some(label)
    }

    /// The digits of the digest, and the length.
    pub(crate) fn into_parts(self) -> (String, usize) {
        (self.hash, self.bytes)
    }

    pub(crate) fn fits(&self, key: &[u8]) -> bool {
        key.len() == self.bytes && key_hash(key) == self.hash
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}B", self.hash, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_round_trip_and_other_texts_are_none() {
        let label = KeyLabel::of(b"order-4711");
        assert_eq!(label.to_string(), format!("{}+10B", key_hash(b"order-4711")));
        assert_eq!(KeyLabel::parse(&label.to_string()), Some(label.clone()));
        assert_eq!(KeyLabel::parse(&label.to_string().to_uppercase()), Some(label));
        for other in [
            "",
            "B",
            "+B",
            "order-4711",
            "3f9a2b77c0de",
            "3f9a2b77c0de+B",
            "3f9a2b77c0de+14",
            "3f9a2b77c0de+14b",
            "3f9a2b77c0de++4B",
            "3f9a2b77c0de+04B",
            "3f9a2b77c0de+-4B",
            "3f9a2b77c0d+14B",
            "3f9a2b77c0dee+14B",
            "3f9a2b77c0dg+14B",
            "3f9a2b77c0de+99999999999999999999999B",
        ] {
            assert_eq!(KeyLabel::parse(other), None, "{other}");
        }
    }
}
