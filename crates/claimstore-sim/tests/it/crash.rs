//! Crash images: a script runs on a recording disk; a store is opened on what a crash behind any event may
//! leave, and compared with what had been acknowledged before anything else is done to it (P1-P12, L0-L3).
//!
//! `CLAIMSTORE_IMAGES` sets how many distinct images are looked at, `CLAIMSTORE_GO_ON` behind how many of them
//! one is worked on: a long run looks at more crashes for the same time when it only opens most of them.

use crate::watch::{Watchdog, begun, scale, this_test, told};
use claimstore_sim::script::{Campaign, Cut, Recording, Step, guarded};
use claimstore_sim::{Level, Rng, SimDisk, Variant};

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
/// Two threads, each with half of the scripts.
const THREADS: u64 = 2;

#[test]
fn no_crash_loses_or_invents_anything() {
    begun();
    let images: usize = scale("CLAIMSTORE_IMAGES", 20_000);
    let halves = std::thread::scope(|scope| {
        let half = |thread| scope.spawn(move || campaign(thread, images.div_ceil(THREADS as usize)));
        let halves: Vec<_> = (0..THREADS).map(half).collect();
        halves.into_iter().map(|half| half.join().unwrap()).collect::<Vec<_>>()
    });
    let mut total = Campaign::default();
    halves.into_iter().for_each(|half| total.join(half));
    told(format_args!("{total}"));
    assert!(total.failures.is_empty(), "{}", total.failures.join("\n"));
}

/// The control: a disk whose syncs do nothing must be caught, else nothing above means anything (L6).
#[test]
fn a_lying_disk_is_caught() {
    this_test();
    let (mut looked, mut caught) = (0, 0);
    for seed in 0..10 {
        let recording = Recording::on(SimDisk::lying(), seed, 40).unwrap();
        for event in (0..recording.events()).step_by(23) {
            let cut = Cut { event, variant: Variant::new(Level::L1, event as u64) };
            looked += 1;
            caught += usize::from(recording.image(cut).check().is_err());
        }
    }
    told(format_args!("a lying disk: {caught} of {looked} images caught"));
    assert!(caught > looked / 2);
}

/// Regression: a directory half made was taken for a foreign or a damaged one; and a name that only the page
/// cache knew was built upon.
#[test]
fn a_birth_may_be_interrupted_anywhere() {
    this_test();
    let recording = Recording::new(34, 3).unwrap();
    let mut campaign = Campaign::new(1);
    for event in 0..=recording.birth() {
        for (level, seed) in LEVELS.into_iter().flat_map(|level| (0..6).map(move |seed| (level, seed))) {
            let cut = Cut { event, variant: Variant::new(level, seed) };
            campaign.look_at(&recording.image(cut), true, &cut.to_string(), &mut Rng::new(seed));
        }
    }
    assert!(campaign.failures.is_empty(), "{}", campaign.failures.join("\n"));
}

/// Regression: runs that no catalogue names stayed from number 10 on, and stopped every later checkpoint.
#[test]
fn a_run_without_a_catalogue_is_removed_whatever_its_number() {
    this_test();
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
    this_test();
    for times in 0..120 {
        let steps = [
            Step::Claim { key: 1, ttl: 2, payload: 0 },
            Step::Claim { key: 2, ttl: 2, payload: 0 },
            Step::Labour { held: 0, times },
            Step::Labour { held: 1, times: 3 },
            Step::Retry { held: 0, after_s: 0 },
            Step::Claim { key: 1, ttl: 2, payload: 0 },
            Step::CompleteMany { too_large: false },
        ];
        let recording = Recording::of(SimDisk::new(), times as u64, &steps);
        assert!(recording.is_ok(), "{times}: {:?}", recording.err());
    }
}

fn campaign(thread: u64, images: usize) -> Campaign {
    let mut campaign = Campaign::new(scale("CLAIMSTORE_GO_ON", 1));
    let mut seed = scale("CLAIMSTORE_SEED", 0) + thread;
    while campaign.images() < images && !campaign.is_over() {
        let script = format!("crash::no_crash_loses_or_invents_anything, --seed {seed}");
        let _watchdog = Watchdog::new(script, 300);
        campaign.script(seed, Campaign::script_len(seed));
        seed += THREADS;
    }
    campaign
}
