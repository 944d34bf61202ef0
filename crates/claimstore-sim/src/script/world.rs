//! The machine a script runs on.

use crate::gate::Gated;
use crate::{Rng, SeededEntropy, SimDisk};
use claimstore::io::{Clock, Storage};
use claimstore::{Error, ManualClock, Options, Store};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The largest response the stores of scripts take.
pub(super) const MAX_RESPONSE_BYTES: usize = 1 << 10;
pub(super) const START_MS: u64 = 1_800_000_000_000;

/// A machine: its disk, its clock, its luck.
#[derive(Debug, Clone)]
pub struct World {
    /// The disk.
    pub disk: Arc<SimDisk>,
    /// The clock.
    pub clock: ManualClock,
    /// Seeds the store's random bytes.
    pub seed: u64,
    /// Whether threads may be stopped at the disk: see [`gate`](crate::gate).
    pub(super) gated: bool,
}

impl World {
    /// A new machine with an empty disk.
    pub fn new(seed: u64) -> World {
        World::on(SimDisk::new(), seed)
    }

    /// A new machine with a disk.
    pub fn on(disk: SimDisk, seed: u64) -> World {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_millis(START_MS));
        World { disk: Arc::new(disk), clock, seed, gated: false }
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
        let mut storage: Arc<dyn Storage> = self.disk.clone();
        // Behind a gate each look at a run is a read of it.
        let mut cache_bytes = 1 << 20;
        if self.gated {
            (storage, cache_bytes) = (Arc::new(Gated::before(storage)), 0);
        }
        Options::new()
            .background(false)
            .clock(self.clock.clone())
            .entropy(SeededEntropy::new(self.seed))
            .segment_bytes(36 << 10)
            .max_response_bytes(MAX_RESPONSE_BYTES)
            .max_progress_bytes(1 << 10)
            .page_cache_bytes(cache_bytes)
            .journal_bytes(16 << 20)
            .checkpoint_bytes(32 << 10)
            .open_on(storage)
    }
}
