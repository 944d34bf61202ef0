//! The whole store against a model: claims, settlements, batches, time, checkpoints, prunes, reopening and
//! crashes as steps, in one thread.
//!
//! `CLAIMSTORE_CASES` sets how many scripts run. Those of `PROPTEST_RNG_SEED` are always the same ones.

use crate::watch::{begun, scale, this_test, told};
use claimstore_sim::Rng;
use claimstore_sim::script::{Runner, Step, random_step};
use proptest::prelude::*;
use std::cell::Cell;

fn any_step() -> impl Strategy<Value = Step> {
    any::<u64>().prop_map(|seed| random_step(&mut Rng::new(seed)))
}

fn follows(seed: u64, steps: &[Step]) -> Result<(), TestCaseError> {
    this_test();
    let mut runner = Runner::new(seed).unwrap();
    runner.world.disk.stop_recording();
    runner.run(steps).map_err(|stop| TestCaseError::fail(format!("{stop:?}")))
}

#[test]
fn the_store_follows_the_model() {
    begun();
    let config = ProptestConfig {
        cases: scale("CLAIMSTORE_CASES", 100),
        max_shrink_iters: scale("PROPTEST_MAX_SHRINK_ITERS", 20_000),
        ..ProptestConfig::default()
    };
    let (scripts, done) = (Cell::new(0), Cell::new(0));
    proptest!(config, |(seed: u64, steps in prop::collection::vec(any_step(), 1..=200))| {
        scripts.set(scripts.get() + 1);
        done.set(done.get() + steps.len());
        follows(seed, &steps)?;
    });
    told(format_args!("model: {} scripts of {} steps together, all followed", scripts.get(), done.get()));
}
