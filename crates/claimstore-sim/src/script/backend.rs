//! Calls of a script that go by [`Claims`], through the store as any backend.
//!
//! Such a call starts a thread of the store that leads commits. So they are for layers that go by answers, and not for
//! those that go by the order of writes on the disk.

use super::runner::Runner;
use claimstore::{Claim, ClaimRequest, Claims, Error, Lease, Namespace, Record, SettleError};
use claimstore_core::backend::Settlement;
use std::time::Duration;

/// Why a claim was not settled, and the lease where it is still worth something.
pub(super) type Unsettled = (Error, Option<Lease>);

impl Runner {
    /// From here on, every other claim, settlement and take-over goes by [`Claims`].
    pub fn go_by_claims(&mut self) {
        self.by_claims = Some(false);
    }

    /// Whether the next call does.
    fn goes_by_claims(&mut self) -> bool {
        let Some(last) = &mut self.by_claims else { return false };
        *last = !*last;
        *last
    }

    pub(super) fn claim_either_way(
        &mut self,
        space: &Namespace,
        request: ClaimRequest,
    ) -> Result<Claim, Error> {
        if !self.goes_by_claims() {
            return space.claim_with(&request);
        }
        Ok(match Claims::from(space).claim_with(request).wait()? {
            claimstore_core::Claim::Claimed(lease) => Claim::Claimed(own(lease)),
            claimstore_core::Claim::Duplicate(receipt) => Claim::Duplicate(receipt),
            claimstore_core::Claim::InProgress(holder) => Claim::InProgress(holder),
        })
    }

    pub(super) fn settle_either_way(
        &mut self,
        lease: Lease,
        settlement: Settlement,
    ) -> Result<(), Unsettled> {
        if self.goes_by_claims() {
            let settled = claimstore_core::Lease::from(lease).settle(settlement).wait();
            return settled.map_err(|refused| {
                let (error, lease) = refused.into_parts();
                (error, lease.map(own))
            });
        }
        let settled = match settlement {
            Settlement::Complete(response) => lease.complete(response),
            Settlement::Fail(failure) => lease.fail(failure),
            Settlement::Release => lease.release(),
        };
        settled.map_err(SettleError::into_parts)
    }

    pub(super) fn take_over_either_way(&mut self, orphan: &Record, term: Duration) -> Result<Lease, Error> {
        if self.goes_by_claims() {
            let lease = Claims::from(self.opened()).take_over(orphan, term).wait()?;
            return Ok(own(lease));
        }
        self.opened().take_over(orphan, term)
    }
}

/// The same lease as one of the store that granted it, which is open.
fn own(lease: claimstore_core::Lease) -> Lease {
    Lease::try_from(lease).expect("the store that granted it is open")
}
