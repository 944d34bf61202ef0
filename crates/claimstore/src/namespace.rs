//! [`Namespace`]: a key space of a store, and the calls that name a key.

use crate::claim::{Claim, ClaimRequest, Holder, Receipt};
use crate::engine::Engine;
use crate::engine::claims::Answer;
use crate::engine::commit::Waits;
use crate::engine::spaces::Space;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::future::{ClaimFuture, ClaimManyFuture, WaitFuture};
use crate::import::{Import, Imported};
use crate::lease::{Lease, SettleError};
use crate::policy::Policy;
use crate::queued::CommitFuture;
use crate::store::Handle;
use crate::sync::Arc;
use crate::task::TaskFuture;
use crate::transact::{Transacted, Transaction};
use crate::transacting::TransactFuture;
use crate::view::Record;
use claimstore_hash::KeyPart;
use std::fmt;
use std::time::Duration;

/// A key space of its own, with its own policy. Keeps the store open like
/// [`Store`](crate::Store).
#[derive(Clone)]
pub struct Namespace {
    pub(crate) handle: Arc<Handle>,
    pub(crate) space: Arc<Space>,
}

/// The outcome of [`Store::once`](crate::Store::once).
#[must_use]
pub enum Once {
    /// The closure ran now; this is its response, stored.
    Ran(Vec<u8>),
    /// It ran before; this is what it gave.
    Replayed(Receipt),
    /// Somebody is on it.
    InProgress(Holder),
}

/// Why [`Store::once`](crate::Store::once) gave no answer.
pub enum OnceError<E> {
    /// The store refused or failed; the closure did not run.
    Store(Error),
    /// The closure failed with this; the claim is up for a retry.
    Work(E),
    /// The closure ran, and its response could not be stored.
    NotStored {
        /// What the closure gave.
        response: Vec<u8>,
        /// Why it is not stored; holds the lease where it is still worth something.
        error: SettleError,
    },
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
            OnceError::Store(error) => f.debug_tuple("Store").field(error).finish(),
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
            OnceError::Store(error) => error.fmt(f),
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
            OnceError::Store(error) => Some(error),
            OnceError::Work(error) => Some(error),
            OnceError::NotStored { error, .. } => Some(error),
        }
    }
}

impl Namespace {
    pub(crate) fn new(handle: Arc<Handle>, space: Arc<Space>) -> Namespace {
        Namespace { handle, space }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.handle.engine
    }

