//! Backups that are cut off: the copy's disk loses power behind any event, or an operation on it fails. A copy
//! opens and knows everything, or it does not open; the store it was made from never minds.
//!
//! `CLAIMSTORE_BACKUPS` says how many scripts are backed up.

use crate::watch::{begun, scale, this_test, told};
use claimstore::ErrorKind;
use claimstore::io::Storage;
use claimstore_sim::script::{Model, Runner, Stop, World, random_steps};
use claimstore_sim::{Fault, FaultKind, Level, Rng, SimDisk, SimKernel, Target, Variant};

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];

/// A store behind a script with records in every state, rows of `transact` and runs.
fn worked(seed: u64) -> Runner {
    this_test();
    let mut runner = Runner::new(seed).unwrap();
    runner.world.disk.stop_recording();
    let mut rng = Rng::new(seed);
    let len = 20 + rng.index(60);
    runner.run(&random_steps(&mut rng, len)).unwrap();
    runner
}

fn backup(runner: &Runner, disk: &SimDisk) -> Result<(), claimstore::Error> {
    runner.store().unwrap().backup_in(SimKernel::new(disk).storage(disk))
}

/// Opens what the copy's disk shows and holds it against the store as it was. `Ok(false)`: it does not open.
fn opens(runner: &Runner, disk: SimDisk, whole: bool) -> Result<bool, String> {
    let names = disk.list("").unwrap_or_default();
    let model = &runner.model;
    let world = World::at(disk, 77, model.wall_ms, model.boot_ms);
    let mut allowed = vec![model.clone()];
    if names.iter().all(|name| name == "LOCK") {
        // Nothing of the backup is there: an empty directory, as it was before.
        allowed = vec![Model { start_ms: model.wall_ms, store_ms: model.wall_ms, ..Model::default() }];
    }
    match Runner::recover(world, &allowed, (0, 0)) {
        Ok(copy) => copy.finish().map(|()| true).map_err(|stop| format!("{stop:?}")),
        Err(Stop::Failed(ErrorKind::Corrupt, _)) if !whole => Ok(false),
        Err(stop) => Err(format!("{stop:?}")),
    }
}

#[test]
fn a_backup_cut_off_by_a_crash_opens_whole_or_not_at_all() {
    begun();
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..scale("CLAIMSTORE_BACKUPS", 3) {
        let mut runner = worked(seed);
        let disk = World::home(&SimDisk::new());
        backup(&runner, &disk).unwrap();
        runner.audit().unwrap();
        for event in 0..=disk.events() {
            for level in LEVELS {
                let variant = Variant::new(level, seed ^ event as u64);
                let whole = event == disk.events();
                match opens(&runner, disk.crash_at(event, variant), whole) {
                    Ok(true) => opened += 1,
                    Ok(false) => refused += 1,
                    Err(what) => panic!("script {seed}, {level:?} behind event {event}: {what}"),
                }
            }
        }
        runner.finish().unwrap();
    }
    told(format_args!("backups: {opened} copies opened and knew everything, {refused} did not open"));
    assert!(opened > 0 && refused > 0);
}

#[test]
fn a_backup_that_fails_says_so_and_leaves_the_store_alone() {
    begun();
    let mut failed = 0;
    for seed in 0..scale("CLAIMSTORE_BACKUPS", 3) {
        let mut runner = worked(seed);
        let sound = World::home(&SimDisk::new());
        backup(&runner, &sound).unwrap();
        for kind in [FaultKind::Io, FaultKind::NoSpace, FaultKind::ShortWrite] {
            for at in (0..sound.operations(Target::Any)).step_by(3) {
                let disk = World::home(&SimDisk::new());
                let target = if kind == FaultKind::ShortWrite { Target::Writes } else { Target::Any };
                disk.fail_at(at, Fault::once(kind, target));
                let told = backup(&runner, &disk);
                failed += usize::from(told.is_err());
                disk.clear_faults();
                let image = disk.crash_at(disk.events(), Variant::new(Level::L1, at));
                opens(&runner, image, told.is_ok()).unwrap_or_else(|what| {
                    panic!("script {seed}, operation {at}, {kind:?}, told {told:?}: {what}");
                });
            }
        }
        runner.audit().unwrap();
        runner.finish().unwrap();
    }
    told(format_args!("backups: {failed} failed and said so"));
    assert!(failed > 0);
}
