//! Merging runs of one bucket into one (compaction).

use super::{KeyHasher, Run, RunCursor, RunSummary, RunWriter};
use crate::codec::State;
use crate::error::Error;
use crate::io::Storage;
use crate::planted;
use crate::sync::Arc;
use std::cmp::Ordering;
use std::fmt;
use std::io;

/// A k-way merge in progress. It keeps, for every key, the version with the highest sequence number.
///
/// It runs in steps, so that one thread can do other work in between. Dropped before its end, it leaves no file.
pub(crate) struct Merger {
    storage: Arc<dyn Storage>,
    store_id: [u8; 16],
    number: u64,
    hasher: KeyHasher,
    drop_tombstones: bool,
    inputs: Vec<Arc<Run>>,
    heads: Vec<Head>,
    /// The heads whose row was written or superseded. They advance before the next row is chosen.
    spent: Vec<usize>,
    /// Created with the first row: a merge without a result creates no file.
    writer: Option<RunWriter>,
}

/// The result of one step.
#[derive(Debug)]
pub(crate) enum Step {
    /// There is more to do.
    More,
    /// The new run is durable; `None` if no row was left to write.
    Done(Option<RunSummary>),
}

impl Merger {
    /// Starts to merge `inputs`, all of one bucket, into run `number`. With `drop_tombstones`, `inputs` must be all
    /// runs of the bucket ([`plan`](fn@super::plan) ensures it): an older version in another run would come back.
    pub(crate) fn start(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
        number: u64,
        hasher: &KeyHasher,
        inputs: Vec<Arc<Run>>,
        mut drop_tombstones: bool,
    ) -> Merger {
        if planted::active(26) {
            drop_tombstones = true;
        }
        Merger {
            storage: storage.clone(),
            store_id,
            number,
            hasher: hasher.clone(),
            drop_tombstones,
            heads: inputs.iter().map(|run| Head { cursor: run.iter(None), ended: false }).collect(),
            spent: (0..inputs.len()).collect(),
            inputs,
            writer: None,
        }
    }

    /// Merges up to `max_rows` keys. After an error the merge must be dropped.
    pub(crate) fn step(&mut self, max_rows: usize) -> Result<Step, Error> {
        for _ in 0..max_rows {
            if !self.merge_one()? {
                let finished = self.writer.take().map(RunWriter::finish).transpose();
                return finished.map(Step::Done).map_err(|source| Error::io("finish merged run", source));
            }
        }
        Ok(Step::More)
    }

    /// Writes the newest version of the smallest remaining key; returns `false` if there is none.
    fn merge_one(&mut self) -> Result<bool, Error> {
        self.refill()?;
        let Some(newest) = self.newest_of_smallest()? else { return Ok(false) };
        self.write(newest)?;
        self.spent.push(newest);
        Ok(true)
    }

    /// Advances the spent heads, so that every head is at a row that is still to be merged.
    fn refill(&mut self) -> Result<(), Error> {
        let mut ended = false;
        for at in self.spent.drain(..) {
            let Some(head) = self.heads.get_mut(at) else { continue };
            head.ended = !head.cursor.step()?;
            ended |= head.ended;
        }
        if ended {
            self.heads.retain(|head| !head.ended);
        }
        Ok(())
    }

    /// The head with the newest version of the smallest key. Heads with older versions of that key become spent.
    fn newest_of_smallest(&mut self) -> Result<Option<usize>, Error> {
        let mut newest: Option<(usize, &Head)> = None;
        for (at, head) in self.heads.iter().enumerate() {
            let Some((best_at, best)) = newest else {
                newest = Some((at, head));
                continue;
            };
            match head.cursor.key().cmp(best.cursor.key()) {
                Ordering::Greater => {}
                Ordering::Less => {
                    // A smaller key: the heads noted so far keep their rows.
                    self.spent.clear();
                    newest = Some((at, head));
                }
                Ordering::Equal if head.seq()? > best.seq()? => {
                    self.spent.push(best_at);
                    newest = Some((at, head));
                }
                Ordering::Equal => self.spent.push(at),
            }
        }
        Ok(newest.map(|(at, _)| at))
    }

