//! The asynchronous twins: same answers, cancel safety, closing, threads.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, SECOND, block_on, claimed, clock, done_with, duplicate, eventually, in_progress,
    on_both, poll_once, refused, request,
};
use crate::rig::{Rig, quiet};
use claimstore::{
    Claim, Error, ErrorKind, Failure, Filter, ManualClock, Once, OnceError, Options, Policy, RecordState,
    Store, Transacted, Transaction,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

#[test]
fn every_twin_answers_like_its_blocking_call() {
    let bed = Bed::disk();
    let store = bed.open();
    let mut lease = claimed(block_on(store.claim_async(&request("k"))));
    block_on(lease.save_progress_async("half")).unwrap();
    assert_eq!(lease.progress(), Some(&b"half"[..]));
    assert_eq!(store.get("k").unwrap().unwrap().progress(), Some(&b"half"[..]));
    block_on(lease.renew_async(HOUR)).unwrap();
    assert_eq!(in_progress(block_on(store.claim_async(&request("k")))).retry_after(), HOUR);
    let token = block_on(lease.detach_async(2 * HOUR)).unwrap();
    let lease = store.resume(token).unwrap();
    block_on(lease.complete_async("r")).unwrap();
    assert_eq!(duplicate(block_on(store.claim_async(&request("k")))).response(), b"r");
    assert_eq!(block_on(store.get_async("k")).unwrap().unwrap().state(), RecordState::Completed);
    assert!(block_on(store.forget_async("k")).unwrap());
    assert!(!block_on(store.forget_async("k")).unwrap());
    assert!(block_on(store.get_async("k")).unwrap().is_none());

    let ns = block_on(store.namespace_with_async("n", Policy::weekly())).unwrap();
    assert_eq!(ns.policy(), Policy::weekly());
    assert_eq!(block_on(store.namespace_async("n")).unwrap().policy(), Policy::weekly());
    block_on(claimed(ns.claim_default("f")).fail_async(Failure::terminal("no"))).unwrap();
    block_on(claimed(ns.claim_default("r")).release_async()).unwrap();
    assert!(ns.get("r").unwrap().is_none());
    assert!(duplicate(ns.claim_default("f")).is_failure());

    block_on(store.checkpoint_async()).unwrap();
    assert_eq!(store.stats().unwrap().checkpoints, 1);
    block_on(store.compact_async()).unwrap();
    bed.clock.advance(30 * DAY);
    assert_eq!(block_on(store.prune_async()).unwrap().records, 1);
    let report = block_on(store.verify_async()).unwrap();
    assert_eq!(report.runs, store.stats().unwrap().runs);
    block_on(store.upkeep_async()).unwrap();
    let copies = tempfile::tempdir().unwrap();
    block_on(store.backup_async(copies.path().join("copy"))).unwrap();
    done_with(bed.options().open(copies.path().join("copy")).unwrap());
    block_on(store.after_restore_async()).unwrap();
    let clone = store.clone();
    block_on(store.close_async()).unwrap();
    assert_eq!(refused(clone.claim("k", DAY)), ErrorKind::Closed);
    done_with(bed.open());
}

#[test]
fn refusals_come_through_futures_too() {
    let store = Bed::memory().open();
    assert_eq!(refused(block_on(store.claim_async(&request("")))), ErrorKind::InvalidKey);
    assert_eq!(refused(block_on(store.claim_or_wait_async(&request(""), HOUR))), ErrorKind::InvalidKey);
    assert_eq!(refused(block_on(store.get_async(""))), ErrorKind::InvalidKey);
    assert_eq!(refused(block_on(store.forget_async(""))), ErrorKind::InvalidKey);
    assert_eq!(refused(block_on(store.namespace_async(&"n".repeat(513)))), ErrorKind::TooLarge);
    let mut lease = claimed(store.claim("k", DAY));
    assert_eq!(refused(block_on(lease.renew_async(SECOND / 10_000))), ErrorKind::Misuse);
    assert_eq!(refused(block_on(lease.save_progress_async(vec![0; 1 << 20]))), ErrorKind::TooLarge);
    assert_eq!(lease.progress(), None);
    let (error, lease) = block_on(lease.detach_async(1_000 * DAY)).unwrap_err().into_parts();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    let (error, lease) = block_on(lease.unwrap().complete_async(vec![0; 2 << 20])).unwrap_err().into_parts();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    block_on(lease.unwrap().complete_async("r")).unwrap();
    done_with(store);
}

// ---- dropping --------------------------------------------------------------------------------------------

#[test]
fn a_dropped_claim_future_releases_and_the_attempt_does_not_count() {
    on_both(|bed| {
        let store = bed.open();
        let ns = store.namespace_with("n", Policy::new().max_attempts(u32::MAX)).unwrap();
        let mut delivered = 0;
        for _ in 0..5 {
            let mut future = ns.claim_async(&request("k"));
            // A poll that is ready at once delivers its lease, and that is dropped: the attempt counts.
            if let Poll::Ready(answer) = poll_once(&mut future) {
                delivered += u32::from(matches!(answer.unwrap(), Claim::Claimed(_)));
            }
            drop(future);
        }
        drop(ns.claim_async(&request("never polled")));
        let lease = loop {
            match block_on(ns.claim_async(&request("k"))).unwrap() {
                Claim::Claimed(lease) => break lease,
                Claim::InProgress(_) => {}
                Claim::Duplicate(_) => panic!("nobody completed it"),
            }
        };
        assert_eq!(lease.attempt(), delivered + 1);
        lease.release().unwrap();
        assert!(ns.get("never polled").unwrap().is_none());
        done_with(store);
    });
}

/// Polls `future` once while no sync returns, so that it is pending for certain, and drops it: before its batch is
/// written, or while the sync of it runs.
fn drop_undelivered(rig: &Rig, mut future: impl Future + Unpin, in_the_sync: bool) {
    let held = rig.hold_syncs();
    assert!(poll_once(&mut future).is_pending());
    if in_the_sync {
        held.wait_for(0);
    }
    drop(future);
    drop(held);
}

#[test]
fn an_undelivered_claim_is_as_if_never_made() {
    let rig = Rig::default();
    let store = rig.open(quiet(&clock()));
    for n in 0..40 {
        let key = format!("k{n}");
        drop_undelivered(&rig, store.claim_async(&request(&key)), n % 2 == 0);
        eventually(|| store.get(&key).unwrap().is_none());
        let lease = claimed(store.claim(&key, DAY));
        assert_eq!(lease.attempt(), 1);
        lease.complete("r").unwrap();
    }
    done_with(store);
}

#[test]
fn a_dropped_batch_future_releases_all_of_its_claims() {
    let rig = Rig::default();
    let store = rig.open(quiet(&clock()));
    let requests: Vec<_> = (0..50).map(|n| request(&format!("k{n}"))).collect();
    for in_the_sync in [false, true] {
        drop_undelivered(&rig, store.claim_many_async(&requests), in_the_sync);
        eventually(|| store.scan(Filter::new()).count() == 0);
    }
    for answer in store.claim_many(&requests).unwrap() {
        assert_eq!(claimed(answer).attempt(), 1);
    }
    done_with(store);
}

#[test]
fn a_dropped_settlement_future_settles_all_the_same() {
    on_both(|bed| {
        let store = bed.open();
        drop(claimed(store.claim("complete", DAY)).complete_async("r"));
        drop(claimed(store.claim("release", DAY)).release_async());
        drop(claimed(store.claim("fail", DAY)).fail_async(Failure::terminal("no")));
        drop(claimed(store.claim("detach", DAY)).detach_async(2 * HOUR));
        let mut lease = claimed(store.claim("progress", DAY));
        drop(lease.save_progress_async("half"));
        drop(store.complete_many_async(vec![(claimed(store.claim("many", DAY)), b"r".to_vec())]));
        drop(store.namespace_async("n"));
        assert_eq!(duplicate(store.claim("complete", DAY)).response(), b"r");
        assert_eq!(claimed(store.claim("release", DAY)).attempt(), 1);
        duplicate(store.claim("fail", DAY));
        duplicate(store.claim("many", DAY));
        eventually(|| store.stats().unwrap().namespaces == 2);
        drop(lease);
        let store = bed.reopen(store);
        assert_eq!(duplicate(store.claim("complete", DAY)).response(), b"r");
        assert_eq!(in_progress(store.claim("detach", DAY)).retry_after(), 2 * HOUR);
        assert_eq!(claimed(store.claim("progress", DAY)).progress(), Some(&b"half"[..]));
        done_with(store);
    });
}

/// Keeps the upkeep thread busy until this is dropped: everything that is queued for it waits.
struct Busy {
    _go: std::sync::mpsc::Sender<()>,
    _running: claimstore::TransactFuture,
}

fn busy(store: &Store) -> Busy {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, running) = std::sync::mpsc::channel();
    let mut future = store.transact_async(&request("busy"), move |_| {
        begun.send(()).unwrap();
        // Until the other end is dropped.
        assert!(wait.recv().is_err());
        Ok(Vec::new())
    });
    assert!(poll_once(&mut future).is_pending());
    running.recv().unwrap();
    Busy { _go: go, _running: future }
}

