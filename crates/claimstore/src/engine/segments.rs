//! The journal's segment files: which exist, the next one made ahead of need, retired ones kept for use again.

use super::commit::Commit;
use super::growth::Growth;
use crate::error::{Error, ErrorKind};
use crate::io::{Entropy, Storage};
use crate::journal;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Tally};
use std::collections::VecDeque;

/// Retired segments kept for recycling: writing over written blocks is cheaper than new ones.
const SPARE_SEGMENTS: usize = 2;

/// The kind of an operation, for admission to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// New work, after which at most so many claims more are in progress. Leaves a reserve, so that settlements still
    /// find room when the disk is full.
    Claims(usize),
    /// The end of work that was begun: never refused for back-pressure.
    Settlement,
}

impl Class {
    /// The claims in progress that room is kept for, of `now` in progress. `None`: this may use that room.
    pub(crate) fn claims_kept_for(self, now: usize) -> Option<u64> {
        match self {
            Class::Claims(more) => Some(now.saturating_add(more) as u64),
            Class::Settlement => None,
        }
    }
}

/// A segment that is wanted: room for so many bytes of frames, or a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Ahead of need: the next one, with room for so many bytes.
    Ahead(u64),
    /// The next one, with room for so many bytes, which somebody waits to write.
    Now(u64),
    /// The shortest one.
    Short,
}

/// What became of the wish for a next segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It was made.
    Made,
    /// The journal had one already.
    Was,
    /// The journal is at its limit, and new work must wait for a checkpoint.
    AtLimit,
}

/// The segments of one store.
#[derive(Debug)]
pub(crate) struct Segments {
    storage: Arc<dyn Storage>,
    entropy: Arc<dyn Entropy>,
    store_id: [u8; 16],
    /// Bytes of segments after which new work is refused.
    limit_bytes: u64,
    growth: Growth,
    in_use: Mutex<InUse>,
    /// The bytes of all segments in use, to be read without waiting for one being made.
    bytes: Tally,
    /// Journal bytes written when the last checkpoint began.
    checkpointed_at_bytes: AtomicU64,
    /// New work was refused at the limit.
    checkpoint_wanted: AtomicBool,
}

/// Which journal segments exist.
#[derive(Debug)]
pub(crate) struct InUse {
    /// The oldest one that replay may need.
    oldest: u64,
    /// The bytes of that one and of those after it, the prepared one included: they may differ, as an opening
    /// with other limits goes on in what it finds.
    capacities: VecDeque<u64>,
    /// Files that may be written over: number and length.
    spare: Vec<(u64, u64)>,
    /// The store is closed: no file is touched any more.
    closed: bool,
}

impl InUse {
    /// `capacities` are those of `oldest` and the segments after it; `spare` are files that may be recycled.
    pub(crate) fn new(oldest: u64, capacities: impl Into<VecDeque<u64>>, spare: Vec<(u64, u64)>) -> InUse {
        InUse { oldest, capacities: capacities.into(), spare, closed: false }
    }

    fn bytes(&self) -> u64 {
        self.capacities.iter().sum()
    }

    /// The length of the newest segment.
    fn newest_bytes(&self) -> u64 {
        self.capacities.back().copied().unwrap_or_default()
    }
}

