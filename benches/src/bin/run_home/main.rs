//! Where should an immutable sorted run live: in a redb table, or in a file of its own?
//!
//! The measurement behind `docs/decisions/0001-runs-are-files.md`:
//!
//! ```text
//! cargo run --release -p claimstore-bench --bin run_home -- [--rounds 3] [--runs 3] [--rows 1000000] [--dir DIR]
//! ```
//!
//! Both homes keep the same blocks and the same filter, are loaded from the same sorted keys, and take turns at
//! every step; each also with a sync every 2 MiB while it writes ("paced").
#![forbid(unsafe_code)]

mod blocks;
mod file_home;
mod filter;
mod probe;
mod table_home;

use crate::file_home::FileHome;
use crate::probe::Probe;
use crate::table_home::TableHome;
use claimstore_bench::Result;
use claimstore_bench::args::Args;
use claimstore_bench::keys::{self, KEY_LEN};
use claimstore_bench::scratch::Scratch;
use claimstore_bench::summary::{grouped, mean, median, percentile, rate, worst};
use claimstore_bench::time::{Stopwatch, sleep};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// All keys of this bench are natural ones.
type Key = [u8; KEY_LEN];

/// A place for runs.
trait Home {
    /// Writes a run and makes it durable and visible.
    fn load(&mut self, run: u32, keys: &[Key]) -> Result<()>;
    /// Removes a run durably.
    fn drop_run(&mut self, run: u32) -> Result<()>;
    /// How many of the keys the run holds, each looked up by itself.
    fn count_present(&self, run: u32, keys: &[Key]) -> Result<usize>;
    /// Bytes of disk that the runs take.
    fn file_bytes(&self) -> Result<u64>;
}

type Create = fn(&Path) -> Result<Box<dyn Home>>;

const PACE: u64 = 2 << 20;

const HOMES: [(&str, Create); 4] = [
    ("table", |dir| Ok(Box::new(TableHome::create(dir, 0)?))),
    ("file", |dir| Ok(Box::new(FileHome::create(dir, 0)?))),
    ("table, paced", |dir| Ok(Box::new(TableHome::create(dir, PACE)?))),
    ("file, paced", |dir| Ok(Box::new(FileHome::create(dir, PACE)?))),
];

const LOOK_UPS: usize = 200_000;

/// After a load or a drop the journal is watched a little longer: the file system's own work comes later.
const AFTERMATH: Duration = Duration::from_millis(50);

/// Time for the device to become quiet before each step.
const REST: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let args = Args::from_env(&["rounds", "runs", "rows", "dir"])?;
    let (rounds, runs, rows) =
        (args.or("rounds", 3_usize)?, args.or("runs", 3)?, args.or("rows", 1_000_000)?);
    let scratch = Scratch::new(args.text("dir"))?;
    let runs: Vec<Vec<Key>> = (0..runs).map(|run| sorted_run(run, rows)).collect();
    let mut homes = Vec::new();
    for (number, (name, create)) in HOMES.into_iter().enumerate() {
        let dir = scratch.join(&format!("home-{number}"));
        fs::create_dir(&dir)?;
        homes.push(Place { name, home: create(&dir)?, measured: Measured::default() });
    }
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        alone(&mut homes, &runs)?;
        beside_a_journal(&mut homes, &runs, scratch.path())?;
        homes.rotate_left(1);
    }
    // Back into the order of the list.
    let turns = rounds % HOMES.len();
    homes.rotate_right(turns);
    println!("{rounds} rounds, {} runs of {rows} rows; times of a journal append in µs", runs.len());
    report(&homes);
    Ok(())
}

fn sorted_run(run: u64, rows: u64) -> Vec<Key> {
    let mut keys: Vec<Key> = (run * rows..(run + 1) * rows).map(keys::natural).collect();
    keys.sort_unstable();
    keys
}

/// One of the homes and what was measured of it.
struct Place {
    name: &'static str,
    home: Box<dyn Home>,
    measured: Measured,
}

/// Everything measured of one home, a value for each time it was measured.
#[derive(Debug, Default)]
struct Measured {
    load_rows_per_s: Vec<f64>,
    load_beside_rows_per_s: Vec<f64>,
    drop_ms: Vec<f64>,
    drop_beside_ms: Vec<f64>,
    look_up_us: Vec<f64>,
    written_ratio: Vec<f64>,
    drop_written_mib: Vec<f64>,
    full_ratio: Vec<f64>,
    empty_mib: Vec<f64>,
    journal_alone_us: Vec<f64>,
    journal_load_us: Vec<f64>,
    journal_drop_us: Vec<f64>,
}

/// Speed, writes and growth, with nothing else going on. Every step goes through all homes before the next one
/// begins, so that a slow spell of the machine meets them all.
#[expect(clippy::cast_precision_loss, reason = "sizes and counts of a bench stay far below 2^53")]
fn alone(homes: &mut [Place], runs: &[Vec<Key>]) -> Result<()> {
    for (run, keys) in (0..).zip(runs) {
        let news = blocks::logical_bytes(keys.len() as u64) as f64;
        for Place { home, measured, .. } in &mut *homes {
            rest();
            let (written, watch) = (bytes_written()?, Stopwatch::start());
            home.load(run, keys)?;
            measured.load_rows_per_s.push(rate(keys.len() as u64, watch.elapsed().as_secs_f64()));
            measured.written_ratio.push((bytes_written()? - written) as f64 / news);
            measured.full_ratio.push(home.file_bytes()? as f64 / (news * f64::from(run + 1)));
        }
    }
    for (run, keys) in (0..).zip(runs) {
        let sample = sample(keys);
        for Place { home, measured, .. } in &mut *homes {
            home.count_present(run, &sample)?;
            let watch = Stopwatch::start();
            if home.count_present(run, &sample)? != sample.len() {
                return Err("a look-up missed a key that is present".into());
            }
            measured.look_up_us.push(watch.micros() / sample.len() as f64);
        }
    }
    for (run, _) in (0..).zip(runs) {
        for Place { home, measured, .. } in &mut *homes {
            rest();
            let (written, watch) = (bytes_written()?, Stopwatch::start());
            home.drop_run(run)?;
            measured.drop_ms.push(watch.micros() / 1000.0);
            measured.drop_written_mib.push((bytes_written()? - written) as f64 / f64::from(1 << 20));
            measured.empty_mib.push(home.file_bytes()? as f64 / f64::from(1 << 20));
        }
    }
    Ok(())
}

