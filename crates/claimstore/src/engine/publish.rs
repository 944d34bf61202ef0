//! Publication of the store's numbers to the `metrics` facade, with the feature of that name.
//!
//! Claims only increment the store's own counters. Once a second the upkeep thread publishes the difference since the
//! last time. So a slow recorder never delays a claim. The only labels are those in this file: the name of the store,
//! the metrics name of a policy, an outcome.
#![expect(clippy::cast_precision_loss, reason = "the facade takes floats; counts stay below 2^53")]

use super::Engine;
use super::measures::{Histogram, highest_of};
use crate::sync::Arc;
use crate::view::{Census, Outcomes, Stats};
use metrics::{counter, gauge, histogram};

/// How often the upkeep thread publishes.
const EVERY_MS: u64 = 1_000;
/// How often it takes the census, which scans the live table.
const CENSUS_EVERY_MS: u64 = 10_000;

impl Engine {
    /// Publishes if a second went by.
    pub(crate) fn publish_when_due(self: &Arc<Self>) {
        let now_ms = self.time.boot_ms();
        let due = {
            let mut published = self.published.lock();
            let due = now_ms >= published.next_ms;
            if due {
                published.next_ms = now_ms + EVERY_MS;
            }
            due
        };
        if due {
            self.publish();
            self.publish_census();
        }
    }

    /// Publishes the difference since the last time. The close calls it too, so that nothing is lost.
    pub(crate) fn publish(&self) {
        let mut published = self.published.lock();
        let label = &self.metrics_label;
        let poisoned = if self.poison.is_set() { 1.0 } else { 0.0 };
        gauge!("claimstore_poisoned", "store" => label.clone()).set(poisoned);
        for (name, now) in self.outcomes() {
            let before = published.outcomes.insert(name.clone(), now).unwrap_or_default();
            publish_outcomes(label, &name, &before, &now);
        }
        let stats = self.stats();
        let before = std::mem::replace(&mut published.stats, stats);
        publish_counts(label, &before, &stats);
        publish_sizes(label, &stats);
        self.publish_histograms(label, &mut published.histograms);
    }

    /// Publishes the census when it is due.
    pub(crate) fn publish_census(self: &Arc<Self>) {
        let now_ms = self.time.boot_ms();
        let due = {
            let mut published = self.published.lock();
            let due = now_ms >= published.next_census_ms;
            if due {
                published.next_census_ms = now_ms + CENSUS_EVERY_MS;
            }
            due
        };
        // A store that is poisoned or closed has no census.
        if due && let Ok(census) = self.census() {
            publish_census(&self.metrics_label, &census);
        }
    }

    fn publish_histograms(&self, label: &Arc<str>, before: &mut [Vec<u64>; 4]) {
        let measures = &self.measures;
        let of: [(&str, &Histogram, f64); 4] = [
            ("claimstore_commit_seconds", &measures.commit_us, 1e-6),
            ("claimstore_commit_operations", &measures.commit_ops, 1.0),
            ("claimstore_duplicate_age_seconds", &measures.duplicate_age_ms, 1e-3),
            ("claimstore_checkpoint_seconds", &measures.checkpoint_ms, 1e-3),
        ];
        for ((name, histogram, unit), before) in of.into_iter().zip(before) {
            let now = histogram.counts();
            before.resize(now.len(), 0);
            for (bucket, (count, before)) in now.iter().zip(before.iter()).enumerate() {
                if count > before {
                    let value = highest_of(bucket) as f64 * unit;
                    let samples = usize::try_from(count - before).unwrap_or(usize::MAX);
                    histogram!(name, "store" => label.clone()).record_many(value, samples);
                }
            }
            *before = now;
        }
    }
}

/// The store's counters start from 0 at each open, a recorder's go on: so only differences are added.
fn add(name: &'static str, label: &Arc<str>, before: u64, now: u64) {
    counter!(name, "store" => label.clone()).increment(now.saturating_sub(before));
}

fn publish_outcomes(label: &Arc<str>, policy: &str, before: &Outcomes, now: &Outcomes) {
    let of = |name: &'static str, outcome: &'static str, before: u64, now: u64| {
        let policy = policy.to_owned();
        counter!(name, "store" => label.clone(), "policy" => policy, "outcome" => outcome)
            .increment(now.saturating_sub(before));
    };
    let claims = "claimstore_claims_total";
    of(claims, "claimed", before.claimed, now.claimed);
    of(claims, "duplicate", before.duplicates, now.duplicates);
    of(claims, "in_progress", before.in_progress, now.in_progress);
    of(claims, "mismatch", before.mismatches, now.mismatches);
    of(claims, "refused", before.refused, now.refused);
    let ends = "claimstore_settlements_total";
    of(ends, "completed", before.completed, now.completed);
    of(ends, "failed", before.failed, now.failed);
    of(ends, "released", before.released, now.released);
    let parked = policy.to_owned();
    counter!("claimstore_parked_total", "store" => label.clone(), "policy" => parked)
        .increment(now.parked.saturating_sub(before.parked));
    let again = now.taken_over.saturating_sub(before.taken_over);
    let policy = policy.to_owned();
    counter!("claimstore_claims_again_total", "store" => label.clone(), "policy" => policy).increment(again);
}

