//! A record as a line of an export, and back.
//!
//! The names stay; more may come, and names that are not known here are passed over. What does not apply is left out.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use claimstore::{FieldDigests, Fingerprint, Happened, Import, Orphaned, Past, Record};
use serde::{Deserialize, Serialize};

use super::rules::Rules;
use crate::show::{cause_name, happened_name, hex, ms, state_name};
use crate::target::from_hex;

/// What the note of a key says whose claim was not settled when it was exported.
pub(crate) const UNSETTLED: &str = "was in progress when it was exported";

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Line<'a> {
    /// Comes before the records of the namespace.
    Namespace(Rules),
    #[serde(borrow)]
    Record(Box<RecordLine<'a>>),
    /// The last line, with the number of records before it: without it an export is cut.
    End { records: u64 },
}

type Text<'a> = Option<Cow<'a, str>>;

/// A record. Bytes stand under their name where they are UTF-8, else in base64 under `<name>_base64`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RecordLine<'a> {
    pub(crate) namespace: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_base64: Text<'a>,
    state: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    response: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    response_base64: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    progress: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    progress_base64: Text<'a>,
    attempt: u32,
    /// As text: many readers of JSON round numbers above 2^53, and tokens lie there.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    token: Text<'a>,
    claimed_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<FingerprintLine<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    origin: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    origin_base64: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    note: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    note_base64: Text<'a>,
    #[serde(default, skip_serializing_if = "is_zero")]
    attempts_granted: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    replays: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    mismatches: u32,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    history: Vec<PastLine<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FingerprintLine<'a> {
    /// As `claimstore_hash::Fingerprint` numbers them.
    scheme: u8,
    digest_hex: Cow<'a, str>,
    /// The digests of the payload's fields.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    fields_base64: Text<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PastLine<'a> {
    what: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    orphaned: Text<'a>,
    attempt: u32,
    token: Cow<'a, str>,
    claimed_at_ms: u64,
    at_ms: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    by: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    by_base64: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    note: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    note_base64: Text<'a>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The two members for bytes: text, or base64. Nothing for none.
fn split(bytes: &[u8]) -> (Text<'_>, Text<'_>) {
    match std::str::from_utf8(bytes) {
        _ if bytes.is_empty() => (None, None),
        Ok(text) => (Some(text.into()), None),
        Err(_) => (None, Some(BASE64.encode(bytes).into())),
    }
}

/// The bytes of two such members, or what is wrong with them.
fn join(name: &str, text: &Text<'_>, encoded: &Text<'_>) -> Result<Vec<u8>, String> {
    match (text, encoded) {
        (Some(_), Some(_)) => Err(format!("`{name}` and `{name}_base64` are both there")),
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None, Some(encoded)) => {
            BASE64.decode(&**encoded).map_err(|_| format!("`{name}_base64` is no base64"))
        }
        (None, None) => Ok(Vec::new()),
    }
}

