//! How recovery goes about it, whatever the orphans, their policies and their resolvers: generated, on the machine's own
//! clock, as a clock moved by hand wakes everybody.
//!
//! 1. What is to be asked about again is asked about when it is due, also beside what is due much later, and that is not
//!    asked about before.
//! 2. A resolver that is too slow costs its own orphan, and once it has come back nobody else.
//! 3. No commit ends more than 4,096 orphans, nor many more than have a megabyte of progress together.
//!
//! `CLAIMSTORE_RECOVERY_PACES` sets the number of cases of each, `CLAIMSTORE_SEED` the first.

use crate::watch::{Watchdog, begun, scale, told};
use claimstore::{ClaimRequest, Lease, Options, Store};
use claimstore_recovery::{Counts, Events, Orphan, OrphanPolicy, Outcome, Reason, Recovery, Resolution};
use claimstore_sim::Rng;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
/// Far longer than anything here takes, in seconds; half of `CLAIMSTORE_PATIENCE` shortens it.
const PATIENCE: u64 = 10;

fn store() -> Store {
    Options::new().segment_bytes(32 << 20).background(false).in_memory().unwrap()
}

/// Runs a rule on many seeds.
fn each_case(rule: &str, of: impl Fn(Rng)) {
    let (cases, first): (u64, u64) = (scale("CLAIMSTORE_RECOVERY_PACES", 4), scale("CLAIMSTORE_SEED", 1));
    for seed in first..first + cases {
        let _watchdog = Watchdog::new(format!("{rule}, CLAIMSTORE_SEED={seed}"), 60);
        of(Rng::new(seed));
    }
    told(format_args!("recovery's pace: {cases} cases of {rule}"));
}

