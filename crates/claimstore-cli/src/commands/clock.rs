//! `claimstore clock`: what the store takes the time for.

use anyhow::Context as _;
use claimstore_admin::ms;
use clap::Args;
use serde_json::json;

use crate::codes;
use crate::exit::Exit;
use crate::human::{span, utc};
use crate::store_args::StoreArgs;
use crate::{print, store};

/// Shows store time, and how far the wall clock is off.
///
/// Store time decides when keys are forgotten.
///
/// A wall clock that jumped far ahead is not followed (docs/operations.md). --accept takes it at its word, once: store time
/// becomes the wall clock's, and what has expired by it is forgotten. Store time never goes back.
#[derive(Debug, Args)]
#[command(after_long_help = codes::CLOCK.listed())]
pub(crate) struct Clock {
    #[command(flatten)]
    store: StoreArgs,

    /// The wall clock is right, however far ahead it stands.
    #[arg(long)]
    accept: bool,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Clock {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let store = store::open_existing_with(&self.store, self.accept)?;
        let (now, offset_ms) = (store.store_time(), store.stats().context("reading the store")?.clock_offset);
        store.close().context("closing the store")?;
        if self.json {
            return print::json(&json!({ "store_time_ms": ms(now), "clock_offset_ms": offset_ms }));
        }
        let offset = span(offset_ms.unsigned_abs());
        let side = if offset_ms < 0 { "behind" } else { "ahead of" };
        print::line(&format!("store time {}, the wall clock {offset} {side} it", utc(ms(now))))
    }
}
