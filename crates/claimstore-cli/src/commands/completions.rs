//! `claimstore completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;
use crate::print;

/// Writes a script for a shell that completes this command.
///
/// Exit codes: 0 done; 64 usage; 74 writing failed.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "claimstore", &mut script);
        print::text(&String::from_utf8(script)?)
    }
}
