//! Reading a journal back: which frames follow each other, and what the bytes after the last one mean.
//! Pure: bytes in, verdict out.

use super::frame::{self, BatchHead, Frame, FrameKind, Place, Reject, SECTOR_BYTES, stride_bytes};
use crate::planted;

/// The state of the journal between two frames, which the next frame must match.
///
/// The writer checks before it writes, recovery after it read, with the same code: nothing is written that recovery
/// would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    /// Head of the last frame. Before the first frame only `batch` has a meaning.
    pub(super) last: BatchHead,
    /// The highest sequence so far.
    last_seq: u64,
    /// The successor that frames of this segment have named; zero while none has.
    pub(super) next_salt: u64,
}

impl Chain {
    /// The chain after batch `batch`.
    pub(super) fn behind(batch: u64) -> Chain {
        Chain { last: BatchHead { batch, ..BatchHead::default() }, last_seq: 0, next_salt: 0 }
    }

    /// The head for a link, which is not a batch and repeats the last number.
    pub(super) fn link_head(&self) -> BatchHead {
        BatchHead { ops: 0, ..self.last }
    }

    /// Advances over `frame`, or returns why it cannot follow.
    pub(super) fn admit(&mut self, frame: &Frame<'_>) -> Result<(), &'static str> {
        let (head, last) = (&frame.head, &self.last);
        let due = if frame.kind == FrameKind::Link { Some(last.batch) } else { last.batch.checked_add(1) };
        if Some(head.batch) != due {
            return Err("a batch of the journal is missing or out of order");
        }
        if !(last.durable..=last.batch).contains(&head.durable) {
            return Err("a batch of the journal claims what cannot be durable");
        }
        if head.ops > 0 && (head.first_seq <= self.last_seq || head.last_seq < head.first_seq) {
            return Err("sequences of the journal are out of order");
        }
        if self.next_salt != 0 && frame.next_salt != self.next_salt {
            return Err("the journal names two successors of one segment");
        }
        if head.ops > 0 {
            self.last_seq = head.last_seq;
        }
        self.next_salt = frame.next_salt;
        self.last = *head;
        Ok(())
    }

    /// Continues in the named successor.
    pub(super) fn enter_next(&mut self) {
        self.next_salt = 0;
    }
}

/// The result of reading a place where a frame may be.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A frame that follows, and where the next one would begin.
    Frame(Frame<'a>, usize),
    /// No frame: the end, or damage. [`judge`] tells.
    End,
    /// More bytes of the segment are needed.
    Short,
}

/// Advances the chain over the frame at `place`. An error means corruption: a complete frame that cannot be there.
pub(super) fn step<'a>(segment: &'a [u8], place: Place, chain: &mut Chain) -> Result<Step<'a>, &'static str> {
    match frame::decode(segment, place) {
        Ok(frame) => {
            chain.admit(&frame)?;
            Ok(Step::Frame(frame, place.offset.saturating_add(stride_bytes(frame.payload.len()))))
        }
        Err(Reject::NotAFrame) => Ok(Step::End),
        Err(Reject::Short) => Ok(Step::Short),
        Err(Reject::Nonsense(what)) => Err(what),
    }
}

/// The meaning of the bytes after the last frame of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// No bytes of this segment's frames.
    Clean,
    /// Frames that were being written at a crash, damaged or complete. None was acknowledged as durable.
    Torn,
    /// A durable frame is damaged.
    Corrupt,
}

/// Judges all bytes from `end` on, where batch `missing` would have to be.
///
/// A later complete frame is a witness: if it says that `missing` was durable when it was written, the journal is
/// damaged. Without a witness, nothing from here on was acknowledged as durable. With a sync before every
/// acknowledgement, the next frame is always such a witness; with weaker durability the tail may be longer than one
/// frame. The search for a witness looks at every sector and does not rely on lengths, which may be damaged.
pub(super) fn judge(segment: &[u8], end: Place, missing: u64) -> Tail {
    let mut tail = Tail::Clean;
    let mut offset = end.offset;
    while let Some(sector) = segment.get(offset..offset.saturating_add(SECTOR_BYTES)) {
        let mut next = offset.saturating_add(SECTOR_BYTES);
        if frame::looks_like_ours(sector, end.salt) {
            tail = Tail::Torn;
            if let Ok(later) = frame::decode(segment, Place { offset, ..end }) {
                let mut is_witness = later.head.durable >= missing;
                if planted::active(9) {
                    is_witness = false;
                }
                if is_witness {
                    return Tail::Corrupt;
                }
                next = offset.saturating_add(frame::framed_bytes(later.payload.len()));
            }
        }
        offset = next;
    }
    tail
}

