//! The life of a claim, across reopening.

use crate::common::patiently;
use claimstore::{Claim, Options, Store};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_completed_claim_is_a_duplicate_now_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let lease = store.claim("k", DAY).unwrap().claimed().unwrap();
    assert!(matches!(store.claim("k", DAY).unwrap(), Claim::InProgress(_)));
    lease.complete("done").unwrap();
    let Claim::Duplicate(receipt) = store.claim("k", DAY).unwrap() else { panic!() };
    assert_eq!(receipt.response(), b"done");
    store.verify().unwrap();
    store.close().unwrap();
    for round in 0..3 {
        let store = patiently(|| Options::new().open(dir.path())).unwrap();
        let Claim::Duplicate(receipt) = store.claim("k", DAY).unwrap() else { panic!("round {round}") };
        assert_eq!(receipt.response(), b"done");
        store.close().unwrap();
    }
}

#[test]
fn checkpoints_keep_everything() {
    let store = Store::in_memory().unwrap();
    for n in 0..1_000u32 {
        let lease = store.claim(n.to_be_bytes(), DAY).unwrap().claimed().unwrap();
        if n % 3 == 0 {
            lease.complete(n.to_le_bytes()).unwrap();
        } else if n % 3 == 1 {
            lease.release().unwrap();
        } else {
            drop(lease);
        }
        if n % 100 == 0 {
            store.checkpoint().unwrap();
        }
    }
    store.checkpoint().unwrap();
    store.verify().unwrap();
    for n in 0..1_000u32 {
        match (n % 3, store.claim(n.to_be_bytes(), DAY).unwrap()) {
            (0, Claim::Duplicate(receipt)) => assert_eq!(receipt.response(), n.to_le_bytes()),
            (1, Claim::Claimed(lease)) => assert_eq!(lease.attempt(), 1),
            (2, Claim::Claimed(lease)) => assert_eq!(lease.attempt(), 2),
            (_, other) => panic!("{n}: {other:?}"),
        }
    }
    store.close().unwrap();
}

#[test]
fn transact_and_async_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let request = claimstore::ClaimRequest::new("t").ttl(DAY);
    let done = store.transact(&request, |tx| {
        tx.table("rows")?.insert(b"a", b"1")?;
        Ok(b"r".to_vec())
    });
    assert_eq!(done.unwrap(), claimstore::Transacted::Done(b"r".to_vec()));
    assert_eq!(store.table("rows").unwrap().get(b"a").unwrap().unwrap(), b"1");
    assert!(matches!(store.claim("t", DAY).unwrap(), Claim::Duplicate(_)));
    store.checkpoint().unwrap();
    assert!(matches!(store.claim("t", DAY).unwrap(), Claim::Duplicate(_)));
    store.close().unwrap();
    let store = patiently(|| Store::open(dir.path())).unwrap();
    assert!(matches!(store.claim("t", DAY).unwrap(), Claim::Duplicate(_)));
    store.close().unwrap();
}
