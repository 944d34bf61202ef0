//! Rows on their way from the live table into runs: which go, where to, and when they leave.
//!
//! Rows are kept in the order of the table's shards: they are taken and left shard by shard, as they lie in memory. The
//! order of keys, in which runs are written, is an order of their places.

use super::Engine;
use super::live::share_a_shard;
use super::spaces::Usage;
use crate::bucket::{BucketId, Run};
use crate::codec::{Record, Repeats, State};
use crate::error::Error;
use crate::key_bytes::KeyBytes;
use crate::sync::{Arc, Ordering};
use std::collections::BTreeMap;

/// Rows that leave one shard under one hold of its lock.
const LEAVING_AT_ONCE: usize = 256;

/// An entry a checkpoint takes.
pub(crate) struct Taken {
    pub(crate) hash: u64,
    pub(crate) key: KeyBytes,
    pub(crate) record: Record,
    /// Of the counts in `record`, those that no earlier version has.
    repeats: Repeats,
    spilled: bool,
    may_shadow: bool,
    pub(crate) in_tables: bool,
}

/// Rows by the bucket they go to, in the order of their keys. A row refers to its `Taken`, or is a tombstone over it.
pub(crate) type Groups = BTreeMap<BucketId, Vec<(usize, bool)>>;

/// Records and bytes of one namespace.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    records: u64,
    bytes: u64,
}

/// How much of each namespace moves.
type Sums = BTreeMap<u32, Sum>;

impl Engine {
    /// Copies the entries at or below `through` that are resolved, or in progress and not yet written out in
    /// this version.
    pub(crate) fn take(&self, through: u64) -> Vec<Taken> {
        let mut taken = Vec::new();
        self.live.each_shard(|shard| {
            for (hash, key, entry) in shard.iter() {
                let (record, marks) = (&entry.record, entry.marks);
                let written = record.state == State::InProgress && marks.spill_current;
                if marks.placeholder || written || record.seq > through {
                    continue;
                }
                taken.push(Taken {
                    hash,
                    key: key.into(),
                    record: entry.known().into_owned(),
                    repeats: entry.repeats.get(),
                    spilled: marks.spilled,
                    may_shadow: marks.may_shadow,
                    in_tables: marks.in_tables,
                });
            }
        });
        taken
    }

    /// Sends each row to its bucket, and tombstones to the buckets where an older version would come back.
    pub(crate) fn group(&self, taken: &[Taken]) -> Result<Groups, Error> {
        let now_ms = self.time.now_ms();
        let set = self.cold.set();
        let mut groups = Groups::new();
        for at in by_key(taken) {
            let Some(row) = taken.get(at) else { continue };
            let target = bucket_of(&row.record);
            if let Some(bucket) = target {
                groups.entry(bucket).or_default().push((at, false));
            }
            if row.spilled && target != Some(BucketId::Open) {
                groups.entry(BucketId::Open).or_default().push((at, true));
            }
            if !row.may_shadow || target == Some(BucketId::Open) {
                continue;
            }
            for (bucket, older) in set.buckets_holding(&row.key, row.hash, &self.cold.cache)? {
                let visible = older.state != State::Erased && !older.is_expired(now_ms);
                if visible && older.seq < row.record.seq && bucket != BucketId::Open && Some(bucket) != target
                {
                    groups.entry(bucket).or_default().push((at, true));
                }
            }
        }
        Ok(groups)
    }

    /// Shows the new runs. From here on the rows are in the runs and in the live table.
    pub(crate) fn publish_moved(&self, taken: &[Taken], runs: Vec<Arc<Run>>) {
        self.each_usage(moving(taken), |usage, sum| {
            usage.moving_records.fetch_add(sum.records, Ordering::AcqRel);
            usage.moving_bytes.fetch_add(sum.bytes, Ordering::AcqRel);
        });
        self.cold.publish(self.cold.set().with(runs, &[]));
        self.refresh_run_usage();
    }

