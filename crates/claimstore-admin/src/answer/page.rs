//! Listings: records in the order of their claims, a page at a time, with memory for one page however long the
//! listing is.

use crate::answer::find::namespace;
use crate::answer::served::Served;
use crate::hex::hex;
use crate::millis::ms;
use crate::wire::{Answer, Listing, RecordView, Refusal, RefusalKind, Show, State, Verb, Which};
use claimstore::{Error, Filter, Record, RecordState, Store};
use claimstore_hash::digest_key;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime};

/// The most records of a page through the socket.
const MAX_RECORDS: usize = 1_000;
/// About the most bytes of such a page; it has at least one record.
const MAX_BYTES: usize = 4 << 20;
/// Bytes of a record's digest in a cursor. The digest distinguishes records of the same time.
const CURSOR_BYTES: usize = 16;

/// Whether a text is a cursor of a page.
pub fn is_cursor(text: &str) -> bool {
    Cursor::parse(text).is_ok()
}

/// Answers a listing.
pub(crate) fn page(store: &Store, listing: &Listing, served: Served) -> Result<Answer, Refusal> {
    let (most, most_bytes) = match served {
        Served::Live => (MAX_RECORDS, MAX_BYTES),
        Served::Briefly => (usize::MAX - 1, usize::MAX),
    };
    let limit = usize::try_from(listing.limit).unwrap_or(most).clamp(1, most);
    let after = listing.after.as_deref().map(Cursor::parse).transpose()?;
    if let Some(name) = &listing.namespace {
        namespace(store, name)?;
    }
    let now = store.store_time();
    let fits = |record: &Record| is_wanted(&listing.which, record, now);
    let found = match &listing.which {
        Which::Unheld => {
            let of_namespace =
                |record: &Record| listing.namespace.as_ref().is_none_or(|name| record.namespace() == name);
            first(store.unheld(), listing, limit, after.as_ref(), of_namespace)?
        }
        Which::Decidable { .. } => {
            let decidable = Decidable::of(&listing.which)?;
            let chosen = |record: &Record| {
                let of_namespace = listing.namespace.as_ref().is_none_or(|name| record.namespace() == name);
                of_namespace && fits(record)
            };
            first(decidable.records(store, listing), listing, limit, after.as_ref(), chosen)?
        }
        Which::Records { .. } | Which::Stuck { .. } => {
            first(store.scan(filter(listing)), listing, limit, after.as_ref(), fits)?
        }
    };
    let (records, next) = fill(store, listing.show, found, most_bytes)?;
    Ok(Answer::Records { records, next, store_time_ms: ms(now) })
}

fn filter(listing: &Listing) -> Filter {
    let filter = match &listing.which {
        Which::Records { states, prefix, .. } => {
            states.iter().fold(Filter::new().prefix(prefix), |filter, state| filter.state((*state).into()))
        }
        // These are requested separately, by their own states.
        Which::Decidable { .. } => Filter::new(),
        Which::Stuck { .. } | Which::Unheld => {
            let states = [RecordState::InProgress, RecordState::Orphaned, RecordState::Retry];
            states.into_iter().fold(Filter::new(), Filter::state)
        }
    };
    match &listing.namespace {
        Some(name) => filter.namespace(name),
        None => filter,
    }
}

/// Whether a record matches the request's times.
fn is_wanted(which: &Which, record: &Record, now: SystemTime) -> bool {
    let age = |since: SystemTime| now.duration_since(since).unwrap_or_default();
    match which {
        Which::Records { older_than_ms, newer_than_ms, prefix, .. }
        | Which::Decidable { older_than_ms, newer_than_ms, prefix, .. } => {
            let age = age(record.claimed_at());
            let has_prefix = record.key().starts_with(prefix.as_bytes());
            has_prefix
                && older_than_ms.is_none_or(|than| age > Duration::from_millis(than))
                && newer_than_ms.is_none_or(|than| age <= Duration::from_millis(than))
        }
        Which::Stuck { older_than_ms } => {
            // A retry that a reviewer released has no due time of its own: it was due from the release on.
            let settled = record.settled_at().unwrap_or(SystemTime::UNIX_EPOCH);
            let since = record.retry_at().map_or_else(|| record.claimed_at(), |retry| retry.max(settled));
            now >= since && age(since) >= Duration::from_millis(*older_than_ms)
        }
        Which::Unheld => true,
    }
}

