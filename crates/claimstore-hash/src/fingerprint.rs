//! Payload fingerprints: is this the same payload as last time?

use std::fmt;

use blake3::Hash;

use crate::fingerprinter::unkeyed;

/// 32 bytes that represent a payload, and the number of the scheme that computed them.
///
/// Stored with a claim, so that the same key with another payload is refused, and does not get the wrong result.
/// Comparison takes constant time, and `Debug` does not show the bytes.
///
/// ```
/// use claimstore_hash::{Fingerprint, Match};
///
/// let stored = Fingerprint::raw(b"amount=100");
/// assert_eq!(stored.compare(&Fingerprint::raw(b"amount=100")), Match::Same);
/// assert_eq!(stored.compare(&Fingerprint::raw(b"amount=999")), Match::Different);
///
/// // A digest of your own is of another scheme, and says nothing about ours.
/// let own = Fingerprint::from([7; 32]);
/// assert_eq!(stored.compare(&own), Match::Unknown);
/// ```
///
/// The functions here use no key. If a payload can be guessed, it can be found from its fingerprint by trying;
/// [`Fingerprinter::with_key`](crate::Fingerprinter::with_key) prevents that.
///
/// # Schemes
///
/// | number | made by |
/// |---|---|
/// | 0 | the caller: `Fingerprint::from([u8; 32])` |
/// | 1, 17, 33, 49 | the bytes as they are |
/// | 2, 18, 34, 50 | JSON and Serde values |
/// | 3, 19, 35, 51 | form-encoded bodies |
/// | 4, 20, 36, 52 | HTTP requests |
/// | other numbers up to 127 | kept for later versions |
/// | 128 to 255 | the caller |
///
/// In each row the four are: BLAKE3 without a key, BLAKE3 with one, SHA-256 without, HMAC-SHA-256. In schemes 1 to
/// 127 the first four bytes, the *context*, name the key and the rules (which fields, which headers), and the other
/// 28 are the digest. Of one scheme but another context, two fingerprints cannot be compared: the answer is
/// [`Match::Unknown`]. So a change of key or rules never turns a plain retry into a mismatch.
///
/// `==` asks for the same scheme and the same bytes; deciding about a payload wants [`compare`](Self::compare),
/// which tells *different* from *not comparable*.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    scheme: u8,
    /// Kept as `Hash` for its equality in constant time.
    digest: Hash,
}

/// The result of comparing two fingerprints.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Match {
    /// The payloads are the same, by the rules of the scheme.
    Same,
    /// The payloads differ.
    Different,
    /// The fingerprints are of different schemes, keys or rules and cannot be compared.
    Unknown,
}

/// How many bytes of a fingerprint name key and rules, in the schemes of this crate.
pub(crate) const CONTEXT_BYTES: usize = 4;

/// The last scheme of this crate; those above are the caller's.
const LAST_OWN_SCHEME: u8 = 127;

impl Fingerprint {
    /// The scheme of digests the caller computes: `Fingerprint::from([u8; 32])`.
    pub const CALLER: u8 = 0;
    /// The scheme of [`Fingerprint::raw`] and [`Fingerprint::raw_parts`].
    pub const RAW: u8 = 1;

    /// The fingerprint of a payload's bytes as they are: one byte more or less, and it is another.
    pub fn raw(payload: impl AsRef<[u8]>) -> Fingerprint {
        unkeyed().raw(payload)
    }

    /// The fingerprint of a payload in several parts, each taken as it is: a method, a path and a body, say.
    ///
    /// Where one part ends and the next begins counts. One part gives the same as [`Fingerprint::raw`].
    pub fn raw_parts<P: AsRef<[u8]>>(parts: &[P]) -> Fingerprint {
        unkeyed().raw_parts(parts)
    }

    /// A fingerprint of the given scheme: one read back from where it was stored, or a digest of the caller's own.
    ///
    /// Numbers 128 to 255 are the caller's, like [`Fingerprint::CALLER`]: a program that changes how it computes
    /// its digests takes another number, and the earlier ones are not mistaken for other payloads.
    pub fn with_scheme(scheme: u8, digest: [u8; 32]) -> Fingerprint {
        Fingerprint { scheme, digest: Hash::from(digest) }
    }

    /// The number of the scheme.
    pub fn scheme(&self) -> u8 {
        self.scheme
    }

    /// The bytes, for storing. Compare with [`compare`](Self::compare), not with these: `==` on arrays stops at
    /// the first difference.
    pub fn to_bytes(self) -> [u8; 32] {
        self.digest.into()
    }

