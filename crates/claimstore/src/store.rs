//! [`Store`]: the handle.

use crate::bucket::check_table_name;
#[cfg(doc)]
use crate::claim::Receipt;
use crate::claim::{Claim, ClaimRequest};
use crate::engine::Engine;
use crate::engine::commit::Waits;
use crate::engine::decide::Ending;
use crate::engine::measures::Pruned;
use crate::engine::records::Records;
use crate::engine::settle::Held;
use crate::engine::spans;
use crate::error::{Error, ErrorKind};
use crate::future::{BatchSettleFuture, ClaimFuture, ClaimManyFuture, WaitFuture};
use crate::io::system::System;
use crate::io::{DirStorage, Storage};
use crate::lease::{Lease, LeaseToken, SettleError};
use crate::namespace::{Namespace, Once, OnceError};
use crate::options::{MAX_BATCH_ITEMS, Options};
use crate::policy::Policy;
use crate::queued::{CommitFuture, NamespaceFuture};
use crate::recovery;
use crate::sequence::Sequence;
use crate::sync::Arc;
use crate::task::TaskFuture;
use crate::transact::{Table, Transacted, Transaction};
use crate::view::{Filter, Record, RecordState, Report, Stats};
use claimstore_hash::Fingerprinter;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// A claim store, open. Clones are handles of the same store; it closes when [`close`](Store::close) is
/// called or the last handle is dropped. Leases and futures do not keep it open.
///
/// ```
/// # fn main() -> Result<(), claimstore::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// use claimstore::{Claim, Store};
/// use std::time::Duration;
///
/// let store = Store::open(dir.path())?;
/// match store.claim("order-4711/paid", Duration::from_secs(86_400))? {
///     Claim::Claimed(lease) => {
///         // do the work, then say what came of it
///         lease.complete("receipt 17")?;
///     }
///     Claim::Duplicate(receipt) => println!("done before: {:?}", receipt.response()),
///     Claim::InProgress(holder) => println!("ask again in {:?}", holder.retry_after()),
/// }
/// # store.close() }
/// ```
#[derive(Clone)]
pub struct Store {
    pub(crate) handle: Arc<Handle>,
    pub(crate) default: Namespace,
}

/// Closes the engine when the last store or namespace handle is gone.
pub(crate) struct Handle {
    pub(crate) engine: Arc<Engine>,
}

impl Drop for Handle {
    /// A child of `fork()` keeps what it has of the store until it ends: given back, redb would write to its parent's
    /// files, and memory be freed that a thread which is not there was changing.
    fn drop(&mut self) {
        if self.engine.is_here() {
            self.engine.close_quietly();
        } else {
            std::mem::forget(self.engine.clone());
        }
    }
}

/// `complete_many` as a whole was refused: nothing happened, and here are the leases and responses back.
/// With [`ErrorKind::Indeterminate`] and [`ErrorKind::Poisoned`] the store must be reopened to learn more.
pub struct CompleteManyError {
    error: Error,
    items: Vec<(Lease, Vec<u8>)>,
}

impl CompleteManyError {
    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// The error and everything that was given in.
    pub fn into_parts(self) -> (Error, Vec<(Lease, Vec<u8>)>) {
        (self.error, self.items)
    }
}

/// Leaves the claims to their terms.
impl From<CompleteManyError> for Error {
    fn from(refused: CompleteManyError) -> Error {
        for (lease, _) in refused.items {
            drop(lease.into_token());
        }
        refused.error
    }
}

impl fmt::Debug for CompleteManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteManyError")
            .field("error", &self.error)
            .field("items", &self.items.len())
            .finish()
    }
}

impl fmt::Display for CompleteManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for CompleteManyError {}

