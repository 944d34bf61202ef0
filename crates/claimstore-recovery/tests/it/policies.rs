//! What each policy makes of orphans, at start and for claims that come before.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, SECOND, Told, abandon, claimed, done_with, duplicate, in_progress, parked_for,
    record, refused, request,
};
use claimstore::{ErrorKind, Failure, Happened, OnOrphan, Orphaned, Policy, RecordState};
use claimstore_recovery::{Events, Orphan, OrphanPolicy, Outcome, Reason, Recovery, Resolution};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

#[test]
fn each_namespace_is_recovered_by_its_policy() {
    let bed = Bed::new();
    let store = bed.open();
    for name in ["retry", "park", "fail", "resolve", "stored"] {
        let rule = if name == "stored" { OnOrphan::Park } else { OnOrphan::Retry };
        let ns = store.namespace_with(name, Policy::new().on_orphan(rule)).unwrap();
        drop(claimed(ns.claim(name, DAY)).into_token());
        claimed(ns.claim("done", DAY)).complete("r").unwrap();
    }
    let store = bed.reopen(store);
    let events = Events::new();
    let told = Told::by(&events);
    let report = Recovery::new(&store)
        .policy_for("retry", OrphanPolicy::retry())
        .policy_for("park", OrphanPolicy::park())
        .policy_for("fail", OrphanPolicy::fail("given up"))
        .policy_for("resolve", OrphanPolicy::resolve())
        .resolver(|_: &Orphan| Resolution::Happened(b"90017".to_vec()))
        .events(&events)
        .run()
        .unwrap();
    let counts = report.counts;
    assert_eq!((counts.found, counts.done()), (5, 5));
    assert_eq!((counts.retried, counts.parked, counts.failed, counts.completed), (1, 2, 1, 1));
    let expected = [
        ("fail", Outcome::Failed, Reason::Policy),
        ("park", Outcome::Parked, Reason::Policy),
        ("resolve", Outcome::Completed, Reason::Resolver),
        ("retry", Outcome::Retried, Reason::Policy),
        ("stored", Outcome::Parked, Reason::Policy),
    ];
    assert_eq!(told.sorted(), expected.map(|(key, outcome, reason)| (key.to_owned(), outcome, reason)));
    let store = bed.reopen(store);
    let claim = |name: &str| store.namespace(name).unwrap().claim(name, DAY);
    assert_eq!(claimed(claim("retry")).attempt(), 2);
    assert_eq!(refused(claim("park")), ErrorKind::Parked);
    assert_eq!(refused(claim("stored")), ErrorKind::Parked);
    assert_eq!(duplicate(claim("fail")).response(), b"given up");
    let receipt = duplicate(claim("resolve"));
    assert_eq!((receipt.response(), receipt.attempts(), receipt.is_failure()), (&b"90017"[..], 1, false));
    done_with(store);
}

/// One rule, not two: a claim that comes before recovery is answered by what recovery goes by.
#[test]
fn the_policy_is_stored_and_binds_claims_without_a_recovery() {
    let bed = Bed::new();
    let store = bed.open();
    Recovery::new(&store)
        .policy(OrphanPolicy::park())
        .policy_for("new", OrphanPolicy::resolve())
        .run()
        .unwrap();
    let store = bed.reopen(store);
    assert_eq!(store.namespace("").unwrap().policy().orphan_rule(), OnOrphan::Park);
    abandon(&store, "k");
    assert_eq!(refused(store.claim_with(&request("k"))), ErrorKind::Parked);
    let new = store.namespace("new").unwrap();
    drop(claimed(new.claim("k", DAY)));
    in_progress(new.claim("k", DAY));
    done_with(store);
}

