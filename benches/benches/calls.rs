//! Single calls, one at a time on one thread.
//!
//! ```text
//! cargo bench -p claimstore-bench --bench calls
//! ```
//!
//! What a call leaves behind is put away outside the measured time, so that the store neither fills up nor
//! checkpoints in the middle.

use claimstore::{Claim, ClaimRequest, Lease, Options, Store};
use claimstore_bench::claims::{TTL, claim_range, claimed, complete, fill, requests};
use claimstore_bench::keys::{self, RESPONSE_LEN};
use claimstore_bench::scratch::Scratch;
use claimstore_bench::time::Stopwatch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::fmt::Display;
use std::hint::black_box;
use std::time::Duration;

/// Keys that the store holds before a measurement.
const LOADED: u64 = 100_000;

/// Leases collected before they are put away.
const CHUNK: u64 = 50_000;

/// Numbers of fresh keys start here.
const FRESH: u64 = 1 << 32;

criterion_group! {
    name = calls;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    targets = claim_fresh, claim_duplicate, settle, batch, transact, in_memory
}
criterion_main!(calls);

fn claim_fresh(criterion: &mut Criterion) {
    let bench = Bench::loaded();
    let mut next = FRESH;
    criterion.bench_function("claim/fresh", |bencher| {
        bencher.iter_custom(|calls| {
            in_chunks(calls, CHUNK, |count| {
                let mut leases = Vec::with_capacity(count as usize);
                let watch = Stopwatch::start();
                for number in next..next + count {
                    leases.push(fresh(&bench.store, number));
                }
                let elapsed = watch.elapsed();
                next += count;
                bench.put_away(leases);
                elapsed
            })
        });
    });
}

fn claim_duplicate(criterion: &mut Criterion) {
    let bench = Bench::loaded();
    or_end(fill(&bench.store, LOADED..2 * LOADED));
    let mut turn = 0_u64;
    for (name, first) in [("claim/duplicate, not checkpointed", LOADED), ("claim/duplicate, checkpointed", 0)]
    {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                turn += 1;
                let number = first + keys::hash(&turn.to_le_bytes()) % LOADED;
                let answer = or_end(bench.store.claim(keys::key(number), TTL));
                assert!(matches!(answer, Claim::Duplicate(_)), "a completed key is a duplicate");
                answer
            });
        });
    }
}

fn settle(criterion: &mut Criterion) {
    let bench = Bench::loaded();
    let mut next = FRESH;
    criterion.bench_function("complete", |bencher| {
        bencher.iter_custom(|calls| {
            in_chunks(calls, CHUNK, |count| {
                let leases = many_leases(&bench.store, next, count);
                next += count;
                let watch = Stopwatch::start();
                for lease in leases {
                    or_end(lease.complete([b'.'; RESPONSE_LEN]));
                }
                let elapsed = watch.elapsed();
                bench.put_away(Vec::new());
                elapsed
            })
        });
    });
}

fn batch(criterion: &mut Criterion) {
    const ITEMS: u64 = 64;
    let bench = Bench::loaded();
    let mut next = FRESH;
    let mut group = criterion.benchmark_group("claim_many");
    group.throughput(Throughput::Elements(ITEMS));
    group.bench_function("64 fresh", |bencher| {
        bencher.iter_custom(|calls| {
            in_chunks(calls, CHUNK / ITEMS, |count| {
                let (mut elapsed, mut leases) = (Duration::ZERO, Vec::new());
                for _ in 0..count {
                    let requests = requests(next..next + ITEMS);
                    next += ITEMS;
                    let watch = Stopwatch::start();
                    let answers = or_end(bench.store.claim_many(&requests));
                    elapsed += watch.elapsed();
                    leases.extend(answers.into_iter().map(|answer| or_end(claimed(or_end(answer)))));
                }
                bench.put_away(leases);
                elapsed
            })
        });
    });
    group.finish();
}

fn transact(criterion: &mut Criterion) {
    let bench = Bench::loaded();
    let mut next = FRESH;
    criterion.bench_function("transact", |bencher| {
        bencher.iter(|| {
            next += 1;
            let key = keys::key(next);
            let request = ClaimRequest::new(key).ttl(TTL);
            black_box(or_end(bench.store.transact(&request, |tx| {
                tx.table("invoices")?.insert(key.as_bytes(), keys::response(key.as_bytes()).as_slice())?;
                Ok(keys::response(key.as_bytes()).to_vec())
            })))
        });
    });
}

fn in_memory(criterion: &mut Criterion) {
    let store = or_end(Store::in_memory());
    let mut next = FRESH;
    criterion.bench_function("in memory, claim/fresh", |bencher| {
        bencher.iter_custom(|calls| {
            in_chunks(calls, CHUNK, |count| {
                let mut leases = Vec::with_capacity(count as usize);
                let watch = Stopwatch::start();
                for number in next..next + count {
                    leases.push(fresh(&store, number));
                }
                let elapsed = watch.elapsed();
                next += count;
                // Released, not completed: nothing may pile up in memory.
                for lease in leases {
                    or_end(lease.release());
                }
                elapsed
            })
        });
    });
}

/// A store on disk with loaded keys, all of them checkpointed; it does nothing by itself.
struct Bench {
    store: Store,
    _scratch: Scratch,
}

impl Bench {
    fn loaded() -> Self {
        let scratch = or_end(Scratch::new(None));
        let store = or_end(Options::new().background(false).open(scratch.join("store")));
        or_end(fill(&store, 0..LOADED));
        or_end(store.checkpoint());
        Self { store, _scratch: scratch }
    }

    /// Completes claims and empties the live table.
    fn put_away(&self, leases: Vec<Lease>) {
        or_end(complete(&self.store, leases));
        or_end(self.store.checkpoint());
    }
}

/// Splits a number of calls so that no chunk leaves too much behind; the sum of their times.
fn in_chunks(calls: u64, limit: u64, mut chunk: impl FnMut(u64) -> Duration) -> Duration {
    let mut elapsed = Duration::ZERO;
    let mut left = calls;
    while left > 0 {
        let count = left.min(limit);
        elapsed += chunk(count);
        left -= count;
    }
    elapsed
}

fn fresh(store: &Store, number: u64) -> Lease {
    or_end(claimed(or_end(store.claim(keys::key(number), TTL))))
}

fn many_leases(store: &Store, first: u64, count: u64) -> Vec<Lease> {
    let mut leases = Vec::new();
    for start in (first..first + count).step_by(4096) {
        leases.extend(or_end(claim_range(store, start..(first + count).min(start + 4096))));
    }
    leases
}

/// A bench that cannot do its work has nothing to report.
fn or_end<T, E: Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("the bench ends: {error}"))
}
