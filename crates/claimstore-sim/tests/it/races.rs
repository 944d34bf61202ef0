//! Races by name: winners are counted, sleepers are woken, and an end of the store is an end for everybody.
//!
//! `CLAIMSTORE_ROUNDS` scales them.

use crate::executor::{Crowd, block_on};
use crate::threads::restless;
use crate::watch::{Watchdog, scale};
use claimstore::io::{MemoryStorage, Storage};
use claimstore::{
    Claim, ClaimRequest, ErrorKind, ManualClock, Options, Policy, Store, TimeOrdered, Transacted,
};
use claimstore_sim::{Fault, FaultKind, Level, Rng, SimDisk, Target, Variant};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

const TTL: Duration = Duration::from_secs(86_400);

fn request(key: &str) -> ClaimRequest {
    ClaimRequest::new(key).ttl(TTL).lease(TTL)
}

fn rounds(default: usize) -> usize {
    scale("CLAIMSTORE_ROUNDS", default)
}

/// Hazards 1 and 2: keys are completed and leave the live table while others ask for them.
#[test]
fn every_key_has_one_winner_while_checkpoints_pass() {
    let _watchdog = Watchdog::new("every_key_has_one_winner_while_checkpoints_pass", 120);
    let store = restless().in_memory().unwrap();
    let keys = rounds(4_000);
    let wins: Vec<AtomicUsize> = (0..keys).map(|_| AtomicUsize::new(0)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let keeper = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                store.checkpoint().unwrap();
            }
        });
        let claimers: Vec<_> = (0..8_u64)
            .map(|number| {
                let (store, wins) = (&store, &wins);
                scope.spawn(move || {
                    let mut rng = Rng::new(number);
                    for front in 0..keys {
                        // The newest key, and one that is just on its way into a run.
                        for key in [front, front.saturating_sub(rng.index(16))] {
                            if let Claim::Claimed(lease) = claim(store, &request(&key.to_string())) {
                                wins[key].fetch_add(1, Ordering::Relaxed);
                                lease.complete(key.to_string()).unwrap();
                            }
                        }
                    }
                })
            })
            .collect();
        claimers.into_iter().for_each(|claimer| claimer.join().unwrap());
        done.store(true, Ordering::Release);
        keeper.join().unwrap();
    });
    let wrong: Vec<_> =
        wins.iter().enumerate().filter(|(_, wins)| wins.load(Ordering::Relaxed) != 1).collect();
    assert!(wrong.is_empty(), "keys with another number of winners than one: {wrong:?}");
    store.verify().unwrap();
    store.close().unwrap();
}

/// Asks again while the store has no room.
fn claim(store: &Store, request: &ClaimRequest) -> Claim {
    loop {
        match store.claim_with(request) {
            Err(error) if is_passing(error.kind()) => thread::yield_now(),
            answer => return answer.unwrap(),
        }
    }
}

/// Whoever waits for a key hears what became of it, on a thread or as a future.
#[test]
fn every_waiter_hears_the_result() {
    const WAITERS: usize = 8;
    let store = restless().in_memory().unwrap();
    for round in 0..rounds(300) {
        let _watchdog = Watchdog::new(format!("every_waiter_hears_the_result, round {round}"), 60);
        let key = round.to_string();
        let lease = store.claim_with(&request(&key)).unwrap().claimed().unwrap();
        let start = Barrier::new(WAITERS + 1);
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..WAITERS)
                .map(|number| {
                    let (store, start, request) = (&store, &start, request(&key));
                    scope.spawn(move || {
                        start.wait();
                        if number % 2 == 0 {
                            store.claim_or_wait(&request, TTL)
                        } else {
                            block_on(store.claim_or_wait_async(&request, TTL))
                        }
                    })
                })
                .collect();
            start.wait();
            let holder = if round % 3 == 0 { lease } else { pass_on(&store, &key, lease, round) };
            holder.complete(&key).unwrap();
            for waiter in waiters {
                let answer = waiter.join().unwrap().unwrap();
                let heard = if let Claim::Duplicate(receipt) = &answer { receipt.response() } else { b"" };
                assert!(heard == key.as_bytes() || matches!(answer, Claim::Claimed(_)), "{answer:?}");
            }
        });
    }
    store.close().unwrap();
}

/// Lets go of a claim in one of the ways there are, and takes it back from whoever got it.
fn pass_on(store: &Store, key: &str, lease: claimstore::Lease, round: usize) -> claimstore::Lease {
    if round % 3 == 1 {
        lease.renew(TTL).unwrap();
        lease
    } else {
        let token = lease.into_token();
        let lease = store.resume(token).unwrap();
        assert_eq!(lease.key(), key.as_bytes());
        lease
    }
}

