//! The engine: one live table, one journal, one set of runs, and the rules between them.
//!
//! Reading order: [`decide`] (what is answered), [`claims`] and [`settle`] (the life of one claim),
//! [`commit`] and [`baton`] (how it becomes durable), [`cold`] (how it is found later), [`checkpoint`] (how it gets there),
//! [`upkeep`] (what runs by itself).
//!
//! Locks: ARCHITECTURE.md, *Locks*, defines their order and the operations allowed under each. The part that every
//! claim uses: the order lock, then a shard of the live table. Neither is held across a write or a sync.

pub(crate) mod backup;
mod balance;
pub(crate) mod batches;
pub(crate) mod baton;
pub(crate) mod checkpoint;
pub(crate) mod claims;
pub(crate) mod cold;
pub(crate) mod commit;
pub(crate) mod counters;
pub(crate) mod decide;
mod dense;
pub(crate) mod fingerprint_key;
mod graves;
pub(crate) mod import;
pub(crate) mod lapses;
pub(crate) mod live;
pub(crate) mod local;
pub(crate) mod look;
pub(crate) mod measures;
pub(crate) mod moving;
pub(crate) mod observe;
pub(crate) mod orphans;
mod places;
pub(crate) mod poison;
pub(crate) mod positions;
#[cfg(feature = "metrics")]
pub(crate) mod publish;
pub(crate) mod repeats;
pub(crate) mod sequences;
pub(crate) mod settle;
mod sizes;
pub(crate) mod spaces;
pub(crate) mod spans;
mod striped;
pub(crate) mod tasks;
pub(crate) mod time;
pub(crate) mod upkeep;
pub(crate) mod waiters;

use crate::bucket::KeyHasher;
use crate::error::{Error, ErrorKind};
use crate::io::{Entropy, FORKED, File, LockGuard, Process, Storage};
use crate::options::{Durability, Limits};
use crate::planted;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use checkpoint::Home;
use cold::Cold;
use commit::{Commit, Leads, Order, Stamp};
use counters::UpkeepCounters;
use fingerprint_key::FingerprintKey;
use graves::Graves;
use lapses::Lapses;
use live::Live;
use local::TableHome;
use measures::Measures;
use poison::Poison;
use sequences::Sequences;
use spaces::Spaces;
use std::task::Waker;
use time::StoreClock;
use upkeep::Upkeep;
use waiters::Waiters;

/// A sequence number is the life of the store (24 bits) and a counter within it.
pub(crate) const SEQ_BITS: u32 = 40;
/// The highest life.
pub(crate) const LAST_LIFE: u64 = (1 << 24) - 1;

/// Everything one open store consists of.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) limits: Limits,
    pub(crate) durability: Durability,
    pub(crate) background: bool,
    /// Whether all changes are refused; those of the opening itself are kept in memory.
    pub(crate) read_only: bool,
    /// The process that opened the store. In a child of `fork()` a lock may stay held for ever, and the files belong
    /// to the parent.
    process: Process,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) store_id: [u8; 16],
    /// How often the store has been opened; tokens of this life begin with it.
    pub(crate) life: u64,
    pub(crate) hasher: KeyHasher,
    pub(crate) time: StoreClock,
    pub(crate) live: Live,
    pub(crate) cold: Cold,
    pub(crate) commit: Commit,
    pub(crate) poison: Poison,
    pub(crate) spaces: Spaces,
    pub(crate) waiters: Waiters,
    pub(crate) lapses: Lapses,
    pub(crate) counters: UpkeepCounters,
    pub(crate) measures: Measures,
    /// The catalogue, and other state that only upkeep changes. Its lock is the upkeep lock.
    pub(crate) home: Mutex<Home>,
    pub(crate) tables: TableHome,
    pub(crate) upkeep: Upkeep,
    pub(crate) graves: Graves,
    pub(crate) fingerprint_key: FingerprintKey,
    pub(crate) sequences: Sequences,
    /// The generation of the catalogue, stamped into every batch.
    pub(crate) catalogue_generation: AtomicU64,
    parked_wakers: Mutex<Vec<(u64, Waker)>>,
    closed: AtomicBool,
    /// The last handle was dropped inside a closure of `complete_in`: the store closes when that closure ends.
    close_owed: AtomicBool,
    /// The guard of the lock file comes first. Empty once the store is closed.
    ownership: Mutex<Vec<LockGuard>>,
    #[cfg(feature = "metrics")]
    pub(crate) published: Mutex<publish::Published>,
    /// The label of this store in metrics.
    #[cfg(feature = "metrics")]
    pub(crate) metrics_label: Arc<str>,
    /// The calls to make when the store closes; `None` once the close has taken them.
    last_calls: Mutex<Option<Vec<LastCall>>>,
    pub(crate) opening: Opening,
}

/// A call to be made when the store closes.
struct LastCall(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for LastCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastCall")
    }
}

