//! What is counted of a key's attempts: failures, losses, doubt.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, SECOND, claimed, clock, done_with, in_progress, on_both, patiently, refused,
    request,
};
use crate::rig::{Rig, quiet};
use claimstore::{
    ClaimRequest, ErrorKind, Failure, Happened, Lease, Note, OnDrop, OnOrphan, Orphaned, Policy, Record,
    RecordState, Review, Store,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn claim(store: &Store) -> Lease {
    claimed(store.claim_with(&request("k")))
}

fn record(store: &Store) -> Record {
    store.get("k").unwrap().unwrap()
}

/// Attempt, failures, losses, and whether it is in doubt.
fn numbers(store: &Store) -> (u32, u32, u32, bool) {
    let record = record(store);
    (record.attempt(), record.failures(), record.losses(), record.in_doubt())
}

fn panic_with(lease: Lease) {
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _lease = lease;
        resume_unwind(Box::new("the work's own bug"))
    }));
    assert!(panicked.is_err());
}

#[test]
fn p11_drops_are_losses_and_deaths_are_failures() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    let first = claim(&store);
    assert!(!first.in_doubt());
    drop(first);
    assert_eq!(numbers(&store), (1, 0, 0, false), "a drop writes nothing");
    let second = claim(&store);
    assert!(second.in_doubt());
    assert_eq!(numbers(&store), (2, 0, 1, true));
    panic_with(second);
    let third = claim(&store);
    assert_eq!(numbers(&store), (3, 1, 1, true));
    std::mem::forget(third);
    let store = rig.crash(store, quiet(&clock));
    let fourth = claim(&store);
    assert_eq!((fourth.attempt(), numbers(&store)), (4, (4, 2, 1, true)));
    fourth.complete("r").unwrap();
    assert_eq!(numbers(&store), (4, 2, 1, false));
    done_with(store);
}

#[test]
fn a_lapse_counts_when_somebody_took_over_and_not_before() {
    on_both(|bed| {
        let store = bed.open();
        let slow = claimed(store.claim_with(&request("k").lease(SECOND)));
        bed.clock.advance(MINUTE);
        assert_eq!(numbers(&store), (1, 0, 0, false));
        let next = claim(&store);
        assert_eq!(numbers(&store), (2, 1, 0, true));
        assert_eq!(refused(slow.complete("late")), ErrorKind::StaleLease);
        next.complete("r").unwrap();
        done_with(store);
    });
}

#[test]
fn a_clean_close_counts_what_it_ends_once_and_for_good() {
    on_both(|bed| {
        let mut store = bed.open();
        let first = claim(&store);
        store = bed.reopen(store);
        drop(first);
        let shown = record(&store);
        assert_eq!((shown.state(), numbers(&store)), (RecordState::Orphaned, (1, 0, 1, true)));
        let listed: Vec<Record> = store.unheld().map(Result::unwrap).collect();
        assert_eq!(listed[0].orphaned(), Some(Orphaned::Abandoned));
        // Nobody took it: another close has nothing to add, and neither has the next grant.
        store = bed.reopen(store);
        assert_eq!(numbers(&store), (1, 0, 1, true));
        let second = claim(&store);
        assert_eq!(numbers(&store), (2, 0, 1, true));
        assert_eq!(record(&store).history()[0].what(), Happened::Orphaned(Orphaned::Abandoned));
        panic_with(second);
        store = bed.reopen(store);
        assert_eq!(numbers(&store), (2, 1, 1, true));
        let listed: Vec<Record> = store.unheld().map(Result::unwrap).collect();
        assert_eq!(listed[0].orphaned(), Some(Orphaned::Panicked));
        claim(&store).complete("r").unwrap();
        done_with(store);
    });
}

#[test]
fn a_close_leaves_detached_claims_and_streams_alone() {
    on_both(|bed| {
        let store = bed.open();
        let token = claim(&store).detach(HOUR).unwrap();
        store.sequence("s").unwrap().skip_to(7).unwrap();
        let store = bed.reopen(store);
        assert_eq!(numbers(&store), (1, 0, 0, false));
        store.resume(token).unwrap().complete("r").unwrap();
        for _ in 0..20 {
            assert_eq!(store.sequence("s").unwrap().next().unwrap(), 7);
        }
        done_with(store);
    });
}

