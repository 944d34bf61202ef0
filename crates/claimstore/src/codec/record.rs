//! A record: what the store knows about one key after one operation.
//!
//! The same bytes stand in the journal and in runs. Numbers are written as distances from a [`Base`] that
//! their container (a frame, a block) states once, so that a typical completed record costs about 20 bytes
//! beside its key and response.

use super::cursor::{Cursor, Malformed, put_bytes, put_varint};
use super::numbers::{HAS_EXTRA, HAS_FINGERPRINT, Numbers};

/// Where a key stands. Expiry is not a state: it is computed from `until_ms` and the time of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Somebody holds the claim.
    InProgress = 1,
    /// Done; `body` is the response.
    Completed = 2,
    /// Failed for good; `body` is the response.
    Failed = 3,
    /// Failed or given back; claimable again from `until_ms` on. `body` is the progress so far.
    Retry = 4,
    /// Held for review. `body` is the progress so far.
    Parked = 5,
    /// The key is unknown again: a tombstone over older versions.
    Erased = 6,
}

impl State {
    pub(super) fn from_bits(bits: u8) -> Option<State> {
        Some(match bits {
            1 => State::InProgress,
            2 => State::Completed,
            3 => State::Failed,
            4 => State::Retry,
            5 => State::Parked,
            6 => State::Erased,
            _ => return None,
        })
    }

    /// Whether the record ends at `until_ms`.
    pub(crate) fn expires(self) -> bool {
        matches!(self, State::Completed | State::Failed)
    }
}

/// A payload fingerprint and the scheme that made it. Compared only within one scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) scheme: u8,
    pub(crate) digest: [u8; 32],
}

/// Fields most records do not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    /// What the claimer said about where the work comes from.
    pub(crate) origin: Box<[u8]>,
    /// The progress before this attempt changed it: what `release` restores.
    pub(crate) earlier_progress: Option<Box<[u8]>>,
    /// Why the record is parked.
    pub(crate) note: Box<[u8]>,
    /// Digests of the payload's fields, as claimstore-hash writes them.
    pub(crate) fields: Box<[u8]>,
    /// How earlier attempts ended, as `history` writes it.
    pub(crate) history: Box<[u8]>,
    /// A resolver was asked, or is being asked, about the claim.
    pub(crate) asked: Option<Asked>,
    /// Up to which attempt a reviewer let the key go, where that is beyond the policy's; else 0.
    pub(crate) granted: u32,
    /// Claims that came again.
    pub(crate) repeats: Repeats,
    /// Fields of a later version: kept as they are.
    pub(crate) unknown: Vec<(u16, Box<[u8]>)>,
}

/// How often the key was claimed again since it was first claimed, by answers that left the record as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// Answered from the record, as a duplicate.
    pub(crate) replays: u32,
    /// Refused because the payload is another.
    pub(crate) mismatches: u32,
}

/// What is known of a claim that was taken over from its holder so that somebody can be asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The token of the claim that did the work.
    pub(crate) token: u64,
    /// Why it was an orphan, as [`Orphaned`](crate::Orphaned) numbers it.
    pub(crate) cause: u8,
    /// How often somebody was asked.
    pub(crate) times: u32,
    /// Store time of the last time.
    pub(crate) at_ms: u64,
}

impl Asked {
    /// More than its bytes.
    pub(crate) const BYTES: usize = 40;