    /// Compares two fingerprints. Takes the same time wherever their digests differ; scheme and context are no
    /// secrets, and looked at first.
    pub fn compare(&self, other: &Fingerprint) -> Match {
        if self.scheme != other.scheme || self.context() != other.context() {
            Match::Unknown
        } else if self.digest == other.digest {
            Match::Same
        } else {
            Match::Different
        }
    }

    /// The bytes that name key and rules; none in a scheme of the caller's.
    fn context(&self) -> &[u8] {
        match self.scheme {
            1..=LAST_OWN_SCHEME => self.digest.as_bytes().get(..CONTEXT_BYTES).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// A digest the caller computed: any 32 bytes that are the same for the same payload.
impl From<[u8; 32]> for Fingerprint {
    fn from(digest: [u8; 32]) -> Fingerprint {
        Fingerprint::with_scheme(Fingerprint::CALLER, digest)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprint").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn raw_fingerprints_are_what_they_were_in_the_first_release() {
        let check = |payload: &[u8], expected: &str| {
            assert_eq!(Fingerprint::raw(payload).digest.to_hex().as_str(), expected, "{payload:?}");
        };
        check(b"", "12e0848627310c79d350dafa499a3f20da21f1c6a3d257548dc7c2aa5a88901d");
        check(br#"{"amount":100}"#, "12e084867b940573ef8f9436ed72f3f8a8fcf2d076f49a8818a721dd64ac498e");
        check(&[0xa5; 5000], "12e08486d120bfa14e771fd08f274b6da9ad9e13f510fc646531ef8e3cad3327");
    }

    #[test]
    fn only_one_context_is_compared() {
        let check = |scheme, at: usize, expected| {
            let mut digest = [0; 32];
            digest[at] = 1;
            let (one, other) = (Fingerprint::with_scheme(scheme, [0; 32]), digest);
            assert_eq!(one.compare(&Fingerprint::with_scheme(scheme, other)), expected, "{scheme} {at}");
        };
        for scheme in [1, 2, 50, 127] {
            check(scheme, 0, Match::Unknown);
            check(scheme, 3, Match::Unknown);
            check(scheme, 4, Match::Different);
            check(scheme, 31, Match::Different);
        }
        for scheme in [0, 128, 255] {
            check(scheme, 0, Match::Different);
            check(scheme, 31, Match::Different);
        }
    }

    #[test]
    fn only_one_scheme_is_compared() {
        let check = |one: (u8, u8), other: (u8, u8), expected| {
            let make = |(scheme, fill)| Fingerprint::with_scheme(scheme, [fill; 32]);
            assert_eq!(make(one).compare(&make(other)), expected, "{one:?} {other:?}");
            assert_eq!(make(one) == make(other), expected == Match::Same, "{one:?} {other:?}");
        };
        check((0, 1), (0, 1), Match::Same);
        check((0, 1), (0, 2), Match::Different);
        check((0, 1), (1, 1), Match::Unknown);
        check((0, 1), (255, 2), Match::Unknown);
        check((255, 9), (255, 9), Match::Same);
    }

    #[test]
    fn every_byte_of_the_digest_counts() {
        let one = Fingerprint::from([0; 32]);
        for at in 0..32 {
            let mut digest = [0; 32];
            digest[at] = 1;
            assert_eq!(one.compare(&digest.into()), Match::Different, "byte {at}");
        }
    }

    #[test]
    fn the_debug_text_keeps_the_digest_to_itself() {
        let shown = format!("{:?} {:#?}", Fingerprint::from([0xab; 32]), Fingerprint::from([0xab; 32]));
        for secret in ["ab", "AB", "171"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.starts_with("Fingerprint { scheme: 0, .. }"), "{shown}");
    }

    proptest! {
        #[test]
        fn another_payload_another_fingerprint(one: Vec<u8>, other: Vec<u8>) {
            let expected = if one == other { Match::Same } else { Match::Different };
            prop_assert_eq!(Fingerprint::raw(&one).compare(&Fingerprint::raw(&other)), expected);
            prop_assert_eq!(Fingerprint::raw(&one).compare(&Fingerprint::raw(&one)), Match::Same);
        }

        #[test]
        fn where_parts_end_counts(parts in prop::collection::vec("[ab]{1,3}", 2..5)) {
            let whole = Fingerprint::raw(parts.concat());
            prop_assert_eq!(Fingerprint::raw_parts(&parts).compare(&whole), Match::Different);
        }

        #[test]
        fn storing_and_reading_back(scheme: u8, digest: [u8; 32]) {
            let kept = Fingerprint::with_scheme(scheme, digest);
            prop_assert_eq!((kept.scheme(), kept.to_bytes()), (scheme, digest));
            prop_assert_eq!(Fingerprint::with_scheme(kept.scheme(), kept.to_bytes()), kept);
        }
    }
}
