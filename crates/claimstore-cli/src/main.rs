//! The `claimstore` command. What it promises and how it is used: `claimstore help`, and this package's README.
#![forbid(unsafe_code)]

mod args;
mod batch;
mod codes;
mod command_line;
mod commands;
mod confirm;
mod dedupe;
mod duration;
mod exec;
mod exit;
mod human;
mod input;
mod key;
mod look;
mod output;
mod print;
mod progress;
mod record;
mod repair;
mod shell;
mod show;
mod signals;
mod source;
mod stats;
mod store;
mod store_args;
mod target;
mod top;
mod transfer;
mod verdict;
mod visible;

use std::process::ExitCode;

use crate::args::Command;
use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = match command_line::parse(&std::env::args_os().collect::<Vec<_>>()) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let result = run(&cli.command);
    let exit = result.unwrap_or_else(|error| {
        print::say(&format!("{error:#}"));
        exit::of_error(&error)
    });
    exit.into()
}

fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Dedupe(args) => dedupe::run(args),
        Command::Exec(args) => args.run(),
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
        Command::Completions(args) => args.run(),
        Command::Man(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Import(args) => args.run(),
        Command::Clock(args) => args.run(),
        Command::Top(args) => args.run(),
    }
}
