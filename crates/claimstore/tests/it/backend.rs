//! The embedded store through [`Claims`], as layers that work with any backend see it.

use crate::common::{block_on, eventually, poll_once};
use claimstore::{
    ClaimRequest, Claims, Error, ErrorKind, Failure, Filter, Lease, Note, Policy, RecordState, Review, Store,
};
use claimstore_core::backend::{ClockOf, Durable, Settlement};
use claimstore_core::{Claim, Once, OnceError, Pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(3_600);

fn claims() -> (Store, Claims) {
    let store = Store::in_memory().unwrap();
    let claims = Claims::from(&store);
    (store, claims)
}

fn claimed(claims: &Claims, key: &str) -> claimstore_core::Lease {
    claims.claim(key, TTL).wait().unwrap().claimed().unwrap()
}

/// Polls once.
fn is_ready<T, E>(pending: &mut Pending<T, E>) -> bool {
    Pin::new(pending).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn a_claim_is_granted_settled_and_a_duplicate() {
    let (store, claims) = claims();
    let lease = claimed(&claims, "order-1");
    assert_eq!((lease.key(), lease.attempt()), (&b"order-1"[..], 1));
    assert!(matches!(claims.claim("order-1", TTL).wait().unwrap(), Claim::InProgress(_)));
    lease.complete("posted").wait().unwrap();
    let Claim::Duplicate(receipt) = claims.claim("order-1", TTL).wait().unwrap() else {
        panic!("no duplicate")
    };
    assert_eq!(receipt.response(), b"posted");
    // One store: its own calls see the same.
    assert!(matches!(store.claim("order-1", TTL).unwrap(), claimstore::Claim::Duplicate(_)));
    assert_eq!(claims.get("order-1").wait().unwrap().unwrap().response(), Some(&b"posted"[..]));
}

#[test]
fn work_runs_once_over_any_backend() {
    let (store, claims) = claims();
    let request = |key: &str| ClaimRequest::new(key).ttl(TTL);
    let once = claims
        .once(request("k"), async |lease: &claimstore_core::Lease| Ok::<_, Error>(lease.key().to_vec()));
    assert!(store.get("k").unwrap().is_none(), "nothing before it is polled");
    // It can be sent, so it can be waited for as any call.
    assert!(matches!(Pending::new(once).wait(), Ok(Once::Ran(response)) if response == b"k"));
    let again = claims.once(request("k"), async |_| -> Result<_, Error> { panic!("it is done") });
    assert!(matches!(block_on(again), Ok(Once::Replayed(receipt)) if receipt.response() == b"k"));
    let failed = block_on(claims.once(request("e"), async |_| Err::<Vec<u8>, _>("no")));
    assert!(matches!(failed, Err(OnceError::Work("no"))));
    let lease = claimed(&claims, "e");
    assert_eq!(lease.attempt(), 2, "up for a retry");
    let held = claims.once(request("e"), async |_| -> Result<_, Error> { panic!("it is held") });
    assert!(matches!(block_on(held), Ok(Once::InProgress(_))));
    let large = block_on(claims.once(request("l"), async |_| Ok::<_, Error>(vec![0; 2 << 20])));
    let Err(OnceError::NotStored { response, error }) = large else { panic!("{large:?}") };
    assert_eq!((response.len(), error.kind()), (2 << 20, ErrorKind::TooLarge));
    let refused = block_on(claims.once(request(""), async |_| Ok::<_, Error>(Vec::new())));
    assert!(matches!(refused, Err(OnceError::Backend(error)) if error.kind() == ErrorKind::InvalidKey));
    let begun = AtomicBool::new(false);
    let mut dropped = Box::pin(claims.once(request("d"), async |_| {
        begun.store(true, Ordering::SeqCst);
        std::future::pending::<Result<Vec<u8>, Error>>().await
    }));
    eventually(|| poll_once(&mut dropped).is_pending() && begun.load(Ordering::SeqCst));
    assert!(matches!(claims.claim("d", TTL).wait().unwrap(), Claim::InProgress(_)));
    drop(dropped);
    assert_eq!(claimed(&claims, "d").attempt(), 2, "abandoned");
}

#[test]
fn a_failure_a_release_and_progress_are_as_the_store_has_them() {
    let (_store, claims) = claims();
    let mut lease = claimed(&claims, "k");
    lease.save_progress("half").wait().unwrap();
    lease.renew(Duration::from_secs(5)).wait().unwrap();
    lease.fail(Failure::retry()).wait().unwrap();
    let again = claimed(&claims, "k");
    assert_eq!((again.attempt(), again.progress()), (2, Some(&b"half"[..])));
    again.release().wait().unwrap();
    let again = claimed(&claims, "k");
    assert_eq!(again.attempt(), 2, "the released attempt does not count");
    again.fail(Failure::park("look")).wait().unwrap();
    assert_eq!(claims.claim("k", TTL).wait().unwrap_err().kind(), ErrorKind::Parked);
}

#[test]
fn a_claim_that_nobody_waits_for_is_given_back() {
    let (_store, claims) = claims();
    let never_polled = claims.claim("k", TTL);
    drop(never_polled);
    let mut polled = claims.claim("k", TTL);
    // Where the commit was quick, the poll gave a lease, which was dropped: that is an attempt.
    let attempts = u32::from(is_ready(&mut polled));
    drop(polled);
    let lease = claims.claim_or_wait(ClaimRequest::new("k"), Duration::from_secs(20)).wait().unwrap();
    assert_eq!(lease.claimed().unwrap().attempt(), attempts + 1, "neither counted");
}

#[test]
fn a_settlement_goes_on_without_its_future() {
    let (_store, claims) = claims();
    drop(claimed(&claims, "k").complete("done"));
    let waited = claims.claim_or_wait(ClaimRequest::new("k"), Duration::from_secs(20)).wait().unwrap();
    assert!(matches!(waited, Claim::Duplicate(_)), "{waited:?}");
}

#[test]
fn a_dropped_lease_abandons_and_a_refused_one_comes_back() {
    let (_store, claims) = claims();
    drop(claimed(&claims, "k"));
    let lease = claimed(&claims, "k");
    assert_eq!(lease.attempt(), 2);
    let refused = lease.complete(vec![0; 2 << 20]).wait().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    let (_, lease) = refused.into_parts();
    lease.unwrap().complete("short").wait().unwrap();
    // Superseded: nothing comes back, and nothing changes.
    let held = claimed(&claims, "other").into_held();
    claims.forget("other").wait().unwrap();
    let settled =
        claims.backend().settle(vec![(held, Settlement::Complete(b"late".to_vec()))]).wait().unwrap();
    assert_eq!(settled[0].as_ref().unwrap_err().kind(), ErrorKind::StaleLease);
}

#[test]
fn many_are_claimed_and_completed_in_one_commit() {
    let (store, claims) = claims();
    let requests = ["a", "b", "a", ""].map(ClaimRequest::new).to_vec();
    let mut answers = claims.claim_many(requests).wait().unwrap().into_iter();
    let mut next = || answers.next().unwrap();
    let (a, b) = (next().unwrap().claimed().unwrap(), next().unwrap().claimed().unwrap());
    assert!(matches!(next().unwrap(), Claim::InProgress(_)), "the repeat is in progress of the first");
    assert_eq!(next().unwrap_err().kind(), ErrorKind::InvalidKey);
    let settled = claims.complete_many(vec![(a, b"1".to_vec()), (b, b"2".to_vec())]).wait().unwrap();
    assert!(settled.iter().all(Result::is_ok));
    assert!(claims.claim_many(Vec::new()).wait().unwrap().is_empty());
    assert!(claims.complete_many(Vec::new()).wait().unwrap().is_empty());
    // Handles of one store take each other's leases.
    let own = claimstore_core::Lease::from(store.claim("own", TTL).unwrap().claimed().unwrap());
    assert!(Claims::from(&store).complete_many(vec![(own, Vec::new())]).wait().unwrap()[0].is_ok());
    // A lease of another store is none of this one's, and is handed back.
    let (_elsewhere, others) = self::claims();
    let foreign = claimed(&others, "a");
    let refused = claims.complete_many(vec![(foreign, Vec::new())]).wait().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misuse);
    let (_, items) = refused.into_parts();
    items.into_iter().for_each(|(lease, response)| lease.complete(response).wait().unwrap());
}

#[test]
fn a_lease_becomes_one_of_the_store_and_back() {
    let (store, claims) = claims();
    let lease = claimed(&claims, "k");
    let (token, child) = (lease.token(), lease.child_key("charge"));
    let own = Lease::try_from(lease).unwrap();
    assert_eq!((own.token(), own.child_key("charge"), own.key()), (token, child, &b"k"[..]));
    let lease = claimstore_core::Lease::from(own);
    assert_eq!(lease.child_key("charge"), child);
    assert!(matches!(claims.claim("k", TTL).wait().unwrap(), Claim::InProgress(_)), "it was held throughout");
    lease.complete("done").wait().unwrap();
    // In one commit with rows, which only the store can.
    let own = Lease::try_from(claimed(&claims, "rows")).unwrap();
    own.complete_in(|tx| {
        tx.table("invoices")?.insert(b"k", b"v")?;
        Ok(b"with rows".to_vec())
    })
    .unwrap();
    store.close().unwrap();
}

#[test]
fn a_claim_goes_on_without_its_lease_and_is_resumed() {
    let (_store, claims) = claims();
    let held = claimed(&claims, "k").detach(TTL).wait().unwrap();
    assert!(matches!(claims.claim("k", TTL).wait().unwrap(), Claim::InProgress(_)));
    let resumed = claims.resume(&held).wait().unwrap();
    assert_eq!(claims.resume(&held).wait().unwrap_err().kind(), ErrorKind::Misuse, "it lives");
    resumed.complete("done").wait().unwrap();
    assert_eq!(claims.resume(&held).wait().unwrap_err().kind(), ErrorKind::StaleLease);
    // Detached without waiting for the result: taken up all the same.
    let lease = claimed(&claims, "unwaited");
    let held = lease.held().clone();
    drop(lease.detach(TTL));
    claims.resume(&held).wait().unwrap().complete("done").wait().unwrap();
}

#[test]
fn a_page_that_is_not_waited_for_is_lost_and_the_listing_goes_on() {
    let (_store, claims) = claims();
    let requests = (0..700).map(|number| ClaimRequest::new(format!("k{number}"))).collect();
    drop(claims.claim_many(requests).wait().unwrap());
    let mut pages = claims.backend().scan(Filter::new());
    let mut unwaited = pages.next_page();
    let _ready = is_ready(&mut unwaited);
    drop(unwaited);
    let mut seen = 0;
    loop {
        let page = pages.next_page().wait().unwrap();
        if page.is_empty() {
            break;
        }
        seen += page.len();
    }
    assert!((300..=700).contains(&seen), "{seen}: more than one page is left, whichever was lost");
}

#[test]
fn orphans_are_listed_taken_over_and_ended() {
    let (_store, claims) = claims();
    for key in ["a", "b", "c"] {
        drop(claimed(&claims, key));
    }
    let backend = claims.backend();
    let orphans = || backend.orphans().next_page().wait().unwrap();
    let found = |key: &[u8]| orphans().into_iter().find(|record| record.key() == key).unwrap();
    assert!(claims.clone().backend().watch_orphans().is_ok());
    let lease = claims.take_over(&found(b"a"), TTL).wait().unwrap();
    lease.complete("found out").wait().unwrap();
    // Dropped before its result, or with it: an orphan again.
    for _ in 0..20 {
        let mut untold = claims.take_over(&found(b"b"), TTL);
        let _ready = is_ready(&mut untold);
        drop(untold);
    }
    let again = found(b"b");
    let verdicts =
        backend.fail_orphans(vec![(again.clone(), Failure::park("why")), (again, Failure::retry())]);
    let verdicts = verdicts.wait().unwrap();
    assert!(verdicts[0].is_ok());
    assert_eq!(verdicts[1].as_ref().unwrap_err().kind(), ErrorKind::StaleLease);
    let parked = claims.get("b").wait().unwrap().unwrap();
    backend.review(&parked, Review::Complete(b"by hand".to_vec()), Note::new("ada", "seen")).wait().unwrap();
    assert!(matches!(claims.claim("b", TTL).wait().unwrap(), Claim::Duplicate(_)));
    let stale = backend.review(&parked, Review::Requeue, Note::new("ada", "again")).wait().unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::StaleLease);
}

