//! The fingerprinter: a hash function, an optional key, and a method for each form of payload.

use std::fmt;
use std::io;
use std::sync::LazyLock;

use crate::Fingerprint;
use crate::fingerprint::CONTEXT_BYTES;
use crate::mac::{Algorithm, Mac, Purpose, Tag, derive_key};

/// Makes fingerprints, with a key or without one.
///
/// ```
/// use claimstore_hash::{Fingerprinter, Match};
///
/// let ours = Fingerprinter::with_key([7; 32]); // 32 random bytes, kept somewhere safe
/// let stored = ours.raw(b"card ending 4242");
/// assert_eq!(stored.compare(&ours.raw(b"card ending 4242")), Match::Same);
/// assert_eq!(stored.compare(&ours.raw(b"card ending 4243")), Match::Different);
///
/// // Without the key a guess cannot be checked: another key gives no answer at all.
/// let guess = Fingerprinter::with_key([8; 32]).raw(b"card ending 4242");
/// assert_eq!(stored.compare(&guess), Match::Unknown);
/// ```
///
/// # Key or no key
///
/// Payloads are often guessable: one amount out of a thousand, one customer out of a million. From the fingerprints
/// of such payloads, in a leaked database or an old backup, an attacker can find the payloads by trying, unless the
/// fingerprints depend on a key that did not leak. Use a key for anything private; use none if payloads are public
/// and fingerprints of different places must be comparable.
///
/// # How it is computed
///
/// A 32-byte key for each purpose is derived from the given key. The digest is the keyed hash of a list of parts:
/// first the scheme, then the parts of the form. Each part is encoded as its tag, its length and its bytes, so
/// different lists have different bytes. Raw and canonical forms begin with different schemes, so they never collide.
/// A raw body is represented by its length and its own keyed digest, so that it can be hashed in pieces.
#[derive(Clone)]
pub struct Fingerprinter {
    algorithm: Algorithm,
    keyed: bool,
    fingerprint_key: [u8; 32],
    body_key: [u8; 32],
    context_key: [u8; 32],
    pub(crate) field_key: [u8; 32],
    /// The context of raw fingerprints, which have no rules; computed once.
    raw_context: [u8; CONTEXT_BYTES],
}

/// The form of a payload: the low half of the scheme's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Form {
    Raw = 1,
    Json = 2,
    UrlEncoded = 3,
    Http = 4,
}

/// The fingerprinter without a key, used by the functions of [`Fingerprint`].
pub(crate) fn unkeyed() -> &'static Fingerprinter {
    static UNKEYED: LazyLock<Fingerprinter> = LazyLock::new(Fingerprinter::unkeyed);
    &UNKEYED
}

impl Fingerprinter {
    /// Fingerprints without a key: the same everywhere, and to be found by guessing if the payload can be guessed.
    pub fn unkeyed() -> Fingerprinter {
        Fingerprinter::make(Algorithm::Blake3, None)
    }

    /// Fingerprints under a key: 32 random bytes, not a password. BLAKE3 in its keyed mode.
    ///
    /// Fingerprints under another key are [`Match::Unknown`](crate::Match::Unknown) to these: a lost key does not
    /// turn retries into mismatches, it only ends the check for what was stored under it.
    pub fn with_key(key: [u8; 32]) -> Fingerprinter {
        Fingerprinter::make(Algorithm::Blake3, Some(&key))
    }

    /// SHA-256 instead of BLAKE3, without a key, if only approved functions are permitted. Much slower.
    #[cfg(feature = "sha2")]
    pub fn sha256_unkeyed() -> Fingerprinter {
        Fingerprinter::make(Algorithm::Sha256, None)
    }

    /// HMAC-SHA-256 instead of BLAKE3, under a key of 32 random bytes.
    #[cfg(feature = "sha2")]
    pub fn sha256_with_key(key: [u8; 32]) -> Fingerprinter {
        Fingerprinter::make(Algorithm::Sha256, Some(&key))
    }

