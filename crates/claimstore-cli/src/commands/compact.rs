//! `claimstore compact`: one run for each stretch of time.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::{print, store};

/// Merges runs until there is one for each stretch of time that gets no more records. Needs room for a copy of the
/// largest; an interruption leaves the store as it was.
///
/// Exit codes: 0 done; 64 usage; 65 the store is damaged; 66 no store; 74 it failed; 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Compact {
    #[command(flatten)]
    store: StoreArgs,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Compact {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let store = store::open_existing(&self.store)?;
        let before = store.stats().context("reading the store")?;
        store.compact().context("compacting")?;
        let after = store.stats().context("reading the store")?;
        store.close().context("closing the store")?;
        if self.json {
            return print::json(&json!({
                "runs_before": before.runs,
                "run_bytes_before": before.run_bytes,
                "runs": after.runs,
                "run_bytes": after.run_bytes,
            }));
        }
        let change = format!("{} runs of {} bytes", before.runs, before.run_bytes);
        print::text(&format!("{change} became {} runs of {} bytes\n", after.runs, after.run_bytes))
    }
}
