//! The reaper: wakes when a lease lapses or is dropped, stops cleanly, survives its resolver.

use crate::common::{
    Bed, HOUR, MINUTE, abandon, claimed, done_with, duplicate, eventually, in_progress, refused, request,
};
use claimstore::{Claim, ErrorKind, Options, Policy};
use claimstore_recovery::{Events, Orphan, OrphanPolicy, Recovery, Resolution};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn happened(_: &Orphan) -> Resolution {
    Resolution::Happened(b"r".to_vec())
}

#[test]
fn abandoned_and_lapsed_claims_are_recovered_while_the_store_runs() {
    let bed = Bed::new();
    let store = bed.open();
    drop(claimed(store.claim_with(&request("earlier"))).into_token());
    let store = bed.reopen(store);
    let reaper = Recovery::new(&store).policy(OrphanPolicy::resolve()).resolver(happened).spawn().unwrap();
    eventually(|| reaper.counts().completed == 1);
    abandon(&store, "abandoned");
    eventually(|| reaper.counts().completed == 2);
    let held = claimed(store.claim_with(&request("held").lease(HOUR)));
    let slow = claimed(store.claim_with(&request("slow").lease(MINUTE)));
    bed.clock.advance(MINUTE);
    eventually(|| reaper.counts().completed == 3);
    assert_eq!(refused(slow.complete("too late")), ErrorKind::StaleLease);
    // A renewed lease is nobody's orphan.
    bed.clock.advance(58 * MINUTE);
    held.renew(HOUR).unwrap();
    bed.clock.advance(MINUTE);
    abandon(&store, "another");
    eventually(|| reaper.counts().completed == 4);
    held.complete("in time").unwrap();
    for key in ["earlier", "abandoned", "slow", "another"] {
        assert_eq!(duplicate(store.claim_with(&request(key))).response(), b"r");
    }
    assert!(reaper.is_running());
    reaper.stop();
    abandon(&store, "after");
    assert_eq!(store.unheld().count(), 1, "stopped is stopped");
    done_with(store);
}

/// Without orphans and lapses it does not look: each look at all claims is a pass, and passes are counted.
#[test]
fn nothing_to_do_means_no_passes() {
    let bed = Bed::new();
    let store = bed.open();
    let _held = claimed(store.claim_with(&request("held").lease(HOUR)));
    abandon(&store, "left");
    let events = Events::new();
    // Without a resolver an orphan of this policy is found by every pass, and stays.
    let reaper = Recovery::new(&store).policy(OrphanPolicy::resolve()).events(&events).spawn().unwrap();
    eventually(|| events.counts().found == 1);
    std::thread::park_timeout(Duration::from_millis(300));
    assert_eq!(events.counts().found, 1, "it sleeps");
    for n in 0..50 {
        claimed(store.claim_with(&request(&format!("work {n}")))).complete("r").unwrap();
    }
    std::thread::park_timeout(Duration::from_millis(50));
    assert!(events.counts().found <= 2, "ordinary work does not keep it up: {:?}", events.counts());
    reaper.stop();
    done_with(store);
}

#[test]
fn it_survives_a_resolver_that_panics_and_goes_on() {
    let bed = Bed::new();
    let store = bed.open();
    let resolver = |orphan: &Orphan| {
        assert_ne!(orphan.key(), b"bad");
        Resolution::Happened(b"r".to_vec())
    };
    let reaper = Recovery::new(&store).policy(OrphanPolicy::resolve()).resolver(resolver).spawn().unwrap();
    for round in 0..3 {
        abandon(&store, &format!("good {round}"));
        if round == 1 {
            abandon(&store, "bad");
        }
        let parked = u64::from(round >= 1);
        eventually(|| (reaper.counts().completed, reaper.counts().parked) == (round + 1, parked));
    }
    assert_eq!(refused(store.claim_with(&request("bad"))), ErrorKind::Parked);
    drop(reaper);
    done_with(store);
}

