//! The `claimstore` command. What it promises and how it is used: `claimstore help`, and this package's README.
#![forbid(unsafe_code)]

// In layers, each of which names only those above it: exit, duration, visible, human, print; store, source (who
// answers); show, look, verdict, repair (what subcommands share); the subcommands, each with its arguments; args (all of
// them), command_line.
mod args;
mod codes;
mod command_line;
mod commands;
mod confirm;
mod dedupe;
mod descriptors;
mod duration;
mod exec;
mod exit;
mod human;
mod input;
mod key;
mod kin;
mod look;
mod planted;
mod print;
mod record;
mod repair;
mod shell;
mod show;
mod signals;
mod source;
mod state;
mod stats;
mod store;
mod store_args;
mod target;
mod top;
mod transfer;
mod verdict;
mod visible;
mod writer;

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = match command_line::parse(&std::env::args_os().collect::<Vec<_>>()) {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                let _ = error.print();
                return Exit::Usage.into();
            }
            // Help and version: what is asked for, so not to be cut silently.
            return told(print::help(&error)).into();
        }
    };
    told(run(&cli.command)).into()
}

/// The exit code; an error is told first.
fn told(result: anyhow::Result<Exit>) -> Exit {
    result.unwrap_or_else(|error| {
        print::say(&exit::message(&error));
        exit::of_error(&error)
    })
}

fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Dedupe(args) => dedupe::run(args),
        Command::Exec(args) => exec::run(args),
        Command::Stats(args) => args.run(),
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
        Command::Completions(args) => args.run(Cli::command()),
        Command::Man(args) => args.run(Cli::command()),
        Command::Export(args) => args.run(),
        Command::Import(args) => args.run(),
        Command::Clock(args) => args.run(),
        Command::Top(args) => args.run(),
    }
}
