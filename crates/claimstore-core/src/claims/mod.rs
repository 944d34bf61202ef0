//! [`Claims`]: a namespace of any backend, and what its calls return.

mod lease;
mod once;
mod records;
mod working;

pub use lease::{CompleteManyError, Lease, SettleError};
pub use once::{Once, OnceError};
pub use records::Records;
pub use working::Working;

use crate::backend::{Answer, Backend, Held, Settlement};
use crate::{ClaimRequest, Error, ErrorKind, Filter, Holder, Pending, Policy, Receipt, Record};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

/// A namespace of any backend: the embedded store, PostgreSQL, Redis. Clones are the same namespace.
///
/// The calls return a [`Pending`]: `.await` it in any runtime, or call [`wait`](Pending::wait) to block this thread. A
/// claim that is dropped before it gave its result is given back and counts as no attempt. Settlements are on their way
/// when the call returns.
///
/// ```
/// use claimstore_core::{Claim, Claims, Error};
/// use std::time::Duration;
///
/// async fn pay(claims: &Claims) -> Result<(), Error> {
///     match claims.claim("order-4711/paid", Duration::from_secs(86_400)).await? {
///         Claim::Claimed(lease) => lease.complete("receipt 17").await?,
///         Claim::Duplicate(receipt) => println!("done before: {:?}", receipt.response()),
///         Claim::InProgress(holder) => println!("ask again in {:?}", holder.retry_after()),
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Claims {
    backend: Arc<dyn Backend>,
    namespace: Arc<str>,
    /// Dropped with the last clone: what keeps the backend open.
    _open: Option<Arc<dyn Any + Send + Sync>>,
}

impl Claims {
    /// The namespace `namespace` of `backend`. Its policy is the stored one: see [`define`](Claims::define).
    pub fn new(backend: Arc<dyn Backend>, namespace: &str) -> Claims {
        Claims { backend, namespace: namespace.into(), _open: None }
    }

    /// The same, which keeps `handle` until the last clone is dropped: for a backend that closes when its last handle is
    /// gone. Leases do not keep it.
    #[must_use]
    pub fn keeping(self, handle: impl Send + Sync + 'static) -> Claims {
        Claims { _open: Some(Arc::new(handle)), ..self }
    }

