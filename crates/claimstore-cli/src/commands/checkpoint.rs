//! `claimstore checkpoint`: what is resolved moves out of the journal.

use claimstore_admin::{Answer, Request};
use clap::Args;
use serde_json::json;

use crate::codes;
use crate::exit::Exit;
use crate::source::{self, unexpected};
use crate::store_args::StoreArgs;
use crate::{human, print};

/// Moves results out of the journal into sorted runs.
///
/// The next open then has less to read back.
#[derive(Debug, Args)]
#[command(after_long_help = codes::CHECKPOINT.listed())]
pub(crate) struct Checkpoint {
    #[command(flatten)]
    store: StoreArgs,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Checkpoint {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let answer = source::ask(&self.store, &Request::Checkpoint)?;
        let Answer::Checkpointed { runs, run_rows: rows, run_bytes: bytes } = answer else {
            return Err(unexpected());
        };
        if self.json {
            return print::json(&json!({ "runs": runs, "run_rows": rows, "run_bytes": bytes }));
        }
        print::line(&format!("{rows} rows in {runs} runs, {}", human::bytes(bytes)))
    }
}
