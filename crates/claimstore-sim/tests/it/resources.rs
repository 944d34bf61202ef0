//! What a store uses: reads, memory, journal, wake-ups, processor time. Counted, as a slow machine is no fault; only rest
//! is measured, against a bound far off.
//!
//! The rules are tables that every kind of work meets, so that what one of them leaves behind is seen whichever it is.

use crate::executor::{block_on, poll_once};
use crate::rest::{assert_at_rest, size};
use crate::threads::restless;
use crate::watch::{Watchdog, begun, told};
use claimstore::{
    Claim, ClaimRequest, Error, Failure, Import, Lease, Options, Policy, PositionClaim, Store, Transacted,
};
use claimstore_sim::{SimDisk, Target};
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

type Look = fn(&Store, &[String]);
type Work = fn(&Store, u32);
type Change = fn(&Store, &str);
type Fill = fn(&Store, &mut Vec<Lease>, u32);

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn request(key: &str) -> ClaimRequest {
    ClaimRequest::new(key).ttl(DAY).lease(HOUR)
}

fn claimed(store: &Store, key: &str) -> Lease {
    store.claim_with(&request(key)).unwrap().claimed().unwrap()
}

/// A store without threads on a disk that counts.
fn on_a_disk(options: Options) -> (SimDisk, Store) {
    let disk = SimDisk::new();
    disk.stop_recording();
    let store = options.background(false).open_on(Arc::new(disk.clone())).unwrap();
    (disk, store)
}

/// Ways to name a key that nobody knows, a thousand times each.
const LOOKS: [(&str, Look); 8] = [
    ("get", |store, keys| keys.iter().for_each(|key| assert!(store.get(key).unwrap().is_none()))),
    ("claim", |store, keys| keys.iter().for_each(|key| claimed(store, key).release().unwrap())),
    ("claim_many", |store, keys| {
        for keys in keys.chunks(100) {
            let requests: Vec<_> = keys.iter().map(|key| request(key)).collect();
            let leases = store.claim_many(&requests).unwrap();
            leases.into_iter().for_each(|lease| lease.unwrap().claimed().unwrap().release().unwrap());
        }
    }),
    ("claim_or_wait", |store, keys| {
        for key in keys {
            let claim = store.claim_or_wait(&request(key), Duration::ZERO).unwrap();
            claim.claimed().unwrap().release().unwrap();
        }
    }),
    ("claim_async", |store, keys| {
        for key in keys {
            block_on(store.claim_async(&request(key))).unwrap().claimed().unwrap().release().unwrap();
        }
    }),
    ("forget", |store, keys| keys.iter().for_each(|key| assert!(!store.forget(key).unwrap()))),
    ("transact", |store, keys| {
        for key in keys {
            let done = store.transact(&request(key), |_| Err(Error::caller("rolled back")));
            assert!(done.is_err());
        }
    }),
    ("import_many", |store, keys| {
        let space = store.namespace("").unwrap();
        for keys in keys.chunks(100) {
            let records: Vec<_> = keys.iter().map(|key| Import::completed(key, "r").ttl(DAY)).collect();
            assert!(space.import_many(&records).unwrap().iter().all(Result::is_ok));
        }
    }),
];

/// The filters are asked before a block is read: of absent keys one in a hundred costs a read of each run.
#[test]
fn absent_keys_cost_hardly_a_read() {
    const RUNS: usize = 10;
    const KEYS: usize = 1_000;
    // No block is kept, so that each one that is asked is read.
    begun();
    let options = Options::new().page_cache_bytes(0).segment_bytes(8 << 20);
    let (disk, store) = on_a_disk(options);
    // The way to the caller's tables exists from here on.
    drop(store.transact(&request("t"), |_| Ok(Vec::new())).unwrap());
    for run in 0..RUNS {
        let keys = (0..KEYS).map(|n| request(&format!("{n:04}-{run}")));
        let leases = store.claim_many(&keys.collect::<Vec<_>>()).unwrap();
        let leases = leases.into_iter().map(|lease| (lease.unwrap().claimed().unwrap(), b"r".to_vec()));
        store.complete_many(leases.collect()).unwrap().into_iter().for_each(|done| done.unwrap());
        store.checkpoint().unwrap();
    }
    assert!(store.stats().unwrap().runs >= RUNS as u64);
    for (way, look) in LOOKS {
        // Between the keys of the runs, so that it takes a filter to tell.
        let keys: Vec<String> = (0..KEYS).map(|n| format!("{n:04}-{way}")).collect();
        let before = disk.operations(Target::Reads);
        look(&store, &keys);
        let reads = disk.operations(Target::Reads) - before;
        assert!(reads <= (KEYS * RUNS / 20) as u64, "{way}: {reads} reads for {KEYS} keys over {RUNS} runs");
    }
    store.close().unwrap();
}

