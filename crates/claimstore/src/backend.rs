//! The embedded store as a [`Backend`], for layers that work with any.
//!
//! Every call of it is one of the store's own, so the promises are the same. It holds the engine weakly, as a lease does:
//! [`Claims`] keep a handle of the store beside it.

mod listing;

use crate::claim::Claim;
use crate::engine::Engine;
use crate::engine::claims::Granted;
use crate::engine::commit::Waits;
use crate::engine::decide::Ending;
use crate::engine::held::{self, stale};
use crate::engine::orphans::Unheld;
use crate::engine::records::Records;
use crate::engine::settle::lease_ms;
use crate::engine::spaces::{Space, is_reserved};
use crate::error::{Error, ErrorKind};
use crate::future::{ClaimFuture, ClaimManyFuture, WaitFuture};
use crate::lease::Lease;
use crate::namespace::Namespace;
use crate::options::{Durability, MAX_BATCH_ITEMS};
use crate::planted;
use crate::policy::Policy;
use crate::queued::CommitFuture;
use crate::store::Store;
use crate::sync::{Arc, Weak};
use crate::watch::OrphanWatch;
use crate::{ClaimRequest, Failure, Filter, Note, Record, Review};
use claimstore_core::backend::{
    self, Answer, Backend, ClockOf, Durable, Grant, Held, Pages, Promises, Settlement, may_block,
};
use claimstore_core::limits::MAX_KEY_BYTES;
use claimstore_core::{Claims, Pending};
use std::any::Any;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A store that is open in this process.
#[derive(Debug)]
struct Embedded {
    engine: Weak<Engine>,
}

impl Embedded {
    fn of(engine: &Arc<Engine>) -> std::sync::Arc<Embedded> {
        std::sync::Arc::new(Embedded { engine: Arc::downgrade(engine) })
    }

    /// Compares the process before anything takes a lock: a child of `fork()` might wait for it for ever.
    fn engine(&self) -> Result<Arc<Engine>, Error> {
        let engine = self.engine.upgrade().ok_or_else(closed)?;
        engine.check_process()?;
        Ok(engine)
    }

    /// A call that runs on the upkeep thread.
    fn elsewhere<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        match self.engine() {
            Ok(engine) => elsewhere(&engine, run),
            Err(error) => Pending::done(Err(error)),
        }
    }

    /// A call that waits for the commit of what `begin` has queued.
    fn committed<T: Send + Unpin + 'static>(
        &self,
        begin: impl FnOnce(&Engine) -> Result<(u64, T), Error>,
    ) -> Pending<T> {
        let engine = self.engine();
        let queued = self.engine().and_then(|engine| {
            engine.serve_futures()?;
            begin(&engine)
        });
        Pending::new(CommitFuture::new(engine, queued))
    }

    /// The same for a held claim.
    fn on_held(
        &self,
        held: &Held,
        begin: impl FnOnce(&Engine, &held::Held) -> Result<u64, Error>,
    ) -> Pending<()> {
        self.committed(|engine| {
            let held = engine_held(engine, held)?;
            Ok((begin(engine, &held)?, ()))
        })
    }
}

impl Backend for Embedded {
    fn promises(&self) -> Promises {
        let Ok(engine) = self.engine() else { return Promises::new(Durable::BestEffort, ClockOf::Process) };
        let durability = match engine.durability {
            _ if !engine.storage.is_durable() => Durable::BestEffort,
            Durability::Sync => Durable::Synced,
            Durability::Interval(interval) => Durable::Within(interval),
            Durability::None => Durable::BestEffort,
        };
        let mut promises = Promises::new(durability, ClockOf::Process);
        promises.transactional = true;
        promises.sequences = true;
        promises.batch_items = MAX_BATCH_ITEMS;
        promises.key_bytes = MAX_KEY_BYTES;
        promises.response_bytes = engine.limits.response_bytes;
        promises.progress_bytes = engine.limits.progress_bytes;
        promises
    }

    fn now(&self) -> SystemTime {
        let now_ms = self.engine().map_or(0, |engine| engine.time.now_ms());
        UNIX_EPOCH + Duration::from_millis(now_ms)
    }

