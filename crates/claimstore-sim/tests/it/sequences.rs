//! Streams across crashes and failing disks: what was acknowledged as done stays done, and nothing is done that
//! nobody completed.

use crate::watch::{this_test, told};
use claimstore::{ErrorKind, PositionClaim, Store};
use claimstore_sim::script::World;
use claimstore_sim::{Fault, FaultKind, Level, Rng, SimDisk, Target, Variant};
use std::collections::BTreeSet;

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
const STREAMS: usize = 2;

/// What happened to one stream, each with the number of events behind it.
#[derive(Default)]
struct History {
    /// Completions begun: position, and events before.
    begun: Vec<(u64, usize)>,
    /// Completions acknowledged: position, and events behind.
    acknowledged: Vec<(u64, usize)>,
}

impl History {
    fn acknowledged_by(&self, events: usize) -> BTreeSet<u64> {
        self.acknowledged.iter().filter(|(_, at)| *at <= events).map(|(position, _)| *position).collect()
    }

    fn begun_by(&self, events: usize) -> BTreeSet<u64> {
        self.begun.iter().filter(|(_, at)| *at <= events).map(|(position, _)| *position).collect()
    }
}

fn name(stream: usize) -> String {
    format!("stream/{stream}")
}

/// Works on streams out of order, with checkpoints, restarts and other claims in between.
fn work(world: &mut World, seed: u64, steps: usize) -> Vec<History> {
    let mut rng = Rng::new(seed);
    let mut histories: Vec<History> = (0..STREAMS).map(|_| History::default()).collect();
    let mut store = world.open().unwrap();
    for step in 0..steps {
        let at = rng.index(STREAMS);
        let stream = store.sequence(name(at)).unwrap();
        match rng.index(12) {
            0 => store.checkpoint().unwrap(),
            1 => {
                store.close().unwrap();
                store = world.open().unwrap();
            }
            2 => {
                let key = format!("other-{step}");
                let lease = store.claim(&key, std::time::Duration::from_secs(60)).unwrap().claimed().unwrap();
                lease.complete(vec![7; rng.index(900)]).unwrap();
            }
            3 => {
                let next = stream.next().unwrap() + rng.index(3) as u64;
                let from = stream.next().unwrap();
                histories[at].begun.extend((from..next).map(|position| (position, world.disk.events())));
                stream.skip_to(next).unwrap();
                histories[at]
                    .acknowledged
                    .extend((from..next).map(|position| (position, world.disk.events())));
            }
            _ => {
                let position = stream.next().unwrap() + rng.index(6) as u64;
                if let PositionClaim::Claimed(lease) = stream.claim(position).unwrap() {
                    histories[at].begun.push((position, world.disk.events()));
                    lease.complete().unwrap();
                    histories[at].acknowledged.push((position, world.disk.events()));
                }
            }
        }
    }
    drop(store);
    histories
}

/// What a stream says is done, of the positions up to a bound.
fn done(store: &Store, stream: usize, bound: u64) -> BTreeSet<u64> {
    let stream = store.sequence(name(stream)).unwrap();
    let gaps: BTreeSet<u64> = stream.gaps().unwrap().into_iter().flatten().collect();
    let next = stream.next().unwrap();
    let found = (0..bound).filter(|position| {
        let answer = stream.claim(*position);
        let duplicate = matches!(answer, Ok(PositionClaim::Duplicate));
        assert!(duplicate || matches!(answer, Ok(PositionClaim::Claimed(_))), "{position}: {answer:?}");
        assert!(!duplicate || !gaps.contains(position));
        assert_eq!(*position < next, *position < next && duplicate, "{position} below {next}");
        duplicate
    });
    found.collect()
}

fn check(store: &Store, histories: &[History], events: usize, line: &str) {
    for (at, history) in histories.iter().enumerate() {
        let bound = history.begun.iter().map(|(position, _)| position + 2).max().unwrap_or(1);
        let found = done(store, at, bound);
        let (least, most) = (history.acknowledged_by(events), history.begun_by(events));
        assert!(found.is_superset(&least), "{line}: lost {:?}", least.difference(&found).collect::<Vec<_>>());
        assert!(found.is_subset(&most), "{line}: phantom {:?}", found.difference(&most).collect::<Vec<_>>());
    }
}

