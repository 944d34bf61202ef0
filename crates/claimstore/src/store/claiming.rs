//! The calls of the default namespace, on the store itself.

use super::Store;
use crate::claim::{Claim, ClaimRequest};
use crate::error::Error;
use crate::future::{ClaimFuture, ClaimManyFuture, WaitFuture};
use crate::lease::Lease;
#[cfg(doc)]
use crate::namespace::Namespace;
use crate::namespace::{Once, OnceError};
use crate::queued::CommitFuture;
use crate::transact::{Transacted, Transaction};
use crate::transacting::TransactFuture;
use crate::view::Record;
use std::time::Duration;

/// The default namespace; each call exists on [`Namespace`] too.
impl Store {
    /// Claims `key`, to be remembered for `ttl` after it resolved. The one question.
    pub fn claim(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Claim, Error> {
        self.default.claim(key, ttl)
    }

    /// See [`Namespace::claim_with`].
    pub fn claim_with(&self, request: &ClaimRequest) -> Result<Claim, Error> {
        self.default.claim_with(request)
    }

    /// See [`Namespace::claim_or_wait`].
    pub fn claim_or_wait(&self, request: &ClaimRequest, limit: Duration) -> Result<Claim, Error> {
        self.default.claim_or_wait(request, limit)
    }

    /// See [`Namespace::claim_many`].
    pub fn claim_many(&self, requests: &[ClaimRequest]) -> Result<Vec<Result<Claim, Error>>, Error> {
        self.default.claim_many(requests)
    }

    /// See [`Namespace::claim_async`].
    pub fn claim_async(&self, request: &ClaimRequest) -> ClaimFuture {
        self.default.claim_async(request)
    }

    /// See [`Namespace::claim_many_async`].
    pub fn claim_many_async(&self, requests: &[ClaimRequest]) -> ClaimManyFuture {
        self.default.claim_many_async(requests)
    }

    /// See [`Namespace::claim_or_wait_async`].
    pub fn claim_or_wait_async(&self, request: &ClaimRequest, limit: Duration) -> WaitFuture {
        self.default.claim_or_wait_async(request, limit)
    }

    /// See [`Namespace::once`].
    pub fn once<E>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        work: impl FnOnce(&Lease) -> Result<Vec<u8>, E>,
    ) -> Result<Once, OnceError<E>> {
        self.default.once(key, ttl, work)
    }

    /// See [`Namespace::once_async`].
    pub fn once_async<E, F>(
        &self,
        request: &ClaimRequest,
        work: F,
    ) -> impl Future<Output = Result<Once, OnceError<E>>> + use<E, F>
    where
        F: AsyncFnOnce(&Lease) -> Result<Vec<u8>, E>,
    {
        self.default.once_async(request, work)
    }

    /// See [`Namespace::transact`].
    pub fn transact<F>(&self, request: &ClaimRequest, work: F) -> Result<Transacted, Error>
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error>,
    {
        self.default.transact(request, work)
    }

    /// See [`Namespace::transact_async`].
    pub fn transact_async<F>(&self, request: &ClaimRequest, work: F) -> TransactFuture
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error> + Send + 'static,
    {
        self.default.transact_async(request, work)
    }

    /// See [`Namespace::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Record>, Error> {
        self.default.get(key)
    }

    /// See [`Namespace::get_async`].
    pub fn get_async(&self, key: impl AsRef<[u8]>) -> CommitFuture<Option<Record>> {
        self.default.get_async(key)
    }

    /// See [`Namespace::forget`].
    pub fn forget(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.default.forget(key)
    }

    /// See [`Namespace::forget_async`].
    pub fn forget_async(&self, key: impl AsRef<[u8]>) -> CommitFuture<bool> {
        self.default.forget_async(key)
    }
}
