//! Elapsed time on this machine, for time limits of call-backs and durations in reports. All decisions use store
//! time, which comes from the store.

use std::time::{Duration, Instant};

/// A point in time to be done by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    started: Stopwatch,
    limit: Duration,
}

/// Time since a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Deadline {
        Deadline { started: Stopwatch::start(), limit }
    }

    /// The time left; `None` when it is over.
    pub(crate) fn left(self) -> Option<Duration> {
        self.limit.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
    }
}
