//! Files that nobody needs any more: given back to the file system in pieces.
//!
//! Taking away the last name or handle of a file of a hundred megabytes keeps ext4 busy for twenty milliseconds, and
//! whoever syncs the journal waits for it. In pieces, each with a sync of its own, nobody waits longer than for
//! one of them. docs/decisions/0061 has the measurement.
//!
//! Invariant: a file is cut only after its name is gone, and only by the last one who can read it. A run lies here
//! from when it is hidden; readers that found it before hold it too, and only [`Arc::get_mut`] says that they have
//! let go. Nobody finds it from here on, so once true that stays true.

use crate::bucket::{Run, remove_run};
use crate::io::{File, OpenMode, Storage};
use crate::sync::{Arc, Mutex};
use std::io;

/// Given back at once: about half a millisecond on ext4.
const PIECE_BYTES: u64 = 768 << 10;

/// Pieces that the upkeep thread gives back before it looks for more urgent work.
const PIECES_PER_SLICE: usize = 100;

/// Files without a name that are still open.
#[derive(Debug)]
pub(crate) struct Graves {
    storage: Arc<dyn Storage>,
    /// Whether the upkeep thread comes by.
    background: bool,
    files: Mutex<Vec<Grave>>,
}

#[derive(Debug)]
enum Grave {
    Run(Arc<Run>),
    File(Arc<dyn File>),
}

impl Grave {
    /// Gives a piece back; `None` while somebody reads the file. An answer of false is the end.
    fn cut(&mut self) -> Option<bool> {
        let more = match self {
            Grave::Run(run) => Arc::get_mut(run)?.cut_nameless(PIECE_BYTES),
            Grave::File(file) => file.cut_nameless(PIECE_BYTES),
        };
        // What cannot be cut goes as a whole.
        Some(more.unwrap_or(false))
    }
}

impl Graves {
    pub(crate) fn new(storage: Arc<dyn Storage>, background: bool) -> Graves {
        Graves { storage, background, files: Mutex::default() }
    }

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

    /// Takes the name of a hidden run away. A name that stays is removed at the next open.
    pub(crate) fn bury_run(&self, run: Arc<Run>) {
        drop(remove_run(&self.storage, run.number()));
        self.put(Grave::Run(run));
    }

    /// Takes the name of a file away that nobody reads.
    pub(crate) fn bury_file(&self, name: &str) -> io::Result<()> {
        let file = self.storage.open(name, OpenMode::Existing);
        self.storage.remove(name)?;
        if let Ok(file) = file {
            self.put(Grave::File(file));
        }
        Ok(())
    }

    /// Gives back what nobody reads, all of it. What somebody reads is left to the upkeep thread, or where there is
    /// none to its last reader.
    pub(crate) fn clear(&self) {
        while self.clear_some() {}
        if !self.background {
            drop(self.take());
        }
    }

    /// A slice of that. Answers whether there is more to do now.
    pub(crate) fn clear_some(&self) -> bool {
        let mut pieces = 0;
        let mut graves = self.take().into_iter();
        for mut grave in graves.by_ref() {
            loop {
                match grave.cut() {
                    Some(true) if pieces < PIECES_PER_SLICE => pieces += 1,
                    Some(false) => break,
                    Some(true) | None => {
                        self.put(grave);
                        break;
                    }
                }
            }
            if pieces == PIECES_PER_SLICE {
                break;
            }
        }
        graves.for_each(|grave| self.put(grave));
        pieces == PIECES_PER_SLICE
    }
}
