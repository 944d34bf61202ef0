//! Appending frames to the journal, and rotating to the next segment.

use super::frame::{self, BatchHead, Frame, FrameKind, HEADER_BYTES, Place, SECTOR_BYTES, framed_bytes};
use super::scan::Chain;
use super::segment::{FIRST_FRAME, Prepared, Start, segment_name};
use crate::io::File;
use crate::planted;
use std::io;

/// A batch must leave this much of the segment free: one sector for the seal of a close, one for a link.
const KEPT_FOR_SEAL_AND_LINK: usize = 2 * SECTOR_BYTES;
/// A seal leaves the sector of the link free.
const KEPT_FOR_LINK: usize = SECTOR_BYTES;
/// Direct writes need aligned memory; a page is the strictest alignment.
const ALIGN: usize = 4096;
/// The most memory that is kept between two writes; the buffer of a larger batch is freed.
const KEEP_BYTES: usize = 1 << 20;

/// Appends to the journal. Exclusive: the leader of a commit holds it under the journal's lock.
#[derive(Debug)]
pub(crate) struct Writer {
    segment: Prepared,
    /// The name of `segment`, which every batch is compared with.
    name: String,
    /// The last batch before this segment.
    base: u64,
    /// Where the next frame goes: always the beginning of a sector without acknowledged bytes.
    offset: usize,
    next: Option<Prepared>,
    chain: Chain,
    /// The highest batch that is durable.
    durable: u64,
    /// Whether there are writes without a sync.
    dirty: bool,
    /// Set by the first failed write or sync, for ever: the contents of the disk are unknown then, and a later
    /// success would prove nothing.
    broken: bool,
    staging: Staging,
}

/// The largest payload of one data frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// In the current segment; zero if it is full.
    pub(crate) current: u64,
    /// In its successor, if one is prepared.
    pub(crate) next: Option<u64>,
}

impl Writer {
    /// A brand-new journal in `first`, whose frames follow batch `last_batch` (0: the first batch is 1).
    pub(crate) fn start(first: Prepared, last_batch: u64) -> Writer {
        let chain = Chain::behind(last_batch);
        Writer::resume(first, last_batch, FIRST_FRAME, None, chain)
    }

    /// Continues at `offset`, after the frames that recovery kept, all of which are durable. `next` is the named
    /// successor.
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

    /// Writes one batch, into the successor if it does not fit into this segment. Does not sync.
    ///
    /// `InvalidInput` unless `head.batch` is the last batch plus one and sequences rise; `StorageFull` if neither
    /// segment has room. In both cases nothing is written. After any other error the writer refuses everything.
    pub(crate) fn append(&mut self, head: &BatchHead, payload: &[u8]) -> io::Result<()> {
        self.put(FrameKind::Data, head, payload, KEPT_FOR_SEAL_AND_LINK)
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.usable()?;
        // A failed sync is never repeated: see `broken`.
        let done = self.segment.file.sync_data();
        self.note(&done);
        if done.is_ok() {
            self.durable = self.chain.last.batch;
            self.dirty = false;
        }
        done
    }

    /// Checks that the current segment's name still leads to its file, so that an opening would find it.
    pub(crate) fn check_name(
        &self,
        leads_to: impl FnOnce(&str, &dyn File) -> io::Result<bool>,
    ) -> io::Result<()> {
        if planted::active(54) {
            return Ok(());
        }
        if leads_to(&self.name, &*self.segment.file)? {
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

    /// The largest payload of the next data frame.
    pub(crate) fn room(&self) -> Room {
        let room = |segment: &Prepared, offset: usize| {
            let kept = KEPT_FOR_SEAL_AND_LINK + HEADER_BYTES;
            segment.capacity.saturating_sub(offset).saturating_sub(kept) as u64
        };
        let next = self.next.as_ref().map(|next| room(next, FIRST_FRAME));
        Room { current: room(&self.segment, self.offset), next }
    }

    /// How many bytes of the current segment are used.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.offset as u64
    }

    /// Installs the successor, which must be segment [`next_number`](Writer::next_number). There is at most one.
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

    /// The current segment, as a place where a replay could begin.
    pub(crate) fn current(&self) -> Start {
        Start { segment: self.segment.number, salt: self.segment.salt, batch: self.base }
    }

    /// The number of the segment to prepare next.
    pub(crate) fn next_number(&self) -> u64 {
        self.next.as_ref().unwrap_or(&self.segment).number.saturating_add(1)
    }

    fn put(&mut self, kind: FrameKind, head: &BatchHead, payload: &[u8], keep: usize) -> io::Result<()> {
        self.usable()?;
        // Checked before a rotation too, so that a refused batch changes nothing. After a rotation the frame would
        // name another successor, or none yet: hence no salt.
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

    /// Rotates to the successor.
    ///
    /// Order: a frame of this segment names the successor, everything in this segment is synced, and only then is the
    /// first frame written to the successor. So if a reader finds a frame in the successor, this segment was durable
    /// to its end; and this segment tells a reader where to continue.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        // No frame of this segment has named the successor, which was installed after the last one: write a link.
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
        // One write for the whole frame, on sectors of its own: no sector with an acknowledged batch is written
        // again.
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

    /// The frame as it will be on the disk.
    fn frame<'a>(&self, kind: FrameKind, head: &BatchHead, payload: &'a [u8]) -> Frame<'a> {
        let next_salt = self.next.as_ref().map_or(0, |next| next.salt);
        Frame { kind, head: BatchHead { durable: self.durable, ..*head }, next_salt, payload }
    }

    fn usable(&self) -> io::Result<()> {
        if planted::active(11) {
            return Ok(());
        }
        if self.broken {
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

/// A reusable buffer, aligned for direct writes.
#[derive(Default)]
struct Staging {
    bytes: Vec<u8>,
}

impl Staging {
    fn window(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len + ALIGN {
            self.bytes = vec![0; len + ALIGN];
        }
        // An unaligned buffer is only slower: the storage then writes through the page cache.
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