fn insert(tx: &Transaction<'_>, key: &str) -> Result<Vec<u8>, Error> {
    tx.table("rows")?.insert(key, "row")?;
    Ok(b"r".to_vec())
}

fn row(store: &Store, key: &str) -> Option<Vec<u8>> {
    store.table("rows").unwrap().get(key).unwrap()
}

#[test]
fn transact_async_answers_like_transact() {
    on_both(|bed| {
        let store = bed.open();
        let done = block_on(store.transact_async(&request("k"), |tx| insert(tx, "k"))).unwrap();
        assert_eq!(done, Transacted::Done(b"r".to_vec()));
        let again = block_on(store.transact_async(&request("k"), |_| panic!("it is done"))).unwrap();
        assert!(matches!(again, Transacted::Duplicate(receipt) if receipt.response() == b"r"));
        let failed = store.transact_async(&request("e"), |tx| {
            insert(tx, "e")?;
            Err(Error::caller("no"))
        });
        assert_eq!(refused(block_on(failed)), ErrorKind::Caller);
        assert_eq!((row(&store, "e"), store.get("e").unwrap().is_none()), (None, true));
        let held = claimed(store.claim("held", DAY));
        let answer = block_on(store.transact_async(&request("held"), |_| panic!("it is held"))).unwrap();
        assert!(matches!(answer, Transacted::InProgress(_)));
        let response = block_on(held.complete_in_async(|tx| insert(tx, "held"))).unwrap();
        assert_eq!((response, row(&store, "held")), (b"r".to_vec(), Some(b"row".to_vec())));
        let ns = store.namespace("n").unwrap();
        let done = block_on(ns.transact_async(&request("k"), |_| Ok(b"of n".to_vec()))).unwrap();
        assert_eq!(done, Transacted::Done(b"of n".to_vec()));
        let store = bed.reopen(store);
        assert_eq!(duplicate(store.claim("k", DAY)).response(), b"r");
        assert_eq!(duplicate(store.claim("held", DAY)).response(), b"r");
        assert_eq!((row(&store, "k"), row(&store, "e")), (Some(b"row".to_vec()), None));
        done_with(store);
    });
}

