//! Opening a journal: replay the frames, repair the end, and continue after it.

use super::frame::{BatchHead, Frame, FrameKind, Place, SECTOR_BYTES};
use super::scan::{self, Chain, Step, Tail};
use super::segment::{self, FIRST_FRAME, Reader, Start};
use super::writer::Writer;
use crate::error::{Error, ErrorKind};
use crate::io::{OpenMode, Storage};
use crate::planted;
use crate::sync::Arc;
use std::collections::VecDeque;
use std::io;

/// A cleanly closed journal is read only as far as its seal: first this much, then twice as much as long as needed.
const FIRST_READ_BYTES: usize = 1 << 20;

/// The result of a recovery, and the writer that continues after the last frame.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) writer: Writer,
    /// Head of the last frame that was kept; `None` if the journal has no frame.
    pub(crate) last: Option<BatchHead>,
    /// Whether that frame is a seal.
    pub(crate) sealed: bool,
    /// How many frames were kept.
    pub(crate) frames: u64,
    /// Whether a torn tail was cut off.
    pub(crate) cut: bool,
    /// The segments of the chain in order; the last one is being written.
    pub(crate) segments: Vec<LiveSegment>,
    /// The bytes of each of them, and of the prepared successor if there is one.
    pub(crate) capacities: Vec<u64>,
    /// Segment files with numbers below the chain, which may be recycled or removed. Files above it are left out:
    /// each is replaced when its number comes up, and by then it would be a segment in use.
    pub(crate) spare: Vec<u64>,
}

/// A segment of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveSegment {
    /// The segment, as the place where a replay could begin.
    pub(crate) start: Start,
    /// The lowest sequence in it; zero when it holds no operation.
    pub(crate) first_seq: u64,
    /// The highest sequence in it; zero when it holds no operation.
    pub(crate) last_seq: u64,
}

/// Reads the journal from `start`, passes every frame to `visit` in order, and prepares it for appending.
///
/// `expect_seal` is the batch of the seal if the catalogue says that the store was closed cleanly: then the journal
/// must end in exactly that seal, otherwise it is [`ErrorKind::Corrupt`]. Without it the end is judged: a torn tail
/// is cut off and the rest is made durable before anything can be appended.
///
/// After an error some frames may have been visited, but no frame that counts was changed. A repetition, also after a
/// crash half-way, finds the same frames.
pub(crate) fn recover(
    storage: &Arc<dyn Storage>,
    store_id: [u8; 16],
    start: Start,
    expect_seal: Option<u64>,
    visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), Error>,
) -> Result<Recovered, Error> {
    let clean = expect_seal.is_some();
    let files = segment::list(storage).map_err(no_directory)?;
    let mut distrust = !clean;
    if planted::active(12) {
        distrust = false;
    }
    if distrust {
        show_the_disk(storage, &files)
            .map_err(|error| Error::io("a journal segment cannot be synced", error))?;
    }
    let first = Reader::open(storage, store_id, start.segment, start.salt)?;
    let mut walk = Walk::new(storage, store_id, clean, start);
    let end = walk.follow_chain(first, visit)?;
    let last = walk.last.map(|(kind, head)| (kind, head.batch));
    if expect_seal.is_some_and(|batch| last != Some((FrameKind::Seal, batch))) {
        let what = "the journal does not end in the seal of its last close";
        return Err(end.reader.damaged(what, end.offset));
    }
    let (offset, cut) = if clean { (end.offset, false) } else { end.mend(distrust)? };
    walk.finish(end, offset, cut, &files)
}

/// Makes the following reads return the contents of the disk, not of the page cache.
///
/// After a failed sync the page cache may have pages that never reached the disk but are marked clean. Recovery would
/// trust them now, and they would be gone after the next power loss. So first write back what is dirty, then drop the
/// cache.
fn show_the_disk(storage: &Arc<dyn Storage>, files: &[u64]) -> io::Result<()> {
    for &number in files {
        let file = storage.open(&segment::segment_name(number), OpenMode::Existing)?;
        file.sync_data()?;
        file.drop_cache()?;
    }
    Ok(())
}

/// A walk along the chain of segments.
struct Walk<'a> {
    storage: &'a Arc<dyn Storage>,
    store_id: [u8; 16],
    clean: bool,
    chain: Chain,
    last: Option<(FrameKind, BatchHead)>,
    frames: u64,
    segments: Vec<LiveSegment>,
    capacities: Vec<u64>,
    /// Batch and offset of those frames of this segment that no later frame declares durable.
    unproven: VecDeque<(u64, usize)>,
    /// Offset of the last frame of this segment.
    last_offset: Option<usize>,
}

