//! `claimstore get`: what the store knows of one key.

use clap::Args;

use crate::codes;
use crate::exit::Exit;
use crate::look::LookArgs;
use crate::{print, show};

/// Shows what the store knows of one key.
#[derive(Debug, Args)]
#[command(after_long_help = codes::GET.listed())]
pub(crate) struct Get {
    #[command(flatten)]
    look: LookArgs,
}

impl Get {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let (record, now) = self.look.record()?;
        if self.look.show.json {
            return print::json(&serde_json::to_value(&record)?);
        }
        print::text(&show::lines(&record, now))
    }
}
