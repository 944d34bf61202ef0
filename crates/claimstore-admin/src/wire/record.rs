//! Records as they stand in answers: with names that stay.

use crate::hex::{from_hex, hex};
use crate::key_label;
use crate::millis::ms;
use crate::wire::state::State;
use claimstore::{Happened, Orphaned, Past, Record};
use serde::{Deserialize, Serialize};

/// What is shown of records beyond their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Show {
    /// Keys in full, beside their hash.
    pub keys: bool,
    /// What programs stored: responses, progress, origins and notes.
    pub payload: bool,
}

/// One record. Times are store time in milliseconds since 1970; tokens are text, because many readers of JSON
/// round numbers above 2^53. What was not asked for, by [`Show`], is left out. Bytes are a string where they are
/// UTF-8, else hex digits under a name with `_hex` at its end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each member is that of claimstore::Record, or the length of one")]
pub struct RecordView {
    pub namespace: String,
    pub key_hash: String,
    pub key_bytes: usize,
    pub state: State,
    pub orphaned: Option<String>,
    pub token: String,
    pub work_token: String,
    pub attempt: u32,
    pub attempts_granted: u32,
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub losses: u32,
    #[serde(default)]
    pub interrupted: u32,
    #[serde(default)]
    pub in_doubt: bool,
    #[serde(default)]
    pub losses_granted: u32,
    /// What holds once the end of the present attempt is counted; of a claim in progress that nobody stands behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once_ended: Option<TallyView>,
    pub asked: u32,
    #[serde(default)]
    pub replays: u32,
    #[serde(default)]
    pub mismatches: u32,
    pub claimed_at_ms: u64,
    pub settled_at_ms: Option<u64>,
    pub expires_at_ms: Option<u64>,
    pub retry_at_ms: Option<u64>,
    pub asked_at_ms: Option<u64>,
    #[serde(default)]
    pub detached_until_ms: Option<u64>,
    pub has_fingerprint: bool,
    pub response_bytes: usize,
    pub progress_bytes: usize,
    pub origin_bytes: usize,
    pub note_bytes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_hex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_hex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_hex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_hex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_hex: Option<String>,
    /// How earlier attempts ended and what reviewers decided, oldest first; only where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<PastView>>,
}

/// What is counted of a key's attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each member is that of claimstore::Record")]
pub struct TallyView {
    pub failures: u32,
    pub losses: u32,
    pub interrupted: u32,
    pub in_doubt: bool,
}

impl TallyView {
    /// That of a record, once the present attempt has ended.
    fn once_ended(record: &Record) -> Option<TallyView> {
        record.tally_once_ended().map(|tally| TallyView {
            failures: tally.failures,
            losses: tally.losses,
            interrupted: tally.interrupted,
            in_doubt: tally.in_doubt,
        })
    }
}

/// Shows state and numbers, never key or payload.
impl std::fmt::Debug for RecordView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordView")
            .field("state", &self.state)
            .field("token", &self.token)
            .field("key_bytes", &self.key_bytes)
            .finish_non_exhaustive()
    }
}

/// Text where bytes are UTF-8, else hex digits.
fn split(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(hex(bytes))),
    }
}

/// The counterpart of [`split`], for whoever shows it.
fn join(text: Option<&String>, digits: Option<&String>) -> Option<Vec<u8>> {
    match (text, digits) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(digits)) => from_hex(digits),
        (None, None) => None,
    }
}

impl RecordView {
    /// The record, with what `show` asks for.
    pub fn new(record: &Record, show: Show) -> RecordView {
        let bytes = |of: &[u8]| of.len();
        let (response, progress) =
            (record.response().unwrap_or_default(), record.progress().unwrap_or_default());
        let mut view = RecordView {
            namespace: record.namespace().to_owned(),
            key_hash: key_label(record.key()).hash().to_owned(),
            key_bytes: bytes(record.key()),
            state: record.state().into(),
            orphaned: record.orphaned().map(|cause| cause_name(cause).to_owned()),
            token: record.token().to_string(),
            work_token: record.work_token().to_string(),
            attempt: record.attempt(),
            attempts_granted: record.attempts_granted(),
            failures: record.failures(),
            losses: record.losses(),
            interrupted: record.interrupted(),
            in_doubt: record.in_doubt(),
            losses_granted: record.losses_granted(),
            once_ended: TallyView::once_ended(record),
            asked: record.asked(),
            replays: record.replays(),
            mismatches: record.mismatches(),
            claimed_at_ms: ms(record.claimed_at()),
            settled_at_ms: record.settled_at().map(ms),
            expires_at_ms: record.expires_at().map(ms),
            retry_at_ms: record.retry_at().map(ms),
            asked_at_ms: record.asked_at().map(ms),
            detached_until_ms: record.detached_until().map(ms),
            has_fingerprint: record.has_fingerprint(),
            response_bytes: bytes(response),
            progress_bytes: bytes(progress),
            origin_bytes: bytes(record.origin()),
            note_bytes: bytes(record.note()),
            key: None,
            key_hex: None,
            response: None,
            response_hex: None,
            progress: None,
            progress_hex: None,
            origin: None,
            origin_hex: None,
            note: None,
            note_hex: None,
            history: None,
        };
        if show.keys {
            (view.key, view.key_hex) = split(record.key());
        }
        if show.payload {
            (view.response, view.response_hex) = split(response);
            (view.progress, view.progress_hex) = split(progress);
            (view.origin, view.origin_hex) = split(record.origin());
            (view.note, view.note_hex) = split(record.note());
        }
        view
    }

