//! The HTTP status of a refusal.

use super::ErrorKind;

/// The HTTP status to answer with when a call is refused with `kind`: for handlers of your own.
///
/// | status | kinds |
/// |---|---|
/// | 400 Bad Request | [`FutureKey`](ErrorKind::FutureKey), [`InvalidKey`](ErrorKind::InvalidKey), [`InvalidToken`](ErrorKind::InvalidToken), [`Misuse`](ErrorKind::Misuse) |
/// | 409 Conflict | [`Parked`](ErrorKind::Parked), [`StaleLease`](ErrorKind::StaleLease) |
/// | 412 Precondition Failed | [`TooOld`](ErrorKind::TooOld) |
/// | 413 Content Too Large | [`TooLarge`](ErrorKind::TooLarge) |
/// | 422 Unprocessable Content | [`PayloadMismatch`](ErrorKind::PayloadMismatch) |
/// | 503 Service Unavailable | [`Overloaded`](ErrorKind::Overloaded), [`Full`](ErrorKind::Full), [`AlreadyOpen`](ErrorKind::AlreadyOpen), [`Closed`](ErrorKind::Closed), [`Poisoned`](ErrorKind::Poisoned) |
/// | 500 Internal Server Error | the rest, kinds of later versions included |
///
/// A profile of HTTP may say otherwise: the IETF draft on the `Idempotency-Key` header is often served with 422 for
/// `TooOld`. [`Indeterminate`](ErrorKind::Indeterminate) is 500: nobody knows whether it happened.
///
/// ```
/// use claimstore_core::{ErrorKind, http_status};
///
/// assert_eq!(http_status(ErrorKind::PayloadMismatch), 422);
/// assert_eq!(http_status(ErrorKind::Indeterminate), 500);
/// ```
pub fn http_status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::PayloadMismatch => 422,
        ErrorKind::TooOld => 412,
        ErrorKind::FutureKey | ErrorKind::InvalidKey | ErrorKind::InvalidToken | ErrorKind::Misuse => 400,
        ErrorKind::Parked | ErrorKind::StaleLease => 409,
        ErrorKind::TooLarge => 413,
        ErrorKind::Overloaded
        | ErrorKind::Full
        | ErrorKind::AlreadyOpen
        | ErrorKind::Closed
        | ErrorKind::Poisoned => 503,
        ErrorKind::Indeterminate
        | ErrorKind::Corrupt
        | ErrorKind::TooNew
        | ErrorKind::Io
        | ErrorKind::Caller => 500,
    }
}
