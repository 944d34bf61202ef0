//! Explored schedules: a few threads on one store, run again and again, with shuttle deciding at every lock,
//! atomic and wake-up who goes on. Half of the schedules are random, half are drawn by PCT, which finds bugs
//! that need few switches at the right places.
//!
//! ```text
//! cargo test --manifest-path explored/Cargo.toml -p claimstore-sim -- --nocapture
//! ```
//!
//! `CLAIMSTORE_SCHEDULES` says how many for each scenario. A failure prints the schedule that replays it
//! (`shuttle::replay`). Time stands still: a thread that is not woken is a deadlock, which shuttle reports.
#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use claimstore::io::Storage;
use claimstore::{
    Claim, ClaimRequest, Error, ErrorKind, Failure, Filter, Options, Policy, Store, Transacted,
};
use claimstore_sim::script::World;
use claimstore_sim::{Fault, FaultKind, Level, SeededEntropy, Target, Variant};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread;
use shuttle::{Config, Runner};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(86_400);
const PCT_DEPTH: usize = 3;

/// Runs a scenario under many schedules.
fn explore(name: &str, scenario: impl Fn() + Send + Sync + Clone + 'static) {
    let wanted =
        std::env::var("CLAIMSTORE_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(500);
    let half: usize = wanted / 2;
    let ran =
        run(RandomScheduler::new(half), scenario.clone()) + run(PctScheduler::new(PCT_DEPTH, half), scenario);
    println!("schedules, {name}: {ran} explored");
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    // redb and the engine in a debug build go deeper than shuttle's default.
    config.stack_size = 1 << 20;
    // That orderings weaker than SeqCst are not explored is said in docs/testing.md.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario)
}

/// A store with its two threads.
fn with_threads(world: &World) -> Store {
    let options = Options::new().clock(world.clock.clone()).entropy(SeededEntropy::new(world.seed));
    let options = options.segment_bytes(48 << 10).max_response_bytes(4 << 10).max_progress_bytes(1 << 10);
    world.open_with(options).unwrap()
}

/// The store as the next process finds it when the power fails now. The store of before reaches no disk any more.
fn after_power_loss(world: &World) -> Store {
    let disk = world.disk.power_loss(Variant::new(Level::L1, 0));
    disk.stop_recording();
    world.disk.unplug();
    world.with_disk(disk).open().unwrap()
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::spawn(work)
}

fn kind(error: &Error) -> ErrorKind {
    error.kind()
}

/// Hazards 3, 4, 11: one winner, and what was answered is there after a power loss.
#[test]
fn group_commit_has_one_winner_and_loses_nothing() {
    explore("group commit", || {
        let mut world = World::new(1);
        let store = world.open().unwrap();
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let store = store.clone();
                spawn(move || {
                    let own = format!("own-{number}");
                    let Claim::Claimed(lease) = store.claim(&own, TTL).unwrap() else {
                        panic!("a key of its own")
                    };
                    drop(lease.into_token());
                    match store.claim("shared", TTL).unwrap() {
                        Claim::Claimed(lease) => {
                            lease.complete(&own).unwrap();
                            Some(own)
                        }
                        Claim::Duplicate(receipt) => {
                            assert!(receipt.response().starts_with(b"own-"));
                            None
                        }
                        Claim::InProgress(_) => None,
                    }
                })
            })
            .collect();
        let winners: Vec<String> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(winners.len(), 1);
        let next = after_power_loss(&world);
        let Claim::Duplicate(receipt) = next.claim("shared", TTL).unwrap() else {
            panic!("the response is lost")
        };
        assert_eq!(receipt.response(), winners[0].as_bytes());
        for number in 0..3 {
            assert!(next.get(format!("own-{number}")).unwrap().is_some(), "an acknowledged claim is lost");
        }
    });
}

