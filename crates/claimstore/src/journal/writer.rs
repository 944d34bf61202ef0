//! Writing: one frame after the other, and on into the next segment.

use super::frame::{self, BatchHead, Frame, FrameKind, HEADER_BYTES, Place, SECTOR_BYTES, framed_bytes};
use super::scan::Chain;
use super::segment::{FIRST_FRAME, Prepared, Start, segment_name};
use crate::io::File;
use crate::planted;
use std::io;

/// Batches leave this much free behind them: one sector for the seal of a close, one for a link.
const KEPT_FOR_SEAL_AND_LINK: usize = 2 * SECTOR_BYTES;
/// A seal leaves the sector of the link free.
const KEPT_FOR_LINK: usize = SECTOR_BYTES;
/// Direct writes want their memory aligned to a page at most.
const ALIGN: usize = 4096;
/// What is kept in memory between two writes; a larger batch gives its memory back.
const KEEP_BYTES: usize = 1 << 20;

/// Appends to the journal. One at a time: whoever leads the commit has it.
#[derive(Debug)]
pub(crate) struct Writer {
    segment: Prepared,
    /// The name of `segment`, which every batch is compared with.
    name: String,
    /// The last batch before this segment.
    base: u64,
    /// Where the next frame goes. Always the beginning of a sector that holds nothing acknowledged.
    offset: usize,
    next: Option<Prepared>,
    chain: Chain,
    /// The highest batch that is durable.
    durable: u64,
    /// Whether something was written and not synced.
    dirty: bool,
    /// After a failed write or sync nobody knows what is on the disk, and trying again proves nothing.
    broken: bool,
    staging: Staging,
}

/// What one data frame may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Payload bytes in the segment being written; zero when it is full.
    pub(crate) current: u64,
    /// Payload bytes in its successor, when one is prepared.
    pub(crate) next: Option<u64>,
}

impl Writer {
    /// A brand-new journal in `first`, whose frames follow batch `last_batch` (0: the first batch is 1).
    pub(crate) fn start(first: Prepared, last_batch: u64) -> Writer {
        let chain = Chain::behind(last_batch);
        Writer::resume(first, last_batch, FIRST_FRAME, None, chain)
    }

    /// Goes on at `offset` behind what recovery kept, all of it durable. `next` is the named successor.
    pub(super) fn resume(
        segment: Prepared,
        base: u64,
        offset: usize,
        next: Option<Prepared>,
        chain: Chain,
    ) -> Writer {
        let durable = chain.last.batch;
        let staging = Staging::default();
        let name = segment_name(segment.number);
        Writer { segment, name, base, offset, next, chain, durable, dirty: false, broken: false, staging }
    }

    /// Writes one batch, into the successor when it does not fit here. Does not sync.
    ///
    /// `head.batch` is the last batch plus one, and sequences rise; else `InvalidInput`, and nothing is
    /// written. `StorageFull` when neither segment has room: nothing is written either. After any other
    /// error the writer refuses everything.
    pub(crate) fn append(&mut self, head: &BatchHead, payload: &[u8]) -> io::Result<()> {
        self.put(FrameKind::Data, head, payload, KEPT_FOR_SEAL_AND_LINK)
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.usable()?;
        let done = self.segment.file.sync_data();
        self.note(&done);
        if done.is_ok() {
            self.durable = self.chain.last.batch;
            self.dirty = false;
        }
        done
    }