    /// Whether a key goes into the fingerprints.
    pub fn is_keyed(&self) -> bool {
        self.keyed
    }

    /// The fingerprint of a payload's bytes as they are: one byte more or less, and it is another.
    pub fn raw(&self, payload: impl AsRef<[u8]>) -> Fingerprint {
        let mut stream = self.raw_stream();
        stream.update(payload.as_ref());
        stream.finish()
    }

    /// The fingerprint of a payload in several parts, each taken as it is.
    ///
    /// Where one part ends and the next begins counts. One part gives the same as [`raw`](Self::raw).
    pub fn raw_parts<P: AsRef<[u8]>>(&self, parts: &[P]) -> Fingerprint {
        let mut mac = self.start(Form::Raw);
        for part in parts {
            self.body_part(&mut mac, part.as_ref());
        }
        self.fingerprint(Form::Raw, self.raw_context, mac)
    }

    /// The fingerprint of a payload that comes in pieces, such as a large body that is never held whole.
    ///
    /// Where the pieces begin and end does not count: the result is that of [`raw`](Self::raw) of the whole.
    ///
    /// ```
    /// use claimstore_hash::Fingerprinter;
    ///
    /// let fingerprinter = Fingerprinter::with_key([7; 32]);
    /// let mut stream = fingerprinter.raw_stream();
    /// std::io::copy(&mut &b"a large body"[..], &mut stream)?;
    /// assert_eq!(stream.finish(), fingerprinter.raw("a large body"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn raw_stream(&self) -> RawStream<'_> {
        RawStream { maker: self, body: Mac::new(self.algorithm, &self.body_key), length: 0 }
    }

    fn make(algorithm: Algorithm, key: Option<&[u8; 32]>) -> Fingerprinter {
        let secret = key.map_or(&[][..], |key| key);
        let derived = |purpose| derive_key(algorithm, purpose, secret);
        let mut made = Fingerprinter {
            algorithm,
            keyed: key.is_some(),
            fingerprint_key: derived(Purpose::Fingerprint),
            body_key: derived(Purpose::Body),
            context_key: derived(Purpose::Context),
            field_key: derived(Purpose::Field),
            raw_context: [0; CONTEXT_BYTES],
        };
        made.raw_context = made.context(Form::Raw, |_| {});
        made
    }

    fn scheme(&self, form: Form) -> u8 {
        let function = match self.algorithm {
            Algorithm::Blake3 => 0,
            #[cfg(feature = "sha2")]
            Algorithm::Sha256 => 2,
        };
        (function + u8::from(self.keyed)) << 4 | form as u8
    }

    /// The list of parts of one fingerprint, its scheme written.
    pub(crate) fn start(&self, form: Form) -> Mac {
        let mut mac = Mac::new(self.algorithm, &self.fingerprint_key);
        mac.part(Tag::Scheme, &[self.scheme(form)]);
        mac
    }

    /// The name of key and rules; `rules` writes the rules.
    pub(crate) fn context(&self, form: Form, rules: impl FnOnce(&mut Mac)) -> [u8; CONTEXT_BYTES] {
        let mut mac = Mac::new(self.algorithm, &self.context_key);
        mac.part(Tag::Scheme, &[self.scheme(form)]);
        rules(&mut mac);
        let [a, b, c, d, ..] = mac.finish();
        [a, b, c, d]
    }

    pub(crate) fn body_part(&self, mac: &mut Mac, body: &[u8]) {
        let mut digest = Mac::new(self.algorithm, &self.body_key);
        digest.update(body);
        mac.digested_part(Tag::Body, body.len() as u64, &digest.finish());
    }

    /// A hash of one field's value, for [`FieldDigests`](crate::FieldDigests).
    pub(crate) fn field_mac(&self) -> Mac {
        Mac::new(self.algorithm, &self.field_key)
    }

    pub(crate) fn fingerprint(&self, form: Form, context: [u8; CONTEXT_BYTES], mac: Mac) -> Fingerprint {
        let digest = mac.finish();
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(context.iter().chain(&digest)).for_each(|(to, from)| *to = *from);
        Fingerprint::with_scheme(self.scheme(form), bytes)
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprinter")
            .field("algorithm", &self.algorithm)
            .field("keyed", &self.keyed)
            .finish_non_exhaustive()
    }
}

