use super::{Backoff, OnOrphan, Policy, TimeOrdered};
use crate::codec::Cursor;
use claimstore_hash::KeySpec;
use std::time::Duration;

#[test]
fn policies_round_trip_and_cut_ones_are_refused() {
    for policy in [
        Policy::new(),
        Policy::migration(Duration::from_secs(3)).on_orphan(OnOrphan::Resolve).quota(7, 1 << 40),
        Policy::weekly().time_ordered_keys(TimeOrdered::Ulid).require_fingerprint(true).max_attempts(9),
        Policy::daily()
            .key_spec(KeySpec::netsuite())
            .orphan_backoff(Duration::from_secs(2), Duration::from_secs(9)),
        Policy::daily().key_spec(KeySpec::source_record()).quota(1, 2).require_fingerprint(true),
        Policy::new().orphan_backoff(Duration::from_secs(1), Duration::from_secs(8)).quota(1, 2),
        Policy::daily().metrics_name("order-sync").orphan_backoff(Duration::ZERO, Duration::from_secs(8)),
    ] {
        let mut bytes = Vec::new();
        policy.encode(&mut bytes);
        assert_eq!(Policy::decode(&mut Cursor::new(&bytes)), Ok(policy));
        for cut in 0..bytes.len() {
            assert!(Policy::decode(&mut Cursor::new(&bytes[..cut])).is_err());
        }
    }
}

#[test]
fn what_was_set_can_be_read() {
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
    let policy = Policy::new().ttl(hour).lease(second).skew(second * 2).orphan_backoff(second, hour);
    let policy = policy.quota(7, 9).require_fingerprint(true).key_spec(KeySpec::netsuite());
    assert_eq!((policy.remembers_for(), policy.trusts_for()), (hour, second));
    assert_eq!((policy.skew_allowed(), policy.time_order()), (second * 2, None));
    assert_eq!((policy.quota_limits(), policy.backoff_limits()), (Some((7, 9)), Some((second, hour))));
    assert!(policy.requires_fingerprint() && policy.key_rule() == Some(&KeySpec::netsuite()));
    assert_eq!(policy.no_quota().quota_limits(), None);
}

#[test]
fn a_metrics_name_is_short_and_plain() {
    for name in ["a", "order-sync", "v1.retry_queue", &"n".repeat(64)] {
        assert!(Policy::new().metrics_name(name).check().is_ok(), "{name}");
    }
    for name in ["", "a b", "a/b", "caf\u{e9}", "\"", &"n".repeat(65)] {
        assert!(Policy::new().metrics_name(name).check().is_err(), "{name}");
    }
}

#[test]
fn the_second_attempt_is_due_at_once_and_later_ones_wait_twice_as_long_each() {
    let policy = Policy::new().orphan_backoff(Duration::from_secs(1), Duration::from_secs(8));
    let mut drawn = std::collections::HashSet::new();
    for token in 0..1_000 {
        assert_eq!(policy.orphan_wait_ms(1, token), 0);
        for (attempt, full_ms) in [(2, 1_000), (3, 2_000), (4, 4_000), (5, 8_000), (6, 8_000), (99, 8_000)] {
            let wait_ms = policy.orphan_wait_ms(attempt, token);
            assert!((full_ms * 3 / 4..=full_ms).contains(&wait_ms), "attempt {attempt}: {wait_ms} ms");
            assert_eq!(wait_ms, policy.orphan_wait_ms(attempt, token));
        }
        drawn.insert(policy.orphan_wait_ms(5, token));
    }
    assert!(drawn.len() > 500, "only {} different waits", drawn.len());
    assert_eq!(Policy::new().orphan_wait_ms(9, 7), 0, "no back-off unless one is asked for");
}

/// The first five numbers of the reference implementation with the seed 0.
#[test]
fn what_is_taken_off_a_wait_is_drawn_by_splitmix64() {
    let first_ms = 1 << 34;
    let backoff = Backoff { first_ms, most_ms: first_ms };
    let mut token = 0_u64;
    for drawn in [
        0xe220_a839_7b1d_cdaf_u64,
        0x6e78_9e6a_a1b9_65f4,
        0x06c4_5d18_8009_454f,
        0xf88b_b8a8_724c_81ec,
        0x1b39_896a_51a8_749b,
    ] {
        assert_eq!(first_ms - backoff.after(2, token), drawn >> 32);
        token = token.wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
}

#[test]
fn named_policies_have_their_ttls() {
    let days = |policy: Policy| policy.ttl_ms / 86_400_000;
    assert_eq!(
        [Policy::realtime(), Policy::daily(), Policy::weekly(), Policy::monthly()].map(days),
        [1, 7, 10, 35]
    );
    assert_eq!(days(Policy::migration(Duration::from_secs(4 * 86_400))), 6);
}
