//! `claimstore backup`: a copy that opens.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::codes;
use crate::exit::{Exit, Failure};
use crate::store_args::StoreArgs;
use crate::{print, store};

/// Copies the store into a new or empty directory.
///
/// The copy is a store; `claimstore restore` puts it into the place of a lost one.
#[derive(Debug, Args)]
#[command(after_long_help = codes::with_store(&[(0, "done"), (73, "the directory is not empty"), (74, "it failed; the directory is no backup")]))]
pub(crate) struct Backup {
    #[command(flatten)]
    store: StoreArgs,

    /// The directory for the copy.
    #[arg(value_name = "DIR")]
    to: PathBuf,

    /// Take along the key of the fingerprints: for a copy that is kept as safe as the store.
    #[arg(long)]
    with_key: bool,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let store = store::open_existing(&self.store)?;
        refuse_occupied(&self.to)?;
        let copied = if self.with_key { store.backup_with_key(&self.to) } else { store.backup(&self.to) };
        copied.with_context(|| format!("copying to {}", self.to.display()))?;
        let rows = store.stats().context("reading the store")?.checkpointed_rows;
        store.close().context("closing the store")?;
        if self.json {
            return print::json(&json!({ "rows": rows, "with_key": self.with_key }));
        }
        print::line(&format!("{rows} rows copied to {}", self.to.display()))
    }
}

/// A directory that is not there, or empty, may be written to.
pub(crate) fn refuse_occupied(dir: &std::path::Path) -> anyhow::Result<()> {
    let occupied = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("looking at {}", dir.display())),
    };
    if occupied {
        let message = format!("{} is not empty", dir.display());
        return Err(Failure::new(Exit::CannotCreate, message).into());
    }
    Ok(())
}