impl<'a> RecordLine<'a> {
    pub(crate) fn of(record: &'a Record, history: &'a [Past]) -> RecordLine<'a> {
        let (key, key_base64) = split(record.key());
        let (response, response_base64) = split(record.response().unwrap_or_default());
        let (progress, progress_base64) = split(record.progress().unwrap_or_default());
        let (origin, origin_base64) = split(record.origin());
        let (note, note_base64) = split(record.note());
        RecordLine {
            namespace: record.namespace().into(),
            key,
            key_base64,
            state: state_name(record.state()).into(),
            response,
            response_base64,
            progress,
            progress_base64,
            attempt: record.attempt(),
            token: Some(record.work_token().to_string().into()),
            claimed_at_ms: ms(record.claimed_at()),
            settled_at_ms: record.settled_at().map(ms),
            expires_at_ms: record.expires_at().map(ms),
            retry_at_ms: record.retry_at().map(ms),
            ttl_ms: u64::try_from(record.ttl().as_millis()).ok(),
            fingerprint: record.fingerprint().map(|fingerprint| FingerprintLine::of(fingerprint, record)),
            origin,
            origin_base64,
            note,
            note_base64,
            attempts_granted: record.attempts_granted(),
            replays: record.replays(),
            mismatches: record.mismatches(),
            history: history.iter().map(PastLine::of).collect(),
        }
    }

    /// What is to be imported, or why it cannot be. What is said names members, never what they hold.
    pub(crate) fn import(&self) -> Result<Import, String> {
        let key = join("key", &self.key, &self.key_base64)?;
        let response = join("response", &self.response, &self.response_base64)?;
        let progress = join("progress", &self.progress, &self.progress_base64)?;
        let note = join("note", &self.note, &self.note_base64)?;
        let mut history = self.history.iter().map(PastLine::past).collect::<Result<Vec<_>, _>>()?;
        let import = match &*self.state {
            "completed" => Import::completed(key, response),
            "failed" => Import::failed(key, response),
            "retry" => Import::retry(key, at(self.retry_at_ms.unwrap_or(0))),
            "parked" => Import::parked(key, note),
            "in-progress" | "orphaned" => {
                history.push(self.unsettled()?);
                Import::parked(key, UNSETTLED)
            }
            _ => return Err("`state` is none that is known here".into()),
        };
        let settled_at = self.settled_at_ms.unwrap_or(self.claimed_at_ms);
        let import = import
            .progress(progress)
            .attempt(self.attempt)
            .attempts_granted(self.attempts_granted)
            .replays(self.replays)
            .mismatches(self.mismatches)
            .origin(join("origin", &self.origin, &self.origin_base64)?)
            .claimed_at(at(self.claimed_at_ms))
            .settled_at(at(settled_at))
            .history(history);
        let import = self.expires_at_ms.into_iter().map(at).fold(import, Import::expires_at);
        let import = self.ttl_ms.into_iter().map(Duration::from_millis).fold(import, Import::ttl);
        match &self.fingerprint {
            None => Ok(import),
            Some(fingerprint) => fingerprint.add(import),
        }
    }

    /// Keeps the token that whoever worked on the key had: the one to ask the remote side about.
    fn unsettled(&self) -> Result<Past, String> {
        let token = self.token.as_deref().unwrap_or("0").parse().map_err(|_| "`token` is no number")?;
        let claimed_at = at(self.claimed_at_ms);
        let past = Past::new(Happened::Parked, self.attempt, claimed_at).with_token(token);
        Ok(past.with_claimed_at(claimed_at).with_note("claimstore import", UNSETTLED))
    }
}

impl<'a> FingerprintLine<'a> {
    fn of(fingerprint: Fingerprint, record: &Record) -> FingerprintLine<'a> {
        FingerprintLine {
            scheme: fingerprint.scheme(),
            digest_hex: hex(&fingerprint.to_bytes()).into(),
            fields_base64: record.fields().map(|fields| BASE64.encode(fields.to_bytes()).into()),
        }
    }

    fn add(&self, import: Import) -> Result<Import, String> {
        let digest = from_hex(self.digest_hex.as_bytes()).ok().and_then(|digest| digest.try_into().ok());
        let digest: [u8; 32] = digest.ok_or("`digest_hex` is not of 32 bytes")?;
        let import = import.fingerprint(Fingerprint::with_scheme(self.scheme, digest));
        let Some(fields) = &self.fields_base64 else { return Ok(import) };
        let bytes = BASE64.decode(&**fields).ok();
        let fields = bytes.and_then(|bytes| FieldDigests::from_bytes(&bytes).ok());
        Ok(import.fields(&fields.ok_or("`fields_base64` holds no digests of fields")?))
    }
}

