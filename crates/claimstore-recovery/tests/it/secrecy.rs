//! P18: no key, no payload and no note in anything that recovery shows. Names of steps are shown by design.

use crate::common::{Bed, DAY, Told, claimed, done_with};
use claimstore::{ClaimRequest, Error, Failure, Namespace, Note, Store};
use claimstore_recovery::steps::{Step, Steps};
use claimstore_recovery::{
    Events, Orphan, OrphanPolicy, Outcome, Recovery, Resolution, ReviewQueue, StepList,
};
use std::collections::HashSet;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

const CANARY: &str = "canary-7f3a91";
const NAMES: [&str; 2] = ["reserve", "charge"];
/// What of each type is shown: without it the test would pass if nothing were.
const SEEN: [&str; 11] = [
    "Event {",
    "Orphan {",
    "DidNotHappen",
    "Failed\n",
    "Parked {",
    "Past {",
    "Note {",
    "Steps {",
    "StepList {",
    "reserve",
    "Error {",
];

fn canary(part: &str) -> String {
    format!("{part}-{CANARY}")
}

/// Everything that was ever shown, on whatever thread.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<String>>);

impl Shown {
    fn debug(&self, value: &impl Debug) {
        write!(self.0.lock().unwrap(), "{value:?}\n{value:#?}\n").unwrap();
    }

    /// An error and those below it.
    fn error(&self, error: &impl std::error::Error) {
        self.debug(error);
        let mut text = self.0.lock().unwrap();
        writeln!(text, "{error}").unwrap();
        let mut source = error.source();
        while let Some(inner) = source {
            write!(text, "{inner}\n{inner:?}\n").unwrap();
            source = inner.source();
        }
    }

