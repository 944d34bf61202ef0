//! The key of fingerprints across crashes and failing disks: none is ever used before it is durable.

use crate::watch::{this_test, told};
use claimstore::{Claim, ClaimRequest, Error, Fingerprinter, Store};
use claimstore_sim::script::World;
use claimstore_sim::{Fault, FaultKind, Level, SimDisk, Target, Variant};
use std::time::Duration;

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
const PAYLOAD: &str = "amount=100";

fn request(maker: &Fingerprinter) -> ClaimRequest {
    ClaimRequest::new("k").ttl(Duration::from_secs(3_600)).fingerprint(maker.raw(PAYLOAD))
}

/// Opens the store and completes a claim with a fingerprint. Answers after how many events the fingerprint was
/// known, and after how many its claim was acknowledged.
fn life(world: &mut World) -> Result<(Store, Fingerprinter, usize, usize), Error> {
    let store = world.open()?;
    let maker = store.fingerprinter()?;
    let known = world.disk.events();
    if let Claim::Claimed(lease) = store.claim_with(&request(&maker))? {
        lease.complete("done")?;
    }
    let done = world.disk.events();
    Ok((store, maker, known, done))
}

#[test]
fn no_crash_takes_the_key_of_a_fingerprint() {
    this_test();
    let mut images = 0;
    for seed in 0..3 {
        let mut world = World::new(seed);
        let (store, maker, known, done) = life(&mut world).unwrap();
        drop(store);
        for events in 0..=world.disk.events() {
            for (level, variant) in LEVELS.into_iter().flat_map(|level| (0..4).map(move |seed| (level, seed)))
            {
                let image = world.disk.crash_at(events, Variant::new(level, variant));
                let mut after = world.with_disk(image);
                let store =
                    after.open().unwrap_or_else(|error| panic!("{seed} {events} {level:?}: {error:?}"));
                let found = store.fingerprinter().unwrap();
                images += 1;
                let same = found.raw(PAYLOAD) == maker.raw(PAYLOAD);
                assert!(same || events < known, "{seed} {events} {level:?} {variant}: the key is lost");
                if events >= done {
                    let Claim::Duplicate(receipt) = store.claim_with(&request(&found)).unwrap() else {
                        panic!("{seed} {events} {level:?}: not done");
                    };
                    assert!(receipt.fingerprint_checked());
                }
                // What is known after the first recovery stays through a second crash.
                let again = after.disk.power_loss(Variant::new(level, !variant));
                drop(store);
                let mut last = after.with_disk(again);
                let store = last.open().unwrap();
                assert_eq!(
                    store.fingerprinter().unwrap().raw(PAYLOAD),
                    found.raw(PAYLOAD),
                    "{seed} {events}"
                );
                store.verify().unwrap();
            }
        }
    }
    told(format_args!("fingerprint key: {images} images"));
}

#[test]
fn no_failed_operation_leaves_a_key_that_may_go_away() {
    this_test();
    let mut points = 0;
    for target in [Target::Writes, Target::Syncs, Target::DirOps] {
        for (kind, at) in
            [FaultKind::Io, FaultKind::NoSpace].into_iter().flat_map(|kind| (0..12).map(move |at| (kind, at)))
        {
            let mut world = World::on(SimDisk::new(), at);
            let store = world.open().unwrap();
            world
                .disk
                .fail_at(world.disk.operations(target) + at, Fault { kind, target, sticky: false, seed: at });
            let made = store.fingerprinter().ok();
            let later = store.fingerprinter().ok();
            if let (Some(made), Some(later)) = (&made, &later) {
                assert_eq!(made.raw(PAYLOAD), later.raw(PAYLOAD));
            }
            points += 1;
            for level in LEVELS {
                let mut after = world.with_disk(world.disk.power_loss(Variant::new(level, at)));
                let opened = after.open().unwrap();
                let found = opened.fingerprinter().unwrap();
                for used in [&made, &later].into_iter().flatten() {
                    assert_eq!(found.raw(PAYLOAD), used.raw(PAYLOAD), "{target:?} {kind:?} {at} {level:?}");
                }
            }
            drop(store);
        }
    }
    told(format_args!("fingerprint key: {points} faults"));
}
