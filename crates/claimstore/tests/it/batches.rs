//! Batches: exact answers, no lost lease.

use crate::common::{
    Bed, DAY, HOUR, abandon, block_on, claimed, done_with, duplicate, in_progress, on_both, refused, request,
};
use claimstore::{Claim, ClaimRequest, ErrorKind, Failure, Filter, Lease, Store};

/// The answers of a batch in short: the attempt of a claim, or what stands in its way.
fn shape(answers: &[Result<Claim, claimstore::Error>]) -> Vec<String> {
    let one = |answer: &Result<Claim, claimstore::Error>| match answer {
        Ok(Claim::Claimed(lease)) => format!("claimed {}", lease.attempt()),
        Ok(Claim::Duplicate(receipt)) => format!("duplicate {}", receipt.is_failure()),
        Ok(Claim::InProgress(holder)) => format!("in progress {}", holder.attempt()),
        Err(error) => format!("{:?}", error.kind()),
    };
    answers.iter().map(one).collect()
}

/// A store where each key stands as its name says, some of them checkpointed.
fn prepared(store: &Store) -> Lease {
    claimed(store.claim_with(&request("mismatch").fingerprint([1; 32]))).complete("r").unwrap();
    claimed(store.claim("done", DAY)).complete("r").unwrap();
    claimed(store.claim("failed", DAY)).fail(Failure::terminal("r")).unwrap();
    store.checkpoint().unwrap();
    claimed(store.claim("waits", DAY)).fail(Failure::retry_after(HOUR)).unwrap();
    claimed(store.claim("parked", DAY)).fail(Failure::park("n")).unwrap();
    abandon(store, "orphan");
    claimed(store.claim("held", DAY))
}

fn mixed() -> (Vec<ClaimRequest>, Vec<&'static str>) {
    let cases = [
        (request(""), "InvalidKey"),
        (request("new"), "claimed 1"),
        (request("done"), "duplicate false"),
        (ClaimRequest::new([0; 1_025]), "TooLarge"),
        (request("failed"), "duplicate true"),
        (request("new"), "in progress 1"),
        (request("held"), "in progress 1"),
        (request("waits"), "in progress 1"),
        (request("orphan"), "claimed 2"),
        (request("orphan"), "in progress 2"),
        (request("parked"), "Parked"),
        (request("zero ttl").ttl(std::time::Duration::ZERO), "Misuse"),
        (request("mismatch").fingerprint([2; 32]), "PayloadMismatch"),
        (request(""), "InvalidKey"),
        (ClaimRequest::new([0; 1_025]), "TooLarge"),
        (request("zero ttl").ttl(std::time::Duration::ZERO), "Misuse"),
        (request("new too"), "claimed 1"),
    ];
    cases.into_iter().unzip()
}

#[test]
fn p7_answers_are_exact_and_a_repeat_is_in_progress_of_the_first() {
    on_both(|bed| {
        let store = bed.open();
        let held = prepared(&store);
        let (requests, expected) = mixed();
        let commits = store.stats().unwrap().commits;
        let answers = store.claim_many(&requests).unwrap();
        assert_eq!(shape(&answers), expected);
        assert_eq!(store.stats().unwrap().commits, commits + 1, "one commit");
        let tokens: Vec<u64> =
            answers.into_iter().flatten().filter_map(Claim::claimed).map(|lease| lease.token()).collect();
        assert!(tokens.is_sorted() && tokens.len() == 3);
        held.complete("r").unwrap();
        done_with(store);
    });
}

#[test]
fn p7_the_future_answers_the_same() {
    on_both(|bed| {
        let store = bed.open();
        let _held = prepared(&store);
        let (requests, expected) = mixed();
        assert_eq!(shape(&block_on(store.claim_many_async(&requests)).unwrap()), expected);
        done_with(store);
    });
}

#[test]
fn an_empty_batch_is_answered_emptily() {
    let store = Bed::memory().open();
    assert!(store.claim_many(&[]).unwrap().is_empty());
    assert!(store.complete_many(Vec::new()).unwrap().is_empty());
    assert!(block_on(store.claim_many_async(&[])).unwrap().is_empty());
    assert!(block_on(store.complete_many_async(Vec::new())).unwrap().is_empty());
    done_with(store);
}