#[test]
fn a_dropped_transact_future_is_wholly_there_or_wholly_absent() {
    on_both(|bed| {
        let store = bed.open();
        drop(store.transact_async(&request("never polled"), |_| panic!("nobody polled it")));
        let blocked = busy(&store);
        let mut waiting = store.transact_async(&request("in the queue"), |_| panic!("nobody waits for it"));
        assert!(poll_once(&mut waiting).is_pending());
        drop(waiting);
        let mut settled = claimed(store.claim("settled", DAY)).complete_in_async(|tx| insert(tx, "settled"));
        assert!(poll_once(&mut settled).is_pending());
        drop(settled);
        drop(blocked);
        // It was queued last.
        block_on(store.verify_async()).unwrap();
        assert!(matches!(duplicate(store.claim("busy", DAY)).response(), []), "its closure had begun");
        for key in ["never polled", "in the queue"] {
            assert!(store.get(key).unwrap().is_none());
        }
        assert_eq!(duplicate(store.claim("settled", DAY)).response(), b"r");
        assert_eq!(row(&store, "settled"), Some(b"row".to_vec()));
        // At any moment.
        for n in 0..50 {
            let key = format!("k{n}");
            let of_row = key.clone();
            let mut future = store.transact_async(&request(&key), move |tx| insert(tx, &of_row));
            let polled = poll_once(&mut future);
            (0..n * 20).for_each(|_| std::hint::spin_loop());
            drop((future, polled));
            block_on(store.verify_async()).unwrap();
            assert_eq!(store.get(&key).unwrap().is_some(), row(&store, &key).is_some(), "{key}");
        }
        done_with(store);
    });
}