fn publish_counts(label: &Arc<str>, before: &Stats, now: &Stats) {
    add("claimstore_commits_total", label, before.commits, now.commits);
    add(
        "claimstore_journal_written_bytes_total",
        label,
        before.journal_bytes_written,
        now.journal_bytes_written,
    );
    add("claimstore_checkpoints_total", label, before.checkpoints, now.checkpoints);
    add("claimstore_checkpointed_rows_total", label, before.checkpointed, now.checkpointed);
    add("claimstore_merges_total", label, before.merges, now.merges);
    add("claimstore_merged_rows_total", label, before.merged_rows, now.merged_rows);
    add("claimstore_pruned_rows_total", label, before.pruned, now.pruned);
    add("claimstore_pruned_runs_total", label, before.pruned_runs, now.pruned_runs);
    add("claimstore_pruned_bytes_total", label, before.pruned_bytes, now.pruned_bytes);
    add("claimstore_upkeep_failures_total", label, before.upkeep_failures, now.upkeep_failures);
}

fn publish_sizes(label: &Arc<str>, now: &Stats) {
    let set = |name: &'static str, value: u64| gauge!(name, "store" => label.clone()).set(value as f64);
    set("claimstore_in_progress", now.in_progress);
    set("claimstore_waiters", now.waiters);
    set("claimstore_live_bytes", now.live_bytes);
    set("claimstore_index_bytes", now.index_bytes);
    set("claimstore_runs", now.runs);
    set("claimstore_run_rows", now.checkpointed_rows);
    set("claimstore_run_bytes", now.run_bytes);
    set("claimstore_catalogue_bytes", now.catalogue_bytes);
    set("claimstore_tables_bytes", now.tables_bytes);
    set("claimstore_journal_bytes", now.journal_bytes);
    set("claimstore_journal_limit_bytes", now.journal_limit_bytes);
    set("claimstore_checkpoint_lag_bytes", now.checkpoint_lag_bytes);
    set("claimstore_queued_bytes", now.queued_bytes);
    set("claimstore_unsynced_batches", now.unsynced_batches);
    set("claimstore_namespaces", now.namespaces);
    if let Some(bytes) = now.disk_free_bytes {
        set("claimstore_disk_free_bytes", bytes);
    }
    let edge = now.duplicate_ttl_percent.p99 as f64 / 100.0;
    gauge!("claimstore_duplicate_ttl_ratio_p99", "store" => label.clone()).set(edge);
}

