//! An index of the promises. Each has at least one test named after it; where that lies elsewhere, the place is
//! named here. The histories of `claimstore-sim` check P1 to P12 under power loss and failing disks.
//!
//! - P5, P10, P13: beside `recovery::plan`, `engine::time`; P9 there too
//! - P7: `batches`; P12, P17: `namespaces`; P14, P15: `bad_input`
//! - P18: `secrecy`; P19: `any_input`
//! - P1 to P4, P6, P8, P9, P11, P16, P20: below

use crate::common::{
    Bed, DAY, HOUR, MINUTE, abandon, block_on, claimed, clock, done_with, duplicate, in_progress, on_both,
    refused, request,
};
use crate::rig::{Rig, quiet};
use claimstore::{Claim, ErrorKind, Failure, Filter, Policy, RecordState, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

// ---- safety ----------------------------------------------------------------------------------------------

#[test]
fn p1_one_winner() {
    let store = Store::in_memory().unwrap();
    for round in 0..50 {
        let key = format!("k{round}");
        let winners: u32 = std::thread::scope(|scope| {
            let claim = |n: u32| {
                let answer = match n % 3 {
                    0 => store.claim(&key, DAY),
                    1 => block_on(store.claim_async(&request(&key))),
                    _ => store.claim_many(&[request(&key)]).unwrap().remove(0),
                };
                u32::from(answer.unwrap().claimed().is_some_and(|lease| lease.into_token().token() > 0))
            };
            let threads: Vec<_> = (0..6).map(|n| scope.spawn(move || claim(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(winners, 1);
    }
    done_with(store);
}

#[test]
fn p2_claimed_is_said_only_when_it_is_durable() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    std::thread::scope(|scope| {
        let held = rig.hold_syncs();
        let claim = scope.spawn(|| claimed(store.claim("k", DAY)).into_token());
        held.wait_for(3);
        assert!(!claim.is_finished(), "the sync is not over");
        drop(held);
        drop(claim.join().unwrap().to_bytes());
    });
    let store = rig.crash(store, quiet(&clock));
    assert_eq!(claimed(store.claim("k", DAY)).attempt(), 2, "it was there");
    done_with(store);
}

#[test]
fn p3_done_stays_done_across_deaths_and_checkpoints() {
    let (rig, clock) = (Rig::default(), clock());
    let mut store = rig.open(quiet(&clock));
    for round in 0..10u32 {
        for n in 0..20 {
            claimed(store.claim(format!("{round}/{n}"), DAY)).complete(format!("{n}")).unwrap();
        }
        if round % 3 == 0 {
            store.checkpoint().unwrap();
        }
        store = rig.crash(store, quiet(&clock));
        for n in 0..20 * (round + 1) {
            let receipt = duplicate(store.claim(format!("{}/{}", n / 20, n % 20), DAY));
            assert_eq!(receipt.response(), (n % 20).to_string().as_bytes());
        }
    }
    done_with(store);
}

#[test]
fn p4_no_answer_rests_on_what_is_not_durable() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    let lease = claimed(store.claim_with(&request("k").fingerprint([1; 32])));
    std::thread::scope(|scope| {
        let held = rig.hold_syncs();
        let complete = scope.spawn(|| lease.complete("r"));
        held.wait_for(3);
        let others = [
            scope.spawn(|| drop(duplicate(store.claim("k", DAY)))),
            scope.spawn(|| {
                let other = store.claim_with(&request("k").fingerprint([2; 32]));
                assert_eq!(refused(other), ErrorKind::PayloadMismatch);
            }),
            scope.spawn(|| assert_eq!(store.get("k").unwrap().unwrap().state(), RecordState::Completed)),
            scope.spawn(|| {
                let record = store.scan(Filter::new()).next().unwrap().unwrap();
                assert_eq!(record.state(), RecordState::Completed);
            }),
        ];
        for _ in 0..20 {
            std::thread::park_timeout(Duration::from_millis(1));
            assert!(others.iter().all(|other| !other.is_finished()), "an answer before its sync");
        }
        drop(held);
        complete.join().unwrap().unwrap();
        others.into_iter().for_each(|other| other.join().unwrap());
    });
    done_with(store);
}

#[test]
fn p5_tokens_rise_through_everything() {
    on_both(|bed| {
        let mut store = bed.open();
        let mut last = 0;
        for round in 0..40u32 {
            let key = format!("k{}", round % 3);
            match store.claim(&key, HOUR) {
                Ok(Claim::Claimed(lease)) => {
                    assert!(lease.token() > last);
                    last = lease.token();
                    match round % 4 {
                        0 => lease.complete("r").unwrap(),
                        1 => lease.release().unwrap(),
                        2 => lease.fail(Failure::retry()).unwrap(),
                        _ => drop(lease),
                    }
                }
                Ok(Claim::Duplicate(_)) | Err(_) => drop(store.forget(&key).unwrap()),
                Ok(Claim::InProgress(holder)) => panic!("{holder:?}"),
            }
            match round % 5 {
                0 => store.checkpoint().unwrap(),
                1 => bed.clock.advance(2 * HOUR),
                2 => drop(store.prune().unwrap()),
                3 => store = bed.reopen(store),
                _ => store.compact().unwrap(),
            }
        }
        done_with(store);
    });
}

#[test]
fn p6_after_a_failed_sync_the_handle_says_so_and_reopening_tells() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    claimed(store.claim("before", DAY)).complete("r").unwrap();
    let lease = claimed(store.claim("settling", DAY));
    rig.faults.fail_syncs.store(true, Ordering::SeqCst);
    let (error, _) = lease.complete("r").unwrap_err().into_parts();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    rig.faults.fail_syncs.store(false, Ordering::SeqCst);
    let kinds = [
        refused(store.claim("later", DAY)),
        refused(block_on(store.claim_async(&request("later")))),
        refused(store.claim_many(&[request("later")])),
        refused(store.get("before")),
        refused(store.forget("before")),
        refused(store.checkpoint()),
        refused(store.stats()),
        refused(block_on(store.verify_async())),
        refused(store.transact(&request("later"), |_| panic!("must not run"))),
    ];
    assert_eq!(kinds, [ErrorKind::Poisoned; 9], "a sync that works again proves nothing");
    assert_eq!(refused(store.clone().close()), ErrorKind::Poisoned);
    let store = rig.crash(store, quiet(&clock));
    assert_eq!(duplicate(store.claim("before", DAY)).response(), b"r");
    assert!(store.get("later").unwrap().is_none());
    match store.claim("settling", DAY).unwrap() {
        Claim::Duplicate(receipt) => assert_eq!(receipt.response(), b"r", "wholly there"),
        Claim::Claimed(lease) => assert_eq!(lease.attempt(), 2, "or wholly absent"),
        Claim::InProgress(holder) => panic!("{holder:?}"),
    }
    done_with(store);
}

/// Threads hand a counter on through one key: every response is one more than the one before it.
#[test]
fn p8_operations_on_a_key_have_one_order() {
    let store = Store::in_memory().unwrap();
    let most = |policy: Policy| policy.max_attempts(u32::MAX);
    let ns = store.namespace_with("n", most(Policy::new())).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let mut lease = claimed(ns.claim_or_wait(&request("counter"), HOUR));
                    let seen =
                        lease.progress().map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
                    assert_eq!(lease.attempt(), seen + 1, "each attempt saw the one before");
                    lease.save_progress((seen + 1).to_le_bytes()).unwrap();
                    lease.fail(Failure::retry()).unwrap();
                }
            });
        }
    });
    let record = ns.get("counter").unwrap().unwrap();
    assert_eq!((record.attempt(), record.progress()), (400, Some(&400u32.to_le_bytes()[..])));
    done_with(store);
}