    /// As text, in hexadecimal, as a list of numbers.
    #[track_caller]
    fn check(&self) {
        let hex = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let list = CANARY.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
        let text = self.0.lock().unwrap();
        for form in [CANARY, &hex, &hex.to_uppercase(), &list] {
            assert!(!text.contains(form), "{form} stands in\n{text}");
        }
        for part in SEEN {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}

fn telltale(key: &str) -> ClaimRequest {
    let mut digest = [0; 32];
    digest[..CANARY.len()].copy_from_slice(CANARY.as_bytes());
    ClaimRequest::new(canary(key)).ttl(DAY).origin(canary("origin")).fingerprint(digest)
}

/// An orphan with all it can have: an attempt that failed with a note, progress, an origin, a fingerprint.
fn abandon(space: &Namespace, key: &str) {
    claimed(space.claim_with(&telltale(key))).fail(Failure::retry().because(canary("note"))).unwrap();
    let mut lease = claimed(space.claim_with(&telltale(key)));
    lease.save_progress(canary("progress")).unwrap();
    drop(lease);
}

/// Answers as the key says, and shows what it was asked and what it answers.
fn resolver(shown: &Shown, store: &Store) -> impl Fn(&Orphan) -> Resolution + Send + Sync + 'static {
    let (shown, store) = (shown.clone(), store.clone());
    move |orphan: &Orphan| {
        shown.debug(orphan);
        shown.debug(&orphan.history());
        let key = String::from_utf8(orphan.key().to_vec()).unwrap();
        let answer = match key.split('-').next().unwrap() {
            "happened" => Resolution::Happened(canary("response").into_bytes()),
            "failed" => Resolution::Failed(canary("response").into_bytes()),
            // More than the store takes.
            "large" => Resolution::Happened(canary("response").repeat(100_000).into_bytes()),
            "unknown" => Resolution::Unknown,
            "panic" => panic!("the resolver's own bug"),
            // Somebody else is first.
            "forgotten" => {
                assert!(store.namespace(orphan.namespace()).unwrap().forget(orphan.key()).unwrap());
                Resolution::Happened(canary("response").into_bytes())
            }
            _ => Resolution::DidNotHappen,
        };
        shown.debug(&answer);
        answer
    }
}

/// Orphans under every rule and with every answer, and what a person decides about those held for review.
fn recover_and_review(shown: &Shown, store: &Store) -> HashSet<Outcome> {
    for rule in ["retry", "park", "fail", "wait"] {
        abandon(&store.namespace(&canary(rule)).unwrap(), rule);
    }
    let ask = store.namespace(&canary("ask")).unwrap();
    for answer in ["happened", "failed", "large", "unknown", "panic", "forgotten", "nothing"] {
        abandon(&ask, answer);
    }
    let events = Events::new();
    let told = Told::by(&events);
    let of_events = shown.clone();
    events.subscribe(move |event| {
        of_events.debug(event);
        of_events.debug(event.record());
        event.error().into_iter().for_each(|error| of_events.error(error));
        event.note().into_iter().for_each(|note| of_events.debug(note));
    });
    let failing = OrphanPolicy::fail(canary("response"));
    shown.debug(&failing);
    let recovery = Recovery::new(store)
        .policy_for(&canary("retry"), OrphanPolicy::retry())
        .policy_for(&canary("park"), OrphanPolicy::park())
        .policy_for(&canary("fail"), failing)
        .policy_for(&canary("wait"), OrphanPolicy::resolve())
        .policy_for(&canary("ask"), OrphanPolicy::resolve().max_asks(1))
        .resolver_for(&canary("ask"), resolver(shown, store))
        .events(&events);
    shown.debug(&recovery);
    shown.debug(&recovery.run().unwrap());
    shown.debug(&events);

    let queue = ReviewQueue::new(store).events(&events);
    shown.debug(&queue);
    shown.debug(&queue.list());
    shown.debug(&queue.list_in(&canary("park")));
    let parked: Vec<_> = queue.list().map(Result::unwrap).collect();
    assert_eq!(parked.len(), 4, "by its policy, unknown, by a panic, too large");
    for parked in &parked {
        shown.debug(parked);
        shown.debug(parked.record());
        shown.debug(&parked.history());
    }
    let note = Note::new(canary("by"), canary("why"));
    queue.requeue(&parked[0], &note).unwrap();
    queue.complete_with(&parked[1], canary("response"), &note).unwrap();
    queue.fail(&parked[2], canary("response"), &note).unwrap();
    queue.forget(&parked[3], &note).unwrap();
    shown.error(&queue.requeue(&parked[0], &note).unwrap_err());
    shown.error(&queue.complete_with(&parked[1], canary("response"), &note).unwrap_err());
    told.sorted().into_iter().map(|(_, outcome, _)| outcome).collect()
}

/// Work in steps, and every way in which it does not go on.
fn work_in_steps(shown: &Shown, store: &Store) {
    let undos = store.namespace(&canary("undos")).unwrap();
    let lease = |key: &str| claimed(store.claim_with(&telltale(key)));
    let work = |step: &Step| {
        shown.debug(step);
        Ok::<_, Error>(canary("output").into_bytes())
    };

    let mut order = lease("order");
    let mut steps = Steps::begin(&mut order, &NAMES).unwrap();
    shown.error(&steps.run("charge", work).unwrap_err());
    steps.run_with_undo("reserve", work, |_| Err("no hands".into())).unwrap();
    let failed = steps.run("charge", |_| Err::<Vec<u8>, _>(Error::caller(canary("error")))).unwrap_err();
    shown.debug(&failed);
    // Not those below it: what the caller's own error says is the caller's to show.
    assert!(!failed.to_string().contains(CANARY));
    shown.debug(&steps);
    shown.error(&steps.undo_all(&undos, DAY).unwrap_err());
    let list = StepList::decode(order.progress().unwrap()).unwrap();
    shown.debug(&list);
    list.iter().for_each(|(_, stage)| shown.debug(stage));
    let mut steps = Steps::begin(&mut order, &NAMES).unwrap();
    steps.run("reserve", work).unwrap();
    shown.error(&steps.run("charge", work).unwrap_err());
    shown.error(&Steps::begin(&mut order, &["another"]).unwrap_err());

    let mut large = lease("large");
    let mut steps = Steps::begin(&mut large, &NAMES).unwrap();
    let output = canary("output").repeat(10_000).into_bytes();
    shown.error(&steps.run("reserve", |_| Ok::<_, Error>(output)).unwrap_err());

    let mut taken = lease("taken");
    let other = claimed(undos.claim(taken.child_key("undo/reserve"), DAY));
    let mut steps = Steps::begin(&mut taken, &NAMES).unwrap();
    steps.run_with_undo("reserve", work, |_| panic!("not mine to run")).unwrap();
    shown.error(&steps.undo_all(&undos, DAY).unwrap_err());
    drop(other);
    assert!(store.forget(canary("taken")).unwrap());
    let steps = Steps::begin(&mut taken, &NAMES).unwrap();
    shown.error(&steps.undo_all(&undos, DAY).unwrap_err());
}

#[test]
fn p18_nothing_that_recovery_shows_gives_anything_away() {
    let bed = Bed::new();
    let store = bed.open();
    let shown = Shown::default();
    let outcomes = recover_and_review(&shown, &store);
    work_in_steps(&shown, &store);
    shown.check();
    // All there are but one: no error came up that leaves an orphan as it is.
    let all = [
        Outcome::Retried,
        Outcome::Completed,
        Outcome::Failed,
        Outcome::Parked,
        Outcome::Waiting,
        Outcome::Superseded,
        Outcome::Requeued,
        Outcome::CompletedByReview,
        Outcome::FailedByReview,
        Outcome::ForgottenByReview,
    ];
    assert_eq!(outcomes, HashSet::from(all));
    done_with(store);
}
