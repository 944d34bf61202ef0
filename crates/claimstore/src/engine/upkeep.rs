//! Upkeep, a slice at a time: a segment, a checkpoint, a prune, a piece of a merge.
//!
//! Each slice is short, so that nobody who waits for the upkeep lock waits long, and none of them holds a lock
//! that claims need across a write.

use super::Engine;
use super::spans;
use crate::error::Error;
use crate::planted;

impl Engine {
    /// One slice of whatever is due. Answers whether there may be more.
    ///
    /// A part that fails does not keep the others from running: a prune may be what makes room for a segment.
    pub(crate) fn upkeep(&self) -> Result<bool, Error> {
        self.check_process()?;
        self.check_writable()?;
        let journal = self.keep_journal_going();
        let ended = !self.cold.set().ended(self.time.now_ms()).is_empty();
        let prune = if ended { self.prune().map(drop) } else { Ok(()) };
        let merge = self.upkeep_lock().and_then(|mut home| self.merge_slice(&mut home, false));
        let more_to_clear = self.graves.clear_some();
        journal.and(prune)?;
        Ok(merge? || more_to_clear)
    }

    /// A segment and a checkpoint, where they are due: what claims would be refused without.
    fn keep_journal_going(&self) -> Result<(), Error> {
        self.check_open()?;
        let segment = self.prepare_when_due();
        let checkpoint = if self.is_checkpoint_due() { self.checkpoint_now() } else { Ok(()) };
        segment.and(checkpoint)
    }

    fn checkpoint_now(&self) -> Result<(), Error> {
        self.checkpoint()?;
        self.segments.has_checkpoint();
        Ok(())
    }

    fn is_checkpoint_due(&self) -> bool {
        let since = self.checkpoint_lag_bytes();
        let mut journal_is_long = since >= (self.limits.journal_bytes / 4).min(2 * self.limits.segment_bytes);
        if planted::active(79) {
            journal_is_long = false;
        }
        self.segments.wants_checkpoint()
            || self.live.resolved_bytes() >= self.limits.checkpoint_bytes
            || self.live.bytes() >= self.limits.live_bytes / 2
                && self.live.resolved_bytes() >= self.limits.live_bytes / 8
            || journal_is_long
    }

    /// Brings every bucket that gets no more records down to one run. Claims go on meanwhile.
    pub(crate) fn compact(&self) -> Result<(), Error> {
        spans::compact().run(|span| {
            let slices = self.merge_all()?;
            span.count("slices", slices);
            Ok(())
        })
    }

    /// Answers in how many slices.
    fn merge_all(&self) -> Result<u64, Error> {
        let mut slices = 0;
        self.checkpoint()?;
        self.prune()?;
        loop {
            // The upkeep lock is given up between slices, so that checkpoints are not kept waiting; and where
            // this is the upkeep thread, nobody else would make them.
            self.keep_journal_going()?;
            if !self.merge_slice(&mut *self.upkeep_lock()?, true)? {
                self.graves.clear();
                return Ok(slices);
            }
            self.graves.clear_some();
            slices += 1;
        }
    }
}