#[test]
fn retries_wait_longer_each_time_and_end_in_the_review_queue() {
    let bed = Bed::new();
    let store = bed.open();
    let recover = |store: &claimstore::Store| {
        Recovery::new(store).policy(OrphanPolicy::retry().max_attempts(5)).run().unwrap().counts
    };
    let mut waits = Vec::new();
    for attempt in 1..=5 {
        let lease = claimed(store.claim_with(&request("k").lease(SECOND)));
        assert_eq!(lease.attempt(), attempt);
        drop(lease.into_token());
        bed.clock.advance(SECOND);
        let counts = recover(&store);
        assert_eq!((counts.found, counts.retried + counts.parked), (1, 1));
        if attempt < 5 {
            let wait = match store.get("k").unwrap().unwrap().retry_at() {
                Some(at) => at.duration_since(store.store_time()).unwrap_or_default(),
                None => panic!("not waiting"),
            };
            waits.push(wait);
            if !wait.is_zero() {
                assert_eq!(in_progress(store.claim_with(&request("k"))), wait);
            }
            bed.clock.advance(wait);
        }
    }
    assert!(waits[0].is_zero(), "the second attempt at once");
    for (wait, full) in waits[1..].iter().zip([SECOND, 2 * SECOND, 4 * SECOND]) {
        assert!(*wait <= full && *wait >= full * 3 / 4, "{wait:?} of {full:?}");
    }
    assert_eq!(parked_for(&store, "k"), "attempts used up");
    let history = record(&store, "k").history();
    let kept: Vec<_> = history.iter().map(|past| (past.attempt(), past.what())).collect();
    assert_eq!(kept, (1..=5).map(|n| (n, Happened::Orphaned(Orphaned::Lapsed))).collect::<Vec<_>>());
    assert!(history.windows(2).all(|pair| pair[0].token() < pair[1].token()));
    done_with(store);
}

#[test]
fn a_resolver_is_told_all_that_is_known() {
    let bed = Bed::new();
    let store = bed.open();
    let mut lease = claimed(store.claim_with(&request("earlier").origin("mail 7")));
    lease.save_progress("step 2").unwrap();
    let token = lease.token();
    drop(lease.into_token());
    let store = bed.reopen(store);
    bed.clock.advance(MINUTE);
    abandon(&store, "abandoned");
    drop(claimed(store.claim_with(&request("lapsed").lease(SECOND))).into_token());
    bed.clock.advance(HOUR);
    let seen: Arc<Mutex<Vec<Orphan>>> = Arc::default();
    let of_resolver = seen.clone();
    let report = Recovery::new(&store)
        .policy(OrphanPolicy::resolve())
        .resolver(move |orphan: &Orphan| {
            of_resolver.lock().unwrap().push(orphan.clone());
            Resolution::DidNotHappen
        })
        .run()
        .unwrap();
    assert_eq!((report.counts.asked, report.counts.retried), (3, 3));
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort_by(|a, b| a.key().cmp(b.key()));
    let causes: Vec<Orphaned> = seen.iter().map(Orphan::cause).collect();
    // The store of the earlier one was closed, and not killed.
    assert_eq!(causes, [Orphaned::Abandoned, Orphaned::Abandoned, Orphaned::Lapsed]);
    let earlier = &seen[1];
    assert_eq!((earlier.key(), earlier.attempt(), earlier.asks()), (&b"earlier"[..], 1, 1));
    assert_eq!((earlier.token(), earlier.origin()), (token, &b"mail 7"[..]));
    assert!(earlier.fence() > token);
    assert_eq!((earlier.progress(), earlier.age()), (Some(&b"step 2"[..]), HOUR + MINUTE));
    assert_eq!(earlier.namespace(), "");
    for key in ["abandoned", "earlier", "lapsed"] {
        let lease = claimed(store.claim_with(&request(key)));
        assert_eq!(lease.attempt(), 2);
        assert_eq!(lease.progress().is_some(), key == "earlier");
        lease.complete("r").unwrap();
        let history = record(&store, key).history();
        assert_eq!(history[1].note(), b"it did not happen");
    }
    done_with(store);
}

