//! How the earlier attempts of a key ended: [`Past`], and its bytes in the record.
//!
//! A list of entries, oldest first, of which the 16 newest are kept. A key whose first attempt completes has none.
//! [`remember`] adds one to [`Extra::history`](codec::Extra::history), [`read`] gives them back.

use crate::codec::{self, Cursor, Malformed, put_bytes, put_varint};
use crate::planted;
use crate::time::{at, since_1970};
use std::fmt;
use std::time::SystemTime;

/// Most entries that are kept.
pub const MAX_ENTRIES: usize = 16;
/// Longest note of an entry in bytes; longer ones are cut.
pub const MAX_NOTE_BYTES: usize = 256;
/// Longest name of a person or program in bytes; longer ones are cut.
pub const MAX_BY_BYTES: usize = 64;
/// An upper bound of the bytes that an entry takes beside its note and its name.
pub const ENTRY_BYTES: usize = 48;

/// Why a claim in progress is an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Orphaned {
    /// It was made in an earlier life of the store, whose process is gone by proof.
    EarlierLife,
    /// Its lease was dropped unsettled, in a process that lived on; or it was alive when the store was closed.
    Abandoned,
    /// Its lease has lapsed. The holder may still be alive, only slow.
    Lapsed,
    /// Its lease was dropped by a panic that unwound through it.
    Panicked,
    /// Its holder said that the work may have happened or not ([`Failure::unknown`](crate::Failure::unknown)).
    Unknown,
}

/// What ended an attempt, or was decided about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Happened {
    /// The attempt was orphaned, and somebody took note of it.
    Orphaned(Orphaned),
    /// The attempt failed, to be retried; or somebody found that it had no effect.
    Failed,
    /// The key was parked.
    Parked,
    /// A reviewer let the key be claimed again.
    Requeued,
    /// A reviewer gave the response.
    Completed,
    /// A reviewer failed the key for good.
    FailedForGood,
}

/// One entry of a key's [history](crate::Record::history).
#[derive(Clone, PartialEq, Eq)]
pub struct Past {
    what: Happened,
    attempt: u32,
    token: u64,
    claimed_at_ms: u64,
    at_ms: u64,
    by: Box<[u8]>,
    note: Box<[u8]>,
}

impl Past {
    /// An entry made by hand, as for the import of a record: what happened to attempt number `attempt`, and when. It has no token
    /// and no texts; it was claimed when it happened.
    pub fn new(what: Happened, attempt: u32, at: SystemTime) -> Past {
        let at_ms = since_1970(at);
        Past {
            what,
            attempt,
            token: 0,
            claimed_at_ms: at_ms,
            at_ms,
            by: Box::default(),
            note: Box::default(),
        }
    }

    /// With the token of that attempt.
    #[must_use]
    pub fn with_token(mut self, token: u64) -> Past {
        self.token = token;
        self
    }

    /// With the time when that attempt was claimed.
    #[must_use]
    pub fn with_claimed_at(mut self, at: SystemTime) -> Past {
        self.claimed_at_ms = since_1970(at);
        self
    }

    /// With who decided (the first 64 bytes) and the error or reason (the first 256 bytes).
    #[must_use]
    pub fn with_note(mut self, by: impl AsRef<[u8]>, note: impl AsRef<[u8]>) -> Past {
        let (by, note) = (by.as_ref(), note.as_ref());
        self.by = by.get(..MAX_BY_BYTES).unwrap_or(by).into();
        self.note = note.get(..MAX_NOTE_BYTES).unwrap_or(note).into();
        if planted::active(80) {
            self.by = Box::default();
        }
        self
    }

    /// What happened.
    pub fn what(&self) -> Happened {
        self.what
    }

    /// The attempt it happened to.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The token of that attempt.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// When that attempt was claimed, in store time.
    pub fn claimed_at(&self) -> SystemTime {
        at(self.claimed_at_ms)
    }

    /// When it happened, in store time; for an orphan, when it was noticed.
    pub fn at(&self) -> SystemTime {
        at(self.at_ms)
    }

    /// Who decided, where a reviewer did (up to 64 bytes are kept).
    pub fn by(&self) -> &[u8] {
        &self.by
    }

    /// The error, or why it was decided so (up to 256 bytes are kept).
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.what.code());
        put_varint(u64::from(self.attempt), out);
        put_varint(self.token, out);
        put_varint(self.claimed_at_ms, out);
        put_varint(self.at_ms, out);
        put_bytes(&self.by, out);
        put_bytes(&self.note, out);
    }
}

