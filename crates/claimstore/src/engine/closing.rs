//! Closing: what is queued is finished, the journal sealed, the directory given up.

use super::commit::Leads;
use super::segments::{Class, Wanted};
use super::{Engine, observe, spans};
use crate::error::{Error, ErrorKind};
use crate::sync::Ordering;

/// A close leaves a segment with more bytes than this for a new one, so that the next open has less to read.
const LONG_SEGMENT_BYTES: u64 = 1 << 20;

impl Engine {
    /// Closes the store: queued operations are finished, later calls return `Closed`. Refused inside a closure of
    /// `transact` or `complete_in`, because it would wait for that closure.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.check_process()?;
        if self.tables.is_writing_here() {
            return Err(Error::new(ErrorKind::Misuse, "a transact cannot close its own store"));
        }
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        spans::close().run(|span| {
            span.count("life", self.life);
            self.wind_up()
        })
    }

    /// The rest of a close, once.
    fn wind_up(&self) -> Result<(), Error> {
        // `closed` is set, so nothing new is admitted; and an operation that was admitted before is in the queue once
        // `frontier` has had the order lock.
        let (last_batch, _) = self.commit.frontier();
        let drained = self.commit.wait(last_batch, self);
        // A `transact` that runs is waited for. One whose commit comes after the close rolls back.
        self.tables.wait_for_writer();
        self.stop_threads();
        self.upkeep.tasks.end();
        let sealed = match drained {
            Ok(()) if self.read_only => Ok(()),
            Ok(()) => self.leave_claims().and_then(|()| self.seal()),
            Err(_) => Err(self.poison.error()),
        };
        self.commit.wake_all(self);
        self.tables.close();
        self.close_catalogue();
        // A caller may have tried to prepare a segment, or the fingerprint key, during the close. It must not touch a
        // file once the directory is free.
        self.segments.close();
        self.fingerprint_key.close();
        #[cfg(feature = "metrics")]
        self.publish();
        // Before the directory is free: these calls may remove files, which must not belong to another opening by
        // then.
        self.last_calls.run();
        self.ownership.lock().clear();
        observe::closed(self.life, sealed.is_ok());
        sealed
    }

    /// Ends the journal of a store that closes: a checkpoint, the seal, and a catalogue commit that notes the seal.
    pub(crate) fn seal(&self) -> Result<(), Error> {
        let mut home = self.home.lock();
        if let Err(error) = self.all_owned() {
            drop(home);
            return Err(self.commit.give_up(self, &error));
        }
        home.merge = None;
        self.leave_long_segment()?;
        // A full disk must not keep the store from closing: the journal still has everything.
        let checkpointed = self.checkpoint_in(&mut home);
        if let Err(error) = &checkpointed
            && error.kind() != ErrorKind::Full
        {
            return checkpointed;
        }
        // The seal comes after all batches; the catalogue names it only once it is durable.
        self.durable_frontier()?;
        if self.commit.is_full() {
            self.prepare_segment(Class::Settlement, Wanted::Short)?;
        }
        let batch = self
            .commit
            .seal(&self.stamp())
            .map_err(|error| Error::io("the journal could not be sealed", error))?;
        self.commit_catalogue(&mut home, |state| state.sealed = Some(batch))
    }

    /// Continues in a small new segment if the current one is long: the next open reads the last segment up to its
    /// seal.
    fn leave_long_segment(&self) -> Result<(), Error> {
        if self.poison.is_set() || self.commit.with_journal(|writer| writer.used_bytes()) < LONG_SEGMENT_BYTES
        {
            return Ok(());
        }
        match self.prepare_segment(Class::Settlement, Wanted::Short) {
            Ok(_) => self.commit.rotate(self),
            // No space for it: the next open only takes a little longer.
            Err(_) => Ok(()),
        }
    }

    fn close_catalogue(&self) {
        let mut home = self.home.lock();
        home.merge = None;
        if let Some(catalog) = home.catalog.take() {
            // Everything was committed durably; a clean close only saves redb a repair.
            drop(catalog.close());
        }
    }

    /// Registers `call` for the close of the store. If the store is closed already, makes the call at once. Does
    /// nothing in a child of `fork()`.
    pub(crate) fn on_close(&self, call: Box<dyn FnOnce() + Send>) {
        if !self.is_here() {
            return;
        }
        if let Some(call) = self.last_calls.add(call) {
            call();
        }
    }

    /// Closes when the last handle is dropped. An error cannot be returned, but everything acknowledged is durable
    /// anyway.
    pub(crate) fn close_quietly(&self) {
        if self.tables.is_writing_here() {
            self.close_owed.store(true, Ordering::Release);
        } else {
            drop(self.close());
        }
    }

    /// After a closure of `transact` or `complete_in` ended.
    pub(crate) fn close_if_owed(&self) {
        if self.close_owed.swap(false, Ordering::AcqRel) {
            drop(self.close());
        }
    }
}
