//! [`Records`]: what a scan shows.

use super::Engine;
use super::decide::Hold;
use super::live::SHARDS;
use crate::bucket::{BucketId, RunCursor, is_newer};
use crate::codec::{self, State};
use crate::error::Error;
use crate::sync::Arc;
use crate::view::{Filter, Record, RecordState};
use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};

/// The records of a scan, a shard or a stretch of runs at a time.
///
/// First the live table, then the runs as they are after it: a key that moves from the one to the other
/// meanwhile was seen in the first, and is left out of the second.
pub struct Records {
    engine: Arc<Engine>,
    filter: Filter,
    next_shard: usize,
    page: VecDeque<Record>,
    /// Hashes of the keys that the live table had.
    seen: HashSet<u64>,
    runs: Option<Vec<RunHead>>,
    failed: bool,
}

/// A key and a version of its record.
type Row = (Box<[u8]>, codec::Record);

/// A run and the row it stands at.
struct RunHead {
    cursor: RunCursor,
    row: Option<Row>,
}

impl Records {
    pub(crate) fn new(engine: &Arc<Engine>, filter: Filter) -> Records {
        Records {
            engine: engine.clone(),
            filter,
            next_shard: 0,
            page: VecDeque::new(),
            seen: HashSet::new(),
            runs: None,
            failed: false,
        }
    }

    /// Only what lies in the runs, without the keys whose hashes are in `seen`.
    pub(crate) fn of_runs(engine: &Arc<Engine>, filter: Filter, seen: HashSet<u64>) -> Records {
        Records { next_shard: SHARDS, seen, ..Records::new(engine, filter) }
    }

    /// Orphans and claims in progress are in the live table, all of them.
    fn only_live(&self) -> bool {
        let states = self.filter.states();
        let live = |state: &RecordState| matches!(state, RecordState::InProgress | RecordState::Orphaned);
        !states.is_empty() && states.iter().all(live)
    }

    /// Records without an end lie in runs of their own, which also hold the tombstones of those that went on.
    fn only_held(&self) -> bool {
        let states = self.filter.states();
        let ends = |state: &RecordState| matches!(state, RecordState::Completed | RecordState::Failed);
        !states.is_empty() && !states.iter().any(ends)
    }

    fn turn_page(&mut self) -> Result<bool, Error> {
        self.engine.check_open()?;
        if self.next_shard < SHARDS {
            self.list_shard()?;
            return Ok(true);
        }
        if self.only_live() {
            return Ok(false);
        }
        if self.runs.is_none() {
            self.runs = Some(self.open_runs()?);
        }
        match self.next_cold()? {
            Some((key, record)) => {
                let hash = self.engine.hasher.hash(&key);
                if !self.seen.contains(&hash) {
                    let shard = self.engine.live.shard(hash);
                    let record = shard.cold_repeats.known(hash, Cow::Owned(record)).into_owned();
                    drop(shard);
                    self.list(&key, record, None);
                }
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn list_shard(&mut self) -> Result<(), Error> {
        let entries = self.engine.live.entries(self.next_shard);
        self.next_shard += 1;
        for (hash, key, entry) in entries {
            if entry.marks.placeholder {
                continue;
            }
            self.engine.wait(entry.batch)?;
            self.seen.insert(hash);
            let hold = entry.hold(self.engine.life, self.engine.time.now_ms(), self.engine.time.boot_ms());
            self.list(&key, entry.into_known(), Some(hold));
        }
        Ok(())
    }

    fn list(&mut self, key: &[u8], record: codec::Record, hold: Option<Hold>) {
        let id = key.first_chunk::<4>().map(|id| u32::from_be_bytes(*id));
        let Some(space) = id.and_then(|id| self.engine.spaces.by_id(id)) else { return };
        let record = self.engine.show(&space, key, record, hold.unwrap_or(Hold::Lapsed));
        self.page.extend(record.filter(|record| self.filter.shows(record)));
    }

    fn open_runs(&self) -> Result<Vec<RunHead>, Error> {
        let set = self.engine.cold.set();
        let only_held = self.only_held();
        let closed = set.runs().iter().filter(|run| match run.bucket() {
            BucketId::Open => false,
            BucketId::Held => true,
            BucketId::Timed { .. } => !only_held,
        });
        let heads = closed.map(|run| {
            let mut cursor = run.iter(None);
            let row = cursor.next().transpose()?;
            Ok(RunHead { cursor, row })
        });
        heads.collect()
    }

    /// The newest version of the smallest key that is left.
    fn next_cold(&mut self) -> Result<Option<Row>, Error> {
        let Some(heads) = &mut self.runs else { return Ok(None) };
        let smallest = heads.iter().filter_map(|head| head.row.as_ref().map(|(key, _)| key)).min().cloned();
        let Some(key) = smallest else { return Ok(None) };
        let mut newest: Option<codec::Record> = None;
        for head in heads.iter_mut() {
            if head.row.as_ref().is_none_or(|(of, _)| *of != key) {
                continue;
            }
            let next = head.cursor.next().transpose()?;
            if let Some((_, record)) = std::mem::replace(&mut head.row, next)
                && newest
                    .as_ref()
                    .is_none_or(|newest| is_newer((record.seq, record.state == State::Erased), newest))
            {
                newest = Some(record);
            }
        }
        Ok(newest.map(|record| (key, record)))
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    /// Ends after an error.
    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            if let Some(record) = self.page.pop_front() {
                return Some(Ok(record));
            }
            match self.turn_page() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("filter", &self.filter).finish_non_exhaustive()
    }
}