/// Hazards 1, 2, 17: a key that moves into a run between the look-up and the claim.
#[test]
fn a_checkpoint_between_look_and_claim_gives_nobody_a_second_start() {
    explore("fold race", || {
        let store = World::new(2).open().unwrap();
        let starts = Arc::new(AtomicU64::new(0));
        let claimers: Vec<_> = (0..2)
            .map(|number| {
                let (store, starts) = (store.clone(), starts.clone());
                spawn(move || {
                    // Alone, and in a batch.
                    if let Claim::Claimed(lease) = claim_in_a_way(&store, 3 * number, "k").unwrap() {
                        starts.fetch_add(1, Ordering::Relaxed);
                        lease.complete("done").unwrap();
                    }
                })
            })
            .collect();
        let folder = {
            let store = store.clone();
            spawn(move || (0..2).for_each(|_| store.checkpoint().unwrap()))
        };
        claimers.into_iter().chain([folder]).for_each(|thread| thread.join().unwrap());
        assert_eq!(starts.load(Ordering::Relaxed), 1);
        let Claim::Duplicate(receipt) = store.claim("k", TTL).unwrap() else {
            panic!("the response is lost")
        };
        assert_eq!(receipt.response(), b"done");
    });
}

/// Hazards 3, 4, 11: a sync fails. Nobody is left asleep, no answer is a lie, nothing is tried again.
#[test]
fn a_failed_sync_wakes_everybody_and_lies_to_nobody() {
    explore("poison", || {
        let mut world = World::new(3);
        let store = world.open().unwrap();
        let at = world.disk.operations(Target::Syncs) + thread_rng().gen_range(0u64..3);
        world.disk.fail_at(at, Fault::once(FaultKind::Io, Target::Syncs));
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let store = store.clone();
                spawn(move || {
                    let key = if number == 0 { "shared".to_owned() } else { format!("own-{number}") };
                    let mut told = Vec::new();
                    for key in [key.as_str(), "shared"] {
                        match store.claim(key, TTL) {
                            Ok(Claim::Claimed(lease)) => {
                                told.push(key.to_owned());
                                drop(lease.into_token());
                            }
                            // Somebody's claim that is durable.
                            Ok(Claim::InProgress(_)) => told.push(key.to_owned()),
                            Ok(other) => panic!("{other:?}"),
                            Err(error) => {
                                assert!(matches!(
                                    kind(&error),
                                    ErrorKind::Indeterminate | ErrorKind::Poisoned
                                ));
                            }
                        }
                    }
                    told
                })
            })
            .collect();
        let told: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let fired = world.disk.operations(Target::Syncs) > at;
        let after = store.claim("another", TTL);
        let ended = after.as_ref().err().map(kind);
        if fired {
            assert_eq!(ended, Some(ErrorKind::Poisoned));
        }
        let next = after_power_loss(&world);
        for key in told {
            assert!(next.get(&key).unwrap().is_some(), "an acknowledged claim is lost");
        }
    });
}

/// Whoever waits for a holder is woken however the holder ends.
#[test]
fn a_waiter_is_woken_however_the_holder_ends() {
    explore("waiters", || {
        let store = World::new(4).open().unwrap();
        let Claim::Claimed(lease) = store.claim("k", TTL).unwrap() else { panic!("a fresh key") };
        let ending = thread_rng().gen_range(0u32..4);
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let store = store.clone();
                spawn(move || {
                    let request = ClaimRequest::new("k").ttl(TTL);
                    match store.claim_or_wait(&request, Duration::from_secs(60)).unwrap() {
                        Claim::Claimed(lease) => {
                            lease.complete("waiter").unwrap();
                            true
                        }
                        Claim::Duplicate(_) => false,
                        Claim::InProgress(holder) => panic!("gave up: {holder:?}"),
                    }
                })
            })
            .collect();
        match ending {
            0 => lease.complete("holder").unwrap(),
            1 => lease.release().unwrap(),
            2 => lease.fail(Failure::retry()).unwrap(),
            _ => drop(lease),
        }
        let took_over = waiters.into_iter().filter(|_| true).map(|waiter| waiter.join().unwrap());
        let took_over = took_over.filter(|took| *took).count();
        assert_eq!(took_over, usize::from(ending != 0));
    });
}

