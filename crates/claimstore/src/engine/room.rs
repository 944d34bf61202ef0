//! Room in the journal for the next operation: who has the order lock has it.

use super::Engine;
use super::commit::Order;
use super::segments::{Class, Next, Wanted};
use crate::error::{Error, ErrorKind};
use crate::journal::framed_bytes;
use crate::sync::{MutexGuard, Ordering};

impl Engine {
    /// Waits until `batch` is committed.
    pub(crate) fn wait(&self, batch: u64) -> Result<(), Error> {
        self.commit.wait(batch, self)
    }

    /// Takes the order lock with room for `bytes` in one batch. Prepares a segment or drains the queue if needed.
    /// `Full` if no room can be made.
    pub(crate) fn admit(&self, bytes: usize, class: Class) -> Result<MutexGuard<'_, Order>, Error> {
        let largest = self.limits.segment_bytes / 2;
        if bytes as u64 > largest - 8_192 {
            return Err(Error::new(ErrorKind::TooLarge, "the batch does not fit a journal segment"));
        }
        // Called under the order lock, under which claims join those in progress.
        let kept = || {
            let claims = class.claims_kept_for(self.live.in_progress());
            claims.map_or(0, |claims| self.segments.growth().kept_for(claims))
        };
        self.check_writable()?;
        loop {
            self.check_serving()?;
            let now_ms = self.time.now_ms();
            if let Some(order) = self.commit.admit(bytes, kept, largest, now_ms)? {
                // Second look, under the order lock. A close takes this lock after it set the flag, so an operation
                // that passes here is queued before the close drains the queue.
                self.check_serving()?;
                return Ok(order);
            }
            self.make_room(class, framed_bytes(bytes) as u64 + kept())?;
        }
    }

    /// Room for an operation that found none: prepares a segment, lets the queue drain, or leaves a segment
    /// that is too small.
    pub(super) fn make_room(&self, class: Class, wanted_bytes: u64) -> Result<(), Error> {
        if self.prepare_segment(class, Wanted::Now(wanted_bytes))? {
            return Ok(());
        }
        if self.commit.is_queue_empty() {
            return self.commit.rotate(self);
        }
        let (batch, _) = self.commit.frontier();
        self.wait(batch)
    }

    /// Prepares the journal's next segment. False: it had one already.
    pub(crate) fn prepare_segment(&self, class: Class, wanted: Wanted) -> Result<bool, Error> {
        // Before the lock: a file made by its name would be another store's where the directory is.
        self.check_all_owned()?;
        match self.segments.prepare(&self.commit, class, wanted)? {
            Next::Made => Ok(true),
            Next::Was => Ok(false),
            Next::AtLimit => {
                self.upkeep.ask();
                Err(Error::new(ErrorKind::Full, "the journal is at its limit; a checkpoint must catch up"))
            }
        }
    }

    /// Prepares the journal's next segment ahead of need, if it is time to.
    pub(crate) fn prepare_when_due(&self) -> Result<(), Error> {
        let claims = self.live.in_progress() as u64;
        let is_due = |room_bytes| self.segments.is_next_due(room_bytes, claims);
        if !self.commit.room_without_successor().is_some_and(is_due) {
            return Ok(());
        }
        let kept_bytes = self.segments.growth().kept_for(claims.saturating_add(1));
        self.prepare_segment(Class::Claims(1), Wanted::Ahead(kept_bytes)).map(drop)
    }

    /// Journal bytes written since the last checkpoint began.
    pub(crate) fn checkpoint_lag_bytes(&self) -> u64 {
        self.segments.lag_bytes(self.journal_bytes_written())
    }

    pub(crate) fn journal_bytes_written(&self) -> u64 {
        self.commit.written_bytes.load(Ordering::Relaxed)
    }
}
