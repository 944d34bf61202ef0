//! The `claimstore` command. What it promises and how it is used: `claimstore help`, and this package's README.
#![forbid(unsafe_code)]

mod args;
mod batch;
mod commands;
mod confirm;
mod dedupe;
mod duration;
mod exec;
mod exit;
mod input;
mod key;
mod look;
mod output;
mod planted;
mod print;
mod progress;
mod record;
mod repair;
mod show;
mod signals;
mod source;
mod stats;
mod store;
mod target;
mod top;
mod transfer;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(mut error) => {
            keep_secret(&mut error);
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let result = run(&cli.command);
    let exit = result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "claimstore: {error:#}");
        exit::of_error(&error)
    });
    exit.into()
}

/// One word too many may be part of a key with blanks in it: what stands in a log must not give it away. What begins
/// with a dash was meant to be an option, and is named.
fn keep_secret(error: &mut clap::Error) {
    let given = error.get(ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument);
    if matches!(given, Some(ContextValue::String(given)) if !given.starts_with('-')) {
        error.insert(ContextKind::InvalidArg, ContextValue::String("..".into()));
    }
}

fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Dedupe(args) => dedupe::run(args),
        Command::Exec(args) => args.run(),
        Command::Stats(args) => stats::run(args),
        Command::List(args) => args.run(),
        Command::Get(args) => args.run(),
        Command::Explain(args) => args.run(),
        Command::Stuck(args) => args.run(),
        Command::Orphans(args) => args.run(),
        Command::Parked(args) => args.run(),
        Command::Release(args) => args.run(),
        Command::Complete(args) => args.run(),
        Command::Fail(args) => args.run(),
        Command::Requeue(args) => args.run(),
        Command::Forget(args) => args.run(),
        Command::Prune(args) => args.run(),
        Command::Checkpoint(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Compact(args) => args.run(),
        Command::Backup(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Policy(args) => args.run(),
        Command::Completions(args) => args.run(),
        Command::Man(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Import(args) => args.run(),
        Command::Clock(args) => args.run(),
        Command::Top(args) => args.run(),
    }
}
