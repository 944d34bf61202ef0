//! Reading a journal back: which frames follow each other, and what the bytes behind the last one mean.
//! Pure: bytes in, verdict out.

use super::frame::{self, BatchHead, Frame, FrameKind, Place, Reject, SECTOR_BYTES, stride_bytes};
use crate::planted;

/// The state of the journal between two frames: what the next one has to agree with.
///
/// The writer asks before it writes, recovery after it read, so nothing is written that would be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    /// The last frame's; before the first frame only `batch` says something.
    pub(super) last: BatchHead,
    /// The highest sequence so far.
    last_seq: u64,
    /// The successor that frames of this segment have named; zero while none has.
    pub(super) next_salt: u64,
}

impl Chain {
    /// The chain behind batch `batch`.
    pub(super) fn behind(batch: u64) -> Chain {
        Chain { last: BatchHead { batch, ..BatchHead::default() }, last_seq: 0, next_salt: 0 }
    }

    /// The head of a frame that is no batch of its own.
    pub(super) fn link_head(&self) -> BatchHead {
        BatchHead { ops: 0, ..self.last }
    }

    /// Goes over `frame`, or says why it cannot follow.
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

    /// Goes on in the named successor.
    pub(super) fn enter_next(&mut self) {
        self.next_salt = 0;
    }
}

/// What stands at a place where a frame may be.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A frame that follows, and where the next one would begin.
    Frame(Frame<'a>, usize),
    /// No frame: the end, or damage. [`judge`] tells.
    End,
    /// More bytes of the segment are needed.
    Short,
}

/// Takes the frame at `place` into the chain. An error means corruption: a whole frame that cannot be there.
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

/// What the bytes behind the last frame of a segment mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing of this segment.
    Clean,
    /// Frames that were being written at a crash, damaged or whole; none was acknowledged as durable.
    Torn,
    /// A frame that was durable is damaged.
    Corrupt,
}

/// Judges everything from `end` on, where batch `missing` would have to stand.
///
/// A later whole frame that says `missing` was durable when it was written proves damage. Without such
/// a witness, everything from here on was never acknowledged as durable: with a sync before every
/// acknowledgement the next frame is that witness; with less, the tail may be longer than one frame.
/// Damaged lengths are not used to find a witness: every sector is looked at.
pub(super) fn judge(segment: &[u8], end: Place, missing: u64) -> Tail {
    let mut tail = Tail::Clean;
    let mut offset = end.offset;
    while let Some(sector) = segment.get(offset..offset.saturating_add(SECTOR_BYTES)) {
        let mut next = offset.saturating_add(SECTOR_BYTES);
        if frame::looks_like_ours(sector, end.salt) {
            tail = Tail::Torn;
            if let Ok(later) = frame::decode(segment, Place { offset, ..end }) {
                if later.head.durable >= missing && !planted::active(9) {
                    return Tail::Corrupt;
                }
                next = offset.saturating_add(frame::framed_bytes(later.payload.len()));
            }
        }
        offset = next;
    }
    tail
}

/// The sectors from `end` on that a reader could take for the beginning of a frame of this segment, and the
/// first one, unless it is empty.
pub(super) fn sectors_to_clear(segment: &[u8], end: Place) -> impl Iterator<Item = usize> {
    let first = end.offset / SECTOR_BYTES * SECTOR_BYTES;
    let sectors = segment.get(first..).unwrap_or_default().chunks(SECTOR_BYTES).enumerate();
    sectors.filter_map(move |(index, sector)| {
        let dirty = index == 0 && sector.iter().any(|&byte| byte != 0);
        (dirty || frame::looks_like_ours(sector, end.salt)).then_some(first + index * SECTOR_BYTES)
    })
}
