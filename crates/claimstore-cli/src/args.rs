//! The command line: all subcommands. Each has its arguments in its own module.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands;
use crate::dedupe::Dedupe;
use crate::exec::Exec;
use crate::stats::Stats;
use crate::store_args::{STORE_VARIABLE, directory};
use crate::top::Top;

/// Claims events in a crash-safe store, so that each is handled once.
#[derive(Debug, Parser)]
#[command(name = "claimstore", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The directory of the store: here, or after the subcommand [env: CLAIMSTORE_STORE].
    // Told by hand: `command_line` takes the variable away for a moment.
    #[arg(long, value_name = "DIR", global = true, env = STORE_VARIABLE, hide_env = true, value_parser = directory())]
    store: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dedupe(Dedupe),
    Exec(Exec),
    #[command(visible_alias = "status")]
    Stats(Stats),
    #[command(visible_alias = "ls")]
    List(commands::List),
    #[command(visible_alias = "show")]
    Get(commands::Get),
    #[command(visible_alias = "why")]
    Explain(commands::Explain),
    Stuck(commands::Stuck),
    Orphans(commands::Orphans),
    Parked(commands::Parked),
    Release(commands::Release),
    Complete(commands::Complete),
    Fail(commands::Fail),
    Requeue(commands::Requeue),
    Forget(commands::Forget),
    Prune(commands::Prune),
    Checkpoint(commands::Checkpoint),
    #[command(visible_alias = "check")]
    Verify(commands::Verify),
    Compact(commands::Compact),
    Backup(commands::Backup),
    Restore(commands::Restore),
    Policy(commands::Policy),
    #[command(visible_alias = "completion")]
    Completions(commands::Completions),
    Man(commands::Man),
    Export(commands::Export),
    Import(Box<commands::Import>),
    Clock(commands::Clock),
    #[command(visible_alias = "watch")]
    Top(Top),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
