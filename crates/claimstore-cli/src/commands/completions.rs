//! `claimstore completions`: what a shell needs to complete the command line.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::codes;
use crate::exit::Exit;
use crate::print;

/// Writes a script with which a shell completes this command.
#[derive(Debug, Args)]
#[command(after_long_help = codes::COMPLETIONS.listed())]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// `command`: the command line that is completed.
    pub(crate) fn run(&self, mut command: Command) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "claimstore", &mut script);
        print::generated(&script)
    }
}
