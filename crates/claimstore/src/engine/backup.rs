//! A backup: a copy of the store that can be opened. A checkpoint, then copies of the runs and tables, and a new
//! catalogue.
//!
//! The upkeep lock is held from the checkpoint to the end, so the runs that the catalogue names stay. Claims go on,
//! and are not in the copy. The copy's life is far above the original's, so that the two never assign the same token.

use super::home::{Home, clock_mark};
use super::{Engine, spans};
use crate::bucket::{Catalog, CatalogState, RUNS_DIR, RunSummary, TABLES, run_file_name};
use crate::codec::Cursor;
use crate::error::{Error, ErrorKind};
use crate::identity::write_identity;
use crate::io::{OpenMode, Storage};
use crate::journal;
use crate::sync::Arc;

/// How far a copy's life is above the original's: tokens that the original assigns later stay below the copy's.
pub(crate) const RESTORED_LIVES: u64 = 1_024;
const COPY_BYTES: usize = 1 << 20;

impl Engine {
    /// Copies the present state into `target`, which must be empty. The fingerprint key is copied only if `with_key`.
    pub(crate) fn backup(&self, target: &Arc<dyn Storage>, with_key: bool) -> Result<(), Error> {
        spans::backup().run(|span| {
            span.flag("with_key", with_key);
            let runs = self.copy_whole(target, with_key)?;
            span.count("runs", runs.len() as u64);
            span.count("bytes", runs.iter().map(|run| run.bytes).sum());
            Ok(())
        })
    }

    /// Returns the runs that were copied.
    fn copy_whole(&self, target: &Arc<dyn Storage>, with_key: bool) -> Result<Vec<RunSummary>, Error> {
        let mut home = self.upkeep_lock()?;
        let occupied =
            target.list("").map_err(|error| Error::io("the backup directory cannot be read", error))?;
        if !occupied.is_empty() {
            return Err(Error::new(ErrorKind::Misuse, "a backup needs an empty directory"));
        }
        self.checkpoint_in(&mut home)?;
        if with_key {
            self.fingerprint_key.copy_to(target)?;
        }
        let runs = home.state.runs.iter();
        let runs: Vec<_> = runs.filter_map(|row| RunSummary::decode(&mut Cursor::new(row)).ok()).collect();
        self.copy_to(&home, &runs, target)
            .map_err(|error| Error::io("the backup could not be written", error))??;
        Ok(runs)
    }

    fn copy_to(
        &self,
        home: &Home,
        runs: &[RunSummary],
        target: &Arc<dyn Storage>,
    ) -> std::io::Result<Result<(), Error>> {
        target.create_dir(journal::JOURNAL_DIR)?;
        target.create_dir(RUNS_DIR)?;
        for run in runs {
            self.copy_file(target, &run_file_name(run.number))?;
        }
        target.sync_dir(RUNS_DIR)?;
        if let Some(tables) = self.tables.existing() {
            // This open transaction excludes other writers, so the file has exactly the last committed state.
            let quiet = match tables.try_begin() {
                Ok(Some(quiet)) => quiet,
                Ok(None) => {
                    return Ok(Err(Error::new(ErrorKind::Overloaded, "a transact is running; retry")));
                }
                Err(error) => return Ok(Err(error)),
            };
            self.copy_file(target, TABLES)?;
            quiet.abort();
        }
        let mut salt = [0u8; 8];
        self.entropy.fill(&mut salt)?;
        let salt = u64::from_le_bytes(salt).max(1);
        let segment_bytes = self.segments.growth().first_bytes;
        drop(journal::prepare(target, self.store_id, 1, segment_bytes, salt, None, true)?);
        let state = CatalogState {
            generation: home.state.generation + 1,
            life: home.state.life.saturating_add(RESTORED_LIVES as u32),
            journal: (1, salt, 0),
            mark: clock_mark(self.time.mark()),
            sealed: None,
            // Read after the tables were copied: their rows may refer to namespaces that are newer than the
            // checkpoint.
            namespaces: self.namespace_rows(),
            ..home.state.clone()
        };
        let catalog = match Catalog::create(target, self.store_id, &state) {
            Ok(catalog) => catalog,
            Err(error) => return Ok(Err(error)),
        };
        let closed = catalog.close();
        target.sync_dir(journal::JOURNAL_DIR)?;
        // The identity comes last: an interrupted copy has none, and is refused.
        write_identity(target, self.store_id)?;
        Ok(closed)
    }

    /// Copies a file in bounded reads.
    fn copy_file(&self, target: &Arc<dyn Storage>, name: &str) -> std::io::Result<()> {
        let from = self.storage.open(name, OpenMode::Existing)?;
        let to = target.open(name, OpenMode::CreateNew)?;
        let (len, mut offset) = (from.len()?, 0);
        let mut buf = vec![0u8; COPY_BYTES];
        while offset < len {
            let wanted = usize::try_from(len - offset).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            let Some(piece) = buf.get_mut(..wanted) else { break };
            from.read_exact_at(piece, offset)?;
            to.write_all_at(piece, offset)?;
            to.start_writeback(offset, wanted as u64);
            offset += wanted as u64;
        }
        to.sync_data()
    }

    /// For a store that was restored from a snapshot: raises the life by 1,024, so that tokens assigned after the
    /// snapshot are never assigned again. Durable when it returns; takes effect at the next open.
    pub(crate) fn after_restore(&self) -> Result<(), Error> {
        let mut home = self.upkeep_lock()?;
        let life = u64::from(home.state.life) + RESTORED_LIVES;
        if life >= super::life::LAST_LIFE {
            return Err(Error::new(ErrorKind::Full, "the store has no further lives"));
        }
        self.commit_catalogue(&mut home, |state| state.life = life as u32)
    }
}
