//! Crash images: a script runs on a recording disk; a store is opened on what a crash behind any event may
//! leave, and compared with what had been acknowledged before anything else is done to it (P1-P12, L0-L3).
//!
//! `CLAIMSTORE_IMAGES` sets how many distinct images are looked at, `CLAIMSTORE_GO_ON` behind how many of them
//! one is worked on: a long run looks at more crashes for the same time when it only opens most of them.

use crate::watch::scale;
use claimstore_sim::script::{Cut, Image, Recording, Step, Stop};
use claimstore_sim::{Level, Rng, SimDisk, Variant};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
/// Two threads, each with half of the scripts.
const THREADS: u64 = 2;
/// Of so many images, one is crashed again.
const DOUBLE_EVERY: usize = 4;
/// How many failures are shown before giving up.
const SHOWN: usize = 5;

#[derive(Default)]
struct Tally {
    images: HashSet<u64>,
    doubles: HashSet<u64>,
    worked_on: usize,
    failures: Vec<String>,
}

#[test]
fn no_crash_loses_or_invents_anything() {
    let images = wanted();
    let halves = std::thread::scope(|scope| {
        let half = |thread| scope.spawn(move || campaign(thread, images.div_ceil(THREADS as usize)));
        let halves: Vec<_> = (0..THREADS).map(half).collect();
        halves.into_iter().map(|half| half.join().unwrap()).collect::<Vec<_>>()
    });
    let mut total = Tally::default();
    for half in halves {
        total.images.extend(half.images);
        total.doubles.extend(half.doubles);
        total.worked_on += half.worked_on;
        total.failures.extend(half.failures);
    }
    let of = |what: &str| total.failures.iter().filter(|failure| failure.contains(what)).count();
    println!(
        "crash images: {} distinct, {} double, {} of both worked on, {} lost or phantom, {} panic",
        total.images.len(),
        total.doubles.len(),
        total.worked_on,
        total.failures.len() - of("panicked"),
        of("panicked"),
    );
    assert!(total.failures.is_empty(), "{}", total.failures.join("\n"));
}

/// The control: a disk whose syncs do nothing must be caught, else nothing above means anything (L6).
#[test]
fn a_lying_disk_is_caught() {
    let (mut looked, mut caught) = (0, 0);
    for seed in 0..10 {
        let recording = Recording::on(SimDisk::lying(), seed, 40).unwrap();
        for event in (0..recording.events()).step_by(23) {
            let cut = Cut { event, variant: Variant::new(Level::L1, event as u64) };
            looked += 1;
            caught += usize::from(recording.image(cut).check().is_err());
        }
    }
    println!("a lying disk: {caught} of {looked} images caught");
    assert!(caught > looked / 2);
}

/// Regression: a directory half made was taken for a foreign or a damaged one; and a name that only the page
/// cache knew was built upon.
#[test]
fn a_birth_may_be_interrupted_anywhere() {
    let recording = Recording::new(34, 3).unwrap();
    let mut tally = Tally::default();
    for event in 0..=recording.birth() {
        for (level, seed) in LEVELS.into_iter().flat_map(|level| (0..6).map(move |seed| (level, seed))) {
            let cut = Cut { event, variant: Variant::new(level, seed) };
            let mut rng = Rng::new(seed);
            let image = recording.image(cut);
            match guarded(|| image.check()) {
                Err(what) => tally.failures.push(format!("{cut}: {what}")),
                Ok(recovered) => {
                    look_again(&image, recovered, &cut.to_string(), &mut rng, &mut tally, 1);
                }
            }
        }
    }
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}

/// Regression: runs that no catalogue names stayed from number 10 on, and stopped every later checkpoint.
#[test]
fn a_run_without_a_catalogue_is_removed_whatever_its_number() {
    let step =
        |key| [Step::Claim { key, ttl: 2, payload: 0 }, Step::Complete { held: 0, len: 9 }, Step::Checkpoint];
    let steps: Vec<Step> = (0..10).chain(0..4).flat_map(step).collect();
    let recording = Recording::of(SimDisk::new(), 19, &steps).unwrap();
    for event in recording.birth()..=recording.events() {
        let cut = Cut { event, variant: Variant::new(Level::L0, 0) };
        guarded(|| recording.image(cut).check()).unwrap_or_else(|what| panic!("{cut}: {what}"));
    }
}

