//! One key, looked at: the part that `get` and `explain` share.

use std::time::SystemTime;

use anyhow::Context as _;
use claimstore::Record;
use clap::Args;

use crate::args::StoreArgs;
use crate::show::ShowArgs;
use crate::store;
use crate::target::KeyArgs;

/// Which key, and how it is shown.
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

impl LookArgs {
    /// What the store knows of the key, and the store time it was asked at.
    pub(crate) fn record(&self) -> anyhow::Result<(Record, SystemTime)> {
        let store = store::open_existing(&self.store)?;
        let (record, now) = (self.key.find(&store)?, store.store_time());
        store.close().context("closing the store")?;
        Ok((record, now))
    }
}
