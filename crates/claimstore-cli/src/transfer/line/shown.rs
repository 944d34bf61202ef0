//! The line of a record that the program which has the store open shows.

use std::borrow::Cow;

use anyhow::Context as _;
use claimstore_admin::{ExportView, PastView, RecordView, from_hex};

use super::{FingerprintLine, PastLine, RecordLine, Text, split};

impl<'a> RecordLine<'a> {
    /// The same line as [`RecordLine::of`] the record.
    pub(crate) fn shown(view: &'a ExportView) -> anyhow::Result<RecordLine<'a>> {
        let record = &view.record;
        let (key, key_base64) = bytes(record.key.as_ref(), record.key_hex.as_ref())?;
        let (response, response_base64) = bytes(record.response.as_ref(), record.response_hex.as_ref())?;
        let (progress, progress_base64) = bytes(record.progress.as_ref(), record.progress_hex.as_ref())?;
        let (origin, origin_base64) = bytes(record.origin.as_ref(), record.origin_hex.as_ref())?;
        let (note, note_base64) = bytes(record.note.as_ref(), record.note_hex.as_ref())?;
        Ok(RecordLine {
            namespace: record.namespace.as_str().into(),
            key,
            key_base64,
            state: record.state.name().into(),
            response,
            response_base64,
            progress,
            progress_base64,
            attempt: record.attempt,
            token: Some(record.work_token.as_str().into()),
            claimed_at_ms: record.claimed_at_ms,
            settled_at_ms: record.settled_at_ms,
            expires_at_ms: record.expires_at_ms,
            retry_at_ms: record.retry_at_ms,
            ttl_ms: Some(view.ttl_ms),
            fingerprint: fingerprint(view)?,
            origin,
            origin_base64,
            note,
            note_base64,
            attempts_granted: record.attempts_granted,
            failures: Some(record.failures),
            losses: Some(record.losses),
            interrupted: Some(record.interrupted),
            in_doubt: Some(record.in_doubt),
            losses_granted: record.losses_granted,
            replays: record.replays,
            mismatches: record.mismatches,
            history: history(record)?,
        })
    }
}

/// The two members for bytes that are shown as text or in hex digits.
fn bytes<'a>(text: Option<&'a String>, digits: Option<&String>) -> anyhow::Result<(Text<'a>, Text<'a>)> {
    let Some(digits) = digits else {
        return Ok((text.filter(|text| !text.is_empty()).map(|text| Cow::from(text.as_str())), None));
    };
    let bytes = from_hex(digits).context("the program that has the store open sent no hex digits")?;
    let (text, encoded) = split(&bytes);
    let owned = |text: Text<'_>| text.map(|text| Cow::Owned(text.into_owned()));
    Ok((owned(text), owned(encoded)))
}

fn fingerprint(view: &ExportView) -> anyhow::Result<Option<FingerprintLine<'_>>> {
    let Some(fingerprint) = &view.fingerprint else { return Ok(None) };
    let (text, encoded) = bytes(None, fingerprint.fields_hex.as_ref())?;
    // Bytes that happen to be text are encoded like all others here.
    let encoded = text.map(|text| super::encoded(text.as_bytes())).or(encoded);
    Ok(Some(FingerprintLine {
        scheme: fingerprint.scheme,
        digest_hex: fingerprint.digest_hex.as_str().into(),
        fields_base64: encoded,
    }))
}

fn history(record: &RecordView) -> anyhow::Result<Vec<PastLine<'_>>> {
    record.history.iter().flatten().map(past).collect()
}

fn past(past: &PastView) -> anyhow::Result<PastLine<'_>> {
    let (by, by_base64) = bytes(past.by.as_ref(), past.by_hex.as_ref())?;
    let (note, note_base64) = bytes(past.note.as_ref(), past.note_hex.as_ref())?;
    Ok(PastLine {
        what: past.what.as_str().into(),
        orphaned: past.orphaned.as_deref().map(Cow::from),
        attempt: past.attempt,
        token: past.token.as_str().into(),
        claimed_at_ms: past.claimed_at_ms,
        at_ms: past.at_ms,
        by,
        by_base64,
        note,
        note_base64,
    })
}
