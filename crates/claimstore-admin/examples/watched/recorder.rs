//! A recorder for the `metrics` facade that writes the text format of Prometheus: as much of one as an example needs.
//! A service takes the one it has for its other metrics.

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata};
use metrics::{SharedString, Unit};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Seconds from 100 us to ten days; and what fits counts as well.
const BOUNDS: [f64; 14] =
    [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 0.1, 1.0, 10.0, 60.0, 3_600.0, 86_400.0, 864_000.0];

/// Everything recorded so far, by kind, name and labels. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder {
    all: Arc<Mutex<Metrics>>,
}

/// By name, then by labels as they are written.
type Metrics = BTreeMap<String, (&'static str, BTreeMap<String, Arc<One>>)>;

/// One metric with its labels.
#[derive(Debug, Default)]
struct One {
    value: Mutex<Value>,
}

#[derive(Debug, Default)]
struct Value {
    now: f64,
    sum: f64,
    counts: [u64; BOUNDS.len()],
    count: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    fn one(&self, key: &Key, kind: &'static str) -> Arc<One> {
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}=\"{}\"", label.key(), escaped(label.value()))).collect();
        let mut all = lock(&self.all);
        let (_, by_labels) = all.entry(key.name().to_owned()).or_insert_with(|| (kind, BTreeMap::new()));
        by_labels.entry(labels.join(",")).or_default().clone()
    }

    /// The text of a scrape.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for (name, (kind, by_labels)) in &*lock(&self.all) {
            let _ = writeln!(text, "# TYPE {name} {kind}");
            for (labels, one) in by_labels {
                let value = lock(&one.value);
                if *kind == "histogram" {
                    histogram(&mut text, name, labels, &value);
                } else {
                    let _ = writeln!(text, "{name}{{{labels}}} {}", value.now);
                }
            }
        }
        text
    }
}

fn histogram(text: &mut String, name: &str, labels: &str, value: &Value) {
    for (bound, count) in BOUNDS.iter().zip(value.counts) {
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", value.count);
    let _ = writeln!(text, "{name}_sum{{{labels}}} {}", value.sum);
    let _ = writeln!(text, "{name}_count{{{labels}}} {}", value.count);
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key, "counter"))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key, "gauge"))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key, "histogram"))
    }
}

impl CounterFn for One {
    #[expect(clippy::cast_precision_loss, reason = "the text has as many digits as a float")]
    fn increment(&self, by: u64) {
        lock(&self.value).now += by as f64;
    }

    #[expect(clippy::cast_precision_loss, reason = "the text has as many digits as a float")]
    fn absolute(&self, to: u64) {
        let mut value = lock(&self.value);
        value.now = value.now.max(to as f64);
    }
}

impl GaugeFn for One {
    fn increment(&self, by: f64) {
        lock(&self.value).now += by;
    }

    fn decrement(&self, by: f64) {
        lock(&self.value).now -= by;
    }

    fn set(&self, to: f64) {
        lock(&self.value).now = to;
    }
}

impl HistogramFn for One {
    fn record(&self, sample: f64) {
        let mut value = lock(&self.value);
        value.sum += sample;
        value.count += 1;
        let fits = BOUNDS.map(|bound| u64::from(sample <= bound));
        value.counts.iter_mut().zip(fits).for_each(|(count, fits)| *count += fits);
    }
}