#[test]
fn a_take_over_that_nobody_waits_for_leaves_an_orphan() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let claims = Claims::from(&store);
    drop(claimed(&claims, "k"));
    let orphan = claims.backend().orphans().next_page().wait().unwrap().remove(0);
    let mut pending = 0;
    for _ in 0..20 {
        let orphan = claims.backend().orphans().next_page().wait().unwrap().remove(0);
        let mut untold = claims.take_over(&orphan, TTL);
        pending += u32::from(!is_ready(&mut untold));
    }
    assert!(pending > 0, "a sync takes longer than a poll");
    assert!(claims.take_over(&orphan, TTL).wait().is_err(), "it was taken over since");
    assert_eq!(claimed(&claims, "k").attempt(), 2, "none of them was an attempt");
}

#[test]
fn forgetting_goes_by_what_was_shown() {
    let (_store, claims) = claims();
    let lease = claimed(&claims, "k");
    let shown = claims.get("k").wait().unwrap().unwrap();
    let backend = claims.backend();
    assert_eq!(backend.forget_shown(&shown, false).wait().unwrap_err().kind(), ErrorKind::StaleLease, "held");
    backend.forget_shown(&shown, true).wait().unwrap();
    assert_eq!(lease.complete("late").wait().unwrap_err().kind(), ErrorKind::StaleLease);
    assert!(!claims.forget("k").wait().unwrap());
    assert!(!claims.namespace("never made").forget("k").wait().unwrap());
    assert!(claims.namespace("never made").get("k").wait().unwrap().is_none());
}