/// Opening and closing.
impl Store {
    /// Opens the store in `path` with the defaults; see [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Store, Error> {
        Options::new().open(path)
    }

    /// A store with nothing on disk: the same engine, for tests and for work that need not survive.
    pub fn in_memory() -> Result<Store, Error> {
        Options::new().in_memory()
    }

    pub(crate) fn open_on(options: Options, storage: Arc<dyn Storage>) -> Result<Store, Error> {
        let engine = recovery::open(options, storage)?;
        let space = engine.space("", None)?;
        let handle = Arc::new(Handle { engine });
        Ok(Store { default: Namespace::new(handle.clone(), space), handle })
    }

    /// Closes the store for all its clones: finishes queued work, checkpoints, seals the journal. Later
    /// calls answer [`ErrorKind::Closed`]. Dropping the last handle does the same, quietly.
    ///
    /// Waits for a running `transact`; inside the closure of one it is [`ErrorKind::Misuse`]. Any other error
    /// leaves a store that recovers at the next open like after a crash.
    ///
    /// Where another clone's `close` is at work already, this one answers `Ok` at once and does not wait for it,
    /// so that a waker may call it; the directory is free when the first has returned.
    pub fn close(self) -> Result<(), Error> {
        self.engine().close()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.handle.engine
    }

    /// The namespace `name` (up to 512 bytes, such as `prod/acme/order-sync`), with its stored policy, or
    /// with the default one if it is new. Durable when it returns.
    pub fn namespace(&self, name: &str) -> Result<Namespace, Error> {
        let space = self.engine().space(name, None)?;
        Ok(Namespace::new(self.handle.clone(), space))
    }

    /// The namespace `name` with `policy`, which replaces a stored one for later claims. Another time order
    /// than the stored one is [`ErrorKind::Misuse`].
    pub fn namespace_with(&self, name: &str, policy: Policy) -> Result<Namespace, Error> {
        let space = self.engine().space(name, Some(policy))?;
        Ok(Namespace::new(self.handle.clone(), space))
    }
}

/// Opening and closing, as futures; see [`TaskFuture`] for what dropping one means.
impl Store {
    /// Like [`close`](Store::close), as a future. What was queued before on the same thread comes first.
    pub fn close_async(self) -> TaskFuture<()> {
        let engine = self.engine().clone();
        // The handle goes along: dropped here, it would close the store on this thread.
        engine.run_elsewhere(move |engine| {
            let closed = engine.close();
            drop(self);
            closed
        })
    }

    /// Like [`namespace`](Store::namespace), as a future.
    pub fn namespace_async(&self, name: &str) -> NamespaceFuture {
        self.define_async(name, None)
    }

    /// Like [`namespace_with`](Store::namespace_with), as a future.
    pub fn namespace_with_async(&self, name: &str, policy: Policy) -> NamespaceFuture {
        self.define_async(name, Some(policy))
    }