    /// Takes the rows out of the live table, or notes that an older version of them now lies in a run.
    ///
    /// Usage follows when all of them left: until then what is in both places counts as moving, and so once.
    pub(crate) fn leave_live(&self, taken: &[Taken]) {
        let mut left = Sums::new();
        for rows in taken.chunk_by(|one, next| share_a_shard(one.hash, next.hash)) {
            for rows in rows.chunks(LEAVING_AT_ONCE) {
                self.leave_shard(rows, &mut left);
            }
        }
        self.each_usage(left, |usage, sum| {
            usage.live_records.fetch_sub(sum.records, Ordering::AcqRel);
            usage.live_bytes.fetch_sub(sum.bytes, Ordering::AcqRel);
        });
        self.each_usage(moving(taken), |usage, sum| {
            usage.moving_records.fetch_sub(sum.records, Ordering::AcqRel);
            usage.moving_bytes.fetch_sub(sum.bytes, Ordering::AcqRel);
        });
        self.live.each_shard(super::live::Shard::shrink);
    }

    fn each_usage(&self, sums: Sums, change: impl Fn(&Usage, Sum)) {
        for (id, sum) in sums {
            if let Some(space) = self.spaces.by_id(id) {
                change(&space.usage, sum);
            }
        }
    }

    /// The same for rows of one shard; adds up what is gone.
    fn leave_shard(&self, rows: &[Taken], left: &mut Sums) {
        let Some(first) = rows.first() else { return };
        let mut shard = self.live.shard(first.hash);
        for row in rows {
            let Some(entry) = shard.find_mut(row.hash, &row.key) else { continue };
            let unchanged = entry.record.seq == row.record.seq;
            let in_progress = row.record.state == State::InProgress;
            if in_progress {
                entry.marks.spilled = true;
                entry.marks.spill_current = unchanged;
            } else if unchanged && !entry.marks.reserved {
                if let Some(entry) = self.live.remove(&mut shard, row.hash, &row.key) {
                    // What came since the row was written goes on being counted.
                    let more = entry.repeats.get().since(row.repeats);
                    if more != Repeats::default() {
                        shard.cold_repeats.count(row.hash, &row.record, more, self.time.now_ms());
                    }
                }
                count(left, row);
            } else {
                // The newer version must be followed by a tombstone in the bucket just written.
                entry.marks.may_shadow = true;
                entry.marks.spilled = false;
            }
        }
    }
}

/// The places of rows in the order of their keys.
fn by_key(taken: &[Taken]) -> impl Iterator<Item = usize> + use<> {
    let heads = taken.iter().enumerate().map(|(at, row)| (head_of(&row.key), at));
    let mut places: Vec<(u128, usize)> = heads.collect();
    let key = |at: usize| taken.get(at).map(|row| &*row.key);
    // The head settles most comparisons without a look at the row.
    places.sort_unstable_by(|one, other| one.0.cmp(&other.0).then_with(|| key(one.1).cmp(&key(other.1))));
    places.into_iter().map(|(_, at)| at)
}

/// How much of each namespace is in the live table and, once they are shown, in the new runs.
fn moving(taken: &[Taken]) -> Sums {
    let mut sums = Sums::new();
    taken.iter().filter(|row| counts_in_runs(&row.record)).for_each(|row| count(&mut sums, row));
    sums
}

fn count(sums: &mut Sums, row: &Taken) {
    let id = row.key.first_chunk::<4>().map_or(0, |id| u32::from_be_bytes(*id));
    let sum = sums.entry(id).or_default();
    sum.records += 1;
    sum.bytes += (row.key.len() + row.record.body.len()) as u64;
}

fn bucket_of(record: &Record) -> Option<BucketId> {
    match record.state {
        State::Completed | State::Failed => Some(BucketId::for_expiry(record.until_ms, record.ttl_ms)),
        State::Retry | State::Parked => Some(BucketId::Held),
        State::InProgress => Some(BucketId::Open),
        State::Erased => None,
    }
}

/// The first sixteen bytes of a key as a number that sorts like them.
fn head_of(key: &[u8]) -> u128 {
    let mut head = [0u8; 16];
    head.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(head)
}

fn counts_in_runs(record: &Record) -> bool {
    !matches!(record.state, State::InProgress | State::Erased)
}