#[test]
fn p9_a_lease_runs_its_term_whatever_the_wall_clock_does() {
    on_both(|bed| {
        let store = bed.open();
        let lease = claimed(store.claim("k", DAY));
        for days in [400u64, 0, 5_000, 1] {
            bed.clock.set_wall(std::time::UNIX_EPOCH + Duration::from_secs(days * 86_400));
            assert_eq!(in_progress(store.claim("k", DAY)).retry_after(), MINUTE);
        }
        lease.complete("r").unwrap();
        done_with(store);
    });
}

#[test]
fn p10_a_key_is_not_forgotten_early_by_a_clock_that_jumps_across_a_restart() {
    on_both(|bed| {
        let store = bed.open();
        claimed(store.claim("k", DAY)).complete("r").unwrap();
        done_with(store);
        bed.clock.set_wall(std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
        let store = bed.open();
        duplicate(store.claim("k", DAY));
        done_with(store);
        bed.clock.reboot();
        let store = bed.open();
        duplicate(store.claim("k", DAY));
        done_with(store);
        let store = bed.open_again(bed.options().accept_clock_step(true));
        assert_eq!(claimed(store.claim("k", DAY)).attempt(), 1, "the operator's word");
        done_with(store);
    });
}

#[test]
fn p11_an_orphan_is_neither_lost_nor_completed() {
    let (rig, clock) = (Rig::default(), clock());
    let mut store = rig.open(quiet(&clock));
    let mut last = 0;
    for attempt in 1..=3 {
        let lease = claimed(store.claim("k", DAY));
        assert_eq!(lease.attempt(), attempt, "crashes count");
        assert!(lease.token() > last);
        last = lease.token();
        std::mem::forget(lease);
        if attempt == 2 {
            store.checkpoint().unwrap();
        }
        store = rig.crash(store, quiet(&clock));
        let orphans: Vec<_> = store.orphans().map(Result::unwrap).collect();
        assert_eq!(orphans.len(), 1);
        assert_eq!((orphans[0].key(), orphans[0].token()), (&b"k"[..], last));
    }
    assert_eq!(refused(store.claim("k", DAY)), ErrorKind::Parked);
    assert_eq!(store.parked().count(), 1, "listed for review");
    done_with(store);
}

#[test]
fn p11_an_orphan_goes_on_from_the_last_progress_wherever_checkpoints_fall() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    let mut lease = claimed(store.claim("k", DAY));
    lease.save_progress("half").unwrap();
    store.checkpoint().unwrap();
    lease.save_progress("almost").unwrap();
    // More than a segment: behind the checkpoint the journal no longer has what was saved.
    for filler in 0..12 {
        claimed(store.claim(format!("filler {filler}"), DAY)).complete(vec![0; 1 << 20]).unwrap();
    }
    store.checkpoint().unwrap();
    std::mem::forget(lease);
    let store = rig.crash(store, quiet(&clock));
    let lease = claimed(store.claim("k", DAY));
    assert_eq!((lease.attempt(), lease.progress()), (2, Some(&b"almost"[..])));
    drop(lease);
    done_with(store);
}