/// The sectors to clear: all from `end` on that could be taken for the beginning of a frame of this segment, and the
/// first one unless it is all zeros.
pub(super) fn sectors_to_clear(segment: &[u8], end: Place) -> impl Iterator<Item = usize> {
    let first = end.offset / SECTOR_BYTES * SECTOR_BYTES;
    let sectors = segment.get(first..).unwrap_or_default().chunks(SECTOR_BYTES).enumerate();
    sectors.filter_map(move |(index, sector)| {
        let dirty = index == 0 && sector.iter().any(|&byte| byte != 0);
        (dirty || frame::looks_like_ours(sector, end.salt)).then_some(first + index * SECTOR_BYTES)
    })
}

#[cfg(test)]
mod tests {
    use super::super::frame::encode;
    use super::*;

    const SALT: u64 = 0x5a17;
    const CAPACITY: usize = 16 * SECTOR_BYTES;

    /// After batch 5, with batches up to 3 known to be durable, sequences up to 50 and no successor named.
    fn chain() -> Chain {
        let last =
            BatchHead { batch: 5, durable: 3, first_seq: 41, last_seq: 50, ops: 2, ..BatchHead::default() };
        Chain { last, last_seq: 50, next_salt: 0 }
    }

    /// A batch that may follow.
    fn head() -> BatchHead {
        BatchHead { batch: 6, durable: 4, first_seq: 51, last_seq: 60, ops: 3, ..BatchHead::default() }
    }

