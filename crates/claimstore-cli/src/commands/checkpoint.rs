//! `claimstore checkpoint`: what is resolved moves out of the journal.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::{print, store};

/// Moves what is resolved out of the journal into sorted runs, so that the next open has nothing to read back.
///
/// Exit codes: 0 done; 64 usage; 65 the store is damaged; 66 no store; 74 it failed; 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    #[command(flatten)]
    store: StoreArgs,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Checkpoint {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let store = store::open_existing(&self.store)?;
        store.checkpoint().context("checkpointing")?;
        let stats = store.stats().context("reading the store")?;
        store.close().context("closing the store")?;
        let (runs, rows, bytes) = (stats.runs, stats.checkpointed_rows, stats.run_bytes);
        if self.json {
            return print::json(&json!({ "runs": runs, "run_rows": rows, "run_bytes": bytes }));
        }
        print::text(&format!("{rows} rows in {runs} runs, {bytes} bytes\n"))
    }
}
