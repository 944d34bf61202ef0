//! A million orphans after a crash: listed, and recovered; how fast, and in how much memory.
//!
//! ```text
//! cargo run --release -p claimstore-bench --bin orphans -- [--keys 1000000] [--asked 50000] [--parallel 64] [--dir DIR]
//! ```
//!
//! Each step runs in a process of its own: one claims and aborts with its store open, the next finds the orphans.
//! `retry`: all are given back in pages. `resolve`: of `--asked` orphans each is taken over and asked about, by a
//! resolver that answers at once, so that what is measured is the two commits of each.
#![forbid(unsafe_code)]

use claimstore::{Options, Store};
use claimstore_bench::Result;
use claimstore_bench::args::Args;
use claimstore_bench::claims::{BATCH, claim_range};
use claimstore_bench::scratch::Scratch;
use claimstore_bench::summary::grouped;
use claimstore_bench::time::Stopwatch;
use claimstore_recovery::{Orphan, OrphanPolicy, Recovery, Resolution};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Room for a million claims in progress with keys of 24 bytes.
const LIVE_BYTES: usize = 512 << 20;

fn main() -> Result<()> {
    let args = Args::from_env(&["keys", "asked", "parallel", "dir", "step", "store"])?;
    let plan = Plan {
        keys: args.or("keys", 1_000_000)?,
        asked: args.or("asked", 50_000)?,
        parallel: args.or("parallel", 64)?,
    };
    match (args.text("step"), args.text("store")) {
        (Some(step), Some(store)) => plan.run(step, Path::new(store)),
        _ => plan.measure(&Scratch::new(args.text("dir"))?),
    }
}

struct Plan {
    keys: u64,
    asked: u64,
    parallel: usize,
}

type Printed = BTreeMap<String, f64>;

impl Plan {
    fn measure(&self, scratch: &Scratch) -> Result<()> {
        let store = scratch.join("retried");
        self.spawn("crash", self.keys, &store)?;
        let retried = self.spawn("retry", self.keys, &store)?;
        let rate = |printed: &Printed, seconds| {
            Ok::<_, claimstore_bench::Error>(grouped(value(printed, "orphans")? / value(printed, seconds)?))
        };
        let mebibytes = |printed: &Printed, name| {
            Ok::<_, claimstore_bench::Error>(value(printed, name)? / f64::from(1 << 20))
        };
        println!("{} orphans after a crash", grouped(value(&retried, "orphans")?));
        println!(
            "opened in {:.2} s, {:.0} MiB resident",
            value(&retried, "open")?,
            mebibytes(&retried, "rss_opened")?
        );
        println!(
            "listed: {}/s; {:.1} MiB more",
            rate(&retried, "list")?,
            mebibytes(&retried, "rss_listed")? - mebibytes(&retried, "rss_opened")?
        );
        println!(
            "retried: {}/s; at most {:.1} MiB more",
            rate(&retried, "retry")?,
            mebibytes(&retried, "rss_most")? - mebibytes(&retried, "rss_opened")?
        );
        let store = scratch.join("resolved");
        self.spawn("crash", self.asked, &store)?;
        let resolved = self.spawn("resolve", self.asked, &store)?;
        println!("asked about, {} at once: {}/s", self.parallel, rate(&resolved, "resolve")?);
        Ok(())
    }

    fn spawn(&self, step: &str, keys: u64, store: &Path) -> Result<Printed> {
        eprintln!("{step}: {}", store.display());
        let output = Command::new(std::env::current_exe()?)
            .args([
                "--step",
                step,
                "--keys",
                &keys.to_string(),
                "--parallel",
                &self.parallel.to_string(),
                "--store",
            ])
            .arg(store)
            .stderr(std::process::Stdio::inherit())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        let printed: Printed =
            pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect();
        // A crash that came too early would measure something else.
        let as_meant = if step == "crash" { printed.contains_key("done") } else { output.status.success() };
        if as_meant { Ok(printed) } else { Err(format!("step {step}: {}", output.status).into()) }
    }

    fn run(&self, step: &str, path: &Path) -> Result<()> {
        let watch = Stopwatch::start();
        let store = Options::new().live_memory_bytes(LIVE_BYTES).open(path)?;
        println!("open {}", watch.elapsed().as_secs_f64());
        match step {
            "crash" => self.crash(&store),
            "retry" => self.retry(&store),
            "resolve" => self.resolve(&store),
            _ => Err(format!("no step {step}").into()),
        }
    }

    /// Claims everything, then dies with the store open.
    fn crash(&self, store: &Store) -> Result<()> {
        let mut leases = Vec::new();
        let mut first = 0;
        while first < self.keys {
            let next = self.keys.min(first + BATCH as u64);
            leases.push(claim_range(store, first..next)?);
            first = next;
        }
        println!("done 1");
        std::process::abort();
    }

    fn retry(&self, store: &Store) -> Result<()> {
        println!("rss_opened {}", memory("VmRSS:")?);
        let forgotten = forget_peak();
        let watch = Stopwatch::start();
        let orphans = store.unheld().try_fold(0u64, |count, record| record.map(|_| count + 1))?;
        println!("list {}", watch.elapsed().as_secs_f64());
        println!("orphans {orphans}");
        println!("rss_listed {}", memory("VmHWM:")?);
        let report = Recovery::new(store).policy(OrphanPolicy::retry()).run()?;
        println!("retry {}", report.duration.as_secs_f64());
        println!("rss_most {}", memory("VmHWM:")?);
        forgotten.map_err(|error| format!("the peak of memory includes that of opening: {error}"))?;
        same(report.counts.retried, self.keys)?;
        same(store.unheld().count() as u64, 0)
    }

    fn resolve(&self, store: &Store) -> Result<()> {
        let recovery = Recovery::new(store).policy(OrphanPolicy::resolve()).parallel(self.parallel);
        let report = recovery.resolver(|_: &Orphan| Resolution::Happened(vec![b'.'; 64])).run()?;
        println!("orphans {}", report.counts.completed);
        println!("resolve {}", report.duration.as_secs_f64());
        same(report.counts.completed, self.keys)
    }
}

fn same(found: u64, expected: u64) -> Result<()> {
    if found == expected { Ok(()) } else { Err(format!("{found} orphans, expected {expected}").into()) }
}

fn value(printed: &Printed, name: &str) -> Result<f64> {
    printed.get(name).copied().ok_or_else(|| format!("a step did not print {name}").into())
}

/// Peak memory counts from here on.
fn forget_peak() -> std::io::Result<()> {
    fs::write("/proc/self/clear_refs", "5")
}

/// Memory of this process in bytes: `VmRSS:` now, `VmHWM:` the most there was.
fn memory(what: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("not in /proc/self/status")?;
    Ok(kib.parse::<u64>()? * 1024)
}
