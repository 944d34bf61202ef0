//! What must hold for any bytes that are read as a segment. A fuzz target and a property test come in here.

use super::frame::{self, BatchHead, Frame, FrameKind, HEADER_BYTES, Place, SECTOR_BYTES, framed_bytes};
use super::scan::{self, Chain, Step, Tail};
use super::segment::FIRST_FRAME;

const CAPACITY: usize = 32 * SECTOR_BYTES;
const SALT: u64 = 0x5A17_5A17_5A17_5A17;

/// Reads `input` as a segment: as it is, or as orders to write one, since nobody guesses a checksum. The first
/// byte says which.
pub(crate) fn scan_any(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let mut segment = vec![0; CAPACITY];
    if first % 2 == 0 {
        segment.iter_mut().skip(FIRST_FRAME).zip(rest).for_each(|(byte, given)| *byte = *given);
    } else {
        write_as_told(&mut Orders(rest), &mut segment);
    }
    check(&segment);
}

/// The scan ends; what it takes for a frame is one; and mending the end, however far it gets before a crash, loses
/// no frame and leaves nothing that could be taken for one.
fn check(segment: &[u8]) {
    let Some(found) = walk(segment) else { return };
    if judge(segment, found) == Tail::Corrupt {
        return;
    }
    let mut mended = segment.to_vec();
    let dirty: Vec<usize> = scan::sectors_to_clear(segment, place(found.end)).collect();
    for at in dirty {
        mended.iter_mut().skip(at).take(SECTOR_BYTES).for_each(|byte| *byte = 0);
        assert_eq!(walk(&mended), Some(found), "the end moved when sector {at} was cleared");
        assert_ne!(judge(&mended, found), Tail::Corrupt, "sector {at} cleared");
    }
    assert_eq!(judge(&mended, found), Tail::Clean);
    assert_eq!(scan::sectors_to_clear(&mended, place(found.end)).next(), None);
}

/// How far a scan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    frames: usize,
    /// Offset after the last frame.
    end: usize,
    batch: u64,
}

/// Goes over all frames, as recovery does. None: a frame is there that no writer writes.
fn walk(segment: &[u8]) -> Option<Found> {
    let mut chain = Chain::behind(0);
    let mut found = Found { frames: 0, end: FIRST_FRAME, batch: 0 };
    while let Step::Frame(frame, behind) = scan::step(segment, place(found.end), &mut chain).ok()? {
        let mut bytes = vec![0; framed_bytes(frame.payload.len())];
        assert!(frame::encode(&frame, place(found.end), &mut bytes));
        let written = HEADER_BYTES + frame.payload.len();
        assert_eq!(segment.get(found.end..found.end + written), bytes.get(..written), "{frame:?}");
        assert!(behind > found.end && behind % SECTOR_BYTES == 0);
        assert!(frame.head.batch >= found.batch && frame.head.durable <= frame.head.batch);
        found = Found { frames: found.frames + 1, end: behind, batch: frame.head.batch };
    }
    Some(found)
}

fn judge(segment: &[u8], found: Found) -> Tail {
    scan::judge(segment, place(found.end), found.batch + 1)
}

fn place(offset: usize) -> Place {
    Place { salt: SALT, offset, capacity: CAPACITY }
}

/// Orders to write a segment; zeros behind their end.
struct Orders<'a>(&'a [u8]);

impl Orders<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        u64::from(self.byte())
    }
}

/// Frames that follow each other or nearly so, gaps, damage.
fn write_as_told(orders: &mut Orders<'_>, segment: &mut [u8]) {
    let mut offset = FIRST_FRAME;
    let mut last = BatchHead::default();
    while !orders.0.is_empty() && offset < CAPACITY {
        match orders.byte() % 8 {
            0 => offset += SECTOR_BYTES * usize::from(orders.byte() % 4),
            1 => {
                let at = usize::from(orders.byte()) << 8 | usize::from(orders.byte());
                let mask = orders.byte();
                segment.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= mask);
            }
            // A frame of whoever had this file before.
            2 => offset += write_frame(segment, Place { salt: !SALT, ..place(offset) }, &last, 1, &[]),
            // Half a frame: its sectors but for the first one or the last one.
            3 => {
                let (head, payload) = following(&last, orders);
                let framed = write_frame(segment, place(offset), &head, 1, &payload);
                let missing = if orders.byte() < 128 { 0 } else { framed.saturating_sub(SECTOR_BYTES) };
                segment.iter_mut().skip(offset + missing).take(SECTOR_BYTES).for_each(|byte| *byte = 0);
                (offset, last) = (offset + framed, head);
            }
            kind => {
                let (mut head, payload) = following(&last, orders);
                match kind {
                    5 => head = BatchHead { batch: last.batch, ops: 0, ..head },
                    6 => head.ops = 0,
                    _ => {}
                }
                offset += write_frame(segment, place(offset), &head, kind - 3, &payload);
                last = BatchHead { last_seq: head.last_seq.max(last.last_seq), ..head };
            }
        }
    }
}

/// The head of a batch that follows `last`, if the orders do not change it.
fn following(last: &BatchHead, orders: &mut Orders<'_>) -> (BatchHead, Vec<u8>) {
    let head = BatchHead {
        batch: (last.batch + 1).wrapping_add(orders.word() >> 6),
        durable: last.batch.wrapping_sub(orders.word() >> 5).min(1 << 40),
        mark_ms: orders.word(),
        generation: 1,
        first_seq: last.last_seq + 1,
        last_seq: last.last_seq + orders.word() % 8,
        ops: u32::from(orders.byte() % 4),
    };
    (head, vec![0x11; 8 * usize::from(orders.byte())])
}

/// Writes a frame if there is room for it; returns its size.
fn write_frame(segment: &mut [u8], place: Place, head: &BatchHead, kind: u8, payload: &[u8]) -> usize {
    let (kind, payload) = match kind {
        2 => (FrameKind::Link, &[][..]),
        3 => (FrameKind::Seal, &[][..]),
        _ => (FrameKind::Data, payload),
    };
    let framed = framed_bytes(payload.len());
    let frame = Frame { kind, head: *head, next_salt: head.mark_ms % 3, payload };
    if let Some(room) = segment.get_mut(place.offset..place.offset + framed) {
        frame::encode(&frame, place, room);
    }
    framed
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, Orders, place, scan_any, walk, write_as_told};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_and_any_segment_are_scanned_and_mended(input: Vec<u8>) {
            scan_any(&input);
        }
    }

    /// Else the property above would hold of nothing.
    #[test]
    fn orders_make_frames_that_count() {
        let mut segment = vec![0; CAPACITY];
        let frame = [4, 0, 0, 9, 2, 2, 60];
        write_as_told(&mut Orders(&frame.repeat(3)), &mut segment);
        let found = walk(&segment).unwrap();
        assert_eq!((found.frames, found.batch), (3, 3));
        segment[place(0).capacity / 2] ^= 1;
        assert_eq!(walk(&segment), Some(found), "behind the end");
    }
}
