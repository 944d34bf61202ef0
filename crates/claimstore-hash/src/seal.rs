//! Seals: proof that bytes which a caller brings back are those that were given out.

use crate::mac::{Algorithm, Mac, Purpose, derive_key};
use std::fmt;

const ID_BYTES: usize = 8;
const MAC_BYTES: usize = 16;

/// Makes and checks seals with one key.
///
/// The key is derived from a secret by BLAKE3, for this purpose alone, so a secret that also makes
/// [fingerprints](crate::Fingerprinter::with_key) may be used. A seal authenticates bytes; it does not hide them.
///
/// ```
/// use claimstore_hash::Sealer;
///
/// let sealer = Sealer::new(&[7; 32]); // 32 random bytes, kept somewhere safe
/// let seal = sealer.seal(b"ticket 17");
/// assert!(sealer.accepts(b"ticket 17", &seal));
/// assert!(!sealer.accepts(b"ticket 18", &seal));
/// assert!(!Sealer::new(&[8; 32]).accepts(b"ticket 17", &seal));
/// ```
#[derive(Clone)]
pub struct Sealer {
    id: [u8; ID_BYTES],
    key: [u8; 32],
}

/// The seal of some bytes: the id of the key, and a keyed hash of 128 bits.
#[derive(Clone, Copy)]
pub struct Seal {
    id: [u8; ID_BYTES],
    mac: [u8; MAC_BYTES],
}

impl Sealer {
    /// A sealer whose key is derived from `secret`.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Sealer {
        let id = derive_key(Algorithm::Blake3, Purpose::SealId, secret);
        Sealer { id: first(&id), key: derive_key(Algorithm::Blake3, Purpose::Seal, secret) }
    }

    /// The seal of `bytes`.
    #[must_use]
    pub fn seal(&self, bytes: &[u8]) -> Seal {
        let mut mac = Mac::new(Algorithm::Blake3, &self.key);
        mac.update(&self.id);
        mac.update(bytes);
        Seal { id: self.id, mac: first(&mac.finish()) }
    }

    /// Whether `seal` is that of `bytes` under this key. Takes the same time for every seal.
    #[must_use]
    pub fn accepts(&self, bytes: &[u8], seal: &Seal) -> bool {
        let expected = self.seal(bytes).to_bytes();
        let pairs = expected.iter().zip(seal.to_bytes());
        pairs.fold(0, |differing, (one, other)| differing | (one ^ other)) == 0
    }

    /// Names the key, without a hint of what it is. Where several keys are in use, this says which one made a seal.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }
}

impl Seal {
    /// The length of [`to_bytes`](Seal::to_bytes).
    pub const BYTES: usize = ID_BYTES + MAC_BYTES;

    /// Id and hash as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Seal::BYTES] {
        let mut bytes = [0; Seal::BYTES];
        let (id, mac) = bytes.split_at_mut(ID_BYTES);
        id.copy_from_slice(&self.id);
        mac.copy_from_slice(&self.mac);
        bytes
    }

    /// Reads what [`to_bytes`](Seal::to_bytes) wrote. Any bytes are some seal.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Seal::BYTES]) -> Seal {
        let (id, mac) = bytes.split_at(ID_BYTES);
        Seal { id: first(id), mac: first(mac) }
    }

    /// The id of the key it was made with.
    #[must_use]
    pub fn key_id(&self) -> [u8; 8] {
        self.id
    }
}

/// The first `N` bytes, or zeros behind them where there are not so many.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    taken.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    taken
}

/// Shows nothing: neither the key nor its id.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

/// Shows nothing.
impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Seal, Sealer};
    use crate::hex::hex;
    use proptest::prelude::*;

    #[test]
    fn a_seal_never_changes() {
        let seal = Sealer::new(&[7; 32]).seal(b"ticket 17");
        assert_eq!(hex(&seal.to_bytes()), "35f67fa395e828b1a03eb4bcefde9e92387e17c859f7c1c0");
    }

    #[test]
    fn a_seal_is_a_keyed_hash_of_id_and_bytes() {
        let key = blake3::derive_key("claimstore 2026-11-29 seal v1", &[7; 32]);
        let id = &blake3::derive_key("claimstore 2026-11-29 seal id v1", &[7; 32])[..8];
        let mac = blake3::keyed_hash(&key, &[id, b"ticket 17"].concat());
        let expected = [id, &mac.as_bytes()[..16]].concat();
        assert_eq!(Sealer::new(&[7; 32]).seal(b"ticket 17").to_bytes().to_vec(), expected);
    }

    proptest! {
        #[test]
        fn any_other_bit_is_another_seal(secret: [u8; 32], bytes: Vec<u8>, at: prop::sample::Index) {
            let sealer = Sealer::new(&secret);
            let seal = sealer.seal(&bytes);
            prop_assert!(sealer.accepts(&bytes, &seal));
            prop_assert_eq!(Seal::from_bytes(&seal.to_bytes()).key_id(), sealer.id());
            let mut all = [&seal.to_bytes()[..], &bytes].concat();
            let bit = at.index(all.len() * 8);
            all[bit / 8] ^= 1 << (bit % 8);
            let (seal, bytes) = all.split_at(Seal::BYTES);
            prop_assert!(!sealer.accepts(bytes, &Seal::from_bytes(&seal.try_into().unwrap())));
        }
    }
}