#[test]
fn what_is_asked_about_later_is_asked_when_it_is_due() {
    let bed = Bed::new();
    let store = bed.open();
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = {
        let asked = asked.clone();
        move |_: &Orphan| match asked.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Resolution::Unknown,
            _ => Resolution::Happened(b"at last".to_vec()),
        }
    };
    let policy = OrphanPolicy::resolve().max_asks(9).ask_again(MINUTE, HOUR);
    let reaper = Recovery::new(&store).policy(policy).resolver(resolver).spawn().unwrap();
    abandon(&store, "k");
    eventually(|| asked.load(Ordering::SeqCst) == 1);
    bed.clock.advance(MINUTE);
    eventually(|| asked.load(Ordering::SeqCst) == 2);
    in_progress(store.claim_with(&request("k")));
    bed.clock.advance(2 * MINUTE);
    eventually(|| reaper.counts().completed == 1);
    assert_eq!(duplicate(store.claim_with(&request("k"))).attempts(), 1);
    reaper.stop();
    done_with(store);
}

#[test]
fn one_reaper_at_a_time_and_it_ends_with_the_store() {
    let bed = Bed::new();
    let store = bed.open();
    let reaper = Recovery::new(&store).policy(OrphanPolicy::retry()).spawn().unwrap();
    assert_eq!(refused(Recovery::new(&store).spawn()), ErrorKind::Misuse);
    reaper.stop();
    let reaper = Recovery::new(&store).spawn().unwrap();
    done_with(store);
    eventually(|| !reaper.is_running());
}

/// A waiting claimer gets the key as soon as the reaper gives it back.
#[test]
fn a_waiting_claimer_is_woken_by_what_recovery_decides() {
    let bed = Bed::new();
    let store = bed.open();
    let reaper = Recovery::new(&store)
        .policy(OrphanPolicy::resolve())
        .resolver(|_: &Orphan| Resolution::DidNotHappen)
        .spawn()
        .unwrap();
    let holder = claimed(store.claim_with(&request("k").lease(HOUR)));
    let waiter = std::thread::spawn({
        let store = store.clone();
        move || claimed(store.claim_or_wait(&request("k"), HOUR)).attempt()
    });
    drop(holder);
    assert_eq!(waiter.join().unwrap(), 2);
    reaper.stop();
    done_with(store);
}

/// Threads that claim, work, crash before and after the effect, or fall asleep over it, and a reaper that asks:
/// every key is done, every effect is there once.
#[test]
fn a_storm_of_crashes_has_each_effect_once() {
    const KEYS: usize = 120;
    let store = Options::new().in_memory().unwrap();
    let policy = Policy::new().lease(Duration::from_millis(15));
    store.namespace_with("", policy).unwrap();
    let effects: Arc<Mutex<HashMap<Vec<u8>, u32>>> = Arc::default();
    let seen = effects.clone();
    let ask = OrphanPolicy::resolve()
        .max_attempts(u32::MAX)
        .backoff(Duration::from_millis(1), Duration::from_millis(2));
    let reaper = Recovery::new(&store)
        .policy(ask)
        .resolver(move |orphan: &Orphan| match seen.lock().unwrap().get(orphan.key()) {
            Some(_) => Resolution::Happened(b"seen".to_vec()),
            None => Resolution::DidNotHappen,
        })
        .parallel(3)
        .spawn()
        .unwrap();
    let work = |thread: usize| {
        for n in 0..KEYS {
            let key = format!("k{}", (n * 7 + thread * 31) % KEYS);
            loop {
                let lease = match store.claim_or_wait(&request(&key), MINUTE) {
                    Ok(Claim::Claimed(lease)) => lease,
                    Ok(Claim::Duplicate(_)) => break,
                    other => panic!("{other:?}"),
                };
                let fate = (lease.token() as usize ^ n ^ thread) % 4;
                if fate > 0 {
                    *effects.lock().unwrap().entry(key.clone().into_bytes()).or_default() += 1;
                }
                match fate {
                    0 | 1 => drop(lease),
                    2 => drop(lease.into_token()),
                    _ => lease.complete("done").unwrap(),
                }
            }
        }
    };
    std::thread::scope(|scope| (0..6).for_each(|thread| drop(scope.spawn(move || work(thread)))));
    let counts = reaper.counts();
    reaper.stop();
    let effects = effects.lock().unwrap();
    assert_eq!(effects.len(), KEYS);
    assert!(effects.values().all(|times| *times == 1), "{effects:?}");
    assert!(counts.completed > 0 && counts.retried > 0 && counts.parked == 0, "{counts:?}");
    done_with(store);
}
