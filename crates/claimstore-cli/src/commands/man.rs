//! `claimstore man`: the manual page of the command, or of one subcommand.

use anyhow::Context as _;
use clap::{Args, Command};

use crate::codes;
use crate::exit::{Exit, Failure};
use crate::print;

/// Writes the manual page of the command, or of a subcommand.
///
/// In the format of man(1): `claimstore man list | man -l -`.
#[derive(Debug, Args)]
#[command(after_long_help = codes::MAN.listed())]
pub(crate) struct Man {
    /// The subcommand; left out, the command as a whole.
    #[arg(value_name = "SUBCOMMAND")]
    subcommand: Option<String>,
}

impl Man {
    /// `command`: the command line that is described.
    pub(crate) fn run(&self, mut command: Command) -> anyhow::Result<Exit> {
        // Gives each subcommand its full name.
        command.build();
        let page = match &self.subcommand {
            None => command,
            Some(name) => subcommand(&command, name)?,
        };
        let mut text = Vec::new();
        clap_mangen::Man::new(page).render(&mut text).context("writing the page")?;
        print::generated(&text)
    }
}

fn subcommand(command: &Command, name: &str) -> anyhow::Result<Command> {
    let found = command.find_subcommand(name).cloned();
    Ok(found.ok_or_else(|| Failure::new(Exit::Usage, "there is no such subcommand"))?)
}
