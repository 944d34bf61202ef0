//! `claimstore prune`: what is no longer remembered goes from the disk.

use claimstore_admin::{Answer, Request};
use clap::Args;
use serde_json::json;

use crate::codes;
use crate::exit::Exit;
use crate::human::{self, counted};
use crate::print;
use crate::source::{self, unexpected};
use crate::store_args::StoreArgs;

/// Drops records that are no longer remembered.
///
/// They go by time buckets: what has ended, and whose files can go as a whole.
#[derive(Debug, Args)]
#[command(after_long_help = codes::PRUNE.listed())]
pub(crate) struct Prune {
    #[command(flatten)]
    store: StoreArgs,

    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Prune {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let request = Request::Prune { dry_run: self.dry_run };
        let Answer::Pruned { records, runs, bytes } = source::ask(&self.store, &request)? else {
            return Err(unexpected());
        };
        if self.json {
            let object = json!({ "records": records, "runs": runs, "bytes": bytes, "dry_run": self.dry_run });
            return print::json(&object);
        }
        let verb = if self.dry_run { "would drop" } else { "dropped" };
        print::line(&format!(
            "{verb} {} in {}, {}",
            counted(records, "record"),
            counted(runs, "run"),
            human::bytes(bytes)
        ))
    }
}
