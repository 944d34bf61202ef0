//! Calls that concern a whole store: opening one, and pruning.
//!
//! ```text
//! cargo bench -p claimstore-bench --bench whole
//! ```
//!
//! Stores of a hundred thousand keys. Of ten million: `--bin scale`; pruning beside claims: `--bin prune`.

use claimstore::io::ManualClock;
use claimstore::{Options, Store};
use claimstore_bench::Result;
use claimstore_bench::claims::{TTL, fill};
use claimstore_bench::scratch::Scratch;
use claimstore_bench::time::{Stopwatch, unix_millis};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

const KEYS: u64 = 100_000;

/// What the journal has for an open after a crash: as many claims, and as many completions.
const IN_JOURNAL: u64 = 25_000;

/// Keys that one prune drops.
const PRUNED: u64 = 10_000;

criterion_group! {
    name = whole;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    targets = open, prune
}
criterion_main!(whole);

/// From the call to the store that answers; what the close before it costs is not measured.
fn open(criterion: &mut Criterion) {
    let scratch = or_end(Scratch::new(None));
    let (closed, crashed) = (scratch.join("closed"), scratch.join("crashed"));
    or_end(prepare(&closed, &crashed));
    criterion.bench_function("open/closed", |bencher| {
        bencher.iter_custom(|calls| (0..calls).map(|_| timed_open(&closed)).sum());
    });
    let mut group = criterion.benchmark_group("open");
    group.throughput(Throughput::Elements(2 * IN_JOURNAL));
    group.bench_function("after a crash, 50,000 operations", |bencher| {
        let copy = scratch.join("copy");
        bencher.iter_custom(|calls| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..calls {
                or_end(copied(&crashed, &copy));
                elapsed += timed_open(&copy);
                or_end(fs::remove_dir_all(&copy));
            }
            elapsed
        });
    });
    group.finish();
}

fn prune(criterion: &mut Criterion) {
    let scratch = or_end(Scratch::new(None));
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_millis(unix_millis()));
    let options = Options::new().background(false).clock(clock.clone());
    let store = or_end(options.open(scratch.join("store")));
    let mut next = 0;
    let mut group = criterion.benchmark_group("prune");
    group.throughput(Throughput::Elements(PRUNED));
    group.bench_function("10,000 keys", |bencher| {
        bencher.iter_custom(|calls| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..calls {
                or_end(fill(&store, next..next + PRUNED));
                next += PRUNED;
                or_end(store.checkpoint());
                clock.advance(2 * TTL);
                let watch = Stopwatch::start();
                let pruned = or_end(store.prune());
                elapsed += watch.elapsed();
                assert_eq!(pruned.records, PRUNED);
            }
            elapsed
        });
    });
    group.finish();
}

/// A store that was closed, and what the death of a process leaves of one.
fn prepare(closed: &Path, crashed: &Path) -> Result<()> {
    let store = fresh(closed)?;
    fill(&store, 0..KEYS)?;
    store.close()?;
    let store = fresh(closed)?;
    fill(&store, KEYS..KEYS + IN_JOURNAL)?;
    copied(closed, crashed)?;
    Ok(store.close()?)
}

fn fresh(path: &Path) -> Result<Store> {
    Ok(Options::new().background(false).open(path)?)
}

fn timed_open(path: &Path) -> Duration {
    let watch = Stopwatch::start();
    let store = or_end(fresh(path));
    let elapsed = watch.elapsed();
    or_end(store.close());
    elapsed
}

/// Copies a directory of files and of directories of files.
fn copied(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copied(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// A bench that cannot do its work has nothing to report.
fn or_end<T, E: Display>(outcome: std::result::Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("the bench ends: {error}"))
}