fn publish_census(label: &Arc<str>, census: &Census) {
    let set = |name: &'static str, value: f64| gauge!(name, "store" => label.clone()).set(value);
    set("claimstore_oldest_in_progress_seconds", census.oldest_in_progress_ms as f64 / 1_000.0);
    set("claimstore_lapsed", census.lapsed as f64);
    set("claimstore_longest_lapsed_seconds", census.longest_lapsed_ms as f64 / 1_000.0);
    set("claimstore_orphans", census.orphaned as f64);
    set("claimstore_retry", census.retry as f64);
    set("claimstore_parked", census.parked as f64);
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "counts are whole")]
mod tests {
    use crate::{Claim, ClaimRequest, Options, Policy, Store};
    use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata};
    use metrics::{Recorder, SharedString, Unit, with_local_recorder};
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// Everything that was recorded, by name and labels: for counters the sum, for gauges the last value, for
    /// histograms how many.
    #[derive(Default, Clone)]
    struct Noted(Arc<Mutex<BTreeMap<String, f64>>>);

    struct One(Noted, String);

    impl One {
        fn change(&self, change: impl FnOnce(f64) -> f64) {
            let mut all = self.0.0.lock().unwrap();
            let value = all.entry(self.1.clone()).or_default();
            *value = change(*value);
        }
    }

    impl CounterFn for One {
        fn increment(&self, by: u64) {
            self.change(|value| value + by as f64);
        }
        fn absolute(&self, to: u64) {
            self.change(|_| to as f64);
        }
    }

    impl GaugeFn for One {
        fn increment(&self, by: f64) {
            self.change(|value| value + by);
        }
        fn decrement(&self, by: f64) {
            self.change(|value| value - by);
        }
        fn set(&self, to: f64) {
            self.change(|_| to);
        }
    }

    impl HistogramFn for One {
        fn record(&self, _value: f64) {
            self.change(|value| value + 1.0);
        }
    }

    impl Noted {
        fn one(&self, key: &Key) -> Arc<One> {
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(One(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
        }

        fn all(&self) -> BTreeMap<String, f64> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Recorder for Noted {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.one(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.one(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.one(key))
        }
    }

    fn worked() -> Store {
        let store = Options::new().background(false).metrics_label("test").in_memory().unwrap();
        let policy = Policy::daily().metrics_name("invoices");
        let tenant = store.namespace_with("canary-tenant", policy).unwrap();
        let request = ClaimRequest::new("canary-key").origin("canary-origin");
        let lease = tenant.claim_with(&request).unwrap().claimed().unwrap();
        assert!(matches!(tenant.claim_with(&request).unwrap(), Claim::InProgress(_)));
        lease.complete("canary-response").unwrap();
        for _ in 0..3 {
            assert!(matches!(tenant.claim_with(&request).unwrap(), Claim::Duplicate(_)));
        }
        let unnamed = store.claim("canary-2", Duration::from_secs(60)).unwrap().claimed().unwrap();
        unnamed.fail(crate::Failure::park("canary-note")).unwrap();
        store
    }

    #[test]
    fn what_came_since_the_last_time_is_published_under_the_names_of_policies() {
        let (noted, store) = (Noted::default(), worked());
        let claims = |policy: &str, outcome: &str| {
            format!("claimstore_claims_total{{store=test,policy={policy},outcome={outcome}}}")
        };
        with_local_recorder(&noted, || store.publish_metrics());
        let first = noted.all();
        assert_eq!(first[&claims("invoices", "claimed")], 1.0);
        assert_eq!(first[&claims("invoices", "in_progress")], 1.0);
        assert_eq!(first[&claims("invoices", "duplicate")], 3.0);
        assert_eq!(first[&claims("", "claimed")], 1.0);
        assert_eq!(first["claimstore_settlements_total{store=test,policy=invoices,outcome=completed}"], 1.0);
        assert_eq!(first["claimstore_duplicate_age_seconds{store=test}"], 3.0);
        assert_eq!(first["claimstore_parked{store=test}"], 1.0);
        assert_eq!(first["claimstore_poisoned{store=test}"], 0.0);
        let commits = first["claimstore_commits_total{store=test}"];
        assert!(commits >= 4.0 && first["claimstore_commit_operations{store=test}"] == commits);
        assert!(first["claimstore_commit_seconds{store=test}"] >= 1.0);

        with_local_recorder(&noted, || store.publish_metrics());
        assert_eq!(noted.all()[&claims("invoices", "duplicate")], 3.0, "counted once");
        let tenant = store.namespace("canary-tenant").unwrap();
        assert!(tenant.claim_default("canary-key").unwrap().claimed().is_none());
        with_local_recorder(&noted, || store.close().unwrap());
        assert_eq!(noted.all()[&claims("invoices", "duplicate")], 4.0, "the close hands on the rest");
    }

    /// Words that are names of metrics, as the store or a rule for Prometheus spells them.
    fn names_in(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words.filter(|word| word.starts_with("claimstore_") && *word != "claimstore_admin");
        names.map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned()).collect()
    }

    #[test]
    fn the_documents_name_what_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let store = Options::new().background(false).open(dir.path()).unwrap();
        let lease = store.claim("k", Duration::from_secs(60)).unwrap().claimed().unwrap();
        lease.complete("").unwrap();
        assert!(store.claim("k", Duration::from_secs(60)).unwrap().claimed().is_none());
        store.checkpoint().unwrap();
        let noted = Noted::default();
        with_local_recorder(&noted, || store.publish_metrics());
        store.close().unwrap();
        let published: BTreeSet<String> =
            noted.all().keys().filter_map(|key| key.split('{').next()).map(str::to_owned).collect();
        let described = names_in(include_str!("../../../../docs/signals.md"));
        let alerted = names_in(include_str!("../../../../docs/alerts.yml"));
        assert_eq!(described, published);
        assert!(alerted.len() > 8 && alerted.is_subset(&published), "{alerted:?}");
    }

    /// P18.
    #[test]
    fn no_label_and_no_name_gives_anything_away() {
        let (noted, store) = (Noted::default(), worked());
        with_local_recorder(&noted, || store.publish_metrics());
        let all = noted.all();
        assert!(all.len() > 40, "only {}", all.len());
        assert!(all.keys().all(|name| !name.contains("canary")), "{all:?}");
        store.close().unwrap();
    }
}
