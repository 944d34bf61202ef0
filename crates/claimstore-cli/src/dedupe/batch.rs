//! Passes one batch on: claim, write, sync, complete.

use std::collections::HashMap;

use clap::ValueEnum;

use super::output::{Sink, Stopped, Written};
use crate::key::Refusal;
use crate::planted;

/// What happens to records in doubt after a crash of an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnCrash {
    /// Pass them on (again): nothing is lost, the last batch may be passed on twice.
    Emit,
    /// Count them as passed on: nothing is repeated, the last batch may be lost.
    Skip,
}

/// The claims of a store, as far as passing on needs them.
pub(crate) trait Claims {
    type Lease;

    /// Claims distinct keys, in one commit. Answer i is for key i.
    fn claim(&self, keys: &[&[u8]]) -> anyhow::Result<Vec<Answer<Self::Lease>>>;

    /// Marks these as passed on, durably, in one commit.
    fn complete(&self, leases: Vec<Self::Lease>) -> anyhow::Result<()>;

    /// Takes these claims back, as if they had never been made.
    fn release(&self, leases: Vec<Self::Lease>) -> anyhow::Result<()>;
}

/// What a store says to one key.
#[derive(Debug)]
pub(crate) enum Answer<L> {
    /// Ours to pass on. In doubt: an earlier run claimed it and ended without saying whether it passed it on.
    Claimed { lease: L, in_doubt: bool },
    /// Passed on before.
    Duplicate,
    /// Not now, for a reason of this key's own.
    Refused(String),
}

/// A record that has a key.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) key: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) line: u64,
}

/// What became of the records so far. Each record read is in exactly one of the other counts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) read: u64,
    pub(crate) passed: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    /// Left to a later run, because this one ended early.
    pub(crate) left: u64,
    /// Of `passed`: an earlier run may have passed them on too.
    pub(crate) in_doubt_passed: u64,
    /// Of `duplicates`: an earlier run may not have passed them on.
    pub(crate) in_doubt_skipped: u64,
}

/// What a batch leaves to be done by the caller.
#[derive(Debug)]
pub(crate) struct Outcome<'e> {
    /// Records the store refused, in order.
    pub(crate) refused: Vec<(&'e Event, Refusal)>,
    /// Records that did not pass because their event is known, in order.
    pub(crate) duplicates: Vec<&'e Event>,
    /// Why no further batch makes sense.
    pub(crate) stopped: Option<Stopped>,
}

/// Passes the new ones among `events` on, in order, and settles every claim it made. Counts all but `read`.
///
/// On an error the claims made are neither completed nor released: whether their records were passed on is then as
/// doubtful as after a crash, and the next run decides about them in the same way.
pub(crate) fn pass_on<'e, C: Claims>(
    claims: &C,
    sink: &mut impl Sink,
    events: &'e [Event],
    on_crash: OnCrash,
    tally: &mut Tally,
) -> anyhow::Result<Outcome<'e>> {
    let mut sorted = Sorted::claim(claims, events, on_crash)?;
    let winners: Vec<&[u8]> = sorted.winners.iter().map(|winner| winner.event.bytes.as_slice()).collect();
    let Written { whole, stopped } = sink.write(&winners);
    let unwritten = sorted.winners.split_off(whole.min(sorted.winners.len()));
    let mut must_sync = whole > 0;
    if planted::active(48) {
        must_sync &= unwritten.is_empty();
    }
    if must_sync {
        // Before completing: a claim completed ahead of its record would lose the record to a power loss here.
        sink.sync()?;
    }
    sorted.count(&unwritten, tally);
    let duplicates = sorted.all_duplicates();
    let done = sorted.winners.into_iter().map(|winner| winner.lease).chain(sorted.skipped);
    claims.complete(done.collect())?;
    claims.release(unwritten.into_iter().map(|winner| winner.lease).collect())?;
    Ok(Outcome { refused: sorted.refused, duplicates, stopped })
}

/// A record this batch may pass on.
struct Winner<'e, L> {
    event: &'e Event,
    /// Later records of the batch with the same key.
    repeats: Vec<&'e Event>,
    in_doubt: bool,
    lease: L,
}

/// The events of a batch by what the store said.
struct Sorted<'e, L> {
    winners: Vec<Winner<'e, L>>,
    /// In doubt, and to be completed without passing on.
    skipped: Vec<L>,
    /// All but the repeats of winners.
    duplicates: Vec<&'e Event>,
    refused: Vec<(&'e Event, Refusal)>,
}

