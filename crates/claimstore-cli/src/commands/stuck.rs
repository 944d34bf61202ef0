//! `claimstore stuck`: what was begun and does not end.

use std::time::Duration;

use claimstore_admin::Which;
use clap::Args;

use super::list::PageArgs;
use crate::codes;
use crate::duration;
use crate::exit::Exit;

/// Lists keys whose work was begun and does not end.
///
/// These are keys that are in-progress or orphaned, and those in retry that are due and not taken up; oldest claim
/// first. Parked keys: `claimstore parked`.
#[derive(Debug, Args)]
#[command(after_long_help = codes::STUCK.listed())]
pub(crate) struct Stuck {
    #[command(flatten)]
    page: PageArgs,

    /// For how long it has been so: since the claim, or since the retry was due.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration::parse)]
    older_than: Duration,
}

impl Stuck {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let which = Which::Stuck { older_than_ms: duration::millis(self.older_than) };
        self.page.show(which)
    }
}