    fn define(&self, namespace: &str, policy: Option<Policy>) -> Pending<Policy> {
        // What is defined already needs no commit, and so no turn on the upkeep thread, which may be busy for long.
        let stored = self.engine().and_then(|engine| {
            engine.check_open()?;
            Ok(known_space(&engine, namespace).map(|space| Policy::clone(&space.policy())))
        });
        match stored {
            Err(error) => return Pending::done(Err(error)),
            Ok(Some(stored)) if policy.as_ref().is_none_or(|policy| *policy == stored) => {
                return Pending::done(Ok(stored));
            }
            Ok(_) => {}
        }
        let name = namespace.to_owned();
        self.elsewhere(move |engine| Ok(Policy::clone(&engine.space(&name, policy)?.policy())))
    }

    fn namespaces(&self) -> Pending<Vec<String>> {
        Pending::done(self.engine().and_then(|engine| {
            engine.check_open()?;
            Ok(engine.namespaces())
        }))
    }

    fn claim(&self, namespace: &str, mut requests: Vec<ClaimRequest>) -> Pending<Vec<Result<Answer, Error>>> {
        let (engine, namespace) = (self.engine(), namespace.to_owned());
        Pending::new(async move {
            let engine = engine?;
            let space = space(&engine, &namespace).await?;
            let claims = match (requests.pop(), requests.is_empty()) {
                (None, _) => return Ok(Vec::new()),
                (Some(only), true) => vec![ClaimFuture::new(&engine, &space, only).await],
                (Some(last), false) => {
                    requests.push(last);
                    ClaimManyFuture::new(&engine, &space, requests).await?
                }
            };
            Ok(claims.into_iter().map(|claim| claim.map(answer)).collect())
        })
    }

    fn claim_or_wait(&self, namespace: &str, request: ClaimRequest, limit: Duration) -> Pending<Answer> {
        let (engine, namespace) = (self.engine(), namespace.to_owned());
        Pending::new(async move {
            let engine = engine?;
            let space = space(&engine, &namespace).await?;
            Ok(answer(WaitFuture::new(&engine, &space, request, limit).await?))
        })
    }

    fn settle(&self, items: Vec<(Held, Settlement)>) -> Pending<Vec<Result<(), Error>>> {
        self.committed(|engine| {
            if items.len() > MAX_BATCH_ITEMS {
                return Err(Error::new(ErrorKind::TooLarge, "a batch must have at most 65,536 items"));
            }
            let held: Vec<_> = items.iter().map(|(held, _)| engine_held(engine, held)).collect();
            let known = held
                .iter()
                .zip(&items)
                .filter_map(|(held, (_, settlement))| Some((held.as_ref().ok()?, ending(settlement))));
            let (batch, verdicts) = engine.settle_many(&known.collect::<Vec<_>>(), Waits::Elsewhere)?;
            let mut verdicts = verdicts.into_iter();
            let of_item = |held: &Result<held::Held, Error>| match held {
                Ok(_) => verdicts.next().unwrap_or_else(|| Err(stale())),
                Err(error) => Err(error.again()),
            };
            Ok((batch, held.iter().map(of_item).collect()))
        })
    }

    fn renew(&self, held: &Held, term: Duration) -> Pending<()> {
        self.on_held(held, |engine, held| engine.renew(held, term, Waits::Elsewhere))
    }

    fn save_progress(&self, held: &Held, progress: Vec<u8>) -> Pending<()> {
        self.on_held(held, |engine, held| engine.save_progress(held, &progress, Waits::Elsewhere))
    }

    fn detach(&self, held: &Held, term: Duration) -> Pending<()> {
        self.on_held(held, |engine, held| {
            let batch = engine.detach(held, term, Waits::Elsewhere)?;
            // At once, as the caller may not wait: a detached claim can be resumed.
            engine.let_go(held);
            Ok(batch)
        })
    }

    fn resume(&self, namespace: &str, key: &[u8], token: u64) -> Pending<Grant> {
        let (engine, namespace, key) = (self.engine(), namespace.to_owned(), key.to_owned());
        // Not before it is polled: a future that is dropped has taken nothing up.
        Pending::new(async move {
            let engine = engine?;
            engine.check_process()?;
            let space = known_space(&engine, &namespace).ok_or_else(stale)?;
            let (_, granted) = engine.resume(&space, &key, token)?;
            Ok(grant(&space, granted))
        })
    }

    fn abandon(&self, held: &Held) {
        if let Ok(engine) = self.engine()
            && let Ok(held) = engine_held(&engine, held)
        {
            engine.abandon(&held);
        }
    }

