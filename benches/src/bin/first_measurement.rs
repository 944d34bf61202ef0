//! Durable claims of fresh keys a second, side by side: claimstore and what it is measured against.
//!
//! ```text
//! cargo run --release -p claimstore-bench --bin first_measurement -- \
//!     [--seconds 2] [--rounds 3] [--keys 1000000] [--dir DIR] [--json] [--skip claimstore]
//! ```
//!
//! Every round makes each store anew and loads it. In each scenario the stores then take turns, four slices
//! each, every time in another order. The table shows medians over all slices; a ratio is the median of the
//! ratios of slices that belong together.
#![forbid(unsafe_code)]

use claimstore_bench::Result;
use claimstore_bench::args::Args;
use claimstore_bench::bare::Bare;
use claimstore_bench::claims::Claims;
use claimstore_bench::drive::{self, Load, Subject};
use claimstore_bench::ideal::Ideal;
use claimstore_bench::redb_group::RedbGroup;
use claimstore_bench::scratch::Scratch;
use claimstore_bench::summary::{grouped, median};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Threads(Load),
    InFlight(u64),
}

const SCENARIOS: [(&str, Scenario); 5] = [
    ("1 thread", Scenario::Threads(Load { threads: 1, per_call: 1 })),
    ("16 threads", Scenario::Threads(Load { threads: 16, per_call: 1 })),
    ("256 threads", Scenario::Threads(Load { threads: 256, per_call: 1 })),
    ("16 threads x 64 a call", Scenario::Threads(Load { threads: 16, per_call: 64 })),
    ("4,096 in flight, 1 thread", Scenario::InFlight(4096)),
];

/// The stores take turns this often within one scenario of a round, so that a slow spell of the machine meets
/// them all.
const SLICES: u32 = 4;

const MAX_THREADS: usize = 256;

const COLUMNS: [&str; 4] = ["bare", "redb", "ideal", "claimstore"];

fn main() -> Result<()> {
    let args = Args::from_env(&["seconds", "rounds", "keys", "dir", "json", "skip"])?;
    let plan = Plan {
        duration: Duration::from_secs_f64(args.or("seconds", 2.0)?),
        rounds: args.or("rounds", 3)?,
        keys: args.or("keys", 1_000_000)?,
        skip: args.text("skip").unwrap_or_default().to_owned(),
    };
    let scratch = Scratch::new(args.text("dir"))?;
    let mut results = Results::default();
    for round in 0..plan.rounds {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        let dir = scratch.join(&format!("round-{round}"));
        fs::create_dir(&dir)?;
        plan.round(round, &dir, &mut results)?;
        fs::remove_dir_all(&dir)?;
    }
    if args.has("json") {
        results.print_json();
    } else {
        println!(
            "durable claims/s of fresh keys, {} keys loaded, {} rounds of {:?}, medians\n",
            plan.keys, plan.rounds, plan.duration
        );
        results.print_table();
    }
    Ok(())
}

struct Plan {
    duration: Duration,
    rounds: usize,
    keys: u64,
    skip: String,
}

/// One store and the number of its next fresh key.
struct Contender {
    subject: Box<dyn Subject>,
    next: AtomicU64,
}

impl Plan {
    fn round(&self, round: usize, dir: &Path, results: &mut Results) -> Result<()> {
        let mut bare = Bare::create(dir)?;
        let contenders = self.contenders(dir)?;
        // Calls in flight are no matter of threads, so claimstore is driven by itself there.
        let claims = self.claimstore(&dir.join("in-flight"))?;
        for (name, scenario) in SCENARIOS {
            match scenario {
                Scenario::Threads(load) => {
                    for slice in 0..SLICES {
                        if load.threads == 1 {
                            results.note(name, "bare", bare.measure(self.duration / SLICES)?);
                        }
                        for turn in 0..contenders.len() {
                            let place = (round + slice as usize + turn) % contenders.len();
                            let Some(contender) = contenders.get(place) else { continue };
                            let subject = contender.subject.as_ref();
                            let rate =
                                drive::measure(subject, load, self.duration / SLICES, &contender.next)?;
                            results.note(name, subject.name(), rate);
                        }
                    }
                }
                Scenario::InFlight(in_flight) => {
                    let Some(claims) = &claims else { continue };
                    let next = AtomicU64::new(self.keys);
                    let rate = claims.measure_in_flight(in_flight, self.duration, &next)?;
                    results.note(name, claims.name(), rate);
                }
            }
        }
        Ok(())
    }

