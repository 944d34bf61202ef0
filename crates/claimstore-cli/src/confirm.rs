//! Before something is decided that cannot be taken back: a question, and who answers for it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use claimstore::Note;
use clap::Args;

use crate::exit::{Exit, Failure};
use crate::visible::visible;

/// Whether to ask, and what the history of the key is to say.
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// Do it without asking. Needed where standard input or standard error is no terminal.
    #[arg(long, short = 'y')]
    yes: bool,

    /// Who decides: kept in the history of the key (the first 64 bytes) [default: the login name].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,

    /// Why: kept in the history of the key (the first 256 bytes).
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    why: String,
}

impl ConfirmArgs {
    /// Returns if it may be done, `what` being a sentence without its full stop.
    pub(crate) fn ask(&self, what: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let message = format!("{what}: say --yes, as there is nobody to ask");
            return Err(Failure::new(Exit::Usage, message).into());
        }
        write!(io::stderr(), "{}. Do it? [y/N] ", visible(what)).context("asking")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(Failure::new(Exit::Usage, "nothing was done").into())
    }

    pub(crate) fn note(&self) -> Note {
        let login = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        Note::new(self.by.clone().or_else(login).unwrap_or_default(), &self.why)
    }
}
