use std::collections::BTreeSet;

use claimstore::{Filter, Imported, Store};
use claimstore_admin::{RecordView, Show};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;

const CAUSES: [Orphaned; 5] =
    [Orphaned::EarlierLife, Orphaned::Abandoned, Orphaned::Lapsed, Orphaned::Panicked, Orphaned::Unknown];

fn happened() -> impl Strategy<Value = Happened> {
    prop_oneof![
        prop::sample::select(&CAUSES[..]).prop_map(Happened::Orphaned),
        prop::sample::select(vec![
            Happened::Failed,
            Happened::Parked,
            Happened::Requeued,
            Happened::Completed,
            Happened::FailedForGood,
        ]),
    ]
}

/// Bytes that are text, and bytes that are not.
fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..most),
        prop::collection::vec(prop::sample::select(b"az\"\\\n{".to_vec()), 0..most),
    ]
}

fn past() -> impl Strategy<Value = Past> {
    let times = (1..1_700_000_000_000_u64, 1..1_700_000_000_000_u64);
    (happened(), any::<u32>(), any::<u64>(), times, bytes(64), bytes(256)).prop_map(
        |(what, attempt, token, (claimed_at, happened_at), by, note)| {
            Past::new(what, attempt, at(happened_at))
                .with_token(token)
                .with_claimed_at(at(claimed_at))
                .with_note(by, note)
        },
    )
}

fn import(number: usize) -> impl Strategy<Value = Import> {
    let state = (0..4_usize, bytes(40), bytes(40), bytes(40), bytes(40));
    let times = (1..1_600_000_000_000_u64, 0..100_000_000_000_u64, 1_860_000_000_000..1_900_000_000_000_u64);
    let numbers = any::<(u32, u32, u32, u32, bool)>();
    let counts = (1..u32::MAX, any::<u32>(), any::<u32>(), any::<u32>(), 1_000..300_000_000_000_u64, numbers);
    let print = prop::option::of((any::<u8>(), any::<[u8; 32]>()));
    (state, times, counts, print, prop::collection::vec(past(), 0..=16)).prop_map(
        move |((state, body, note, origin, key), times, counts, print, history)| {
            let key = [format!("{number} ").as_bytes(), &key].concat();
            let import = match state {
                0 => Import::completed(key, body),
                1 => Import::failed(key, body),
                2 => Import::retry(key, at(times.2)).progress(body),
                _ => Import::parked(key, note).progress(body),
            };
            let import = import
                .claimed_at(at(times.0))
                .settled_at(at(times.0 + times.1))
                .expires_at(at(times.2))
                .attempt(counts.0)
                .attempts_granted(counts.1)
                .replays(counts.2)
                .mismatches(counts.3)
                .failures(counts.5.0)
                .losses(counts.5.1)
                .interrupted(counts.5.2)
                .losses_granted(counts.5.3)
                .in_doubt(counts.5.4)
                .ttl(Duration::from_millis(counts.4))
                .origin(origin)
                .history(history);
            match print {
                None => import,
                Some((scheme, digest)) => import.fingerprint(Fingerprint::with_scheme(scheme, digest)),
            }
        },
    )
}

/// The records of a store that these were written into.
fn stored(store: &Store, imports: &[Import]) -> Vec<Record> {
    let space = store.namespace("n").unwrap();
    for answer in space.import_many(imports).unwrap() {
        assert_eq!(answer.unwrap(), Imported::Stored);
    }
    let mut records: Vec<Record> = store.scan(Filter::new().namespace("n")).map(Result::unwrap).collect();
    // Each store has an order of its own.
    records.sort_by(|one, other| one.key().cmp(other.key()));
    records
}