#[test]
fn a_refused_complete_in_future_hands_the_lease_back() {
    on_both(|bed| {
        let store = bed.open();
        let failed = claimed(store.claim("k", DAY)).complete_in_async(|tx| {
            insert(tx, "k")?;
            Err(Error::caller("no"))
        });
        let (error, lease) = block_on(failed).unwrap_err().into_parts();
        assert_eq!((error.kind(), row(&store, "k")), (ErrorKind::Caller, None));
        let lease = lease.unwrap();
        in_progress(store.claim("k", DAY));
        assert!(store.forget("k").unwrap());
        let (error, lease) = block_on(lease.complete_in_async(|_| Ok(Vec::new()))).unwrap_err().into_parts();
        assert_eq!((error.kind(), lease.is_none()), (ErrorKind::StaleLease, true));
        let left = claimed(store.claim("left", DAY));
        let mut late = None;
        {
            let blocked = busy(&store);
            late.replace(left.complete_in_async(|_| panic!("the store closed")));
            let closing = store.clone();
            let mut transact = store.transact_async(&request("late"), |_| panic!("the store closed"));
            assert!(poll_once(&mut transact).is_pending());
            std::thread::scope(|scope| {
                let closed = scope.spawn(move || closing.close());
                eventually(|| store.get("k").is_err());
                drop(blocked);
                closed.join().unwrap().unwrap();
            });
            assert_eq!(refused(block_on(transact)), ErrorKind::Closed);
        }
        let (error, lease) = block_on(late.unwrap()).unwrap_err().into_parts();
        assert_eq!((error.kind(), lease.is_some()), (ErrorKind::Closed, true));
        done_with(bed.open());
    });
}

/// Whether polling it to its end unwinds.
fn unwinds(future: impl Future) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on(future))).is_err()
}

#[test]
fn a_panic_of_a_closure_rolls_back_and_goes_on_in_the_poll() {
    on_both(|bed| {
        let store = bed.open();
        assert!(unwinds(store.transact_async(&request("k"), |tx| {
            insert(tx, "k")?;
            panic!("of the closure")
        })));
        assert_eq!((store.get("k").unwrap().is_none(), row(&store, "k")), (true, None));
        let lease = claimed(store.claim("held", DAY));
        assert!(unwinds(lease.complete_in_async(|tx| {
            insert(tx, "held")?;
            panic!("of the closure")
        })));
        assert_eq!(row(&store, "held"), None);
        assert_eq!(claimed(store.claim("held", DAY)).attempt(), 2, "abandoned");
        // Nobody polls this one.
        drop(claimed(store.claim("dropped", DAY)).complete_in_async(|_| panic!("of the closure")));
        block_on(store.verify_async()).unwrap();
        assert_eq!(claimed(store.claim("dropped", DAY)).attempt(), 2, "abandoned");
        done_with(store);
    });
}

