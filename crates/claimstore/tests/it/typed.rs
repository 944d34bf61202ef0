//! Responses that are Serde values.

use crate::common::{Bed, DAY, HOUR, block_on, claimed, done_with, duplicate, on_both, refused, request};
use claimstore::{ErrorKind, Failure, Fingerprint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Posted {
    document: String,
    lines: Vec<u32>,
    note: Option<String>,
}

fn posted() -> Posted {
    Posted { document: "0090017".to_owned(), lines: vec![10, 20], note: None }
}

#[test]
fn a_response_comes_back_as_the_value_it_was() {
    on_both(|bed| {
        let store = bed.open();
        claimed(store.claim("a", DAY)).complete_as(&posted()).unwrap();
        block_on(claimed(store.claim("b", DAY)).complete_as_async(&posted())).unwrap();
        claimed(store.claim("c", DAY)).fail(Failure::terminal_as(&posted()).unwrap()).unwrap();
        let store = bed.reopen(store);
        for key in ["a", "b", "c"] {
            let receipt = duplicate(store.claim(key, DAY));
            assert_eq!(receipt.response_as::<Posted>().unwrap(), posted());
            assert_eq!(receipt.is_failure(), key == "c");
            assert_eq!(refused(receipt.response_as::<u32>()), ErrorKind::Misuse);
        }
        assert_eq!(
            duplicate(store.claim("a", DAY)).response(),
            br#"{"document":"0090017","lines":[10,20],"note":null}"#
        );
        done_with(store);
    });
}

#[test]
fn a_value_that_is_no_json_leaves_the_lease() {
    let bed = Bed::memory();
    let store = bed.open();
    let no_json = BTreeMap::from([((1, 2), 3)]);
    let refusal = claimed(store.claim("a", DAY)).complete_as(&no_json).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Misuse);
    let lease = refusal.into_parts().1.unwrap();
    let refusal = block_on(lease.complete_as_async(&no_json)).unwrap_err();
    refusal.into_parts().1.unwrap().complete("secret").unwrap();
    assert_eq!(refused(Failure::terminal_as(&no_json)), ErrorKind::Misuse);
    let error = duplicate(store.claim("a", DAY)).response_as::<Posted>().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
    done_with(store);
}

#[test]
fn a_value_has_a_fingerprint() {
    let bed = Bed::memory();
    let store = bed.open();
    let maker = store.fingerprinter().unwrap();
    let of = |value: &Posted| request("k").fingerprint(maker.of(value).unwrap());
    claimed(store.claim_with(&of(&posted()))).complete("").unwrap();
    assert!(duplicate(store.claim_with(&of(&posted()))).fingerprint_checked());
    let other = Posted { lines: vec![20, 10], ..posted() };
    assert_eq!(refused(store.claim_with(&of(&other))), ErrorKind::PayloadMismatch);
    claimed(store.claim_with(&request("u").ttl(HOUR).fingerprint(Fingerprint::of(&other).unwrap())))
        .release()
        .unwrap();
    done_with(store);
}
