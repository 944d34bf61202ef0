//! `claimstore verify`: every byte is read and checked.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::codes;
use crate::exit::Exit;
use crate::store_args::StoreArgs;
use crate::{print, store};

/// Reads and checks every byte of the store.
///
/// Every run, every row of the catalogue and of the tables.
#[derive(Debug, Args)]
#[command(after_long_help = codes::VERIFY.listed())]
pub(crate) struct Verify {
    #[command(flatten)]
    store: StoreArgs,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let store = store::open_to_look(&self.store)?;
        let report = store.verify().context("verifying the store")?;
        store.close().context("closing the store")?;
        let (runs, rows, live, tables) = (report.runs, report.rows, report.live, report.table_rows);
        if self.json {
            return print::json(&json!({ "runs": runs, "rows": rows, "live": live, "table_rows": tables }));
        }
        print::line(&format!(
            "in order: {rows} rows in {runs} runs, {live} live entries, {tables} rows of tables"
        ))
    }
}
