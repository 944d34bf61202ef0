//! The `claimstore` command. What it promises and how it is used: `claimstore help`, and this package's README.
#![forbid(unsafe_code)]

mod args;
mod batch;
mod dedupe;
mod duration;
mod exit;
mod input;
mod key;
mod output;
mod progress;
mod record;
mod signals;
mod stats;
mod store;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let result = match &cli.command {
        Command::Dedupe(args) => dedupe::run(args),
        Command::Stats(args) => stats::run(args),
    };
    let exit = result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "claimstore: {error:#}");
        exit::of_error(&error)
    });
    exit.into()
}