    #[inline]
    fn handed_out(&self, request: &ClaimRequest, answer: Answer) -> Claim {
        Claim::new(self.engine(), &self.space, request.key(), answer)
    }

    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// The name; empty for the default namespace.
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        Policy::clone(&self.space.policy())
    }

    /// The key of these parts, by the rule of the namespace: what its [`Policy::key_spec`] says, else the parts joined so
    /// that different lists never give one key. [`Policy::key`] has the whole of it.
    ///
    /// Parts are text, bytes, or `Option<&str>` for what may be missing. Nothing is claimed.
    ///
    /// Errors: [`ErrorKind::InvalidKey`] for parts that break the rule, for none, and for a null or empty one;
    /// [`ErrorKind::TooLarge`] for a key of more than 1,024 bytes.
    ///
    /// ```
    /// # fn main() -> Result<(), claimstore::Error> {
    /// use claimstore::{ErrorKind, Policy, Store, hash::KeySpec};
    ///
    /// let store = Store::in_memory()?;
    /// let lines = store.namespace_with("lines", Policy::monthly())?;
    /// let key = lines.key(["INV-2026-003", "LINE-007"])?;
    /// assert_eq!(key, b"INV-2026-003|LINE-007");
    /// assert!(lines.claim_default(&key)?.claimed().is_some());
    ///
    /// // A rule makes one key of all spellings.
    /// let orders = store.namespace_with("orders", Policy::monthly().key_spec(KeySpec::netsuite()))?;
    /// assert_eq!(orders.key(["salesorder", " so-17 "])?, orders.key(["SalesOrder", "SO-17"])?);
    ///
    /// // A field that is missing is an error, and not a key that many events share.
    /// let missing: Option<&str> = None;
    /// assert_eq!(orders.key([Some("salesorder"), missing]).unwrap_err().kind(), ErrorKind::InvalidKey);
    /// # Ok(()) }
    /// ```
    pub fn key<'a, P: Into<KeyPart<'a>>>(
        &self,
        parts: impl IntoIterator<Item = P>,
    ) -> Result<Vec<u8>, Error> {
        self.space.policy().key(parts)
    }

    /// Claims `key`, to be remembered for `ttl` after it resolved.
    pub fn claim(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Claim, Error> {
        self.claim_with(&ClaimRequest::new(key).ttl(ttl))
    }

    /// Claims `key` with the policy's ttl.
    pub fn claim_default(&self, key: impl AsRef<[u8]>) -> Result<Claim, Error> {
        self.claim_with(&ClaimRequest::new(key))
    }

    /// Claims as `request` says. See the [crate documentation](crate) for what is answered when.
    ///
    /// Errors change nothing, but for [`ErrorKind::Indeterminate`]: then the claim is wholly there or wholly
    /// absent after reopening.
    pub fn claim_with(&self, request: &ClaimRequest) -> Result<Claim, Error> {
        self.engine().claim(&self.space, request).map(|answer| self.handed_out(request, answer))
    }

    /// Claims, or waits up to `limit` for the holder: `Duplicate` with its result, or `Claimed` if it gave up.
    /// `InProgress` when the time is over.
    pub fn claim_or_wait(&self, request: &ClaimRequest, limit: Duration) -> Result<Claim, Error> {
        let answer = self.engine().claim_or_wait(&self.space, request, limit)?;
        Ok(self.handed_out(request, answer))
    }

    /// Claims many in one commit (at most 65,536). Answer i is for request i; a later repeat of a key in the
    /// batch is `InProgress` of the first. The outer error means that no item was decided, or, for
    /// [`ErrorKind::Indeterminate`], that all are wholly there or wholly absent.
    pub fn claim_many(&self, requests: &[ClaimRequest]) -> Result<Vec<Result<Claim, Error>>, Error> {
        let answers = self.engine().claim_many(&self.space, requests)?;
        let items = requests.iter().zip(answers);
        Ok(items.map(|(request, answer)| answer.map(|answer| self.handed_out(request, answer))).collect())
    }

    /// Like [`claim_with`](Namespace::claim_with), as a future for any runtime. It does nothing until it is
    /// polled. Dropped before its answer was delivered, it releases the claim, and the attempt does not
    /// count. A look-up of a checkpointed key reads up to two blocks within the poll.
    pub fn claim_async(&self, request: &ClaimRequest) -> ClaimFuture {
        ClaimFuture::new(self.engine(), &self.space, request.clone())
    }

    /// Like [`claim_many`](Namespace::claim_many), as a future; dropped before its answer, it releases what
    /// it claimed.
    pub fn claim_many_async(&self, requests: &[ClaimRequest]) -> ClaimManyFuture {
        ClaimManyFuture::new(self.engine(), &self.space, requests.to_vec())
    }

    /// Like [`claim_or_wait`](Namespace::claim_or_wait), as a future.
    pub fn claim_or_wait_async(&self, request: &ClaimRequest, limit: Duration) -> WaitFuture {
        WaitFuture::new(self.engine(), &self.space, request.clone(), limit)
    }

    /// Runs `work` once per key: claims, runs it, stores what it returns; a later call replays that. An `Err`
    /// of `work` puts the claim up for a retry; a panic abandons it.
    ///
    /// An `Err` is one failure, said by the work itself, and leaves no [doubt](Lease::in_doubt). If `work` can fail although it
    /// may have had its effect (a request timed out), claim the key yourself and end that with
    /// [`Failure::unknown`](crate::Failure::unknown).
    pub fn once<E>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        work: impl FnOnce(&Lease) -> Result<Vec<u8>, E>,
    ) -> Result<Once, OnceError<E>> {
        let lease = match self.claim(key, ttl).map_err(OnceError::Store)? {
            Claim::Claimed(lease) => lease,
            Claim::Duplicate(receipt) => return Ok(Once::Replayed(receipt)),
            Claim::InProgress(holder) => return Ok(Once::InProgress(holder)),
        };
        match work(&lease) {
            Ok(response) => match lease.complete(&response) {
                Ok(()) => Ok(Once::Ran(response)),
                Err(error) => Err(OnceError::NotStored { response, error }),
            },
            Err(error) => {
                // The caller needs the work's own error; a claim that cannot be failed goes to its term.
                drop(lease.fail(crate::Failure::retry()));
                Err(OnceError::Work(error))
            }
        }
    }

    /// Like [`once`](Namespace::once), as a future: `work` is an asynchronous closure that borrows the lease. An `Err` of
    /// `work` puts the claim up for a retry.
    ///
    /// Nothing happens before it is polled. Dropped while it claims, it gives the claim back, and the attempt does not
    /// count. Dropped while `work` runs, or left by a panic of `work`, it abandons the claim. Dropped while the response
    /// is stored, it does not stop that. It does not keep the store open. It is `Send` and `'static` where the closure
    /// and its future are.
    ///
    /// ```
    /// # use claimstore::{Error, Once, OnceError, Policy, Store};
    /// # use std::time::Duration;
    /// use claimstore::ClaimRequest;
    ///
    /// async fn charge(store: &Store, order: &str) -> Result<Once, OnceError<Error>> {
    ///     let request = ClaimRequest::new(order).ttl(Duration::from_secs(86_400));
    ///     store.once_async(&request, async |lease| {
    ///         let _key = lease.child_key("charge"); // for the call that is awaited here
    ///         Ok(b"charged".to_vec())
    ///     }).await
    /// }
    /// ```
    pub fn once_async<E, F>(
        &self,
        request: &ClaimRequest,
        work: F,
    ) -> impl Future<Output = Result<Once, OnceError<E>>> + use<E, F>
    where
        F: AsyncFnOnce(&Lease) -> Result<Vec<u8>, E>,
    {
        let claim = self.claim_async(request);
        async move {
            let lease = match claim.await.map_err(OnceError::Store)? {
                Claim::Claimed(lease) => lease,
                Claim::Duplicate(receipt) => return Ok(Once::Replayed(receipt)),
                Claim::InProgress(holder) => return Ok(Once::InProgress(holder)),
            };
            match work(&lease).await {
                Ok(response) => match lease.complete_async(&response).await {
                    Ok(()) => Ok(Once::Ran(response)),
                    Err(error) => Err(OnceError::NotStored { response, error }),
                },
                Err(error) => {
                    // The caller needs the work's own error; a claim that cannot be failed goes to its term.
                    drop(lease.fail_async(crate::Failure::retry()).await);
                    Err(OnceError::Work(error))
                }
            }
        }
    }

    /// One commit for the claim, the rows that `work` writes, and its response. An `Err` (see [`Error::caller`]) or a
    /// panic of `work` rolls everything back, the claim included. While it runs, other claims of the key return
    /// `InProgress`. A `transact` inside it is [`ErrorKind::Misuse`].
    pub fn transact<F>(&self, request: &ClaimRequest, work: F) -> Result<Transacted, Error>
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error>,
    {
        let ran = self.engine().transact(&self.space, request, |write| work(&Transaction::new(write)))?;
        Ok(ran.into())
    }

    /// Like [`transact`](Namespace::transact), as a future. `work` runs on the upkeep thread of the store, where it keeps
    /// upkeep and other long calls waiting: let it write rows and nothing else. It must not wait for futures of the
    /// store.
    ///
    /// Nothing happens before it is polled. Dropped before `work` began, it does nothing. Dropped later, the claim, the
    /// rows and the response are there together or not at all. If `work` panics, everything is rolled back, and the
    /// panic goes on where the future is polled.
    ///
    /// Errors: those of [`transact`](Namespace::transact); [`ErrorKind::Overloaded`] when too many calls wait for the
    /// thread; [`ErrorKind::Closed`] when the store closed before the turn came.
    pub fn transact_async<F>(&self, request: &ClaimRequest, work: F) -> TransactFuture
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error> + Send + 'static,
    {
        TransactFuture::new(self.engine(), &self.space, request.clone(), work)
    }

    /// The record of a key, from durable facts only; `None` if the key is unknown or expired.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Record>, Error> {
        self.engine().get(&self.space, key.as_ref())
    }

    /// Like [`get`](Namespace::get), as a future that waits for the commit of what it tells. A checkpointed
    /// key is read by this call itself, up to two blocks.
    pub fn get_async(&self, key: impl AsRef<[u8]>) -> CommitFuture<Option<Record>> {
        let engine = self.engine();
        CommitFuture::new(Ok(engine.clone()), engine.begin_get(&self.space, key.as_ref()))
    }

    /// Makes a key unknown, in whatever state it is: a lease of it becomes stale. Returns whether it was known.
    pub fn forget(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.engine().forget(&self.space, key.as_ref())
    }

    /// Like [`forget`](Namespace::forget), as a future. Dropping the future does not stop it.
    pub fn forget_async(&self, key: impl AsRef<[u8]>) -> CommitFuture<bool> {
        let engine = self.engine();
        CommitFuture::new(
            Ok(engine.clone()),
            engine.begin_forget(&self.space, key.as_ref(), Waits::Elsewhere),
        )
    }
}

