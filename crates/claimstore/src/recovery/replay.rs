//! The live table, rebuilt at an opening: from runs of claims in progress, the journal, and the rows of `transact`.
//!
//! Replay only applies records, it never decides again: of two versions of a key the one with the higher sequence
//! number wins, wherever each was found.

use super::plan::Evidence;
use crate::bucket::{BucketId, KeyHasher, RunSet, Tables};
use crate::codec::{Base, Cursor, Malformed, Record, State};
use crate::engine::cold::Cold;
use crate::engine::commit::{OP_RECORD, OP_SPACE};
use crate::engine::live::{Entry, Live, Marks};
use crate::engine::spaces::Spaces;
use crate::engine::transact::read_claim_row;
use crate::error::Error;
use crate::journal::Frame;
use crate::planted;
use std::collections::HashMap;

/// The live table while it is rebuilt.
pub(super) struct Replay<'a> {
    pub(super) live: Live,
    pub(super) hasher: &'a KeyHasher,
    pub(super) spaces: &'a Spaces,
    pub(super) evidence: Evidence,
    /// Rows of the tables that are in a run already.
    pub(super) copied: Vec<(Vec<u8>, u64)>,
}

impl Replay<'_> {
    /// Loads the claims that were still in progress when their journal segments were retired.
    pub(super) fn load_open_runs(&mut self, set: &RunSet) -> Result<(), Error> {
        let mut newest: HashMap<Box<[u8]>, Record> = HashMap::new();
        for run in set.runs().iter().filter(|run| run.bucket() == BucketId::Open) {
            for row in run.iter(None) {
                let (key, record) = row?;
                if newest.get(&key).is_none_or(|other| other.seq < record.seq) {
                    newest.insert(key, record);
                }
            }
        }
        // A tombstone in the open bucket means that the claim has ended, not that the key is unknown. Its record is
        // in a run of another bucket and must not be hidden.
        newest.retain(|_, record| record.state == State::InProgress);
        for (key, record) in newest {
            let marks = Marks { spilled: true, spill_current: true, may_shadow: true, ..Marks::default() };
            self.apply(&key, record, marks);
        }
        Ok(())
    }

    pub(super) fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        self.evidence.frame_generation = self.evidence.frame_generation.max(frame.head.generation);
        self.evidence.frame_mark_ms = self.evidence.frame_mark_ms.max(frame.head.mark_ms);
        self.evidence.frame_seq = self.evidence.frame_seq.max(frame.head.last_seq);
        self.operations(frame).map_err(corrupt)
    }

    fn operations(&mut self, frame: &Frame<'_>) -> Result<(), Malformed> {
        if frame.payload.is_empty() {
            return Ok(());
        }
        let mut cursor = Cursor::new(frame.payload);
        let base = Base { seq: frame.head.first_seq, time_ms: cursor.u64("batch time")?, ttl_ms: 0 };
        for _ in 0..frame.head.ops {
            match cursor.u8("operation")? {
                OP_RECORD => {
                    let key = cursor.bytes("key")?;
                    let record = Record::decode(&mut cursor, &base)?;
                    // Operations up to `checkpoint_seq` are in the runs. Applied again, they would bring back records
                    // that were pruned since.
                    let mut is_in_runs = record.seq <= self.evidence.checkpoint_seq;
                    if planted::active(15) {
                        is_in_runs = false;
                    }
                    if !is_in_runs {
                        self.apply(key, record, Marks { may_shadow: true, ..Marks::default() });
                    }
                }
                OP_SPACE => {
                    let mut row = Cursor::new(cursor.bytes("namespace")?);
                    let id = row.u32("namespace id")?;
                    let rest = row.take(row.remaining(), "namespace")?;
                    self.spaces.define_row(id, rest)?;
                }
                _ => return Err(Malformed("operation")),
            }
        }
        cursor.finish("batch")
    }

    /// Loads the rows that `transact` wrote. Rows that are in a run already are collected for removal. If they
    /// stayed, they could come back: after a later `forget` of the key, once a merge has dropped its tombstone.
    pub(super) fn load_tables(&mut self, tables: &Tables, cold: &Cold) -> Result<(), Error> {
        tables.claims(&mut |key, seq, bytes| {
            let record = read_claim_row(bytes)?;
            if record.seq != seq {
                return Err(Error::corrupt("a claim row of the tables has the wrong number"));
            }
            self.evidence.row_seq = self.evidence.row_seq.max(seq);
            self.evidence.row_mark_ms = self.evidence.row_mark_ms.max(record.settled_at_ms);
            let hash = self.hasher.hash(key);
            if cold.lookup(key, hash)?.is_some_and(|found| found.record.seq >= seq) {
                self.copied.push((key.to_vec(), seq));
                return Ok(());
            }
            let mut counts = true;
            if planted::active(28) {
                // Any record from the journal is taken for newer.
                counts = self.live.shard(hash).find(hash, key).is_none();
            }
            if counts {
                self.apply(key, record, Marks { may_shadow: true, ..Marks::default() });
            }
            // Also if the journal has a newer version: the row must be removed before the version that hides it is.
            if let Some(entry) = self.live.shard(hash).find_mut(hash, key) {
                entry.marks.in_tables = true;
            }
            Ok(())
        })
    }

    /// Inserts a version if it is newer than the present one.
    fn apply(&mut self, key: &[u8], record: Record, marks: Marks) {
        let hash = self.hasher.hash(key);
        let mut shard = self.live.shard(hash);
        let old = shard.find(hash, key);
        let mut is_older = old.is_some_and(|old| old.record.seq >= record.seq);
        if planted::active(15) {
            is_older = false;
        }
        if is_older {
            return;
        }
        let before = old.map(|old| old.marks).unwrap_or_default();
        let marks = Marks {
            spilled: before.spilled || marks.spilled,
            may_shadow: before.may_shadow || marks.may_shadow,
            in_tables: before.in_tables || marks.in_tables,
            ..marks
        };
        let mut entry = Entry { marks, ..Entry::new(record, 0, 0) };
        if planted::active(87) {
            entry.record.extra = None;
        }
        self.live.put(&mut shard, hash, key, entry);
    }
}

pub(super) fn corrupt(what: Malformed) -> Error {
    Error::corrupt(what.0)
}