/// Where the chain ends.
struct End {
    reader: Reader,
    offset: usize,
    /// Offset of the first frame that is not proven durable, and so must be written again.
    unproven: usize,
    /// The named successor, which has no frame that counts.
    next: Option<Reader>,
}

impl<'a> Walk<'a> {
    fn new(storage: &'a Arc<dyn Storage>, store_id: [u8; 16], clean: bool, start: Start) -> Walk<'a> {
        let chain = Chain::behind(start.batch);
        Walk {
            storage,
            store_id,
            clean,
            chain,
            last: None,
            frames: 0,
            segments: Vec::new(),
            capacities: Vec::new(),
            unproven: VecDeque::new(),
            last_offset: None,
        }
    }

    fn follow_chain(
        &mut self,
        first: Reader,
        visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), Error>,
    ) -> Result<End, Error> {
        let mut reader = first;
        loop {
            let offset = self.read_segment(&mut reader, visit)?;
            let tail = self.judge(&mut reader, offset)?;
            let next = self.successor(&reader)?;
            let Some(mut next) = next else { return Ok(self.end(reader, offset, None)) };
            next.read_to(FIRST_READ_BYTES)?;
            if !holds_a_frame(&mut next)? {
                self.judge(&mut next, FIRST_FRAME)?;
                return Ok(self.end(reader, offset, Some(next)));
            }
            // A rotation syncs this segment before it writes to the next one. So a frame there means that no write
            // was in progress here: a torn tail is damage.
            let mut is_damage = tail == Tail::Torn;
            if planted::active(9) {
                is_damage = false;
            }
            if is_damage {
                return Err(reader.damaged("a journal segment is damaged before its end", offset));
            }
            self.chain.enter_next();
            reader = next;
        }
    }