/// Kinds of work, each on keys of its own (`round`), that leave nothing behind.
const WORKS: [(&str, Work); 12] = [
    ("claims", |store, round| {
        (0..100).for_each(|n| claimed(store, &format!("claim {round} {n}")).complete("r").unwrap());
    }),
    ("batches, with items that are refused", |store, round| {
        for part in 0..10 {
            let keys = (0..10).flat_map(|n| [request(""), request(&format!("batch {round} {part} {n}"))]);
            let leases = store.claim_many(&keys.collect::<Vec<_>>()).unwrap();
            let leases = leases.into_iter().filter_map(|lease| Some((lease.ok()?.claimed()?, b"r".to_vec())));
            store.complete_many(leases.collect()).unwrap().into_iter().for_each(|done| done.unwrap());
        }
    }),
    ("leases dropped, keys claimed again", |store, round| {
        for n in 0..50 {
            let key = format!("drop {round} {n}");
            drop(claimed(store, &key));
            claimed(store, &key).fail(Failure::terminal("no")).unwrap();
        }
    }),
    ("keys forgotten and released", |store, round| {
        for n in 0..50 {
            let key = format!("forget {round} {n}");
            claimed(store, &key).release().unwrap();
            claimed(store, &key).complete("r").unwrap();
            assert!(store.forget(&key).unwrap());
        }
    }),
    ("threads that wait", |store, round| {
        for n in 0..25 {
            let key = format!("wait {round} {n}");
            let lease = claimed(store, &key);
            thread::scope(|scope| {
                let waiter = scope.spawn(|| store.claim_or_wait(&request(&key), HOUR).unwrap());
                lease.complete("r").unwrap();
                assert!(matches!(waiter.join().unwrap(), Claim::Duplicate(_)));
            });
        }
    }),
    ("waiting given up", |store, round| {
        for n in 0..50 {
            let key = format!("give up {round} {n}");
            let lease = claimed(store, &key);
            let answer = store.claim_or_wait(&request(&key), Duration::ZERO).unwrap();
            assert!(matches!(answer, Claim::InProgress(_)));
            let mut waiting = store.claim_or_wait_async(&request(&key), HOUR);
            assert!(poll_once(&mut waiting).is_pending());
            drop(waiting);
            lease.complete("r").unwrap();
        }
    }),
    ("futures", |store, round| {
        for n in 0..50 {
            let lease = block_on(store.claim_async(&request(&format!("future {round} {n}"))));
            block_on(lease.unwrap().claimed().unwrap().complete_async("r")).unwrap();
        }
    }),
    ("futures that nobody hears the end of", |store, round| {
        for n in 0..50 {
            let key = format!("unheard {round} {n}");
            drop(poll_once(&mut store.claim_async(&request(&key))));
            claimed(store, &key).complete("r").unwrap();
        }
    }),
    ("transacts, every other one rolled back", |store, round| {
        for n in 0..20 {
            let done = store.transact(&request(&format!("transact {round} {n}")), |tx| {
                tx.table("rows")?.insert(b"k", b"v")?;
                if n % 2 == 0 { Ok(Vec::new()) } else { Err(Error::caller("rolled back")) }
            });
            assert_eq!(matches!(done, Ok(Transacted::Done(_))), n % 2 == 0);
        }
    }),
    ("positions", |store, round| {
        let stream = store.sequence(format!("stream {round}")).unwrap();
        for position in 0..50 {
            let PositionClaim::Claimed(lease) = stream.claim(position).unwrap() else { panic!("claimed") };
            if position % 5 == 0 {
                drop(lease);
                stream.skip_to(position + 1).unwrap();
            } else {
                lease.complete().unwrap();
            }
        }
    }),
    ("claims detached and resumed", |store, round| {
        for n in 0..50 {
            let token = claimed(store, &format!("detach {round} {n}")).detach(HOUR).unwrap();
            let lease = store.resume(token).unwrap();
            lease.renew(Duration::from_secs(1)).unwrap();
            lease.complete("r").unwrap();
        }
    }),
    ("tasks", |store, _| {
        block_on(store.checkpoint_async()).unwrap();
        drop(store.upkeep_async());
        block_on(store.verify_async()).unwrap();
    }),
];

