//! What is counted and measured, and what is told about it.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, SECOND, abandon, claimed, done_with, duplicate, in_progress, on_both, request,
};
use claimstore::{Census, ClaimRequest, ErrorKind, Failure, Outcomes, Policy, Store, Transacted};

#[test]
fn commits_are_measured_and_so_are_their_sizes() {
    on_both(|bed| {
        let store = bed.open();
        let before = store.stats().unwrap();
        let batch: Vec<_> = (0..10).map(|n| request(&format!("k{n}"))).collect();
        let leases = store.claim_many(&batch).unwrap();
        leases.into_iter().for_each(|lease| claimed(lease).complete("r").unwrap());
        let stats = store.stats().unwrap();
        assert!((1..=stats.commits).contains(&stats.commit_us.count), "{stats:?}");
        assert_eq!(stats.commit_ops.count - before.commit_ops.count, 11);
        assert_eq!(stats.commit_ops.max, 10);
        assert_eq!(stats.commit_ops.p50, 1);
        assert!(stats.checkpoint_lag_bytes > 0 && stats.journal_bytes > 0, "{stats:?}");
        assert!(stats.journal_bytes <= stats.journal_limit_bytes);
        assert_eq!((stats.queued_bytes, stats.unsynced_batches, stats.waiters), (0, 0, 0));
        store.checkpoint().unwrap();
        let stats = store.stats().unwrap();
        assert_eq!((stats.checkpoint_lag_bytes, stats.checkpoint_ms.count, stats.checkpointed), (0, 1, 10));
        assert!(stats.catalogue_bytes > 0);
        assert_eq!(stats.tables_bytes, 0);
        done_with(store);
    });
}

#[test]
fn files_of_the_system_are_measured_and_what_it_has_left() {
    let bed = Bed::disk();
    let store = bed.open();
    let rows = |tx: &claimstore::Transaction<'_>| {
        tx.table("t")?.insert(b"k", b"v")?;
        Ok(Vec::new())
    };
    assert!(matches!(store.transact(&request("k"), rows), Ok(Transacted::Done(_))));
    let stats = store.stats().unwrap();
    let on_disk = |name: &str| std::fs::metadata(bed.path().join(name)).unwrap().len();
    assert_eq!(stats.catalogue_bytes, on_disk("catalog.redb"));
    assert_eq!(stats.tables_bytes, on_disk("tables.redb"));
    assert!(stats.disk_free_bytes.is_some_and(|bytes| bytes > 0));
    done_with(store);
}

#[test]
fn duplicates_are_measured_by_their_age_and_against_their_ttl() {
    on_both(|bed| {
        let store = bed.open();
        for n in 0..40 {
            let key = ClaimRequest::new(format!("k{n}")).ttl(100 * MINUTE);
            claimed(store.claim_with(&key)).complete("").unwrap();
        }
        let again = |n: u32| duplicate(store.claim_with(&ClaimRequest::new(format!("k{n}")).ttl(DAY)));
        (0..20).for_each(|n| drop(again(n)));
        assert_eq!(store.stats().unwrap().duplicate_age_ms.max, 0);
        assert!(!store.stats().unwrap().ttl_is_short());
        bed.clock.advance(80 * MINUTE);
        (0..20).for_each(|n| drop(again(n)));
        let stats = store.stats().unwrap();
        assert_eq!((stats.duplicate_age_ms.count, stats.duplicate_age_ms.max), (40, 80 * 60_000));
        let percent = stats.duplicate_ttl_percent;
        assert_eq!((percent.p50, percent.p99, percent.max), (0, 80, 80));
        assert!(stats.ttl_is_short(), "half of them came in the last quarter");
        // Checkpointed keys are measured like live ones.
        store.checkpoint().unwrap();
        again(30);
        assert_eq!(store.stats().unwrap().duplicate_age_ms.count, 41);
        done_with(store);
    });
}

fn ask(store: &Store) -> Census {
    store.census().unwrap()
}

