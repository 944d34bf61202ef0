//! One key, looked at: the part that `get` and `explain` share.

use claimstore_admin::{Answer, Key, RecordView, Request};
use clap::Args;

use crate::args::StoreArgs;
use crate::show::ShowArgs;
use crate::source::{self, unexpected};
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
    pub(crate) fn record(&self, history: bool) -> anyhow::Result<(RecordView, u64)> {
        let key = Key::new(&self.key.bytes()?);
        let namespace = self.key.namespace.clone();
        let request = Request::Get { namespace, key, show: self.show.shown(), history };
        match source::ask(&self.store, &request)? {
            Answer::Record { record, store_time_ms } => Ok((*record, store_time_ms)),
            _ => Err(unexpected()),
        }
    }
}
