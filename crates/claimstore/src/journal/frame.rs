//! One frame: a batch as bytes, and back. Pure.
//!
//! The layout is normative in `docs/file-format.md`; the constants below are its table.

use crate::codec::{Cursor, Malformed, crc32};
use crate::planted;

/// A frame begins on a multiple of this: the unit a disk writes whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;
/// Bytes of a frame before its payload.
pub(super) const HEADER_BYTES: usize = 96;

const MAGIC: [u8; 4] = *b"CSJF";
const AT_CRC: usize = 4;
const AT_LENGTH: usize = 8;
const AT_KIND: usize = 12;
const AT_SALT: usize = 16;
const AT_BATCH: usize = 24;
const AT_DURABLE: usize = 32;
const AT_MARK: usize = 40;
const AT_GENERATION: usize = 48;
const AT_FIRST_SEQ: usize = 56;
const AT_LAST_SEQ: usize = 64;
const AT_OPS: usize = 72;
const AT_RESERVED: usize = 76;
const AT_NEXT_SALT: usize = 80;
const AT_OFFSET: usize = 88;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A batch of operations.
    Data = 1,
    /// Not a batch: names the next segment, which was not prepared yet when the last batch was written.
    Link = 2,
    /// A clean close. The journal may continue after it.
    Seal = 3,
}

/// The metadata of a batch, and of the store when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BatchHead {
    /// Rises by one with every data and seal frame, over the whole journal and across restarts.
    pub(crate) batch: u64,
    /// The highest batch known to be durable at the time of writing. Filled in by the writer.
    pub(crate) durable: u64,
    /// Store time.
    pub(crate) mark_ms: u64,
    /// Generation of the catalogue.
    pub(crate) generation: u64,
    /// The lowest sequence in the batch.
    pub(crate) first_seq: u64,
    /// The highest sequence in the batch.
    pub(crate) last_seq: u64,
    /// How many operations the payload holds.
    pub(crate) ops: u32,
}

/// One frame, borrowed from the bytes it stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) head: BatchHead,
    /// Salt of the segment that follows this one; zero while none is prepared.
    pub(crate) next_salt: u64,
    pub(crate) payload: &'a [u8],
}

impl std::fmt::Debug for Frame<'_> {
    /// Without the payload, which holds keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Frame");
        shown.field("kind", &self.kind).field("head", &self.head).field("next_salt", &self.next_salt);
        shown.field("payload_bytes", &self.payload.len()).finish()
    }
}

/// The place of a frame. It is covered by the frame's checksum, so a copy at another place is not valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) salt: u64,
    /// From the start of the segment.
    pub(super) offset: usize,
    /// Length of the segment: the bound for a frame's length.
    pub(super) capacity: usize,
}

/// Why there is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reject {
    /// The bytes are not a complete frame of this segment at this place.
    NotAFrame,
    /// There may be a frame, but the given bytes end before it does.
    Short,
    /// A complete frame with contents that no writer produces.
    Nonsense(&'static str),
}

/// Bytes on the disk of a frame with `payload` bytes.
pub(crate) const fn framed_bytes(payload: usize) -> usize {
    (HEADER_BYTES.saturating_add(payload)).div_ceil(SECTOR_BYTES).saturating_mul(SECTOR_BYTES)
}

/// The distance from a frame to the next one. The next one begins on a fresh sector, so that writing it never touches
/// a sector with an acknowledged batch.
pub(super) fn stride_bytes(payload: usize) -> usize {
    if planted::active(23) {
        return (HEADER_BYTES.saturating_add(payload)).next_multiple_of(8);
    }
    framed_bytes(payload)
}

/// Writes `frame` to the beginning of `out`, and zeros after it. `false` if it does not fit.
pub(super) fn encode(frame: &Frame<'_>, place: Place, out: &mut [u8]) -> bool {
    let (Ok(length), Some(room)) = (u32::try_from(frame.payload.len()), out.len().checked_sub(HEADER_BYTES))
    else {
        return false;
    };
    if room < frame.payload.len() {
        return false;
    }
    let (header, body) = out.split_at_mut(HEADER_BYTES);
    fill_header(header, frame, place, length);
    let crc = crc32(&[header.get(AT_LENGTH..).unwrap_or_default(), frame.payload]);
    put(header, AT_CRC, &crc.to_le_bytes());
    let (payload, padding) = body.split_at_mut(frame.payload.len());
    payload.copy_from_slice(frame.payload);
    padding.fill(0);
    true
}