    fn write(&mut self, newest: usize) -> Result<(), Error> {
        let failed = |source| Error::io("write merged run", source);
        let Some(head) = self.heads.get(newest) else { return Ok(()) };
        let (key, record) = (head.cursor.key(), head.cursor.raw_record()?);
        if self.drop_tombstones && record.numbers.state == State::Erased {
            return Ok(());
        }
        if self.writer.is_none() {
            self.writer = Some(self.create_writer().map_err(failed)?);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.push(key, self.hasher.hash(key), &record).map_err(failed)
    }

    fn create_writer(&self) -> io::Result<RunWriter> {
        let rows = self.inputs.iter().map(|run| run.summary().rows).sum::<u64>();
        let bucket = self.inputs.first().map(|run| run.bucket()).ok_or(io::ErrorKind::InvalidInput)?;
        RunWriter::create(&self.storage, self.store_id, self.number, bucket, rows as usize)
    }
}

impl fmt::Debug for Merger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merger").field("number", &self.number).finish_non_exhaustive()
    }
}

/// One input, at its next row.
struct Head {
    cursor: RunCursor,
    ended: bool,
}

impl Head {
    fn seq(&self) -> Result<u64, Error> {
        Ok(self.cursor.raw_record()?.numbers.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, Rows, STORE_ID, any_rows, completed, key};
    use super::super::run_file_name;
    use super::{Merger, Step};
    use crate::bucket::{BucketId, RunSummary};
    use crate::codec::{Record, State};
    use crate::io::OpenMode;
    use proptest::prelude::*;

    fn merge(fixture: &Fixture, sets: &[Rows], drop_tombstones: bool, step: usize) -> Option<RunSummary> {
        let runs = (1..).zip(sets).map(|(n, rows)| fixture.run(n, BucketId::Held, rows)).collect();
        let mut merger =
            Merger::start(&fixture.storage, STORE_ID, 99, &fixture.hasher, runs, drop_tombstones);
        loop {
            if let Step::Done(summary) = merger.step(step).unwrap() {
                return summary;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_newest_version_of_every_key_is_kept(
            mut sets in prop::collection::vec(any_rows(80), 1..6),
            drop_tombstones: bool,
            step in 1..50usize,
            order: u64,
        ) {
            let mut seq = 0;
            for record in sets.iter_mut().flat_map(|rows| rows.values_mut()) {
                seq += 1;
                (record.seq, record.token) = (seq, record.token.min(seq));
            }
            let mut expected = Rows::new();
            for rows in &sets {
                expected.extend(rows.clone());
            }
            expected.retain(|_, record| !(drop_tombstones && record.state == State::Erased));
            // Which input is asked first decides nothing.
            let count = sets.len();
            for at in 0..count {
                sets.swap(at, (order.rotate_left(at as u32 * 11) % count as u64) as usize);
            }
            let fixture = Fixture::new();
            let Some(summary) = merge(&fixture, &sets, drop_tombstones, step) else {
                prop_assert!(expected.is_empty());
                return Ok(());
            };
            let run = fixture.open(&summary).unwrap();
            prop_assert_eq!(run.verify().unwrap(), expected.len() as u64);
            let merged: Rows = run.iter(None).map(|row| row.unwrap()).map(|(key, r)| (key.into(), r)).collect();
            prop_assert_eq!(merged, expected);
        }
    }

    #[test]
    fn a_merge_that_leaves_nothing_makes_no_file() {
        let fixture = Fixture::new();
        let of = |record| Rows::from([(key(1, b"a"), record)]);
        let sets = [of(completed(1, b"")), of(Record::erased(2))];
        assert_eq!(merge(&fixture, &sets, true, 10), None);
        assert!(fixture.storage.open(&run_file_name(99), OpenMode::Existing).is_err());
    }

    #[test]
    fn an_abandoned_merge_leaves_no_file() {
        let fixture = Fixture::new();
        let rows: Rows = (0..100u8).map(|n| (key(1, &[n]), completed(u64::from(n), b""))).collect();
        let runs = vec![fixture.run(1, BucketId::Held, &rows)];
        let mut merger = Merger::start(&fixture.storage, STORE_ID, 99, &fixture.hasher, runs, true);
        assert!(matches!(merger.step(10), Ok(Step::More)));
        assert!(fixture.storage.open(&run_file_name(99), OpenMode::Existing).is_ok());
        drop(merger);
        assert!(fixture.storage.open(&run_file_name(99), OpenMode::Existing).is_err());
    }
}
