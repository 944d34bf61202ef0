//! The short name of a key, which stands where the key is not shown.

use crate::digest_key;
use crate::hex::hex;
use std::fmt;

/// How many bytes of a key's digest stand for the key.
const HASH_BYTES: usize = 6;

/// The short name of a key: the first 12 hex digits of a plain digest of the key, and its length in bytes.
///
/// For logs, where a key must not stand. The `claimstore` command shows it and takes it wherever a key is named. It does
/// not contain the key. A key that can be guessed can be confirmed with it, since the digest has no secret. Two keys of a
/// store very rarely have the same.
///
/// A store knows a key by the bytes that its namespace's rule makes of it. Give those:
/// [`KeySpec::normalise`](crate::KeySpec::normalise), or the key of a record.
///
/// ```
/// use claimstore_hash::{KeyLabel, key_label};
///
/// let label = key_label("order-4711");
/// assert_eq!(label.to_string(), "a73c5355dc05+10B");
/// assert_eq!(KeyLabel::parse("a73c5355dc05+10B"), Some(label));
/// ```
pub fn key_label(key: impl AsRef<[u8]>) -> KeyLabel {
    let key = key.as_ref();
    KeyLabel { hash: hex(digest_key(&[key]).get(..HASH_BYTES).unwrap_or_default()), bytes: key.len() }
}

/// What [`key_label`] gives. `Display` writes it, [`parse`](KeyLabel::parse) reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyLabel {
    hash: String,
    bytes: usize,
}

impl KeyLabel {
    /// Reads a short name; the hex digits may be in either case. `None` for any other text.
    pub fn parse(text: &str) -> Option<KeyLabel> {
        let (hash, bytes) = text.strip_suffix('B')?.split_once('+')?;
        let is_hash = hash.len() == 2 * HASH_BYTES && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let label = KeyLabel { hash: hash.to_ascii_lowercase(), bytes: bytes.parse().ok()? };
        // Only the canonical spelling: no sign and no leading zero.
        (is_hash && label.bytes.to_string() == bytes).then_some(label)
    }

    /// The 12 hex digits, in lower case.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The length of the key in bytes.
    pub fn key_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is the short name of `key`.
    pub fn fits(&self, key: &[u8]) -> bool {
        key.len() == self.bytes && key_label(key) == *self
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
        let label = key_label("order-4711");
        assert_eq!((label.hash(), label.key_bytes()), ("a73c5355dc05", 10));
        assert_eq!(label.to_string(), "a73c5355dc05+10B");
        assert!(label.fits(b"order-4711") && !label.fits(b"order-4712") && !label.fits(b"order-47110"));
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