    fn encode(&self) -> Vec<u8> {
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
    pub(crate) fn and(self, more: Repeats) -> Repeats {
        Repeats {
            replays: self.replays.saturating_add(more.replays),
            mismatches: self.mismatches.saturating_add(more.mismatches),
        }
    }

    /// What came since there were only `earlier` ones.
    pub(crate) fn since(self, earlier: Repeats) -> Repeats {
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

/// One version of one key's record. Everything but the key.
///
/// In memory as it is declared: what says which version it is comes first, where the live table has what it looks at.
#[derive(Clone, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Record {
    /// The number of the operation that made this version; rises over the whole store.
    pub(crate) seq: u64,
    /// The fencing token: the `seq` of the operation that claimed. Never above `seq`.
    pub(crate) token: u64,
    /// How many claims have counted, this one included.
    pub(crate) attempt: u32,
    pub(crate) state: State,
    /// Store time of the claim.
    pub(crate) claimed_at_ms: u64,
    /// Store time of the operation that left `InProgress`; 0 while in progress.
    pub(crate) settled_at_ms: u64,
    /// Completed, Failed: expiry. Retry: claimable from. InProgress: detached until (0: not detached).
    pub(crate) until_ms: u64,
    /// How long the key is to be remembered once resolved.
    pub(crate) ttl_ms: u64,
    /// How long the holder is trusted.
    pub(crate) lease_ms: u64,
    pub(crate) fingerprint: Option<Box<Fingerprint>>,
    /// Response, progress or nothing, by state.
    pub(crate) body: Box<[u8]>,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What the distances of a container's records are counted from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) seq: u64,
    pub(crate) time_ms: u64,
    pub(crate) ttl_ms: u64,
}

const TAG_ORIGIN: u16 = 1;
const TAG_EARLIER_PROGRESS: u16 = 2;
const TAG_NOTE: u16 = 3;
const TAG_FIELDS: u16 = 4;
const TAG_HISTORY: u16 = 5;
const TAG_ASKED: u16 = 6;
const TAG_GRANTED: u16 = 7;
const TAG_REPEATS: u16 = 8;

impl Record {
    /// The parts that have a fixed size.
    pub(crate) fn numbers(&self) -> Numbers {
        Numbers {
            seq: self.seq,
            token: self.token,
            attempt: self.attempt,
            state: self.state,
            claimed_at_ms: self.claimed_at_ms,
            settled_at_ms: self.settled_at_ms,
            until_ms: self.until_ms,
            ttl_ms: self.ttl_ms,
            lease_ms: self.lease_ms,
        }
    }

    /// Appends the record's bytes. [`Record::decode`] with the same `base` reads them back.
    pub(crate) fn encode(&self, base: &Base, out: &mut Vec<u8>) {
        self.encode_with(&self.body, base, out);
    }

    /// The same with a body that is kept elsewhere.
    pub(crate) fn encode_with(&self, body: &[u8], base: &Base, out: &mut Vec<u8>) {
        let mut has = 0;
        if self.fingerprint.is_some() {
            has |= HAS_FINGERPRINT;
        }
        if self.extra.is_some() {
            has |= HAS_EXTRA;
        }
        self.numbers().encode(has, base, out);
        if self.state == State::Erased {
            return;
        }
        if let Some(fingerprint) = &self.fingerprint {
            out.push(fingerprint.scheme);
            out.extend_from_slice(&fingerprint.digest);
        }
        if let Some(extra) = &self.extra {
            extra.encode(out);
        }
        put_bytes(body, out);
    }

    /// Reads one record from `cursor`, leaving it behind the record.
    pub(crate) fn decode(cursor: &mut Cursor<'_>, base: &Base) -> Result<Record, Malformed> {
        let (numbers, has) = Numbers::decode(cursor, base)?;
        if numbers.state == State::Erased {
            return Ok(Record::erased(numbers.seq));
        }
        let fingerprint = if has & HAS_FINGERPRINT == 0 {
            None
        } else {
            let scheme = cursor.u8("fingerprint scheme")?;
            Some(Box::new(Fingerprint { scheme, digest: cursor.array("fingerprint digest")? }))
        };
        let extra = if has & HAS_EXTRA == 0 { None } else { Some(Box::new(Extra::decode(cursor)?)) };
        let body = cursor.bytes("record body")?.into();
        Ok(Record { fingerprint, body, extra, ..Record::of(numbers) })
    }

    /// A record that has nothing but numbers.
    fn of(numbers: Numbers) -> Record {
        Record {
            seq: numbers.seq,
            token: numbers.token,
            attempt: numbers.attempt,
            state: numbers.state,
            claimed_at_ms: numbers.claimed_at_ms,
            settled_at_ms: numbers.settled_at_ms,
            until_ms: numbers.until_ms,
            ttl_ms: numbers.ttl_ms,
            lease_ms: numbers.lease_ms,
            fingerprint: None,
            body: Box::default(),
            extra: None,
        }
    }

    /// A tombstone.
    pub(crate) fn erased(seq: u64) -> Record {
        Record::of(Numbers::erased(seq))
    }

    /// A copy of everything but the body.
    pub(crate) fn without_body(&self) -> Record {
        Record {
            fingerprint: self.fingerprint.clone(),
            extra: self.extra.clone(),
            ..Record::of(self.numbers())
        }
    }

    /// Bytes of everything in the record that varies in length.
    pub(crate) fn loose_bytes(&self) -> usize {
        self.body.len() + self.extra.as_ref().map_or(0, |extra| extra.loose_bytes())
    }

    /// Takes the counts out, so that the record is as if nobody had come again.
    pub(crate) fn take_repeats(&mut self) -> Repeats {
        let Some(extra) = &mut self.extra else { return Repeats::default() };
        let repeats = std::mem::take(&mut extra.repeats);
        if **extra == Extra::default() {
            self.extra = None;
        }
        repeats
    }

    /// Whether the record has ended at store time `now_ms`: at `until_ms` it has, before it has not.
    pub(crate) fn is_expired(&self, now_ms: u64) -> bool {
        self.state.expires() && self.until_ms <= now_ms
    }
}

impl Extra {
    fn loose_bytes(&self) -> usize {
        let unknown: usize = self.unknown.iter().map(|(_, bytes)| bytes.len()).sum();
        self.origin.len()
            + self.earlier_progress.as_ref().map_or(0, |bytes| bytes.len())
            + self.note.len()
            + self.fields.len()
            + self.history.len()
            + self.asked.map_or(0, |_| Asked::BYTES)
            + unknown
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let asked = self.asked.map(|asked| asked.encode());
        let mut granted = Vec::new();
        if self.granted != 0 {
            put_varint(u64::from(self.granted), &mut granted);
        }
        let repeats = (self.repeats != Repeats::default()).then(|| self.repeats.encode());
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
        fields.extend(self.unknown.iter().map(|(tag, bytes)| (*tag, &**bytes)));
        put_varint(fields.len() as u64, out);
        for (tag, bytes) in fields {
            out.extend_from_slice(&tag.to_le_bytes());
            put_bytes(bytes, out);
        }
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Extra, Malformed> {
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
                _ => extra.unknown.push((tag, bytes.into())),
            }
        }
        Ok(extra)
    }
}

fn decode_granted(bytes: &[u8]) -> Result<u32, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let granted =
        u32::try_from(cursor.varint("granted attempts")?).map_err(|_| Malformed("granted attempts"))?;
    cursor.finish("granted end")?;
    Ok(granted)
}

