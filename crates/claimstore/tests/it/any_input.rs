//! P19: any argument is an answer or a typed error.

use crate::common::{Bed, DAY, done_with, poll_once};
use claimstore::{Claim, ClaimRequest, Failure, Filter, Fingerprint, LeaseToken, Policy, TimeOrdered};
use proptest::prelude::*;
use std::collections::HashSet;
use std::time::Duration;

/// Lengths around every limit, and any bytes.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![0usize..40, 1_020usize..1_030, 4_090usize..4_100, Just(70_000)];
    (lengths, any::<u8>(), any::<bool>()).prop_flat_map(|(len, byte, uniform)| {
        if uniform || len > 5_000 {
            Just(vec![byte; len]).boxed()
        } else {
            proptest::collection::vec(any::<u8>(), len).boxed()
        }
    })
}

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0u64..100).prop_map(Duration::from_millis),
        any::<u64>().prop_map(Duration::from_secs),
        (1u64..400_000_000).prop_map(Duration::from_secs),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn p19_any_argument_is_an_answer_or_a_typed_error(
        keys in proptest::collection::vec(any_bytes(), 1..6),
        payload in any_bytes(),
        name in ".{0,600}",
        durations in proptest::array::uniform4(any_duration()),
        numbers in any::<(u32, u64, u64)>(),
        print in any::<[u8; 32]>(),
    ) {
        let [ttl, lease, delay, passing] = durations;
        let bed = Bed::memory();
        let store = bed.open();
        let policy = Policy::migration(delay).ttl(ttl).lease(lease).skew(passing).max_attempts(numbers.0);
        let mut spaces = vec![store.namespace("").unwrap()];
        spaces.extend(store.namespace(&name));
        spaces.extend(store.namespace_with(&name, policy.clone().quota(numbers.1, numbers.2)));
        spaces.extend(store.namespace_with("u", policy.clone().time_ordered_keys(TimeOrdered::UuidV7)));
        spaces.extend(store.namespace_with("l", policy.time_ordered_keys(TimeOrdered::Ulid)));
        let mut known = HashSet::new();
        for key in &keys {
            let request =
                ClaimRequest::new(key).ttl(ttl).lease(lease).origin(&payload).fingerprint(Fingerprint::from(print));
            for ns in &spaces {
                if let Ok(Claim::Claimed(mut lease)) = ns.claim_with(&request) {
                    known.insert(lease.token());
                    let _: [u8; 32] = lease.child_key(&name);
                    drop(lease.renew(delay));
                    drop(lease.save_progress(&payload));
                    drop(match numbers.1 % 6 {
                        0 => lease.complete(&payload),
                        1 => lease.fail(Failure::retry_after(delay)),
                        2 => lease.fail(Failure::terminal(&payload)),
                        3 => lease.fail(Failure::park(&payload)),
                        4 => lease.detach(delay).map(drop),
                        _ => lease.release(),
                    });
                }
                drop(ns.claim(key, ttl));
                drop(ns.claim_default(key));
                drop(ns.get(key));
                drop(poll_once(&mut ns.claim_async(&request)));
                drop(ns.claim_many(&[request.clone(), ClaimRequest::new(&payload)]));
                drop(ns.transact(&request, |tx| {
                    let mut table = tx.table(&name)?;
                    table.insert(key, &payload)?;
                    let _: usize = table.range(&key[..]..&payload[..]).count();
                    Ok(payload.clone())
                }));
            }
            if let Ok(table) = store.table(&name) {
                drop(table.get(key));
                drop(table.range(&key[..]..=&payload[..]).map(Iterator::count));
            }
            drop(store.forget(key));
            drop(LeaseToken::from_bytes(key).and_then(|token| store.resume(token)));
            let _: usize = store.scan(Filter::new().namespace(&name).prefix(key)).count();
        }
        bed.clock.advance(passing.min(1_000 * DAY));
        store.checkpoint().unwrap();
        store.prune().unwrap();
        let store = bed.reopen(store);
        done_with(store);
    }
}