impl<'e, L> Sorted<'e, L> {
    fn claim<C: Claims<Lease = L>>(
        claims: &C,
        events: &'e [Event],
        on_crash: OnCrash,
    ) -> anyhow::Result<Sorted<'e, L>> {
        let groups = group(events);
        let keys: Vec<&[u8]> = groups.iter().map(|(first, _)| first.key.as_slice()).collect();
        let answers = if keys.is_empty() { Vec::new() } else { claims.claim(&keys)? };
        anyhow::ensure!(answers.len() == keys.len(), "the store answered another number of claims");
        let mut sorted =
            Sorted { winners: Vec::new(), skipped: Vec::new(), duplicates: Vec::new(), refused: Vec::new() };
        for ((first, repeats), answer) in groups.into_iter().zip(answers) {
            sorted.sort(first, repeats, answer, on_crash);
        }
        sorted.refused.sort_by_key(|(event, _)| event.line);
        Ok(sorted)
    }

    fn sort(&mut self, first: &'e Event, repeats: Vec<&'e Event>, answer: Answer<L>, on_crash: OnCrash) {
        match (answer, on_crash) {
            (Answer::Claimed { lease, in_doubt: true }, OnCrash::Skip) => {
                self.skipped.push(lease);
                self.duplicates.extend(std::iter::once(first).chain(repeats));
            }
            (Answer::Claimed { lease, in_doubt }, _) => {
                self.winners.push(Winner { event: first, repeats, in_doubt, lease });
            }
            (Answer::Duplicate, _) => self.duplicates.extend(std::iter::once(first).chain(repeats)),
            (Answer::Refused(reason), _) => {
                let events = std::iter::once(first).chain(repeats);
                self.refused.extend(events.map(|event| (event, Refusal::Store(reason.clone()))));
            }
        }
    }

    /// Counts what `self.winners` (written) and `unwritten` have become.
    fn count(&self, unwritten: &[Winner<'_, L>], tally: &mut Tally) {
        tally.passed += self.winners.len() as u64;
        tally.in_doubt_passed += self.winners.iter().filter(|winner| winner.in_doubt).count() as u64;
        tally.duplicates += (self.duplicates.len() + repeats(&self.winners)) as u64;
        tally.in_doubt_skipped += self.skipped.len() as u64;
        tally.refused += self.refused.len() as u64;
        tally.left += (unwritten.len() + repeats(unwritten)) as u64;
    }

    /// What is known, and the repeats of what was written.
    fn all_duplicates(&mut self) -> Vec<&'e Event> {
        let repeats = self.winners.iter().flat_map(|winner| &winner.repeats);
        let mut all: Vec<_> = self.duplicates.iter().chain(repeats).copied().collect();
        all.sort_by_key(|event| event.line);
        all
    }
}

