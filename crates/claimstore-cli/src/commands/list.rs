//! `claimstore list`: records by filter, a page at a time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use claimstore::{Filter, Record, RecordState, Store};
use claimstore_hash::digest_key;
use clap::{Args, ValueEnum};

use crate::args::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::show::{ShowArgs, age, hex, ms};
use crate::{duration, print, store, target};

/// How many bytes of a record's digest go into a cursor: two records of one moment are told apart by it.
const CURSOR_BYTES: usize = 16;

/// Lists records, oldest claim first, a page at a time.
///
/// A page ends with a cursor if there is more; --after takes it. A cursor holds a time and a digest, no key. A key
/// that is claimed again between two pages moves to the end and may show twice.
///
/// Exit codes: 0 listed, also when nothing fits; 1 no such namespace; 64 usage; 65 the store is damaged; 66 no store;
/// 74 reading failed; 75 the store is open elsewhere.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    show: ShowArgs,

    /// Only records in this state; several times, in any of the given.
    #[arg(long, value_name = "STATE")]
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

/// Which part of a listing is shown.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Only records of this namespace; the default one is written "". Left out, of all.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,

    /// Most records of a page.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    /// The cursor that the page before ended with.
    #[arg(long, value_name = "CURSOR", value_parser = Cursor::parse)]
    after: Option<Cursor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// Somebody holds the claim, or may.
    InProgress,
    /// Nobody holds the claim any more.
    Orphaned,
    /// Done.
    Completed,
    /// Failed for good.
    Failed,
    /// May be claimed again, now or later.
    Retry,
    /// Held for review.
    Parked,
}

impl From<State> for RecordState {
    fn from(state: State) -> RecordState {
        match state {
            State::InProgress => RecordState::InProgress,
            State::Orphaned => RecordState::Orphaned,
            State::Completed => RecordState::Completed,
            State::Failed => RecordState::Failed,
            State::Retry => RecordState::Retry,
            State::Parked => RecordState::Parked,
        }
    }
}

impl List {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let store = store::open_existing(&self.store)?;
        let filter = self
            .state
            .iter()
            .fold(Filter::new().prefix(&self.prefix), |filter, state| filter.state((*state).into()));
        let now = store.store_time();
        let fits = |record: &Record| {
            let age = age(now, record.claimed_at());
            self.older_than.is_none_or(|than| age > than) && self.newer_than.is_none_or(|than| age <= than)
        };
        let records = self.page.filter(&store, filter).map(|filter| store.scan(filter))?;
        let page = self.page.collect(records, fits)?;
        finish(store, self.show, &page, now)
    }
}

/// Closes the store and shows the page.
pub(crate) fn finish(store: Store, show: ShowArgs, page: &Page, now: SystemTime) -> anyhow::Result<Exit> {
    store.close().context("closing the store")?;
    if show.json {
        return print::json(&show.page(&page.records, page.next.as_deref()));
    }
    let mut text = show.table(&page.records, now);
    if let Some(next) = &page.next {
        let _ = writeln!(text, "more: --after {next}");
    }
    print::text(&text)
}

/// Records in order, and the cursor of those behind them, if there are any.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) records: Vec<Record>,
    pub(crate) next: Option<String>,
}

impl PageArgs {
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The filter for these pages.
    pub(crate) fn filter(&self, store: &Store, filter: Filter) -> anyhow::Result<Filter> {
        let Some(name) = &self.namespace else { return Ok(filter) };
        target::namespace(store, name)?;
        Ok(filter.namespace(name))
    }

    /// Whether a record is of these pages.
    pub(crate) fn shows(&self, record: &Record) -> bool {
        self.namespace.as_ref().is_none_or(|name| record.namespace() == name)
    }

    /// The first records behind the cursor, in memory for one page however long the listing is.
    pub(crate) fn collect(
        &self,
        records: impl Iterator<Item = Result<Record, claimstore::Error>>,
        fits: impl Fn(&Record) -> bool,
    ) -> anyhow::Result<Page> {
        let limit = usize::try_from(self.limit)?;
        let mut first: BinaryHeap<Placed> = BinaryHeap::new();
        for record in records {
            let record = record.context("reading the store")?;
            let place = Cursor::of(&record);
            if !fits(&record) || self.after.as_ref().is_some_and(|after| place <= *after) {
                continue;
            }
            first.push(Placed { place, record });
            // One more than the page, to know whether there is more.
            if first.len() > limit + 1 {
                first.pop();
            }
        }
        let mut placed = first.into_sorted_vec();
        let more = placed.len() > limit;
        placed.truncate(limit);
        let next = placed.last().filter(|_| more).map(|last| last.place.to_string());
        Ok(Page { records: placed.into_iter().map(|placed| placed.record).collect(), next })
    }
}

/// A place in the order of a listing: when the claim was made, then a digest of namespace and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    claimed_at_ms: u64,
    digest: String,
}

impl Cursor {
    fn of(record: &Record) -> Cursor {
        let digest = digest_key(&[record.namespace().as_bytes(), record.key()]);
        let digest = hex(digest.get(..CURSOR_BYTES).unwrap_or_default());
        Cursor { claimed_at_ms: ms(record.claimed_at()), digest }
    }

    fn parse(text: &str) -> Result<Cursor, Failure> {
        let wrong = || Failure::new(Exit::Usage, "this is no cursor of a page");
        let (time, digest) = text.split_once('-').ok_or_else(wrong)?;
        let claimed_at_ms = time.parse().map_err(|_| wrong())?;
        let is_digest =
            digest.len() == 2 * CURSOR_BYTES && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_digest {
            return Err(wrong());
        }
        Ok(Cursor { claimed_at_ms, digest: digest.to_ascii_lowercase() })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.claimed_at_ms, self.digest)
    }
}

/// A record at its place; compared by the place.
struct Placed {
    place: Cursor,
    record: Record,
}

impl PartialEq for Placed {
    fn eq(&self, other: &Placed) -> bool {
        self.place == other.place
    }
}

impl Eq for Placed {}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Placed) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Placed) -> Ordering {
        self.place.cmp(&other.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_nonsense_is_refused() {
        let text = format!("1700000000000-{}", "0123456789abcdef".repeat(2));
        assert_eq!(Cursor::parse(&text).unwrap().to_string(), text);
        for wrong in ["", "-", "5", "5-", "5-xyz", "x-00", "5-00"] {
            assert!(Cursor::parse(wrong).is_err(), "{wrong}");
        }
    }
}
