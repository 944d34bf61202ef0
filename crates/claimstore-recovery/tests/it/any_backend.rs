//! Recovery through a second backend: nothing of it depends on the embedded store.

use crate::common::{DAY, HOUR, Told, eventually};
use crate::shelf::{BATCH_ITEMS, Lost, Shelf};
use claimstore_core::{Claim, Claims, ErrorKind, Happened, Lease, Note, Orphaned, RecordState};
use claimstore_recovery::steps::{Step, StepError, Steps, UndoError};
use claimstore_recovery::{
    Events, Orphan, OrphanPolicy, Outcome, Reason, Recovery, Report, Resolution, ReviewQueue,
};
use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn claimed(claims: &Claims, key: &str) -> Lease {
    claims.claim(key, DAY).wait().unwrap().claimed().unwrap()
}

fn state(claims: &Claims, key: &str) -> RecordState {
    claims.get(key).wait().unwrap().unwrap().state()
}

fn happened(_: &Orphan) -> Resolution {
    Resolution::Happened(b"r".to_vec())
}

fn retry(claims: &Claims) -> Report {
    Recovery::new(claims).policy(OrphanPolicy::retry()).run().unwrap()
}

#[test]
fn each_namespace_is_recovered_by_its_policy() {
    let shelf = Shelf::new();
    let claims = shelf.claims();
    let spaces = ["retried", "parked", "failed", "resolved"].map(|name| claims.namespace(name));
    for space in &spaces {
        for key in ["a", "b", "c", "d", "e"] {
            drop(claimed(space, key));
        }
    }
    let report = Recovery::new(&claims)
        .policy_for("retried", OrphanPolicy::retry())
        .policy_for("parked", OrphanPolicy::park())
        .policy_for("failed", OrphanPolicy::fail("no"))
        .policy_for("resolved", OrphanPolicy::resolve())
        .resolver(happened)
        .parallel(2)
        .run()
        .unwrap();
    let counts = report.counts;
    assert_eq!(
        (counts.found, counts.retried, counts.parked, counts.failed, counts.completed),
        (20, 5, 5, 5, 5)
    );
    assert_eq!(shelf.calls("fail_orphans"), 15_usize.div_ceil(BATCH_ITEMS), "as many at once as it takes");
    let ended = [RecordState::Retry, RecordState::Parked, RecordState::Failed, RecordState::Completed];
    for (space, ended) in spaces.iter().zip(ended) {
        assert_eq!(state(space, "c"), ended);
    }
    assert_eq!(claimed(&spaces[0], "a").attempt(), 2);
    let refused = spaces[1].claim("a", DAY).wait().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Parked);
}

