//! The parts of a record that most records do not have.

use super::cursor::{Cursor, Malformed, put_bytes, put_varint};
use crate::tally::Tally;

const TAG_ORIGIN: u16 = 1;
const TAG_EARLIER_PROGRESS: u16 = 2;
const TAG_NOTE: u16 = 3;
const TAG_FIELDS: u16 = 4;
const TAG_HISTORY: u16 = 5;
const TAG_ASKED: u16 = 6;
const TAG_GRANTED: u16 = 7;
const TAG_REPEATS: u16 = 8;
// Since version 2 of the directory.
const TAG_TALLY: u16 = 9;
const TAG_LEFT: u16 = 10;
const TAG_GRANTED_LOSSES: u16 = 11;
const TAG_CALLS: u16 = 12;

/// The most bytes of [`Extra::calls`].
pub const MAX_CALLS_BYTES: usize = 4_096;

/// Fields most records do not have. In the bytes each is an extension with a tag; what is empty, zero or `None` is left out.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// What the claimer said about where the work comes from.
    pub origin: Box<[u8]>,
    /// The progress before this attempt changed it: what a release restores.
    pub earlier_progress: Option<Box<[u8]>>,
    /// Why the record is parked.
    pub note: Box<[u8]>,
    /// Digests of the payload's fields, as [`FieldDigests::to_bytes`](claimstore_hash::FieldDigests::to_bytes) writes them.
    pub fields: Box<[u8]>,
    /// How earlier attempts ended, as [`history::remember`](crate::history::remember) writes it.
    pub history: Box<[u8]>,
    /// A resolver was asked, or is being asked, about the claim.
    pub asked: Option<Asked>,
    /// Up to how many failures a reviewer let the key go, where that is beyond the policy's; else 0.
    pub granted: u32,
    /// Claims that came again.
    pub repeats: Repeats,
    /// What is counted of the key's attempts, where it is not what [`Tally::assumed`] says.
    pub tally: Option<Tally>,
    /// Of a record in progress: nobody holds it, for this cause, as [`Orphaned::code`](crate::Orphaned::code) numbers it.
    pub left: Option<u8>,
    /// Up to how many losses a reviewer let the key go, where that is beyond the policy's; else 0.
    pub granted_losses: u32,
    /// Marks of calls that go out, at most [`MAX_CALLS_BYTES`] of them. What they mean is the business of whoever writes them.
    /// They belong to the key, not to an attempt: progress and a release leave them as they are, and a result ends them.
    pub calls: Box<[u8]>,
    /// Tag and bytes of the fields of a later version: kept as they are.
    pub unknown: Vec<(u16, Box<[u8]>)>,
}

/// How often the key was claimed again since it was first claimed, by answers that left the record as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repeats {
    /// Answered from the record, as a duplicate.
    pub replays: u32,
    /// Refused because the payload is another.
    pub mismatches: u32,
}

/// What is known of a claim that was taken over from its holder so that somebody can be asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The token of the claim that did the work.
    pub token: u64,
    /// Why it was an orphan, as [`Orphaned::code`](crate::Orphaned::code) numbers it.
    pub cause: u8,
    /// How often somebody was asked.
    pub times: u32,
    /// When somebody was asked last, in milliseconds of store time.
    pub at_ms: u64,
}

/// An upper bound of the bytes of a tally.
const TALLY_BYTES: usize = 16;

impl Asked {
    /// An upper bound of the bytes it is written as.
    pub const BYTES: usize = 40;

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.cause];
        put_varint(self.token, &mut out);
        put_varint(u64::from(self.times), &mut out);
        put_varint(self.at_ms, &mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Asked, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let cause = cursor.u8("asked cause")?;
        let token = cursor.varint("asked token")?;
        let times = u32::try_from(cursor.varint("asked times")?).map_err(|_| Malformed("asked times"))?;
        let at_ms = cursor.varint("asked at")?;
        cursor.finish("asked end")?;
        Ok(Asked { token, cause, times, at_ms })
    }
}

impl Repeats {
    /// Both together. A count stays at the highest number.
    #[must_use]
    pub fn and(self, more: Repeats) -> Repeats {
        Repeats {
            replays: self.replays.saturating_add(more.replays),
            mismatches: self.mismatches.saturating_add(more.mismatches),
        }
    }

    /// What came since there were only `earlier` ones.
    #[must_use]
    pub fn since(self, earlier: Repeats) -> Repeats {
        Repeats {
            replays: self.replays.saturating_sub(earlier.replays),
            mismatches: self.mismatches.saturating_sub(earlier.mismatches),
        }
    }

    fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(u64::from(self.replays), &mut out);
        put_varint(u64::from(self.mismatches), &mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Repeats, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let mut count = || u32::try_from(cursor.varint("repeats")?).map_err(|_| Malformed("repeats"));
        let (replays, mismatches) = (count()?, count()?);
        cursor.finish("repeats end")?;
        Ok(Repeats { replays, mismatches })
    }
}

