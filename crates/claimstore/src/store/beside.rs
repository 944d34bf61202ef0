//! What a store has beside claims: streams, tables of the caller's, the key of its fingerprints.

use super::Store;
use crate::bucket::check_table_name;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
#[cfg(doc)]
use crate::lease::Lease;
use crate::sequence::Sequence;
use crate::sync::Arc;
use crate::task::TaskFuture;
use crate::transact::Table;
use claimstore_hash::Fingerprinter;

impl Store {
    /// A table of your own, as [`transact`](Store::transact) and [`Lease::complete_in`] wrote it.
    pub fn table(&self, name: &str) -> Result<Table, Error> {
        self.engine().check_open()?;
        check_table_name(name)?;
        Ok(Table::new(self.engine(), name))
    }

    /// The stream `name` (1 to 1,024 bytes), made if there is none: one durable value for a stream of numbered
    /// messages in the place of a key for each. Durable when it returns.
    ///
    /// Streams lie in a namespace of the store's own, `claimstore/sequences`, which cannot be opened by its name and
    /// is not listed by [`scan`](Store::scan) or [`orphans`](Store::orphans). Blocks; not to be called from a waker.
    pub fn sequence(&self, name: impl AsRef<[u8]>) -> Result<Sequence, Error> {
        let stream = self.engine().stream(name.as_ref())?;
        Ok(Sequence::new(self.engine(), stream))
    }

    /// Like [`sequence`](Store::sequence), as a future.
    pub fn sequence_async(&self, name: impl AsRef<[u8]>) -> TaskFuture<Sequence> {
        let name: Box<[u8]> = name.as_ref().into();
        let engine = Arc::downgrade(self.engine());
        self.engine().run_elsewhere(move |_| {
            let closed = || Error::new(ErrorKind::Closed, "the store was closed");
            let engine = engine.upgrade().ok_or_else(closed)?;
            let stream = engine.stream(&name)?;
            Ok(Sequence::new(&engine, stream))
        })
    }

    /// Makes fingerprints under this store's own random key, which nobody else has.
    ///
    /// The key is made at the first call and durable before any fingerprint of it exists. It lies in a file of its
    /// own in the store's directory, `fingerprint.key`, readable by its owner alone, and is the same for ever. A
    /// leaked copy of the *whole* directory includes it; a [`backup`](Store::backup) does not, nor does anything
    /// else that the store writes. Who wants the key elsewhere altogether keeps it there and uses
    /// [`Fingerprinter::with_key`](claimstore_hash::Fingerprinter::with_key).
    ///
    /// Errors: [`ErrorKind::Corrupt`] for a damaged key file, [`ErrorKind::TooNew`] for one of a later version,
    /// [`ErrorKind::Io`] or [`ErrorKind::Full`] if it cannot be read or made; the store itself goes on.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use claimstore::{ClaimRequest, ErrorKind, Store};
    ///
    /// let store = Store::in_memory()?;
    /// let fingerprinter = store.fingerprinter()?;
    /// let order = ClaimRequest::new("order-4711").fingerprint(fingerprinter.json(br#"{"amount":100}"#)?);
    /// store.claim_with(&order)?.claimed().unwrap().complete("posted")?;
    ///
    /// let other = ClaimRequest::new("order-4711").fingerprint(fingerprinter.json(br#"{"amount":999}"#)?);
    /// assert_eq!(store.claim_with(&other).unwrap_err().kind(), ErrorKind::PayloadMismatch);
    /// # Ok(()) }
    /// ```
    pub fn fingerprinter(&self) -> Result<Fingerprinter, Error> {
        self.engine().fingerprinter()
    }

    /// Like [`fingerprinter`](Store::fingerprinter), as a future.
    pub fn fingerprinter_async(&self) -> TaskFuture<Fingerprinter> {
        self.engine().run_elsewhere(Engine::fingerprinter)
    }
}
