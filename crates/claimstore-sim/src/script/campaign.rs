//! Looks at the crash images of whole scripts, and counts what it looked at.

use super::crash::{Cut, Image, Recording};
use super::runner::Stop;
use super::world::World;
use crate::{Level, Rng, SimDisk, Variant};
use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
/// Of so many images, one is crashed again.
const DOUBLE_EVERY: usize = 4;
/// So many failures are shown before giving up.
const SHOWN: usize = 5;

/// A look at many crash images.
#[derive(Debug, Default)]
pub struct Campaign {
    /// What went wrong, each with the line that replays it.
    pub failures: Vec<String>,
    images: HashSet<u64>,
    doubles: HashSet<u64>,
    worked_on: usize,
    go_on: usize,
    lying: bool,
}

impl Campaign {
    /// Opens and compares every image, and works on behind one of `go_on`.
    pub fn new(go_on: usize) -> Campaign {
        Campaign { go_on, ..Campaign::default() }
    }

    /// The control: the same on disks whose syncs do nothing (L6).
    pub fn lying(go_on: usize) -> Campaign {
        Campaign { go_on, lying: true, ..Campaign::default() }
    }

    /// How many distinct images were looked at.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// Whether enough has failed to stop.
    pub fn is_over(&self) -> bool {
        self.failures.len() >= SHOWN
    }

    /// How long the script of `seed` is.
    pub fn script_len(seed: u64) -> usize {
        30 + Rng::new(!seed).index(31)
    }

    /// Looks at some hundred images of the script of `len` steps that `seed` makes.
    pub fn script(&mut self, seed: u64, len: usize) {
        let mut rng = Rng::new(!seed);
        // The first draw is the length: a shorter script is cut at the same distances.
        rng.next_u64();
        let lying = if self.lying { " --lying" } else { "" };
        let line = format!("cargo run -p claimstore-sim --{lying} --seed {seed} --steps {len}");
        let disk = if self.lying { SimDisk::lying() } else { SimDisk::new() };
        let recording = match guarded(|| Recording::on(World::home(&disk), seed, len)) {
            Ok(recording) => recording,
            Err(what) => return self.failures.push(format!("{line}: {what}")),
        };
        let mut event = rng.index(6);
        while event <= recording.events() && !self.is_over() {
            for level in LEVELS {
                let cut = Cut { event, variant: Variant::new(level, rng.next_u64() >> 40) };
                self.look(&recording, cut, &line, &mut rng);
            }
            event += 1 + rng.index(6);
        }
    }

    /// Looks at one image; if `twice`, also at crashes inside its recovery.
    pub fn look_at(&mut self, image: &Image, twice: bool, line: &str, rng: &mut Rng) {
        match self.check(image) {
            Err(what) => self.failures.push(format!("{line}: {what}")),
            Ok(recovered) if twice => self.look_again(image, recovered, line, rng),
            Ok(_) => {}
        }
    }

    /// Adds what another one looked at.
    pub fn join(&mut self, other: Campaign) {
        self.images.extend(other.images);
        self.doubles.extend(other.doubles);
        self.worked_on += other.worked_on;
        self.failures.extend(other.failures);
    }

    fn look(&mut self, recording: &Recording, cut: Cut, line: &str, rng: &mut Rng) {
        let image = recording.image(cut);
        if !self.images.insert(image.digest()) && cut.variant.level != Level::L0 {
            return;
        }
        let twice = self.images.len().is_multiple_of(DOUBLE_EVERY);
        self.look_at(&image, twice, &format!("{line} {cut}"), rng);
    }

    /// Opens and compares every image; goes on behind one of `go_on`.
    fn check(&mut self, image: &Image) -> Result<usize, String> {
        if (self.images.len() + self.doubles.len()).is_multiple_of(self.go_on) {
            self.worked_on += 1;
            guarded(|| image.check())
        } else {
            guarded(|| image.recover())
        }
    }

    /// Crashes inside the recovery, at two points.
    fn look_again(&mut self, image: &Image, recovered: usize, line: &str, rng: &mut Rng) {
        for _ in 0..2 {
            let level = LEVELS[rng.index(LEVELS.len())];
            let cut =
                Cut { event: rng.index(recovered + 1), variant: Variant::new(level, rng.next_u64() >> 40) };
            let again = image.again(cut);
            if !self.doubles.insert(again.digest()) {
                continue;
            }
            if let Err(what) = self.check(&again) {
                self.failures.push(format!("{line} {cut}: {what}"));
            }
        }
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let panics = self.failures.iter().filter(|failure| failure.contains("panicked")).count();
        write!(
            f,
            "crash images: {} distinct, {} double, {} of both worked on, {} lost or phantom, {panics} panic",
            self.images.len(),
            self.doubles.len(),
            self.worked_on,
            self.failures.len() - panics,
        )
    }
}

/// A panic anywhere is a failure.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Stop>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(stop)) => Err(format!("{stop:?}")),
        Err(_) => Err("panicked".to_owned()),
    }
}
