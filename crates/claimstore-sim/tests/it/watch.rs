//! A test that hangs is a test that fails: every test binary of the workspace has this module.
//!
//! [`this_test`] is called by what the tests of a binary begin with; tests that know better how long they may take make
//! a [`Watchdog`] of their own. `CLAIMSTORE_PATIENCE` shortens both.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "each binary takes what it needs, and threads are its own"
)]

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test may take from one sign of life to the next, in seconds.
const PATIENCE_S: u64 = 300;

thread_local! {
    /// Goes away with the thread, and so with the test that it runs.
    static OVER_THIS_TEST: RefCell<Option<Watchdog>> = const { RefCell::new(None) };
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// From here on the test that this thread runs may take [`PATIENCE_S`] to its end, or until this is called again.
pub(crate) fn this_test() {
    let thread = thread::current();
    // The harness names threads after their tests. Without threads of its own, and in threads that a test starts, the
    // name is no test's; then any is told.
    let (name, filter) = match thread.name() {
        Some(name) if name != "main" => (name, format!(" {name} --exact")),
        _ => ("a test", String::new()),
    };
    begun();
    let (package, target) = (env!("CARGO_PKG_NAME"), env!("CARGO_CRATE_NAME"));
    let again = format!("to run it again: cargo test -p {package} --test {target} --{filter}");
    OVER_THIS_TEST.set(Some(Watchdog::over(name, PATIENCE_S, again)));
}

/// From here on counts what [`told`] says of the test that this thread runs.
pub(crate) fn begun() {
    BEGAN.set(BEGAN.get().or_else(|| Some(Instant::now())));
}

/// Says what a layer did, how much of it, and for how long the test that this thread runs has been at it.
pub(crate) fn told(did: std::fmt::Arguments<'_>) {
    match BEGAN.get() {
        Some(began) => println!("{did}; {:.1} s", began.elapsed().as_secs_f64()),
        None => println!("{did}"),
    }
}

/// Ends the process when a test takes longer than it may: a lost wake-up leaves nobody who could fail it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Watchdog {
    _done: Sender<()>,
}

impl Watchdog {
    /// Watches until dropped. `CLAIMSTORE_PATIENCE` shortens `seconds`.
    pub(crate) fn new(test: impl Into<String>, seconds: u64) -> Watchdog {
        Watchdog::over(test, seconds, String::new())
    }

    fn over(test: impl Into<String>, seconds: u64, again: String) -> Watchdog {
        let test = test.into();
        let seconds = seconds.min(scale("CLAIMSTORE_PATIENCE", seconds));
        let (done, gone) = channel::<()>();
        thread::spawn(move || {
            if gone.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
                let line =
                    format!("{test}: nothing came back for {seconds} s; somebody was not woken\n{again}\n");
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