// ---- once ------------------------------------------------------------------------------------------------

fn send_and_static<F: Future + Send + 'static>(future: F) -> F {
    future
}

#[test]
fn once_async_runs_its_work_once() {
    on_both(|bed| {
        let store = bed.open();
        let key = String::from("k");
        let work = async |lease: &claimstore::Lease| {
            std::future::ready(()).await;
            Ok::<_, Error>(lease.token().to_string().into_bytes())
        };
        let first = block_on(send_and_static(store.once_async(&request(&key), work))).unwrap();
        let Once::Ran(response) = first else { panic!("{first:?}") };
        let again = async |_: &claimstore::Lease| -> Result<_, Error> { panic!("it is done") };
        let second = block_on(store.once_async(&request(&key), again)).unwrap();
        assert!(matches!(second, Once::Replayed(receipt) if receipt.response() == response));
        let failed = block_on(store.once_async(&request("e"), async |_| Err::<Vec<u8>, _>("no")));
        assert!(matches!(failed, Err(OnceError::Work("no"))));
        assert_eq!(claimed(store.claim("e", DAY)).attempt(), 2, "up for a retry");
        let large = block_on(store.once_async(&request("l"), async |_| Ok::<_, Error>(vec![0; 2 << 20])));
        let Err(OnceError::NotStored { response, error }) = large else { panic!("{large:?}") };
        assert_eq!((response.len(), error.kind()), (2 << 20, ErrorKind::TooLarge));
        let _held = claimed(store.claim("held", DAY));
        let again = async |_: &claimstore::Lease| -> Result<_, Error> { panic!("it is held") };
        assert!(matches!(block_on(store.once_async(&request("held"), again)), Ok(Once::InProgress(_))));
        let refusal = block_on(store.once_async(&request(""), async |_| Ok::<_, Error>(Vec::new())));
        assert!(matches!(refusal, Err(OnceError::Store(error)) if error.kind() == ErrorKind::InvalidKey));
        done_with(store);
    });
}

#[test]
fn a_once_future_that_is_dropped_or_panics_abandons_its_claim() {
    on_both(|bed| {
        let store = bed.open();
        drop(store.once_async(&request("never polled"), async |_| Ok::<_, Error>(Vec::new())));
        assert!(store.get("never polled").unwrap().is_none());
        let begun = AtomicUsize::new(0);
        let mut future = Box::pin(store.once_async(&request("dropped"), async |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<Vec<u8>, Error>>().await
        }));
        eventually(|| poll_once(&mut future).is_pending() && begun.load(Ordering::SeqCst) == 1);
        in_progress(store.claim("dropped", DAY));
        drop(future);
        assert_eq!(claimed(store.claim("dropped", DAY)).attempt(), 2);
        assert!(unwinds(
            store.once_async(&request("panics"), async |_| -> Result<Vec<u8>, Error> {
                panic!("of the work")
            })
        ));
        assert_eq!(claimed(store.claim("panics", DAY)).attempt(), 2);
        done_with(store);
    });
    // Before its claim was answered, it gives the claim back.
    let rig = Rig::default();
    let store = rig.open(quiet(&clock()));
    let work = async |_: &claimstore::Lease| -> Result<Vec<u8>, Error> { panic!("it has no claim") };
    for in_the_sync in [false, true] {
        drop_undelivered(&rig, Box::pin(store.once_async(&request("k"), work)), in_the_sync);
        eventually(|| store.get("k").unwrap().is_none());
    }
    assert_eq!(claimed(store.claim("k", DAY)).attempt(), 1);
    done_with(store);
}

// ---- keeping alive ---------------------------------------------------------------------------------------

