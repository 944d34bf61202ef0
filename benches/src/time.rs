//! The only place of the benches that reads a clock or sleeps.
#![expect(clippy::disallowed_methods, reason = "benches measure wall time")]

use std::thread;
use std::time::{Duration, Instant};

/// Measures elapsed wall time.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The time since the start, in microseconds.
    pub fn micros(&self) -> f64 {
        self.elapsed().as_secs_f64() * 1e6
    }
}

/// Waits, off the processor.
pub fn sleep(duration: Duration) {
    thread::sleep(duration);
}