    fn contenders(&self, dir: &Path) -> Result<Vec<Contender>> {
        let mut subjects: Vec<Box<dyn Subject>> = Vec::new();
        if self.wants("redb") {
            let redb = RedbGroup::create(dir)?;
            redb.load(self.keys)?;
            subjects.push(Box::new(redb));
        }
        if self.wants("ideal") {
            let ideal = Ideal::create(dir)?;
            ideal.load(self.keys);
            subjects.push(Box::new(ideal));
        }
        if let Some(claims) = self.claimstore(&dir.join("claimstore"))? {
            subjects.push(Box::new(claims));
        }
        let contender = |subject| Contender { subject, next: AtomicU64::new(self.keys) };
        Ok(subjects.into_iter().map(contender).collect())
    }

    fn claimstore(&self, dir: &Path) -> Result<Option<Claims>> {
        if !self.wants("claimstore") {
            return Ok(None);
        }
        let claims = Claims::create(dir, MAX_THREADS)?;
        claims.load(self.keys)?;
        Ok(Some(claims))
    }

    fn wants(&self, name: &str) -> bool {
        !self.skip.split(',').any(|skipped| skipped == name)
    }
}

/// Rates by scenario and store, one for each slice.
#[derive(Default)]
struct Results(Vec<Line>);

struct Line {
    scenario: &'static str,
    subject: &'static str,
    rates: Vec<f64>,
}

impl Results {
    fn note(&mut self, scenario: &'static str, subject: &'static str, rate: f64) {
        eprintln!("  {scenario}: {subject} {}", grouped(rate));
        let known = self.0.iter_mut().find(|line| line.scenario == scenario && line.subject == subject);
        match known {
            Some(line) => line.rates.push(rate),
            None => self.0.push(Line { scenario, subject, rates: vec![rate] }),
        }
    }

    fn rates(&self, scenario: &str, subject: &str) -> &[f64] {
        let line = self.0.iter().find(|line| line.scenario == scenario && line.subject == subject);
        line.map(|line| line.rates.as_slice()).unwrap_or_default()
    }

    /// The median over the slices of claimstore's rate divided by the other's. `NaN` where one is missing.
    fn ratio(&self, scenario: &str, subject: &str) -> f64 {
        let pairs = self.rates(scenario, "claimstore").iter().zip(self.rates(scenario, subject));
        median(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    }

    fn print_table(&self) {
        println!(
            "| {:<26} | {:>12} | {:>12} | {:>12} | {:>12} | {:>7} | {:>7} | {:>7} |",
            "", "bare loop", "redb, group", "ideal", "claimstore", "/ bare", "/ redb", "/ ideal"
        );
        println!("|{}|{}{}", "-".repeat(28), "-------------:|".repeat(4), "--------:|".repeat(3));
        for (scenario, _) in SCENARIOS {
            let rates =
                COLUMNS.map(|subject| format!("{:>12}", grouped(median(self.rates(scenario, subject)))));
            let ratios = ["bare", "redb", "ideal"].map(|subject| ratio_text(self.ratio(scenario, subject)));
            println!("| {scenario:<26} | {} | {} |", rates.join(" | "), ratios.join(" | "));
        }
    }

    fn print_json(&self) {
        for line in &self.0 {
            println!(
                r#"{{"scenario":"{}","subject":"{}","median":{:.1},"rates":{:?}}}"#,
                line.scenario,
                line.subject,
                median(&line.rates),
                line.rates
            );
        }
    }
}

fn ratio_text(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:>7.2}") } else { format!("{:>7}", "-") }
}