    fn data(head: BatchHead) -> Frame<'static> {
        Frame { kind: FrameKind::Data, head, next_salt: 0, payload: b"" }
    }

    /// The chain after `frame`; a refusal leaves it unchanged.
    fn admitted(frame: &Frame<'_>) -> Option<Chain> {
        let mut chain = chain();
        let admitted = chain.admit(frame).is_ok();
        assert!(admitted || chain == self::chain());
        admitted.then_some(chain)
    }

    #[test]
    fn batches_follow_each_other_without_a_gap_and_a_link_is_none() {
        let follows = |kind, batch| {
            let head = BatchHead { batch, ops: 0, ..head() };
            admitted(&Frame { kind, ..data(head) }).is_some()
        };
        for kind in [FrameKind::Data, FrameKind::Seal] {
            assert_eq!([4, 5, 6, 7].map(|batch| follows(kind, batch)), [false, false, true, false]);
        }
        assert_eq!([4, 5, 6].map(|batch| follows(FrameKind::Link, batch)), [false, true, false]);
        let mut last = Chain::behind(u64::MAX);
        assert!(last.admit(&data(BatchHead { batch: 0, ..head() })).is_err(), "numbers do not begin again");
        assert_eq!(last.link_head(), BatchHead { batch: u64::MAX, ..BatchHead::default() });
        assert_eq!(chain().link_head(), BatchHead { ops: 0, ..chain().last });
    }

    #[test]
    fn what_is_durable_never_shrinks_and_lies_below_the_batch_that_says_so() {
        let follows = |durable| admitted(&data(BatchHead { durable, ..head() })).is_some();
        assert_eq!([2, 3, 4, 5, 6].map(follows), [false, true, true, true, false]);
    }

    #[test]
    fn sequences_rise_from_batch_to_batch() {
        let follows =
            |first_seq, last_seq| admitted(&data(BatchHead { first_seq, last_seq, ..head() })).is_some();
        assert!(follows(51, 51) && follows(70, 80));
        assert!(!follows(50, 60) && !follows(49, 60) && !follows(52, 51));
        assert_eq!(admitted(&data(head())).map(|chain| (chain.last, chain.last_seq)), Some((head(), 60)));
        // Frames without operations say nothing about them, and change nothing.
        let empty = BatchHead { first_seq: 0, last_seq: 0, ops: 0, ..head() };
        assert_eq!(admitted(&data(empty)).map(|chain| (chain.last, chain.last_seq)), Some((empty, 50)));
    }

    #[test]
    fn a_segment_has_one_successor() {
        let named = |chain: &mut Chain, batch, next_salt| {
            let head = BatchHead { batch, ops: 0, ..head() };
            chain.admit(&Frame { next_salt, ..data(head) }).is_ok()
        };
        let mut chain = chain();
        assert!(named(&mut chain, 6, 0) && named(&mut chain, 7, 9) && named(&mut chain, 8, 9));
        assert!(!named(&mut chain, 9, 8) && !named(&mut chain, 9, 0));
        assert_eq!((chain.last.batch, chain.next_salt), (8, 9));
        chain.enter_next();
        assert!(named(&mut chain, 9, 0) && named(&mut chain, 10, 8));
    }

    /// A segment with frames of one sector, each at its sector: batch and what it says is durable.
    fn segment(frames: &[(usize, u64, u64)]) -> Vec<u8> {
        let mut segment = vec![0; CAPACITY];
        for &(sector, batch, durable) in frames {
            let at = sector * SECTOR_BYTES;
            let frame = data(BatchHead { batch, durable, ..head() });
            assert!(encode(&frame, place(sector), &mut segment[at..at + SECTOR_BYTES]));
        }
        segment
    }

    fn place(sector: usize) -> Place {
        Place { salt: SALT, offset: sector * SECTOR_BYTES, capacity: CAPACITY }
    }

    #[test]
    fn a_step_ends_where_the_next_frame_would_begin() {
        let mut segment = segment(&[(2, 6, 4), (3, 9, 4)]);
        let mut chain = chain();
        assert!(matches!(step(&segment, place(2), &mut chain), Ok(Step::Frame(_, 1536))));
        assert_eq!(chain.last.batch, 6);
        assert!(step(&segment, place(3), &mut chain).is_err(), "batches 7 and 8 are missing");
        assert!(matches!(step(&segment, place(4), &mut chain), Ok(Step::End)));
        segment.truncate(4 * SECTOR_BYTES + 10);
        assert!(matches!(step(&segment, place(4), &mut chain), Ok(Step::Short)));
    }

    #[test]
    fn a_tail_is_corrupt_when_a_later_frame_knew_the_missing_batch_durable() {
        let judged = |frames: &[_]| judge(&segment(frames), place(2), 6);
        assert_eq!(judged(&[(1, 9, 9)]), Tail::Clean, "what lies before does not count");
        assert_eq!(judged(&[(2, 7, 5)]), Tail::Torn);
        assert_eq!(judged(&[(2, 7, 6)]), Tail::Corrupt);
        assert_eq!(judged(&[(2, 7, 5), (9, 8, 5), (15, 9, 7)]), Tail::Corrupt, "up to the last sector");
        // Damaged itself it is no witness, and still a rest of ours.
        let mut hurt = segment(&[(15, 9, 7)]);
        hurt[15 * SECTOR_BYTES + frame::HEADER_BYTES - 1] ^= 1;
        assert_eq!(judge(&hurt, place(2), 6), Tail::Torn);
        assert_eq!(judge(&hurt, Place { salt: !SALT, ..place(2) }, 6), Tail::Clean);
    }

    #[test]
    fn only_what_could_be_taken_for_a_frame_is_cleared_and_the_sector_of_the_end() {
        let cleared = |segment: &[u8], end| sectors_to_clear(segment, end).collect::<Vec<_>>();
        let mut segment = segment(&[(1, 5, 3), (3, 7, 3), (6, 8, 3)]);
        assert_eq!(cleared(&segment, place(2)), [3 * 512, 6 * 512]);
        // Foreign bytes in the sector of the end, and in a later one.
        (segment[2 * 512 + 300], segment[4 * 512 + 300]) = (1, 1);
        assert_eq!(cleared(&segment, place(2)), [2 * 512, 3 * 512, 6 * 512]);
        let inside = Place { offset: 2 * 512 + 100, ..place(2) };
        assert_eq!(cleared(&segment, inside), [2 * 512, 3 * 512, 6 * 512]);
        assert_eq!(cleared(&segment, place(16)), [0; 0]);
    }
}
