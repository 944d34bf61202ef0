//! A record as a line of an export, and back.
//!
//! The names stay; more may come, and names that are not known here are passed over. What does not apply is left out.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use claimstore::{FieldDigests, Fingerprint, Happened, Import, Orphaned, Past, Record};
use claimstore_admin::{cause_name, from_hex, happened_name, hex, ms};
use serde::{Deserialize, Serialize};

mod shown;

use super::rules::Rules;
use crate::state::state_name;

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    losses: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interrupted: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_doubt: Option<bool>,
    #[serde(default, skip_serializing_if = "is_zero")]
    losses_granted: u32,
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

/// Bytes that are no text, whatever they happen to be.
fn encoded(bytes: &[u8]) -> Cow<'static, str> {
    BASE64.encode(bytes).into()
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
            failures: Some(record.failures()),
            losses: Some(record.losses()),
            interrupted: Some(record.interrupted()),
            in_doubt: Some(record.in_doubt()),
            losses_granted: record.losses_granted(),
            replays: record.replays(),
            mismatches: record.mismatches(),
            history: history.iter().map(PastLine::of).collect(),
        }
    }

    /// With the numbers that are said. One that was in progress is parked, and its end is counted by nobody else: as a
    /// failure.
    fn counted(&self, import: Import) -> Import {
        let ends = u32::from(matches!(&*self.state, "in-progress" | "orphaned"));
        let import = self
            .failures
            .into_iter()
            .map(|failures| failures.saturating_add(ends))
            .fold(import, Import::failures);
        let import = self.losses.into_iter().fold(import, Import::losses);
        let ended = self.interrupted.into_iter().map(|interrupted| interrupted.saturating_add(ends));
        let import = ended.fold(import, Import::interrupted);
        self.in_doubt.into_iter().map(|in_doubt| in_doubt || ends > 0).fold(import, Import::in_doubt)
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
            .losses_granted(self.losses_granted)
            .replays(self.replays)
            .mismatches(self.mismatches)
            .origin(join("origin", &self.origin, &self.origin_base64)?)
            .claimed_at(at(self.claimed_at_ms))
            .settled_at(at(settled_at))
            .history(history);
        let import = self.expires_at_ms.into_iter().map(at).fold(import, Import::expires_at);
        let import = self.counted(import);
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
            fields_base64: record.fields().map(|fields| encoded(&fields.to_bytes())),
        }
    }

    fn add(&self, import: Import) -> Result<Import, String> {
        let digest = from_hex(&self.digest_hex).and_then(|digest| digest.try_into().ok());
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
                Some("panicked") => Orphaned::Panicked,
                Some("unknown") => Orphaned::Unknown,
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
mod tests;