#[test]
fn a_lease_is_kept_alive_until_the_ceiling() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        let mut alive = lease.keep_alive(HOUR);
        for _ in 0..59 {
            bed.clock.advance(59 * SECOND);
            eventually(|| in_progress(store.claim("k", DAY)).retry_after() > SECOND);
            assert!(poll_once(&mut alive).is_pending());
        }
        alive.check().unwrap();
        // An hour since it began.
        bed.clock.advance(59 * SECOND + MINUTE);
        block_on(&mut alive).unwrap();
        assert!(alive.is_over());
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 2, "nobody renews it any more");
        assert_eq!(refused(lease.complete("r")), ErrorKind::StaleLease);
        done_with(store);
    });
}

#[test]
fn a_keep_alive_tells_that_the_claim_is_lost() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        let mut alive = lease.keep_alive(HOUR);
        assert!(store.forget("k").unwrap());
        let waiter = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| block_on(&mut alive));
            bed.clock.advance(20 * SECOND);
            waiter.join().unwrap()
        });
        assert_eq!(refused(waiter), ErrorKind::StaleLease);
        assert_eq!(refused(alive.check()), ErrorKind::StaleLease);
        // A claim that is stale from the start.
        assert_eq!(refused(block_on(lease.keep_alive(HOUR))), ErrorKind::StaleLease);
        let late = claimed(store.claim("late", DAY));
        let alive = late.keep_alive(HOUR);
        store.close().unwrap();
        assert_eq!(refused(alive.check()), ErrorKind::Closed);
        assert_eq!(refused(block_on(alive)), ErrorKind::Closed);
        assert_eq!(refused(block_on(late.keep_alive(HOUR))), ErrorKind::Closed);
        done_with(bed.open());
    });
}

#[test]
fn renewals_of_a_detached_claim_are_durable() {
    on_both(|bed| {
        let store = bed.open();
        let token = claimed(store.claim("k", DAY)).detach(2 * MINUTE).unwrap();
        let lease = store.resume(token.clone()).unwrap();
        let alive = lease.keep_alive(HOUR);
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), 2 * MINUTE, "no term is shortened");
        for _ in 0..12 {
            bed.clock.advance(20 * SECOND);
            eventually(|| in_progress(store.claim("k", DAY)).retry_after() >= MINUTE);
        }
        drop((alive, lease));
        let store = bed.reopen(store);
        assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), MINUTE);
        store.resume(token).unwrap().complete("r").unwrap();
        done_with(store);
    });
}

// ---- waiting ---------------------------------------------------------------------------------------------

fn wait_for(store: &Store, asynchronous: bool, limit: std::time::Duration) -> Result<Claim, Error> {
    if asynchronous {
        block_on(store.claim_or_wait_async(&request("k"), limit))
    } else {
        store.claim_or_wait(&request("k"), limit)
    }
}

/// Has `during` run once somebody waits for `key`; answers what the waiter got.
fn wait_while(store: &Store, asynchronous: bool, limit: std::time::Duration, during: impl FnOnce()) -> Claim {
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait_for(store, asynchronous, limit).unwrap());
        // Any moment is right: before the first question, between it and the sleep, or asleep.
        std::thread::park_timeout(std::time::Duration::from_millis(20));
        during();
        waiter.join().unwrap()
    })
}

#[test]
fn a_waiter_gets_the_holder_s_result() {
    for asynchronous in [false, true] {
        on_both(|bed| {
            let store = bed.open();
            let lease = claimed(store.claim("k", DAY));
            let got = wait_while(&store, asynchronous, HOUR, || lease.complete("r").unwrap());
            assert_eq!(duplicate(Ok(got)).response(), b"r");
            done_with(store);
        });
    }
}