#[test]
fn what_did_not_happen_is_parked_once_the_losses_are_used_up() {
    let bed = Bed::new();
    let mut store = bed.open();
    store.namespace_with("", Policy::new().max_losses(2)).unwrap();
    let policy = OrphanPolicy::resolve().max_attempts(1);
    for attempt in 1..=2 {
        assert_eq!(claimed(store.claim_with(&request("k"))).attempt(), attempt);
        store = bed.reopen(store);
        let recovery = Recovery::new(&store).policy(policy.clone());
        let counts = recovery.resolver(|_: &Orphan| Resolution::DidNotHappen).run().unwrap().counts;
        assert_eq!((counts.retried, counts.parked), if attempt == 1 { (1, 0) } else { (0, 1) });
    }
    assert_eq!(parked_for(&store, "k"), "losses used up");
    done_with(store);
}

#[test]
fn the_unknown_is_parked_or_asked_about_later() {
    let bed = Bed::new();
    let mut store = bed.open();
    abandon(&store, "k");
    let unknown = |_: &Orphan| Resolution::Unknown;
    let policy = OrphanPolicy::resolve().max_asks(3).ask_again(10 * SECOND, MINUTE);
    for (ask, wait) in [(1, 10), (2, 20)] {
        let run = |store: &claimstore::Store| {
            Recovery::new(store).policy(policy.clone()).resolver(unknown).run().unwrap().counts
        };
        let counts = run(&store);
        assert_eq!((counts.asked, counts.waiting, counts.parked), (1, 1, 0), "ask {ask}");
        in_progress(store.claim_with(&request("k")));
        store = bed.reopen(store);
        let counts = run(&store);
        assert_eq!((counts.asked, counts.waiting), (0, 1), "not due yet, also after a restart");
        bed.clock.advance(wait * SECOND);
    }
    let counts = Recovery::new(&store).policy(policy).resolver(unknown).run().unwrap().counts;
    assert_eq!((counts.asked, counts.parked), (1, 1));
    assert_eq!(parked_for(&store, "k"), "asked as often as allowed, without an answer");
    assert_eq!(record(&store, "k").attempt(), 1, "asking is no attempt");

    abandon(&store, "at once");
    Recovery::new(&store).policy(OrphanPolicy::resolve().max_asks(1)).resolver(unknown).run().unwrap();
    assert_eq!(parked_for(&store, "at once"), "the resolver cannot tell");
    done_with(store);
}

/// Unless it is told otherwise a recovery asks eight times, in a little over ten minutes.
#[test]
fn what_is_unknown_is_asked_about_for_ten_minutes() {
    let bed = Bed::new();
    let store = bed.open();
    abandon(&store, "k");
    let run = || {
        let unknown = |_: &Orphan| Resolution::Unknown;
        Recovery::new(&store).policy(OrphanPolicy::resolve()).resolver(unknown).run().unwrap().counts
    };
    for wait in [5, 10, 20, 40, 80, 160, 300] {
        assert_eq!((run().asked, run().waiting), (1, 1));
        bed.clock.advance((wait - 1) * SECOND);
        assert_eq!((run().asked, run().waiting), (0, 1), "too early by a second, after {wait}");
        bed.clock.advance(SECOND);
    }
    let counts = run();
    assert_eq!((counts.asked, counts.parked), (1, 1));
    assert_eq!(parked_for(&store, "k"), "asked as often as allowed, without an answer");
    done_with(store);
}

