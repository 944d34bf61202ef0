//! Read-only openings of whatever a crash may leave: no write, no sync, no name changes, and the same records as an
//! ordinary opening shows.
//!
//! `CLAIMSTORE_LOOKS` sets how many images are opened both ways.

use crate::watch::{begun, scale, told};
use claimstore_sim::script::{Campaign, Cut, Recording, guarded};
use claimstore_sim::{Level, Rng, Variant};

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];

#[test]
fn a_read_only_opening_changes_nothing_and_shows_the_same() {
    begun();
    let looks: usize = scale("CLAIMSTORE_LOOKS", 600);
    let (mut looked, mut unborn, mut records) = (0, 0, 0);
    for seed in scale("CLAIMSTORE_SEED", 0).. {
        let len = Campaign::script_len(seed);
        let recording = Recording::new(seed, len).unwrap();
        let mut rng = Rng::new(!seed);
        let mut event = rng.index(40);
        while event <= recording.events() {
            let level = LEVELS[rng.index(LEVELS.len())];
            let cut = Cut { event, variant: Variant::new(level, rng.next_u64() >> 40) };
            let image = recording.image(cut);
            match guarded(|| image.look()) {
                Ok(Some(shown)) => records += shown,
                Ok(None) => unborn += 1,
                Err(what) => panic!("seed {seed}, {len} steps, {cut}: {what}"),
            }
            looked += 1;
            event += 1 + rng.index(40);
        }
        if looked >= looks {
            break;
        }
    }
    told(format_args!("read-only: {looked} images, {unborn} of them before the birth, {records} records"));
    assert!(records > looked, "the images had records to compare");
}
