//! How often a key was claimed again: what is counted, what is saved when, and what is lost.

use crate::common::{
    Bed, DAY, HOUR, SECOND, abandon, claimed, clock, done_with, duplicate, in_progress, on_both, refused,
    request,
};
use crate::rig::{Rig, quiet};
use claimstore::{
    Claim, ErrorKind, Failure, Filter, Import, Imported, Note, Once, Policy, Record, Review, Store,
    Transacted,
};

fn done(store: &Store, key: &str) {
    claimed(store.claim_with(&request(key).fingerprint([1; 32]))).complete("r").unwrap();
}

/// `times` claims with the payload of [`done`].
fn replay(store: &Store, key: &str, times: usize) {
    for _ in 0..times {
        duplicate(store.claim_with(&request(key).fingerprint([1; 32])));
    }
}

/// A claim with another payload.
fn mismatch(store: &Store, key: &str) {
    let answer = store.claim_with(&request(key).fingerprint([2; 32]));
    assert_eq!(refused(answer), ErrorKind::PayloadMismatch);
}

fn counts(record: &Record) -> (u32, u32) {
    (record.replays(), record.mismatches())
}

#[track_caller]
fn check(store: &Store, key: &str, expected: (u32, u32)) {
    assert_eq!(counts(&store.get(key).unwrap().unwrap()), expected);
    let scanned = store.scan(Filter::new().prefix(key)).map(Result::unwrap);
    assert_eq!(scanned.map(|record| counts(&record)).collect::<Vec<_>>(), [expected]);
}

#[test]
fn duplicates_and_other_payloads_are_counted_wherever_the_record_lies() {
    on_both(|bed| {
        let store = bed.open();
        done(&store, "k");
        check(&store, "k", (0, 0));
        replay(&store, "k", 2);
        mismatch(&store, "k");
        check(&store, "k", (2, 1));
        store.checkpoint().unwrap();
        check(&store, "k", (2, 1));
        replay(&store, "k", 1);
        mismatch(&store, "k");
        check(&store, "k", (3, 2));
        done(&store, "other");
        store.checkpoint().unwrap();
        check(&store, "k", (3, 2));
        check(&store, "other", (0, 0));
        done_with(store);
    });
}

#[test]
fn a_close_saves_what_the_live_table_has_and_no_more() {
    on_both(|bed| {
        let store = bed.open();
        done(&store, "checkpointed");
        store.checkpoint().unwrap();
        done(&store, "live");
        replay(&store, "checkpointed", 3);
        replay(&store, "live", 3);
        let store = bed.reopen(store);
        check(&store, "checkpointed", (0, 0));
        check(&store, "live", (3, 0));
        done_with(store);
    });
}

#[test]
fn whoever_waits_is_no_replay_and_what_came_meanwhile_is_saved_by_the_settlement() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    let lease = claimed(store.claim_with(&request("k").fingerprint([1; 32])));
    in_progress(store.claim_with(&request("k").fingerprint([1; 32])));
    mismatch(&store, "k");
    check(&store, "k", (0, 1));
    lease.complete("r").unwrap();
    check(&store, "k", (0, 1));
    mismatch(&store, "k");
    replay(&store, "k", 1);
    check(&store, "k", (1, 2));
    // The journal alone tells: what was saved with the settlement is there, what came after it is not.
    let store = rig.crash(store, quiet(&clock));
    check(&store, "k", (0, 1));
    replay(&store, "k", 1);
    store.checkpoint().unwrap();
    let store = rig.crash(store, quiet(&clock));
    check(&store, "k", (1, 1));
    done_with(store);
}

/// Ends the review of the one key that is parked.
fn review(store: &Store, review: &Review) {
    let listed = store.parked().next().unwrap().unwrap();
    store.review(&listed, review, &Note::new("me", "because")).unwrap();
}

/// Each of these writes a version of a key with one mismatch, and keeps the count.
#[test]
fn every_next_version_keeps_the_counts() {
    let steps: [fn(&Store); 6] = [
        |store| review(store, &Review::Requeue),
        |store| review(store, &Review::Complete(b"r".to_vec())),
        |store| {
            review(store, &Review::Requeue);
            let mut lease = claimed(store.claim_with(&request("k")));
            assert_eq!(lease.attempt(), 2);
            lease.save_progress("half").unwrap();
            let token = lease.detach(HOUR).unwrap();
            store.resume(token).unwrap().release().unwrap();
        },
        |store| {
            review(store, &Review::Requeue);
            abandon(store, "k");
            let orphan = store.unheld().next().unwrap().unwrap();
            assert_eq!(counts(&orphan), (0, 1));
            store.take_over(&orphan, HOUR).unwrap().fail(Failure::retry()).unwrap();
        },
        |store| {
            review(store, &Review::Requeue);
            let done = store.transact(&request("k"), |_| Ok(b"r".to_vec())).unwrap();
            assert!(matches!(done, Transacted::Done(_)));
        },
        |store| {
            review(store, &Review::Requeue);
            claimed(store.claim_with(&request("k"))).complete_in(|_| Ok(b"r".to_vec())).unwrap();
        },
    ];
    for step in steps {
        for checkpointed in [false, true] {
            let (rig, clock) = (Rig::default(), clock());
            let store = rig.open(quiet(&clock));
            let lease = claimed(store.claim_with(&request("k").fingerprint([1; 32])));
            lease.fail(Failure::park("look")).unwrap();
            if checkpointed {
                store.checkpoint().unwrap();
            }
            mismatch(&store, "k");
            step(&store);
            check(&store, "k", (0, 1));
            let store = rig.crash(store, quiet(&clock));
            check(&store, "k", (0, 1));
            done_with(store);
        }
    }
}

