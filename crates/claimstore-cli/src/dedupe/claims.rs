//! Claims of `dedupe` in a store.

use std::time::Duration;

use anyhow::Context as _;
use claimstore::{Claim, ClaimRequest, ErrorKind, Lease, Namespace, OnOrphan, Store};

use super::batch::{Answer, Claims};
use crate::store::rules_of;

/// The claims of one namespace of a store.
#[derive(Debug)]
pub(crate) struct StoreClaims {
    store: Store,
    namespace: Namespace,
    ttl: Duration,
}

impl StoreClaims {
    pub(crate) fn new(store: &Store, namespace: &str, ttl: Duration) -> anyhow::Result<StoreClaims> {
        // However many runs died with a record in hand, the next one may have it: nobody reviews parked records here.
        // The other rules are left as somebody set them.
        let rules = rules_of(store, namespace)?;
        let policy = rules.ttl(ttl).max_attempts(u32::MAX).max_losses(u32::MAX).on_orphan(OnOrphan::Retry);
        let namespace = store.namespace_with(namespace, policy).context("preparing the namespace")?;
        Ok(StoreClaims { store: store.clone(), namespace, ttl })
    }

    /// Sorts the answers; an error that is not about one key alone takes all claims back.
    fn sort(answers: Vec<Result<Claim, claimstore::Error>>) -> anyhow::Result<Vec<Answer<Lease>>> {
        let mut sorted = Vec::with_capacity(answers.len());
        let mut failed = None;
        for answer in answers {
            match answer {
                Ok(claim) => sorted.push(answer_of(claim)),
                Err(error) if is_about_the_key(error.kind()) => {
                    sorted.push(Answer::Refused(error.to_string()));
                }
                Err(error) => failed = Some(error),
            }
        }
        let Some(error) = failed else { return Ok(sorted) };
        for answer in sorted {
            if let Answer::Claimed { lease, .. } = answer {
                // What cannot be taken back is in doubt, as after a crash; the first error is the one to tell.
                let _ = lease.release();
            }
        }
        Err(error).context("claiming a batch")
    }
}

impl Claims for StoreClaims {
    type Lease = Lease;

    fn claim(&self, keys: &[&[u8]]) -> anyhow::Result<Vec<Answer<Lease>>> {
        let requests: Vec<_> = keys.iter().map(|key| ClaimRequest::new(key).ttl(self.ttl)).collect();
        StoreClaims::sort(self.namespace.claim_many(&requests).context("claiming a batch")?)
    }

    fn complete(&self, leases: Vec<Lease>) -> anyhow::Result<()> {
        if leases.is_empty() {
            return Ok(());
        }
        let settlements = leases.into_iter().map(|lease| (lease, Vec::new())).collect();
        for result in self.store.complete_many(settlements).context("completing a batch")? {
            result.context("completing a claim")?;
        }
        Ok(())
    }

    fn release(&self, leases: Vec<Lease>) -> anyhow::Result<()> {
        leases.into_iter().try_for_each(|lease| lease.release().context("releasing a claim"))
    }
}

fn answer_of(claim: Claim) -> Answer<Lease> {
    match claim {
        // A release takes its attempt back, so a doubt means that an earlier run did not get to the end.
        Claim::Claimed(lease) => Answer::Claimed { in_doubt: lease.in_doubt(), lease },
        Claim::Duplicate(_) => Answer::Duplicate,
        Claim::InProgress(_) => Answer::Refused("its event is in progress elsewhere".into()),
    }
}

fn is_about_the_key(kind: ErrorKind) -> bool {
    use ErrorKind::{FutureKey, InvalidKey, Parked, PayloadMismatch, TooLarge, TooOld};
    matches!(kind, Parked | PayloadMismatch | TooOld | FutureKey | InvalidKey | TooLarge)
}