/// A raw payload on its way through: [`Fingerprinter::raw_stream`]. Writing to it never fails.
#[derive(Clone)]
#[must_use = "`finish` gives the fingerprint"]
pub struct RawStream<'a> {
    maker: &'a Fingerprinter,
    body: Mac,
    length: u64,
}

impl RawStream<'_> {
    /// The next piece.
    pub fn update(&mut self, piece: impl AsRef<[u8]>) {
        let piece = piece.as_ref();
        self.body.update(piece);
        self.length += piece.len() as u64;
    }

    /// The fingerprint of all pieces.
    pub fn finish(self) -> Fingerprint {
        let mut mac = self.maker.start(Form::Raw);
        mac.digested_part(Tag::Body, self.length, &self.body.finish());
        self.maker.fingerprint(Form::Raw, self.maker.raw_context, mac)
    }
}

impl io::Write for RawStream<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.update(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for RawStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawStream").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{FormRules, HttpBody, HttpRequest, HttpRules, JsonRules, Match};

    fn all() -> Vec<Fingerprinter> {
        vec![
            Fingerprinter::unkeyed(),
            Fingerprinter::with_key([1; 32]),
            Fingerprinter::with_key([2; 32]),
            #[cfg(feature = "sha2")]
            Fingerprinter::sha256_unkeyed(),
            #[cfg(feature = "sha2")]
            Fingerprinter::sha256_with_key([1; 32]),
        ]
    }

    #[test]
    fn fingerprints_are_what_they_were_in_the_first_release() {
        let check = |maker: &Fingerprinter, scheme: u8, expected: &str| {
            let made = maker.raw(br#"{"amount":100}"#);
            assert_eq!(made.scheme(), scheme);
            assert_eq!(blake3::Hash::from(made.to_bytes()).to_hex().as_str(), expected, "scheme {scheme}");
        };
        check(
            &Fingerprinter::unkeyed(),
            1,
            "12e084867b940573ef8f9436ed72f3f8a8fcf2d076f49a8818a721dd64ac498e",
        );
        check(
            &Fingerprinter::with_key([7; 32]),
            17,
            "99bb266a83a9fb30e04cbe579c4e2dd2024fa992ecf8ed5d66c3dd4112dc4d3b",
        );
        #[cfg(feature = "sha2")]
        check(
            &Fingerprinter::sha256_unkeyed(),
            33,
            "90266d82a7b52c17b182cb695e5998f5c434205471d844831f6c0518e0df3c4e",
        );
        #[cfg(feature = "sha2")]
        check(
            &Fingerprinter::sha256_with_key([7; 32]),
            49,
            "e821d6bb43fcd25fe3e5b55496db6def668184255abd695e0a848e76d29006df",
        );
    }

    #[test]
    fn canonical_fingerprints_are_what_they_were_in_the_first_release() {
        let check = |made: Fingerprint, scheme: u8, expected: &str| {
            assert_eq!(made.scheme(), scheme);
            assert_eq!(blake3::Hash::from(made.to_bytes()).to_hex().as_str(), expected, "scheme {scheme}");
        };
        let maker = Fingerprinter::with_key([7; 32]);
        let json = br#"{"b":[1,2.50,"x"],"a":null}"#;
        check(
            maker.json(json).unwrap(),
            18,
            "539b116f1bee154b19430c006d80f36b28af88d3a328589cb8f06973a1be429e",
        );
        let rules = JsonRules::new().include("/b").unwrap().exclude("/b/0").unwrap();
        check(
            maker.json_with(&rules, json).unwrap(),
            18,
            "0e11bb1481b7289935c698a6b0092c02a1f7c2342c254581bbdce9c731267dbb",
        );
        let form = maker.form(&FormRules::new().exclude("t"), b"b=2&a=%31&t=1").unwrap();
        check(form, 19, "83d1adc570d0c5e07ee3d1db994b4ccb81affc969f4c57fb84ab38c32c42dba5");
        let rules = HttpRules::new().header("A").body(HttpBody::Json(JsonRules::new()));
        let request = HttpRequest::new("POST", "/a%2fb").query("x=1").header("a", "v").body("{}");
        check(
            maker.http(&rules, &request).unwrap(),
            20,
            "42cd06ade2be223d5f603b176d99530d9635666ced2bfc411981eca47957aafc",
        );
    }

    #[test]
    fn the_hashed_bytes_are_as_documented() {
        let derived = |purpose: &str| {
            blake3::derive_key(&format!("claimstore 2026-11-21 fingerprint{purpose} v1"), &[7; 32])
        };
        let scheme = [1, 1, 0, 0, 0, 0, 0, 0, 0, 17];
        let mut list = scheme.to_vec();
        list.extend_from_slice(&[2, 4, 0, 0, 0, 0, 0, 0, 0]);
        list.extend_from_slice(blake3::keyed_hash(&derived(" body"), b"abcd").as_bytes());
        let mut expected = blake3::keyed_hash(&derived(" context"), &scheme).as_bytes()[..4].to_vec();
        expected.extend_from_slice(&blake3::keyed_hash(&derived(""), &list).as_bytes()[..28]);
        assert_eq!(Fingerprinter::with_key([7; 32]).raw(b"abcd").to_bytes().to_vec(), expected);
    }

    #[test]
    fn no_two_makers_agree_or_disagree() {
        for (at, one) in all().iter().enumerate() {
            for (place, other) in all().iter().enumerate() {
                let expected = if at == place { Match::Same } else { Match::Unknown };
                assert_eq!(one.raw(b"x").compare(&other.raw(b"x")), expected);
                if at != place {
                    assert_eq!(one.raw(b"x").compare(&other.raw(b"y")), Match::Unknown);
                }
            }
        }
    }

    #[test]
    fn the_debug_text_keeps_the_key_to_itself() {
        let maker = Fingerprinter::with_key([0xab; 32]);
        let mut stream = maker.raw_stream();
        stream.update("secret");
        assert_eq!(format!("{maker:?}"), "Fingerprinter { algorithm: Blake3, keyed: true, .. }");
        assert_eq!(format!("{stream:?}"), "RawStream { length: 6, .. }");
    }

    #[test]
    fn a_list_of_parts_is_not_another_list_of_the_same_bytes() {
        let lists: [&[&str]; 6] = [&[], &[""], &["", ""], &["ab"], &["a", "b"], &["", "ab"]];
        for maker in all() {
            let made: HashSet<_> = lists.iter().map(|list| maker.raw_parts(list).to_bytes()).collect();
            assert_eq!(made.len(), lists.len());
        }
    }

    proptest! {
        #[test]
        fn where_pieces_end_does_not_count(payload: Vec<u8>, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5)) {
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
            places.extend([0, payload.len()]);
            places.sort_unstable();
            for maker in all() {
                let mut stream = maker.raw_stream();
                places.windows(2).for_each(|ends| stream.update(&payload[ends[0]..ends[1]]));
                prop_assert_eq!(stream.finish(), maker.raw(&payload));
                prop_assert_eq!(maker.raw_parts(&[&payload]), maker.raw(&payload));
            }
        }

        #[test]
        fn another_payload_another_fingerprint(one: Vec<u8>, other: Vec<u8>) {
            let expected = if one == other { Match::Same } else { Match::Different };
            for maker in all() {
                prop_assert_eq!(maker.raw(&one).compare(&maker.raw(&other)), expected);
            }
        }
    }
}
