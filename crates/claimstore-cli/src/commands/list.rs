//! `claimstore list`: records by filter, a page at a time.

use std::time::Duration;

use claimstore_admin::{Listing, State, Which, is_cursor};
use clap::Args;
use serde_json::json;

use crate::codes;
use crate::exit::{Exit, Failure};
use crate::show::ShowArgs;
use crate::source::Source;
use crate::state::state_parser;
use crate::store_args::StoreArgs;
use crate::{duration, print, show};

/// Lists records, oldest claim first, a page at a time.
///
/// A page ends with a cursor if there is more; --after takes it. A cursor holds a time and a digest, no key. A key
/// that is claimed again between two pages moves to the end and may show twice.
#[derive(Debug, Args)]
#[command(after_long_help = codes::LIST.listed())]
pub(crate) struct List {
    #[command(flatten)]
    page: PageArgs,

    /// Only records in this state; several times, in any of the given.
    #[arg(long, value_name = "STATE", value_parser = state_parser())]
    state: Vec<State>,

    /// Only keys that begin with this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,

    /// Only records whose last claim is older than this.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    older_than: Option<Duration>,

    /// Only records whose last claim is not older than this.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    newer_than: Option<Duration>,
}

/// Which part of a listing of which store is shown, and how.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    #[command(flatten)]
    store: StoreArgs,

    /// Only records of this namespace; the default one is written "". Left out, of all.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,

    /// Most records of a page.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    /// The cursor that the page before ended with.
    #[arg(long, value_name = "CURSOR", value_parser = parse_cursor)]
    after: Option<String>,

    #[command(flatten)]
    show: ShowArgs,
}

impl List {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let which = Which::Records {
            states: self.state.clone(),
            prefix: self.prefix.clone(),
            older_than_ms: self.older_than.map(duration::millis),
            newer_than_ms: self.newer_than.map(duration::millis),
        };
        self.page.show(which)
    }
}

impl PageArgs {
    /// Asks for a page and shows it.
    pub(crate) fn show(&self, which: Which) -> anyhow::Result<Exit> {
        let (namespace, after) = (self.namespace.clone(), self.after.clone());
        let listing = Listing { which, namespace, limit: self.limit, after, show: self.show.shown() };
        let mut source = Source::open(&self.store)?;
        let page = source.list(&listing)?;
        source.close()?;
        if self.show.json {
            return print::json(&json!({ "records": page.records, "next": page.next }));
        }
        let exit = print::text(&show::table(&page, self.show))?;
        if let Some(next) = &page.next {
            // Not among the records: whoever counts or cuts lines of a listing has nothing else in it.
            print::note(&format!("more: --after {next}"));
        }
        Ok(exit)
    }
}

fn parse_cursor(text: &str) -> Result<String, Failure> {
    if is_cursor(text) {
        return Ok(text.to_owned());
    }
    Err(Failure::new(Exit::Usage, "this is no cursor of a page"))
}
