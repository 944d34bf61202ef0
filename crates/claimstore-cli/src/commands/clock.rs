//! `claimstore clock`: what the store takes the time for.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::args::StoreArgs;
use crate::exit::Exit;
use crate::show::{ms, utc};
use crate::{duration, print, store};

/// Shows store time, which decides when keys are forgotten, and how far the wall clock stands off it.
///
/// A wall clock that jumped far ahead is not followed (docs/operations.md). --accept takes it at its word, once: store time
/// becomes the wall clock's, and what has expired by it is forgotten. Store time never goes back.
///
/// Exit codes: 0 shown, or accepted; 64 usage; 65 the store is damaged; 66 no store; 74 it failed; 75 the store is open
/// elsewhere.
#[derive(Debug, Args)]
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
        let offset = duration::format(std::time::Duration::from_millis(offset_ms.unsigned_abs()));
        let side = if offset_ms < 0 { "behind" } else { "ahead of" };
        print::text(&format!("store time {}, the wall clock {offset} {side} it\n", utc(ms(now))))
    }
}