// ---- limits ----------------------------------------------------------------------------------------------

#[test]
fn p16_claims_in_progress_are_bounded_and_settlements_go_on() {
    on_both(|bed| {
        let store = bed.open_with(bed.options().max_in_progress(3)).unwrap();
        let leases: Vec<_> = ["a", "b", "c"].map(|key| claimed(store.claim(key, DAY))).into();
        assert_eq!(refused(store.claim("d", DAY)), ErrorKind::Overloaded);
        assert_eq!(refused(store.transact(&request("d"), |_| Ok(Vec::new()))), ErrorKind::Overloaded);
        let batch = store.claim_many(&[request("d"), request("a")]).unwrap();
        assert!(
            matches!(&batch[..], [Err(error), Ok(Claim::InProgress(_))] if error.kind() == ErrorKind::Overloaded)
        );
        assert!(store.get("d").unwrap().is_none(), "nothing happened");
        for lease in leases {
            lease.complete("r").unwrap();
        }
        claimed(store.claim("d", DAY)).complete("r").unwrap();
        done_with(store);
    });
}

/// What a prune on a full disk makes do with.
#[test]
fn p16_space_is_set_aside_in_every_life() {
    let bed = Bed::disk();
    let reserve = bed.path().join("reserve");
    // Half of the catalogue, which is the most that a commit writes anew; more than a MiB is not needed.
    let enough = || {
        let catalogue = std::fs::metadata(bed.path().join("catalog.redb")).unwrap().len();
        let bytes = std::fs::metadata(&reserve).map_or(0, |file| file.len());
        assert!((1 << 19..=1 << 20).contains(&bytes), "{bytes} bytes");
        bytes >= (catalogue / 2).min(1 << 20)
    };
    for life in 1..=4 {
        let store = bed.open();
        assert!(enough(), "in life {life}");
        done_with(store);
    }
    // A part of it is made whole again.
    std::fs::write(&reserve, [0; 100]).unwrap();
    let store = bed.open();
    assert!(enough());
    done_with(store);
}