/// Shows what happened and numbers, never the note.
impl fmt::Debug for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Past")
            .field("what", &self.what)
            .field("attempt", &self.attempt)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl Orphaned {
    /// Its number in the bytes of a record: [`Asked::cause`](codec::Asked::cause).
    #[inline]
    pub fn code(self) -> u8 {
        match self {
            Orphaned::EarlierLife => 1,
            Orphaned::Abandoned => 2,
            Orphaned::Lapsed => 3,
            Orphaned::Panicked => 9,
            Orphaned::Unknown => 10,
        }
    }

    /// The cause of a number. One of a later version counts as the one that is always true after a restart.
    #[inline]
    pub fn from_code(code: u8) -> Orphaned {
        match code {
            2 => Orphaned::Abandoned,
            3 => Orphaned::Lapsed,
            9 => Orphaned::Panicked,
            10 => Orphaned::Unknown,
            _ => Orphaned::EarlierLife,
        }
    }
}

impl Happened {
    fn code(self) -> u8 {
        match self {
            Happened::Orphaned(cause) => cause.code(),
            Happened::Failed => 4,
            Happened::Parked => 5,
            Happened::Requeued => 6,
            Happened::Completed => 7,
            Happened::FailedForGood => 8,
        }
    }

    fn from_code(code: u8) -> Option<Happened> {
        Some(match code {
            1..=3 | 9 | 10 => Happened::Orphaned(Orphaned::from_code(code)),
            4 => Happened::Failed,
            5 => Happened::Parked,
            6 => Happened::Requeued,
            7 => Happened::Completed,
            8 => Happened::FailedForGood,
            _ => return None,
        })
    }
}

/// Adds to the history of `record` what happened, at `at_ms` (milliseconds of store time), to the attempt that `of` is the
/// record of. `by` is who decided, `note` the error or the reason; both are cut to what is kept.
pub fn remember(
    record: &mut codec::Record,
    of: &codec::Record,
    what: Happened,
    at_ms: u64,
    by: &[u8],
    note: &[u8],
) {
    let past = Past {
        what,
        attempt: of.attempt,
        token: of.work_token(),
        claimed_at_ms: of.claimed_at_ms,
        at_ms,
        by: by.get(..MAX_BY_BYTES).unwrap_or(by).into(),
        note: note.get(..MAX_NOTE_BYTES).unwrap_or(note).into(),
    };
    let extra = record.extra.get_or_insert_default();
    let mut history = without_oldest(&extra.history).to_vec();
    past.encode(&mut history);
    extra.history = history.into();
}

/// The bytes of these entries, of the newest where there are too many.
pub fn write(entries: &[Past]) -> Box<[u8]> {
    let newest = entries.get(entries.len().saturating_sub(MAX_ENTRIES)..).unwrap_or(entries);
    let mut history = Vec::new();
    newest.iter().for_each(|past| past.encode(&mut history));
    history.into()
}

/// The entries in a history's bytes, oldest first. What cannot be read, of a later version, ends the list.
pub fn read(history: &[u8]) -> Vec<Past> {
    let mut cursor = Cursor::new(history);
    let mut entries = Vec::new();
    while cursor.remaining() > 0 {
        match entry(&mut cursor) {
            Ok(Some(past)) => entries.push(past),
            Ok(None) => {}
            Err(Malformed(_)) => break,
        }
    }
    entries
}

/// One entry; none where it is of a kind that this version does not know.
fn entry(cursor: &mut Cursor<'_>) -> Result<Option<Past>, Malformed> {
    let code = cursor.u8("history kind")?;
    let attempt =
        u32::try_from(cursor.varint("history attempt")?).map_err(|_| Malformed("history attempt"))?;
    let token = cursor.varint("history token")?;
    let claimed_at_ms = cursor.varint("history claimed")?;
    let at_ms = cursor.varint("history at")?;
    let by = cursor.bytes("history by")?.into();
    let note = cursor.bytes("history note")?.into();
    let past = |what| Past { what, attempt, token, claimed_at_ms, at_ms, by, note };
    Ok(Happened::from_code(code).map(past))
}

/// `history` with room for one more entry.
fn without_oldest(history: &[u8]) -> &[u8] {
    let mut cursor = Cursor::new(history);
    let mut starts = Vec::new();
    while cursor.remaining() > 0 {
        starts.push(history.len() - cursor.remaining());
        if entry(&mut cursor).is_err() {
            // Bytes that nobody can add to.
            return &[];
        }
    }
    let surplus = (starts.len() + 1).saturating_sub(MAX_ENTRIES);
    let from = starts.get(surplus).copied().unwrap_or(if surplus == 0 { 0 } else { history.len() });
    history.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
