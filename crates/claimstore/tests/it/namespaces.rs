//! Namespaces: key spaces and policies of their own; time-ordered keys; upkeep of the whole store.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, START_S, claimed, done_with, duplicate, in_progress, on_both, refused, request,
};
use crate::contract::uuid;
use claimstore::{Claim, ErrorKind, Filter, Namespace, OnOrphan, Policy, Store, TimeOrdered};

const NOW_MS: u64 = START_S * 1_000;

#[test]
fn p17_keys_of_two_namespaces_never_meet() {
    on_both(|bed| {
        let store = bed.open();
        let names = ["a", "ab", "a\0", "", "\u{0}\u{0}\u{0}\u{1}", "b"];
        let keys: [&[u8]; 5] = [b"k", b"bk", b"\0k", b"\0\0\0\x01k", b"a"];
        let all: Vec<(Namespace, &[u8])> = names
            .iter()
            .flat_map(|name| keys.iter().map(|key| (store.namespace(name).unwrap(), *key)))
            .collect();
        for (n, (ns, key)) in all.iter().enumerate() {
            let lease = claimed(ns.claim(key, DAY));
            assert_eq!(lease.attempt(), 1, "{n}");
            lease.complete(n.to_string()).unwrap();
        }
        for _ in 0..2 {
            for (n, (ns, key)) in all.iter().enumerate() {
                assert_eq!(duplicate(ns.claim(key, DAY)).response(), n.to_string().as_bytes());
            }
            store.checkpoint().unwrap();
        }
        done_with(store);
    });
}

#[test]
fn the_default_namespace_is_the_store_s_own() {
    let store = Bed::memory().open();
    claimed(store.claim("k", DAY)).complete("r").unwrap();
    let default = store.namespace("").unwrap();
    assert_eq!(default.name(), "");
    assert_eq!(duplicate(default.claim_default("k")).response(), b"r");
    done_with(store);
}

#[test]
fn a_policy_is_stored_and_may_be_changed_for_later_claims() {
    on_both(|bed| {
        let store = bed.open();
        let first = Policy::daily().lease(HOUR).max_attempts(1).on_orphan(OnOrphan::Retry);
        let ns = store.namespace_with("n", first.clone()).unwrap();
        claimed(ns.claim_default("done")).complete("r").unwrap();
        let store = bed.reopen(store);
        let ns = store.namespace("n").unwrap();
        assert_eq!((ns.name(), ns.policy()), ("n", first.clone()));
        let _held = claimed(ns.claim_default("held"));
        assert_eq!(in_progress(ns.claim_default("held")).retry_after(), HOUR);

        let second =
            Policy::realtime().lease(MINUTE).max_attempts(2).on_orphan(OnOrphan::Fail).quota(9, 1 << 20);
        store.namespace_with("n", second.clone()).unwrap();
        assert_eq!(ns.policy(), second, "also for handles that were there before");
        claimed(ns.claim_default("later")).complete("r").unwrap();
        bed.clock.advance(DAY);
        assert!(ns.get("later").unwrap().is_none());
        duplicate(ns.claim_default("done"));
        assert!(duplicate(ns.claim_default("held")).is_failure(), "today's rule for yesterday's orphan");
        let store = bed.reopen(store);
        assert_eq!(store.namespace("n").unwrap().policy(), second);
        let ordered = Policy::new().time_ordered_keys(TimeOrdered::Ulid);
        assert_eq!(refused(store.namespace_with("n", ordered)), ErrorKind::Misuse);
        done_with(store);
    });
}