    fn let_go(&self, held: &Held) {
        if let Ok(engine) = self.engine()
            && let Ok(held) = engine_held(&engine, held)
        {
            engine.let_go(&held);
        }
    }

    fn get(&self, namespace: &str, key: &[u8]) -> Pending<Option<Record>> {
        self.committed(|engine| match known_space(engine, namespace) {
            Some(space) => engine.begin_get(&space, key),
            None => engine.check_open().map(|()| (0, None)),
        })
    }

    fn scan(&self, filter: Filter) -> Box<dyn Pages> {
        self.pages(move |engine| Box::new(Records::new(engine, filter)))
    }

    fn orphans(&self) -> Box<dyn Pages> {
        self.pages(|engine| Box::new(Unheld::new(engine)))
    }

    fn watch_orphans(&self) -> Result<Box<dyn backend::OrphanWatch>, Error> {
        Ok(Box::new(OrphanWatch::begin(&self.engine()?)?))
    }

    fn take_over(&self, orphan: &Record, lease: Duration) -> Pending<Grant> {
        let (engine, orphan) = (self.engine(), orphan.clone());
        // Not before it is polled: a future that is dropped has taken nothing over.
        Pending::new(async move {
            let (engine, lease_ms) = (engine?, lease_ms(lease)?);
            if may_block() {
                let (space, granted) = engine.take_over(&orphan, lease_ms)?;
                return Ok(grant(&space, granted));
            }
            let mut held = engine.held(&orphan)?;
            engine.serve_futures()?;
            let (batch, granted) = engine.begin_take_over(&held, lease_ms, Waits::Elsewhere)?;
            // From here on it is held under the token of the grant, no longer under the orphan's.
            held.token = granted.token;
            let mut undelivered = Undelivered { engine: engine.clone(), held: Some(held) };
            CommitFuture::new(Ok(engine.clone()), Ok((batch, ()))).await?;
            engine.start_lease_now(&granted);
            let held = undelivered.held.take().ok_or_else(stale)?;
            Ok(grant(&held.space, granted))
        })
    }

    fn fail_orphans(&self, orphans: Vec<(Record, Failure)>) -> Pending<Vec<Result<(), Error>>> {
        self.committed(|engine| engine.begin_fail_orphans(&orphans, Waits::Elsewhere))
    }

    fn review(&self, parked: &Record, review: Review, note: Note) -> Pending<()> {
        self.committed(|engine| {
            let held = engine.held(parked)?;
            Ok((engine.begin_review(&held, &review, &note, Waits::Elsewhere)?, ()))
        })
    }

    fn forget(&self, namespace: &str, key: &[u8]) -> Pending<bool> {
        self.committed(|engine| match known_space(engine, namespace) {
            Some(space) => engine.begin_forget(&space, key, Waits::Elsewhere),
            None => engine.check_changes().map(|()| (0, false)),
        })
    }

    fn forget_shown(&self, shown: &Record, even_if_held: bool) -> Pending<()> {
        let shown = shown.clone();
        self.elsewhere(
            move |engine| {
                if even_if_held { engine.forget_shown(&shown) } else { engine.forget_unheld(&shown) }
            },
        )
    }

    fn upkeep(&self) -> Pending<bool> {
        self.elsewhere(Engine::upkeep)
    }