/// A key goes from waiter to waiter: each that gets it gives it back.
#[test]
fn a_released_key_reaches_every_waiter() {
    const WAITERS: usize = 6;
    let store = restless().in_memory().unwrap();
    for round in 0..rounds(200) {
        let _watchdog = Watchdog::new(format!("a_released_key_reaches_every_waiter, round {round}"), 60);
        let key = round.to_string();
        let lease = store.claim_with(&request(&key)).unwrap().claimed().unwrap();
        let start = Barrier::new(WAITERS + 1);
        thread::scope(|scope| {
            for number in 0..WAITERS {
                let (store, start, request) = (&store, &start, request(&key));
                scope.spawn(move || {
                    start.wait();
                    let answer = if number % 2 == 0 {
                        store.claim_or_wait(&request, TTL)
                    } else {
                        block_on(store.claim_or_wait_async(&request, TTL))
                    };
                    let Ok(Claim::Claimed(lease)) = answer else { panic!("{answer:?}") };
                    assert_eq!(lease.attempt(), 1);
                    lease.release().unwrap();
                });
            }
            start.wait();
            lease.release().unwrap();
        });
    }
    store.close().unwrap();
}

/// A thousand futures on one thread, and threads that block, on one store.
#[test]
fn many_futures_and_blocking_callers_all_get_their_answers() {
    const IN_FLIGHT: usize = 1_024;
    let _watchdog = Watchdog::new("many_futures_and_blocking_callers_all_get_their_answers", 120);
    let dir = tempfile::tempdir().unwrap();
    let store = restless().open(dir.path()).unwrap();
    let total = rounds(8) * IN_FLIGHT;
    thread::scope(|scope| {
        for number in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..total / 16 {
                    let key = format!("blocking-{number}-{n}");
                    store.claim_with(&request(&key)).unwrap().claimed().unwrap().complete("done").unwrap();
                }
            });
        }
        let mut claims = Crowd::new();
        let mut settlements = Crowd::new();
        let mut begun = 0;
        let mut begin = |claims: &mut Crowd<_>| {
            if begun < total {
                claims.push(store.claim_async(&request(&format!("async-{begun}"))));
                begun += 1;
            }
        };
        (0..IN_FLIGHT).for_each(|_| begin(&mut claims));
        while let Some(answer) = claims.next() {
            let lease = answer.unwrap().claimed().unwrap();
            settlements.push(lease.complete_async("done"));
            begin(&mut claims);
        }
        let mut settled = 0;
        while let Some(verdict) = settlements.next() {
            verdict.unwrap();
            settled += 1;
        }
        assert_eq!(settled, total);
    });
    for n in 0..total {
        assert!(matches!(store.claim_with(&request(&format!("async-{n}"))).unwrap(), Claim::Duplicate(_)));
    }
    store.verify().unwrap();
    store.close().unwrap();
}

/// What was acknowledged under load.
#[derive(Debug, Default)]
struct Facts {
    claimed: Mutex<BTreeSet<String>>,
    completed: Mutex<BTreeSet<String>>,
    count: AtomicU64,
}

impl Facts {
    fn claimed(&self, key: &str) {
        self.claimed.lock().unwrap().insert(key.to_owned());
        self.count.fetch_add(1, Ordering::Release);
    }

    fn completed(&self, key: &str) {
        self.completed.lock().unwrap().insert(key.to_owned());
        self.count.fetch_add(1, Ordering::Release);
    }

    /// Everything acknowledged is there.
    fn check(&self, store: &Store) {
        let completed = self.completed.lock().unwrap();
        for key in &*completed {
            let answer = store.claim_with(&request(key)).unwrap();
            let Claim::Duplicate(receipt) = answer else { panic!("{key} is lost: {answer:?}") };
            assert_eq!(receipt.response(), key.as_bytes());
        }
        for key in &*self.claimed.lock().unwrap() {
            assert!(store.get(key).unwrap().is_some(), "the claim of {key} is lost");
        }
    }
}

