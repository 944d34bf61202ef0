//! Scripts whose disk is looked at after a crash behind any of its events.

use super::failing::{honest, lose_power};
use super::model::Model;
use super::runner::{Done, Runner, Stop, Trace, disagree};
use super::steps::{Step, random_steps};
use super::suffix::{Point, durability_of, prefixes};
use super::world::World;
use crate::{Fault, Level, Rng, SimDisk, Target, Variant};
use std::fmt;

/// How far a store goes on behind a crash.
const STEPS_BEHIND: usize = 10;

/// A script that ran on a recording disk, and what it was told.
#[derive(Debug)]
pub struct Recording {
    seed: u64,
    runner: Runner,
    trace: Trace,
}

/// One crash: behind which event, and what it takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many events came before.
    pub event: usize,
    /// What survives.
    pub variant: Variant,
}

/// A disk as some crash left it, and what a store on it may know.
#[derive(Debug)]
pub struct Image {
    disk: SimDisk,
    seed: u64,
    /// Whatever may be known: of what was acknowledged that which the crash cannot have taken; and what was under way.
    allowed: Vec<Model>,
    /// The same once another loss of power comes on top.
    behind_loss: Vec<Model>,
    /// The life and the token that were surely given.
    floor: (u64, u64),
    /// Whether the machine started anew: its boot clock too.
    reboot: bool,
    wall_ms: u64,
    boot_ms: u64,
}

impl Recording {
    /// Runs the script of `len` steps that `seed` makes.
    pub fn new(seed: u64, len: usize) -> Result<Recording, Stop> {
        Recording::on(World::home(&SimDisk::new()), seed, len)
    }

    /// The same on a disk of the caller's choice. The seed chooses the durability level, too.
    pub fn on(disk: SimDisk, seed: u64, len: usize) -> Result<Recording, Stop> {
        let world = World { durability: durability_of(seed), ..World::on(disk, seed) };
        Recording::in_world(world, &Recording::steps(seed, len))
    }

    /// Runs a script of the caller's own, without crashes in it.
    pub fn of(disk: SimDisk, seed: u64, steps: &[Step]) -> Result<Recording, Stop> {
        Recording::in_world(World::on(disk, seed), steps)
    }

    /// The same on a machine of the caller's own, whose disk is empty.
    pub fn in_world(world: World, steps: &[Step]) -> Result<Recording, Stop> {
        let seed = world.seed;
        let mut runner = Runner::on_empty(world)?;
        runner.record();
        for step in steps {
            runner.step(step)?;
        }
        let trace = runner.trace().cloned().unwrap_or_default();
        Ok(Recording { seed, runner, trace })
    }

    /// The script: crashes come from outside.
    pub fn steps(seed: u64, len: usize) -> Vec<Step> {
        let mut steps = random_steps(&mut Rng::new(seed), len);
        steps.retain(|step| !matches!(step, Step::Crash { .. }));
        steps
    }

    /// The machine.
    pub fn world(&self) -> &World {
        &self.runner.world
    }

    /// How many events there are to crash behind.
    pub fn events(&self) -> usize {
        self.runner.world.disk.events()
    }

    /// How many events the birth of the store took.
    pub fn birth(&self) -> usize {
        self.trace.points.first().map_or(0, |(events, _)| *events)
    }

    /// Where a crash falls, in words.
    pub fn position(&self, cut: Cut) -> String {
        let behind = self.trace.points.partition_point(|(events, _)| *events <= cut.event);
        match behind {
            0 => "in the birth of the store".to_owned(),
            // Point 0 is the birth.
            _ => format!("in step {}", behind - 1),
        }
    }

    /// The disk after a crash.
    pub fn image(&self, cut: Cut) -> Image {
        let points = &self.trace.points;
        // A step counts as acknowledged when its last event had happened. Before the first point there is
        // the birth of the store, which may have come to nothing.
        let behind = points.partition_point(|(events, _)| *events <= cut.event);
        let last = behind.saturating_sub(1);
        let next = behind.min(points.len() - 1);
        let now = points.get(last).map(|(_, point)| point.model.clone()).unwrap_or_default();
        let floor = |of: &[u64], at: usize| of.get(at).copied().unwrap_or_default();
        let durable = self.trace.durable.get(last).copied().unwrap_or_default();
        let behind_loss = self.what_may_be_left(durable, last, next);
        let allowed = match cut.variant.level {
            Level::L0 => self.what_may_be_left(last, last, next),
            _ => behind_loss.clone(),
        };
        Image {
            disk: self.runner.world.disk.crash_at(cut.event, cut.variant),
            seed: Rng::new(self.seed ^ cut.variant.seed.rotate_left(32) ^ cut.event as u64).next_u64(),
            floor: (
                if behind == 0 { 0 } else { floor(&self.trace.lives, last) },
                floor(&self.trace.tokens, next),
            ),
            reboot: cut.variant.level != Level::L0 && cut.variant.seed % 2 == 1,
            wall_ms: now.wall_ms,
            boot_ms: now.boot_ms,
            allowed,
            behind_loss,
        }
    }

