//! `claimstore get`: what the store knows of one key.

use clap::Args;

use crate::exit::Exit;
use crate::look::LookArgs;
use crate::{print, show};

/// Shows what the store knows of one key.
///
/// Exit codes: 0 shown; 1 no such key or namespace; 64 usage; 65 the store is damaged; 66 no store; 74 reading failed;
/// 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    look: LookArgs,
}

impl Get {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let (record, now) = self.look.record(false)?;
        if self.look.show.json {
            return print::json(&serde_json::to_value(&record)?);
        }
        print::text(&show::lines(&record, now))
    }
}
