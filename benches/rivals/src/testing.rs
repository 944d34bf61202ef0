//! The test that every rival passes.

use claimstore_bench::Result;
use claimstore_bench::engine::{Engine, Record};
use claimstore_bench::keys::{Key, Keys};
use claimstore_bench::scratch::Scratch;
use claimstore_bench::subject::Subject;
use std::fs;
use std::path::Path;
use std::thread;

/// As many as the load bench has at most.
const THREADS: usize = 256;

/// Loads, claims, completes and meets duplicates with both kinds of keys, one key and many a call, from as many threads
/// as the bench ever has. Does nothing where the store cannot be had.
pub(crate) fn threads_share_the_fresh_keys<S: Subject>(make: impl Fn(&Path) -> Result<Option<S>>) {
    for kind in [Keys::Natural, Keys::uuid_v7()] {
        let scratch = Scratch::new(None).unwrap();
        let dir = scratch.join("store");
        fs::create_dir(&dir).unwrap();
        if let Some(store) = make(&dir).unwrap() {
            exercise(&store, kind);
        }
    }
}

fn exercise(store: &dyn Subject, kind: Keys) {
    let some = |numbers: std::ops::Range<u64>| numbers.map(|n| kind.key(n)).collect::<Vec<Key>>();
    store.load(&mut (0..50).map(|n| kind.key(n))).unwrap();
    assert_eq!(store.claim(0, &some(0..50)).unwrap(), 0, "loaded keys are duplicates");

    let fresh: u64 = thread::scope(|scope| {
        let claimer = |worker: usize| {
            let one = |n| store.claim(worker, &[kind.key(n)]).unwrap();
            (0..70).map(|n| one((n + worker as u64) % 70)).sum::<u64>()
        };
        let claimers: Vec<_> = (0..THREADS).map(|worker| scope.spawn(move || claimer(worker))).collect();
        claimers.into_iter().map(|claimer| claimer.join().unwrap()).sum()
    });
    assert_eq!(fresh, 20, "each key is fresh once, whoever asks first");

    let keys = some(60..110);
    assert_eq!(store.claim(1, &keys).unwrap(), 40);
    store.complete(1, &keys).unwrap();
    assert_eq!(store.claim(2, &keys).unwrap(), 0);
    store.complete(2, &[keys[0]]).unwrap();
    assert_eq!(store.claim(3, &[keys[0]]).unwrap(), 0);
    assert_eq!(store.claim(3, &[kind.key(110)]).unwrap(), 1);
}

/// What an engine wrote last is what it hands back, at the place of its key.
pub(crate) fn records_come_back<E: Engine>(make: impl Fn(&Path) -> Result<E>) {
    let scratch = Scratch::new(None).unwrap();
    let engine = make(scratch.path()).unwrap();
    let keys: Vec<Key> = (0..3).map(|n| Keys::Natural.key(n)).collect();
    engine.write(&[(keys[2], Record::in_progress()), (keys[1], Record::in_progress())]).unwrap();
    engine.write(&[(keys[1], Record::completed(&keys[1]))]).unwrap();
    engine.rest().unwrap();
    for asked in [&keys[..], &keys[1..2], &keys[..1]] {
        let mut found = Vec::new();
        engine.get_many(asked, &mut |place, record| found.push((asked[place], record.to_vec()))).unwrap();
        let expected = [(keys[1], Record::completed(&keys[1])), (keys[2], Record::in_progress())];
        let expected = expected.iter().filter(|(key, _)| asked.contains(key));
        assert_eq!(
            found,
            expected.map(|(key, record)| (*key, record.as_bytes().to_vec())).collect::<Vec<_>>()
        );
    }
}
