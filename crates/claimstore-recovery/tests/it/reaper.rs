//! The reaper: wakes when a lease lapses or is dropped, stops cleanly, survives its resolver.

use crate::common::{
    Bed, HOUR, MINUTE, abandon, claimed, done_with, duplicate, eventually, in_progress, refused, request,
};
use claimstore::{Claim, ErrorKind, Lease, Options, Policy};
use claimstore_recovery::{Events, Orphan, OrphanPolicy, Recovery, Resolution};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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

/// A remote side. For each key: how often it had its effect, and the token below which it has none any more.
#[derive(Default)]
struct Remote(Mutex<HashMap<Vec<u8>, (u32, u64)>>);

impl Remote {
    /// Has the effect, unless somebody was asked about the work of this lease: it may have slept since it was claimed.
    fn act(&self, lease: &Lease) -> bool {
        let mut effects = self.0.lock().unwrap();
        let (times, fence) = effects.entry(lease.key().to_vec()).or_default();
        let is_let_in = lease.token() >= *fence;
        *times += u32::from(is_let_in);
        is_let_in
    }

    fn resolve(&self, orphan: &Orphan) -> Resolution {
        let mut effects = self.0.lock().unwrap();
        let (times, fence) = effects.entry(orphan.key().to_vec()).or_default();
        *fence = orphan.fence().max(*fence);
        if *times > 0 { Resolution::Happened(b"seen".to_vec()) } else { Resolution::DidNotHappen }
    }
}

/// Threads that claim, work, crash before and after the effect, or fall asleep over it, and a reaper that asks:
/// every key is done, every effect is there once.
#[test]
fn a_storm_of_crashes_has_each_effect_once() {
    const KEYS: usize = 120;
    let store = Options::new().in_memory().unwrap();
    let policy = Policy::new().lease(Duration::from_millis(15));
    store.namespace_with("", policy).unwrap();
    let remote: Arc<Remote> = Arc::default();
    let asked = remote.clone();
    let events = Events::new();
    let ask = OrphanPolicy::resolve()
        .max_attempts(u32::MAX)
        .backoff(Duration::from_millis(1), Duration::from_millis(2));
    let reaper = Recovery::new(&store)
        .policy(ask)
        .resolver(move |orphan: &Orphan| asked.resolve(orphan))
        .parallel(3)
        .events(&events)
        .spawn()
        .unwrap();
    let completed = AtomicU64::new(0);
    let work = |thread: usize| {
        for n in 0..KEYS {
            let at = (n * 7 + thread * 31) % KEYS;
            let key = format!("k{at}");
            loop {
                let lease = match store.claim_or_wait(&request(&key), MINUTE) {
                    Ok(Claim::Claimed(lease)) => lease,
                    Ok(Claim::Duplicate(_)) => break,
                    other => panic!("{other:?}"),
                };
                // That of a first attempt is its key's: each kind comes, in whatever order the threads run.
                let fate = match lease.attempt() {
                    1 => at % 4,
                    _ => (lease.token() as usize ^ n ^ thread) % 4,
                };
                let has_acted = fate > 0 && remote.act(&lease);
                match fate {
                    0 | 1 => drop(lease),
                    2 => drop(lease.into_token()),
                    _ => match lease.complete("done") {
                        Ok(()) => {
                            assert!(has_acted, "completed by a holder who was fenced off");
                            completed.fetch_add(1, Ordering::SeqCst);
                        }
                        // It slept longer than its lease, and the resolver was asked.
                        Err(refused) => assert_eq!(refused.kind(), ErrorKind::StaleLease),
                    },
                }
            }
        }
    };
    std::thread::scope(|scope| (0..6).for_each(|thread| drop(scope.spawn(move || work(thread)))));
    // What it was about to count is counted when it has stopped.
    reaper.stop();
    let counts = events.counts();
    let effects = remote.0.lock().unwrap();
    assert_eq!(effects.len(), KEYS);
    assert!(effects.values().all(|(times, _)| *times == 1), "{effects:?}");
    assert!(counts.retried > 0 && counts.parked == 0, "{counts:?}");
    assert_eq!(counts.completed + completed.into_inner(), KEYS as u64, "each key has one end: {counts:?}");
    done_with(store);
}