/// A future whose answer rests on a batch that somebody else is writing leaves its waker there: with the batch while it
/// is queued, or with the engine once its leader has taken it. It is woken either way.
#[test]
fn a_future_is_woken_for_a_batch_that_somebody_else_writes() {
    explore("parked futures", || {
        let store = World::new(11).open().unwrap();
        let writer = {
            let store = store.clone();
            spawn(move || match store.claim("k", TTL).unwrap() {
                Claim::Claimed(lease) => drop(lease.into_token()),
                Claim::InProgress(_) => {}
                Claim::Duplicate(receipt) => panic!("{receipt:?}"),
            })
        };
        let claiming = {
            let store = store.clone();
            spawn(move || {
                let request = ClaimRequest::new("k").ttl(TTL);
                match shuttle::future::block_on(store.claim_async(&request)).unwrap() {
                    Claim::Claimed(lease) => drop(lease.into_token()),
                    Claim::InProgress(_) => {}
                    Claim::Duplicate(receipt) => panic!("{receipt:?}"),
                }
            })
        };
        let looking = {
            let store = store.clone();
            spawn(move || drop(shuttle::future::block_on(store.get_async("k")).unwrap()))
        };
        [writer, claiming, looking].into_iter().for_each(|thread| thread.join().unwrap());
        assert!(store.get("k").unwrap().is_some());
        store.close().unwrap();
    });
}

/// A key changes hands while somebody is about to wait for it, as a thread or as a future: before the question, between
/// the answer and the sleep, or behind it. Nothing else would wake who missed that: time stands still.
#[test]
fn a_key_that_changes_hands_wakes_who_is_about_to_wait() {
    explore("about to wait", || {
        let mut world = World::new(12);
        let store = world.open().unwrap();
        let Claim::Claimed(lease) = store.claim("k", TTL).unwrap() else { panic!("a fresh key") };
        let as_future = thread_rng().gen_range(0u32..2) == 0;
        let waiter = {
            let store = store.clone();
            spawn(move || {
                let (request, limit) = (ClaimRequest::new("k").ttl(TTL), Duration::from_secs(60));
                if as_future {
                    shuttle::future::block_on(store.claim_or_wait_async(&request, limit))
                } else {
                    store.claim_or_wait(&request, limit)
                }
            })
        };
        lease.complete("holder").unwrap();
        let answer = waiter.join().unwrap().unwrap();
        assert!(matches!(answer, Claim::Duplicate(_)), "{answer:?}");
        store.close().unwrap();
    });
}

/// A future dropped before its answer was delivered leaves no claim behind, and counts no attempt.
#[test]
fn a_cancelled_claim_is_as_if_never_made() {
    explore("cancel", || {
        let world = World::new(5);
        let store = with_threads(&world);
        let canceller = {
            let store = store.clone();
            spawn(move || {
                let mut claim = store.claim_async(&ClaimRequest::new("k").ttl(TTL));
                let mut context = Context::from_waker(Waker::noop());
                for _ in 0..thread_rng().gen_range(0..3) {
                    if let Poll::Ready(answer) = std::pin::Pin::new(&mut claim).poll(&mut context) {
                        return matches!(answer.unwrap(), Claim::Claimed(_));
                    }
                    thread::yield_now();
                }
                false
            })
        };
        let other = {
            let store = store.clone();
            spawn(move || match store.claim("k", TTL).unwrap() {
                Claim::Claimed(lease) => lease.release().unwrap(),
                Claim::InProgress(_) => {}
                Claim::Duplicate(receipt) => panic!("{receipt:?}"),
            })
        };
        let delivered = canceller.join().unwrap();
        other.join().unwrap();
        let request = ClaimRequest::new("k").ttl(TTL);
        let Claim::Claimed(lease) = store.claim_or_wait(&request, Duration::from_secs(60)).unwrap() else {
            panic!("a claim that nobody received is still there")
        };
        // A delivered lease that was dropped counts: that is an abandoned claim, not a cancelled one.
        assert_eq!(lease.attempt(), 1 + u32::from(delivered));
        lease.release().unwrap();
        store.close().unwrap();
    });
}