#[test]
fn a_listing_has_every_record_once() {
    let (_store, claims) = claims();
    let orders = claims.namespace("orders");
    let keys: Vec<String> = (0..700).map(|number| format!("k{number:03}")).collect();
    let requests = keys.iter().map(ClaimRequest::new).collect();
    for answer in orders.claim_many(requests).wait().unwrap() {
        answer.unwrap().claimed().unwrap().complete("r").wait().unwrap();
    }
    claimed(&claims, "elsewhere").complete("r").wait().unwrap();
    let listed = orders.scan(Filter::new().state(RecordState::Completed));
    let mut listed: Vec<String> =
        listed.map(|record| String::from_utf8(record.unwrap().key().to_vec()).unwrap()).collect();
    listed.sort();
    assert_eq!(listed, keys);
}

#[test]
fn namespaces_have_the_policy_they_were_given() {
    let (_store, claims) = claims();
    let orders = claims.namespace("orders");
    let policy = Policy::monthly().max_attempts(7);
    assert_eq!(orders.define(policy.clone()).wait().unwrap(), policy);
    assert_eq!(orders.policy().wait().unwrap(), policy);
    assert_eq!(claims.backend().namespaces().wait().unwrap(), ["", "orders"]);
}

#[test]
fn claims_keep_the_store_open_and_leases_do_not() {
    let (store, claims) = claims();
    drop(store);
    let lease = claimed(&claims, "k");
    let held = lease.held().clone();
    drop(claims.clone());
    let backend = claims.namespace("other");
    drop(claims);
    assert_eq!(backend.get("k").wait().unwrap(), None, "the last of them still has it open");
    drop(backend);
    assert_eq!(lease.renew(TTL).wait().unwrap_err().kind(), ErrorKind::Closed);
    assert!(lease.backend().get(&held.namespace, &held.key).wait().is_err());
    let refused = lease.complete("late").wait().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
}

#[test]
fn what_is_promised_is_what_the_store_was_opened_with() {
    let (_store, claims) = claims();
    let promises = claims.backend().promises();
    assert_eq!((promises.durability, promises.clock), (Durable::BestEffort, ClockOf::Process));
    assert!(promises.transactional);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(Claims::from(&store).backend().promises().durability, Durable::Synced);
    assert!(!Claims::from(&store).backend().upkeep().wait().unwrap(), "nothing is due");
}
