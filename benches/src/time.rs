//! The only place of the benches that reads a clock or sleeps.
#![expect(clippy::disallowed_methods, reason = "benches measure wall time")]

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

    /// The time since the start, in nanoseconds.
    pub fn nanos(&self) -> u64 {
        self.elapsed().as_nanos() as u64
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

/// Wall time since 1970 in milliseconds.
pub fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}