    fn is_same(&self, other: &dyn Backend) -> bool {
        let other = other.as_any().downcast_ref::<Embedded>();
        other.is_some_and(|other| Weak::ptr_eq(&self.engine, &other.engine))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A call that runs on the upkeep thread; or here, in the closure of a `transact`: the upkeep thread may be waiting for that to
/// end, and the closure cannot but wait for what it calls.
fn elsewhere<T: Send + 'static>(
    engine: &Arc<Engine>,
    run: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
) -> Pending<T> {
    if engine.tables.is_writing_here() {
        Pending::done(run(engine))
    } else {
        Pending::new(engine.run_elsewhere(run))
    }
}

/// Whether a call that would go to the upkeep thread is made by this one: where it waits anyway, and in the closure of a
/// `transact`, for which the upkeep thread may be waiting.
fn blocks_here(engine: &Engine) -> bool {
    may_block() || engine.tables.is_writing_here()
}

/// A namespace that callers may name.
fn known_space(engine: &Engine, name: &str) -> Option<Arc<Space>> {
    engine.spaces.get(name).filter(|_| !is_reserved(name))
}

/// The namespace, which is created if there is none.
async fn space(engine: &Arc<Engine>, name: &str) -> Result<Arc<Space>, Error> {
    // The future may be polled in another process than the one that made it.
    engine.check_process()?;
    if let Some(space) = known_space(engine, name) {
        return Ok(space);
    }
    if blocks_here(engine) {
        return engine.space(name, None);
    }
    let name = name.to_owned();
    engine.run_elsewhere(move |engine| engine.space(&name, None)).await
}

fn engine_held(engine: &Engine, held: &Held) -> Result<held::Held, Error> {
    let space = known_space(engine, &held.namespace).ok_or_else(stale)?;
    let keyed = engine.keyed(&space, &space.policy(), &held.key)?;
    let mut token = held.token;
    if planted::active(94) {
        token = engine.newest_token(&keyed).unwrap_or(token);
    }
    Ok(held::Held { space, keyed, token })
}

fn ending(settlement: &Settlement) -> Ending<'_> {
    match settlement {
        Settlement::Complete(response) => Ending::Complete(response),
        Settlement::Fail(failure) => Ending::Fail(failure.class()),
        Settlement::Release => Ending::Release,
    }
}

/// A claim that was taken over for a caller who is not told of it yet: dropped, it is an orphan again.
struct Undelivered {
    engine: Arc<Engine>,
    held: Option<held::Held>,
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.engine.abandon(&held);
        }
    }
}

fn grant(space: &Space, granted: Granted) -> Grant {
    let key = granted.keyed.full.get(4..).unwrap_or_default().into();
    let held = Held { namespace: (&*space.name).into(), key, token: granted.token, attempt: granted.attempt };
    Grant { held, progress: granted.progress, in_doubt: granted.in_doubt }
}

fn answer(claim: Claim) -> Answer {
    match claim {
        Claim::Claimed(lease) => Answer::Claimed(lease.into_grant()),
        Claim::Duplicate(receipt) => Answer::Duplicate(receipt),
        Claim::InProgress(holder) => Answer::InProgress(holder),
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store was closed")
}

impl backend::OrphanWatch for OrphanWatch {
    fn look(&self) {
        OrphanWatch::look(self);
    }

    fn sleep(&self, at_most: Duration) {
        OrphanWatch::sleep(self, at_most);
    }

    fn wake(&self) {
        OrphanWatch::wake(self);
    }
}

/// The default namespace of the store, which stays open until the last of these is dropped.
impl From<Store> for Claims {
    fn from(store: Store) -> Claims {
        Claims::new(Embedded::of(store.engine()), "").keeping(store)
    }
}

/// The default namespace of the store, which stays open until the last of these is dropped.
impl From<&Store> for Claims {
    fn from(store: &Store) -> Claims {
        store.clone().into()
    }
}

/// This namespace; its store stays open until the last of these is dropped.
impl From<Namespace> for Claims {
    fn from(namespace: Namespace) -> Claims {
        Claims::new(Embedded::of(namespace.engine()), &namespace.space().name).keeping(namespace)
    }
}

/// This namespace; its store stays open until the last of these is dropped.
impl From<&Namespace> for Claims {
    fn from(namespace: &Namespace) -> Claims {
        namespace.clone().into()
    }
}

/// The same claim, as a lease of any backend.
impl From<Lease> for claimstore_core::Lease {
    fn from(lease: Lease) -> claimstore_core::Lease {
        let (backend, given) = (lease.backend(), lease.given());
        claimstore_core::Lease::new(backend, lease.into_grant(), given)
    }
}

/// The same claim, as a lease of this store; given back unchanged when another backend granted it, or the store is closed.
impl TryFrom<claimstore_core::Lease> for Lease {
    type Error = claimstore_core::Lease;

    fn try_from(lease: claimstore_core::Lease) -> Result<Lease, claimstore_core::Lease> {
        let engine =
            lease.backend().as_any().downcast_ref::<Embedded>().and_then(|embedded| embedded.engine().ok());
        let Some(engine) = engine else { return Err(lease) };
        let Ok(held) = engine_held(&engine, lease.held()) else { return Err(lease) };
        let (grant, given) = lease.into_grant();
        Ok(Lease::of(&engine, held, grant, given))
    }
}

impl Lease {
    fn backend(&self) -> std::sync::Arc<dyn Backend> {
        std::sync::Arc::new(Embedded { engine: self.weak_engine() })
    }
}
