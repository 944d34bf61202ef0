//! Run files of the store: opened, shown and hidden, and removed where no catalogue names them.

use super::Engine;
use super::home::{Home, encoded};
use crate::bucket::{Catalog, Run, RunSummary, remove_run};
use crate::error::Error;
use crate::sync::Arc;

impl Engine {
    pub(crate) fn open_runs(&self, summaries: &[RunSummary]) -> Result<Vec<Arc<Run>>, Error> {
        let open = |summary| Run::open(&self.storage, self.store_id, summary, &self.hasher).map(Arc::new);
        summaries.iter().map(open).collect()
    }

    /// Removes run files that no catalogue names. Best effort: the next open removes what is left.
    pub(crate) fn discard(&self, summaries: &[RunSummary]) {
        for summary in summaries {
            drop(remove_run(&self.storage, summary.number));
        }
    }

    /// Like [`discard`](Engine::discard), but keeps runs that the catalogue names after all, or may name at the next
    /// open.
    pub(crate) fn discard_unlisted(&self, home: &Home, summaries: &[RunSummary]) {
        // The store is closed, and the directory may have another owner; or a failed commit left it unknown which
        // runs the catalogue names. Remove nothing.
        if home.catalog.as_ref().is_none_or(Catalog::is_lost) {
            return;
        }
        let unlisted = summaries.iter().filter(|summary| !home.state.runs.contains(&encoded(summary)));
        self.discard(&unlisted.cloned().collect::<Vec<_>>());
    }

    /// Hides runs and shows others, then removes the hidden files. Their space is given back later, by
    /// [`Graves::clear`](super::graves::Graves::clear).
    pub(crate) fn replace_runs(&self, home: &mut Home, hidden: &[u64], shown: Vec<Arc<Run>>) {
        if home.merge.as_ref().is_some_and(|merge| merge.inputs.iter().any(|input| hidden.contains(input))) {
            home.merge = None;
        }
        let set = self.cold.set();
        self.cold.publish(set.with(shown, hidden));
        self.refresh_run_usage();
        for run in set.runs().iter().filter(|run| hidden.contains(&run.number())) {
            self.cold.cache.drop_run(run.number());
            self.graves.bury_run(run.clone());
        }
    }
}