/// The parts of an engine, as recovery builds them.
pub(crate) struct Parts {
    pub(crate) limits: Limits,
    pub(crate) durability: Durability,
    pub(crate) background: bool,
    pub(crate) read_only: bool,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) store_id: [u8; 16],
    pub(crate) life: u64,
    pub(crate) hasher: KeyHasher,
    pub(crate) time: StoreClock,
    pub(crate) live: Live,
    pub(crate) cold: Cold,
    pub(crate) commit: Commit,
    pub(crate) spaces: Spaces,
    pub(crate) home: Home,
    pub(crate) tables: TableHome,
    pub(crate) ownership: Vec<LockGuard>,
    #[cfg(feature = "metrics")]
    pub(crate) metrics_label: Arc<str>,
    pub(crate) opening: Opening,
}

/// The findings of the opening.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Opening {
    /// Batches replayed from the journal.
    pub(crate) replayed: u64,
    /// Whether the journal ended in the seal of a close.
    pub(crate) clean: bool,
    /// Whether a torn tail was cut off.
    pub(crate) tail_cut: bool,
}

/// The kind of an operation, for admission to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// New work: leaves a reserve, so that settlements still find room when the disk is full.
    Claim,
    /// The end of work that was begun: never refused for back-pressure.
    Settlement,
}

impl Engine {
    pub(crate) fn assemble(parts: Parts) -> Arc<Engine> {
        let generation = parts.home.generation();
        Arc::new(Engine {
            limits: parts.limits,
            durability: parts.durability,
            background: parts.background,
            read_only: parts.read_only,
            process: Process::current(),
            storage: parts.storage,
            entropy: parts.entropy,
            store_id: parts.store_id,
            life: parts.life,
            hasher: parts.hasher,
            time: parts.time,
            live: parts.live,
            cold: parts.cold,
            commit: parts.commit,
            poison: Poison::default(),
            spaces: parts.spaces,
            waiters: Waiters::default(),
            lapses: Lapses::default(),
            counters: UpkeepCounters::default(),
            measures: Measures::default(),
            home: Mutex::new(parts.home),
            tables: parts.tables,
            upkeep: Upkeep::default(),
            graves: Graves::default(),
            fingerprint_key: FingerprintKey::default(),
            sequences: Sequences::default(),
            catalogue_generation: AtomicU64::new(generation),
            parked_wakers: Mutex::default(),
            closed: AtomicBool::new(false),
            close_owed: AtomicBool::new(false),
            ownership: Mutex::new(parts.ownership),
            #[cfg(feature = "metrics")]
            published: Mutex::default(),
            #[cfg(feature = "metrics")]
            metrics_label: parts.metrics_label,
            last_calls: Mutex::new(Some(Vec::new())),
            opening: parts.opening,
        })
    }

