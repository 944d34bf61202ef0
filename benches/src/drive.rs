//! Threads that call a store as fast as they are answered.

use crate::Result;
use crate::keys::Key;
use crate::stock::{Share, Stock};
use crate::subject::Subject;
use crate::summary::rate;
use crate::time::{Stopwatch, sleep};
use hdrhistogram::Histogram;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What the threads do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// W1: claims of fresh keys.
    Fresh,
    /// W2: claims of fresh keys, each completed with a response of 64 bytes before the next.
    Complete,
    /// W3: claims of which nine in ten meet a completed key; the tenth is fresh.
    Duplicates,
}

/// How a store is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// What each thread does again and again.
    pub workload: Workload,
    /// Number of calling threads.
    pub threads: usize,
    /// Number of keys in each call.
    pub per_call: usize,
    /// How the load comes.
    pub pace: Pace,
}

/// How a load comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// In bursts of a second or [`BURST_KEYS`]; between them the store settles, unmeasured.
    Bursts,
    /// Without a pause, until that many keys are claimed if it comes first.
    Sustained {
        /// The number of keys.
        most: u64,
    },
}

/// A burst ends after this many keys, so that no store has to hold more claims in progress than it is made for.
pub const BURST_KEYS: u64 = 400_000;

const BURST_TIME: Duration = Duration::from_secs(1);

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// Keys answered; with [`Workload::Complete`] also completed.
    pub keys: u64,
    /// The time they took.
    pub elapsed: Duration,
    /// How long each step took, in nanoseconds: a call, or a claim and its completion.
    pub latencies: Histogram<u64>,
}

impl Measured {
    fn nothing() -> Result<Self> {
        // Three digits, up to whatever comes.
        Ok(Self { keys: 0, elapsed: Duration::ZERO, latencies: Histogram::new(3)? })
    }

    fn add(&mut self, more: &Self) -> Result<()> {
        self.keys += more.keys;
        self.elapsed += more.elapsed;
        Ok(self.latencies.add(&more.latencies)?)
    }

    /// Keys a second.
    pub fn rate(&self) -> f64 {
        rate(self.keys, self.elapsed.as_secs_f64())
    }

    /// The latency below which `percent` of the steps lie, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one step")]
    pub fn micros(&self, percent: f64) -> f64 {
        self.latencies.value_at_percentile(percent) as f64 / 1000.0
    }
}

/// Drives a store while `work` goes on, on this thread.
pub fn measure_during(
    subject: &dyn Subject,
    load: Load,
    stock: &Stock,
    work: impl FnOnce() -> Result<()>,
) -> Result<Measured> {
    let (measured, done) = burst(subject, load, stock, |_| work())?;
    done.map(|()| measured)
}

/// Drives a store for `duration` of measured time with keys of its stock.
pub fn measure(subject: &dyn Subject, load: Load, duration: Duration, stock: &Stock) -> Result<Measured> {
    let mut total = Measured::nothing()?;
    match load.pace {
        Pace::Sustained { most } => {
            total.add(&burst(subject, load, stock, |progress| progress.wait(duration, most))?.0)?;
        }
        Pace::Bursts => {
            while total.elapsed < duration {
                let time = BURST_TIME.min(duration.saturating_sub(total.elapsed));
                total.add(&burst(subject, load, stock, |progress| progress.wait(time, BURST_KEYS))?.0)?;
                subject.settle()?;
            }
        }
    }
    Ok(total)
}

/// Runs the threads of a load until `meanwhile` returns.
fn burst<T>(
    subject: &dyn Subject,
    load: Load,
    stock: &Stock,
    meanwhile: impl FnOnce(&Progress<'_>) -> T,
) -> Result<(Measured, T)> {
    let counts: Vec<Count> = (0..load.threads).map(|_| Count::default()).collect();
    let (stop, start) = (AtomicBool::new(false), Barrier::new(load.threads + 1));
    thread::scope(|scope| {
        let (stop, start) = (&stop, &start);
        let threads: std::io::Result<Vec<_>> = counts
            .iter()
            .enumerate()
            .map(|(number, count)| {
                let share = stock.share(number as u64);
                let mut worker = Worker { number, subject, load, share, count, keys: Vec::new() };
                // Named for the profiler's sake.
                let thread = thread::Builder::new().name("worker".into());
                thread.spawn_scoped(scope, move || {
                    start.wait();
                    worker.run(stop)
                })
            })
            .collect();
        let threads = threads?;
        start.wait();
        let running = || threads.iter().all(|thread| !thread.is_finished());
        let progress = Progress { counts: &counts, running: &running, watch: Stopwatch::start() };
        let done = meanwhile(&progress);
        // Keys answered after this moment do not count, and neither does the time they take.
        let (keys, elapsed) = (progress.keys(), progress.watch.elapsed());
        stop.store(true, Ordering::Relaxed);
        let mut measured = Measured { keys, elapsed, ..Measured::nothing()? };
        for thread in threads {
            measured.latencies.add(thread.join().map_err(|_| "a worker panicked")??)?;
        }
        Ok((measured, done))
    })
}

/// How far a load has come.
struct Progress<'a> {
    counts: &'a [Count],
    running: &'a dyn Fn() -> bool,
    watch: Stopwatch,
}