    /// Point `durable` surely is, point `last` was acknowledged, and point `next` was under way.
    fn what_may_be_left(&self, durable: usize, last: usize, next: usize) -> Vec<Model> {
        let through = |end: usize| -> Vec<Point> {
            let points = self.trace.points.get(durable..=end).unwrap_or_default();
            points.iter().map(|(_, point)| point.clone()).collect()
        };
        let mut left = prefixes(&through(last));
        left.extend(prefixes(&through(next)));
        let mut different: Vec<Model> = Vec::new();
        for model in left {
            if !different.contains(&model) {
                different.push(model);
            }
        }
        different
    }
}

impl Image {
    /// Tells images apart.
    pub fn digest(&self) -> u64 {
        self.disk.digest()
    }

    /// Opens the store, compares it before anything else, and goes on. Answers how many events the recovery
    /// made: those of [`again`](Image::again).
    pub fn check(&self) -> Result<usize, Stop> {
        let mut runner = Runner::recover(self.world(), &self.allowed, self.floor)?;
        let recovered = self.disk.events();
        self.check_time(&runner)?;
        runner.check_token()?;
        for step in random_steps(&mut Rng::new(self.seed), STEPS_BEHIND) {
            runner.step(&step)?;
        }
        // What was torn must have been mended well enough to stand behind what came after it.
        let level = [Level::L0, Level::L1, Level::L2, Level::L3][(self.seed % 4) as usize];
        runner.lose_power(Variant::new(level, self.seed))?;
        runner.finish()?;
        Ok(recovered)
    }

    /// Opens the store and compares it, and no more. Answers how many events the recovery made.
    pub fn recover(&self) -> Result<usize, Stop> {
        let runner = Runner::recover(self.world(), &self.allowed, self.floor)?;
        let recovered = self.disk.events();
        self.check_time(&runner)?;
        self.disk.unplug();
        Ok(recovered)
    }

    /// How many operations of each of `targets` it takes to open the store and to compare it.
    pub fn operations<const N: usize>(&self, targets: [Target; N]) -> Result<[u64; N], Stop> {
        let runner = Runner::recover(self.world(), &self.allowed, self.floor)?;
        // Before the store is let go of, which makes operations of its own.
        let counted = targets.map(|target| self.disk.operations(target));
        self.disk.unplug();
        drop(runner);
        Ok(counted)
    }

    /// Opens the store while operation number `at` of the fault's target fails: it is refused honestly, or knows
    /// what it should. Opened again on a well disk, it must know the same, and once more after a power loss. Answers
    /// whether the first opening was refused.
    pub fn survive(&self, at: u64, fault: Fault) -> Result<bool, Stop> {
        self.disk.stop_recording();
        self.disk.fail_at(at, fault);
        let world = self.world();
        let (mut runner, refused) = match Runner::recover(world.clone(), &self.allowed, self.floor) {
            Ok(mut runner) => {
                runner.let_go();
                self.disk.clear_faults();
                runner.revive()?;
                (runner, false)
            }
            Err(Stop::Failed(kind, what)) => {
                honest(kind, &what)?;
                self.disk.clear_faults();
                // No two opens draw the same bytes.
                let world = World { seed: !world.seed, ..world };
                let left = if fault.target == Target::Syncs { &self.behind_loss } else { &self.allowed };
                (Runner::recover(world, left, self.floor)?, true)
            }
            Err(stop) => return Err(stop),
        };
        self.check_time(&runner)?;
        runner.check_token()?;
        lose_power(&mut runner, self.seed ^ at)?;
        runner.finish()?;
        Ok(refused)
    }

    pub(super) fn disk(&self) -> &SimDisk {
        &self.disk
    }

    pub(super) fn world(&self) -> World {
        let world = World::at(self.disk.clone(), self.seed, self.wall_ms, self.boot_ms);
        if self.reboot {
            world.clock.reboot();
        }
        world
    }

    /// A second crash, inside the recovery of the first.
    #[must_use]
    pub fn again(&self, cut: Cut) -> Image {
        let left = if cut.variant.level == Level::L0 { &self.allowed } else { &self.behind_loss };
        Image {
            disk: self.disk.crash_at(cut.event, cut.variant),
            seed: Rng::new(self.seed ^ cut.variant.seed ^ cut.event as u64).next_u64(),
            allowed: left.clone(),
            behind_loss: self.behind_loss.clone(),
            ..*self
        }
    }

    /// Within one boot, store time is measured to the millisecond.
    fn check_time(&self, runner: &Runner) -> Done {
        let expected_ms = self.allowed.first().map_or(0, |model| model.store_ms);
        let now_ms = runner.model.store_ms;
        if !self.reboot && now_ms != expected_ms {
            return disagree(format!("store time {expected_ms} became {now_ms} by a crash"));
        }
        Ok(())
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--event {} --level {:?} --variant {}", self.event, self.variant.level, self.variant.seed)
    }
}
