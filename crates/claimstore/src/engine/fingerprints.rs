//! Makers of fingerprints under the store's own key.

use super::Engine;
use crate::error::Error;
use claimstore_hash::Fingerprinter;

impl Engine {
    /// A fingerprinter with the store's key, which is created if there is none yet.
    pub(crate) fn fingerprinter(&self) -> Result<Fingerprinter, Error> {
        self.check_open()?;
        if !self.fingerprint_key.is_asked() && !self.read_only {
            // Before the lock is taken: if the files are lost, this calls wakers, and a waker may come here.
            self.check_all_owned()?;
        }
        let key = self.fingerprint_key.get(|| self.check_writable())?;
        Ok(Fingerprinter::with_key(key))
    }
}