#[test]
fn a_census_tells_who_is_on_what() {
    on_both(|bed| {
        let store = bed.open();
        let held = claimed(store.claim_with(&request("held").lease(HOUR)));
        bed.clock.advance(2 * MINUTE);
        let fresh = claimed(store.claim_with(&request("fresh").lease(SECOND)));
        abandon(&store, "orphan");
        claimed(store.claim_with(&request("later"))).fail(Failure::retry_after(HOUR)).unwrap();
        claimed(store.claim_with(&request("parked"))).fail(Failure::park("why")).unwrap();
        claimed(store.claim_with(&request("done"))).complete("").unwrap();
        let census = ask(&store);
        assert_eq!(census.in_progress_ages, [1, 0, 0, 1, 0, 0]);
        assert_eq!((census.in_progress, census.oldest_in_progress_ms), (2, 120_000));
        assert_eq!((census.orphaned, census.lapsed, census.retry, census.parked), (1, 0, 1, 1));
        // Records without an end are found in the runs, and once only.
        store.checkpoint().unwrap();
        assert_eq!(ask(&store), census);
        bed.clock.advance(31 * SECOND);
        let census = ask(&store);
        assert_eq!((census.in_progress, census.lapsed, census.longest_lapsed_ms), (1, 1, 30_000));
        let parked = store.parked().next().unwrap().unwrap();
        let note = claimstore::Note::new("test", "done");
        store.review(&parked, &claimstore::Review::Forget, &note).unwrap();
        assert_eq!(ask(&store).parked, 0, "the newer version counts");
        store.checkpoint().unwrap();
        assert_eq!((ask(&store).parked, ask(&store).retry), (0, 1), "and the tombstone does");
        fresh.complete("").unwrap();
        held.complete("").unwrap();
        assert_eq!(ask(&store).in_progress, 0);
        done_with(store);
    });
}

#[test]
fn outcomes_are_counted_under_the_metrics_names_of_policies() {
    on_both(|bed| {
        let store = bed.open();
        let spaces = ["a", "b"]
            .map(|name| store.namespace_with(name, Policy::daily().metrics_name("orders")).unwrap());
        for space in &spaces {
            let lease = claimed(space.claim_default("k"));
            in_progress(space.claim_default("k"));
            lease.complete("").unwrap();
            duplicate(space.claim_default("k"));
        }
        claimed(store.claim("k", DAY)).release().unwrap();
        let outcomes = store.outcomes().unwrap();
        let names: Vec<_> = outcomes.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["", "orders"]);
        let mut orders = Outcomes::default();
        (orders.claimed, orders.in_progress, orders.completed, orders.duplicates) = (2, 2, 2, 2);
        assert_eq!(outcomes[1].1, orders);
        assert_eq!((outcomes[0].1.claimed, outcomes[0].1.released), (1, 1));
        assert_eq!(orders.answered(), 6);
        let stats = store.stats().unwrap();
        assert_eq!((stats.claimed, stats.duplicates), (3, 2), "the sum of them");
        // The name is stored with the policy, the counts begin anew.
        let store = bed.reopen(store);
        assert_eq!(store.namespace("a").unwrap().policy().counted_as(), Some("orders"));
        assert_eq!(store.outcomes().unwrap()[1].1, Outcomes::default());
        done_with(store);
    });
}

#[test]
fn buckets_are_told_by_their_end() {
    let bed = Bed::memory();
    let store = bed.open();
    for (key, ttl) in [("a", HOUR), ("b", HOUR), ("c", 100 * DAY)] {
        claimed(store.claim(key, ttl)).complete("").unwrap();
    }
    claimed(store.claim("d", DAY)).fail(Failure::park("")).unwrap();
    store.checkpoint().unwrap();
    let buckets = store.buckets().unwrap();
    assert_eq!(
        buckets.iter().map(|bucket| (bucket.runs, bucket.rows)).collect::<Vec<_>>(),
        [(1, 2), (1, 1), (1, 1)]
    );
    assert!(buckets[0].ends_at < buckets[1].ends_at && buckets[2].ends_at.is_none());
    assert!(buckets.iter().all(|bucket| bucket.bytes > 0));
    done_with(store);
}

#[test]
fn a_closed_store_counts_nothing() {
    let store = Store::in_memory().unwrap();
    let clone = store.clone();
    store.close().unwrap();
    assert_eq!(clone.census().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(clone.outcomes().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(clone.buckets().unwrap_err().kind(), ErrorKind::Closed);
}