impl Progress<'_> {
    fn keys(&self) -> u64 {
        self.counts.iter().map(|count| count.keys.load(Ordering::Relaxed)).sum()
    }

    /// Returns after some time, or some keys, or the failure of a worker.
    fn wait(&self, duration: Duration, most: u64) {
        while self.watch.elapsed() < duration && self.keys() < most && (self.running)() {
            sleep(Duration::from_millis(2));
        }
    }
}

/// Keys a worker has had answered, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count {
    keys: AtomicU64,
}

struct Worker<'a> {
    number: usize,
    subject: &'a dyn Subject,
    load: Load,
    share: Share<'a>,
    count: &'a Count,
    keys: Vec<Key>,
}

impl Worker<'_> {
    fn run(&mut self, stop: &AtomicBool) -> Result<Histogram<u64>> {
        let mut latencies = Histogram::new(3)?;
        while !stop.load(Ordering::Relaxed) {
            let expected = self.draw();
            let watch = Stopwatch::start();
            let fresh = self.subject.claim(self.number, &self.keys)?;
            if self.load.workload == Workload::Complete {
                self.subject.complete(self.number, &self.keys)?;
            }
            latencies.record(watch.nanos())?;
            if fresh != expected {
                let name = self.subject.name();
                return Err(format!("{name}: {fresh} keys claimed, {expected} were fresh").into());
            }
            self.count.keys.fetch_add(self.keys.len() as u64, Ordering::Relaxed);
        }
        Ok(latencies)
    }

    /// Takes the keys of the next call; how many of them are fresh.
    fn draw(&mut self) -> u64 {
        self.keys.clear();
        let mut fresh = 0;
        for _ in 0..self.load.per_call {
            let is_fresh = self.load.workload != Workload::Duplicates || self.share.once_in(10);
            fresh += u64::from(is_fresh);
            self.keys.push(if is_fresh { self.share.fresh() } else { self.share.known() });
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use std::collections::HashSet;
    use std::sync::{Mutex, PoisonError};

    /// Claims every key in memory, and forgets the first of every hundred if asked to.
    #[derive(Default)]
    struct Map {
        keys: Mutex<HashSet<Key>>,
        completed: AtomicU64,
        wrong: bool,
    }

    impl Subject for Map {
        fn name(&self) -> &'static str {
            "map"
        }

        fn claim(&self, _: usize, keys: &[Key]) -> Result<u64> {
            thread::yield_now();
            let mut held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = keys.iter().filter(|key| held.insert(**key)).count() as u64;
            Ok(if self.wrong { fresh / 2 } else { fresh })
        }

        fn complete(&self, _: usize, keys: &[Key]) -> Result<()> {
            self.completed.fetch_add(keys.len() as u64, Ordering::Relaxed);
            Ok(())
        }
    }

    fn drive(map: &Map, workload: Workload) -> Result<Measured> {
        let stock = Stock::new(Keys::Natural, 1000);
        map.load(&mut stock.loaded())?;
        let load = Load { workload, threads: 2, per_call: 8, pace: Pace::Bursts };
        measure(map, load, Duration::from_millis(30), &stock)
    }

    #[test]
    fn every_workload_is_answered_as_expected() {
        for workload in [Workload::Fresh, Workload::Complete, Workload::Duplicates] {
            let map = Map::default();
            let measured = drive(&map, workload).unwrap();
            assert!(measured.rate() > 0.0 && measured.micros(50.0) <= measured.micros(100.0));
            let completed = map.completed.load(Ordering::Relaxed) > 1000;
            assert_eq!(completed, workload == Workload::Complete, "{workload:?}");
        }
    }

    #[test]
    fn wrong_answers_end_the_measurement() {
        let error = drive(&Map { wrong: true, ..Map::default() }, Workload::Fresh).unwrap_err();
        assert!(error.to_string().contains("were fresh"), "{error}");
    }
}