/// Records from elsewhere.
impl Namespace {
    /// Writes records from another system, in one commit (at most 65,536, and 32 MiB with the default segment). A key
    /// that is known stays unchanged, so that the same import may be run again. Result i is for record i; the outer
    /// error means that nothing was written, or, for [`Indeterminate`](crate::ErrorKind::Indeterminate), that either
    /// all or nothing was.
    ///
    /// Each record gets a token of this store, which no holder has. It counts against the quota of the namespace.
    ///
    /// Errors of single records: [`InvalidKey`](crate::ErrorKind::InvalidKey),
    /// [`TooLarge`](crate::ErrorKind::TooLarge), [`FutureKey`](crate::ErrorKind::FutureKey),
    /// [`Full`](crate::ErrorKind::Full) for the quota, [`Misuse`](crate::ErrorKind::Misuse) for an attempt of 0 or a
    /// ttl out of bounds, and [`Overloaded`](crate::ErrorKind::Overloaded) while a `transact` is running on the key.
    /// The outer one may be `Overloaded` or [`Full`](crate::ErrorKind::Full) until a checkpoint has caught up.
    ///
    /// ```
    /// # fn main() -> Result<(), claimstore::Error> {
    /// use claimstore::{Claim, Import, Imported, Policy, Store};
    ///
    /// let store = Store::in_memory()?;
    /// let orders = store.namespace_with("orders", Policy::monthly())?;
    /// let rows = [Import::completed("order-1", "posted"), Import::parked("order-2", "in progress at the move")];
    /// for answer in orders.import_many(&rows)? {
    ///     assert_eq!(answer?, Imported::Stored);
    /// }
    /// assert!(matches!(orders.claim_default("order-1")?, Claim::Duplicate(_)));
    /// # Ok(()) }
    /// ```
    pub fn import_many(&self, records: &[Import]) -> Result<Vec<Result<Imported, Error>>, Error> {
        self.engine().import_many(self.space(), records)
    }

    /// Like [`import_many`](Namespace::import_many), as a future that runs on the upkeep thread of the store.
    /// Dropping it does not stop it.
    pub fn import_many_async(&self, records: Vec<Import>) -> TaskFuture<Vec<Result<Imported, Error>>> {
        let space = self.space().clone();
        self.engine().run_elsewhere(move |engine| engine.import_many(&space, &records))
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("space", &self.space).finish_non_exhaustive()
    }
}