/// Every kind of caller there is, each until the store refuses it. Answers with what they were refused.
///
/// An end of the store (closed, poisoned) wakes those who wait for a key by itself. A disk that gives the journal
/// no further segment ends nothing: the callers are refused one by one, and who waits for a key goes on waiting
/// for its holder, who then lets go of it.
fn press(store: &Store, facts: &Facts, end: impl FnOnce()) -> Vec<ErrorKind> {
    let held = store.claim_with(&request("held")).unwrap().claimed().unwrap();
    facts.claimed("held");
    let refusals = Mutex::new(Vec::new());
    let refused = |kind: ErrorKind| refusals.lock().unwrap().push(kind);
    let refused = &refused;
    thread::scope(|scope| {
        let mut callers = Vec::new();
        for number in 0..4 {
            callers.push(scope.spawn(move || refused(claim_and_complete(store, facts, number))));
        }
        callers.push(scope.spawn(move || refused(in_batches(store, facts))));
        callers.push(scope.spawn(move || refused(in_transactions(store, facts))));
        callers.push(scope.spawn(move || crowd(store, facts).into_iter().for_each(refused)));
        callers.push(scope.spawn(move || refused(keep(store))));
        for number in 0..4 {
            scope.spawn(move || {
                let answer = if number % 2 == 0 {
                    store.claim_or_wait(&request("held"), TTL)
                } else {
                    block_on(store.claim_or_wait_async(&request("held"), TTL))
                };
                refused(answer.unwrap_err().kind());
            });
        }
        end();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        // Asked of the store itself: a transaction whose end nobody knows is refused as `Indeterminate`, and ends nothing.
        let ends = [ErrorKind::Closed, ErrorKind::Poisoned];
        if store.get("held").is_err_and(|error| ends.contains(&error.kind())) {
            return Some(held);
        }
        drop(held);
        None
    });
    refusals.into_inner().unwrap()
}

/// Upkeep by hand, and reads.
fn keep(store: &Store) -> ErrorKind {
    loop {
        let kept = store.checkpoint().and_then(|()| store.verify().map(drop));
        if let Err(error) = kept.and_then(|()| store.get("held").map(drop)) {
            return error.kind();
        }
    }
}

fn claim_and_complete(store: &Store, facts: &Facts, number: usize) -> ErrorKind {
    for n in 0.. {
        let key = format!("one-{number}-{n}");
        let lease = match store.claim_with(&request(&key)) {
            Ok(answer) => answer.claimed().unwrap(),
            Err(error) if is_passing(error.kind()) => continue,
            Err(error) => return error.kind(),
        };
        facts.claimed(&key);
        match lease.complete(&key) {
            Ok(()) => facts.completed(&key),
            Err(refused) => return refused.kind(),
        }
    }
    unreachable!()
}

fn in_batches(store: &Store, facts: &Facts) -> ErrorKind {
    for n in 0.. {
        let keys: Vec<String> = (0..20).map(|item| format!("many-{n}-{item}")).collect();
        let requests: Vec<_> = keys.iter().map(|key| request(key)).collect();
        let answers = match store.claim_many(&requests) {
            Ok(answers) => answers,
            Err(error) if is_passing(error.kind()) => continue,
            Err(error) => return error.kind(),
        };
        let leases = answers.into_iter().map(|answer| answer.unwrap().claimed().unwrap());
        let items = keys.iter().zip(leases).map(|(key, lease)| (lease, key.clone().into_bytes())).collect();
        keys.iter().for_each(|key| facts.claimed(key));
        match store.complete_many(items) {
            Ok(verdicts) => {
                verdicts.into_iter().for_each(|verdict| verdict.unwrap());
                keys.iter().for_each(|key| facts.completed(key));
            }
            Err(refused) => return refused.kind(),
        }
    }
    unreachable!()
}

fn in_transactions(store: &Store, facts: &Facts) -> ErrorKind {
    for n in 0.. {
        let key = format!("row-{n}");
        let answer = store.transact(&request(&key), |tx| {
            tx.table("rows")?.insert(&key, &key)?;
            Ok(key.clone().into_bytes())
        });
        match answer {
            Ok(Transacted::Done(_)) => facts.completed(&key),
            Ok(other) => panic!("{other:?}"),
            Err(error) if is_passing(error.kind()) => {}
            Err(error) => return error.kind(),
        }
    }
    unreachable!()
}

/// Futures, a hundred at a time.
fn crowd(store: &Store, facts: &Facts) -> Vec<ErrorKind> {
    let mut refusals = Vec::new();
    let mut claims = Crowd::new();
    for n in 0..100 {
        claims.push(store.claim_async(&request(&format!("async-{n}"))));
    }
    for n in 100.. {
        match claims.next() {
            None => break,
            Some(Err(error)) if !is_passing(error.kind()) => refusals.push(error.kind()),
            answer => {
                if let Some(Ok(Claim::Claimed(lease))) = answer {
                    facts.claimed(std::str::from_utf8(lease.key()).unwrap());
                    // The claim goes on without its lease.
                    drop(lease.into_token());
                }
                claims.push(store.claim_async(&request(&format!("async-{n}"))));
            }
        }
    }
    refusals
}

/// Nothing happened; asking again helps.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Overloaded | ErrorKind::Full)
}

