//! Work that runs once per key, on any backend: [`Claims::once`], and what it returns.

use super::{Claim, Claims, Lease, SettleError};
use crate::{ClaimRequest, Error, Failure, Holder, Receipt};
use std::fmt;
use std::future::Future;

/// The outcome of [`Claims::once`].
#[must_use]
pub enum Once {
    /// The work ran now; this is its response, stored.
    Ran(Vec<u8>),
    /// It ran before; this is what it gave.
    Replayed(Receipt),
    /// Somebody is on it.
    InProgress(Holder),
}

/// Why [`Claims::once`] gave no result.
pub enum OnceError<E> {
    /// The backend refused or failed; the work did not run.
    Backend(Error),
    /// The work failed with this; the claim is up for a retry.
    Work(E),
    /// The work ran, and its response could not be stored.
    NotStored {
        /// What the work gave.
        response: Vec<u8>,
        /// Why it is not stored; holds the lease where it is still worth something.
        error: SettleError,
    },
}

impl Claims {
    /// Runs `work` once per key: claims, runs it, stores what it returns; a later call replays that. `work` is an
    /// asynchronous closure that borrows the lease. An `Err` of it puts the claim up for a retry.
    ///
    /// Nothing happens before it is polled. Dropped while it claims, it gives the claim back, and the attempt does not
    /// count. Dropped while `work` runs, or left by a panic of `work`, it abandons the claim. Dropped while the response
    /// is stored, it does not stop that. It does not keep the backend open. It is `Send` and `'static` where the closure and its future are.
    ///
    /// ```
    /// use claimstore_core::{ClaimRequest, Claims, Error, Once, OnceError};
    /// use std::time::Duration;
    ///
    /// async fn charge(claims: &Claims, order: &str) -> Result<Once, OnceError<Error>> {
    ///     let request = ClaimRequest::new(order).ttl(Duration::from_secs(86_400));
    ///     claims.once(request, async |lease| {
    ///         let _key = lease.child_key("charge"); // for the call that is awaited here
    ///         Ok(b"charged".to_vec())
    ///     }).await
    /// }
    /// ```
    pub fn once<E, F>(
        &self,
        request: ClaimRequest,
        work: F,
    ) -> impl Future<Output = Result<Once, OnceError<E>>> + use<E, F>
    where
        F: AsyncFnOnce(&Lease) -> Result<Vec<u8>, E>,
    {
        // Without what keeps the backend open.
        let claims = Claims::new(self.backend.clone(), &self.namespace);
        async move {
            let lease = match claims.claim_with(request).await.map_err(OnceError::Backend)? {
                Claim::Claimed(lease) => lease,
                Claim::Duplicate(receipt) => return Ok(Once::Replayed(receipt)),
                Claim::InProgress(holder) => return Ok(Once::InProgress(holder)),
            };
            match work(&lease).await {
                Ok(response) => match lease.complete(response.as_slice()).await {
                    Ok(()) => Ok(Once::Ran(response)),
                    Err(error) => Err(OnceError::NotStored { response, error }),
                },
                Err(error) => {
                    // The caller needs the work's own error; a claim that cannot be failed goes to its term.
                    drop(lease.fail(Failure::retry()).await);
                    Err(OnceError::Work(error))
                }
            }
        }
    }
}

/// Shows what happened and how long the response is, never the response.
impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Once::Ran(response) => f.debug_struct("Ran").field("response_bytes", &response.len()).finish(),
            Once::Replayed(receipt) => f.debug_tuple("Replayed").field(receipt).finish(),
            Once::InProgress(holder) => f.debug_tuple("InProgress").field(holder).finish(),
        }
    }
}

/// Shows how long a response is, never the response. The caller's own error shows what its type shows.
impl<E: fmt::Debug> fmt::Debug for OnceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnceError::Backend(error) => f.debug_tuple("Backend").field(error).finish(),
            OnceError::Work(error) => f.debug_tuple("Work").field(error).finish(),
            OnceError::NotStored { response, error } => f
                .debug_struct("NotStored")
                .field("response_bytes", &response.len())
                .field("error", error)
                .finish(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for OnceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnceError::Backend(error) => error.fmt(f),
            OnceError::Work(error) => error.fmt(f),
            OnceError::NotStored { error, .. } => {
                write!(f, "the work was done, its response not stored: {error}")
            }
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for OnceError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OnceError::Backend(error) => Some(error),
            OnceError::Work(error) => Some(error),
            OnceError::NotStored { error, .. } => Some(error),
        }
    }
}