#[test]
fn no_crash_loses_or_invents_a_position() {
    this_test();
    let seeds: u64 = std::env::var("CLAIMSTORE_STREAMS").map_or(6, |seeds| seeds.parse().unwrap());
    let (mut images, mut doubles) = (0, 0);
    for seed in 0..seeds {
        this_test();
        let mut world = World::new(seed);
        let histories = work(&mut world, seed, 60);
        let mut rng = Rng::new(!seed);
        let mut events = 0;
        while events <= world.disk.events() {
            for level in LEVELS {
                let variant = Variant::new(level, rng.next_u64() >> 40);
                let line = format!("seed {seed} events {events} {variant:?}");
                let mut after = world.with_disk(world.disk.crash_at(events, variant));
                let store = after.open().unwrap_or_else(|error| panic!("{line}: {error:?}"));
                check(&store, &histories, events, &line);
                images += 1;
                // A second crash, behind what the first recovery told.
                let told: Vec<_> = (0..STREAMS).map(|at| done(&store, at, 400)).collect();
                let mut last =
                    after.with_disk(after.disk.power_loss(Variant::new(level, rng.next_u64() >> 40)));
                drop(store);
                let store = last.open().unwrap_or_else(|error| panic!("{line}, again: {error:?}"));
                (0..STREAMS).for_each(|at| assert_eq!(done(&store, at, 400), told[at], "{line}, again"));
                store.verify().unwrap();
                doubles += 1;
            }
            events += 1 + rng.index(9);
        }
    }
    told(format_args!("streams: {images} images, {doubles} double"));
}

/// The control: a disk whose syncs do nothing must be caught.
#[test]
fn a_lying_disk_is_caught() {
    this_test();
    let mut world = World::on(SimDisk::lying(), 5);
    let histories = work(&mut world, 5, 40);
    let caught = (0..world.disk.events()).step_by(17).filter(|events| {
        let image = world.disk.crash_at(*events, Variant::new(Level::L1, *events as u64));
        let mut after = world.with_disk(image);
        let look = std::panic::AssertUnwindSafe(|| {
            let store = after.open().unwrap();
            check(&store, &histories, *events, "");
        });
        std::panic::catch_unwind(look).is_err()
    });
    assert!(caught.count() > 5);
}

/// A completion that a failing disk refuses is as the error says: wholly there or absent, and what was
/// acknowledged before stays.
#[test]
fn every_failed_operation_is_owned_up_to() {
    this_test();
    let mut points = 0;
    for target in [Target::Writes, Target::Syncs, Target::DirOps] {
        for (kind, at) in
            [FaultKind::Io, FaultKind::NoSpace].into_iter().flat_map(|kind| (0..16).map(move |at| (kind, at)))
        {
            let mut world = World::new(at);
            let store = world.open().unwrap();
            let stream = store.sequence("s").unwrap();
            for position in [0, 2] {
                stream.claim(position).unwrap().claimed().unwrap().complete().unwrap();
            }
            world
                .disk
                .fail_at(world.disk.operations(target) + at, Fault { kind, target, sticky: true, seed: at });
            let (mut acknowledged, mut unknown) = (BTreeSet::from([0, 2]), BTreeSet::new());
            for position in 3..30_u64 {
                let lease = match stream.claim(position) {
                    Ok(PositionClaim::Claimed(lease)) => lease,
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => break,
                };
                match lease.complete() {
                    Ok(()) => {
                        acknowledged.insert(position);
                    }
                    Err(error) if error.kind() == ErrorKind::Indeterminate => {
                        unknown.insert(position);
                    }
                    Err(error) => drop(error.into_parts().1),
                }
                if position == 9 {
                    let _ = store.checkpoint();
                }
            }
            points += 1;
            for level in LEVELS {
                let mut after = world.with_disk(world.disk.power_loss(Variant::new(level, at)));
                let opened = after.open().unwrap();
                let stream = opened.sequence("s").unwrap();
                for position in 0..32 {
                    let duplicate = matches!(stream.claim(position).unwrap(), PositionClaim::Duplicate);
                    let line = format!("{target:?} {kind:?} {at} {level:?}: position {position}");
                    assert!(duplicate || !acknowledged.contains(&position), "{line} is lost");
                    assert!(
                        !duplicate || acknowledged.contains(&position) || unknown.contains(&position),
                        "{line} is not done"
                    );
                }
            }
            drop(store);
        }
    }
    told(format_args!("streams: {points} faults"));
}