    /// Another namespace of the same backend.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Claims {
        Claims { namespace: name.into(), ..self.clone() }
    }

    /// The name of the namespace; empty for the default one.
    pub fn name(&self) -> &str {
        &self.namespace
    }

    /// The backend.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Gives the namespace a policy for later claims; see [`Backend::define`].
    pub fn define(&self, policy: Policy) -> Pending<Policy> {
        self.backend.define(&self.namespace, Some(policy))
    }

    /// The stored policy; the namespace is created with the default one if it does not exist.
    pub fn policy(&self) -> Pending<Policy> {
        self.backend.define(&self.namespace, None)
    }

    /// May I do the work named `key`? Its result is remembered for `ttl` after it resolved.
    pub fn claim(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Pending<Claim> {
        self.claim_with(ClaimRequest::new(key).ttl(ttl))
    }

    /// The same, with the policy's ttl.
    pub fn claim_default(&self, key: impl AsRef<[u8]>) -> Pending<Claim> {
        self.claim_with(ClaimRequest::new(key))
    }

    /// The same question in its long form.
    pub fn claim_with(&self, request: ClaimRequest) -> Pending<Claim> {
        let (backend, given) = (self.backend.clone(), request.key().into());
        let answers = self.backend.claim(&self.namespace, vec![request]);
        Pending::new(async move {
            let answer = answers.await?.pop().ok_or_else(no_answer)??;
            Ok(handed_out(&backend, given, answer))
        })
    }

    /// Claims several keys in one commit. Result `i` is for request `i`; a later repeat of a key in the batch is
    /// [`InProgress`](Claim::InProgress) of the first.
    ///
    /// The outer error: no item was decided, or [`Indeterminate`](crate::ErrorKind::Indeterminate) for all.
    pub fn claim_many(&self, requests: Vec<ClaimRequest>) -> Pending<Vec<Result<Claim, Error>>> {
        let backend = self.backend.clone();
        let given: Vec<Box<[u8]>> = requests.iter().map(|request| request.key().into()).collect();
        let answers = self.backend.claim(&self.namespace, requests);
        Pending::new(async move {
            let answers = answers.await?;
            let hand_out = |(answer, given): (Result<Answer, Error>, _)| {
                answer.map(|answer| handed_out(&backend, given, answer))
            };
            Ok(answers.into_iter().zip(given).map(hand_out).collect())
        })
    }

    /// Claims a key, waiting up to `limit` while somebody else holds it; see [`Backend::claim_or_wait`].
    pub fn claim_or_wait(&self, request: ClaimRequest, limit: Duration) -> Pending<Claim> {
        let (backend, given) = (self.backend.clone(), request.key().into());
        let answer = self.backend.claim_or_wait(&self.namespace, request, limit);
        Pending::new(async move { Ok(handed_out(&backend, given, answer.await?)) })
    }

    /// Completes several claims in one commit; result `i` is for item `i`. No path loses a lease.
    pub fn complete_many(
        &self,
        mut items: Vec<(Lease, Vec<u8>)>,
    ) -> Pending<Vec<Result<(), SettleError>>, CompleteManyError> {
        if !items.iter().all(|(lease, _)| lease.is_of(&self.backend)) {
            let error = Error::new(ErrorKind::Misuse, "a lease is of another store");
            return Pending::done(Err(CompleteManyError::new(error, items)));
        }
        let settlements = items
            .iter_mut()
            .map(|(lease, response)| {
                lease.disarm();
                (lease.held().clone(), Settlement::Complete(response.clone()))
            })
            .collect();
        let settled = self.backend.settle(settlements);
        Pending::new(async move {
            let verdicts = match settled.await {
                Ok(verdicts) => verdicts,
                Err(error) => return Err(CompleteManyError::new(error, items)),
            };
            let end = |((lease, _), verdict): ((Lease, Vec<u8>), Result<(), Error>)| {
                verdict.map_err(|error| SettleError::new(error, lease))
            };
            Ok(items.into_iter().zip(verdicts).map(end).collect())
        })
    }

    /// Takes up a claim again by what [`Lease::into_held`] or [`Lease::detach`] gave.
    pub fn resume(&self, held: &Held) -> Pending<Lease> {
        let backend = self.backend.clone();
        let granted = self.backend.resume(&held.namespace, &held.key, held.token);
        Pending::new(async move { Ok(Lease::new(backend, granted.await?, None)) })
    }

    /// What is known of a key; `None` when it is unknown or expired.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Pending<Option<Record>> {
        self.backend.get(&self.namespace, key.as_ref())
    }

    /// Makes a key unknown, whatever it is; its lease becomes stale. Returns whether it was known.
    pub fn forget(&self, key: impl AsRef<[u8]>) -> Pending<bool> {
        self.backend.forget(&self.namespace, key.as_ref())
    }

    /// The records of this namespace that `filter` shows.
    pub fn scan(&self, filter: Filter) -> Records {
        Records::new(self.backend.scan(filter.namespace(&self.namespace)))
    }

    /// Takes over an orphan that [`Backend::orphans`] showed, to find out what became of its work; see
    /// [`Backend::take_over`].
    pub fn take_over(&self, orphan: &Record, lease: Duration) -> Pending<Lease> {
        let backend = self.backend.clone();
        let granted = self.backend.take_over(orphan, lease);
        Pending::new(async move { Ok(Lease::new(backend, granted.await?, None)) })
    }
}

/// Shows what the backend is, and no name: a namespace may be named after a customer.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl From<&Claims> for Claims {
    fn from(claims: &Claims) -> Claims {
        claims.clone()
    }
}

fn handed_out(backend: &Arc<dyn Backend>, given: Box<[u8]>, answer: Answer) -> Claim {
    match answer {
        Answer::Claimed(grant) => {
            let given = (*grant.held.key != *given).then_some(given);
            Claim::Claimed(Lease::new(backend.clone(), grant, given))
        }
        Answer::Duplicate(receipt) => Claim::Duplicate(receipt),
        Answer::InProgress(holder) => Claim::InProgress(holder),
    }
}

/// A backend that answers fewer requests than it was asked is at fault; nothing may be concluded from that.
fn no_answer() -> Error {
    Error::new(ErrorKind::Indeterminate, "the backend gave no answer for the request")
}