impl Extra {
    pub(super) fn loose_bytes(&self) -> usize {
        let unknown: usize = self.unknown.iter().map(|(_, bytes)| bytes.len()).sum();
        self.origin.len()
            + self.earlier_progress.as_ref().map_or(0, |bytes| bytes.len())
            + self.note.len()
            + self.fields.len()
            + self.history.len()
            + self.asked.map_or(0, |_| Asked::BYTES)
            + self.tally.map_or(0, |_| TALLY_BYTES)
            + self.calls.len()
            + unknown
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let asked = self.asked.map(|asked| asked.encode());
        let mut granted = Vec::new();
        if self.granted != 0 {
            put_varint(u64::from(self.granted), &mut granted);
        }
        let repeats = (self.repeats != Repeats::default()).then(|| self.repeats.encode());
        let tally = self.tally.map(|tally| tally.encode());
        let left = self.left.map(|cause| [cause]);
        let mut granted_losses = Vec::new();
        if self.granted_losses != 0 {
            put_varint(u64::from(self.granted_losses), &mut granted_losses);
        }
        let mut fields: Vec<(u16, &[u8])> = Vec::with_capacity(4 + self.unknown.len());
        if !self.origin.is_empty() {
            fields.push((TAG_ORIGIN, &self.origin));
        }
        if let Some(progress) = &self.earlier_progress {
            fields.push((TAG_EARLIER_PROGRESS, progress));
        }
        if !self.note.is_empty() {
            fields.push((TAG_NOTE, &self.note));
        }
        if !self.fields.is_empty() {
            fields.push((TAG_FIELDS, &self.fields));
        }
        if !self.history.is_empty() {
            fields.push((TAG_HISTORY, &self.history));
        }
        if let Some(asked) = &asked {
            fields.push((TAG_ASKED, asked));
        }
        if self.granted != 0 {
            fields.push((TAG_GRANTED, &granted));
        }
        if let Some(repeats) = &repeats {
            fields.push((TAG_REPEATS, repeats));
        }
        if let Some(tally) = &tally {
            fields.push((TAG_TALLY, tally));
        }
        if let Some(left) = &left {
            fields.push((TAG_LEFT, left));
        }
        if self.granted_losses != 0 {
            fields.push((TAG_GRANTED_LOSSES, &granted_losses));
        }
        if !self.calls.is_empty() {
            fields.push((TAG_CALLS, &self.calls));
        }
        fields.extend(self.unknown.iter().map(|(tag, bytes)| (*tag, &**bytes)));
        put_varint(fields.len() as u64, out);
        for (tag, bytes) in fields {
            out.extend_from_slice(&tag.to_le_bytes());
            put_bytes(bytes, out);
        }
    }

    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Extra, Malformed> {
        let mut extra = Extra::default();
        for _ in 0..cursor.varint("extension count")? {
            let tag = cursor.u16("extension tag")?;
            let bytes = cursor.bytes("extension")?;
            match tag {
                TAG_ORIGIN => extra.origin = bytes.into(),
                TAG_EARLIER_PROGRESS => extra.earlier_progress = Some(bytes.into()),
                TAG_NOTE => extra.note = bytes.into(),
                TAG_FIELDS => extra.fields = bytes.into(),
                TAG_HISTORY => extra.history = bytes.into(),
                TAG_ASKED => extra.asked = Some(Asked::decode(bytes)?),
                TAG_GRANTED => extra.granted = decode_granted(bytes)?,
                TAG_REPEATS => extra.repeats = Repeats::decode(bytes)?,
                TAG_TALLY => extra.tally = Some(Tally::decode(bytes)?),
                TAG_LEFT => extra.left = Some(decode_left(bytes)?),
                TAG_GRANTED_LOSSES => extra.granted_losses = decode_granted(bytes)?,
                TAG_CALLS if bytes.len() > MAX_CALLS_BYTES => return Err(Malformed("calls")),
                TAG_CALLS => extra.calls = bytes.into(),
                _ => extra.unknown.push((tag, bytes.into())),
            }
        }
        Ok(extra)
    }
}

fn decode_left(bytes: &[u8]) -> Result<u8, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let cause = cursor.u8("left cause")?;
    cursor.finish("left end")?;
    Ok(cause)
}

fn decode_granted(bytes: &[u8]) -> Result<u32, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let granted =
        u32::try_from(cursor.varint("granted attempts")?).map_err(|_| Malformed("granted attempts"))?;
    cursor.finish("granted end")?;
    Ok(granted)
}

/// Shows shape, never content.
impl std::fmt::Debug for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extra")
            .field("loose_bytes", &self.loose_bytes())
            .field("asked", &self.asked)
            .field("granted", &self.granted)
            .field("repeats", &self.repeats)
            .field("tally", &self.tally)
            .field("unknown", &self.unknown.len())
            .finish_non_exhaustive()
    }
}