/// After each kind of work nothing is kept of it but its records, which a checkpoint moves out.
#[test]
fn whatever_was_done_nothing_is_kept_of_it() {
    begun();
    let _watchdog = Watchdog::new("whatever_was_done_nothing_is_kept_of_it", 120);
    let cache = 64 << 10;
    for (work, of) in WORKS {
        let store = restless().page_cache_bytes(cache).in_memory().unwrap();
        for round in 0..2 {
            of(&store, round);
            assert_at_rest(&store);
            store.compact().unwrap();
            let live = size(&store, "live entries");
            assert_eq!(live, store.stats().unwrap().in_progress, "{work}: {:?}", store.sizes());
            assert!(size(&store, "cached bytes") <= cache as u64, "{work}");
        }
        store.verify().unwrap();
        store.close().unwrap();
        told(format_args!("resources: {work}: nothing is kept"));
    }
}

/// The live table gives back what a burst took.
#[test]
fn a_burst_of_claims_leaves_no_room_behind() {
    const BURST: usize = 120_000;
    // So much is kept for what comes next: 64 for each of 1,024 shards.
    const KEPT: u64 = 64 << 10;
    begun();
    let store = Options::new().background(false).in_memory().unwrap();
    let keys: Vec<_> = (0..BURST).map(|n| request(&n.to_string())).collect();
    for keys in keys.chunks(4_096) {
        let leases = store.claim_many(keys).unwrap();
        let leases = leases.into_iter().map(|lease| (lease.unwrap().claimed().unwrap(), Vec::new()));
        store.complete_many(leases.collect()).unwrap().into_iter().for_each(|done| done.unwrap());
    }
    assert!(size(&store, "room for live entries") > 2 * KEPT, "too small a burst to see anything");
    store.checkpoint().unwrap();
    assert!(size(&store, "room for live entries") <= KEPT, "{:?}", store.sizes());
    assert_at_rest(&store);
    store.close().unwrap();
}

/// Ways in which a key changes hands or ends, and what else goes on in a store.
const CHANGES: [(&str, Change); 9] = [
    ("complete", |store, key| claimed(store, key).complete("r").unwrap()),
    ("fail", |store, key| claimed(store, key).fail(Failure::retry()).unwrap()),
    ("release", |store, key| claimed(store, key).release().unwrap()),
    ("drop", |store, key| drop(claimed(store, key))),
    ("complete_many", |store, key| {
        let items = vec![(claimed(store, key), Vec::new())];
        store.complete_many(items).unwrap().into_iter().for_each(|done| done.unwrap());
    }),
    ("forget", |store, key| {
        claimed(store, key).complete("r").unwrap();
        store.forget(key).unwrap();
    }),
    ("transact", |store, key| drop(store.transact(&request(key), |_| Ok(Vec::new())).unwrap())),
    ("futures", |store, key| {
        let lease = block_on(store.claim_async(&request(key))).unwrap().claimed().unwrap();
        block_on(lease.complete_async("r")).unwrap();
    }),
    ("checkpoint", |store, _| store.checkpoint().unwrap()),
];

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Who waits for a key looks again when that key changes hands, and not when others do.
#[test]
fn a_waiter_sleeps_while_other_keys_change_hands() {
    const WAITERS: u64 = 4;
    const ROUNDS: u32 = 10;
    begun();
    let _watchdog = Watchdog::new("a_waiter_sleeps_while_other_keys_change_hands", 120);
    let store = restless().in_memory().unwrap();
    let holder = claimed(&store, "waited for");
    let looks = || store.looks_of_waiters();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut future = pin!(store.claim_or_wait_async(&request("waited for"), HOUR));
    while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() && looks() == 0 {
        // Its first look is answered when the service thread has been by.
        thread::yield_now();
    }
    thread::scope(|scope| {
        let wait = || scope.spawn(|| store.claim_or_wait(&request("waited for"), HOUR).unwrap());
        let waiters: Vec<_> = (0..WAITERS).map(|_| wait()).collect();
        while looks() < 1 + WAITERS {
            thread::yield_now();
        }
        let looked = looks();
        for (change, of) in CHANGES {
            for round in 0..ROUNDS {
                of(&store, &format!("{change} {round}"));
                // Whoever is woken looks, and is there to be woken again.
                if wakes.0.swap(0, Ordering::SeqCst) > 0 {
                    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                }
            }
            // A condition variable may wake somebody without reason, once in a while.
            let more = looks() - looked;
            assert!(more <= WAITERS, "{change} of {ROUNDS} other keys: {more} looks by {WAITERS} who wait");
        }
        holder.complete("r").unwrap();
        for waiter in waiters {
            assert!(matches!(waiter.join().unwrap(), Claim::Duplicate(_)));
        }
    });
    assert!(matches!(block_on(future), Ok(Claim::Duplicate(_))));
    store.close().unwrap();
}

