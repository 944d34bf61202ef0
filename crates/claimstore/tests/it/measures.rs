//! What is counted and measured, and what is told about it.

use crate::common::{
    Bed, DAY, HOUR, MINUTE, SECOND, abandon, claimed, done_with, duplicate, in_progress, on_both, request,
};
use claimstore::{
    Census, Claim, ClaimRequest, ErrorKind, Failure, Namespace, Note, OnOrphan, Outcomes, Policy, Review,
    Store, Transacted,
};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

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

/// What was counted in the only namespace that has this name.
fn outcomes_of(store: &Store, name: &str) -> Outcomes {
    let all = store.outcomes().unwrap();
    all.into_iter().find(|(known, _)| &**known == name).unwrap().1
}

#[test]
fn a_failure_and_a_key_that_is_parked_count_whoever_caused_them() {
    on_both(|bed| {
        let store = bed.open();
        let space =
            |name: &str, policy: Policy| store.namespace_with(name, policy.metrics_name(name)).unwrap();
        let failed = |space: &Namespace| {
            let counted = outcomes_of(&store, space.name());
            (counted.failed, counted.parked, counted.released)
        };
        let lost = |space: &Namespace, key: &str| drop(claimed(space.claim_default(key)));

        let holders = space("holders", Policy::daily());
        let fail = |key: &str, failure| claimed(holders.claim_default(key)).fail(failure).unwrap();
        fail("retry", Failure::retry());
        fail("final", Failure::terminal(""));
        fail("parked", Failure::park("why"));
        assert_eq!(failed(&holders), (3, 1, 0));
        // To give work back is no failure, at the second attempt as at the first.
        claimed(holders.claim_default("new")).release().unwrap();
        claimed(holders.claim_default("retry")).release().unwrap();
        assert_eq!(failed(&holders), (3, 1, 2));

        // Claims that find an orphan they may not go on with.
        let used_up = space("used-up", Policy::daily().max_losses(1));
        lost(&used_up, "k");
        for _ in 0..3 {
            assert_eq!(used_up.claim_default("k").unwrap_err().kind(), ErrorKind::Parked);
        }
        assert_eq!(failed(&used_up), (1, 1, 0), "a key is parked once");
        let ended = space("ended", Policy::daily().on_orphan(OnOrphan::Fail));
        lost(&ended, "one");
        lost(&ended, "two");
        let answers = ended.claim_many(&["one", "two", "one"].map(ClaimRequest::new)).unwrap();
        assert!(matches!(answers[..2], [Ok(Claim::Duplicate(_)), Ok(Claim::Duplicate(_))]), "{answers:?}");
        assert_eq!(failed(&ended), (2, 0, 0));
        let reserved = space("reserved", Policy::daily().on_orphan(OnOrphan::Park));
        lost(&reserved, "k");
        let refused = reserved.transact(&ClaimRequest::new("k"), |_| Ok(Vec::new())).unwrap_err();
        assert_eq!((refused.kind(), failed(&reserved)), (ErrorKind::Parked, (1, 1, 0)));

        // Recovery and reviewers.
        let recovered = space("recovered", Policy::daily().on_orphan(OnOrphan::Resolve));
        lost(&recovered, "k");
        let orphan = recovered.get("k").unwrap().unwrap();
        store.fail_orphans(&[(orphan, Failure::park("why"))]).unwrap().remove(0).unwrap();
        assert_eq!(failed(&recovered), (1, 1, 0));
        let note = Note::new("test", "because");
        let parked = || recovered.get("k").unwrap().unwrap();
        store.review(&parked(), &Review::Requeue, &note).unwrap();
        assert_eq!(failed(&recovered), (1, 1, 0), "requeued is not failed");
        claimed(recovered.claim_default("k")).fail(Failure::park("why")).unwrap();
        store.review(&parked(), &Review::Fail(Vec::new()), &note).unwrap();
        assert_eq!(failed(&recovered), (3, 2, 0));
        let stats = store.stats().unwrap();
        assert_eq!((stats.failed, stats.parked), (10, 5), "the sum of them");
        done_with(store);
    });
}

#[test]
fn a_call_that_waits_counts_once_by_what_it_was_told() {
    let bed = Bed::memory();
    let store = bed.open();
    let counted = || {
        let counted = outcomes_of(&store, "");
        (counted.in_progress, counted.duplicates, counted.answered())
    };
    let holder = claimed(store.claim("k", DAY));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| duplicate(store.claim_or_wait(&request("k"), HOUR)));
        crate::common::eventually(|| store.stats().unwrap().waiters == 1);
        // Each move of the clock makes it look again.
        (0..5).for_each(|_| bed.clock.advance(SECOND));
        holder.complete("").unwrap();
        waiting.join().unwrap();
    });
    assert_eq!(counted(), (0, 1, 2));

    let holder = claimed(store.claim("l", DAY));
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut waiting = pin!(store.claim_or_wait_async(&request("l"), 3 * SECOND));
        for _ in 0..3 {
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            bed.clock.advance(SECOND);
        }
        assert_eq!(counted(), (0, 1, 3), "nothing was told yet");
        let Poll::Ready(told) = waiting.as_mut().poll(&mut cx) else { panic!("the time is over") };
        in_progress(told);
    }
    assert_eq!(counted(), (1, 1, 4));
    in_progress(store.claim_or_wait(&request("l"), std::time::Duration::ZERO));
    assert_eq!(counted(), (2, 1, 5));
    assert!(store.get("l").unwrap().is_some());
    assert_eq!(store.scan(claimstore::Filter::new()).count(), 2);
    assert_eq!(counted(), (2, 1, 5), "look-ups do not count");
    holder.complete("").unwrap();
    done_with(store);
}

#[test]
fn the_rate_of_duplicates_is_that_of_the_last_minutes() {
    on_both(|bed| {
        let store = bed.open();
        let rate = || {
            let rate = store.duplicate_rate().unwrap();
            (rate.over, rate.answered, rate.duplicates)
        };
        let percent = || (100.0 * store.duplicate_rate().unwrap().share()).round() as u32;
        assert_eq!((rate(), percent()), ((std::time::Duration::ZERO, 0, 0), 0));
        claimed(store.claim("k", DAY)).complete("").unwrap();
        (0..3).for_each(|_| drop(duplicate(store.claim("k", DAY))));
        bed.clock.advance(MINUTE);
        assert_eq!(rate(), (MINUTE, 4, 3));
        assert_eq!(percent(), 75);
        bed.clock.advance(5 * MINUTE);
        claimed(store.claim("l", DAY)).complete("").unwrap();
        assert_eq!(rate(), (5 * MINUTE, 1, 0), "the minute before is not in the window");
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
    assert_eq!(clone.duplicate_rate().unwrap_err().kind(), ErrorKind::Closed);
}