/// Regression: near the end of a segment a lone caller was told again and again that there is no room.
#[test]
fn progress_never_runs_out_of_room() {
    for times in 0..120 {
        let steps = [
            Step::Claim { key: 1, ttl: 2, payload: 0 },
            Step::Claim { key: 2, ttl: 2, payload: 0 },
            Step::Labour { held: 0, times },
            Step::Labour { held: 1, times: 3 },
            Step::Retry { held: 0, after_s: 0 },
            Step::Claim { key: 1, ttl: 2, payload: 0 },
            Step::CompleteMany,
        ];
        let recording = Recording::of(SimDisk::new(), times as u64, &steps);
        assert!(recording.is_ok(), "{times}: {:?}", recording.err());
    }
}

fn wanted() -> usize {
    scale("CLAIMSTORE_IMAGES", 20_000)
}

fn campaign(thread: u64, images: usize) -> Tally {
    let mut tally = Tally::default();
    let mut seed = scale("CLAIMSTORE_SEED", 0) + thread;
    let go_on = scale("CLAIMSTORE_GO_ON", 1);
    while tally.images.len() < images && tally.failures.len() < SHOWN {
        script(seed, go_on, &mut tally);
        seed += THREADS;
    }
    tally
}

/// Looks at some hundred images of one script.
fn script(seed: u64, go_on: usize, tally: &mut Tally) {
    let mut rng = Rng::new(!seed);
    let len = 30 + rng.index(31);
    let line = format!("cargo run -p claimstore-sim -- --seed {seed} --steps {len}");
    let recording = match guarded(|| Recording::new(seed, len)) {
        Ok(recording) => recording,
        Err(what) => return tally.failures.push(format!("{line}: {what}")),
    };
    let mut event = rng.index(6);
    while event <= recording.events() {
        for level in LEVELS {
            let cut = Cut { event, variant: Variant::new(level, rng.next_u64() >> 40) };
            look(&recording, cut, &line, &mut rng, tally, go_on);
        }
        event += 1 + rng.index(6);
    }
}

fn look(recording: &Recording, cut: Cut, line: &str, rng: &mut Rng, tally: &mut Tally, go_on: usize) {
    let image = recording.image(cut);
    if !tally.images.insert(image.digest()) && cut.variant.level != Level::L0 {
        return;
    }
    match check(&image, tally, go_on) {
        Err(what) => tally.failures.push(format!("{line} {cut}: {what}")),
        Ok(recovered) if tally.images.len().is_multiple_of(DOUBLE_EVERY) => {
            look_again(&image, recovered, &format!("{line} {cut}"), rng, tally, go_on);
        }
        Ok(_) => {}
    }
}

/// Opens and compares every image; goes on behind one of `go_on`.
fn check(image: &Image, tally: &mut Tally, go_on: usize) -> Result<usize, String> {
    if (tally.images.len() + tally.doubles.len()).is_multiple_of(go_on) {
        tally.worked_on += 1;
        guarded(|| image.check())
    } else {
        guarded(|| image.recover())
    }
}

/// Crashes inside the recovery, at two points.
fn look_again(image: &Image, recovered: usize, line: &str, rng: &mut Rng, tally: &mut Tally, go_on: usize) {
    for _ in 0..2 {
        let level = LEVELS[rng.index(LEVELS.len())];
        let cut = Cut { event: rng.index(recovered + 1), variant: Variant::new(level, rng.next_u64() >> 40) };
        let again = image.again(cut);
        if !tally.doubles.insert(again.digest()) {
            continue;
        }
        if let Err(what) = check(&again, tally, go_on) {
            tally.failures.push(format!("{line} {cut}: {what}"));
        }
    }
}

/// A panic anywhere is a failure.
fn guarded<T>(work: impl FnOnce() -> Result<T, Stop>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(stop)) => Err(format!("{stop:?}")),
        Err(_) => Err("panicked".to_owned()),
    }
}