fn repeats<L>(winners: &[Winner<'_, L>]) -> usize {
    winners.iter().map(|winner| winner.repeats.len()).sum()
}

/// The first event of each key, in order, with its repeats in this batch.
fn group(events: &[Event]) -> Vec<(&Event, Vec<&Event>)> {
    let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(events.len());
    let mut groups: Vec<(&Event, Vec<&Event>)> = Vec::with_capacity(events.len());
    for event in events {
        let place = *places.entry(&event.key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, repeats)) => repeats.push(event),
            None => groups.push((event, Vec::new())),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;

    use super::*;

    /// What a fake store knows of a key, and what was done to it, in order.
    #[derive(Default)]
    struct FakeClaims {
        completed: RefCell<Vec<String>>,
        in_doubt: Vec<String>,
        refused: Vec<String>,
        log: RefCell<Vec<String>>,
    }

    impl Claims for FakeClaims {
        type Lease = String;

        fn claim(&self, keys: &[&[u8]]) -> anyhow::Result<Vec<Answer<String>>> {
            let keys = keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap());
            let answer = |key: String| {
                self.log.borrow_mut().push(format!("claim {key}"));
                if self.completed.borrow().contains(&key) {
                    Answer::Duplicate
                } else if self.refused.contains(&key) {
                    Answer::Refused("no".into())
                } else {
                    Answer::Claimed { in_doubt: self.in_doubt.contains(&key), lease: key }
                }
            };
            Ok(keys.map(answer).collect())
        }

        fn complete(&self, leases: Vec<String>) -> anyhow::Result<()> {
            self.log.borrow_mut().extend(leases.iter().map(|lease| format!("complete {lease}")));
            self.completed.borrow_mut().extend(leases);
            Ok(())
        }

        fn release(&self, leases: Vec<String>) -> anyhow::Result<()> {
            self.log.borrow_mut().extend(leases.iter().map(|lease| format!("release {lease}")));
            Ok(())
        }
    }

    /// How a sink ends that has no room for all.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Ending {
        ReaderGone,
        Signal,
        DiskFull,
    }

    const ENDINGS: [Ending; 3] = [Ending::ReaderGone, Ending::Signal, Ending::DiskFull];

    /// Takes `room` records, then ends. Notes what it did among what was done to the store.
    struct FakeSink<'l> {
        room: usize,
        ending: Ending,
        sync_fails: bool,
        taken: Vec<u8>,
        log: Option<&'l RefCell<Vec<String>>>,
    }

    impl FakeSink<'_> {
        fn new(room: usize) -> FakeSink<'static> {
            FakeSink { room, ending: Ending::ReaderGone, taken: Vec::new(), sync_fails: false, log: None }
        }

        fn note(&self, what: &str) {
            self.log.iter().for_each(|log| log.borrow_mut().push(what.into()));
        }
    }

    impl Sink for FakeSink<'_> {
        fn write(&mut self, records: &[&[u8]]) -> Written {
            let whole = records.len().min(self.room);
            self.taken.extend(records[..whole].concat());
            self.note(&format!("write {whole}"));
            let stopped = match self.ending {
                Ending::ReaderGone => Stopped::ReaderGone,
                Ending::Signal => Stopped::Signal,
                Ending::DiskFull => Stopped::Failed(io::ErrorKind::StorageFull.into()),
            };
            Written { whole, stopped: (whole < records.len()).then_some(stopped) }
        }

        fn sync(&mut self) -> io::Result<()> {
            self.note("sync");
            if self.sync_fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    fn events(keys: &str) -> Vec<Event> {
        let event =
            |(key, line): (char, u64)| Event { key: key.to_string().into(), bytes: vec![key as u8], line };
        keys.chars().zip(1..).map(event).collect()
    }

    /// What a batch came to: why it stopped, and the lines of what was refused and of duplicates.
    struct Told {
        stopped: Option<Stopped>,
        refused: Vec<u64>,
        duplicates: Vec<u64>,
    }

    fn check(claims: &FakeClaims, sink: &mut FakeSink<'_>, keys: &str, on_crash: OnCrash) -> (Tally, Told) {
        let mut tally = Tally { read: keys.len() as u64, ..Tally::default() };
        let events = events(keys);
        let outcome = pass_on(claims, sink, &events, on_crash, &mut tally).unwrap();
        assert_eq!(tally.read, tally.passed + tally.duplicates + tally.refused + tally.left);
        assert_eq!(tally.duplicates, outcome.duplicates.len() as u64);
        let refused = outcome.refused.iter().map(|(event, _)| event.line).collect();
        let duplicates = outcome.duplicates.iter().map(|event| event.line).collect();
        (tally, Told { stopped: outcome.stopped, refused, duplicates })
    }

    /// Every answer of a store, with every rule for doubt, with every room and ending of the output, with a sync that
    /// works and one that fails.
    ///
    /// What is completed was written and synced, or known to be in doubt and skipped; and what was not written is never
    /// completed. Where the sync fails, nothing is settled, however much was written.
    #[test]
    fn nothing_is_completed_before_it_is_durable_however_the_output_ends() {
        for (on_crash, ending, sync_fails, room) in [OnCrash::Emit, OnCrash::Skip]
            .into_iter()
            .flat_map(|on_crash| ENDINGS.map(|ending| (on_crash, ending)))
            .flat_map(|(on_crash, ending)| [false, true].map(|fails| (on_crash, ending, fails)))
            .flat_map(|(on_crash, ending, fails)| (0..5).map(move |room| (on_crash, ending, fails, room)))
        {
            // a, e: new. b: in doubt. c: known. d: refused. Each twice.
            let claims = FakeClaims {
                completed: RefCell::new(vec!["c".into()]),
                in_doubt: vec!["b".into()],
                refused: vec!["d".into()],
                log: RefCell::default(),
            };
            let mut sink = FakeSink { ending, sync_fails, log: Some(&claims.log), ..FakeSink::new(room) };
            let events = events("abcdeabcde");
            let mut tally = Tally { read: 10, ..Tally::default() };
            let result = pass_on(&claims, &mut sink, &events, on_crash, &mut tally);
            let case = format!("{on_crash:?}, {ending:?}, sync fails: {sync_fails}, room {room}");
            let passing = if on_crash == OnCrash::Emit { "abe" } else { "ae" };
            let (written, unwritten) = passing.split_at(room.min(passing.len()));
            let log = claims.log.borrow();
            let settled: Vec<_> = log
                .iter()
                .filter(|what| what.starts_with("complete") || what.starts_with("release"))
                .collect();
            if sync_fails && !written.is_empty() {
                assert!(result.is_err() && settled.is_empty(), "{case}: {log:?}");
                continue;
            }
            let outcome = result.unwrap();
            let skipped = if on_crash == OnCrash::Skip { "b" } else { "" };
            let completed = written.chars().chain(skipped.chars()).map(|key| format!("complete {key}"));
            let released = unwritten.chars().map(|key| format!("release {key}"));
            assert_eq!(
                settled,
                completed.chain(released).collect::<Vec<_>>().iter().collect::<Vec<_>>(),
                "{case}"
            );
            let place = |what: &str| log.iter().position(|done| done == what);
            if let Some(sync) = place("sync") {
                assert!(place(&format!("write {}", written.len())) < Some(sync), "{case}: {log:?}");
                assert!(log.iter().skip(sync).all(|done| !done.starts_with("write")), "{case}: {log:?}");
                let first = log.iter().position(|done| done.starts_with("complete")).unwrap();
                assert!(sync < first || written.is_empty(), "{case}: {log:?}");
            } else {
                assert!(written.is_empty(), "{case}: {log:?}");
            }
            assert_eq!(outcome.stopped.is_some(), !unwritten.is_empty(), "{case}");
            assert_eq!(tally.passed, written.len() as u64, "{case}");
            assert_eq!(tally.left, 2 * unwritten.len() as u64, "{case}");
            assert_eq!(tally.refused, 2, "{case}");
            assert_eq!(tally.read, tally.passed + tally.duplicates + tally.refused + tally.left, "{case}");
            assert_eq!(sink.taken, written.as_bytes(), "{case}");
        }
    }

    #[test]
    fn each_key_passes_once_within_a_batch_and_across() {
        let (claims, mut sink) = (FakeClaims::default(), FakeSink::new(9));
        let (tally, _) = check(&claims, &mut sink, "abacb", OnCrash::Emit);
        assert_eq!((tally.passed, tally.duplicates, sink.taken.as_slice()), (3, 2, &b"abc"[..]));
        let (tally, _) = check(&claims, &mut sink, "cda", OnCrash::Emit);
        assert_eq!((tally.passed, tally.duplicates, sink.taken.as_slice()), (1, 2, &b"abcd"[..]));
    }

    #[test]
    fn what_was_not_written_is_released_with_its_repeats() {
        let (claims, mut sink) = (FakeClaims::default(), FakeSink::new(1));
        let (tally, told) = check(&claims, &mut sink, "ababb", OnCrash::Emit);
        assert_eq!((tally.passed, tally.duplicates, tally.left), (1, 1, 3));
        assert!(matches!(told.stopped, Some(Stopped::ReaderGone)));
        assert_eq!(told.duplicates, [3], "b is left, with its repeats");
        assert_eq!(*claims.log.borrow(), ["claim a", "claim b", "complete a", "release b"]);
    }

    #[test]
    fn doubt_is_passed_on_or_skipped_as_asked() {
        let claims = FakeClaims { in_doubt: vec!["a".into()], ..FakeClaims::default() };
        let (tally, _) = check(&claims, &mut FakeSink::new(9), "ab", OnCrash::Emit);
        assert_eq!((tally.passed, tally.in_doubt_passed), (2, 1));

        let claims = FakeClaims { in_doubt: vec!["a".into()], ..FakeClaims::default() };
        let mut sink = FakeSink::new(9);
        let (tally, _) = check(&claims, &mut sink, "aba", OnCrash::Skip);
        assert_eq!((tally.passed, tally.duplicates, tally.in_doubt_skipped), (1, 2, 1));
        assert_eq!((sink.taken.as_slice(), claims.completed.borrow().len()), (&b"b"[..], 2));
    }

    #[test]
    fn a_key_the_store_refuses_stops_nobody_else() {
        let claims = FakeClaims { refused: vec!["b".into()], ..FakeClaims::default() };
        let (tally, told) = check(&claims, &mut FakeSink::new(9), "abcb", OnCrash::Emit);
        assert_eq!((tally.passed, tally.refused), (2, 2));
        assert_eq!(told.refused, [2, 4]);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_settled() {
        let (claims, mut sink) = (FakeClaims::default(), FakeSink::new(9));
        sink.sync_fails = true;
        let events = events("ab");
        let result = pass_on(&claims, &mut sink, &events, OnCrash::Emit, &mut Tally::default());
        assert!(result.is_err());
        assert_eq!(*claims.log.borrow(), ["claim a", "claim b"]);
    }
}
