//! The engine: one live table, one journal, one set of runs, and the rules between them.
//!
//! Reading order: [`decide`] (what is answered), [`claims`] and [`settle`] (the life of one claim), [`write`] (how a key
//! gets its next version), [`commit`] and [`baton`] (how it becomes durable), [`cold`] (how it is found later), [`checkpoint`] (how it gets there),
//! [`upkeep`] and [`workers`] (what runs by itself).
//!
//! Locks: ARCHITECTURE.md, *Locks*, defines their order and the operations allowed under each. The part that every
//! claim uses: the order lock, then a shard of the live table. Neither is held across a write or a sync.

pub(crate) mod asked;
pub(crate) mod backup;
mod balance;
pub(crate) mod batches;
pub(crate) mod baton;
mod catalogue;
pub(crate) mod checkpoint;
pub(crate) mod claims;
mod closing;
pub(crate) mod cold;
pub(crate) mod commit;
pub(crate) mod counters;
mod defining;
mod dense;
pub(crate) mod entry;
pub(crate) mod fingerprint_key;
mod fingerprints;
mod forget;
mod graves;
mod growth;
pub(crate) mod held;
pub(crate) mod home;
pub(crate) mod import;
mod judge;
mod keys;
pub(crate) mod lapses;
mod last_calls;
mod leaving;
pub(crate) mod life;
pub(crate) mod live;
pub(crate) mod look;
pub(crate) mod measures;
mod merging;
pub(crate) mod moving;
pub(crate) mod observe;
mod order;
pub(crate) mod orphans;
mod parked_wakers;
mod places;
pub(crate) mod poison;
pub(crate) mod positions;
mod pruning;
#[cfg(feature = "metrics")]
pub(crate) mod publish;
#[cfg(feature = "metrics")]
mod published;
mod recent;
pub(crate) mod records;
pub(crate) mod repeats;
pub(crate) mod reserve;
mod room;
mod runs;
pub(crate) mod segments;
pub(crate) mod sequences;
pub(crate) mod settle;
mod sizes;
pub(crate) mod spaces;
pub(crate) mod spans;
mod spread;
mod stats;
mod streams;
mod striped;
pub(crate) mod table_home;
pub(crate) mod tasks;
mod threads;
pub(crate) mod time;
mod timers;
pub(crate) mod told;
pub(crate) mod transact;
pub(crate) mod upkeep;
mod usage;
mod verify;
pub(crate) mod waiters;
mod watching;
mod workers;
pub(crate) mod write;

use crate::bucket::KeyHasher;
use crate::error::{Error, ErrorKind};
use crate::io::{Entropy, FORKED, File, LockGuard, Process, Storage};
use crate::options::{Durability, Limits};
use crate::planted;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
pub(crate) use claimstore_core::decide;
use cold::Cold;
use commit::{Commit, Leads, Stamp};
use counters::UpkeepCounters;
use fingerprint_key::FingerprintKey;
use graves::Graves;
use growth::Growth;
use home::Home;
use lapses::Lapses;
use last_calls::LastCalls;
pub(crate) use life::SEQ_BITS;
use live::Live;
use measures::Measures;
pub(crate) use observe::Opening;
use poison::Poison;
use recent::Recent;
pub(crate) use segments::Class;
use segments::{InUse, Segments};
use spaces::Spaces;
use streams::Sequences;
use table_home::TableHome;
use tasks::Upkeep;
use threads::Threads;
use time::StoreClock;
use timers::Timers;

use waiters::Waiters;

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
    /// Counts of the latest minutes. No other lock is taken under it.
    recent: Mutex<Recent>,
    /// The catalogue, and other state that only upkeep changes. Its lock is the upkeep lock.
    pub(crate) home: Mutex<Home>,
    pub(crate) tables: TableHome,
    pub(crate) upkeep: Upkeep<Engine>,
    pub(crate) threads: Threads,
    pub(crate) timers: Timers,
    pub(crate) segments: Segments,
    pub(crate) graves: Graves,
    pub(crate) fingerprint_key: FingerprintKey,
    pub(crate) sequences: Sequences,
    /// The generation of the catalogue, stamped into every batch.
    pub(crate) catalogue_generation: AtomicU64,
    closed: AtomicBool,
    /// The last handle was dropped inside a closure of `complete_in`: the store closes when that closure ends.
    close_owed: AtomicBool,
    /// The guard of the lock file comes first. Empty once the store is closed.
    ownership: Mutex<Vec<LockGuard>>,
    #[cfg(feature = "metrics")]
    pub(crate) published: Mutex<published::Published>,
    /// The label of this store in metrics.
    #[cfg(feature = "metrics")]
    pub(crate) metrics_label: Arc<str>,
    last_calls: LastCalls,
    pub(crate) opening: Opening,
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
    pub(crate) segments: InUse,
    pub(crate) ownership: Vec<LockGuard>,
    #[cfg(feature = "metrics")]
    pub(crate) metrics_label: Arc<str>,
    pub(crate) opening: Opening,
}

impl Engine {
    pub(crate) fn assemble(parts: Parts) -> Arc<Engine> {
        let generation = parts.home.generation();
        let graves = Graves::new(parts.storage.clone(), parts.background);
        let (storage, entropy) = (parts.storage.clone(), parts.entropy.clone());
        let fingerprint_key = FingerprintKey::new(storage.clone(), entropy.clone(), parts.store_id);
        let limit_bytes = parts.limits.journal_bytes;
        let growth = Growth::of(&parts.limits);
        let segments = Segments::new(storage, entropy, parts.store_id, limit_bytes, growth, parts.segments);
        let recent = Mutex::new(Recent::since(parts.time.boot_ms()));
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
            recent,
            home: Mutex::new(parts.home),
            tables: parts.tables,
            upkeep: Upkeep::default(),
            threads: Threads::default(),
            timers: Timers::default(),
            segments,
            graves,
            fingerprint_key,
            sequences: Sequences::default(),
            catalogue_generation: AtomicU64::new(generation),
            closed: AtomicBool::new(false),
            close_owed: AtomicBool::new(false),
            ownership: Mutex::new(parts.ownership),
            #[cfg(feature = "metrics")]
            published: Mutex::default(),
            #[cfg(feature = "metrics")]
            metrics_label: parts.metrics_label,
            last_calls: LastCalls::default(),
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

    fn ring_waiters(&self) {
        self.waiters.ring_all();
        self.lapses.ring();
    }
}