impl Segments {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        entropy: Arc<dyn Entropy>,
        store_id: [u8; 16],
        limit_bytes: u64,
        growth: Growth,
        found: InUse,
    ) -> Segments {
        let bytes = Tally::default();
        bytes.store(found.bytes(), Ordering::Relaxed);
        Segments {
            storage,
            entropy,
            store_id,
            limit_bytes,
            growth,
            in_use: Mutex::new(found),
            bytes,
            checkpointed_at_bytes: AtomicU64::default(),
            checkpoint_wanted: AtomicBool::default(),
        }
    }

    /// Prepares the journal's next segment, if it has none.
    ///
    /// Makes a file by its name: the caller has looked whether the directory still is the store's.
    pub(crate) fn prepare(&self, commit: &Commit, class: Class, wanted: Wanted) -> Result<Next, Error> {
        let mut in_use = self.in_use.lock();
        if in_use.closed {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        }
        let (has_next, number) = commit.with_journal(|writer| (writer.has_next(), writer.next_number()));
        if has_next {
            return Ok(Next::Was);
        }
        // The limit is for new work: what was begun may always end.
        if class != Class::Settlement && in_use.bytes() >= self.limit_bytes {
            self.checkpoint_wanted.store(true, Ordering::Release);
            return Ok(Next::AtLimit);
        }
        let mut salt = [0u8; 8];
        self.entropy.fill(&mut salt).map_err(|error| Error::io("no random bytes", error))?;
        let salt = u64::from_le_bytes(salt).max(1);
        let spare = in_use.spare.pop();
        let (recycle, spare_bytes) = (spare.map(|spare| spare.0), spare.map_or(0, |spare| spare.1));
        let next_bytes =
            |bytes, hurried| self.growth.next_bytes(in_use.newest_bytes(), spare_bytes, bytes, hurried);
        let bytes = match wanted {
            Wanted::Ahead(bytes) => next_bytes(bytes, false),
            Wanted::Now(bytes) => next_bytes(bytes, true),
            Wanted::Short => self.growth.first_bytes,
        };
        let prepared = journal::prepare(&self.storage, self.store_id, number, bytes, salt, recycle, true)
            .map_err(|error| Error::io("no further journal segment could be made", error))?;
        in_use.capacities.push_back(bytes);
        commit.with_journal(|writer| writer.install_next(prepared));
        self.bytes.store(in_use.bytes(), Ordering::Relaxed);
        Ok(Next::Made)
    }

    /// Segments before `first` are no longer needed; those beyond the spares are removed.
    pub(crate) fn retire_before(&self, first: u64, remove: impl Fn(u64) -> std::io::Result<()>) {
        let mut in_use = self.in_use.lock();
        let retired: Vec<u64> = (in_use.oldest..first).collect();
        in_use.oldest = in_use.oldest.max(first);
        for number in retired {
            let bytes = in_use.capacities.pop_front().unwrap_or_default();
            if in_use.spare.len() < SPARE_SEGMENTS {
                in_use.spare.push((number, bytes));
            } else {
                // A file that stays is outside the chain, and is removed or recycled at the next open.
                drop(remove(number));
            }
        }
        self.bytes.store(in_use.bytes(), Ordering::Relaxed);
    }

    /// Whether it is time to make the next segment, if the newest one is the current one and has this room.
    pub(crate) fn is_next_due(&self, room_bytes: u64, claims: u64) -> bool {
        self.growth.is_due(self.in_use.lock().newest_bytes(), room_bytes, claims)
    }

    /// How the segments grow, and how much is kept free in them.
    pub(crate) fn growth(&self) -> &Growth {
        &self.growth
    }

    /// Makes no segment any more: the files may be another opening's from now on. Waits for one being made.
    pub(crate) fn close(&self) {
        self.in_use.lock().closed = true;
    }

    /// Bytes of the segments that an open would have to look at.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many retired segments are kept for recycling.
    pub(crate) fn spares(&self) -> usize {
        self.in_use.lock().spare.len()
    }

    /// Everything that had been written to the journal before `written_bytes` is in the runs.
    pub(crate) fn note_checkpoint(&self, written_bytes: u64) {
        self.checkpointed_at_bytes.store(written_bytes, Ordering::Relaxed);
    }

    /// Of `written_bytes` of the journal, those written since the last checkpoint began.
    pub(crate) fn lag_bytes(&self, written_bytes: u64) -> u64 {
        written_bytes.saturating_sub(self.checkpointed_at_bytes.load(Ordering::Relaxed))
    }

    /// Whether new work was refused at the limit, and no checkpoint was made since.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.checkpoint_wanted.load(Ordering::Acquire)
    }

    /// A checkpoint was made for those who were refused.
    pub(crate) fn has_checkpoint(&self) {
        self.checkpoint_wanted.store(false, Ordering::Release);
    }
}
