//! A test that hangs is a test that fails.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Ends the process when a test takes longer than it may: a lost wake-up leaves nobody who could fail it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Watchdog {
    _done: Sender<()>,
}

impl Watchdog {
    /// Watches until dropped. `CLAIMSTORE_PATIENCE` shortens `seconds`.
    pub(crate) fn new(test: impl Into<String>, seconds: u64) -> Watchdog {
        let test = test.into();
        let seconds = seconds.min(scale("CLAIMSTORE_PATIENCE", seconds));
        let (done, gone) = channel::<()>();
        thread::spawn(move || {
            if gone.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
                let line = format!("{test}: nothing came back for {seconds} s; somebody was not woken\n");
                // Past the harness, which would keep the line for a report that will not be.
                drop(std::io::stderr().write_all(line.as_bytes()));
                std::process::exit(101);
            }
        });
        Watchdog { _done: done }
    }
}

/// A number from the environment, to scale a test with.
pub(crate) fn scale<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