impl<'a> PastLine<'a> {
    fn of(past: &'a Past) -> PastLine<'a> {
        let (by, by_base64) = split(past.by());
        let (note, note_base64) = split(past.note());
        let orphaned =
            if let Happened::Orphaned(cause) = past.what() { Some(cause_name(cause)) } else { None };
        PastLine {
            what: happened_name(past.what()).into(),
            orphaned: orphaned.map(Cow::from),
            attempt: past.attempt(),
            token: past.token().to_string().into(),
            claimed_at_ms: ms(past.claimed_at()),
            at_ms: ms(past.at()),
            by,
            by_base64,
            note,
            note_base64,
        }
    }

    fn past(&self) -> Result<Past, String> {
        let what = match &*self.what {
            "orphaned" => Happened::Orphaned(match self.orphaned.as_deref() {
                Some("abandoned") => Orphaned::Abandoned,
                Some("lapsed") => Orphaned::Lapsed,
                _ => Orphaned::EarlierLife,
            }),
            "failed" => Happened::Failed,
            "parked" => Happened::Parked,
            "requeued" => Happened::Requeued,
            "completed" => Happened::Completed,
            "failed-for-good" => Happened::FailedForGood,
            _ => return Err("`history` has a `what` that is not known here".into()),
        };
        let token = self.token.parse().map_err(|_| "`history` has a `token` that is no number")?;
        let past = Past::new(what, self.attempt, at(self.at_ms)).with_token(token);
        let (by, note) =
            (join("by", &self.by, &self.by_base64)?, join("note", &self.note, &self.note_base64)?);
        Ok(past.with_claimed_at(at(self.claimed_at_ms)).with_note(by, note))
    }
}

fn at(ms: u64) -> SystemTime {
    // Later than any store's end of time is as good as that.
    UNIX_EPOCH + Duration::from_millis(ms.min(1 << 52))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use claimstore::{Filter, Imported, Store};
    use claimstore_admin::{RecordView, Show};
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    use super::*;

    const CAUSES: [Orphaned; 3] = [Orphaned::EarlierLife, Orphaned::Abandoned, Orphaned::Lapsed];

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
        let times =
            (1..1_600_000_000_000_u64, 0..100_000_000_000_u64, 1_860_000_000_000..1_900_000_000_000_u64);
        let counts = (1..u32::MAX, any::<u32>(), any::<u32>(), any::<u32>(), 1_000..300_000_000_000_u64);
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
        store.scan(Filter::new().namespace("n")).map(Result::unwrap).collect()
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
            asked,
            replays,
            mismatches,
            claimed_at_ms,
            settled_at_ms,
            expires_at_ms,
            retry_at_ms,
            asked_at_ms,
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
        assert_eq!((is.replays, is.mismatches), (replays, mismatches));
        assert_eq!((is.claimed_at_ms, is.settled_at_ms), (claimed_at_ms, settled_at_ms));
        assert_eq!((is.expires_at_ms, is.retry_at_ms), (expires_at_ms, retry_at_ms));
        assert_eq!((is.has_fingerprint, is.key, is.key_hex), (has_fingerprint, key, key_hex));
        assert_eq!(
            (is.response_bytes, is.response, is.response_hex),
            (response_bytes, response, response_hex)
        );
        assert_eq!(
            (is.progress_bytes, is.progress, is.progress_hex),
            (progress_bytes, progress, progress_hex)
        );
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
        let expected = "attempt attempts_granted claimed_at_ms expires_at_ms fingerprint history history.at_ms history.attempt \
                        history.by history.by_base64 history.claimed_at_ms history.note history.note_base64 history.orphaned \
                        history.token history.what key key_base64 mismatches namespace note note_base64 origin origin_base64 \
                        progress progress_base64 replays response response_base64 retry_at_ms settled_at_ms state token ttl_ms";
        assert_eq!(members(&lines).into_iter().collect::<Vec<_>>().join(" "), expected);
        assert!(before.iter().any(|record| record.fields().is_some()), "digests of fields came by");
        let what: BTreeSet<String> =
            before.iter().flat_map(Record::history).map(|past| format!("{:?}", past.what())).collect();
        assert_eq!(what.len(), 8, "{what:?}");
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
        for text in
            ["Z", "Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n", "Zm-_", "Z\u{e9}="]
        {
            assert!(join("key", &None, &Some(text.into())).is_err(), "{text}");
        }
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(join("key", &None, &Some(text.into())).unwrap(), bytes.as_bytes());
        }
    }
}