/// Shows shape, never content: bodies and fingerprints are the caller's secrets.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("seq", &self.seq)
            .field("token", &self.token)
            .field("attempt", &self.attempt)
            .field("state", &self.state)
            .field("claimed_at_ms", &self.claimed_at_ms)
            .field("settled_at_ms", &self.settled_at_ms)
            .field("until_ms", &self.until_ms)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprint").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Asked, Base, Cursor, Extra, Fingerprint, Record, Repeats, State};
    use proptest::prelude::*;

    pub(crate) fn any_record() -> impl Strategy<Value = Record> {
        let state = prop::sample::select(vec![
            State::InProgress,
            State::Completed,
            State::Failed,
            State::Retry,
            State::Parked,
            State::Erased,
        ]);
        let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Vec::into_boxed_slice);
        let asked = (any::<u64>(), any::<u8>(), any::<u32>(), any::<u64>())
            .prop_map(|(token, cause, times, at_ms)| Asked { token, cause, times, at_ms });
        let repeats = any::<(u32, u32)>().prop_map(|(replays, mismatches)| Repeats { replays, mismatches });
        let recovery = (bytes(), prop::option::of(asked), any::<u32>(), repeats);
        let unknown = prop::collection::vec((9u16.., bytes()), 0..3);
        let extra = (bytes(), prop::option::of(bytes()), [bytes(), bytes()], recovery, unknown).prop_map(
            |(origin, earlier_progress, [note, fields], (history, asked, granted, repeats), unknown)| {
                Box::new(Extra {
                    origin,
                    earlier_progress,
                    note,
                    fields,
                    history,
                    asked,
                    granted,
                    repeats,
                    unknown,
                })
            },
        );
        let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<[u64; 5]>());
        let fingerprint = prop::option::of(any::<(u8, [u8; 32])>());
        (state, numbers, fingerprint, bytes(), prop::option::of(extra)).prop_map(
            |(state, (seq, token, attempt, times), fingerprint, body, extra)| {
                if state == State::Erased {
                    return Record::erased(seq);
                }
                Record {
                    seq,
                    token: token.min(seq),
                    attempt,
                    state,
                    claimed_at_ms: times[0],
                    settled_at_ms: if state == State::InProgress { 0 } else { times[1] },
                    until_ms: times[2],
                    ttl_ms: times[3],
                    lease_ms: if state.expires() { 0 } else { times[4] },
                    fingerprint: fingerprint.map(|(scheme, digest)| Box::new(Fingerprint { scheme, digest })),
                    body,
                    extra,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn records_round_trip(record in any_record(), seq: u64, time_ms: u64, ttl_ms: u64) {
            let base = Base { seq, time_ms, ttl_ms };
            let mut bytes = Vec::new();
            record.encode(&base, &mut bytes);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(Record::decode(&mut cursor, &base), Ok(record));
            prop_assert_eq!(cursor.remaining(), 0);
        }

        #[test]
        fn cut_records_are_refused_and_no_bytes_panic(record in any_record(), noise: Vec<u8>, cut: prop::sample::Index) {
            let mut bytes = Vec::new();
            record.encode(&Base::default(), &mut bytes);
            let short = &bytes[..cut.index(bytes.len())];
            prop_assert!(Record::decode(&mut Cursor::new(short), &Base::default()).is_err());
            let _ = Record::decode(&mut Cursor::new(&noise), &Base::default());
        }
    }

    #[test]
    fn a_typical_completed_record_is_small() {
        let base = Base { seq: 1 << 40, time_ms: 1_800_000_000_000, ttl_ms: 604_800_000 };
        let record = Record {
            seq: base.seq + 900_000,
            token: base.seq + 899_000,
            attempt: 1,
            state: State::Completed,
            claimed_at_ms: base.time_ms + 60_000,
            settled_at_ms: base.time_ms + 60_100,
            until_ms: base.time_ms + 60_100 + 604_800_000,
            ttl_ms: 604_800_000,
            lease_ms: 0,
            fingerprint: None,
            body: Box::default(),
            extra: None,
        };
        let mut bytes = Vec::new();
        record.encode(&base, &mut bytes);
        assert!(bytes.len() <= 20, "{} bytes", bytes.len());
    }

    /// The example of docs/file-format.md.
    #[test]
    fn counts_of_claims_that_came_again_stand_under_their_tag() {
        const GOLDEN: &[u8] = b"\x22\x12\x02\x01\x0a\x14\x02\x00\x01\x08\x00\x02\x02\xfa\x02ok";
        let mut record = Record::erased(9);
        (record.state, record.token, record.attempt) = (State::Completed, 8, 1);
        (record.claimed_at_ms, record.settled_at_ms, record.until_ms, record.ttl_ms) = (5, 6, 16, 10);
        record.body = b"ok"[..].into();
        record.extra.get_or_insert_default().repeats = Repeats { replays: 2, mismatches: 250 };
        let mut bytes = Vec::new();
        record.encode(&Base::default(), &mut bytes);
        assert_eq!(bytes, GOLDEN, "{bytes:02x?}");
        let mut cursor = Cursor::new(GOLDEN);
        assert_eq!(Record::decode(&mut cursor, &Base::default()), Ok(record));
    }

    #[test]
    fn every_byte_a_record_carries_counts_once() {
        // Lengths whose sums are all different.
        let bytes = |bit: u32| vec![0; 1 << bit].into_boxed_slice();
        let asked = Asked { token: u64::MAX, cause: u8::MAX, times: u32::MAX, at_ms: u64::MAX };
        assert!(asked.encode().len() <= Asked::BYTES);
        let extra = Extra {
            origin: bytes(7),
            earlier_progress: Some(bytes(8)),
            note: bytes(9),
            fields: bytes(10),
            history: bytes(11),
            asked: Some(asked),
            granted: 3,
            repeats: Repeats { replays: 1, mismatches: 2 },
            unknown: vec![(77, bytes(12)), (78, bytes(13))],
        };
        let record = Record { body: bytes(14), extra: Some(Box::new(extra)), ..Record::erased(1) };
        let carried = (7..=14).map(|bit| 1 << bit).sum::<usize>();
        assert_eq!(record.loose_bytes(), carried + Asked::BYTES);
        assert_eq!(Record::erased(1).loose_bytes(), 0);
    }

    #[test]
    fn expiry_is_reached_at_its_millisecond_and_not_before() {
        let mut record = Record::erased(1);
        record.state = State::Completed;
        record.until_ms = 100;
        assert!(!record.is_expired(99));
        assert!(record.is_expired(100));
        // In other states the number means something else.
        for state in [State::InProgress, State::Retry, State::Parked, State::Erased] {
            record.state = state;
            assert!(!record.is_expired(100), "{state:?}");
        }
    }
}