/// The records that can be decided about. Claims with a holder are left out; only the store knows which ones those
/// are.
struct Decidable {
    states: Vec<State>,
    /// Whether claims in progress are included even if they have a holder.
    held_too: bool,
}

impl Decidable {
    fn of(which: &Which) -> Result<Decidable, Refusal> {
        let Which::Decidable { verb, force, states, .. } = which else {
            return Err(Refusal::new(RefusalKind::Usage, "no listing of what can be decided about"));
        };
        let asked = |state: &State| states.is_empty() || states.contains(state);
        let wanted: Vec<State> =
            State::ALL.into_iter().filter(|state| verb.takes(*state) && asked(state)).collect();
        if wanted.is_empty() {
            let message = format!("this decision is about keys that are {}", verb.needs());
            return Err(Refusal::new(RefusalKind::Usage, message));
        }
        Ok(Decidable { states: wanted, held_too: *force && *verb == Verb::Forget })
    }

    fn records(&self, store: &Store, listing: &Listing) -> impl Iterator<Item = Result<Record, Error>> {
        let is_claim = |state: &State| matches!(state, State::InProgress | State::Orphaned);
        let (claims, others): (Vec<State>, Vec<State>) =
            self.states.iter().partition(|state| is_claim(state));
        let unheld = (!claims.is_empty() && !self.held_too).then(|| store.unheld());
        let unheld = unheld.into_iter().flatten().filter(move |record| {
            record.as_ref().map_or(true, |record| claims.contains(&record.state().into()))
        });
        let scanned = if self.held_too { self.states.clone() } else { others };
        let filter = scanned.iter().fold(filter(listing), |filter, state| filter.state((*state).into()));
        let scanned = (!scanned.is_empty()).then(|| store.scan(filter));
        unheld.chain(scanned.into_iter().flatten())
    }
}

/// The first records after the cursor, without stored data, and whether there are more.
fn first(
    records: impl Iterator<Item = Result<Record, Error>>,
    listing: &Listing,
    limit: usize,
    after: Option<&Cursor>,
    fits: impl Fn(&Record) -> bool,
) -> Result<(Vec<Placed>, bool), Error> {
    let mut first: BinaryHeap<Placed> = BinaryHeap::new();
    for record in records {
        let record = record?;
        let place = Cursor::of(&record);
        let is_full = first.len() > limit && first.peek().is_some_and(|last| place >= last.place);
        if is_full || !fits(&record) || after.is_some_and(|after| place <= *after) {
            continue;
        }
        let view = RecordView::new(&record, Show { payload: false, ..listing.show });
        first.push(Placed { place, key: record.key().into(), view });
        // One record more than the page, to know whether there are more.
        if first.len() > limit + 1 {
            first.pop();
        }
    }
    let mut placed = first.into_sorted_vec();
    let more = placed.len() > limit;
    // A claim that was ended between two parts of a listing is in both of them.
    placed.dedup_by(|one, other| one.place == other.place);
    placed.truncate(limit);
    Ok((placed, more))
}

/// Adds stored data, if it was requested, until the page is full. A page that is cut short ends with a cursor.
fn fill(
    store: &Store,
    show: Show,
    (found, mut more): (Vec<Placed>, bool),
    most_bytes: usize,
) -> Result<(Vec<RecordView>, Option<String>), Refusal> {
    let (mut records, mut bytes, mut last) = (Vec::new(), 0, None);
    for Placed { place, key, mut view } in found {
        if show.payload
            && let Some(record) = store.namespace(&view.namespace)?.get(&key)?
        {
            view = RecordView { orphaned: view.orphaned, ..RecordView::new(&record, show) };
        }
        bytes += view.size();
        if bytes > most_bytes && !records.is_empty() {
            more = true;
            break;
        }
        records.push(view);
        last = Some(place);
    }
    Ok((records, last.filter(|_| more).map(|last| last.to_string())))
}

/// A place in the order of a listing: the time of the claim, then a digest of namespace and key.
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

    fn parse(text: &str) -> Result<Cursor, Refusal> {
        let parsed = text.split_once('-').and_then(|(time, digest)| {
            let is_digest =
                digest.len() == 2 * CURSOR_BYTES && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            let claimed_at_ms = time.parse().ok()?;
            is_digest.then(|| Cursor { claimed_at_ms, digest: digest.to_ascii_lowercase() })
        });
        parsed.ok_or_else(|| Refusal::new(RefusalKind::Usage, "this is no cursor of a page"))
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
    key: Box<[u8]>,
    view: RecordView,
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