#[test]
fn a_key_that_begins_anew_begins_at_zero() {
    for checkpointed in [false, true] {
        let bed = Bed::memory();
        let store = bed.open();
        let anew = |key: &str, end: &dyn Fn()| {
            done(&store, key);
            if checkpointed {
                store.checkpoint().unwrap();
            }
            replay(&store, key, 2);
            end();
            done(&store, key);
            check(&store, key, (0, 0));
            replay(&store, key, 1);
            check(&store, key, (1, 0));
        };
        anew("forgotten", &|| assert!(store.forget("forgotten").unwrap()));
        anew("expired", &|| bed.clock.advance(DAY + SECOND));
        let lease = claimed(store.claim_with(&request("released").fingerprint([1; 32])));
        mismatch(&store, "released");
        lease.release().unwrap();
        done(&store, "released");
        check(&store, "released", (0, 0));
        done_with(store);
    }
}

#[test]
fn batches_transactions_and_waiters_count_too() {
    on_both(|bed| {
        for checkpointed in [false, true] {
            let store = bed.open();
            let key = if checkpointed { "cold" } else { "live" };
            done(&store, key);
            if checkpointed {
                store.checkpoint().unwrap();
            }
            let batch = [request(key), request(key).fingerprint([2; 32]), request(key)];
            let answers = store.claim_many(&batch).unwrap();
            assert!(matches!(answers[0], Ok(Claim::Duplicate(_))) && answers[1].is_err());
            check(&store, key, (2, 1));
            let answer = store.transact(&request(key), |_| Ok(Vec::new())).unwrap();
            assert!(matches!(answer, Transacted::Duplicate(_)));
            check(&store, key, (3, 1));
            duplicate(store.claim_or_wait(&request(key), HOUR));
            let once = store.once(key, DAY, |_| Ok::<_, std::io::Error>(Vec::new())).unwrap();
            assert!(matches!(once, Once::Replayed(_)));
            check(&store, key, (5, 1));
            done_with(store);
        }
    });
}

/// Counts move while nothing happens to the key: they are no part of what makes two looks at it differ.
#[test]
fn looks_at_a_key_are_equal_whatever_was_counted_between_them() {
    on_both(|bed| {
        let store = bed.open();
        done(&store, "k");
        let before = store.get("k").unwrap();
        mismatch(&store, "k");
        assert_eq!(store.get("k").unwrap(), before);
        store.checkpoint().unwrap();
        replay(&store, "k", 1);
        assert_eq!(store.get("k").unwrap(), before);
        check(&store, "k", (1, 1));
        done_with(store);
    });
}

#[test]
fn an_import_brings_its_counts() {
    on_both(|bed| {
        let store = bed.open();
        let shop = store.namespace_with("shop", Policy::daily()).unwrap();
        let record = Import::completed("k", "r").replays(7).mismatches(u32::MAX).fingerprint([1; 32]);
        assert!(matches!(shop.import_many(&[record]).unwrap()[..], [Ok(Imported::Stored)]));
        duplicate(shop.claim_with(&request("k").fingerprint([1; 32])));
        let answer = shop.claim_with(&request("k").fingerprint([2; 32]));
        assert_eq!(refused(answer), ErrorKind::PayloadMismatch);
        assert_eq!(counts(&shop.get("k").unwrap().unwrap()), (8, u32::MAX));
        let store = bed.reopen(store);
        let shop = store.namespace("shop").unwrap();
        assert_eq!(counts(&shop.get("k").unwrap().unwrap()), (8, u32::MAX));
        done_with(store);
    });
}

/// Whoever asks in the middle of a checkpoint is counted: in the entry, or beside the run it went to.
#[test]
fn no_replay_is_lost_to_a_checkpoint() {
    let store = Bed::memory().open();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for n in 0.. {
                if stop.load(std::sync::atomic::Ordering::SeqCst) {
                    break;
                }
                done(&store, &format!("other-{n}"));
                store.checkpoint().unwrap();
            }
        });
        for n in 0..40 {
            let key = format!("k-{n:03}");
            done(&store, &key);
            replay(&store, &key, 50);
            check(&store, &key, (50, 0));
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    for n in 0..40 {
        check(&store, &format!("k-{n:03}"), (50, 0));
    }
    done_with(store);
}