#[test]
fn a_quota_binds_its_own_namespace_only() {
    on_both(|bed| {
        let store = bed.open();
        let small = store.namespace_with("small", Policy::new().quota(3, 1 << 20)).unwrap();
        let bytes = store.namespace_with("bytes", Policy::new().quota(1_000, 3_000)).unwrap();
        let free = store.namespace("free").unwrap();
        for n in 0..3 {
            claimed(small.claim_default(n.to_string())).complete("r").unwrap();
        }
        claimed(bytes.claim_default("large")).complete(vec![1; 2_990]).unwrap();
        for checkpointed in [false, true] {
            if checkpointed {
                store.checkpoint().unwrap();
            }
            assert_eq!(refused(small.claim_default("one more")), ErrorKind::Full);
            assert_eq!(refused(bytes.claim_default("one more")), ErrorKind::Full);
            duplicate(small.claim_default("0"));
            claimed(free.claim_default(checkpointed.to_string())).complete("r").unwrap();
            claimed(store.claim(checkpointed.to_string(), DAY)).complete("r").unwrap();
        }
        let store = bed.reopen(store);
        let small = store.namespace("small").unwrap();
        assert_eq!(refused(small.claim_default("one more")), ErrorKind::Full, "counted again at open");
        bed.clock.advance(3 * DAY);
        store.prune().unwrap();
        claimed(small.claim_default("one more")).complete("r").unwrap();
        done_with(store);
    });
}

// ---- time-ordered keys -----------------------------------------------------------------------------------

fn ordered(store: &Store, policy: Policy) -> Namespace {
    store.namespace_with("t", policy.time_ordered_keys(TimeOrdered::UuidV7)).unwrap()
}

#[test]
fn all_spellings_of_a_uuid_are_one_key() {
    on_both(|bed| {
        let store = bed.open();
        let ns = ordered(&store, Policy::new());
        let text = uuid(NOW_MS);
        let plain = text.replace('-', "");
        let bytes: Vec<u8> =
            (0..16).map(|at| u8::from_str_radix(&plain[2 * at..2 * at + 2], 16).unwrap()).collect();
        let lease = claimed(ns.claim_default(&text));
        assert_eq!(lease.key(), text.as_bytes(), "as it was given");
        lease.complete("r").unwrap();
        let spellings = [
            text.clone().into_bytes(),
            text.to_uppercase().into_bytes(),
            plain.clone().into_bytes(),
            bytes.clone(),
        ];
        for spelling in &spellings {
            assert_eq!(duplicate(ns.claim_default(spelling)).response(), b"r");
            assert_eq!(ns.get(spelling).unwrap().unwrap().key(), bytes);
        }
        let again = ns.claim_many(&spellings.map(claimstore::ClaimRequest::new)).unwrap();
        assert!(again.into_iter().all(|answer| matches!(answer, Ok(Claim::Duplicate(_)))));
        assert!(ns.forget(&plain).unwrap());
        done_with(store);
    });
}

#[test]
fn wrong_identifiers_are_invalid_keys() {
    let store = Bed::memory().open();
    let ns = ordered(&store, Policy::new());
    let v4 = uuid(NOW_MS).replace("-7abc-", "-4abc-");
    for key in ["", "x", &v4, &uuid(NOW_MS)[..35], &format!("{{{}}}", uuid(NOW_MS))] {
        assert_eq!(refused(ns.claim_default(key)), ErrorKind::InvalidKey, "{key}");
    }
    done_with(store);
}

#[test]
fn ulids_are_ordered_too() {
    let store = Bed::memory().open();
    let policy = Policy::new().time_ordered_keys(TimeOrdered::Ulid);
    let ns = store.namespace_with("u", policy).unwrap();
    let mut bytes = [7u8; 16];
    bytes[..6].copy_from_slice(&NOW_MS.to_be_bytes()[2..]);
    claimed(ns.claim_default(bytes)).complete("r").unwrap();
    bytes[..6].copy_from_slice(&(NOW_MS - 86_400_001).to_be_bytes()[2..]);
    assert_eq!(refused(ns.claim_default(bytes)), ErrorKind::TooOld);
    done_with(store);
}

