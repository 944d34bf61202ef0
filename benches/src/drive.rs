//! Threads that claim fresh keys as fast as they are answered.

use crate::Result;
use crate::summary::rate;
use crate::time::{Stopwatch, sleep};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Something that claims keys durably.
pub trait Subject: Sync {
    /// A short name for tables.
    fn name(&self) -> &'static str;

    /// Claims the keys of `count` numbers from `first` on, in one call if there are several; the number of them
    /// that were fresh, once all of them are durable. `worker` counts the calling threads from zero.
    fn claim(&self, worker: usize, first: u64, count: u64) -> Result<u64>;

    /// Puts away what a burst left behind; runs outside the measured time.
    fn settle(&self) -> Result<()> {
        Ok(())
    }
}

/// How a subject is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Number of calling threads.
    pub threads: usize,
    /// Number of claims in each call.
    pub per_call: u64,
}

/// A burst ends after this many claims, so that no store has to hold more than it is made for.
const BURST_CLAIMS: u64 = 400_000;

const BURST_TIME: Duration = Duration::from_secs(1);

/// Numbers a worker takes at a time, so that workers do not meet at the counter.
const STRIDE: u64 = 1024;

/// Claims a second over `duration` of measured time. Fresh numbers are drawn from `next`.
///
/// The load comes in bursts; between them the subject settles, unmeasured.
pub fn measure(subject: &dyn Subject, load: Load, duration: Duration, next: &AtomicU64) -> Result<f64> {
    let (mut claims, mut elapsed) = (0, Duration::ZERO);
    while elapsed < duration {
        let (more, time) = burst(subject, load, BURST_TIME.min(duration.saturating_sub(elapsed)), next)?;
        claims += more;
        elapsed += time;
        subject.settle()?;
    }
    Ok(rate(claims, elapsed.as_secs_f64()))
}

fn burst(subject: &dyn Subject, load: Load, duration: Duration, next: &AtomicU64) -> Result<(u64, Duration)> {
    let workers: Vec<Worker> = (0..load.threads).map(|_| Worker::default()).collect();
    let (stop, start) = (AtomicBool::new(false), Barrier::new(load.threads + 1));
    thread::scope(|scope| {
        let (stop, start) = (&stop, &start);
        let threads: Vec<_> = workers
            .iter()
            .enumerate()
            .map(|(number, worker)| {
                scope.spawn(move || {
                    start.wait();
                    worker.run(number, subject, load.per_call, next, stop)
                })
            })
            .collect();
        start.wait();
        let watch = Stopwatch::start();
        let total = || workers.iter().map(|worker| worker.claims.load(Ordering::Relaxed)).sum::<u64>();
        let running = || threads.iter().all(|thread| !thread.is_finished());
        while watch.elapsed() < duration && total() < BURST_CLAIMS && running() {
            sleep(Duration::from_millis(2));
        }
        // Claims answered after this moment do not count, and neither does the time they take.
        let seen = (total(), watch.elapsed());
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| "a worker panicked")??;
        }
        Ok(seen)
    })
}

/// Counts on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Worker {
    claims: AtomicU64,
}

impl Worker {
    fn run(
        &self,
        number: usize,
        subject: &dyn Subject,
        per_call: u64,
        next: &AtomicU64,
        stop: &AtomicBool,
    ) -> Result<()> {
        let mut numbers = 0..0;
        while !stop.load(Ordering::Relaxed) {
            if numbers.is_empty() {
                let first = next.fetch_add(STRIDE, Ordering::Relaxed);
                numbers = first..first + STRIDE;
            }
            let fresh = subject.claim(number, numbers.start, per_call)?;
            if fresh != per_call {
                return Err(format!("{}: {fresh} of {per_call} fresh keys claimed", subject.name()).into());
            }
            numbers.start += per_call;
            self.claims.fetch_add(fresh, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(AtomicU64);

    impl Subject for Counter {
        fn name(&self) -> &'static str {
            "counter"
        }
        fn claim(&self, _: usize, _: u64, count: u64) -> Result<u64> {
            thread::yield_now();
            self.0.fetch_add(count, Ordering::Relaxed);
            Ok(count.min(64))
        }
    }

    #[test]
    fn a_burst_counts_claims_and_reports_refusals() {
        let (subject, next) = (Counter(AtomicU64::new(0)), AtomicU64::new(0));
        let load = Load { threads: 2, per_call: 64 };
        let rate = measure(&subject, load, Duration::from_millis(20), &next).unwrap();
        assert!(rate > 0.0 && subject.0.load(Ordering::Relaxed) > 0);
        let load = Load { threads: 2, per_call: 128 };
        assert!(measure(&subject, load, Duration::from_millis(20), &next).is_err());
    }
}