/// Futures are led by the service thread; none is forgotten.
#[test]
fn every_future_is_answered() {
    explore("futures", || {
        let world = World::new(6);
        let store = with_threads(&world);
        let threads: Vec<_> = (0..2)
            .map(|number| {
                let store = store.clone();
                spawn(move || {
                    let requests: Vec<_> =
                        (0..2).map(|n| ClaimRequest::new(format!("{number}-{n}")).ttl(TTL)).collect();
                    let claims: Vec<_> = requests.iter().map(|request| store.claim_async(request)).collect();
                    for claim in claims {
                        let Claim::Claimed(lease) = shuttle::future::block_on(claim).unwrap() else {
                            panic!("a fresh key")
                        };
                        shuttle::future::block_on(lease.complete_async("r")).unwrap();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        store.close().unwrap();
    });
}

/// `transact` and `claim` of one key: one of them has the effect.
#[test]
fn a_transact_and_a_claim_never_both_win() {
    explore("transact", || {
        let mut world = World::new(7);
        let store = world.open().unwrap();
        let transacting = {
            let store = store.clone();
            spawn(move || {
                let request = ClaimRequest::new("k").ttl(TTL);
                let done = store.transact(&request, |tx| {
                    tx.table("rows")?.insert(b"k", b"v")?;
                    Ok(b"tx".to_vec())
                });
                matches!(done.unwrap(), Transacted::Done(_))
            })
        };
        let claiming = {
            let store = store.clone();
            spawn(move || match store.claim("k", TTL).unwrap() {
                Claim::Claimed(lease) => {
                    lease.complete("claim").unwrap();
                    true
                }
                Claim::Duplicate(receipt) => {
                    assert_eq!(receipt.response(), b"tx");
                    false
                }
                Claim::InProgress(_) => false,
            })
        };
        let folding = {
            let store = store.clone();
            spawn(move || store.checkpoint().unwrap())
        };
        folding.join().unwrap();
        let (transacted, claimed) = (transacting.join().unwrap(), claiming.join().unwrap());
        assert!(transacted ^ claimed, "transact: {transacted}, claim: {claimed}");
        let next = after_power_loss(&world);
        let Claim::Duplicate(receipt) = next.claim("k", TTL).unwrap() else { panic!("the response is lost") };
        assert_eq!(receipt.response() == b"tx", transacted);
        assert_eq!(next.table("rows").unwrap().get(b"k").unwrap().is_some(), transacted);
    });
}

/// Claims in one of four ways.
fn claim_in_a_way(store: &Store, way: usize, key: &str) -> Result<Claim, Error> {
    let request = ClaimRequest::new(key).ttl(TTL);
    match way % 4 {
        0 => store.claim_with(&request),
        1 => store.claim_or_wait(&request, Duration::from_secs(60)),
        2 => shuttle::future::block_on(store.claim_async(&request)),
        _ => {
            // Behind an item that is refused, and before the key again and another of its own.
            let other = ClaimRequest::new([key, "-other"].concat()).ttl(TTL);
            let answers = store.claim_many(&[ClaimRequest::new(""), request.clone(), request, other])?;
            let Ok([refused, first, second, other]) = <[Result<Claim, Error>; 4]>::try_from(answers) else {
                panic!("an answer for each item")
            };
            assert_eq!(refused.err().as_ref().map(kind), Some(ErrorKind::InvalidKey));
            assert!(
                !matches!(second, Ok(Claim::Claimed(_))),
                "the second of one key in a batch has started too"
            );
            drop(other);
            first
        }
    }
}

/// Closing meets everything: calls end with an answer or with `Closed`, and answers stay true. Whoever waits for a
/// holder is woken.
#[test]
fn a_close_meets_everything() {
    explore("close", || {
        let mut world = World::new(8);
        let store = world.open().unwrap();
        let Claim::Claimed(holder) = store.claim("held", TTL).unwrap() else { panic!("a fresh key") };
        let waiting = {
            let store = store.clone();
            spawn(move || {
                let answer = claim_in_a_way(&store, 1, "held");
                assert_eq!(answer.as_ref().err().map(kind), Some(ErrorKind::Closed), "{answer:?}");
            })
        };
        let first_way = thread_rng().gen_range(0usize..4);
        let working: Vec<_> = (0..2)
            .map(|number| {
                let store = store.clone();
                spawn(move || {
                    let key = format!("k-{number}");
                    let done = match claim_in_a_way(&store, first_way + number, &key) {
                        Ok(Claim::Claimed(lease)) => lease.complete("done").map_err(Error::from),
                        Ok(other) => panic!("{other:?}"),
                        Err(error) => Err(error),
                    };
                    match done {
                        Ok(()) => Some(key),
                        Err(error) => {
                            assert_eq!(kind(&error), ErrorKind::Closed);
                            None
                        }
                    }
                })
            })
            .collect();
        let folding = {
            let store = store.clone();
            spawn(move || {
                if let Err(error) = store.checkpoint() {
                    assert_eq!(kind(&error), ErrorKind::Closed);
                }
            })
        };
        let closing = spawn(move || store.close().unwrap());
        let done: Vec<String> = working.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        folding.join().unwrap();
        closing.join().unwrap();
        waiting.join().unwrap();
        drop(holder);
        let next = world.open().unwrap();
        for key in done {
            assert!(matches!(next.claim(&key, TTL).unwrap(), Claim::Duplicate(_)), "a completion is lost");
        }
    });
}

/// An orphan that a renewal, a take-over, an end and a claim all want: one of them has it, and the others know.
#[test]
fn of_all_who_want_an_orphan_one_has_it() {
    explore("orphans", || {
        let mut world = World::new(9);
        let store = world.open().unwrap();
        let Claim::Claimed(holder) = store.claim_with(&ClaimRequest::new("k").lease(TTL)).unwrap() else {
            panic!("a fresh key")
        };
        world.clock.advance(TTL);
        let orphan = store.unheld().next().unwrap().unwrap();
        let (taking, ending, claiming, listed) =
            (store.clone(), store.clone(), store.clone(), orphan.clone());
        let taker = spawn(move || taking.take_over(&orphan, TTL).map(|lease| lease.complete("taken")));
        let ender =
            spawn(move || ending.fail_orphans(&[(listed, Failure::park("ended"))]).unwrap().remove(0));
        let claimer = spawn(move || match claiming.claim("k", TTL) {
            Ok(Claim::Claimed(lease)) => lease.complete("claimed").is_ok(),
            _ => false,
        });
        let renewed = holder.renew(TTL).is_ok();
        let completed = holder.complete("held").is_ok();
        let taken = taker.join().unwrap().is_ok_and(|completed| completed.is_ok());
        let (ended, claimed) = (ender.join().unwrap().is_ok(), claimer.join().unwrap());
        assert!(completed || !renewed, "a renewed lease was taken away");
        assert_eq!([completed, taken, ended, claimed].iter().filter(|won| **won).count(), 1);
        let next = after_power_loss(&world);
        let record = next.get("k").unwrap().unwrap();
        let expected: Option<&[u8]> = match (completed, taken, claimed) {
            (true, _, _) => Some(b"held"),
            (_, true, _) => Some(b"taken"),
            (_, _, true) => Some(b"claimed"),
            _ => None,
        };
        assert_eq!(record.response(), expected);
    });
}

/// Time stands still, so a watch that misses a dropped lease sleeps for ever.
#[test]
fn a_watch_misses_no_dropped_lease() {
    explore("orphan watch", || {
        let mut world = World::new(10);
        let store = world.open().unwrap();
        let watch = store.watch_orphans().unwrap();
        let dropping = store.clone();
        let dropper = spawn(move || {
            for key in ["a", "b"] {
                drop(dropping.claim(key, TTL).unwrap());
            }
        });
        let mut found = 0;
        while found < 2 {
            watch.look();
            let ends = store.unheld().map(|orphan| (orphan.unwrap(), Failure::park("seen")));
            let ends: Vec<_> = ends.collect();
            found += store.fail_orphans(&ends).unwrap().into_iter().filter(Result::is_ok).count();
            if found < 2 {
                watch.sleep(TTL);
            }
        }
        dropper.join().unwrap();
        drop(watch);
        drop(store);
    });
}

/// A key that moves into a run, is forgotten, and is asked for, all at once: who forgets it finds it, what was forgotten
/// is told to nobody who asks later, and what comes behind is there after a power loss.
#[test]
fn a_forgotten_key_is_told_to_nobody_who_asks_later() {
    explore("cold answers and forget", || {
        let mut world = World::new(11);
        let store = world.open().unwrap();
        let Claim::Claimed(lease) = store.claim("k", TTL).unwrap() else { panic!("a fresh key") };
        lease.complete("old").unwrap();
        // In a run already, or about to move into one.
        if thread_rng().gen_range(0u32..2) == 0 {
            store.checkpoint().unwrap();
        }
        let way = thread_rng().gen_range(0usize..4);
        let forgetting = {
            let store = store.clone();
            spawn(move || {
                assert!(store.forget("k").unwrap(), "a known key was not found");
                claim_and_complete(&store, way, "behind the forget")
            })
        };
        let asking = {
            let store = store.clone();
            spawn(move || {
                // Before the forget or behind it.
                let first = claim_and_complete(&store, way + 1, "beside it");
                let second = store.get("k").unwrap();
                let second = second.and_then(|record| record.response().map(<[u8]>::to_vec));
                let old = Some(b"old".to_vec());
                assert!(first == old || second != old, "it came back");
                first
            })
        };
        let folding = {
            let store = store.clone();
            spawn(move || (0..2).for_each(|_| store.checkpoint().unwrap()))
        };
        let told = [forgetting.join().unwrap(), asking.join().unwrap()];
        folding.join().unwrap();
        assert_ne!(told[0].as_deref(), Some(&b"old"[..]), "told to who had forgotten it");
        let next = after_power_loss(&world);
        let record = next.get("k").unwrap().unwrap();
        assert!(matches!(record.response(), Some(b"behind the forget" | b"beside it")), "{record:?}");
    });
}

/// Claims and completes. Answers what a duplicate was told, or nothing.
fn claim_and_complete(store: &Store, way: usize, response: &str) -> Option<Vec<u8>> {
    match claim_in_a_way(store, way, "k").unwrap() {
        Claim::Claimed(lease) => {
            lease.complete(response).unwrap();
            None
        }
        Claim::Duplicate(receipt) => Some(receipt.response().to_vec()),
        Claim::InProgress(_) => None,
    }
}

/// Nothing changes but where records lie: each count is the same at any moment, and so is what a quota refuses.
#[test]
fn counts_stand_still_while_a_checkpoint_moves_what_they_count() {
    explore("counts", || {
        let store = World::new(12).open().unwrap();
        let claimed = |key: &str| {
            let Claim::Claimed(lease) = store.claim(key, TTL).unwrap() else { panic!("a fresh key") };
            lease
        };
        claimed("parked").fail(Failure::park("look")).unwrap();
        claimed("later").fail(Failure::retry_after(TTL)).unwrap();
        claimed("done").complete("r").unwrap();
        let _held = claimed("held");
        drop(claimed("left behind"));
        let limited = store.namespace_with("limited", Policy::new().quota(2, 1 << 20)).unwrap();
        for key in ["a", "b"] {
            let Claim::Claimed(lease) = limited.claim(key, TTL).unwrap() else { panic!("a fresh key") };
            lease.complete("r").unwrap();
        }
        let folding = {
            let store = store.clone();
            spawn(move || (0..2).for_each(|_| store.checkpoint().unwrap()))
        };
        for _ in 0..2 {
            let census = store.census().unwrap();
            assert_eq!((census.in_progress, census.orphaned, census.lapsed), (1, 1, 0));
            assert_eq!((census.retry, census.parked), (1, 1), "a record was counted twice, or not at all");
            assert_eq!(store.stats().unwrap().in_progress, 2);
            assert_eq!(store.scan(Filter::new()).map(Result::unwrap).count(), 7);
            assert_eq!(limited.claim("c", TTL).err().as_ref().map(kind), Some(ErrorKind::Full));
        }
        folding.join().unwrap();
    });
}
