//! Invoices are posted to a remote API that sometimes answers late or not at all, by a worker that is killed at
//! random points: every invoice ends exactly once in the ledger of the API where the API can be asked, and is
//! parked, not guessed, where it cannot.
//!
//! ```text
//! cargo run --release -p claimstore-recovery --example invoices -- [--kills 200] [--seed 1]
//! ```
//!
//! Three processes: the API (`server.rs`), which keeps its own ledger and books whatever it is sent, as often
//! as it is sent; the worker (`worker.rs`), which is what a program that uses claimstore looks like; and
//! the driver (`driver.rs`), which kills the worker with SIGKILL, starts it again, and compares the ledger with
//! the store at the end.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "an API that is slow sleeps, a server starts threads, a driver waits before it kills"
)]

mod driver;
mod http;
mod server;
mod worker;

use std::path::Path;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["server", seed] => seed.parse().map_err(Into::into).and_then(server::run),
        ["worker", store, port, invoices] => run_worker(store, port, invoices),
        options => driver::Options::parse(options).and_then(|options| driver::run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run_worker(store: &str, port: &str, invoices: &str) -> Result<()> {
    worker::run(Path::new(store), port.parse()?, invoices.parse()?)
}

/// What an API can be asked about an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whether it was booked; and it refuses what was sent under a token below the asker's.
    Asked,
    /// Nothing.
    Blind,
}

/// The invoices, in order: every other one can be asked about.
fn invoice(number: u64) -> (Kind, String) {
    if number.is_multiple_of(2) {
        (Kind::Asked, format!("asked-{number:06}"))
    } else {
        (Kind::Blind, format!("blind-{number:06}"))
    }
}

/// Splitmix64: enough for dice.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut rolled = self.0;
        rolled = (rolled ^ (rolled >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        rolled = (rolled ^ (rolled >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (rolled ^ (rolled >> 31)) % sides
    }
}
