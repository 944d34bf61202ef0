//! Responses that are Serde values, stored as JSON.

use crate::claim::{Failure, Receipt};
use crate::error::{Error, ErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Responses that are Serde values. With feature `serde`.
impl Failure {
    /// Like [`terminal`](Failure::terminal), with a value as the response.
    ///
    /// Errors: [`ErrorKind::Misuse`] for a value that cannot be written as JSON.
    pub fn terminal_as<T: Serialize + ?Sized>(response: &T) -> Result<Failure, Error> {
        written(response).map(Failure::terminal)
    }
}

/// Responses that are Serde values. With feature `serde`.
impl Receipt {
    /// The response as a value, where `Lease::complete_as` stored one. Also that of a
    /// [failure](Receipt::is_failure): look there first where its type is another.
    ///
    /// Errors: [`ErrorKind::Misuse`] for a response that is no JSON text of such a value; the bytes are still there as
    /// [`response`](Receipt::response). The error does not quote them.
    pub fn response_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // The source is left out: it may quote the response.
        serde_json::from_slice(self.response())
            .map_err(|_| Error::new(ErrorKind::Misuse, "the response is no value of the wanted type"))
    }
}

/// The JSON text of a response: what a backend's `complete_as` stores.
///
/// Errors: [`ErrorKind::Misuse`] for a value that cannot be written as JSON.
pub fn written<T: Serialize + ?Sized>(response: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(response)
        .map_err(|_| Error::new(ErrorKind::Misuse, "the response cannot be written as JSON"))
}
