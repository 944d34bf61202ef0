//! The whole store against a model: claims, settlements, batches, time, checkpoints, prunes, reopening and
//! crashes as steps, in one thread.
//!
//! `CLAIMSTORE_CASES` sets how many scripts run. Those of `PROPTEST_RNG_SEED` are always the same ones.

use crate::watch::scale;
use claimstore_sim::Rng;
use claimstore_sim::script::{Runner, Step, random_step};
use proptest::prelude::*;

fn any_step() -> impl Strategy<Value = Step> {
    any::<u64>().prop_map(|seed| random_step(&mut Rng::new(seed)))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: scale("CLAIMSTORE_CASES", 100),
        max_shrink_iters: scale("PROPTEST_MAX_SHRINK_ITERS", 20_000),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_store_follows_the_model(seed: u64, steps in prop::collection::vec(any_step(), 1..=200)) {
        let mut runner = Runner::new(seed).unwrap();
        runner.world.disk.stop_recording();
        if let Err(stop) = runner.run(&steps) {
            return Err(TestCaseError::fail(format!("{stop:?}")));
        }
    }
}