/// P12: pruned, reopened, forgotten by every run: it stays too old.
#[test]
fn p12_a_time_ordered_key_never_comes_back() {
    on_both(|bed| {
        let store = bed.open();
        let ns = ordered(&store, Policy::new());
        let key = uuid(NOW_MS);
        claimed(ns.claim_default(&key)).complete("r").unwrap();
        store.checkpoint().unwrap();
        bed.clock.advance(DAY);
        assert_eq!(refused(ns.claim_default(&key)), ErrorKind::TooOld, "expired, not pruned yet");
        bed.clock.advance(3 * DAY);
        assert!(store.prune().unwrap().records > 0);
        assert_eq!(refused(ns.claim_default(&key)), ErrorKind::TooOld);
        // With a ttl of 35 days the key's time lies within the window again; its record is gone.
        let ns = ordered(&store, Policy::monthly());
        assert_eq!(refused(ns.claim_default(&key)), ErrorKind::TooOld, "by the watermark");
        let store = bed.reopen(store);
        let ns = store.namespace("t").unwrap();
        assert_eq!(refused(ns.claim_default(&key)), ErrorKind::TooOld);
        claimed(ns.claim_default(uuid(NOW_MS + 4 * 86_400_000))).complete("r").unwrap();
        done_with(store);
    });
}

#[test]
fn p12_expired_time_ordered_keys_stay_refused_without_a_prune_too() {
    on_both(|bed| {
        let store = bed.open();
        let ns = ordered(&store, Policy::new());
        let key = uuid(NOW_MS);
        claimed(ns.claim_default(&key)).complete("r").unwrap();
        bed.clock.advance(DAY);
        let ns_later = ordered(&store, Policy::weekly());
        assert_eq!(refused(ns_later.claim_default(&key)), ErrorKind::TooOld, "in the live table");
        let store = bed.reopen(store);
        let ns = store.namespace("t").unwrap();
        assert_eq!(refused(ns.claim_default(&key)), ErrorKind::TooOld, "in a run or pruned");
        done_with(store);
    });
}

// ---- upkeep ----------------------------------------------------------------------------------------------

#[test]
fn p12_prune_removes_nothing_that_has_not_ended() {
    on_both(|bed| {
        let store = bed.open();
        for (n, ttl) in [HOUR, DAY, 7 * DAY, 35 * DAY].into_iter().enumerate() {
            for k in 0..20 {
                claimed(store.claim(format!("{n}/{k}"), ttl)).complete("r").unwrap();
            }
        }
        store.checkpoint().unwrap();
        for days in 1..=40 {
            bed.clock.advance(DAY);
            store.prune().unwrap();
            let left = store.scan(Filter::new()).count();
            let expected =
                20 * [days * 24 < 1, days < 1, days < 7, days < 35].map(usize::from).iter().sum::<usize>();
            assert_eq!(left, expected, "after {days} days");
        }
        assert_eq!(store.stats().unwrap().runs, 0, "everything went in the end");
        assert_eq!(claimed(store.claim("3/0", DAY)).attempt(), 1);
        done_with(store);
    });
}

/// Merged away while they are read: their files are given back once the reader is done, not before.
#[cfg(target_os = "linux")]
#[test]
fn a_scan_reads_on_in_runs_that_are_merged_away() {
    let bed = Bed::disk();
    let store = bed.open();
    for round in 0..4 {
        for n in 0..2_000 {
            claimed(store.claim(format!("{n}/{round}"), DAY)).complete(vec![round; 200]).unwrap();
        }
        store.checkpoint().unwrap();
    }
    assert_eq!(store.stats().unwrap().runs, 4);
    let mut scan = store.scan(Filter::new());
    let first = scan.next().unwrap().unwrap();
    while store.upkeep().unwrap() {}
    assert_eq!(store.stats().unwrap().runs, 1);
    assert_eq!(nameless_files(bed.path()), 4, "the runs that the scan reads");
    let others: Vec<_> = scan.by_ref().map(|record| record.unwrap()).collect();
    assert_eq!(1 + others.len(), 8_000);
    assert!(others.iter().all(|record| record.key() != first.key()));
    drop(scan);
    while store.upkeep().unwrap() {}
    assert_eq!(nameless_files(bed.path()), 0);
    assert_eq!(duplicate(store.claim("7/2", DAY)).response(), [2; 200]);
    done_with(store);
}

