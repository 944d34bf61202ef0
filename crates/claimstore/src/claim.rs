//! [`Claim`]: the answer that may hold a lease.

use crate::lease::Lease;
pub(crate) use claimstore_core::claim::{ClaimRequest, Failure, FailureClass, Holder, Receipt};

/// The answer to "may I do this work?".
#[derive(Debug)]
#[must_use = "an answer that is not looked at is work done twice or never"]
pub enum Claim {
    /// It is yours to do. Settle the lease when it is done.
    Claimed(Lease),
    /// It has been done; here is the result.
    Duplicate(Receipt),
    /// Somebody is on it, or it may not be tried again yet.
    InProgress(Holder),
}

impl Claim {
    /// The lease, if the claim was granted.
    pub fn claimed(self) -> Option<Lease> {
        match self {
            Claim::Claimed(lease) => Some(lease),
            Claim::Duplicate(_) | Claim::InProgress(_) => None,
        }
    }
}