fn fill_header(header: &mut [u8], frame: &Frame<'_>, place: Place, length: u32) {
    let head = &frame.head;
    header.fill(0);
    put(header, 0, &MAGIC);
    put(header, AT_LENGTH, &length.to_le_bytes());
    put(header, AT_KIND, &[frame.kind as u8]);
    put(header, AT_SALT, &place.salt.to_le_bytes());
    put(header, AT_BATCH, &head.batch.to_le_bytes());
    put(header, AT_DURABLE, &head.durable.to_le_bytes());
    put(header, AT_MARK, &head.mark_ms.to_le_bytes());
    put(header, AT_GENERATION, &head.generation.to_le_bytes());
    put(header, AT_FIRST_SEQ, &head.first_seq.to_le_bytes());
    put(header, AT_LAST_SEQ, &head.last_seq.to_le_bytes());
    put(header, AT_OPS, &head.ops.to_le_bytes());
    put(header, AT_RESERVED, &0u32.to_le_bytes());
    put(header, AT_NEXT_SALT, &frame.next_salt.to_le_bytes());
    put(header, AT_OFFSET, &(place.offset as u64).to_le_bytes());
}

/// Copies `bytes` to `at`. The offsets are constants of one table; a test compares it with the decoder.
pub(super) fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = out.get_mut(at..at.saturating_add(bytes.len())) {
        field.copy_from_slice(bytes);
    }
}

/// Reads the frame at `place` from `segment`, which holds the segment's first bytes or all of them.
pub(super) fn decode(segment: &[u8], place: Place) -> Result<Frame<'_>, Reject> {
    let room = place.capacity.checked_sub(place.offset).and_then(|left| left.checked_sub(HEADER_BYTES));
    let room = room.ok_or(Reject::NotAFrame)?;
    let bytes = segment.get(place.offset..).ok_or(Reject::Short)?;
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(Reject::Short)?;
    // An all-zero header ends here: its checksum alone would pass.
    if !header.starts_with(&MAGIC) {
        return Err(Reject::NotAFrame);
    }
    let fields = Fields::read(header).map_err(|_| Reject::NotAFrame)?;
    // Old bytes of a recycled file are whole frames too: only the salt tells them from ours.
    let mut is_ours = fields.salt == place.salt;
    if planted::active(10) {
        is_ours = true;
    }
    if !is_ours {
        return Err(Reject::NotAFrame);
    }
    // The length is bounded before it is used for anything.
    let length = fields.length as usize;
    if length > room || fields.offset != place.offset as u64 {
        return Err(Reject::NotAFrame);
    }
    let payload = rest.get(..length).ok_or(Reject::Short)?;
    if crc32(&[header.get(AT_LENGTH..).unwrap_or_default(), payload]) != fields.crc {
        return Err(Reject::NotAFrame);
    }
    fields.into_frame(payload)
}

/// The header as numbers, none of them believed yet.
struct Fields {
    crc: u32,
    length: u32,
    kind: [u8; 4],
    salt: u64,
    head: BatchHead,
    reserved: u32,
    next_salt: u64,
    offset: u64,
}

impl Fields {
    fn read(header: &[u8]) -> Result<Fields, Malformed> {
        let mut cursor = Cursor::new(header);
        cursor.take(MAGIC.len(), "frame magic")?;
        let crc = cursor.u32("frame checksum")?;
        let length = cursor.u32("payload length")?;
        let kind = cursor.array("frame kind")?;
        let salt = cursor.u64("frame salt")?;
        let head = BatchHead {
            batch: cursor.u64("batch number")?,
            durable: cursor.u64("durable batch")?,
            mark_ms: cursor.u64("store time")?,
            generation: cursor.u64("generation")?,
            first_seq: cursor.u64("first sequence")?,
            last_seq: cursor.u64("last sequence")?,
            ops: cursor.u32("number of operations")?,
        };
        let reserved = cursor.u32("reserved")?;
        let next_salt = cursor.u64("next salt")?;
        let offset = cursor.u64("offset")?;
        cursor.finish("frame header")?;
        Ok(Fields { crc, length, kind, salt, head, reserved, next_salt, offset })
    }

    fn into_frame(self, payload: &[u8]) -> Result<Frame<'_>, Reject> {
        let kind = match self.kind {
            [1, 0, 0, 0] => FrameKind::Data,
            [2, 0, 0, 0] => FrameKind::Link,
            [3, 0, 0, 0] => FrameKind::Seal,
            _ => return Err(Reject::Nonsense("a frame of unknown kind")),
        };
        if self.reserved != 0 {
            return Err(Reject::Nonsense("a frame with a reserved field in use"));
        }
        if kind != FrameKind::Data && !(payload.is_empty() && self.head.ops == 0) {
            return Err(Reject::Nonsense("a frame without operations has a payload"));
        }
        Ok(Frame { kind, head: self.head, next_salt: self.next_salt, payload })
    }
}

