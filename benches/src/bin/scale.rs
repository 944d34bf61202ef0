//! What ten million keys cost: memory and disk per key, a clean open, an open after a crash.
//!
//! ```text
//! cargo run --release -p claimstore-bench --bin scale -- [--keys 10000000] [--operations 1000000] [--dir DIR]
//! ```
//!
//! Each step runs in a process of its own, so that memory is the step's own and the crash is a real one: that
//! process aborts with its store open. The operating system's page cache stays warm between the steps.
#![forbid(unsafe_code)]

use claimstore::{Options, Store};
use claimstore_bench::Result;
use claimstore_bench::args::Args;
use claimstore_bench::claims::{self, Claims, TTL, Ttl, claimed, complete, fill};
use claimstore_bench::drive::{self, Load, Pace, Workload};
use claimstore_bench::keys::{self, KEY_LEN, Keys, RESPONSE_LEN};
use claimstore_bench::scratch::Scratch;
use claimstore_bench::stock::Stock;
use claimstore_bench::summary::grouped;
use claimstore_bench::time::Stopwatch;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Most resident bytes per key beyond those of an empty store.
const BYTES_PER_KEY: f64 = 2.0;

/// Longest time from a clean open to the first answered claim.
const CLEAN_OPEN_MS: f64 = 100.0;

/// Longest time from an open after a crash, a million operations behind, to the first answered claim.
const CRASH_OPEN_MS: f64 = 1_000.0;

/// Most bytes of runs per key, as a share of key, response and sixteen bytes.
const DISK_SHARE: f64 = 1.2;

/// What the journal is read with, for comparison.
const READ_BYTES: usize = 1 << 20;

/// How long the store is driven after the open behind a crash.
const DRIVEN: Duration = Duration::from_secs(5);

/// Look-ups after which a store counts as in use.
const LOOK_UPS: u64 = 10_000;

fn main() -> Result<()> {
    let args = Args::from_env(&["keys", "operations", "dir", "step", "store"])?;
    let steps = Steps { keys: args.or("keys", 10_000_000)?, operations: args.or("operations", 1_000_000)? };
    match (args.text("step"), args.text("store")) {
        (Some(step), Some(store)) => steps.run(step, Path::new(store)),
        _ => steps.measure(&Scratch::new(args.text("dir"))?),
    }
}

struct Steps {
    keys: u64,
    operations: u64,
}

/// What a step printed: names and values.
type Printed = BTreeMap<String, f64>;

impl Steps {
    #[expect(clippy::cast_precision_loss, reason = "a number of keys stays far below 2^53")]
    fn measure(&self, scratch: &Scratch) -> Result<()> {
        let (empty, full) = (scratch.join("empty"), scratch.join("full"));
        let without = self.spawn("open", &empty)?;
        let loaded = self.spawn("load", &full)?;
        println!("{} keys loaded in {:.1} s", self.keys, value(&loaded, "seconds")?);

        let per_key = |with: &Printed, without: &Printed, name| {
            Ok::<f64, claimstore_bench::Error>(
                (value(with, name)? - value(without, name)?) / self.keys as f64,
            )
        };
        let (idle, idle_without) = (self.spawn("idle", &full)?, self.spawn("idle", &empty)?);
        verdict(
            "resident bytes per key, opened",
            per_key(&idle, &idle_without, "rss_opened")?,
            BYTES_PER_KEY,
        );
        let with = self.spawn("open", &full)?;
        let busy = per_key(&with, &without, "rss_opened")?;
        println!("the same beside upkeep, whose merges have buffers: {busy:.2}");
        println!(
            "resident bytes per key after {LOOK_UPS} look-ups: {:.2}",
            per_key(&with, &without, "rss_used")?
        );
        verdict("clean open to first claim, ms", value(&with, "open_ms")?, CLEAN_OPEN_MS);

        let logical = (KEY_LEN + RESPONSE_LEN + 16) as f64;
        let share =
            |name| Ok::<f64, claimstore_bench::Error>(value(&loaded, name)? / self.keys as f64 / logical);
        verdict("bytes of the runs / (key + response + 16)", share("run_bytes")?, DISK_SHARE);
        println!("the same of all files: {:.2}", share("file_bytes")?);

        self.spawn("crash", &full)?;
        println!("reading the journal's bytes, ms: {:.0}", value(&self.spawn("read", &full)?, "read_ms")?);
        let crashed = self.spawn("drive", &full)?;
        verdict("open after a crash to first claim, ms", value(&crashed, "open_ms")?, CRASH_OPEN_MS);
        println!(
            "claims/s of 16 threads in the five seconds after it: {}",
            grouped(value(&crashed, "claims")?)
        );
        Ok(())
    }

