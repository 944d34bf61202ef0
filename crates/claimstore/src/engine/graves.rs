//! Deleted files whose space is freed in pieces.
//!
//! When the last name or handle of a file of a hundred megabytes goes, ext4 is busy for twenty milliseconds, and a
//! sync of the journal waits that long. If the file is truncated in pieces, each with a sync of its own, the journal
//! waits for one piece at most. docs/decisions/0061 has the measurement.
//!
//! Invariant: a file is truncated only after its name is gone and no reader is left. A run comes here when it is
//! hidden. Readers that found it before still hold it; [`Arc::get_mut`] succeeds only after all of them dropped it.
//! No new reader can find it, so once that is true it stays true.

use super::Engine;
use crate::bucket::{Run, remove_run};
use crate::io::{File, OpenMode};
use crate::sync::{Arc, Mutex};
use std::io;

/// Bytes that are freed at once: about half a millisecond on ext4.
const PIECE_BYTES: u64 = 768 << 10;

/// Pieces that the upkeep thread frees before it looks for more urgent work.
const PIECES_PER_SLICE: usize = 100;

/// Files without a name that are still open.
#[derive(Debug, Default)]
pub(crate) struct Graves {
    files: Mutex<Vec<Grave>>,
}

#[derive(Debug)]
enum Grave {
    Run(Arc<Run>),
    File(Arc<dyn File>),
}

impl Grave {
    /// Frees a piece and returns whether more are left; `None` while the file has readers.
    fn cut(&mut self) -> Option<bool> {
        let more = match self {
            Grave::Run(run) => Arc::get_mut(run)?.cut_nameless(PIECE_BYTES),
            Grave::File(file) => file.cut_nameless(PIECE_BYTES),
        };
        // If it cannot be truncated, it is freed as a whole when it is dropped.
        Some(more.unwrap_or(false))
    }
}

impl Graves {
    fn take(&self) -> Vec<Grave> {
        std::mem::take(&mut self.files.lock())
    }

    /// How many files are still open.
    pub(crate) fn len(&self) -> usize {
        self.files.lock().len()
    }

    fn put(&self, grave: Grave) {
        self.files.lock().push(grave);
    }
}

impl Engine {
    /// Removes the name of a hidden run. If that fails, the next open removes it.
    pub(crate) fn bury_run(&self, run: Arc<Run>) {
        drop(remove_run(&self.storage, run.number()));
        self.graves.put(Grave::Run(run));
    }

    /// Removes the name of a file that has no readers.
    pub(crate) fn bury_file(&self, name: &str) -> io::Result<()> {
        // Opened before the name goes: this handle keeps the file, to be freed in pieces.
        let file = self.storage.open(name, OpenMode::Existing);
        self.storage.remove(name)?;
        if let Ok(file) = file {
            self.graves.put(Grave::File(file));
        }
        Ok(())
    }

    /// Frees all files without readers. Files with readers are left to the upkeep thread, or, if there is none, to
    /// their last reader.
    pub(crate) fn clear_graves(&self) {
        while self.clear_some_graves() {}
        if !self.background {
            drop(self.graves.take());
        }
    }

    /// One slice of that. Returns whether there is more to do now.
    pub(crate) fn clear_some_graves(&self) -> bool {
        let mut pieces = 0;
        let mut graves = self.graves.take().into_iter();
        for mut grave in graves.by_ref() {
            loop {
                match grave.cut() {
                    Some(true) if pieces < PIECES_PER_SLICE => pieces += 1,
                    Some(false) => break,
                    Some(true) | None => {
                        self.graves.put(grave);
                        break;
                    }
                }
            }
            if pieces == PIECES_PER_SLICE {
                break;
            }
        }
        graves.for_each(|grave| self.graves.put(grave));
        pieces == PIECES_PER_SLICE
    }
}
