//! Before something is decided that cannot be taken back: a question, and who answers for it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
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
    /// Whether nobody is to be asked.
    pub(crate) fn is_given(&self) -> bool {
        self.yes
    }

    /// Returns if it may be done, `what` being a sentence without its full stop.
    pub(crate) fn ask(&self, what: &str) -> anyhow::Result<()> {
        self.ask_for(what, "Do it? [y/N] ", |answer| matches!(answer, "y" | "Y" | "yes"))
    }

    /// The same about many keys at once: a yes is typed in passing, a number is not.
    pub(crate) fn ask_about(&self, what: &str, count: u64) -> anyhow::Result<()> {
        let expected = count.to_string();
        self.ask_for(what, "Type how many these are, to do it: ", |answer| answer == expected)
    }

    fn ask_for(&self, what: &str, question: &str, is_yes: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let message = format!("{what}: say --yes, as there is nobody to ask");
            return Err(Failure::new(Exit::Usage, message).into());
        }
        write!(io::stderr(), "{}. {question}", visible(what)).context("asking")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
        if is_yes(answer.trim()) {
            return Ok(());
        }
        Err(Failure::new(Exit::Usage, "nothing was done").into())
    }

    /// Who decides.
    pub(crate) fn by(&self) -> String {
        let login = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        self.by.clone().or_else(login).unwrap_or_default()
    }

    /// Why.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }
}