    fn spawn(&self, step: &str, store: &Path) -> Result<Printed> {
        eprintln!("{step}: {}", store.display());
        let output = Command::new(std::env::current_exe()?)
            .args(["--step", step, "--keys", &self.keys.to_string()])
            .args(["--operations", &self.operations.to_string(), "--store"])
            .arg(store)
            .stderr(std::process::Stdio::inherit())
            .output()?;
        let printed = parse(&String::from_utf8(output.stdout)?);
        // A crash that did not happen, or happened too early, would measure something else.
        let as_meant = if step == "crash" { printed.contains_key("done") } else { output.status.success() };
        if as_meant { Ok(printed) } else { Err(format!("step {step}: {}", output.status).into()) }
    }

    fn run(&self, step: &str, store: &Path) -> Result<()> {
        match step {
            "load" => self.load(store),
            "open" => self.open(store, true),
            "idle" => self.open(store, false),
            "crash" => self.crash(store),
            "read" => read(store),
            "drive" => self.drive(store),
            _ => Err(format!("no step {step}").into()),
        }
    }

    fn load(&self, path: &Path) -> Result<()> {
        let watch = Stopwatch::start();
        let store = Store::open(path)?;
        fill(&store, 0..self.keys)?;
        store.checkpoint()?;
        println!("seconds {}", watch.elapsed().as_secs_f64());
        println!("run_bytes {}", store.stats()?.run_bytes);
        store.close()?;
        println!("file_bytes {}", file_bytes(path)?);
        Ok(())
    }

    /// Opens and asks; `background` is whether upkeep runs beside it, which may merge what the load left.
    fn open(&self, path: &Path, background: bool) -> Result<()> {
        let watch = Stopwatch::start();
        let store = Options::new().background(background).open(path)?;
        // No step claims numbers this high, and the key is released: the next open finds it fresh again.
        let lease = claimed(store.claim(keys::key(u64::MAX), TTL)?)?;
        println!("open_ms {}", watch.micros() / 1000.0);
        println!("rss_opened {}", resident_bytes()?);
        lease.release()?;
        for number in 0..LOOK_UPS {
            let place = keys::hash(&number.to_le_bytes()) % self.keys.max(1);
            std::hint::black_box(store.get(keys::key(place))?);
        }
        println!("rss_used {}", resident_bytes()?);
        Ok(store.close()?)
    }

    /// Opens, claims a key, and drives the store for a while with fresh claims.
    fn drive(&self, path: &Path) -> Result<()> {
        let watch = Stopwatch::start();
        let store = claims::open(path, Options::new())?;
        let lease = claimed(store.claim(keys::key(u64::MAX), TTL)?)?;
        println!("open_ms {}", watch.micros() / 1000.0);
        lease.release()?;
        let (threads, most) = (16, u64::MAX);
        let claims = Claims::over(store, Keys::Natural, Ttl::Same, threads)?;
        let load = Load { workload: Workload::Fresh, threads, per_call: 1, pace: Pace::Sustained { most } };
        let stock = Stock::new(Keys::Natural, self.keys + self.operations);
        println!("claims {}", drive::measure(&claims, load, DRIVEN, &stock)?.rate());
        Ok(claims.store().clone().close()?)
    }

    /// Claims and completes keys that no checkpoint takes up, then dies with the store open.
    fn crash(&self, path: &Path) -> Result<()> {
        let store = Options::new().background(false).open(path)?;
        let (mut first, end) = (self.keys, self.keys + self.operations / 2);
        while first < end {
            let next = end.min(first + 4096);
            complete(&store, claimstore_bench::claims::claim_range(&store, first..next)?)?;
            first = next;
        }
        println!("done 1");
        std::process::abort();
    }
}

fn verdict(what: &str, measured: f64, target: f64) {
    let word = if measured <= target { "met" } else { "MISSED" };
    println!("{what}: {measured:.2} (target {target}: {word})");
}

/// Reads every byte of the journal, in order.
fn read(store: &Path) -> Result<()> {
    let watch = Stopwatch::start();
    let mut piece = vec![0; READ_BYTES];
    for entry in fs::read_dir(store.join("journal"))? {
        let mut file = fs::File::open(entry?.path())?;
        while file.read(&mut piece)? > 0 {}
    }
    println!("read_ms {}", watch.micros() / 1000.0);
    Ok(())
}

/// Bytes of all files of a directory and those in it.
fn file_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes +=
            if entry.file_type()?.is_dir() { file_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn parse(text: &str) -> Printed {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

fn value(printed: &Printed, name: &str) -> Result<f64> {
    printed.get(name).copied().ok_or_else(|| format!("a step did not print {name}").into())
}

/// Memory of this process that is resident, in bytes.
fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS in /proc/self/status")?;
    Ok(kib.parse::<u64>()? * 1024)
}
