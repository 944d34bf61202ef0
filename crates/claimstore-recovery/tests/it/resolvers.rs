//! Resolvers: in parallel with a bound, as futures, and bad ones. Each kind of bad one has a defined result.

use crate::common::{
    Bed, DAY, HOUR, SECOND, Told, abandon, claimed, done_with, duplicate, eventually, in_progress,
    parked_for, record, refused, request,
};
use claimstore::{ErrorKind, Options, RecordState, Store};
use claimstore_recovery::{
    AsyncResolver, Events, Orphan, OrphanPolicy, Outcome, Reason, Recovery, Resolution, ResolveFuture,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

/// A door that is shut until somebody opens it.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |open| !*open).unwrap());
    }
}

fn asks(store: &Store) -> Recovery {
    Recovery::new(store).policy(OrphanPolicy::resolve())
}

#[test]
fn orphans_are_asked_about_in_parallel_up_to_the_bound() {
    let bed = Bed::new();
    let store = bed.open();
    (0..40).for_each(|n| abandon(&store, &format!("k{n}")));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let door = Door::default();
    let resolver = {
        let (now, most, door) = (now.clone(), most.clone(), door.clone());
        move |_: &Orphan| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            door.pass();
            now.fetch_sub(1, Ordering::SeqCst);
            Resolution::Happened(b"r".to_vec())
        }
    };
    let run = std::thread::spawn({
        let recovery = asks(&store).resolver(resolver).parallel(4);
        move || recovery.run().unwrap().counts
    });
    // Four have come in and nobody has left: a fifth would be a broken bound.
    eventually(|| now.load(Ordering::SeqCst) == 4);
    door.open();
    assert_eq!(run.join().unwrap().completed, 40);
    assert_eq!(most.load(Ordering::SeqCst), 4);
    done_with(store);
}

/// A remote side that answers from another thread.
struct Remote;

impl AsyncResolver for Remote {
    fn resolve(&self, orphan: Orphan) -> ResolveFuture {
        let answer: Arc<Mutex<(Option<Resolution>, Option<Waker>)>> = Arc::default();
        let of_thread = answer.clone();
        std::thread::spawn(move || {
            let mut answer = of_thread.lock().unwrap();
            answer.0 = Some(Resolution::Happened([b"re: ", orphan.key()].concat()));
            if let Some(waker) = answer.1.take() {
                waker.wake();
            }
        });
        Box::pin(std::future::poll_fn(move |cx| {
            let mut answer = answer.lock().unwrap();
            answer.1 = Some(cx.waker().clone());
            answer.0.take().map_or(Poll::Pending, Poll::Ready)
        }))
    }
}

#[test]
fn a_resolver_may_answer_with_a_future() {
    let bed = Bed::new();
    let store = bed.open();
    (0..20).for_each(|n| abandon(&store, &format!("k{n}")));
    let counts = asks(&store).async_resolver(Remote).run().unwrap().counts;
    assert_eq!((counts.asked, counts.completed), (20, 20));
    assert_eq!(duplicate(store.claim_with(&request("k7"))).response(), b"re: k7");
    done_with(store);
}

#[test]
fn a_future_that_is_not_ready_in_time_is_dropped_and_its_orphan_parked() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let bed = Bed::new();
    let store = bed.open();
    abandon(&store, "k");
    let dropped = Arc::new(AtomicBool::new(false));
    let of_future = dropped.clone();
    let never = move |_: Orphan| -> ResolveFuture {
        let guard = Dropped(of_future.clone());
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(guard);
            Resolution::Unknown
        })
    };
    let policy = OrphanPolicy::resolve().time_limit(Duration::from_millis(20));
    let report = Recovery::new(&store).policy(policy).async_resolver(never).run().unwrap();
    assert_eq!((report.counts.timed_out, report.counts.parked), (1, 1));
    assert!(report.longest_ask >= Duration::from_millis(20) && report.longest_ask <= report.duration);
    assert_eq!(report.asking, report.longest_ask);
    eventually(|| dropped.load(Ordering::SeqCst));
    assert_eq!(parked_for(&store, "k"), "the resolver did not answer in time");
    done_with(store);
}

