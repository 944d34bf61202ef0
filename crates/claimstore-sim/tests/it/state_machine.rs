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

fn follows(seed: u64, steps: &[Step], by_claims: bool) -> Result<(), TestCaseError> {
    this_test();
    let mut runner = Runner::new(seed).unwrap();
    if by_claims {
        runner.go_by_claims();
    }
    runner.world.disk.stop_recording();
    runner.run(steps).map_err(|stop| TestCaseError::fail(format!("{stop:?}")))
}

/// Runs scripts: of the calls as they are, or with every other one by [`claimstore::Claims`].
fn all_follow(cases: u32, by_claims: bool) {
    begun();
    let config = ProptestConfig {
        cases,
        max_shrink_iters: scale("PROPTEST_MAX_SHRINK_ITERS", 20_000),
        ..ProptestConfig::default()
    };
    let (scripts, done) = (Cell::new(0), Cell::new(0));
    proptest!(config, |(seed: u64, steps in prop::collection::vec(any_step(), 1..=200))| {
        scripts.set(scripts.get() + 1);
        done.set(done.get() + steps.len());
        follows(seed, &steps, by_claims)?;
    });
    let name = if by_claims { "model by claims" } else { "model" };
    told(format_args!("{name}: {} scripts of {} steps together, all followed", scripts.get(), done.get()));
}

#[test]
fn the_store_follows_the_model() {
    all_follow(scale("CLAIMSTORE_CASES", 100), false);
}

/// The store as any backend: one script in four, since its calls go from thread to thread.
#[test]
fn the_store_as_any_backend_follows_the_model() {
    all_follow(scale::<u32>("CLAIMSTORE_CASES", 100).div_ceil(4), true);
}