#[test]
fn p16_live_memory_is_bounded_and_a_checkpoint_frees_it() {
    on_both(|bed| {
        let store = bed.open_with(bed.options().live_memory_bytes(200_000)).unwrap();
        let held = claimed(store.claim("held", DAY));
        let mut n = 0;
        let kind = loop {
            match store.claim(format!("k{n}"), DAY) {
                Ok(claim) => claim.claimed().unwrap().complete(vec![7; 1_000]).unwrap(),
                Err(error) => break error.kind(),
            }
            n += 1;
        };
        assert_eq!(kind, ErrorKind::Overloaded);
        assert!((100..200).contains(&n), "{n} results of 1,000 bytes");
        assert!(store.stats().unwrap().live_bytes < 220_000);
        duplicate(store.claim("k0", DAY));
        held.complete(vec![7; 1_000]).unwrap();
        store.checkpoint().unwrap();
        claimed(store.claim("one more", DAY)).complete("r").unwrap();
        duplicate(store.claim("k0", DAY));
        done_with(store);
    });
}

#[test]
fn p16_a_journal_at_its_limit_refuses_claims_but_no_settlement() {
    let bed = Bed::disk();
    let options =
        || bed.options().segment_bytes(64 << 10).max_response_bytes(4_096).max_progress_bytes(4_096);
    let store = bed.open_with(options().journal_bytes(256 << 10)).unwrap();
    let mut held: Vec<_> = (0..20).map(|n| claimed(store.claim(format!("held{n}"), DAY))).collect();
    let mut n = 0;
    let kind = loop {
        match store.claim(format!("k{n}"), DAY) {
            Ok(claim) => claim.claimed().unwrap().complete(vec![7; 4_000]).unwrap(),
            Err(error) => break error.kind(),
        }
        n += 1;
    };
    assert_eq!(kind, ErrorKind::Full);
    held.pop().unwrap().complete("r").unwrap();
    for lease in held {
        lease.release().unwrap();
    }
    duplicate(store.claim("k0", DAY));
    store.checkpoint().unwrap();
    claimed(store.claim("one more", DAY)).complete("r").unwrap();
    for k in 0..n {
        assert_eq!(duplicate(store.claim(format!("k{k}"), DAY)).response().len(), 4_000, "none was lost");
    }
    let store = {
        done_with(store);
        bed.open_again(options())
    };
    assert_eq!(duplicate(store.claim("held19", DAY)).response(), b"r");
    done_with(store);
}

#[test]
fn p16_the_limit_of_the_journal_counts_its_bytes_whatever_segments_they_are_in() {
    let (rig, clock) = (Rig::default(), clock());
    let open = |segment_bytes: u64, journal_bytes: u64| {
        let options = quiet(&clock).max_response_bytes(4_096).max_progress_bytes(4_096);
        options
            .segment_bytes(segment_bytes)
            .journal_bytes(journal_bytes)
            .open_on(Arc::new(rig.clone()))
            .unwrap()
    };
    let fill = |store: &Store, keys: std::ops::Range<u32>| {
        for n in keys {
            claimed(store.claim(format!("k{n}"), DAY)).complete(vec![7; 4_000]).unwrap();
        }
    };
    let store = open(64 << 10, 2 << 20);
    fill(&store, 0..80);
    assert!(store.stats().unwrap().journal_bytes_written > 4 * (64 << 10));
    std::mem::forget(store);
    // All the small segments together weigh less than one of those that are made from now on.
    let store = open(1 << 20, 2 << 20);
    fill(&store, 80..200);
    done_with(store);
}

// ---- opening ---------------------------------------------------------------------------------------------

#[test]
fn p20_opening_after_a_death_is_quick_and_bounded() {
    let (rig, clock) = (Rig::default(), clock());
    let options = || quiet(&clock).live_memory_bytes(48 << 20);
    let store = rig.open(options());
    for batch in 0..40 {
        let requests: Vec<_> = (0..1_000).map(|n| request(&format!("{batch}/{n}"))).collect();
        let claims = store.claim_many(&requests).unwrap();
        let items = claims.into_iter().map(|claim| (claimed(claim), vec![7; 500])).collect();
        store.complete_many(items).unwrap().into_iter().for_each(|verdict| verdict.unwrap());
    }
    let written = store.stats().unwrap().journal_bytes_written;
    assert!(written > 20 << 20);
    #[expect(clippy::disallowed_methods, reason = "what is measured is the machine's time")]
    let begun = std::time::Instant::now();
    let store = rig.crash(store, options());
    abandon(&store, "the first claim");
    let taken = begun.elapsed();
    // 15 seconds a GB of journal is stated; a test build on a busy machine is allowed more.
    assert!(taken < Duration::from_secs(60), "{taken:?} for {written} bytes");
    assert!(store.stats().unwrap().live_bytes < 48 << 20);
    assert_eq!(duplicate(store.claim("39/999", DAY)).response().len(), 500);
    done_with(store);
}
