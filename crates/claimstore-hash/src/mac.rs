//! The two hash functions behind fingerprints, as one keyed function of a list of parts.
//!
//! Every part is hashed as tag (1 byte), length (64 bits, little endian), bytes. So the list can be read back from
//! what is hashed, and two different lists are never the same bytes.

#[cfg(feature = "sha2")]
use crate::hmac::HmacSha256;

/// A hash function that fingerprints can be made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Algorithm {
    Blake3,
    #[cfg(feature = "sha2")]
    Sha256,
}

/// The purpose of a derived key. A key of one purpose reveals nothing about keys of other purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The fingerprint itself: over the list of parts.
    Fingerprint,
    /// Bodies, which may be long and come in pieces: over the bytes of one.
    Body,
    /// The four bytes that name key and rules.
    Context,
    /// Digests of single fields.
    Field,
    /// Seals of what callers carry away and bring back.
    Seal,
    /// The name of the key of seals, which may be known to everybody.
    SealId,
}

impl Purpose {
    /// The context of the key's derivation. Part of the result: never to be changed.
    const fn context(self) -> &'static str {
        match self {
            Purpose::Fingerprint => "claimstore 2026-11-21 fingerprint v1",
            Purpose::Body => "claimstore 2026-11-21 fingerprint body v1",
            Purpose::Context => "claimstore 2026-11-21 fingerprint context v1",
            Purpose::Field => "claimstore 2026-11-21 fingerprint field v1",
            Purpose::Seal => "claimstore 2026-11-29 seal v1",
            Purpose::SealId => "claimstore 2026-11-29 seal id v1",
        }
    }
}

/// The kind of a part. It goes into the digest, so its numbers must never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Scheme = 1,
    /// A body by its digest; the length is the body's.
    Body = 2,
    /// Canonical JSON.
    Json = 3,
    /// A pointer of a selection; a value or `Absent` follows.
    Pointer = 4,
    Absent = 5,
    /// A name in a form, a query or a header section; its value follows.
    Name = 6,
    Value = 7,
    Method = 8,
    Path = 9,
    /// A query follows, as names and values.
    Query = 10,
    Include = 11,
    Exclude = 12,
    Header = 13,
    /// Numbers are rounded; nothing follows.
    Rounded = 14,
}

/// A keyed hash under way.
#[cfg_attr(
    feature = "sha2",
    expect(clippy::large_enum_variant, reason = "lives on the stack of one call; a box would cost more")
)]
#[derive(Clone)]
pub(crate) enum Mac {
    Blake3(blake3::Hasher),
    #[cfg(feature = "sha2")]
    Sha256(HmacSha256),
}

impl Mac {
    pub(crate) fn new(algorithm: Algorithm, key: &[u8; 32]) -> Mac {
        match algorithm {
            Algorithm::Blake3 => Mac::Blake3(blake3::Hasher::new_keyed(key)),
            #[cfg(feature = "sha2")]
            Algorithm::Sha256 => Mac::Sha256(HmacSha256::new(key)),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Mac::Blake3(hasher) => {
                hasher.update(bytes);
            }
            #[cfg(feature = "sha2")]
            Mac::Sha256(hmac) => hmac.update(bytes),
        }
    }

    /// One part of the list.
    pub(crate) fn part(&mut self, tag: Tag, bytes: &[u8]) {
        self.header(tag, bytes.len() as u64);
        self.update(bytes);
    }

    /// One part of the list, represented by its digest; `length` is the length of the digested bytes.
    pub(crate) fn digested_part(&mut self, tag: Tag, length: u64, digest: &[u8; 32]) {
        self.header(tag, length);
        self.update(digest);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        match self {
            Mac::Blake3(hasher) => hasher.finalize().into(),
            #[cfg(feature = "sha2")]
            Mac::Sha256(hmac) => hmac.finish(),
        }
    }

    fn header(&mut self, tag: Tag, length: u64) {
        self.update(&[tag as u8]);
        self.update(&length.to_le_bytes());
    }
}

/// The key for one purpose, made from `secret`: 32 bytes, or none for fingerprints without a key.
pub(crate) fn derive_key(algorithm: Algorithm, purpose: Purpose, secret: &[u8]) -> [u8; 32] {
    match algorithm {
        Algorithm::Blake3 => blake3::derive_key(purpose.context(), secret),
        #[cfg(feature = "sha2")]
        Algorithm::Sha256 => {
            let mut hmac = HmacSha256::new(secret);
            hmac.update(purpose.context().as_bytes());
            hmac.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn purposes_are_apart() {
        let purposes = [
            Purpose::Fingerprint,
            Purpose::Body,
            Purpose::Context,
            Purpose::Field,
            Purpose::Seal,
            Purpose::SealId,
        ];
        let keys: HashSet<_> =
            purposes.map(|purpose| derive_key(Algorithm::Blake3, purpose, &[7; 32])).into_iter().collect();
        assert_eq!(keys.len(), purposes.len());
    }

    #[test]
    fn parts_are_hashed_as_documented() {
        let mut parts = Mac::new(Algorithm::Blake3, &[1; 32]);
        parts.part(Tag::Name, b"ab");
        parts.digested_part(Tag::Body, 300, &[9; 32]);
        let mut bytes = vec![6, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', 2, 44, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&[9; 32]);
        assert_eq!(parts.finish(), *blake3::keyed_hash(&[1; 32], &bytes).as_bytes());
    }
}