    /// The first check of every call, before it takes any lock: whether this process opened the store, and whether
    /// the store is still served.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        self.check_process()?;
        self.check_serving()
    }

    /// The same for calls that change something.
    pub(crate) fn check_changes(&self) -> Result<(), Error> {
        self.check_open()?;
        self.check_writable()
    }

    /// Whether this is the process that opened the store, and no child of it by `fork()`.
    pub(crate) fn check_process(&self) -> Result<(), Error> {
        if self.is_here() { Ok(()) } else { Err(Error::new(ErrorKind::Misuse, FORKED)) }
    }

    /// The same, for drops and other calls that return no error.
    pub(crate) fn is_here(&self) -> bool {
        self.process.is_current()
    }

    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        if self.read_only {
            return Err(Error::new(
                ErrorKind::Misuse,
                "the store was opened read-only: nothing in it can change",
            ));
        }
        Ok(())
    }

    /// Whether calls are still served: not closed, not poisoned.
    pub(crate) fn check_serving(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        }
        self.poison.check()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until `batch` is committed.
    pub(crate) fn wait(&self, batch: u64) -> Result<(), Error> {
        self.commit.wait(batch, self)
    }

    /// Takes the order lock with room for `bytes` in one batch. Prepares a segment or drains the queue if needed.
    /// `Full` if no room can be made.
    pub(crate) fn admit(&self, bytes: usize, class: Class) -> Result<MutexGuard<'_, Order>, Error> {
        let largest = self.limits.segment_bytes / 2;
        if bytes as u64 > largest - 8_192 {
            return Err(Error::new(ErrorKind::TooLarge, "the batch does not fit a journal segment"));
        }
        let reserve = if class == Class::Claim { self.limits.segment_bytes / 8 } else { 0 };
        self.check_writable()?;
        loop {
            self.check_serving()?;
            let now_ms = self.time.now_ms();
            if let Some(order) = self.commit.admit(bytes, reserve, largest, now_ms)? {
                // Second look, under the order lock. A close takes this lock after it set the flag, so an operation
                // that passes here is queued before the close drains the queue.
                self.check_serving()?;
                return Ok(order);
            }
            self.make_room(class)?;
        }
    }

    /// Closes the store: queued operations are finished, later calls return `Closed`. Refused inside a closure of
    /// `transact` or `complete_in`, because it would wait for that closure.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.check_process()?;
        if self.tables.is_writing_here() {
            return Err(Error::new(ErrorKind::Misuse, "a transact cannot close its own store"));
        }
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        spans::close().run(|span| {
            span.count("life", self.life);
            self.wind_up()
        })
    }

    /// The rest of a close, once.
    fn wind_up(&self) -> Result<(), Error> {
        // `closed` is set, so nothing new is admitted; and an operation that was admitted before is in the queue once
        // `frontier` has had the order lock.
        let (last_batch, _) = self.commit.frontier();
        let drained = self.commit.wait(last_batch, self);
        // A `transact` that runs is waited for. One whose commit comes after the close rolls back.
        self.tables.wait_for_writer();
        self.stop_threads();
        self.upkeep.tasks.end();
        let sealed = match drained {
            Ok(()) if self.read_only => Ok(()),
            Ok(()) => self.seal(),
            Err(_) => Err(self.poison.error()),
        };
        self.commit.wake_all(self);
        self.tables.close();
        self.close_catalogue();
        // A caller may have tried to prepare a segment, or the fingerprint key, during the close. It must not touch a
        // file once the directory is free.
        self.close_segments();
        self.fingerprint_key.close();
        #[cfg(feature = "metrics")]
        self.publish();
        // Before the directory is free: these calls may remove files, which must not belong to another opening by
        // then.
        self.run_last_calls();
        self.ownership.lock().clear();
        observe::closed(self.life, sealed.is_ok());
        sealed
    }

    /// Checks that all locked files still have their names, and poisons the store if not: a file created by name
    /// could then end up in another store's directory.
    pub(crate) fn check_all_owned(&self) -> Result<(), Error> {
        self.all_owned().map_err(|error| self.commit.give_up(self, &error))
    }

    /// The check alone. A caller that holds `home` must release it before it poisons the store, because that calls
    /// wakers.
    pub(crate) fn all_owned(&self) -> std::io::Result<()> {
        self.ownership.lock().iter().try_for_each(|owned| owned.check())
    }

    /// Registers `call` for the close of the store. If the store is closed already, makes the call at once. Does
    /// nothing in a child of `fork()`.
    pub(crate) fn on_close(&self, call: Box<dyn FnOnce() + Send>) {
        if !self.is_here() {
            return;
        }
        if let Some(calls) = &mut *self.last_calls.lock() {
            calls.push(LastCall(call));
            return;
        }
        call();
    }

    fn run_last_calls(&self) {
        let calls = self.last_calls.lock().take();
        for LastCall(call) in calls.into_iter().flatten() {
            call();
        }
    }

    /// Closes when the last handle is dropped. An error cannot be returned, but everything acknowledged is durable
    /// anyway.
    pub(crate) fn close_quietly(&self) {
        if self.tables.is_writing_here() {
            self.close_owed.store(true, Ordering::Release);
        } else {
            drop(self.close());
        }
    }

    /// After a closure of `transact` or `complete_in` ended.
    pub(crate) fn close_if_owed(&self) {
        if self.close_owed.swap(false, Ordering::AcqRel) {
            drop(self.close());
        }
    }
}

impl Leads for Engine {
    fn poison(&self) -> &Poison {
        &self.poison
    }

    fn stamp(&self) -> Stamp {
        Stamp { mark_ms: self.time.now_ms(), generation: self.catalogue_generation.load(Ordering::Acquire) }
    }

    fn check_ownership(&self) -> std::io::Result<()> {
        if planted::active(53) {
            return Ok(());
        }
        self.ownership.lock().first().map_or(Ok(()), |owned| owned.check())
    }

    fn leads_to(&self, name: &str, file: &dyn File) -> std::io::Result<bool> {
        self.storage.leads_to(name, file)
    }

    fn measures(&self) -> &Measures {
        &self.measures
    }

    fn lap_ns(&self) -> u64 {
        self.time.lap_ns()
    }

    fn nudge_service(&self) {
        if !self.commit.service_wanted.swap(true, Ordering::AcqRel) {
            self.commit.service.signal_all();
        }
    }

    fn park_waker(&self, batch: u64, waker: &Waker) {
        self.parked_wakers.lock().push((batch, waker.clone()));
    }

    fn ring_waiters(&self) {
        self.waiters.ring_all();
        self.lapses.ring();
    }

    fn parked_wakers(&self, batch: u64) -> Vec<Waker> {
        let mut parked = self.parked_wakers.lock();
        if parked.is_empty() {
            return Vec::new();
        }
        let (ready, rest) = std::mem::take(&mut *parked).into_iter().partition(|(of, _)| *of <= batch);
        *parked = rest;
        let ready: Vec<(u64, Waker)> = ready;
        ready.into_iter().map(|(_, waker)| waker).collect()
    }
}