/// "Not found" while a request of the old holder may be under way is unknown, not "did not happen".
#[test]
fn a_late_request_is_waited_for() {
    for arrives_s in [0, 3, 30, 89] {
        let bed = Bed::new();
        let store = bed.open();
        abandon(&store, "k");
        let passed_s = Arc::new(AtomicU32::new(0));
        let now_s = passed_s.clone();
        let resolver = move |orphan: &Orphan| {
            let age = now_s.load(Ordering::SeqCst) * SECOND;
            assert_eq!(orphan.age(), age, "asking does not start it anew");
            if age >= arrives_s * SECOND {
                Resolution::Happened(b"booked".to_vec())
            } else if age >= 90 * SECOND {
                Resolution::DidNotHappen
            } else {
                Resolution::Unknown
            }
        };
        let recovery = || Recovery::new(&store).policy(OrphanPolicy::resolve()).resolver(resolver.clone());
        while recovery().run().unwrap().counts.completed == 0 {
            in_progress(store.claim_with(&request("k")));
            bed.clock.advance(SECOND);
            passed_s.fetch_add(1, Ordering::SeqCst);
        }
        assert_eq!(record(&store, "k").attempt(), 1, "booked once");
        done_with(store);
    }
}

#[test]
fn without_a_resolver_what_is_to_be_resolved_stays_and_blocks() {
    let bed = Bed::new();
    let store = bed.open();
    abandon(&store, "k");
    let counts = Recovery::new(&store).policy(OrphanPolicy::resolve()).run().unwrap().counts;
    assert_eq!((counts.found, counts.waiting), (1, 1));
    in_progress(store.claim_with(&request("k")));
    assert_eq!(store.unheld().count(), 1);
    done_with(store);
}

/// What orphans carry along may be too much for one commit, as may their keys.
#[test]
fn pages_too_large_for_one_commit_are_cut_or_split() {
    let bed = Bed::new();
    let store = bed.open();
    for n in 0..100 {
        let mut lease = claimed(store.claim_with(&request(&format!("k{n}"))));
        lease.save_progress(vec![b'p'; 60_000]).unwrap();
    }
    let requests: Vec<_> = (0..4_500).map(|n| request(&format!("{n:01000}"))).collect();
    for some in requests.chunks(900) {
        drop(store.claim_many(some).unwrap());
    }
    let all: Vec<_> = store.unheld().map(|record| (record.unwrap(), Failure::retry())).collect();
    assert_eq!(refused(store.fail_orphans(&all)), ErrorKind::TooLarge);
    let counts = Recovery::new(&store).policy(OrphanPolicy::park()).run().unwrap().counts;
    assert_eq!((counts.parked, counts.errors), (4_600, 0));
    assert_eq!(record(&store, "k7").progress().unwrap().len(), 60_000);
    done_with(store);
}

#[test]
fn many_orphans_are_recovered_in_pages_with_progress_told() {
    let bed = Bed::new();
    let store = bed.open();
    let requests: Vec<_> = (0..9_000).map(|n| request(&format!("k{n}"))).collect();
    drop(store.claim_many(&requests).unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let of_progress = told.clone();
    let commits = store.stats().unwrap().commits;
    let report = Recovery::new(&store)
        .policy(OrphanPolicy::retry())
        .on_progress(move |counts| of_progress.lock().unwrap().push(counts.retried))
        .run()
        .unwrap();
    assert_eq!((report.counts.found, report.counts.retried), (9_000, 9_000));
    let told = told.lock().unwrap();
    assert!(told.len() > 2 && told.is_sorted() && told.last() == Some(&9_000), "{told:?}");
    assert!(store.stats().unwrap().commits - commits < 20);
    assert_eq!(store.scan(claimstore::Filter::new().state(RecordState::Retry)).count(), 9_000);
    done_with(store);
}

/// A stream of positions is a claim that nobody holds between two openings, and not recovery's business.
#[test]
fn streams_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let store = claimstore::Store::open(dir.path()).unwrap();
        let report = Recovery::new(&store).policy(OrphanPolicy::fail("gone")).run().unwrap();
        assert_eq!(report.counts.found, 0);
        let stream = store.sequence("log").unwrap();
        assert_eq!(stream.next().unwrap(), round);
        match stream.claim(round).unwrap() {
            claimstore::PositionClaim::Claimed(lease) => lease.complete().unwrap(),
            other => panic!("{other:?}"),
        }
        store.close().unwrap();
    }
}