#[test]
fn ten_losses_park_and_a_review_gives_both_allowances_again() {
    on_both(|bed| {
        let store = bed.open();
        for attempt in 1..=10 {
            assert_eq!(claim(&store).attempt(), attempt);
        }
        assert_eq!(refused(store.claim_with(&request("k"))), ErrorKind::Parked);
        let parked = record(&store);
        assert_eq!((numbers(&store), parked.note()), ((10, 0, 10, true), &b"losses used up"[..]));
        store.review(&parked, &Review::Requeue, &Note::new("me", "again")).unwrap();
        assert_eq!((record(&store).losses_granted(), record(&store).attempts_granted()), (20, 0));
        for attempt in 11..=13 {
            let lease = claim(&store);
            assert_eq!(lease.attempt(), attempt);
            lease.fail(Failure::retry()).unwrap();
        }
        assert_eq!(refused(store.claim_with(&request("k"))), ErrorKind::Parked);
        assert_eq!((numbers(&store), record(&store).note()), ((13, 3, 10, true), &b"attempts used up"[..]));
        done_with(store);
    });
}

#[test]
fn a_dropped_lease_may_keep_its_term() {
    on_both(|bed| {
        let store = bed.open();
        let policy = Policy::daily().lease(MINUTE).on_drop(OnDrop::KeepTerm);
        let ns = store.namespace_with("n", policy).unwrap();
        drop(claimed(ns.claim_default("k")));
        assert_eq!(in_progress(ns.claim_default("k")).retry_after(), MINUTE);
        bed.clock.advance(MINUTE);
        let second = claimed(ns.claim_default("k"));
        let shown = ns.get("k").unwrap().unwrap();
        assert_eq!((second.attempt(), shown.failures(), shown.losses()), (2, 1, 0));
        // Whoever only asks about a claim obeys none of this.
        bed.clock.advance(MINUTE);
        let listed = store.unheld().map(Result::unwrap).next().unwrap();
        drop(store.take_over(&listed, HOUR).unwrap());
        assert_eq!(store.unheld().count(), 1, "an orphan again, at once");
        drop(second);
        done_with(store);
    });
}

#[test]
fn what_nobody_knows_goes_by_the_rule_for_orphans() {
    for (rule, state) in [
        (OnOrphan::Retry, RecordState::Retry),
        (OnOrphan::Park, RecordState::Parked),
        (OnOrphan::Fail, RecordState::Failed),
        (OnOrphan::Resolve, RecordState::Orphaned),
    ] {
        on_both(|bed| {
            let mut store = bed.open();
            let ns = store.namespace_with("n", Policy::daily().on_orphan(rule)).unwrap();
            let lease = claimed(ns.claim_default("k"));
            let token = lease.token();
            lease.fail(Failure::unknown().because("no answer")).unwrap();
            let shown = ns.get("k").unwrap().unwrap();
            let doubt = rule != OnOrphan::Fail;
            assert_eq!((shown.state(), shown.failures(), shown.in_doubt()), (state, 1, doubt), "{rule:?}");
            let past = &shown.history()[0];
            assert_eq!(
                (past.what(), past.note()),
                (Happened::Orphaned(Orphaned::Unknown), &b"no answer"[..])
            );
            if rule == OnOrphan::Resolve {
                in_progress(ns.claim_default("k"));
                store = bed.reopen(store);
                let listed = store.unheld().map(Result::unwrap).next().unwrap();
                assert_eq!((listed.orphaned(), listed.work_token()), (Some(Orphaned::Unknown), token));
                let asked = store.take_over(&listed, HOUR).unwrap();
                assert!(asked.in_doubt());
                asked.fail(Failure::did_not_happen().because("looked")).unwrap();
                let shown = store.namespace("n").unwrap().get("k").unwrap().unwrap();
                let numbers = (shown.failures(), shown.losses(), shown.in_doubt());
                assert_eq!((shown.state(), numbers), (RecordState::Retry, (1, 0, false)));
            }
            done_with(store);
        });
    }
}