/// Calls that only make the journal longer: none of them ends a claim that a checkpoint could take out.
const FILLERS: [(&str, Fill); 6] = [
    ("renewals of a detached claim", |store, kept, _| {
        if kept.is_empty() {
            let token = claimed(store, "detached").detach(HOUR).unwrap();
            kept.push(store.resume(token).unwrap());
        }
        kept[0].renew(HOUR).unwrap();
    }),
    ("progress", |store, kept, round| {
        if kept.is_empty() {
            kept.push(claimed(store, "at work"));
        }
        kept[0].save_progress(vec![round as u8; 400]).unwrap();
    }),
    ("retries", |store, _, _| {
        let space = store.namespace_with("patient", Policy::new().max_attempts(u32::MAX)).unwrap();
        space.claim("again", DAY).unwrap().claimed().unwrap().fail(Failure::retry()).unwrap();
    }),
    ("positions", |store, _, round| {
        let stream = store.sequence("stream").unwrap();
        let PositionClaim::Claimed(lease) = stream.claim(u64::from(round)).unwrap() else {
            panic!("claimed")
        };
        lease.complete().unwrap();
    }),
    ("policies", |store, _, round| {
        let lease = Duration::from_secs(u64::from(1 + round));
        drop(store.namespace_with("changing", Policy::new().lease(lease)).unwrap());
    }),
    ("claims released", |store, _, _| claimed(store, "released").release().unwrap()),
];

/// Upkeep that is called now and then keeps the journal short, and has a segment ready before anybody needs it:
/// callers make, rename and remove no file.
#[test]
fn whatever_fills_the_journal_upkeep_keeps_up() {
    const SEGMENT: u64 = 64 << 10;
    const WRITTEN: u64 = 12 * SEGMENT;
    begun();
    for (filler, fill) in FILLERS {
        let options =
            Options::new().segment_bytes(SEGMENT).journal_bytes(16 * SEGMENT).max_response_bytes(1 << 10);
        let (disk, store) = on_a_disk(options.max_progress_bytes(1 << 10));
        let mut kept = Vec::new();
        fill(&store, &mut kept, 0);
        let began = store.stats().unwrap().journal_bytes_written;
        let mut most_lag = 0;
        for round in 1.. {
            if store.stats().unwrap().journal_bytes_written - began >= WRITTEN {
                break;
            }
            if round % 4 == 0 {
                while store.upkeep().unwrap() {}
                let stats = store.stats().unwrap();
                most_lag = most_lag.max(stats.checkpoint_lag_bytes);
                // Two segments are enough for a checkpoint to pay.
                assert!(stats.checkpoint_lag_bytes <= 2 * SEGMENT, "{filler}: {stats:?}");
                assert!(stats.journal_bytes <= 6 * SEGMENT, "{filler}: {stats:?}");
            }
            let before = disk.operations(Target::DirOps);
            fill(&store, &mut kept, round);
            let made = disk.operations(Target::DirOps) - before;
            assert_eq!(made, 0, "{filler}, round {round}: the caller had to make a segment");
        }
        assert!(most_lag > 0, "{filler} does not fill the journal");
        drop(kept);
        store.close().unwrap();
    }
}

/// Nobody asks anything: the threads of the store sleep. Each situation in a process of its own, as only those have
/// a count of their own.
#[test]
fn an_idle_store_sleeps() {
    // A thread that spins uses all of 200 ms, or its share of a busy machine; one that sleeps less than a tenth of this.
    const MOST_US: u64 = 5_000;
    begun();
    let child = |situation: Option<&str>| {
        let done = Command::new(env!("CARGO_BIN_EXE_idle_child")).args(situation).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let situations = child(None);
    let used = thread::scope(|scope| {
        let measure = |name| scope.spawn(move || (name, child(Some(name)).trim().parse::<u64>().unwrap()));
        let threads: Vec<_> = situations.lines().map(measure).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    told(format_args!("resources: microseconds of processor time in 200 ms: {used:?}"));
    assert!(used.len() >= 8);
    let restless: Vec<_> = used.iter().filter(|(_, used_us)| *used_us > MOST_US).collect();
    assert!(restless.is_empty(), "these do not sleep: {restless:?}");
}
