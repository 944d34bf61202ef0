//! Pruning: the runs of buckets that have ended are dropped as whole files.

use super::home::{Home, encoded};
use super::measures::Pruned;
use super::{Engine, observe, spans};
use crate::bucket;
use crate::error::Error;
use crate::planted;
use crate::sync::{MutexGuard, Ordering};

impl Engine {
    /// Drops the runs of buckets that have ended.
    ///
    /// Ordering (hazard 19, P12): the watermarks of time-ordered namespaces rise first; the same catalogue
    /// commit that drops the runs makes them durable; then the runs are hidden, the generation rises, and
    /// only then the files go.
    pub(crate) fn prune(&self) -> Result<Pruned, Error> {
        let home = self.upkeep_lock()?;
        let ended = self.cold.set().ended(self.time.now_ms());
        if ended.is_empty() {
            return Ok(Pruned::default());
        }
        spans::prune().run(|span| {
            let pruned = self.drop_runs(home, &ended)?;
            // Without the upkeep lock: only the file system has to do with these files.
            self.graves.clear();
            span.count("runs", pruned.runs);
            span.count("records", pruned.records);
            span.count("bytes", pruned.bytes);
            Ok(pruned)
        })
    }

    /// Ends with lock and set given up, so that nothing here keeps the runs from being given back.
    fn drop_runs(&self, mut home: MutexGuard<'_, Home>, ended: &[u64]) -> Result<Pruned, Error> {
        let set = self.cold.set();
        let runs: Vec<_> = set.runs().iter().filter(|run| ended.contains(&run.number())).cloned().collect();
        for run in &runs {
            self.raise_watermarks(run);
        }
        let rows: Vec<Vec<u8>> = runs.iter().map(|run| encoded(run.summary())).collect();
        self.commit_catalogue(&mut home, |state| state.runs.retain(|row| !rows.contains(row)))?;
        self.replace_runs(&mut home, ended, Vec::new());
        let pruned = runs.iter().fold(Pruned::default(), |pruned, run| pruned.and(run.summary()));
        self.counters.pruned.fetch_add(pruned.records, Ordering::Relaxed);
        self.measures.pruned(&pruned);
        observe::pruned(&pruned);
        Ok(pruned)
    }

    /// What a prune would drop now.
    pub(crate) fn prunable(&self) -> Result<Pruned, Error> {
        self.check_open()?;
        let set = self.cold.set();
        let ended = set.ended(self.time.now_ms());
        let runs = set.runs().iter().filter(|run| ended.contains(&run.number()));
        Ok(runs.fold(Pruned::default(), |pruned, run| pruned.and(run.summary())))
    }

    /// Time-ordered keys up to the newest one that goes may have been resolved: they are too old from now on.
    fn raise_watermarks(&self, run: &bucket::Run) {
        if planted::active(30) {
            return;
        }
        for usage in run.usage() {
            let Some(space) = self.spaces.by_id(usage.namespace) else { continue };
            let newest = run.max_key(usage.namespace);
            let time_ms = newest.and_then(|id| space.policy().time_order()?.parse(id).ok());
            if let Some(id) = time_ms {
                space.raise_watermark(id.time_ms() + 1);
            }
        }
    }
}