/// The orphan is parked with the reason, the others go on.
#[test]
fn a_resolver_that_panics_parks_its_orphan_alone() {
    let bed = Bed::new();
    let store = bed.open();
    (0..30).for_each(|n| abandon(&store, &format!("k{n:02}")));
    let resolver = |orphan: &Orphan| {
        assert!(!orphan.key().ends_with(b"7"), "the resolver's own bug");
        Resolution::Happened(b"r".to_vec())
    };
    let counts = asks(&store).resolver(resolver).parallel(3).run().unwrap().counts;
    assert_eq!((counts.completed, counts.parked, counts.panicked), (27, 3, 3));
    for key in ["k07", "k17", "k27"] {
        assert_eq!(parked_for(&store, key), "the resolver panicked");
        assert_eq!(refused(store.claim_with(&request(key))), ErrorKind::Parked);
    }
    let boom = |_: Orphan| -> ResolveFuture { Box::pin(async { panic!("while it is polled") }) };
    abandon(&store, "async");
    assert_eq!(asks(&store).async_resolver(boom).run().unwrap().counts.panicked, 1);
    assert_eq!(parked_for(&store, "async"), "the resolver panicked");
    done_with(store);
}

/// The orphan is parked, the late answer goes nowhere, and so many threads are left behind but no more.
#[test]
fn a_resolver_that_blocks_past_its_limit_parks_its_orphan_and_its_answer_is_lost() {
    let bed = Bed::new();
    let store = bed.open();
    (0..10).for_each(|n| abandon(&store, &format!("k{n}")));
    let (door, answered) = (Door::default(), Arc::new(AtomicUsize::new(0)));
    let resolver = {
        let (door, answered) = (door.clone(), answered.clone());
        move |_: &Orphan| {
            door.pass();
            answered.fetch_add(1, Ordering::SeqCst);
            Resolution::Happened(b"late".to_vec())
        }
    };
    let policy = OrphanPolicy::resolve().time_limit(Duration::from_millis(10));
    let events = Events::new();
    let told = Told::by(&events);
    let recovery = Recovery::new(&store).policy(policy).resolver(resolver).parallel(1).events(&events);
    let counts = recovery.run().unwrap().counts;
    assert_eq!(
        (counts.timed_out, counts.parked, counts.errors),
        (4, 4, 6),
        "four threads for each that asks"
    );
    let blocked = told.sorted().iter().filter(|(_, _, reason)| *reason == Reason::TooManyBlocked).count();
    assert_eq!(blocked, 6);
    assert_eq!(store.unheld().count(), 6, "the rest stays as it is");
    door.open();
    eventually(|| answered.load(Ordering::SeqCst) == 4);
    let parked: Vec<_> = store.parked().map(Result::unwrap).collect();
    assert_eq!(parked.len(), 4);
    assert!(parked.iter().all(|record| record.note() == b"the resolver did not answer in time"));
    assert_eq!(store.stats().unwrap().completed, 0);
    done_with(store);
}

/// Whoever was first stands; the answer is refused, counted, and changes nothing.
#[test]
fn an_answer_for_a_key_that_was_settled_meanwhile_changes_nothing() {
    let bed = Bed::new();
    let store = bed.open();
    for key in ["forgotten", "reclaimed", "untouched"] {
        abandon(&store, key);
    }
    let resolver = {
        let store = store.clone();
        let clock = bed.clock.clone();
        move |orphan: &Orphan| {
            match orphan.key() {
                b"forgotten" => assert!(store.forget(orphan.key()).unwrap()),
                b"reclaimed" => {
                    // The recovery itself is paused until its lease has lapsed, and another one takes over.
                    clock.advance(HOUR);
                    let again = store.unheld().map(Result::unwrap).find(|other| other.key() == orphan.key());
                    store.take_over(&again.unwrap(), HOUR).unwrap().complete("the other's").unwrap();
                }
                _ => {}
            }
            Resolution::Happened(b"mine".to_vec())
        }
    };
    let events = Events::new();
    let told = Told::by(&events);
    let counts = asks(&store).resolver(resolver).parallel(1).events(&events).run().unwrap().counts;
    assert_eq!((counts.superseded, counts.completed, counts.errors), (2, 1, 0));
    assert_eq!(told.sorted()[0], ("forgotten".to_owned(), Outcome::Superseded, Reason::Store));
    assert!(store.get("forgotten").unwrap().is_none());
    assert_eq!(duplicate(store.claim_with(&request("reclaimed"))).response(), b"the other's");
    assert_eq!(duplicate(store.claim_with(&request("untouched"))).response(), b"mine");
    done_with(store);
}

