//! Reading everything, to find damage.

use super::{Engine, spans};
use crate::error::Error;
use crate::view::Report;

impl Engine {
    /// Reads every byte of every run, and checks the live table's invariants. Holds upkeep up meanwhile.
    pub(crate) fn verify(&self) -> Result<Report, Error> {
        spans::verify().run(|span| {
            let report = self.read_everything()?;
            let Report { runs, rows, table_rows, live } = report;
            let found = [("runs", runs), ("rows", rows), ("table_rows", table_rows), ("live", live)];
            found.into_iter().for_each(|(field, count)| span.count(field, count));
            Ok(report)
        })
    }

    fn read_everything(&self) -> Result<Report, Error> {
        let home = self.home_lock()?;
        home.verify()?;
        let mut report = Report::default();
        if let Some(tables) = self.tables.existing() {
            report.table_rows = tables.verify()?;
        }
        for run in self.cold.set().runs() {
            report.rows += run.verify()?;
            report.runs += 1;
        }
        let (mut broken, mut highest_seq) = (false, 0);
        self.live.each_shard(|shard| {
            for (hash, key, entry) in shard.iter() {
                let record = &entry.record;
                broken |= record.token > record.seq || self.hasher.hash(key) != hash;
                highest_seq = highest_seq.max(record.seq);
                report.live += 1;
            }
        });
        // Read after the walk: claims went on meanwhile.
        let (_, last_seq) = self.commit.frontier();
        broken |= highest_seq > last_seq;
        if broken { Err(Error::corrupt("the live table breaks its invariants")) } else { Ok(report) }
    }
}