#[test]
fn what_a_holder_left_for_good_is_settled_by_nobody() {
    on_both(|bed| {
        let store = bed.open();
        let ns = store.namespace_with("n", Policy::daily().on_orphan(OnOrphan::Resolve)).unwrap();
        let lease = claimed(ns.claim_with(&ClaimRequest::new("k")));
        let token = lease.into_token();
        store.resume(token.clone()).unwrap().fail(Failure::unknown()).unwrap();
        assert_eq!(refused(store.resume(token)), ErrorKind::StaleLease);
        done_with(store);
    });
}

#[test]
fn only_of_a_claim_taken_over_can_be_said_that_it_did_not_happen() {
    on_both(|bed| {
        let store = bed.open();
        let (error, lease) = claim(&store).fail(Failure::did_not_happen()).unwrap_err().into_parts();
        assert_eq!(error.kind(), ErrorKind::Misuse);
        drop(lease.unwrap());
        let listed = store.unheld().map(Result::unwrap).next().unwrap();
        store.take_over(&listed, HOUR).unwrap().fail(Failure::did_not_happen()).unwrap();
        assert_eq!(numbers(&store), (1, 0, 1, false));
        assert!(!claim(&store).in_doubt());
        done_with(store);
    });
}

#[test]
fn an_orphan_that_nobody_knows_of_wakes_the_watch() {
    let bed = Bed::memory();
    let store = bed.open();
    let ns = store.namespace_with("n", Policy::daily().on_orphan(OnOrphan::Resolve)).unwrap();
    let lease = claimed(ns.claim("k", DAY));
    let watch = store.watch_orphans().unwrap();
    watch.look();
    lease.fail(Failure::unknown()).unwrap();
    // What came since the look ends the sleep at once; without that, a watchdog ends the test.
    watch.sleep(10 * HOUR);
    done_with(store);
}

/// Milliseconds taken for seconds must not put a key away for ever.
#[test]
fn a_retry_is_due_within_ten_years() {
    let (rig, clock) = (Rig::default(), clock());
    let store = rig.open(quiet(&clock));
    let most = 3_652 * DAY + 12 * HOUR;
    for delay in [most + SECOND, std::time::Duration::MAX] {
        let (error, lease) = claim(&store).fail(Failure::retry_after(delay)).unwrap_err().into_parts();
        assert_eq!(error.kind(), ErrorKind::Misuse);
        lease.unwrap().release().unwrap();
        assert!(store.get("k").unwrap().is_none());
    }
    claim(&store).fail(Failure::retry_after(most)).unwrap();
    assert_eq!(record(&store).state(), RecordState::Retry);
    done_with(store);
}

/// The closure had the last handle: the store closes when it ends, and knows by then that it was a panic.
#[test]
fn a_panic_that_takes_the_last_handle_along_is_a_failure() {
    let bed = Bed::disk();
    let (store, own) = (bed.open(), bed.options());
    let lease = claim(&store);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        lease.complete_in(move |_| {
            let _last = store;
            resume_unwind(Box::new("the work's own bug"))
        })
    }));
    assert!(panicked.is_err());
    let store = patiently(|| own.clone().open(bed.path())).unwrap();
    assert_eq!((record(&store).failures(), record(&store).losses()), (1, 0));
    done_with(store);
}

/// Near the end of a segment, where a record is longer than a sector, a close finds room or goes without.
#[test]
fn a_close_at_the_end_of_a_segment_seals_the_journal() {
    let fills = |progress: usize, most: usize| {
        let clock = clock();
        let store = quiet(&clock).in_memory().unwrap();
        let mut open = claim(&store);
        open.save_progress(vec![1; progress]).unwrap();
        let mut filler = claimed(store.claim_with(&request("filler")));
        let first = store.stats().unwrap().journal_bytes;
        let mut fills = 0;
        while fills < most && store.stats().unwrap().journal_bytes == first {
            filler.save_progress([0; 4]).unwrap();
            fills += 1;
        }
        filler.complete("").unwrap();
        store.close().unwrap();
        fills
    };
    let most = fills(300, usize::MAX);
    for progress in (300..812).step_by(48) {
        for back in 0..6 {
            fills(progress, most - back);
        }
    }
}