/// Every member is compared: one that is new does not compile here until it is. Tokens are of the store.
fn assert_same(before: &Record, after: &Record) {
    assert_eq!(before.history(), after.history(), "all of an entry is compared by its type");
    let (ttl, fields) = (Record::ttl, Record::fields);
    assert_eq!((ttl(before), fields(before)), (ttl(after), fields(after)));
    assert_eq!(
        (before.fingerprint(), before.detached_until()),
        (after.fingerprint(), after.detached_until())
    );
    let show = Show { keys: true, payload: true };
    let RecordView {
        namespace,
        key_hash,
        key_bytes,
        state,
        orphaned,
        token: _,
        work_token: _,
        attempt,
        attempts_granted,
        failures,
        losses,
        interrupted,
        in_doubt,
        losses_granted,
        once_ended,
        asked,
        replays,
        mismatches,
        claimed_at_ms,
        settled_at_ms,
        expires_at_ms,
        retry_at_ms,
        asked_at_ms,
        detached_until_ms,
        has_fingerprint,
        response_bytes,
        progress_bytes,
        origin_bytes,
        note_bytes,
        key,
        key_hex,
        response,
        response_hex,
        progress,
        progress_hex,
        origin,
        origin_hex,
        note,
        note_hex,
        history: _,
    } = RecordView::new(after, show);
    let is = RecordView::new(before, show);
    assert_eq!((is.namespace, is.key_hash, is.key_bytes), (namespace, key_hash, key_bytes));
    assert_eq!((is.state, is.orphaned, is.asked, is.asked_at_ms), (state, orphaned, asked, asked_at_ms));
    assert_eq!((is.attempt, is.attempts_granted), (attempt, attempts_granted));
    assert_eq!(
        (is.failures, is.losses, is.interrupted, is.in_doubt, is.losses_granted),
        (failures, losses, interrupted, in_doubt, losses_granted)
    );
    assert_eq!(is.once_ended, once_ended);
    assert_eq!((is.replays, is.mismatches), (replays, mismatches));
    assert_eq!((is.claimed_at_ms, is.settled_at_ms), (claimed_at_ms, settled_at_ms));
    assert_eq!((is.expires_at_ms, is.retry_at_ms), (expires_at_ms, retry_at_ms));
    assert_eq!(is.detached_until_ms, detached_until_ms);
    assert_eq!((is.has_fingerprint, is.key, is.key_hex), (has_fingerprint, key, key_hex));
    assert_eq!((is.response_bytes, is.response, is.response_hex), (response_bytes, response, response_hex));
    assert_eq!((is.progress_bytes, is.progress, is.progress_hex), (progress_bytes, progress, progress_hex));
    assert_eq!((is.origin_bytes, is.origin, is.origin_hex), (origin_bytes, origin, origin_hex));
    assert_eq!((is.note_bytes, is.note, is.note_hex), (note_bytes, note, note_hex));
}

/// Names of the members that these lines have, those of a history behind `history.`.
fn members(lines: &[String]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        names.extend(line.as_object().unwrap().keys().cloned());
        for past in line["history"].as_array().into_iter().flatten() {
            names.extend(past.as_object().unwrap().keys().map(|name| format!("history.{name}")));
        }
    }
    names
}

/// Out of a store, through lines of text, and into another: nothing of any record is lost.
#[test]
fn a_record_goes_out_and_in_as_it_is() {
    let cases: usize = std::env::var("CLAIMSTORE_LINES").map_or(400, |cases| cases.parse().unwrap());
    let mut runner = TestRunner::default();
    let fields = fields_of_a_payload();
    let imports: Vec<Import> = (0..cases)
        .map(|number| {
            let import = import(number).new_tree(&mut runner).unwrap().current();
            if number.is_multiple_of(3) { import.fields(&fields) } else { import }
        })
        .collect();
    let (from, to) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let before = stored(&from, &imports);
    let text = |record: &Record| {
        let history = record.history();
        serde_json::to_string(&RecordLine::of(record, &history)).unwrap()
    };
    let lines: Vec<String> = before.iter().map(text).collect();
    let again: Vec<Import> = lines
        .iter()
        .map(|line| serde_json::from_str::<RecordLine<'_>>(line).unwrap().import().unwrap())
        .collect();
    let after = stored(&to, &again);
    assert_eq!(before.len(), after.len());
    before.iter().zip(&after).for_each(|(before, after)| assert_same(before, after));
    // All that there is came by.
    let expected = "attempt attempts_granted claimed_at_ms expires_at_ms failures fingerprint history history.at_ms history.attempt \
                    history.by history.by_base64 history.claimed_at_ms history.note history.note_base64 history.orphaned \
                    history.token history.what in_doubt interrupted key key_base64 losses losses_granted mismatches namespace note note_base64 origin origin_base64 \
                    progress progress_base64 replays response response_base64 retry_at_ms settled_at_ms state token ttl_ms";
    assert_eq!(members(&lines).into_iter().collect::<Vec<_>>().join(" "), expected);
    assert!(before.iter().any(|record| record.fields().is_some()), "digests of fields came by");
    let what: BTreeSet<String> =
        before.iter().flat_map(Record::history).map(|past| format!("{:?}", past.what())).collect();
    assert_eq!(what.len(), 10, "{what:?}");
}

fn fields_of_a_payload() -> FieldDigests {
    let maker = claimstore_hash::Fingerprinter::with_key([7; 32]);
    maker.json_with_fields(&claimstore_hash::JsonRules::new(), br#"{"id":7,"amount":"1.50"}"#).unwrap().1
}

#[test]
fn all_that_happened_is_named_and_read_back() {
    let causes = CAUSES.into_iter().map(Happened::Orphaned);
    let others = [
        Happened::Failed,
        Happened::Parked,
        Happened::Requeued,
        Happened::Completed,
        Happened::FailedForGood,
    ];
    for what in causes.chain(others) {
        let past =
            Past::new(what, 7, at(9)).with_token(u64::MAX).with_claimed_at(at(5)).with_note("by", "note");
        assert_eq!(PastLine::of(&past).past().unwrap(), past, "{what:?}");
    }
}

#[test]
fn what_is_no_base64_is_refused() {
    for text in ["Z", "Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n", "Zm-_", "Z\u{e9}="] {
        assert!(join("key", &None, &Some(text.into())).is_err(), "{text}");
    }
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(join("key", &None, &Some(text.into())).unwrap(), bytes.as_bytes());
    }
}
