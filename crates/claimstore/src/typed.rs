//! Responses that are Serde values, stored as JSON.

#[cfg(doc)]
use crate::claim::Receipt;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::future::SettleFuture;
use crate::lease::{Lease, SettleError};
use claimstore_core::typed::written;
use serde::Serialize;

/// Responses that are Serde values. With feature `serde`.
impl Lease {
    /// Like [`complete`](Lease::complete), with a value as the response: its JSON text is stored.
    ///
    /// [`Receipt::response_as`] reads it back. What is stored is read by later versions of the program: give the type
    /// what Serde offers for that (`#[serde(default)]`), as for any stored value.
    ///
    /// Errors: [`ErrorKind::Misuse`] for a value that cannot be written as JSON; nothing happened, and the lease comes
    /// back.
    ///
    /// ```
    /// # fn main() -> Result<(), claimstore::Error> {
    /// use claimstore::{Claim, Store};
    /// use std::time::Duration;
    ///
    /// let store = Store::in_memory()?;
    /// let day = Duration::from_secs(86_400);
    /// if let Claim::Claimed(lease) = store.claim("invoice-2026-003", day)? {
    ///     lease.complete_as(&("posted", 90_017))?;
    /// }
    /// let Claim::Duplicate(receipt) = store.claim("invoice-2026-003", day)? else { panic!() };
    /// assert_eq!(receipt.response_as::<(String, u32)>()?, ("posted".to_owned(), 90_017));
    /// # store.close() }
    /// ```
    pub fn complete_as<T: Serialize + ?Sized>(self, response: &T) -> Result<(), SettleError> {
        match written(response) {
            Ok(response) => self.complete(response),
            Err(error) => Err(SettleError::new(error, self)),
        }
    }

    /// Like [`complete_as`](Lease::complete_as), as a future. Dropping the future does not stop the settlement.
    pub fn complete_as_async<T: Serialize + ?Sized>(self, response: &T) -> SettleFuture {
        match written(response) {
            Ok(response) => self.complete_async(response),
            Err(error) => SettleFuture::refused(SettleError::new(error, self)),
        }
    }
}
