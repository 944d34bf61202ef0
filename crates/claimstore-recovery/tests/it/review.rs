//! The review queue: reasons, histories, decisions with who and why, and their events.

use crate::common::{Bed, SECOND, Told, claimed, done_with, duplicate, record, refused, request};
use claimstore::{ErrorKind, Failure, Happened, Note, Orphaned};
use claimstore_recovery::{Events, OrphanPolicy, Outcome, Reason, Recovery, ReviewQueue};

#[test]
fn a_parked_key_shows_why_and_what_went_before() {
    let bed = Bed::new();
    let store = bed.open();
    claimed(store.claim_with(&request("k"))).fail(Failure::retry().because("503 from the API")).unwrap();
    claimed(store.claim_with(&request("k"))).fail(Failure::retry().because("504 from the API")).unwrap();
    let token = claimed(store.claim_with(&request("k").lease(SECOND))).into_token().token();
    bed.clock.advance(SECOND);
    Recovery::new(&store).policy(OrphanPolicy::retry()).run().unwrap();
    let queue = ReviewQueue::new(&store);
    let parked = queue.list().next().unwrap().unwrap();
    assert_eq!((parked.key(), parked.reason()), (&b"k"[..], &b"attempts used up"[..]));
    assert_eq!((parked.attempts(), parked.since()), (3, Some(store.store_time())));
    assert_eq!(parked.last_error().unwrap(), b"504 from the API");
    let history = parked.history();
    let whats: Vec<_> = history.iter().map(|past| (past.attempt(), past.what())).collect();
    let lapse = Happened::Orphaned(Orphaned::Lapsed);
    assert_eq!(whats, [(1, Happened::Failed), (2, Happened::Failed), (3, lapse)]);
    assert_eq!(history[2].token(), token);
    assert!(history.iter().all(|past| past.claimed_at() <= past.at()));
    assert!(queue.get("", "k").unwrap().is_some());
    assert_eq!(queue.list_in("").count(), 1);
    done_with(store);
}

#[test]
fn each_decision_is_kept_with_who_and_why_and_told() {
    let bed = Bed::new();
    let store = bed.open();
    for key in ["a-requeue", "b-complete", "c-fail", "d-forget"] {
        claimed(store.claim_with(&request(key))).fail(Failure::park("unclear")).unwrap();
    }
    let events = Events::new();
    let told = Told::by(&events);
    let queue = ReviewQueue::new(&store).events(&events);
    let note = Note::new("ada", "asked the bank");
    let get = |key: &str| queue.get("", key).unwrap().unwrap();
    let stale = get("a-requeue");
    queue.requeue(&get("a-requeue"), &note).unwrap();
    queue.complete_with(&get("b-complete"), "90017", &note).unwrap();
    queue.fail(&get("c-fail"), "refused", &note).unwrap();
    queue.forget(&get("d-forget"), &note).unwrap();
    assert_eq!(refused(queue.requeue(&stale, &note)), ErrorKind::StaleLease, "decided already");
    let outcomes: Vec<_> = told.sorted().into_iter().map(|(_, outcome, reason)| (outcome, reason)).collect();
    let expected =
        [Outcome::Requeued, Outcome::CompletedByReview, Outcome::FailedByReview, Outcome::ForgottenByReview];
    assert_eq!(outcomes, expected.map(|outcome| (outcome, Reason::Review)));
    assert_eq!(events.counts().reviewed, 4);

    let store = bed.reopen(store);
    for key in ["a-requeue", "b-complete", "c-fail"] {
        let history = record(&store, key).history();
        let last = history.last().unwrap();
        assert_eq!((last.by(), last.note()), (&b"ada"[..], &b"asked the bank"[..]), "{key}");
        assert_eq!(history[0].note(), b"unclear");
    }
    assert_eq!(claimed(store.claim_with(&request("a-requeue"))).attempt(), 2);
    assert_eq!(duplicate(store.claim_with(&request("b-complete"))).response(), b"90017");
    assert!(duplicate(store.claim_with(&request("c-fail"))).is_failure());
    assert_eq!(claimed(store.claim_with(&request("d-forget"))).attempt(), 1);
    done_with(store);
}

/// A subscriber that panics is nobody's problem but its own.
#[test]
fn a_subscriber_that_panics_stops_nothing() {
    let bed = Bed::new();
    let store = bed.open();
    drop(claimed(store.claim_with(&request("k"))));
    let counts = Recovery::new(&store)
        .policy(OrphanPolicy::park())
        .on_event(|_| panic!("the subscriber's own bug"))
        .run()
        .unwrap()
        .counts;
    assert_eq!(counts.parked, 1);
    done_with(store);
}
