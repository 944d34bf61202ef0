//! Makers of fingerprints, and of the seals of lease tokens, under the store's own key.

use super::Engine;
use crate::error::Error;
use claimstore_hash::{Fingerprinter, Sealer};

impl Engine {
    /// A fingerprinter with the store's key, which is created if there is none yet.
    pub(crate) fn fingerprinter(&self) -> Result<Fingerprinter, Error> {
        self.secret().map(Fingerprinter::with_key)
    }

    /// What seals lease tokens, with a key derived from the store's key, which is created if there is none yet.
    pub(crate) fn sealer(&self) -> Result<Sealer, Error> {
        self.secret().map(|secret| Sealer::new(&secret))
    }

    /// The same; `None` where the store has no key, and so has sealed nothing.
    pub(crate) fn known_sealer(&self) -> Result<Option<Sealer>, Error> {
        self.check_open()?;
        Ok(self.fingerprint_key.known()?.map(|secret| Sealer::new(&secret)))
    }

    fn secret(&self) -> Result<[u8; 32], Error> {
        self.check_open()?;
        if !self.fingerprint_key.is_asked() && !self.read_only {
            // Before the lock is taken: if the files are lost, this calls wakers, and a waker may come here.
            self.check_all_owned()?;
        }
        self.fingerprint_key.get(|| self.check_writable())
    }
}