    pub(crate) fn with_history(mut self, record: &Record, show: Show) -> RecordView {
        self.history = Some(record.history().iter().map(|past| PastView::new(past, show)).collect());
        self
    }

    /// The key, where it was asked for.
    pub fn key(&self) -> Option<Vec<u8>> {
        join(self.key.as_ref(), self.key_hex.as_ref())
    }

    /// What the program stored: its name, its length, and itself where it was asked for.
    pub fn stored(&self) -> [(&'static str, usize, Option<Vec<u8>>); 4] {
        [
            ("response", self.response_bytes, join(self.response.as_ref(), self.response_hex.as_ref())),
            ("progress", self.progress_bytes, join(self.progress.as_ref(), self.progress_hex.as_ref())),
            ("origin", self.origin_bytes, join(self.origin.as_ref(), self.origin_hex.as_ref())),
            ("note", self.note_bytes, join(self.note.as_ref(), self.note_hex.as_ref())),
        ]
    }

    /// About how many bytes it takes in an answer.
    pub(crate) fn size(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let shown = [
            &self.key,
            &self.key_hex,
            &self.response,
            &self.response_hex,
            &self.progress,
            &self.progress_hex,
            &self.origin,
            &self.origin_hex,
            &self.note,
            &self.note_hex,
        ];
        let counts = if self.once_ended.is_some() { 120 } else { 0 };
        700 + counts + self.namespace.len() + shown.into_iter().map(of).sum::<usize>()
    }
}

/// An entry of a record's history.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each member is that of claimstore::Past")]
pub struct PastView {
    pub what: String,
    pub orphaned: Option<String>,
    pub attempt: u32,
    pub token: String,
    pub claimed_at_ms: u64,
    pub at_ms: u64,
    pub note_bytes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_hex: Option<String>,
}

/// Shows what happened, never the note.
impl std::fmt::Debug for PastView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PastView").field("what", &self.what).finish_non_exhaustive()
    }
}

impl PastView {
    fn new(past: &Past, show: Show) -> PastView {
        let cause = if let Happened::Orphaned(cause) = past.what() { Some(cause_name(cause)) } else { None };
        let (by, by_hex) = split(past.by());
        let (note, note_hex) = if show.payload { split(past.note()) } else { (None, None) };
        PastView {
            what: happened_name(past.what()).to_owned(),
            orphaned: cause.map(str::to_owned),
            attempt: past.attempt(),
            token: past.token().to_string(),
            claimed_at_ms: ms(past.claimed_at()),
            at_ms: ms(past.at()),
            note_bytes: past.note().len(),
            by,
            by_hex,
            note,
            note_hex,
        }
    }

    /// Who decided.
    pub fn by(&self) -> Vec<u8> {
        join(self.by.as_ref(), self.by_hex.as_ref()).unwrap_or_default()
    }

    /// The note, where it was asked for.
    pub fn note(&self) -> Option<Vec<u8>> {
        join(self.note.as_ref(), self.note_hex.as_ref())
    }
}

/// Why there is nobody, as answers, exports and the command name it.
pub fn cause_name(cause: Orphaned) -> &'static str {
    match cause {
        Orphaned::Abandoned => "abandoned",
        Orphaned::Lapsed => "lapsed",
        Orphaned::Panicked => "panicked",
        Orphaned::Unknown => "unknown",
        _ => "earlier-life",
    }
}

/// What happened to an attempt, as answers, exports and the command name it.
pub fn happened_name(what: Happened) -> &'static str {
    match what {
        Happened::Orphaned(_) => "orphaned",
        Happened::Failed => "failed",
        Happened::Parked => "parked",
        Happened::Requeued => "requeued",
        Happened::Completed => "completed",
        Happened::FailedForGood => "failed-for-good",
        _ => "unknown",
    }
}
