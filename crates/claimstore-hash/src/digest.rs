//! Keys and fingerprints made by hashing: BLAKE3, with one domain for each purpose.

use crate::hex::hex;
use blake3::{Hash, Hasher};

/// The idempotency key for one step of handling one event, to be sent to a system further down.
///
/// Depends on these three only: every attempt at the key gets the same, after a restart, on another machine and
/// from a later version as well, so the system further down recognises the second attempt. `namespace` is the
/// namespace's full name and `key` the key as claimed (of a time-ordered namespace, the 16 bytes). `step` tells
/// the calls made for one event apart; pick it in the source, like a name. A step repeated for each line of an
/// order has the line in it: `"reserve-stock/0010"`.
///
/// The name of the store is no part of it. Two programs that use the same namespace name and the same keys against
/// one account of one service send the same child keys; give namespaces names of their own, such as
/// `prod/acme/order-sync`.
///
/// Most services want text: [`child_key_hex`].
pub fn child_key(namespace: &str, key: &[u8], step: &str) -> [u8; 32] {
    hash_parts(Domain::Child, [namespace.as_bytes(), key, step.as_bytes()]).into()
}

/// The same in 64 lower-case hex digits, which fit in nearly every idempotency header.
///
/// ```
/// use claimstore_hash::{child_key, child_key_hex};
///
/// let header = child_key_hex("prod/acme/billing", b"order-4711", "charge");
/// assert_eq!(header.len(), 64);
/// assert!(header.starts_with(&format!("{:02x}", child_key("prod/acme/billing", b"order-4711", "charge")[0])));
/// ```
pub fn child_key_hex(namespace: &str, key: &[u8], step: &str) -> String {
    hex(&child_key(namespace, key, step))
}

/// A key of 32 bytes for parts of any number and length: like [`composite`](crate::composite), but not readable.
///
/// Different lists of parts give different keys, unless there is a collision in BLAKE3.
///
/// ```
/// use claimstore_hash::digest_key;
///
/// let key = digest_key(&["https://hooks.example/", "a very long subject"]);
/// assert_eq!(key.len(), 32);
/// assert_ne!(digest_key(&["a", "bc"]), digest_key(&["ab", "c"]));
/// ```
pub fn digest_key<P: AsRef<[u8]>>(parts: &[P]) -> [u8; 32] {
    hash_parts(Domain::Digest, parts.iter().map(AsRef::as_ref)).into()
}

/// The domain of a hash. Hashes of one domain never equal those of another, whatever is hashed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Domain {
    Child,
    Digest,
    Derived,
}

impl Domain {
    /// The context of BLAKE3's key derivation. Part of the result: never to be changed.
    const fn context(self) -> &'static str {
        match self {
            Domain::Child => "claimstore 2026-11-21 child key v1",
            Domain::Digest => "claimstore 2026-11-21 digest key v1",
            Domain::Derived => "claimstore 2026-11-21 derived key v1",
        }
    }
}

/// Hashes a list of parts. Each part follows its length (64 bits, little endian), so the list can be read back
/// from the hashed bytes, and two different lists are never the same bytes.
pub(crate) fn hash_parts<'a>(domain: Domain, parts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut hasher = Hasher::new_derive_key(domain.context());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: [u8; 32]) -> String {
        Hash::from(bytes).to_hex().to_string()
    }

    #[test]
    fn child_keys_are_what_they_were_in_the_first_release() {
        let check = |namespace, key: &[u8], step, expected: &str| {
            assert_eq!(hex(child_key(namespace, key, step)), expected, "{namespace:?} {key:?} {step:?}");
        };
        check("", b"", "", "936fe31019dbfdbe0b40bc573c8021da18b231aaa01502f48ff1bc79d146aabb");
        check(
            "prod/acme/billing",
            b"order-4711",
            "charge",
            "a44bbd3189657a9cf9a1446562b5b0b816c621c77a1753bbd92f60bcd56bffa9",
        );
        check(
            "prod/acme/billing",
            &[0xff; 1024],
            "refund",
            "66928ef77d70837e42b75e232b2256eeaf976117dad1b077c7c433e9acd3c6a0",
        );
    }

    #[test]
    fn digest_keys_are_what_they_were_in_the_first_release() {
        let check =
            |parts: &[&str], expected: &str| assert_eq!(hex(digest_key(parts)), expected, "{parts:?}");
        check(&[], "75bf1017e12accc07b633ba4359e12a83ff64b4e5983ffbdcd043f47403a6dc6");
        check(&[""], "22579d99979e1d52538c8d1aafa7ba56b3f6833073476cf212d8118e759ad9f0");
        check(
            &["erp-prod", "order", "0000471100"],
            "1fc8445830acc4e08a8b9a26ef4fb85356f3ea78add846b8e2ab74262f59eb30",
        );
    }

    #[test]
    fn the_hashed_bytes_are_as_documented() {
        let mut material = Vec::new();
        for part in ["ns", "key", "step"] {
            material.extend_from_slice(&[part.len() as u8, 0, 0, 0, 0, 0, 0, 0]);
            material.extend_from_slice(part.as_bytes());
        }
        let expected = blake3::derive_key("claimstore 2026-11-21 child key v1", &material);
        assert_eq!(child_key("ns", b"key", "step"), expected);
    }

    #[test]
    fn moving_bytes_between_namespace_key_and_step_changes_the_child_key() {
        let spread = [
            ("a", "b", "c"),
            ("ab", "", "c"),
            ("a", "bc", ""),
            ("", "abc", ""),
            ("", "", "abc"),
            ("abc", "", ""),
        ];
        let keys: HashSet<_> =
            spread.iter().map(|(namespace, key, step)| child_key(namespace, key.as_bytes(), step)).collect();
        assert_eq!(keys.len(), spread.len());
    }

    #[test]
    fn domains_are_apart() {
        let domains = [Domain::Child, Domain::Digest, Domain::Derived];
        let hashes: HashSet<_> =
            domains.iter().map(|&domain| *hash_parts(domain, [&b"x"[..], b"y", b"z"]).as_bytes()).collect();
        assert_eq!(hashes.len(), domains.len());
    }

    proptest! {
        #[test]
        fn another_step_another_child_key(namespace: String, key: Vec<u8>, one: String, other: String) {
            let same = child_key(&namespace, &key, &one) == child_key(&namespace, &key, &other);
            prop_assert_eq!(same, one == other);
        }

        #[test]
        fn other_parts_another_digest_key(
            one in prop::collection::vec("[ab]{0,2}", 0..4),
            other in prop::collection::vec("[ab]{0,2}", 0..4),
        ) {
            prop_assert_eq!(digest_key(&one) == digest_key(&other), one == other);
        }
    }
}
