//! Makers of fingerprints under the store's own key.

use super::Engine;
use crate::error::Error;
use claimstore_hash::Fingerprinter;

impl Engine {
    /// A maker of fingerprints under the store's key, made now if there is none yet.
    pub(crate) fn fingerprinter(&self) -> Result<Fingerprinter, Error> {
        self.check_open()?;
        if !self.fingerprint_key.is_asked() && !self.read_only {
            // Before the key's lock is held for long: where the files are lost, this wakes callers, whose wakers may
            // come here.
            self.check_all_owned()?;
        }
        let key = self.fingerprint_key.get(|| self.check_writable())?;
        Ok(Fingerprinter::with_key(key))
    }
}
