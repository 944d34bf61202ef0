//! [`LeaseToken`]: the right to settle a claim, as data.

use crate::codec::{Cursor, put_bytes};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
#[cfg(doc)]
use crate::lease::Lease;
use crate::planted;
use crate::sync::Weak;
use claimstore_hash::{Seal, Sealer};
use std::fmt;

const MAGIC: &[u8; 4] = b"clt2";

/// The right to settle a claim, as data: namespace, key and token. [`Store::resume`](crate::Store::resume) makes a
/// [`Lease`] of it.
///
/// Its bytes carry a seal under a key of the store, so that nobody can make or change one. Two tokens are equal when
/// they name the same claim.
#[derive(Clone)]
#[must_use = "without the token nobody can settle the claim before its term"]
pub struct LeaseToken {
    pub(crate) space: Box<str>,
    pub(crate) key: Box<[u8]>,
    pub(crate) token: u64,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// It has not left this process since [`Lease::into_token`]: nobody could have forged it.
    Here { engine: Weak<Engine>, store_id: [u8; 16] },
    /// It may come from anywhere.
    Sealed(Seal),
}

impl LeaseToken {
    /// A token that is good in this process, and gets its seal when it is turned into bytes.
    pub(crate) fn here(engine: Weak<Engine>, store_id: [u8; 16], named: Named<'_>) -> LeaseToken {
        named.token(Origin::Here { engine, store_id })
    }

    /// A token that is good wherever the store is opened.
    pub(crate) fn sealed(sealer: &Sealer, named: Named<'_>) -> LeaseToken {
        let seal = sealer.seal(&named.to_bytes());
        named.token(Origin::Sealed(seal))
    }

    /// The fencing token.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// The token as bytes, to carry it to another process. They contain namespace and key, which the seal does not
    /// hide.
    ///
    /// The bytes of a token of [`Lease::into_token`] are sealed here, and the first seal of a store makes the key: see
    /// [`Store::fingerprinter`](crate::Store::fingerprinter). Where that fails, or the store is closed, the bytes have no
    /// valid seal, and [`resume`](crate::Store::resume) refuses them as [`ErrorKind::InvalidToken`]. A token of
    /// [`Lease::detach`] has its seal already.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.named().to_bytes();
        let seal = match &self.origin {
            Origin::Sealed(seal) => seal.to_bytes(),
            Origin::Here { engine, .. } => {
                let sealer = engine.upgrade().and_then(|engine| engine.sealer().ok());
                sealer.map_or([0; Seal::BYTES], |sealer| sealer.seal(&bytes).to_bytes())
            }
        };
        bytes.extend_from_slice(&seal);
        bytes
    }

    /// Reads what [`to_bytes`](LeaseToken::to_bytes) wrote. Only the shape is checked here: whether the seal is right,
    /// [`Store::resume`](crate::Store::resume) says.
    ///
    /// Errors: [`ErrorKind::Misuse`] for bytes of another shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<LeaseToken, Error> {
        let read = || {
            let mut cursor = Cursor::new(bytes);
            if cursor.take(4, "token magic").ok()? != MAGIC {
                return None;
            }
            let token = cursor.u64("token").ok()?;
            let space = std::str::from_utf8(cursor.bytes("namespace").ok()?).ok()?;
            let key = cursor.bytes("key").ok()?;
            let seal: [u8; Seal::BYTES] = cursor.array("seal").ok()?;
            cursor.finish("token end").ok()?;
            Some(Named { space, key, token }.token(Origin::Sealed(Seal::from_bytes(&seal))))
        };
        read().ok_or_else(|| Error::new(ErrorKind::Misuse, "these bytes are not a lease token"))
    }

    /// Whether the store of `engine` made it, and nobody changed it since.
    pub(crate) fn check(&self, engine: &Engine) -> Result<(), Error> {
        let invalid =
            || Error::new(ErrorKind::InvalidToken, "the lease token is forged, damaged or of another store");
        let seal = match &self.origin {
            // Of another opening of the same store it is stale, which the claim itself tells.
            Origin::Here { store_id, .. } => {
                return if *store_id == engine.store_id { Ok(()) } else { Err(invalid()) };
            }
            Origin::Sealed(seal) => seal,
        };
        if planted::active(99) {
            return Ok(());
        }
        // A store that never made a key never sealed anything: a look makes none.
        let sealer = engine.known_sealer()?.ok_or_else(invalid)?;
        if sealer.accepts(&self.named().to_bytes(), seal) { Ok(()) } else { Err(invalid()) }
    }

    fn named(&self) -> Named<'_> {
        Named { space: &self.space, key: &self.key, token: self.token }
    }
}

/// What a token names.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) space: &'a str,
    pub(crate) key: &'a [u8],
    pub(crate) token: u64,
}

impl Named<'_> {
    fn token(self, origin: Origin) -> LeaseToken {
        LeaseToken { space: self.space.into(), key: self.key.into(), token: self.token, origin }
    }

    /// The bytes that are sealed.
    fn to_bytes(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.token.to_le_bytes());
        put_bytes(self.space.as_bytes(), &mut out);
        put_bytes(self.key, &mut out);
        out
    }
}

impl PartialEq for LeaseToken {
    fn eq(&self, other: &LeaseToken) -> bool {
        (&self.space, &self.key, self.token) == (&other.space, &other.key, other.token)
    }
}

impl Eq for LeaseToken {}

/// Shows the token, never the key or the seal.
impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseToken").field("token", &self.token).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