#[test]
fn a_refusal_of_the_whole_decides_nothing() {
    on_both(|bed| {
        let store = bed.open_with(bed.options().segment_bytes(8 << 20)).unwrap();
        let requests: Vec<ClaimRequest> =
            (0..2_000).map(|n| request(&format!("k{n}")).origin(vec![1; 4_096])).collect();
        assert_eq!(refused(store.claim_many(&requests)), ErrorKind::TooLarge, "more than half a segment");
        assert_eq!(store.scan(Filter::new()).count(), 0);
        done_with(store);
    });
}

fn leases(store: &Store, keys: &[&str]) -> Vec<(Lease, Vec<u8>)> {
    keys.iter().map(|key| (claimed(store.claim(key, DAY)), key.as_bytes().to_vec())).collect()
}

#[test]
fn p7_one_stale_item_does_not_spoil_the_others() {
    on_both(|bed| {
        for asynchronous in [false, true] {
            let store = bed.open();
            let key = |name: &str| format!("{name} {asynchronous}");
            let keys = [key("a"), key("stale"), key("b"), key("large")];
            let mut items = leases(&store, &keys.each_ref().map(String::as_str));
            items[3].1 = vec![0; (1 << 20) + 1];
            bed.clock.advance(HOUR);
            let newer = claimed(store.claim(&keys[1], DAY));
            let verdicts = if asynchronous {
                block_on(store.complete_many_async(items)).unwrap()
            } else {
                store.complete_many(items).unwrap()
            };
            let mut kinds = Vec::new();
            for verdict in verdicts {
                kinds.push(verdict.map_err(|refused| {
                    let (error, lease) = refused.into_parts();
                    let worth = lease.is_some();
                    if let Some(lease) = lease {
                        lease.complete("shorter").unwrap();
                    }
                    (error.kind(), worth)
                }));
            }
            let stale = Err((ErrorKind::StaleLease, false));
            assert_eq!(kinds, [Ok(()), stale, Ok(()), Err((ErrorKind::TooLarge, true))]);
            newer.complete("newer").unwrap();
            let store = bed.reopen(store);
            for (key, response) in keys.iter().zip([keys[0].as_str(), "newer", keys[2].as_str(), "shorter"]) {
                assert_eq!(duplicate(store.claim(key, DAY)).response(), response.as_bytes());
            }
            done_with(store);
        }
    });
}

#[test]
fn a_lease_of_another_store_is_misuse_and_no_lease_is_lost() {
    let (store, other) = (Bed::memory().open(), Bed::memory().open());
    for asynchronous in [false, true] {
        let key = if asynchronous { "k" } else { "l" };
        let mut items = leases(&store, &[key]);
        items.extend(leases(&other, &[key]));
        let refused = if asynchronous {
            block_on(store.complete_many_async(items)).unwrap_err()
        } else {
            store.complete_many(items).unwrap_err()
        };
        let (error, items) = refused.into_parts();
        assert_eq!((error.kind(), items.len()), (ErrorKind::Misuse, 2));
        for ((lease, response), of) in items.into_iter().zip([&store, &other]) {
            in_progress(of.claim(key, DAY));
            lease.complete(&response).unwrap();
            assert_eq!(duplicate(of.claim(key, DAY)).response(), response);
        }
    }
    done_with(store);
    done_with(other);
}

#[test]
fn a_batch_of_closed_leases_hands_them_back() {
    let store = Bed::memory().open();
    let clone = store.clone();
    let items = leases(&store, &["a", "b"]);
    done_with(store);
    let (error, items) = clone.complete_many(items).unwrap_err().into_parts();
    assert_eq!((error.kind(), items.len()), (ErrorKind::Closed, 2));
}

#[test]
fn one_lease_of_each_namespace_completes_in_one_commit() {
    let store = Bed::memory().open();
    let (one, two) = (store.namespace("one").unwrap(), store.namespace("two").unwrap());
    let items =
        vec![(claimed(one.claim("k", DAY)), b"1".to_vec()), (claimed(two.claim("k", DAY)), b"2".to_vec())];
    for verdict in store.complete_many(items).unwrap() {
        verdict.unwrap();
    }
    assert_eq!(duplicate(one.claim("k", DAY)).response(), b"1");
    assert_eq!(duplicate(two.claim("k", DAY)).response(), b"2");
    done_with(store);
}
