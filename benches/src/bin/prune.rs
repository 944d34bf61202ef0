//! Pruning a million expired keys out of two million, and what claims notice of it.
//!
//! ```text
//! cargo run --release -p claimstore-bench --bin prune -- [--keys 1000000] [--rounds 3] [--dir DIR]
//! ```
//!
//! Half of the keys are remembered for an hour, the other half for a week; the store's clock is moved two hours ahead
//! by hand. Upkeep does not run by itself, so that nothing is pruned before it is measured. Latencies are those of 16
//! threads that claim fresh keys: first for a second without anything else, then exactly as long as the prune takes.
#![forbid(unsafe_code)]

use claimstore::{ClaimRequest, Options, Store, io::ManualClock};
use claimstore_bench::Result;
use claimstore_bench::args::Args;
use claimstore_bench::claims::{self, BATCH, Claims, TTL, Ttl, claimed, complete};
use claimstore_bench::drive::{self, Load, Measured, Pace, Workload};
use claimstore_bench::keys::{self, Keys};
use claimstore_bench::scratch::Scratch;
use claimstore_bench::stock::Stock;
use claimstore_bench::summary::{grouped, median, rate};
use claimstore_bench::time::Stopwatch;
use std::path::Path;
use std::time::{Duration, SystemTime};

const THREADS: usize = 16;

const SHORT: Duration = Duration::from_hours(1);

const WITHOUT: Duration = Duration::from_secs(1);

/// Fewest expired keys a second.
const KEYS_A_SECOND: f64 = 10_000_000.0;

/// Highest ratio of the latencies' 99.9th percentiles.
const P999_RATIO: f64 = 2.0;

const WORST_MS: f64 = 10.0;

fn main() -> Result<()> {
    let args = Args::from_env(&["keys", "rounds", "dir"])?;
    let keys = args.or("keys", 1_000_000)?;
    let scratch = Scratch::new(args.text("dir"))?;
    let mut rounds = Vec::new();
    for round in 0..args.or("rounds", 3)? {
        rounds.push(Round::run(keys, &scratch.join(&format!("round-{round}")))?);
    }
    let all = |figure: fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<_>>();
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    let (alone, beside) = (median(&all(|round| round.alone)), median(&all(|round| round.beside)));
    println!(
        "pruned keys/s, nothing beside it: {}, target {}: {}",
        grouped(alone),
        grouped(KEYS_A_SECOND),
        verdict(alone >= KEYS_A_SECOND)
    );
    println!("pruned keys/s beside {THREADS} threads that claim: {}", grouped(beside));
    let ratio = median(&all(|round| round.during.micros(99.9) / round.without.micros(99.9)));
    println!(
        "p99.9 of claims meanwhile / without: {ratio:.2}, target {P999_RATIO}: {}",
        verdict(ratio <= P999_RATIO)
    );
    let worst = median(&all(|round| round.during.micros(100.0) / 1000.0));
    println!("slowest claim meanwhile, ms: {worst:.2}, target {WORST_MS}: {}", verdict(worst <= WORST_MS));
    Ok(())
}

struct Round {
    /// Expired keys a second, of a store nobody else uses.
    alone: f64,
    /// The same while threads claim.
    beside: f64,
    without: Measured,
    during: Measured,
}

impl Round {
    fn run(keys: u64, dir: &Path) -> Result<Self> {
        let alone = {
            let store = loaded(keys, &dir.join("alone"))?;
            let watch = Stopwatch::start();
            prune(&store, keys)?;
            let seconds = watch.elapsed().as_secs_f64();
            store.close()?;
            rate(keys, seconds)
        };
        let store = loaded(keys, &dir.join("beside"))?;
        let claims = Claims::over(store, Keys::Natural, Ttl::Same, THREADS)?;
        let stock = Stock::new(Keys::Natural, 2 * keys);
        let load = Load {
            workload: Workload::Fresh,
            threads: THREADS,
            per_call: 1,
            pace: Pace::Sustained { most: u64::MAX },
        };
        let without = drive::measure(&claims, load, WITHOUT, &stock)?;
        let mut took = Duration::ZERO;
        let during = drive::measure_during(&claims, load, &stock, || {
            let watch = Stopwatch::start();
            prune(claims.store(), keys)?;
            took = watch.elapsed();
            Ok(())
        })?;
        let round = Self { alone, beside: rate(keys, took.as_secs_f64()), without, during };
        eprintln!(
            "alone {} keys/s, beside claims {} keys/s in {took:?}; p99.9 {:.0} -> {:.0} us, worst {:.0} -> {:.0} us, {} claims meanwhile",
            grouped(round.alone),
            grouped(round.beside),
            round.without.micros(99.9),
            round.during.micros(99.9),
            round.without.micros(100.0),
            round.during.micros(100.0),
            round.during.latencies.len()
        );
        Ok(round)
    }
}

/// A store with twice `keys` keys, half of which have ended.
fn loaded(keys: u64, dir: &Path) -> Result<Store> {
    std::fs::create_dir_all(dir)?;
    let clock = ManualClock::new(
        SystemTime::UNIX_EPOCH + Duration::from_millis(claimstore_bench::time::unix_millis()),
    );
    let store = claims::open(dir, Options::new().background(false).clock(clock.clone()))?;
    let mut first = 0;
    while first < 2 * keys {
        let end = (2 * keys).min(first + BATCH as u64);
        let request =
            |n: u64| ClaimRequest::new(keys::key(n)).ttl(if n.is_multiple_of(2) { SHORT } else { TTL });
        let answers = store.claim_many(&(first..end).map(request).collect::<Vec<_>>())?;
        complete(&store, answers.into_iter().map(|answer| claimed(answer?)).collect::<Result<_>>()?)?;
        first = end;
        if store.stats()?.live_bytes > CHECKPOINT_BYTES {
            store.checkpoint()?;
        }
    }
    store.checkpoint()?;
    while store.upkeep()? {}
    clock.advance(2 * SHORT);
    Ok(store)
}

/// As much as the store lets pile up by default before it checkpoints.
const CHECKPOINT_BYTES: u64 = 64 << 20;

fn prune(store: &Store, keys: u64) -> Result<()> {
    let pruned = store.prune()?;
    if pruned.records == keys {
        Ok(())
    } else {
        Err(format!("{} records pruned, not {keys}", pruned.records).into())
    }
}
