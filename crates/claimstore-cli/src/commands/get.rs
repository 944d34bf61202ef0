//! `claimstore get`: what the store knows of one key.

use anyhow::Context as _;
use clap::Args;

use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::show::ShowArgs;
use crate::target::KeyArgs;
use crate::{print, store};

/// Shows what the store knows of one key.
///
/// Exit codes: 0 shown; 1 no such key or namespace; 64 usage; 65 the store is damaged; 66 no store; 74 reading failed;
/// 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    show: ShowArgs,
}

impl Get {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let store = store::open_existing(&self.store)?;
        let (record, now) = (self.key.find(&store)?, store.store_time());
        store.close().context("closing the store")?;
        if self.show.json {
            return print::json(&self.show.record(&record));
        }
        print::text(&self.show.lines(&record, now))
    }
}
