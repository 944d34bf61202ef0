//! Recovery of the embedded store, which lists and commits on threads of its own: nothing waits for itself.

use crate::common::{Bed, abandon, claimed, done_with, duplicate, eventually, record, refused, request};
use claimstore::{Claims, Error, ErrorKind, Options, RecordState};
use claimstore_recovery::{Orphan, OrphanPolicy, Recovery, Resolution, ReviewQueue};

#[test]
fn a_resolver_may_claim_and_recover_in_its_own_store() {
    let bed = Bed::new();
    let store = bed.open();
    (0..20).for_each(|n| abandon(&store, &format!("k{n}")));
    drop(claimed(store.namespace("retried").unwrap().claim_with(&request("beside"))));
    let inner = store.clone();
    let resolver = move |orphan: &Orphan| {
        let key = [b"about ", orphan.key()].concat();
        claimed(inner.claim(key, crate::common::DAY)).complete("asked").unwrap();
        let policy = OrphanPolicy::retry();
        let _report = Recovery::new(&inner).policy_for("retried", policy).run().unwrap();
        Resolution::Happened(b"r".to_vec())
    };
    let recovery = Recovery::new(&store).policy_for("", OrphanPolicy::resolve()).resolver_for("", resolver);
    let counts = recovery.parallel(4).run().unwrap().counts;
    assert_eq!((counts.completed, counts.errors), (20, 0));
    assert_eq!(claimed(store.namespace("retried").unwrap().claim_with(&request("beside"))).attempt(), 2);
    assert_eq!(duplicate(store.claim_with(&request("about k7"))).response(), b"asked");
    done_with(store);
}

#[test]
fn a_resolver_that_closes_the_store_ends_the_recovery() {
    for background in [false, true] {
        let bed = Bed::new();
        let store = Options::new().clock(bed.clock.clone()).background(background).in_memory().unwrap();
        (0..1_000).for_each(|n| abandon(&store, &format!("k{n}")));
        let inner = store.clone();
        let resolver = move |_: &Orphan| {
            inner.clone().close().unwrap();
            Resolution::Happened(b"r".to_vec())
        };
        let run = Recovery::new(&store).policy(OrphanPolicy::resolve()).resolver(resolver).parallel(3).run();
        assert_eq!(refused(run), ErrorKind::Closed);
    }
}

#[test]
fn a_store_that_is_closed_under_a_pass_ends_it() {
    let bed = Bed::new();
    let store = bed.open();
    (0..1_000).for_each(|n| abandon(&store, &format!("k{n}")));
    let recovery = Recovery::new(&store).policy(OrphanPolicy::resolve());
    // Told on the thread of the pass, in the middle of a page.
    let closing = recovery.on_event(move |_| store.clone().close().unwrap());
    assert_eq!(refused(closing.run()), ErrorKind::Closed);
    let store = bed.open();
    assert_eq!(store.unheld().count(), 1_000);
    done_with(store);
}

#[test]
fn the_last_handle_may_be_that_of_a_listing_or_of_a_reaper() {
    let bed = Bed::new();
    let store = bed.open();
    abandon(&store, "k");
    let queue = ReviewQueue::new(&store);
    let reaper = Recovery::new(store).policy(OrphanPolicy::park()).spawn().unwrap();
    eventually(|| reaper.counts().parked == 1);
    drop(reaper);
    let mut parked = queue.list();
    drop(queue);
    assert_eq!(refused(parked.next().unwrap()), ErrorKind::Closed);
    let store = bed.open();
    assert_eq!(record(&store, "k").state(), RecordState::Parked);
    done_with(store);
}

#[test]
fn orphans_are_recovered_in_the_closure_of_a_transact() {
    let bed = Bed::new();
    let store = bed.open();
    abandon(&store, "retried");
    abandon(&store, "parked");
    let key = request("batch");
    let done = store.transact(&key, |_| {
        let recovery = Recovery::new(&store).policy(OrphanPolicy::park());
        assert_eq!(recovery.run()?.counts.parked, 2);
        let queue = ReviewQueue::new(Claims::from(&store));
        let parked = queue.list().collect::<Result<Vec<_>, Error>>()?;
        assert!(queue.get("", "parked")?.is_some());
        Ok(vec![b'.'; parked.len()])
    });
    drop(done.unwrap());
    assert_eq!(duplicate(store.claim_with(&key)).response(), b"..");
    done_with(store);
}

/// The close waits, on the store's thread for long calls, for the closure to end; whatever is queued after it would, too.
#[test]
fn a_recovery_in_the_closure_of_a_transact_does_not_wait_for_a_close_that_waits_for_it() {
    let bed = Bed::new();
    let store = bed.open();
    abandon(&store, "k");
    let done = store.transact(&request("batch"), |_| {
        drop(store.clone().close_async());
        eventually(|| store.stats().is_err());
        let run = Recovery::new(&store).policy(OrphanPolicy::park()).run();
        assert_eq!(refused(run), ErrorKind::Closed);
        let queue = ReviewQueue::new(&store);
        assert_eq!(refused(queue.list().next().unwrap()), ErrorKind::Closed);
        assert_eq!(refused(queue.get("", "k")), ErrorKind::Closed);
        let new = Claims::from(&store).namespace("new");
        assert_eq!(refused(new.claim("k", crate::common::DAY).wait()), ErrorKind::Closed);
        Ok(Vec::new())
    });
    assert_eq!(refused(done), ErrorKind::Closed);
    drop(store);
}
