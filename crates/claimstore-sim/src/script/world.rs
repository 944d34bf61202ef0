//! The machine a script runs on.

use crate::gate::Gated;
use crate::{Rng, SeededEntropy, SimDisk, SimKernel};
use claimstore::io::Clock;
use claimstore::{Durability, Error, ManualClock, Options, Store};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The largest response the stores of scripts take.
pub(super) const MAX_RESPONSE_BYTES: usize = 1 << 10;
pub(super) const START_MS: u64 = 1_800_000_000_000;

/// The directory of the store, two levels below the root of its disk: their names are to be made durable, too.
const HOME: &str = "srv/store";

/// How a store is opened on the disk of its machine.
pub trait Ground: Debug + Send + Sync {
    /// Opens the store in the directory of `disk`, which is made if it is missing.
    fn open(&self, options: Options, disk: &SimDisk) -> Result<Store, Error>;
}

/// By the storage of real machines, on a simulated kernel that does what it is asked.
#[derive(Debug)]
pub struct RealStorage;

impl Ground for RealStorage {
    fn open(&self, options: Options, disk: &SimDisk) -> Result<Store, Error> {
        options.open_in(SimKernel::new(disk).storage(disk))
    }
}

/// A machine: its disk, its clock, its luck.
#[derive(Debug, Clone)]
pub struct World {
    /// The disk. The store of a new machine is in a directory below its root.
    pub disk: Arc<SimDisk>,
    /// How the store is opened on it.
    pub ground: Arc<dyn Ground>,
    /// The clock.
    pub clock: ManualClock,
    /// Seeds the store's random bytes.
    pub seed: u64,
    /// What the store may lose with the power.
    pub durability: Durability,
    /// Whether threads may be stopped at the disk: see [`gate`](crate::gate).
    pub gated: bool,
}

impl World {
    /// A new machine with an empty disk.
    pub fn new(seed: u64) -> World {
        World::on(World::home(&SimDisk::new()), seed)
    }

    /// The directory of the store of a new machine with this disk.
    #[must_use]
    pub fn home(disk: &SimDisk) -> SimDisk {
        disk.within(HOME)
    }

    /// A new machine with a disk.
    pub fn on(disk: SimDisk, seed: u64) -> World {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_millis(START_MS));
        World {
            disk: Arc::new(disk),
            ground: Arc::new(RealStorage),
            clock,
            seed,
            durability: Durability::Sync,
            gated: false,
        }
    }

    /// The same with a gate before the disk.
    pub(super) fn gated(self) -> World {
        World { gated: true, ..self }
    }

    /// A machine whose clock reads what is given, in the first boot: another one's, some time ago.
    pub fn at(disk: SimDisk, seed: u64, wall_ms: u64, boot_ms: u64) -> World {
        let world = World::on(disk, seed);
        world.clock.advance(Duration::from_millis(boot_ms.saturating_sub(world.clock.boot_ms())));
        world.set_wall(wall_ms);
        world
    }

    /// Steps the wall clock.
    pub fn set_wall(&self, wall_ms: u64) {
        self.clock.set_wall(UNIX_EPOCH + Duration::from_millis(wall_ms));
    }

    /// The same machine with another disk: after losing power.
    #[must_use]
    pub fn with_disk(&self, disk: SimDisk) -> World {
        World { disk: Arc::new(disk), ..self.clone() }
    }

    /// Opens the store, small in every way, without threads of its own. No two opens draw the same bytes.
    pub fn open(&mut self) -> Result<Store, Error> {
        self.seed = Rng::new(self.seed).next_u64();
        let options = self.options();
        self.open_with(options)
    }

    /// Opens it to look at it.
    pub fn open_read_only(&self) -> Result<Store, Error> {
        self.open_with(self.options().read_only(true))
    }

    /// Opens the store with options of the caller's own.
    pub fn open_with(&self, options: Options) -> Result<Store, Error> {
        if !self.gated {
            return self.ground.open(options, &self.disk);
        }
        let storage = SimKernel::new(&self.disk).storage(&self.disk);
        storage.create_root().map_err(Error::caller)?;
        options.open_on(Arc::new(Gated::before(Arc::new(storage))))
    }

    fn options(&self) -> Options {
        // Behind a gate each look at a run is a read of it.
        let cache_bytes = if self.gated { 0 } else { 1 << 20 };
        Options::new()
            .background(false)
            .durability(self.durability)
            .clock(self.clock.clone())
            .entropy(SeededEntropy::new(self.seed))
            .first_segment_bytes(12 << 10)
            .segment_bytes(36 << 10)
            .max_response_bytes(MAX_RESPONSE_BYTES)
            .max_progress_bytes(1 << 10)
            .page_cache_bytes(cache_bytes)
            .journal_bytes(16 << 20)
            .checkpoint_bytes(32 << 10)
    }
}