    /// Whether the segment being written can be found again.
    pub(crate) fn check_name(
        &self,
        leads_to: impl FnOnce(&str, &dyn File) -> io::Result<bool>,
    ) -> io::Result<()> {
        if planted::active(54) || leads_to(&self.name, &*self.segment.file)? {
            return Ok(());
        }
        let text =
            "the journal segment being written was removed, renamed or replaced while the store was open";
        Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, text))
    }

    /// Ends a life of the store: writes a seal as batch `head.batch` and syncs.
    pub(crate) fn seal(&mut self, head: &BatchHead) -> io::Result<()> {
        self.put(FrameKind::Seal, &BatchHead { ops: 0, ..*head }, &[], KEPT_FOR_LINK)?;
        self.sync()
    }

    /// What the next data frame may hold.
    pub(crate) fn room(&self) -> Room {
        let room = |segment: &Prepared, offset: usize| {
            let kept = KEPT_FOR_SEAL_AND_LINK + HEADER_BYTES;
            segment.capacity.saturating_sub(offset).saturating_sub(kept) as u64
        };
        let next = self.next.as_ref().map(|next| room(next, FIRST_FRAME));
        Room { current: room(&self.segment, self.offset), next }
    }

    /// How far the segment being written is used.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.offset as u64
    }

    /// Takes over the successor. Must be segment [`next_number`](Writer::next_number); there is at most one.
    pub(crate) fn install_next(&mut self, next: Prepared) {
        let fits = self.next.is_none() && next.number == self.next_number() && next.salt != self.segment.salt;
        debug_assert!(fits, "a successor nobody asked for");
        if fits {
            self.next = Some(next);
        }
    }

    /// Whether a successor is installed.
    pub(crate) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// The segment being written, as the place where a replay could begin.
    pub(crate) fn current(&self) -> Start {
        Start { segment: self.segment.number, salt: self.segment.salt, batch: self.base }
    }

    /// The number of the segment to prepare next.
    pub(crate) fn next_number(&self) -> u64 {
        self.next.as_ref().unwrap_or(&self.segment).number.saturating_add(1)
    }

    fn put(&mut self, kind: FrameKind, head: &BatchHead, payload: &[u8], keep: usize) -> io::Result<()> {
        self.usable()?;
        // Asked before a rotation too: a batch that is refused leaves nothing behind.
        let mut trial = self.chain;
        trial.next_salt = 0;
        admit(&mut trial, &self.frame(kind, head, payload))?;
        if !fits(&self.segment, self.offset, payload.len(), keep) {
            if !self.next.as_ref().is_some_and(|next| fits(next, FIRST_FRAME, payload.len(), keep)) {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "the journal has no segment with room",
                ));
            }
            self.rotate()?;
        }
        self.write(kind, head, payload)
    }

    /// Goes on in the successor.
    ///
    /// Order: the successor is named in a frame, everything in this segment is synced, and only then is
    /// the first frame written over there. So a reader that finds a frame there knows that this segment
    /// was durable to its end, and a reader of this segment knows where to look.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        if self.chain.next_salt == 0 {
            let head = self.chain.link_head();
            self.write(FrameKind::Link, &head, &[])?;
        }
        if self.dirty {
            self.sync()?;
        }
        if let Some(next) = self.next.take() {
            self.name = segment_name(next.number);
            self.segment = next;
            self.base = self.chain.last.batch;
            self.offset = FIRST_FRAME;
            self.chain.enter_next();
        }
        Ok(())
    }

    fn write(&mut self, kind: FrameKind, head: &BatchHead, payload: &[u8]) -> io::Result<()> {
        let frame = self.frame(kind, head, payload);
        let mut chain = self.chain;
        admit(&mut chain, &frame)?;
        let place = Place { salt: self.segment.salt, offset: self.offset, capacity: self.segment.capacity };
        let stride = frame::stride_bytes(payload.len());
        let bytes = self.staging.window(stride);
        let within = self.offset.saturating_add(stride) <= self.segment.capacity;
        if !within || !frame::encode(&frame, place, bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a batch is too large for a frame"));
        }
        // The whole frame in one write, on sectors of its own: no acknowledged batch is touched.
        let done = if planted::active(23) {
            share_a_sector(&*self.segment.file, bytes, self.offset)
        } else {
            self.segment.file.write_all_at(bytes, self.offset as u64)
        };
        self.staging.shrink();
        self.note(&done);
        done?;
        self.dirty = true;
        self.chain = chain;
        self.offset += stride;
        Ok(())
    }

    /// The frame as it will stand on the disk.
    fn frame<'a>(&self, kind: FrameKind, head: &BatchHead, payload: &'a [u8]) -> Frame<'a> {
        let next_salt = self.next.as_ref().map_or(0, |next| next.salt);
        Frame { kind, head: BatchHead { durable: self.durable, ..*head }, next_salt, payload }
    }

    fn usable(&self) -> io::Result<()> {
        if self.broken && !planted::active(11) {
            return Err(io::Error::other("an earlier write or sync of the journal failed"));
        }
        Ok(())
    }

    fn note(&mut self, done: &io::Result<()>) {
        self.broken |= done.is_err();
    }
}

/// Planted bug 23: writes whole sectors, of which the first holds the end of the batch before.
fn share_a_sector(file: &dyn File, bytes: &[u8], offset: usize) -> io::Result<()> {
    let within = offset % SECTOR_BYTES;
    let mut sectors = vec![0; (within + bytes.len()).next_multiple_of(SECTOR_BYTES)];
    file.read_exact_at(&mut sectors, (offset - within) as u64)?;
    if let Some(into) = sectors.get_mut(within..within + bytes.len()) {
        into.copy_from_slice(bytes);
    }
    file.write_all_at(&sectors, (offset - within) as u64)
}

fn admit(chain: &mut Chain, frame: &Frame<'_>) -> io::Result<()> {
    chain.admit(frame).map_err(|what| io::Error::new(io::ErrorKind::InvalidInput, what))
}

fn fits(segment: &Prepared, offset: usize, payload: usize, keep: usize) -> bool {
    offset.saturating_add(framed_bytes(payload)).saturating_add(keep) <= segment.capacity
}

/// Reusable memory at an address that direct writes accept.
#[derive(Default)]
struct Staging {
    bytes: Vec<u8>,
}

impl Staging {
    fn window(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len + ALIGN {
            self.bytes = vec![0; len + ALIGN];
        }
        // An address that cannot be aligned is only slower: the storage falls back to its cache.
        let skip = self.bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        self.bytes.get_mut(skip..skip + len).unwrap_or_default()
    }

    fn shrink(&mut self) {
        if self.bytes.len() > KEEP_BYTES + ALIGN {
            self.bytes = Vec::new();
        }
    }
}

impl std::fmt::Debug for Staging {
    /// Without the bytes, which hold keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staging").field("bytes", &self.bytes.len()).finish()
    }
}