/// Files below `dir` that are open and have no name any more.
#[cfg(target_os = "linux")]
fn nameless_files(dir: &std::path::Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    names.filter(|name| name.starts_with(dir) && name.to_string_lossy().ends_with(" (deleted)")).count()
}

#[test]
fn compact_while_claims_go_on() {
    on_both(|bed| {
        let store = bed.open();
        for round in 0..12 {
            for n in 0..50 {
                claimed(store.claim(format!("{round}/{n}"), DAY)).complete("r").unwrap();
            }
            store.checkpoint().unwrap();
        }
        let before = store.stats().unwrap().runs;
        std::thread::scope(|scope| {
            let claims = scope.spawn(|| {
                for n in 0..300 {
                    claimed(store.claim(format!("meanwhile/{n}"), DAY)).complete("r").unwrap();
                    duplicate(store.claim(format!("3/{}", n % 50), DAY));
                }
            });
            for _ in 0..5 {
                store.compact().unwrap();
            }
            claims.join().unwrap();
        });
        // The stretch that gets no more records is merged down; the present one may keep a few runs.
        bed.clock.advance(3 * HOUR);
        store.compact().unwrap();
        assert!(store.stats().unwrap().runs < before);
        assert_eq!(store.scan(Filter::new()).count(), 900);
        done_with(store);
    });
}

#[test]
fn a_backup_opens_and_its_tokens_are_higher() {
    let bed = Bed::disk();
    let store = bed.open();
    let ns = store.namespace_with("n", Policy::weekly()).unwrap();
    claimed(ns.claim_default("done")).complete("r").unwrap();
    claimed(store.claim("held", DAY)).into_token().to_bytes();
    let post = store.transact(&request("t"), |tx| {
        tx.table("ledger")?.insert("k", "v")?;
        Ok(b"posted".to_vec())
    });
    drop(post.unwrap());
    let copies = tempfile::tempdir().unwrap();
    let place = copies.path().join("copy");
    store.backup(&place).unwrap();
    assert_eq!(refused(store.backup(&place)), ErrorKind::Misuse, "not over another");
    assert_eq!(refused(store.backup(bed.path())), ErrorKind::Misuse, "nor over itself");
    claimed(store.claim("later", DAY)).complete("r").unwrap();
    let newest = claimed(store.claim("newest", DAY)).token();

    let copy = bed.options().open(&place).unwrap();
    assert_eq!(duplicate(copy.namespace("n").unwrap().claim_default("done")).response(), b"r");
    assert_eq!(duplicate(copy.claim("t", DAY)).response(), b"posted");
    assert_eq!(copy.table("ledger").unwrap().get("k").unwrap().unwrap(), b"v");
    assert!(copy.get("later").unwrap().is_none());
    let lease = claimed(copy.claim("held", DAY));
    assert_eq!(lease.attempt(), 2, "an orphan in the copy");
    assert!(lease.token() > newest);
    done_with(copy);
    done_with(store);
}

#[test]
fn after_restore_raises_tokens_above_everything_since_the_snapshot() {
    on_both(|bed| {
        let store = bed.open();
        let before = claimed(store.claim("k", DAY)).token();
        store.after_restore().unwrap();
        assert!(claimed(store.claim("k2", DAY)).token() > before);
        let store = bed.reopen(store);
        let life = |token: u64| token >> 40;
        let after = claimed(store.claim("k3", DAY)).token();
        assert!(life(after) > life(before) + 1_024);
        done_with(store);
    });
}
