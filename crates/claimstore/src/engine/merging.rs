//! Merges: the runs of one bucket become one, a slice at a time.

use super::home::{Home, Merging, encoded};
use super::{Engine, observe, spans};
use crate::bucket::{self, Merger, RunSummary, Step};
use crate::codec::Cursor;
use crate::error::Error;
use crate::planted;
use crate::sync::Ordering;

/// Memory of checkpointed records for which a merge may handle one row in a slice: 8,192 rows by default, and
/// fewer in stores that are kept small.
const BYTES_PER_SLICE_ROW: usize = 8_192;

impl Engine {
    /// One slice of merging. Answers whether there is more to merge.
    pub(crate) fn merge_slice(&self, home: &mut Home, idle: bool) -> Result<bool, Error> {
        if home.merge.is_none() {
            let set = self.cold.set();
            let Some(plan) = bucket::plan(&set, self.limits.checkpoint_bytes, idle) else { return Ok(false) };
            let inputs = set.runs().iter().filter(|run| plan.runs.contains(&run.number())).cloned().collect();
            let output = home.take_run_number();
            let merger = Merger::start(
                &self.storage,
                self.store_id,
                output,
                &self.hasher,
                inputs,
                plan.drop_tombstones,
            );
            home.merge = Some(Merging { merger, inputs: plan.runs });
        }
        spans::merge().run(|span| {
            span.count("runs", home.merge.as_ref().map_or(0, |merge| merge.inputs.len() as u64));
            let more = self.merge_on(home)?;
            span.flag("done", home.merge.is_none());
            Ok(more)
        })
    }

    /// A slice of the merge that is under way.
    fn merge_on(&self, home: &mut Home) -> Result<bool, Error> {
        let Some(merging) = &mut home.merge else { return Ok(false) };
        let rows = (self.limits.checkpoint_bytes / BYTES_PER_SLICE_ROW).clamp(1, 8_192);
        match merging.merger.step(rows) {
            Ok(Step::More) => Ok(true),
            Ok(Step::Done(summary)) => {
                let mut inputs = std::mem::take(&mut merging.inputs);
                if planted::active(31) {
                    // Takes what was published while the merge ran for something it has read.
                    let runs = self.cold.set();
                    let numbers = runs.runs().iter().map(|run| run.number());
                    let own = summary.as_ref().map_or(u64::MAX, |summary| summary.number);
                    inputs.extend(numbers.filter(|number| *number > own));
                }
                home.merge = None;
                self.finish_merge(home, &inputs, summary)?;
                Ok(true)
            }
            Err(error) => {
                home.merge = None;
                Err(error)
            }
        }
    }

    fn finish_merge(&self, home: &mut Home, inputs: &[u64], output: Option<RunSummary>) -> Result<(), Error> {
        let output: Vec<RunSummary> = output.into_iter().collect();
        let committed = self.open_runs(&output).and_then(|runs| {
            self.commit_catalogue(home, |state| {
                state.runs.retain(|row| run_number(row).is_none_or(|number| !inputs.contains(&number)));
                state.runs.extend(output.iter().map(encoded));
            })?;
            Ok(runs)
        });
        match committed {
            Ok(runs) => {
                self.replace_runs(home, inputs, runs);
                let rows = output.iter().map(|run| run.rows).sum();
                self.counters.merges.fetch_add(1, Ordering::Relaxed);
                self.measures.merged_rows.fetch_add(rows, Ordering::Relaxed);
                observe::merged(inputs.len(), rows);
                Ok(())
            }
            Err(error) => {
                self.discard_unlisted(home, &output);
                Err(error)
            }
        }
    }
}

fn run_number(row: &[u8]) -> Option<u64> {
    RunSummary::decode(&mut Cursor::new(row)).ok().map(|summary| summary.number)
}
