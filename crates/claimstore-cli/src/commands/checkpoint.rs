//! `claimstore checkpoint`: what is resolved moves out of the journal.

use claimstore_admin::{Answer, Request};
use clap::Args;
use serde_json::json;

use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::print;
use crate::source::{self, unexpected};

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
        let answer = source::ask(&self.store, &Request::Checkpoint)?;
        let Answer::Checkpointed { runs, run_rows: rows, run_bytes: bytes } = answer else {
            return Err(unexpected());
        };
        if self.json {
            return print::json(&json!({ "runs": runs, "run_rows": rows, "run_bytes": bytes }));
        }
        print::text(&format!("{rows} rows in {runs} runs, {bytes} bytes\n"))
    }
}