#[test]
fn close_is_an_end_for_everybody_and_takes_nothing_back() {
    for round in 0..rounds(20) {
        let _watchdog = Watchdog::new(format!("close_is_an_end_for_everybody, round {round}"), 60);
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let store = restless().open_on(storage.clone()).unwrap();
        let facts = Facts::default();
        let until = 1 + Rng::new(round as u64).below(2_000);
        let refusals = press(&store, &facts, || {
            while facts.count.load(Ordering::Acquire) < until {
                thread::yield_now();
            }
            store.clone().close().unwrap();
        });
        assert!(refusals.iter().all(|kind| *kind == ErrorKind::Closed), "{refusals:?}");
        // The old handle still lives; the store may be opened all the same.
        let reopened = restless().open_on(storage).unwrap();
        facts.check(&reopened);
        reopened.verify().unwrap();
        reopened.close().unwrap();
    }
}

#[test]
fn a_failing_disk_wakes_everybody_and_takes_nothing_back() {
    for round in 0..rounds(60) as u64 {
        let _watchdog = Watchdog::new(format!("a_failing_disk_wakes_everybody, round {round}"), 60);
        let mut rng = Rng::new(round);
        let disk = SimDisk::new();
        disk.stop_recording();
        let store = restless().open_on(Arc::new(disk.clone())).unwrap();
        let facts = Facts::default();
        let target = if rng.chance(1, 2) { Target::Syncs } else { Target::Any };
        let fault = Fault { seed: rng.next_u64(), ..Fault::sticky(FaultKind::Io, target) };
        disk.fail_at(disk.operations(target) + 20 + rng.below(400), fault);
        let refusals = press(&store, &facts, || {});
        let explained =
            |kind: &ErrorKind| matches!(kind, ErrorKind::Indeterminate | ErrorKind::Poisoned | ErrorKind::Io);
        assert!(refusals.iter().all(explained), "{refusals:?}");
        drop(store);
        let level = [Level::L1, Level::L2, Level::L3][rng.index(3)];
        let disk = disk.power_loss(Variant::new(level, rng.next_u64()));
        let reopened = restless().open_on(Arc::new(disk)).unwrap();
        facts.check(&reopened);
        reopened.verify().unwrap();
        reopened.close().unwrap();
    }
}

/// Hazard 19, P12: time passes, buckets are pruned, and a time-ordered key is still done once only.
#[test]
fn a_time_ordered_key_is_resolved_once_however_time_passes() {
    const WORKERS: u64 = 6;
    const START_MS: u64 = 1_800_000_000_000;
    const STEP_MS: u64 = 40;
    // Two buckets end in that time, however slowly the threads come along.
    const AT_LEAST_MS: u64 = 140_000;
    let _watchdog = Watchdog::new("a_time_ordered_key_is_resolved_once_however_time_passes", 600);
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_millis(START_MS));
    let store = Options::clone(&restless()).clock(clock.clone()).in_memory().unwrap();
    let policy = Policy::new().ttl(Duration::from_secs(1)).time_ordered_keys(TimeOrdered::UuidV7);
    let space = store.namespace_with("ordered", policy).unwrap();
    let wins = Mutex::new(std::collections::HashMap::<[u8; 16], usize>::new());
    let now_ms = AtomicU64::new(START_MS);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let keeper = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                clock.advance(Duration::from_millis(STEP_MS));
                now_ms.fetch_add(STEP_MS, Ordering::AcqRel);
                store.checkpoint().unwrap();
                store.prune().unwrap();
            }
        });
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (space, wins, now_ms) = (&space, &wins, &now_ms);
                scope.spawn(move || {
                    let mut rng = Rng::new(number);
                    for round in 0.. {
                        let now_ms = now_ms.load(Ordering::Acquire);
                        if round >= rounds(20_000) && now_ms >= START_MS + AT_LEAST_MS {
                            break;
                        }
                        // From the newest to those that have just expired.
                        let key = uuid(now_ms - rng.below(1_100));
                        match space.claim_default(key) {
                            Ok(Claim::Claimed(lease)) => {
                                lease.complete("done").unwrap();
                                *wins.lock().unwrap().entry(key).or_default() += 1;
                            }
                            Ok(_) => {}
                            Err(error) if is_passing(error.kind()) => {}
                            Err(error) => assert_eq!(error.kind(), ErrorKind::TooOld),
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, Ordering::Release);
        keeper.join().unwrap();
    });
    let wins = wins.into_inner().unwrap();
    let twice = wins.values().filter(|wins| **wins > 1).count();
    assert_eq!(twice, 0, "of {} keys", wins.len());
    assert!(store.stats().unwrap().pruned > 0, "nothing was pruned");
    store.close().unwrap();
}

/// The UUIDv7 of a time, with nothing random in it: all threads mean the same key.
fn uuid(time_ms: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    id[6] = 0x70;
    id[8] = 0x80;
    id
}