/// Whether `sector` begins like a frame of the segment with this salt, whole or not.
pub(super) fn looks_like_ours(sector: &[u8], salt: u64) -> bool {
    sector.get(AT_SALT..AT_BATCH) == Some(salt.to_le_bytes().as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { salt: 0x0102_0304_0506_0708, offset: 1024, capacity: 8192 }
    }

    fn example() -> Frame<'static> {
        let head = BatchHead {
            batch: 3,
            durable: 2,
            mark_ms: 1_800_000_000_000,
            generation: 4,
            first_seq: 50,
            last_seq: 60,
            ops: 7,
        };
        Frame { kind: FrameKind::Data, head, next_salt: 9, payload: b"hello" }
    }

    /// A segment with one frame where `place` says.
    fn written(frame: &Frame<'_>) -> Vec<u8> {
        let mut segment = vec![0xaa; 8192];
        let stride = framed_bytes(frame.payload.len());
        assert!(encode(frame, place(), &mut segment[1024..1024 + stride]));
        segment
    }

    #[test]
    fn frames_round_trip() {
        let mut frame = example();
        let long = vec![5; 3000];
        for payload in [&b""[..], &b"hello"[..], &long] {
            frame.payload = payload;
            assert_eq!(decode(&written(&frame), place()), Ok(frame));
        }
        for kind in [FrameKind::Link, FrameKind::Seal] {
            frame = Frame { kind, payload: b"", head: BatchHead { ops: 0, ..frame.head }, ..frame };
            assert_eq!(decode(&written(&frame), place()), Ok(frame));
        }
    }

    #[test]
    fn no_flipped_bit_is_a_frame() {
        let segment = written(&example());
        for bit in 0..(HEADER_BYTES + 5) * 8 {
            let mut hurt = segment.clone();
            hurt[1024 + bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&hurt, place()), Err(Reject::NotAFrame | Reject::Short)), "bit {bit}");
        }
        assert_eq!(decode(&vec![0; 8192], place()), Err(Reject::NotAFrame), "zeros are no frame");
    }

    #[test]
    fn a_frame_counts_only_in_its_segment_and_place() {
        let mut segment = written(&example());
        assert_eq!(decode(&segment, Place { salt: 1, ..place() }), Err(Reject::NotAFrame));
        segment.copy_within(1024..1536, 2048);
        assert_eq!(decode(&segment, Place { offset: 2048, ..place() }), Err(Reject::NotAFrame));
    }

    #[test]
    fn lengths_are_bounded_before_they_are_used() {
        let segment = written(&example());
        assert_eq!(decode(&segment[..1100], place()), Err(Reject::Short));
        assert_eq!(decode(&segment[..1000], place()), Err(Reject::Short));
        assert_eq!(decode(&segment[..1124], place()), Err(Reject::Short));
        assert!(decode(&segment[..1125], place()).is_ok());
        for capacity in [0, 1024, 1119, 1124] {
            assert_eq!(decode(&segment, Place { capacity, ..place() }), Err(Reject::NotAFrame));
        }
        assert!(decode(&segment, Place { capacity: 1125, ..place() }).is_ok());
    }

    #[test]
    fn frames_that_no_writer_writes_are_told_from_damage() {
        for (at, value) in [(AT_KIND, 4), (AT_KIND, 0), (AT_KIND + 1, 1), (AT_RESERVED, 1), (AT_KIND, 2)] {
            let mut segment = written(&example());
            segment[1024 + at] = value;
            let crc = crc32(&[&segment[1024 + AT_LENGTH..1024 + HEADER_BYTES + 5]]);
            segment[1024 + AT_CRC..1024 + AT_LENGTH].copy_from_slice(&crc.to_le_bytes());
            assert!(matches!(decode(&segment, place()), Err(Reject::Nonsense(_))), "{at}");
        }
        // Only data carries anything.
        for kind in [FrameKind::Link, FrameKind::Seal] {
            let counted = Frame { kind, payload: b"", ..example() };
            let loaded = Frame { kind, head: BatchHead { ops: 0, ..example().head }, ..example() };
            for frame in [counted, loaded] {
                assert!(matches!(decode(&written(&frame), place()), Err(Reject::Nonsense(_))), "{frame:?}");
            }
        }
    }

    #[test]
    fn sizes_are_whole_sectors() {
        for (payload, framed) in [(0, 512), (416, 512), (417, 1024), (10_000, 10_240)] {
            assert_eq!(framed_bytes(payload), framed);
        }
    }

    /// The table of `docs/file-format.md`.
    #[test]
    fn the_bytes_are_these() {
        let segment = written(&example());
        let header = &segment[1024..1024 + HEADER_BYTES];
        let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!(&header[..4], b"CSJF");
        assert_eq!((half(8), half(12), half(72), half(76)), (5, 1, 7, 0));
        let words: Vec<u64> = [16, 24, 32, 40, 48, 56, 64, 80, 88].into_iter().map(word).collect();
        assert_eq!(words, [0x0102_0304_0506_0708, 3, 2, 1_800_000_000_000, 4, 50, 60, 9, 1024]);
        assert_eq!(half(4), 4_266_832_171, "a golden value: files in the field hold it");
        assert!(segment[1024 + HEADER_BYTES + 5..1536].iter().all(|&byte| byte == 0));
    }
}