    fn define_async(&self, name: &str, policy: Option<Policy>) -> NamespaceFuture {
        let name = name.to_owned();
        let space = self.engine().run_elsewhere(move |engine| engine.space(&name, policy));
        NamespaceFuture::new(space, &self.handle)
    }
}

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

    /// See [`Namespace::transact`].
    pub fn transact<F>(&self, request: &ClaimRequest, work: F) -> Result<Transacted, Error>
    where
        F: FnOnce(&Transaction<'_>) -> Result<Vec<u8>, Error>,
    {
        self.default.transact(request, work)
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

/// Settling in bulk, and taking up claims again.
impl Store {
    /// Completes many claims in one commit (at most 65,536), of any namespaces. Answers a verdict for each;
    /// a refused one holds its lease. No path loses a lease.
    pub fn complete_many(
        &self,
        items: Vec<(Lease, Vec<u8>)>,
    ) -> Result<Vec<Result<(), SettleError>>, CompleteManyError> {
        let completed = spans::complete_many().run(|span| {
            span.count("items", items.len() as u64);
            let (batch, verdicts) = self.queue_completions(&items, Waits::Here)?;
            self.engine().wait(batch)?;
            Ok(verdicts)
        });
        match completed {
            Ok(verdicts) => Ok(hand_out(items, verdicts)),
            Err(error) => Err(CompleteManyError { error, items }),
        }
    }

    /// Like [`complete_many`](Store::complete_many), as a future. Dropping the future does not stop the
    /// settlements.
    pub fn complete_many_async(&self, items: Vec<(Lease, Vec<u8>)>) -> BatchSettleFuture {
        let served = self.engine().serve_futures();
        let queued = served.and_then(|()| self.queue_completions(&items, Waits::Elsewhere));
        match queued {
            Ok((batch, verdicts)) => BatchSettleFuture::queued(self.engine(), batch, items, verdicts),
            Err(error) => BatchSettleFuture::refused(CompleteManyError { error, items }),
        }
    }

    fn queue_completions(
        &self,
        items: &[(Lease, Vec<u8>)],
        waits: Waits,
    ) -> Result<(u64, Vec<Result<(), Error>>), Error> {
        let engine = self.engine();
        if items.len() > MAX_BATCH_ITEMS {
            return Err(Error::new(ErrorKind::TooLarge, "a batch must have at most 65,536 items"));
        }
        for (lease, _) in items {
            if !lease.is_of(engine) {
                // A store that is closed goes before one that is another.
                lease.engine()?;
                return Err(Error::new(ErrorKind::Misuse, "a lease of another store"));
            }
        }
        let endings: Vec<(&Held, Ending<'_>)> =
            items.iter().map(|(lease, response)| (lease.held(), Ending::Complete(response))).collect();
        engine.settle_many(&endings, waits)
    }

    /// Takes up the claim of `token` again: one handed on by [`Lease::into_token`] in this life, or detached
    /// by [`Lease::detach`] in any. [`ErrorKind::StaleLease`] when it was superseded or settled meanwhile;
    /// [`ErrorKind::Misuse`] while another lease of it lives.
    #[expect(clippy::needless_pass_by_value, reason = "the token is used up")]
    pub fn resume(&self, token: LeaseToken) -> Result<Lease, Error> {
        self.engine().check_changes()?;
        let space = self.engine().spaces.get(&token.space).ok_or_else(crate::engine::settle::stale)?;
        let (held, granted) = self.engine().resume(&space, &token.key, token.token)?;
        Ok(Lease::new(self.engine(), &held.space, &token.key, granted))
    }

    /// A table of your own, as [`transact`](Store::transact) and [`Lease::complete_in`] wrote it.
    pub fn table(&self, name: &str) -> Result<Table, Error> {
        self.engine().check_open()?;
        check_table_name(name)?;
        Ok(Table::new(self.engine(), name))
    }
}

/// Pairs leases with verdicts: accepted ones are done with, refused ones go back.
pub(crate) fn hand_out(
    items: Vec<(Lease, Vec<u8>)>,
    verdicts: Vec<Result<(), Error>>,
) -> Vec<Result<(), SettleError>> {
    let settle = |((mut lease, _), verdict): ((Lease, Vec<u8>), Result<(), Error>)| match verdict {
        Ok(()) => {
            lease.disarm();
            Ok(())
        }
        Err(error) => Err(SettleError::new(error, lease)),
    };
    items.into_iter().zip(verdicts).map(settle).collect()
}

impl CompleteManyError {
    pub(crate) fn new(error: Error, items: Vec<(Lease, Vec<u8>)>) -> CompleteManyError {
        CompleteManyError { error, items }
    }
}

/// Looking and upkeep.
impl Store {
    /// The records of a filter, read in bounded pieces, in no particular order. Expired records are left
    /// out. A key that changes meanwhile shows once, in one of its states.
    pub fn scan(&self, filter: Filter) -> Records {
        Records::new(self.engine(), filter)
    }

    /// Claims with nobody behind them: of an earlier life, or abandoned by a drop.
    pub fn orphans(&self) -> Records {
        self.scan(Filter::new().state(RecordState::Orphaned))
    }

    /// Keys held for review.
    pub fn parked(&self) -> Records {
        self.scan(Filter::new().state(RecordState::Parked))
    }

    /// Numbers about the store.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.engine().check_open()?;
        Ok(self.engine().stats())
    }

    /// How much the store holds on to in memory, by name. For the tests of this repository: neither the names nor that
    /// there is such a call is part of the API.
    #[doc(hidden)]
    pub fn sizes(&self) -> Result<Vec<(&'static str, u64)>, Error> {
        self.engine().check_open()?;
        Ok(self.engine().sizes())
    }

    /// Drops the time buckets that have ended. Runs by itself unless [`Options::background`] is off. Works on
    /// a full disk. Like all upkeep it is [`ErrorKind::Misuse`] inside the closure of a `transact`.
    pub fn prune(&self) -> Result<Pruned, Error> {
        self.engine().prune()
    }

    /// What [`prune`](Store::prune) would drop now; nothing is dropped.
    pub fn prunable(&self) -> Result<Pruned, Error> {
        self.engine().prunable()
    }

    /// Moves what is resolved and durable out of the journal into sorted runs. Runs by itself unless
    /// [`Options::background`] is off.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.engine().checkpoint()
    }

    /// One slice of whatever upkeep is due: a segment, a checkpoint, a prune, a piece of a merge. Answers
    /// whether there may be more. What the background thread calls.
    pub fn upkeep(&self) -> Result<bool, Error> {
        self.engine().upkeep()
    }

    /// Merges runs until there is one for each stretch of time that gets no more records, dropping older
    /// versions and tombstones. Claims go on meanwhile.
    pub fn compact(&self) -> Result<(), Error> {
        self.engine().compact()
    }

    /// Reads every byte of every run, every row of the catalogue and of the callers' tables, and checks every
    /// invariant that can be checked. [`ErrorKind::Corrupt`] at the first damage.
    pub fn verify(&self) -> Result<Report, Error> {
        self.engine().verify()
    }

    /// Copies the store as of now into the directory `dir`, which is created and must be empty. Claims go on
    /// meanwhile. The copy's first open raises its life, so that its tokens lie above the original's.
    ///
    /// The key of [`fingerprinter`](Store::fingerprinter) is left out, so that whoever finds the copy cannot guess
    /// payloads from their fingerprints. A store restored from it makes a key of its own: fingerprints of before
    /// are then not compared any more ([`Receipt::fingerprint_checked`] is false), and none is mistaken for
    /// another. [`backup_with_key`](Store::backup_with_key) takes the key along.
    pub fn backup(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        backup_to(self.engine(), DirStorage::new(dir), false)
    }

    /// Like [`backup`](Store::backup), with the key of the fingerprints: for a copy that is to take this store's
    /// place, and is kept as safe as the store.
    pub fn backup_with_key(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        backup_to(self.engine(), DirStorage::new(dir), true)
    }

    /// Like [`backup`](Store::backup), into a directory of another kernel than the operating system's: what the simulator
    /// uses.
    #[doc(hidden)]
    pub fn backup_in<S: System>(&self, target: DirStorage<S>) -> Result<(), Error> {
        backup_to(self.engine(), target, false)
    }

    /// Like [`backup`](Store::backup), onto a storage of the caller's: what [`Options::open_on`] opens.
    pub fn backup_on(&self, storage: &Arc<dyn Storage>) -> Result<(), Error> {
        self.engine().check_changes()?;
        self.engine().backup(storage, false)
    }

    /// The stream `name` (1 to 1,024 bytes), made if there is none: one durable value for a stream of numbered
    /// messages in the place of a key for each. Durable when it returns.
    ///
    /// Streams lie in a namespace of the store's own, `claimstore/sequences`, which cannot be opened by its name and
    /// is not listed by [`scan`](Store::scan) or [`orphans`](Store::orphans). Blocks; not to be called from a waker.
    pub fn sequence(&self, name: impl AsRef<[u8]>) -> Result<Sequence, Error> {
        let stream = self.engine().stream(name.as_ref())?;
        Ok(Sequence::new(self.engine(), stream))
    }

    /// Like [`sequence`](Store::sequence), as a future.
    pub fn sequence_async(&self, name: impl AsRef<[u8]>) -> TaskFuture<Sequence> {
        let name: Box<[u8]> = name.as_ref().into();
        let engine = Arc::downgrade(self.engine());
        self.engine().run_elsewhere(move |_| {
            let closed = || Error::new(ErrorKind::Closed, "the store was closed");
            let engine = engine.upgrade().ok_or_else(closed)?;
            let stream = engine.stream(&name)?;
            Ok(Sequence::new(&engine, stream))
        })
    }

    /// Makes fingerprints under this store's own random key, which nobody else has.
    ///
    /// The key is made at the first call and durable before any fingerprint of it exists. It lies in a file of its
    /// own in the store's directory, `fingerprint.key`, readable by its owner alone, and is the same for ever. A
    /// leaked copy of the *whole* directory includes it; a [`backup`](Store::backup) does not, nor does anything
    /// else that the store writes. Who wants the key elsewhere altogether keeps it there and uses
    /// [`Fingerprinter::with_key`](claimstore_hash::Fingerprinter::with_key).
    ///
    /// Errors: [`ErrorKind::Corrupt`] for a damaged key file, [`ErrorKind::TooNew`] for one of a later version,
    /// [`ErrorKind::Io`] or [`ErrorKind::Full`] if it cannot be read or made; the store itself goes on.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use claimstore::{ClaimRequest, ErrorKind, Store};
    ///
    /// let store = Store::in_memory()?;
    /// let fingerprinter = store.fingerprinter()?;
    /// let order = ClaimRequest::new("order-4711").fingerprint(fingerprinter.json(br#"{"amount":100}"#)?);
    /// store.claim_with(&order)?.claimed().unwrap().complete("posted")?;
    ///
    /// let other = ClaimRequest::new("order-4711").fingerprint(fingerprinter.json(br#"{"amount":999}"#)?);
    /// assert_eq!(store.claim_with(&other).unwrap_err().kind(), ErrorKind::PayloadMismatch);
    /// # Ok(()) }
    /// ```
    pub fn fingerprinter(&self) -> Result<Fingerprinter, Error> {
        self.engine().fingerprinter()
    }

    /// To be called once, after a snapshot of the directory was restored: raises the life by 1,024, so that
    /// tokens given after the snapshot was taken are never given again.
    ///
    /// Takes effect at the next open: open the restored directory, call this, close, and open it again before
    /// the first claim. A copy made by [`backup`](Store::backup) needs none of this.
    pub fn after_restore(&self) -> Result<(), Error> {
        self.engine().after_restore()
    }
}

/// Upkeep as futures, run one after the other on the upkeep thread of the store, which is started for it
/// where [`Options::background`] is off. See [`TaskFuture`] for what dropping one means.
impl Store {
    /// Like [`prune`](Store::prune), as a future.
    pub fn prune_async(&self) -> TaskFuture<Pruned> {
        self.engine().run_elsewhere(Engine::prune)
    }

    /// Like [`checkpoint`](Store::checkpoint), as a future.
    pub fn checkpoint_async(&self) -> TaskFuture<()> {
        self.engine().run_elsewhere(Engine::checkpoint)
    }

    /// Like [`upkeep`](Store::upkeep), as a future.
    pub fn upkeep_async(&self) -> TaskFuture<bool> {
        self.engine().run_elsewhere(Engine::upkeep)
    }

    /// Like [`compact`](Store::compact), as a future.
    pub fn compact_async(&self) -> TaskFuture<()> {
        self.engine().run_elsewhere(Engine::compact)
    }

    /// Like [`verify`](Store::verify), as a future.
    pub fn verify_async(&self) -> TaskFuture<Report> {
        self.engine().run_elsewhere(Engine::verify)
    }

    /// Like [`backup`](Store::backup), as a future.
    pub fn backup_async(&self, dir: impl AsRef<Path>) -> TaskFuture<()> {
        let target = DirStorage::new(dir);
        self.engine().run_elsewhere(move |engine| backup_to(engine, target, false))
    }

    /// Like [`backup_with_key`](Store::backup_with_key), as a future.
    pub fn backup_with_key_async(&self, dir: impl AsRef<Path>) -> TaskFuture<()> {
        let target = DirStorage::new(dir);
        self.engine().run_elsewhere(move |engine| backup_to(engine, target, true))
    }

    /// Like [`fingerprinter`](Store::fingerprinter), as a future.
    pub fn fingerprinter_async(&self) -> TaskFuture<Fingerprinter> {
        self.engine().run_elsewhere(Engine::fingerprinter)
    }

    /// Like [`after_restore`](Store::after_restore), as a future.
    pub fn after_restore_async(&self) -> TaskFuture<()> {
        self.engine().run_elsewhere(Engine::after_restore)
    }
}

fn backup_to<S: System>(engine: &Engine, target: DirStorage<S>, with_key: bool) -> Result<(), Error> {
    engine.check_changes()?;
    target.create_root().map_err(|error| Error::io("the backup directory cannot be created", error))?;
    let target: Arc<dyn Storage> = Arc::new(target);
    engine.backup(&target, with_key)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("life", &self.engine().life).finish_non_exhaustive()
    }
}
