//! `claimstore compact`: one run for each stretch of time.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::codes;
use crate::exit::Exit;
use crate::store_args::StoreArgs;
use crate::{human, print, store};

/// Merges runs.
///
/// Until there is one for each stretch of time that gets no more records. Needs room for a copy of the largest; an
/// interruption leaves the store as it was.
#[derive(Debug, Args)]
#[command(after_long_help = codes::COMPACT.listed())]
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
        let runs = |count, size| format!("{} ({})", human::counted(count, "run"), human::bytes(size));
        let (before, after) = (runs(before.runs, before.run_bytes), runs(after.runs, after.run_bytes));
        print::line(&format!("{before} became {after}"))
    }
}