    /// Visits the frames of one segment; returns the offset where they end.
    fn read_segment(
        &mut self,
        reader: &mut Reader,
        visit: &mut dyn FnMut(&Frame<'_>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let start = Start { segment: reader.number, salt: reader.salt, batch: self.chain.last.batch };
        let mut live = LiveSegment { start, first_seq: 0, last_seq: 0 };
        self.unproven.clear();
        self.last_offset = None;
        let mut offset = FIRST_FRAME;
        reader.read_to(if self.clean { FIRST_READ_BYTES } else { reader.capacity })?;
        loop {
            let place = place(reader, offset);
            let step = scan::step(reader.bytes(), place, &mut self.chain);
            match step.map_err(|what| reader.damaged(what, offset))? {
                Step::Frame(frame, behind) => {
                    let named = |error: Error| {
                        error.in_file(segment::segment_name(reader.number), Some(offset as u64))
                    };
                    visit(&frame).map_err(named)?;
                    self.note(&frame, offset, &mut live);
                    offset = behind;
                }
                Step::Short if !reader.is_whole() => {
                    reader.read_to(reader.bytes().len().saturating_mul(2))?;
                }
                Step::Short | Step::End => break,
            }
        }
        self.segments.push(live);
        self.capacities.push(reader.capacity as u64);
        Ok(offset)
    }

    fn note(&mut self, frame: &Frame<'_>, offset: usize, live: &mut LiveSegment) {
        let head = frame.head;
        if head.ops > 0 {
            live.first_seq = if live.first_seq == 0 { head.first_seq } else { live.first_seq };
            live.last_seq = head.last_seq;
        }
        while self.unproven.front().is_some_and(|&(batch, _)| batch <= head.durable) {
            self.unproven.pop_front();
        }
        self.unproven.push_back((head.batch, offset));
        self.last_offset = Some(offset);
        self.last = Some((frame.kind, head));
        self.frames += 1;
    }

    /// Judges the bytes after the last frame. A clean journal ends in its seal, so they are not read there.
    fn judge(&self, reader: &mut Reader, offset: usize) -> Result<Tail, Error> {
        if self.clean {
            return Ok(Tail::Clean);
        }
        reader.read_to(reader.capacity)?;
        let missing = self.chain.last.batch.saturating_add(1);
        match scan::judge(reader.bytes(), place(reader, offset), missing) {
            Tail::Corrupt => Err(reader.damaged("a durable batch of the journal is damaged", offset)),
            tail => Ok(tail),
        }
    }

    /// The segment after `reader`, if it is part of the chain.
    ///
    /// A successor is durable before a frame names it, so a named one must exist. A segment that was never named was
    /// never written to; if it has a frame, the frame that named it is lost.
    fn successor(&self, reader: &Reader) -> Result<Option<Reader>, Error> {
        let Some(number) = reader.number.checked_add(1) else { return Ok(None) };
        if self.chain.next_salt != 0 {
            return Reader::open(self.storage, self.store_id, number, self.chain.next_salt).map(Some);
        }
        match Reader::open_any(self.storage, self.store_id, number) {
            Ok(mut stray) => {
                stray.read_to(FIRST_READ_BYTES)?;
                let mut is_damage = holds_a_frame(&mut stray)?;
                if planted::active(9) {
                    is_damage = false;
                }
                if is_damage {
                    let what = "the journal goes on in a segment that nothing names";
                    return Err(stray.damaged(what, FIRST_FRAME));
                }
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn end(&self, reader: Reader, offset: usize, next: Option<Reader>) -> End {
        // The last frame is never proven, as no later one can declare it durable. That goes for a link too, although
        // it repeats an older batch number.
        let last = self.last_offset.unwrap_or(offset);
        let unproven = self.unproven.front().map_or(last, |&(_, first)| first.min(last));
        End { reader, offset, unproven, next }
    }

    fn finish(mut self, end: End, offset: usize, cut: bool, files: &[u64]) -> Result<Recovered, Error> {
        let first = self.segments.first().map_or(0, |live| live.start.segment);
        let spare = files.iter().copied().filter(|&number| number < first).collect();
        let base = self.segments.last().map_or(self.chain.last.batch, |live| live.start.batch);
        self.capacities.extend(end.next.iter().map(|next| next.capacity as u64));
        let next = end.next.map(|next| next.into_prepared(self.storage)).transpose()?;
        let current = end.reader.into_prepared(self.storage)?;
        Ok(Recovered {
            writer: Writer::resume(current, base, offset, next, self.chain),
            last: self.last.map(|(_, head)| head),
            sealed: self.last.is_some_and(|(kind, _)| kind == FrameKind::Seal),
            frames: self.frames,
            cut,
            segments: self.segments,
            capacities: self.capacities,
            spare,
        })
    }
}

impl End {
    /// Cuts the torn tail off and makes the rest durable. Returns where to continue, and whether there was a tail.
    ///
    /// Order: everything is synced before anything is appended; otherwise a later batch could follow damage. A crash
    /// in between leaves some sectors cleared and others not: the next recovery finds the same tail, shorter.
    fn mend(&self, rewrite: bool) -> Result<(usize, bool), Error> {
        let failed = |error| Error::io("the journal cannot be mended", error);
        let here = place(&self.reader, self.offset);
        if rewrite {
            // A failed sync may have left these frames in the page cache only, marked clean. Recovery is about to
            // rely on them, so write them again, to be synced below.
            self.reader.rewrite(self.unproven, self.offset).map_err(failed)?;
        }
        if planted::active(8) {
            let torn = scan::judge(self.reader.bytes(), here, u64::MAX) == Tail::Torn;
            self.reader.sync().map_err(failed)?;
            return Ok((self.offset + if torn { SECTOR_BYTES } else { 0 }, torn));
        }
        let mut cut = clear(&self.reader, here).map_err(failed)?;
        self.reader.sync().map_err(failed)?;
        if let Some(next) = &self.next {
            cut |= clear(next, place(next, FIRST_FRAME)).map_err(failed)?;
            next.sync().map_err(failed)?;
        }
        Ok((self.offset, cut))
    }
}

/// Makes everything from `end` on unreadable as frames. Returns whether there were bytes of our frames.
fn clear(reader: &Reader, end: Place) -> io::Result<bool> {
    let torn = scan::judge(reader.bytes(), end, u64::MAX) == Tail::Torn;
    for offset in scan::sectors_to_clear(reader.bytes(), end) {
        reader.clear_sector(offset)?;
    }
    Ok(torn)
}

/// Whether the first frame of a segment is whole. The first piece must have been read; reads more if needed.
fn holds_a_frame(reader: &mut Reader) -> Result<bool, Error> {
    loop {
        match super::frame::decode(reader.bytes(), place(reader, FIRST_FRAME)) {
            Ok(_) | Err(super::frame::Reject::Nonsense(_)) => return Ok(true),
            Err(super::frame::Reject::Short) if !reader.is_whole() => {
                reader.read_to(reader.bytes().len().saturating_mul(2))?;
            }
            Err(_) => return Ok(false),
        }
    }
}

fn place(reader: &Reader, offset: usize) -> Place {
    Place { salt: reader.salt, offset, capacity: reader.capacity }
}

fn no_directory(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::with_source(ErrorKind::Corrupt, "the journal is missing", error),
        _ => Error::io("the journal cannot be listed", error),
    }
}
