//! Records from elsewhere across crashes and failing disks: a batch is there as a whole or not at all, and what was
//! acknowledged is there; none of its keys is ever claimable once it was known.

use crate::watch::{this_test, told};
use claimstore::{Claim, Error, ErrorKind, Import, Imported, Store};
use claimstore_sim::script::World;
use claimstore_sim::{Fault, FaultKind, Level, SimDisk, Target, Variant};

const LEVELS: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];
const BATCHES: usize = 4;
const RECORDS: usize = 5;

fn key(batch: usize, record: usize) -> String {
    format!("key-{batch}-{record}")
}

/// Records in every state, with bodies of a few sectors.
fn batch(number: usize) -> Vec<Import> {
    let body = vec![b'r'; number * 300];
    let record = |place: usize| match place % 3 {
        0 => Import::completed(key(number, place), &body),
        1 => Import::failed(key(number, place), &body),
        _ => Import::parked(key(number, place), "note").progress(&body),
    };
    (0..RECORDS).map(record).collect()
}

fn write(store: &Store, number: usize) -> Result<(), Error> {
    let answers = store.namespace("")?.import_many(&batch(number))?;
    for answer in answers {
        assert!(matches!(answer?, Imported::Stored | Imported::Known));
    }
    Ok(())
}

/// How many records of a batch are there, each as it was written and none claimable.
fn there(store: &Store, number: usize) -> usize {
    let is_there = |place: &usize| match store.get(key(number, *place)).unwrap() {
        None => false,
        Some(record) => {
            let body = record.response().or(record.progress()).unwrap_or_default();
            assert_eq!(body.len(), number * 300);
            true
        }
    };
    (0..RECORDS).filter(is_there).count()
}

/// After a crash: batches are whole, the first `acknowledged` are there, and their keys are nobody's to do.
fn check(store: &Store, acknowledged: usize, what: &dyn std::fmt::Debug) {
    for number in 0..BATCHES {
        let count = there(store, number);
        assert!(count == 0 || count == RECORDS, "{what:?}: batch {number} is torn: {count}");
        assert!(number >= acknowledged || count == RECORDS, "{what:?}: batch {number} is lost");
    }
    for number in 0..acknowledged {
        for place in 0..RECORDS {
            match store.claim(key(number, place), std::time::Duration::from_secs(60)) {
                Ok(Claim::Duplicate(_)) => {}
                Err(error) if error.kind() == ErrorKind::Parked => {}
                other => panic!("{what:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn no_crash_tears_a_batch_or_takes_back_what_was_acknowledged() {
    this_test();
    let mut images = 0;
    let mut world = World::new(1);
    let store = world.open().unwrap();
    let mut known = Vec::new();
    for number in 0..BATCHES {
        write(&store, number).unwrap();
        known.push(world.disk.events());
        if number == 1 {
            store.checkpoint().unwrap();
        }
    }
    drop(store);
    for events in 0..=world.disk.events() {
        let acknowledged = known.iter().filter(|at| **at <= events).count();
        for (level, variant) in LEVELS.into_iter().flat_map(|level| (0..3).map(move |seed| (level, seed))) {
            let what = (events, level, variant);
            let mut after = world.with_disk(world.disk.crash_at(events, Variant::new(level, variant)));
            let store = after.open().unwrap_or_else(|error| panic!("{what:?}: {error:?}"));
            check(&store, acknowledged, &what);
            // The import is run again, and loses power again.
            for number in 0..BATCHES {
                write(&store, number).unwrap();
            }
            let again = after.disk.power_loss(Variant::new(level, !variant));
            drop(store);
            let mut last = after.with_disk(again);
            let store = last.open().unwrap();
            check(&store, BATCHES, &what);
            store.verify().unwrap();
            images += 1;
        }
    }
    told(format_args!("imports: {images} images"));
}

#[test]
fn no_failed_operation_makes_it_lie() {
    this_test();
    let mut points = 0;
    for target in [Target::Writes, Target::Syncs, Target::DirOps] {
        for (kind, at) in
            [FaultKind::Io, FaultKind::NoSpace].into_iter().flat_map(|kind| (0..8).map(move |at| (kind, at)))
        {
            let mut world = World::on(SimDisk::new(), at);
            let store = world.open().unwrap();
            let operation = world.disk.operations(target) + at;
            world.disk.fail_at(operation, Fault { kind, target, sticky: false, seed: at });
            let acknowledged = (0..BATCHES).take_while(|number| write(&store, *number).is_ok()).count();
            points += 1;
            for level in LEVELS {
                let what = (target, kind, at, level);
                let mut after = world.with_disk(world.disk.power_loss(Variant::new(level, at)));
                let opened = after.open().unwrap();
                check(&opened, acknowledged, &what);
            }
            drop(store);
        }
    }
    told(format_args!("imports: {points} faults"));
}

/// The control: a disk that says it flushed and did not must be seen to lose what was acknowledged.
#[test]
fn a_lying_disk_is_caught() {
    this_test();
    let mut world = World::on(SimDisk::lying(), 5);
    let store = world.open().unwrap();
    for number in 0..BATCHES {
        write(&store, number).unwrap();
    }
    let lost = (0..20).any(|variant| {
        let mut after = world.with_disk(world.disk.power_loss(Variant::new(Level::L2, variant)));
        match after.open() {
            Ok(store) => (0..BATCHES).any(|number| there(&store, number) < RECORDS),
            Err(_) => true,
        }
    });
    assert!(lost, "no image shows the loss");
}