#[test]
fn no_claimer_slips_in_while_a_resolver_is_asked() {
    let bed = Bed::new();
    let store = bed.open();
    abandon(&store, "k");
    let resolver = {
        let store = store.clone();
        move |orphan: &Orphan| {
            // Not even where the stored policy would let claims take orphans over.
            let eager = claimstore::Policy::new().on_orphan(claimstore::OnOrphan::Retry);
            store.namespace_with("", eager).unwrap();
            in_progress(store.claim_with(&request("k")));
            assert_eq!(store.unheld().count(), 0, "nor a second recovery");
            assert_eq!(store.get("k").unwrap().unwrap().token(), orphan.fence());
            Resolution::Happened(b"r".to_vec())
        }
    };
    assert_eq!(asks(&store).resolver(resolver).run().unwrap().counts.completed, 1);
    done_with(store);
}

/// A holder that was paused, not dead: its result comes too late, the new one stands.
#[test]
fn a_paused_holder_that_wakes_after_recovery_re_ran_its_key_is_refused() {
    let bed = Bed::new();
    let store = bed.open();
    let mut paused = claimed(store.claim_with(&request("k").lease(SECOND)));
    bed.clock.advance(SECOND);
    let counts = asks(&store).resolver(|_: &Orphan| Resolution::DidNotHappen).run().unwrap().counts;
    assert_eq!(counts.retried, 1);
    assert_eq!(refused(paused.save_progress("still here")), ErrorKind::StaleLease);
    let again = claimed(store.claim_with(&request("k")));
    assert_eq!(again.attempt(), 2);
    assert!(again.token() > paused.token());
    assert_eq!(refused(paused.renew(HOUR)), ErrorKind::StaleLease);
    again.complete("the new result").unwrap();
    assert_eq!(refused(paused.complete("the old result")), ErrorKind::StaleLease);
    let receipt = duplicate(store.claim_with(&request("k")));
    assert_eq!((receipt.response(), receipt.attempts()), (&b"the new result"[..], 2));
    done_with(store);
}

/// Each take-over is counted in its own commit, so that a resolver which kills the process is found out.
#[test]
fn an_orphan_whose_asking_never_comes_back_is_parked_in_the_end() {
    let bed = Bed::new();
    let mut store = bed.open();
    abandon(&store, "k");
    for asks in 1..=8 {
        let orphan = store.unheld().next().unwrap().unwrap();
        assert_eq!(orphan.asked(), asks - 1);
        // The process dies here, between the take-over and the answer.
        drop(store.take_over(&orphan, HOUR).unwrap().into_token());
        store = bed.reopen(store);
    }
    let counts = asks(&store).resolver(|_: &Orphan| panic!("not asked again")).run().unwrap().counts;
    assert_eq!((counts.asked, counts.parked), (0, 1));
    assert_eq!(parked_for(&store, "k"), "asked as often as allowed, without an answer");
    assert_eq!(record(&store, "k").attempt(), 1);
    done_with(store);
}

#[test]
fn an_answer_too_large_to_store_parks_its_orphan() {
    let store = Options::new().max_response_bytes(100).in_memory().unwrap();
    abandon(&store, "k");
    let counts = asks(&store).resolver(|_: &Orphan| Resolution::Happened(vec![0; 101])).run().unwrap().counts;
    assert_eq!(counts.parked, 1);
    assert_eq!(parked_for(&store, "k"), "the resolver's response is too large");
    done_with(store);
}

/// The whole of a mixed bag, with every answer, on one store: every orphan ends once, as answered.
#[test]
fn every_answer_ends_its_own_orphan() {
    let bed = Bed::new();
    let store = bed.open();
    (0..200).for_each(|n| abandon(&store, &format!("{n}")));
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let resolver = {
        let seen = seen.clone();
        move |orphan: &Orphan| {
            assert!(seen.lock().unwrap().insert(orphan.key().to_vec()), "asked twice");
            match orphan.key().last().unwrap() % 4 {
                0 => Resolution::Happened(orphan.key().to_vec()),
                1 => Resolution::DidNotHappen,
                2 => Resolution::Unknown,
                _ => Resolution::Failed(orphan.key().to_vec()),
            }
        }
    };
    let once = OrphanPolicy::resolve().max_asks(1);
    let counts = Recovery::new(&store).policy(once).resolver(resolver).run().unwrap().counts;
    assert_eq!((counts.found, counts.asked, counts.done()), (200, 200, 200));
    for n in 0..200 {
        let key = format!("{n}");
        let record = record(&store, &key);
        let expected = match key.as_bytes().last().unwrap() % 4 {
            0 => RecordState::Completed,
            1 => RecordState::Retry,
            2 => RecordState::Parked,
            _ => RecordState::Failed,
        };
        assert_eq!(record.state(), expected, "{key}");
        assert!(record.response().is_none_or(|response| response == key.as_bytes()));
        assert_eq!(record.attempt(), 1);
    }
    drop(store.claim("9999", DAY));
    done_with(store);
}