/// What a journal in the same directory feels of it, and what it makes of the speed.
fn beside_a_journal(homes: &mut [Place], runs: &[Vec<Key>], dir: &Path) -> Result<()> {
    let probe = Probe::start(dir)?;
    for (run, keys) in (0..).zip(runs) {
        for Place { home, measured, .. } in &mut *homes {
            rest();
            measured.journal_alone_us.extend(probe.during(|| {
                sleep(REST);
                Ok(())
            })?);
            measured.journal_load_us.extend(probe.during(|| {
                let watch = Stopwatch::start();
                home.load(run, keys)?;
                measured.load_beside_rows_per_s.push(rate(keys.len() as u64, watch.elapsed().as_secs_f64()));
                sleep(AFTERMATH);
                Ok(())
            })?);
        }
    }
    for (run, _) in (0..).zip(runs) {
        for Place { home, measured, .. } in &mut *homes {
            rest();
            measured.journal_drop_us.extend(probe.during(|| {
                let watch = Stopwatch::start();
                home.drop_run(run)?;
                measured.drop_beside_ms.push(watch.micros() / 1000.0);
                sleep(AFTERMATH);
                Ok(())
            })?);
        }
    }
    probe.finish()
}

/// Gives what earlier steps left behind time to reach the device.
fn rest() {
    sleep(REST);
}

/// Random keys of a run, each once or more.
fn sample(keys: &[Key]) -> Vec<Key> {
    let len = keys.len() as u64;
    (0..LOOK_UPS as u64)
        .filter_map(|n| keys.get((keys::hash(&n.to_le_bytes()) % len.max(1)) as usize).copied())
        .collect()
}

/// Bytes this process has sent towards the device so far.
fn bytes_written() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("no write_bytes in /proc/self/io")?.parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^53")]
fn report(homes: &[Place]) {
    let line = |what: &str, cell: &dyn Fn(&Measured) -> String| {
        let cells: Vec<String> = homes.iter().map(|place| format!("{:>17}", cell(&place.measured))).collect();
        println!("| {what:<41} | {} |", cells.join(" | "));
    };
    let names: Vec<String> = homes.iter().map(|place| format!("{:>17}", place.name)).collect();
    println!("| {:<41} | {} |", "median (slowest tenth)", names.join(" | "));
    println!("|{}|{}", "-".repeat(43), format!("{}:|", "-".repeat(18)).repeat(homes.len()));
    line("load, 1,000 rows/s", &|m| slow_rate(&m.load_rows_per_s));
    line("load beside a journal, 1,000 rows/s", &|m| slow_rate(&m.load_beside_rows_per_s));
    line("drop of a run, ms", &|m| slow_time(&m.drop_ms));
    line("drop beside a journal, ms", &|m| slow_time(&m.drop_beside_ms));
    line("look-up of a present key, warm, µs", &|m| format!("{:.2}", median(&m.look_up_us)));
    line("bytes written per byte of news", &|m| format!("{:.2}", median(&m.written_ratio)));
    line("MiB written by a drop", &|m| format!("{:.2}", median(&m.drop_written_mib)));
    line("disk per byte of news, all runs live", &|m| {
        format!("{:.2}", m.full_ratio.last().unwrap_or(&f64::NAN))
    });
    line("disk after all runs were dropped, MiB", &|m| {
        format!("{:.0}", m.empty_mib.last().unwrap_or(&f64::NAN))
    });
    for (what, of) in [
        ("journal alone", (|m| &m.journal_alone_us) as fn(&Measured) -> &Vec<f64>),
        ("journal, load", |m| &m.journal_load_us),
        ("journal, drop", |m| &m.journal_drop_us),
    ] {
        line(&format!("{what}: number of appends"), &|m| of(m).len().to_string());
        line(&format!("{what}: mean / p50"), &|m| format!("{:.0} / {:.0}", mean(of(m)), median(of(m))));
        line(&format!("{what}: p99 / p99.9 / worst"), &|m| {
            let values = of(m);
            format!(
                "{:.0} / {:.0} / {:.0}",
                percentile(values, 99.0),
                percentile(values, 99.9),
                worst(values)
            )
        });
        // Percentiles compare windows of different length badly: a quick load has fewer appends to hit.
        line(&format!("{what}: stalls over 5 / 20 ms, each time"), &|m| {
            let each =
                |limit| of(m).iter().filter(|us| **us > limit).count() as f64 / m.drop_beside_ms.len() as f64;
            format!("{:.1} / {:.2}", each(5e3), each(2e4))
        });
    }
}

fn slow_rate(rows_per_s: &[f64]) -> String {
    format!("{} ({})", grouped(median(rows_per_s) / 1e3), grouped(percentile(rows_per_s, 10.0) / 1e3))
}

fn slow_time(ms: &[f64]) -> String {
    format!("{:.1} ({:.1})", median(ms), percentile(ms, 90.0))
}