/// Whether the orphan was taken over is not known: nobody is asked, and it is found again, at the latest once that lease lapsed.
#[test]
fn a_lost_answer_to_a_take_over_leaves_an_orphan() {
    for lost in [Lost::Request, Lost::Reply] {
        let shelf = Shelf::new();
        let claims = shelf.claims();
        drop(claimed(&claims, "k"));
        let asked = Arc::new(AtomicUsize::new(0));
        let events = Events::new();
        let told = Told::by(&events);
        let recover = || {
            let asked = asked.clone();
            let resolver = move |orphan: &Orphan| {
                asked.fetch_add(1, Ordering::Relaxed);
                happened(orphan)
            };
            let recovery = Recovery::new(&claims).policy(OrphanPolicy::resolve()).resolver(resolver);
            recovery.events(&events).run().unwrap().counts
        };
        shelf.lose("take_over", lost);
        let counts = recover();
        assert_eq!((counts.errors, counts.asked, counts.completed), (1, 0, 0), "{lost:?}");
        assert_eq!(told.sorted(), [("k".to_owned(), Outcome::Error, Reason::Store)]);
        shelf.advance(HOUR);
        assert_eq!(recover().completed, 1, "{lost:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(state(&claims, "k"), RecordState::Completed);
    }
}

/// Whether a page was ended is not known: each of it is an error, and the next run finds those that are still orphans.
#[test]
fn a_lost_answer_to_the_end_of_a_page_is_told_and_found_out_by_the_next_run() {
    for (lost, found) in [(Lost::Request, BATCH_ITEMS as u64), (Lost::Reply, 0)] {
        let shelf = Shelf::new();
        let claims = shelf.claims();
        for key in ["a", "b", "c", "d", "e"] {
            drop(claimed(&claims, key));
        }
        shelf.lose("fail_orphans", lost);
        let counts = retry(&claims).counts;
        assert_eq!((counts.errors, counts.retried), (3, 2), "{lost:?}");
        let counts = retry(&claims).counts;
        assert_eq!((counts.found, counts.retried, counts.errors), (found, found, 0), "{lost:?}");
        for key in ["a", "b", "c", "d", "e"] {
            assert_eq!(claimed(&claims, key).attempt(), 2);
        }
    }
}

/// Whether the answer of a resolver was stored is not known: the orphan is told as an error, and not asked about while it is held.
#[test]
fn a_lost_answer_to_a_settlement_is_an_error() {
    let shelf = Shelf::new();
    let claims = shelf.claims();
    drop(claimed(&claims, "k"));
    shelf.lose("settle", Lost::Reply);
    let recovery = || Recovery::new(&claims).policy(OrphanPolicy::resolve()).resolver(happened);
    let counts = recovery().run().unwrap().counts;
    assert_eq!((counts.asked, counts.errors, counts.completed), (1, 1, 0));
    assert_eq!(state(&claims, "k"), RecordState::Completed);
    assert_eq!(recovery().run().unwrap().counts.found, 0);
}

#[test]
fn a_reaper_recovers_what_lapses_and_ends_with_the_backend() {
    let shelf = Shelf::new();
    let claims = shelf.claims();
    let reaper =
        Recovery::new(claims.clone()).policy(OrphanPolicy::resolve()).resolver(happened).spawn().unwrap();
    drop(claimed(&claims, "abandoned"));
    eventually(|| reaper.counts().completed == 1);
    let slow = claimed(&claims, "slow");
    shelf.advance(HOUR);
    eventually(|| reaper.counts().completed == 2);
    assert_eq!(slow.complete("late").wait().unwrap_err().kind(), ErrorKind::StaleLease);
    assert!(reaper.is_running());
    shelf.close();
    eventually(|| !reaper.is_running());
    let refused = Recovery::new(&claims).policy(OrphanPolicy::retry()).run().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
}

#[test]
fn parked_keys_are_reviewed() {
    let shelf = Shelf::new();
    let claims = shelf.claims();
    for key in ["a", "b", "c"] {
        drop(claimed(&claims, key));
    }
    let report = Recovery::new(&claims).policy(OrphanPolicy::park()).run().unwrap();
    assert_eq!(report.counts.parked, 3);
    let queue = ReviewQueue::new(&claims);
    assert_eq!(queue.list().count(), 3);
    assert_eq!((queue.list_in("").count(), queue.list_in("elsewhere").count()), (3, 0));
    let parked = queue.get("", "a").unwrap().unwrap();
    assert_eq!((parked.attempts(), parked.history()[0].what()), (1, Happened::Orphaned(Orphaned::Abandoned)));
    let note = Note::new("ada", "seen");
    queue.requeue(&parked, &note).unwrap();
    assert_eq!(queue.requeue(&parked, &note).unwrap_err().kind(), ErrorKind::StaleLease);
    assert_eq!(claimed(&claims, "a").attempt(), 2);
    queue.complete_with(&queue.get("", "b").unwrap().unwrap(), "by hand", &note).unwrap();
    let Claim::Duplicate(receipt) = claims.claim("b", DAY).wait().unwrap() else { panic!("no duplicate") };
    assert_eq!(receipt.response(), b"by hand");
    assert_eq!(queue.list().count(), 1);
}

#[test]
fn steps_go_on_where_they_were_and_are_undone_once() {
    let shelf = Shelf::new();
    let claims = shelf.claims();
    let undone = Cell::new(0);
    let key = Cell::new([0; 32]);
    for attempt in 1..=3 {
        let mut lease = claimed(&claims, "order");
        assert_eq!(lease.attempt(), attempt);
        let mut steps = Steps::begin(&mut lease, &["reserve", "charge"]).unwrap();
        if attempt == 1 {
            reserve_and_stop(&mut steps, &key);
            continue;
        }
        let undo = |output: Option<&[u8]>| {
            assert_eq!(output, Some(&b"shelf 4"[..]));
            undone.set(undone.get() + 1);
            if undone.get() == 1 { Err("boom".into()) } else { Ok(Vec::new()) }
        };
        let place = steps.run_with_undo("reserve", |_| Err("it is done already"), undo).unwrap();
        assert_eq!(place, b"shelf 4");
        let charged = steps.run("charge", |step| {
            assert!(step.is_again());
            assert_eq!(step.key(), key.get(), "the same child key");
            Err::<Vec<u8>, _>("declined")
        });
        match (attempt, charged) {
            (2, Err(StepError::Work("declined"))) | (3, Err(StepError::Undoing)) => {}
            (_, other) => panic!("{other:?}"),
        }
        match (attempt, steps.undo_all(claims.namespace("undos"), DAY)) {
            (2, Err(UndoError::Failed(step, _))) => assert_eq!(step, "reserve"),
            (3, Ok(1)) => {}
            (_, other) => panic!("{other:?}"),
        }
    }
    assert_eq!(undone.get(), 2);
}

/// The first attempt: it dies within the second step.
fn reserve_and_stop(steps: &mut Steps<'_, '_>, key: &Cell<[u8; 32]>) {
    drop(steps.run("reserve", |_: &Step| Ok::<_, Infallible>(b"shelf 4".to_vec())).unwrap());
    let cut = steps.run("charge", |step| {
        key.set(step.key());
        Err::<Vec<u8>, _>("cut")
    });
    assert!(matches!(cut, Err(StepError::Work("cut"))));
}
