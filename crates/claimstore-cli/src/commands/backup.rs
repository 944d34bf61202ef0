//! `claimstore backup`: a copy that opens.

use std::path::{self, PathBuf};

use anyhow::Context as _;
use claimstore_admin::{Answer, Dir, Request};
use clap::Args;
use serde_json::json;

use crate::codes;
use crate::exit::Exit;
use crate::source::{Source, unexpected};
use crate::store_args::StoreArgs;
use crate::{print, store};

/// Copies the store into a new or empty directory.
///
/// The copy is a store; `claimstore restore` puts it into the place of a lost one. Of a store that a program has open and
/// lets be decided about, the program makes it: with its own permissions, at DIR as it sees the file system.
#[derive(Debug, Args)]
#[command(after_long_help = codes::BACKUP.listed())]
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
        let mut source = Source::open_to_decide(&self.store)?;
        // The program that has the store open makes the copy, and has a working directory of its own.
        let to = path::absolute(&self.to).context("finding the directory")?;
        let request = Request::Backup { dir: Dir::new(&to), with_key: self.with_key };
        let answered = source.ask(&request).with_context(|| format!("copying to {}", self.to.display()));
        let Answer::BackedUp { rows } = answered? else { return Err(unexpected()) };
        if source.is_live() && !store::is_store(&to) {
            // In a container, for instance.
            print::say(
                "the program that has the store open made the copy; there is none at this path from here",
            );
        }
        source.close()?;
        if self.json {
            return print::json(&json!({ "rows": rows, "with_key": self.with_key }));
        }
        print::line(&format!("{rows} rows copied to {}", self.to.display()))
    }
}