/// Waits, in short naps, until `ready`.
#[track_caller]
fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..1_000 * PATIENCE.min(scale("CLAIMSTORE_PATIENCE", 2 * PATIENCE) / 2) {
        if ready() {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    panic!("{what}: it did not happen in time");
}

/// How often each key was asked about.
type Asks = Arc<Mutex<HashMap<Vec<u8>, u32>>>;

/// Namespaces that ask again soon, and others that do so in an hour.
#[test]
fn each_orphan_is_asked_about_when_it_is_due() {
    const TIMES: u32 = 3;
    begun();
    each_case("asking again", |mut rng| {
        let (store, asks) = (store(), Asks::default());
        let soon = |namespace: usize| namespace.is_multiple_of(2);
        let namespaces = 2 + rng.index(4);
        let mut keys = Vec::new();
        let counted = asks.clone();
        let mut recovery =
            Recovery::new(&store).parallel(1 + rng.index(4)).resolver(move |orphan: &Orphan| {
                let mut asks = counted.lock().unwrap();
                let asked = asks.entry(orphan.key().to_vec()).or_default();
                *asked += 1;
                if *asked < TIMES { Resolution::Unknown } else { Resolution::Happened(b"r".to_vec()) }
            });
        for namespace in 0..namespaces {
            let name = format!("n{namespace}");
            let again = if soon(namespace) { Duration::from_millis(10 + rng.below(40)) } else { HOUR };
            let policy = OrphanPolicy::resolve().max_asks(2 * TIMES).ask_again(again, again);
            recovery = recovery.policy_for(&name, policy);
            for n in 0..=rng.index(3) {
                let key = format!("{name}/{n}").into_bytes();
                keys.push((namespace, key.clone()));
                let space = store.namespace(&name).unwrap();
                drop(space.claim(&key, DAY).unwrap().claimed().unwrap());
            }
        }
        let reaper = recovery.spawn().unwrap();
        let soon_ones = keys.iter().filter(|(namespace, _)| soon(*namespace)).count() as u64;
        eventually("those that are due soon", || reaper.counts().completed == soon_ones);
        reaper.stop();
        let asks = asks.lock().unwrap();
        for (namespace, key) in &keys {
            let times = asks.get(key).copied().unwrap_or(0);
            assert_eq!(times, if soon(*namespace) { TIMES } else { 1 }, "{namespace}");
        }
        drop(asks);
        store.verify().unwrap();
        store.close().unwrap();
    });
}

/// Keys whose resolver was given up; it goes on when it hears of that.
#[derive(Default)]
struct GivenUp {
    keys: Mutex<Vec<Vec<u8>>>,
    more: Condvar,
}

impl GivenUp {
    fn note(&self, key: &[u8]) {
        self.keys.lock().unwrap().push(key.to_vec());
        self.more.notify_all();
    }

    fn wait_for(&self, key: &[u8]) {
        let keys = self.keys.lock().unwrap();
        drop(self.more.wait_while(keys, |keys| !keys.iter().any(|other| other == key)).unwrap());
    }
}

/// Resolvers that come back right behind their time, many more of them than may be away at once.
#[test]
fn a_slow_resolver_costs_nobody_else() {
    begun();
    each_case("slow resolvers", |mut rng| {
        let store = store();
        let parallel = 1 + rng.index(3);
        let slow = |key: &[u8]| key.starts_with(b"slow");
        // Four for each that asks may be away.
        let (slow_ones, quick_ones) = (7 * parallel as u64, rng.below(20));
        let mut keys: Vec<String> = (0..slow_ones).map(|n| format!("slow {n}")).collect();
        keys.extend((0..quick_ones).map(|n| format!("quick {n}")));
        for key in &keys {
            drop(store.claim(key, DAY).unwrap().claimed().unwrap());
        }
        let given_up = Arc::new(GivenUp::default());
        let (waits, events) = (given_up.clone(), Events::new());
        events.subscribe(move |event| {
            if (event.outcome(), event.reason()) == (Outcome::Parked, Reason::TimedOut) {
                given_up.note(event.record().key());
            }
        });
        let policy = OrphanPolicy::resolve().time_limit(Duration::from_millis(20));
        let recovery = Recovery::new(&store).policy(policy).parallel(parallel).events(&events);
        let recovery = recovery.resolver(move |orphan: &Orphan| {
            if slow(orphan.key()) {
                waits.wait_for(orphan.key());
            }
            Resolution::Happened(b"r".to_vec())
        });
        let counts = recovery.run().unwrap().counts;
        let mut expected = Counts::default();
        (expected.found, expected.asked) = (slow_ones + quick_ones, slow_ones + quick_ones);
        // On a busy machine a quick one can be late too.
        let late = counts.timed_out.saturating_sub(slow_ones).min(quick_ones);
        expected.completed = quick_ones - late;
        (expected.parked, expected.timed_out) = (slow_ones + late, slow_ones + late);
        assert_eq!(counts, expected, "{parallel} at once");
        store.verify().unwrap();
        store.close().unwrap();
    });
}

/// Orphans without progress, and with some hundred bytes to some kilobytes of it.
#[test]
fn no_commit_of_recovery_is_larger_than_a_page() {
    const MOST: u64 = 4_096;
    const MOST_BYTES: u64 = 1 << 20;
    begun();
    each_case("pages", |mut rng| {
        let store = store();
        let progress = [0, 0, 1_500, 6_000][rng.index(4)];
        let page = MOST_BYTES.checked_div(progress).map_or(MOST, |fit| MOST.min(fit + 1));
        let orphans = 2 * page + rng.below(500);
        for from in (0..orphans).step_by(100) {
            let keys = from..orphans.min(from + 100);
            let requests: Vec<_> = keys.map(|n| ClaimRequest::new(n.to_string()).ttl(DAY)).collect();
            for claim in store.claim_many(&requests).unwrap() {
                let mut lease: Lease = claim.unwrap().claimed().unwrap();
                if progress > 0 {
                    lease.save_progress(vec![b'p'; progress as usize]).unwrap();
                }
            }
        }
        let policy = if rng.chance(1, 2) { OrphanPolicy::park() } else { OrphanPolicy::fail("no") };
        let counts = Recovery::new(&store).policy(policy).run().unwrap().counts;
        assert_eq!((counts.found, counts.done(), counts.errors), (orphans, orphans, 0));
        let most = store.stats().unwrap().commit_ops.max;
        assert!(
            most > 100 && most <= page,
            "{orphans} orphans with {progress} bytes each: {most} in one commit"
        );
        store.close().unwrap();
    });
}