#[test]
fn a_waiter_becomes_the_owner_when_the_holder_gives_up() {
    for asynchronous in [false, true] {
        on_both(|bed| {
            let store = bed.open();
            let lease = claimed(store.claim("k", DAY));
            let got = claimed(Ok(wait_while(&store, asynchronous, HOUR, || lease.release().unwrap())));
            assert_eq!(got.attempt(), 1);
            let got = claimed(Ok(wait_while(&store, asynchronous, HOUR, || drop(got))));
            assert_eq!(got.attempt(), 2, "dropped");
            let lapse = || bed.clock.advance(MINUTE);
            let last = claimed(Ok(wait_while(&store, asynchronous, HOUR, lapse)));
            assert_eq!(last.attempt(), 3, "lapsed");
            drop(got);
            last.complete("r").unwrap();
            done_with(store);
        });
    }
}

#[test]
fn a_waiter_s_time_may_be_over() {
    for asynchronous in [false, true] {
        on_both(|bed| {
            let store = bed.open();
            let lease = claimed(store.claim_with(&request("k").lease(100 * DAY)));
            let holder = std::thread::scope(|scope| {
                let waiter = scope.spawn(|| wait_for(&store, asynchronous, HOUR));
                // The waiter may begin to count at any time: the clock goes on until it is done.
                while !waiter.is_finished() {
                    bed.clock.advance(MINUTE);
                    std::thread::park_timeout(std::time::Duration::from_millis(2));
                }
                in_progress(waiter.join().unwrap())
            });
            assert!(holder.retry_after() + HOUR <= 100 * DAY);
            in_progress(wait_for(&store, asynchronous, std::time::Duration::ZERO));
            lease.complete("r").unwrap();
            done_with(store);
        });
    }
}

#[test]
fn a_waiter_learns_that_the_store_closed() {
    for asynchronous in [false, true] {
        let bed = Bed::memory();
        let store = bed.open();
        let _lease = claimed(store.claim("k", DAY));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait_for(&store, asynchronous, HOUR));
            std::thread::park_timeout(std::time::Duration::from_millis(20));
            store.clone().close().unwrap();
            assert_eq!(refused(waiter.join().unwrap()), ErrorKind::Closed);
        });
    }
}

#[test]
fn many_waiters_one_owner_at_a_time() {
    let store = Store::in_memory().unwrap();
    let running = AtomicUsize::new(0);
    let owned: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let (store, running) = (&store, &running);
                scope.spawn(move || {
                    let claim = if n % 2 == 0 {
                        store.claim_or_wait(&request("k"), HOUR).unwrap()
                    } else {
                        block_on(store.claim_or_wait_async(&request("k"), HOUR)).unwrap()
                    };
                    let lease = claimed(Ok(claim));
                    assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "P1");
                    assert_eq!(running.fetch_sub(1, Ordering::SeqCst), 1);
                    lease.release().unwrap();
                    1
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(owned, 8);
    done_with(store);
}

// ---- closing and threads ---------------------------------------------------------------------------------

#[test]
fn no_future_keeps_the_store_open() {
    on_both(|bed| {
        let store = bed.open();
        let mut claim = store.claim_async(&request("k"));
        let mut wait = store.claim_or_wait_async(&request("k"), HOUR);
        let settle = claimed(store.claim("settled", DAY)).complete_async("r");
        let get = store.get_async("k");
        let namespace = store.namespace_async("n");
        let verify = store.verify_async();
        store.close().unwrap();
        let store = bed.open();
        assert_eq!(refused(block_on(&mut claim)), ErrorKind::Closed);
        assert_eq!(refused(block_on(&mut wait)), ErrorKind::Closed);
        assert_eq!(refused(block_on(namespace)), ErrorKind::Closed);
        block_on(settle).unwrap();
        block_on(get).unwrap();
        // Its turn may have come before the close.
        if let Err(error) = block_on(verify) {
            assert_eq!(error.kind(), ErrorKind::Closed);
        }
        drop((claim, wait));
        assert_eq!(duplicate(store.claim("settled", DAY)).response(), b"r", "it was on its way");
        done_with(store);
    });
}

#[test]
fn a_dropped_close_future_closes() {
    on_both(|bed| {
        let store = bed.open();
        claimed(store.claim("k", DAY)).complete("r").unwrap();
        drop(store.close_async());
        let mut reopened = None;
        eventually(|| {
            reopened = bed.open_with(bed.options()).ok();
            reopened.is_some()
        });
        let store = reopened.unwrap();
        assert_eq!(duplicate(store.claim("k", DAY)).response(), b"r");
        done_with(store);
    });
}

#[test]
fn calls_queued_before_a_close_are_answered() {
    on_both(|bed| {
        let store = bed.open();
        let clone = store.clone();
        let verifies: Vec<_> = (0..50).map(|_| store.verify_async()).collect();
        let closing = store.close_async();
        let late: Vec<_> = (0..50).map(|_| clone.verify_async()).collect();
        for future in verifies {
            block_on(future).unwrap();
        }
        block_on(closing).unwrap();
        for future in late {
            assert_eq!(refused(block_on(future)), ErrorKind::Closed);
        }
        assert_eq!(refused(block_on(clone.checkpoint_async())), ErrorKind::Closed);
        let copies = tempfile::tempdir().unwrap();
        assert_eq!(refused(block_on(clone.backup_async(copies.path().join("copy")))), ErrorKind::Closed);
        done_with(bed.open());
    });
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_last_waker_polled_with_is_the_one_that_is_woken() {
    let store = Bed::memory().open();
    let _held = claimed(store.claim("k", DAY));
    let mut future = store.claim_or_wait_async(&request("k"), HOUR);
    let counts = [0, 1].map(|_| Arc::new(Count(AtomicUsize::new(0))));
    for count in &counts {
        let waker = Waker::from(count.clone());
        let polled = std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
        assert!(matches!(polled, Poll::Pending));
    }
    assert!(store.forget("k").unwrap());
    eventually(|| counts[1].0.load(Ordering::SeqCst) > 0);
    claimed(block_on(future)).release().unwrap();
    done_with(store);
}

const THREADS_CHILD: &str = "CLAIMSTORE_TEST_THREADS";

/// Counts threads in a process where no other test runs.
#[test]
#[ignore = "a process of its own, started by the test below"]
fn child_that_counts_threads() {
    if std::env::var_os(THREADS_CHILD).is_none() {
        return;
    }
    let ours = || -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.filter(|name| name.starts_with("claimstore")).count()
    };
    let busy = |options: Options| {
        let clock = ManualClock::new(std::time::UNIX_EPOCH);
        let store = options.clock(clock).in_memory().unwrap();
        for n in 0..20 {
            let lease = claimed(block_on(store.claim_async(&request(&n.to_string()))));
            block_on(lease.complete_async("r")).unwrap();
            drop((store.checkpoint_async(), store.verify_async(), store.compact_async()));
            drop(store.namespace_async("n"));
            drop(claimed(store.claim(format!("{n} kept"), DAY)).keep_alive(HOUR));
            let mut transact = store.transact_async(&request(&format!("{n} transact")), |_| Ok(Vec::new()));
            drop((poll_once(&mut transact), transact));
            assert!(ours() <= 2, "{} threads", ours());
        }
        block_on(store.verify_async()).unwrap();
        let most = ours();
        done_with(store);
        // None is left behind; one that was joined may be listed for a moment yet.
        eventually(|| ours() == 0);
        most
    };
    assert_eq!(busy(Options::new()), 2);
    assert_eq!(busy(Options::new().background(false)), 2);
    let interval = claimstore::Durability::Interval(std::time::Duration::from_millis(1));
    assert_eq!(busy(Options::new().durability(interval)), 2);
    let quiet = Options::new().background(false).in_memory().unwrap();
    claimed(quiet.claim("k", DAY)).complete("r").unwrap();
    assert_eq!(ours(), 0, "who asks for nothing gets no thread");
    done_with(quiet);
}

#[test]
#[cfg(target_os = "linux")]
fn a_store_has_two_threads_at_most() {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "async_calls::child_that_counts_threads", "--include-ignored", "--nocapture"])
        .env(THREADS_CHILD, "1")
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
}
