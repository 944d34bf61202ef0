//! The rows of a checkpoint on their way from the live table into runs: which rows, which buckets, and when the
//! entries are removed.
//!
//! Rows stay in the order of the table's shards. Copying, grouping by bucket and removal all go shard by shard, which
//! is the order of memory. Runs are written in key order; for that, indexes of the rows are sorted, not the rows.

use super::Engine;
use super::live::{Entry, Shard, share_a_shard};
use super::spaces::Usage;
use crate::bucket::{Apart, BucketId, Run};
use crate::codec::{Record, Repeats, State};
use crate::error::Error;
use crate::key_bytes::KeyBytes;
use crate::planted;
use crate::sync::Arc;
use claimstore_core::tally::Tally;
use std::collections::BTreeMap;
use std::hint::black_box;

/// The most rows that are removed from a shard before its lock is released.
const LEAVING_AT_ONCE: usize = 256;
/// Rows that are prefetched at a time: about as many cache misses as a processor can have outstanding.
pub(super) const NEAR_AT_ONCE: usize = 16;

/// Bytes of one piece of [`Bodies`]; a larger body gets a piece of its own.
const BODIES_PIECE: usize = 1 << 20;

/// The rows of a checkpoint, copied out of the live table.
pub(crate) struct Taken {
    pub(crate) rows: Vec<TakenRow>,
    bodies: Bodies,
}

/// The copy of an entry.
pub(crate) struct TakenRow {
    pub(crate) hash: u64,
    pub(crate) key: KeyBytes,
    /// Without its body.
    pub(crate) record: Record,
    body: BodyPlace,
    /// The part of the counts in `record` that was counted since this version was written.
    repeats: Repeats,
    spilled: bool,
    may_shadow: bool,
    pub(crate) in_tables: bool,
}

/// A row of a run that is to be written: a copied row, or a tombstone over an older version of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Going {
    /// The first bytes of its key. They decide most comparisons without access to the row.
    head: u128,
    /// Its index in [`Taken::rows`].
    pub(crate) at: usize,
    pub(crate) tombstone: bool,
}

/// The bodies of rows, in large pieces. Copies are made under shard locks, so a copy must be cheap: no allocation per
/// row, and no piece is moved to grow.
#[derive(Default)]
struct Bodies {
    pieces: Vec<Vec<u8>>,
}

/// The place of a body in [`Bodies`].
#[derive(Debug, Clone, Copy)]
struct BodyPlace {
    piece: usize,
    start: usize,
    len: usize,
}

impl Bodies {
    fn push(&mut self, body: &[u8]) -> BodyPlace {
        let has_room = |piece: &Vec<u8>| piece.capacity() - piece.len() >= body.len();
        if !self.pieces.last().is_some_and(has_room) {
            self.pieces.push(Vec::with_capacity(BODIES_PIECE.max(body.len())));
        }
        let (piece, len) = (self.pieces.len() - 1, body.len());
        let start = self.pieces.last_mut().map_or(0, |piece| {
            piece.extend_from_slice(body);
            piece.len() - len
        });
        BodyPlace { piece, start, len }
    }

    fn get(&self, BodyPlace { piece, start, len }: BodyPlace) -> Option<&[u8]> {
        self.pieces.get(piece)?.get(start..start + len)
    }
}

impl Taken {
    /// A row with its body, as a run takes it; `None` only if it is not of this checkpoint.
    pub(crate) fn row<'a>(&'a self, row: &'a TakenRow) -> Option<Apart<'a>> {
        Some(Apart { record: &row.record, body: self.bodies.get(row.body)? })
    }

    /// Prefetches some rows. In key order they are anywhere in memory, and each would be a cache miss of its own. The
    /// loads here do not depend on each other, so their misses overlap.
    pub(crate) fn bring_near(&self, rows: &[Going]) {
        let rows = || rows.iter().filter_map(|row| self.rows.get(row.at));
        black_box(
            rows().fold(0, |sum, row| sum ^ row.record.seq ^ row.record.until_ms ^ row.key.len() as u64),
        );
        let first_byte = |row: &TakenRow| self.bodies.get(row.body)?.first().copied();
        black_box(rows().filter_map(first_byte).fold(0, |sum, byte| sum ^ byte));
    }
}

impl Going {
    fn whole(at: usize, row: &TakenRow) -> Going {
        Going { head: head_of(&row.key), at, tombstone: false }
    }

    fn tombstone(self) -> Going {
        Going { tombstone: true, ..self }
    }
}

/// Rows by their bucket, each list in key order.
pub(crate) type Groups = BTreeMap<BucketId, Vec<Going>>;

/// Records and bytes of one namespace.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    records: u64,
    bytes: u64,
}

/// How much of each namespace moves.
type Sums = BTreeMap<u32, Sum>;

impl Engine {
    /// Copies the entries with sequence numbers up to `through` that are resolved, or in progress with a version that
    /// is not in a run yet.
    pub(crate) fn take(&self, through: u64) -> Taken {
        // Most claims in progress have been written by earlier checkpoints.
        let mut rows = Vec::with_capacity(self.live.len().saturating_sub(self.live.in_progress()));
        let mut bodies = Bodies::default();
        self.live.each_shard(|shard| {
            let entries: Vec<_> = shard.iter().collect();
            let in_turn = entries.chunks(NEAR_AT_ONCE).flat_map(|entries| {
                bring_bodies_near(entries.iter().map(|(_, _, entry)| *entry));
                entries
            });
            for &(hash, key, entry) in in_turn {
                let (record, marks) = (&entry.record, entry.marks);
                let written = record.state == State::InProgress && marks.spill_current;
                if marks.placeholder || written || record.seq > through {
                    continue;
                }
                let mut record_taken = entry.known_without_body();
                if planted::active(85) {
                    record_taken = record_taken.with_tally(Tally::default());
                }
                rows.push(TakenRow {
                    hash,
                    key: key.into(),
                    record: record_taken,
                    body: bodies.push(&record.body),
                    repeats: entry.repeats.get(),
                    spilled: marks.spilled,
                    may_shadow: marks.may_shadow,
                    in_tables: marks.in_tables,
                });
            }
        });
        Taken { rows, bodies }
    }

    /// Groups the rows by bucket, and adds tombstones to the buckets where an older version would come back.
    pub(crate) fn group(&self, taken: &[TakenRow]) -> Result<Groups, Error> {
        let (mut groups, mut shadowing) = (Groups::new(), Vec::new());
        for (at, row) in taken.iter().enumerate() {
            let (target, going) = (bucket_of(&row.record), Going::whole(at, row));
            if let Some(bucket) = target {
                groups.entry(bucket).or_default().push(going);
            }
            if target == Some(BucketId::Open) {
                continue;
            }
            // The claim was in progress at an earlier checkpoint, and has ended: hide its row in the open bucket.
            if row.spilled {
                groups.entry(BucketId::Open).or_default().push(going.tombstone());
            }
            if row.may_shadow {
                shadowing.push(going);
            }
        }
        // In key order, because neighbouring keys read the same blocks.
        sort_by_key(&mut shadowing, taken);
        for going in shadowing {
            self.cover_older(going, taken, &mut groups)?;
        }
        groups.values_mut().for_each(|rows| sort_by_key(rows, taken));
        Ok(groups)
    }

    /// Adds tombstones over the older versions of a row in buckets other than its own.
    fn cover_older(&self, going: Going, taken: &[TakenRow], groups: &mut Groups) -> Result<(), Error> {
        let Some(row) = taken.get(going.at) else { return Ok(()) };
        let (now_ms, target) = (self.time.now_ms(), bucket_of(&row.record));
        for (bucket, older) in self.cold.set().buckets_holding(&row.key, row.hash, &self.cold.cache)? {
            let visible = older.state != State::Erased && !older.is_expired(now_ms);
            if visible && older.seq < row.record.seq && bucket != BucketId::Open && Some(bucket) != target {
                groups.entry(bucket).or_default().push(going.tombstone());
            }
        }
        Ok(())
    }

    /// Publishes the new runs and raises the generation. From here on the rows are in the runs and in the live table.
    pub(crate) fn publish_moved(&self, taken: &[TakenRow], runs: Vec<Arc<Run>>) {
        self.cold.publish(self.cold.set().with(runs, &[]));
        // The new runs have no records of other namespaces.
        let set = self.cold.set();
        for (id, sum) in moving(taken) {
            let in_runs = set.usage(id);
            self.change_usage(id, |usage| usage.begin_moving((sum.records, sum.bytes), in_runs));
        }
    }

    /// Removes the rows from the live table, or marks an entry that changed meanwhile: a run now has an older version
    /// of it. Comes after [`publish_moved`](Engine::publish_moved) (hazard 2).
    ///
    /// Usage is updated at the end. Until then the rows that are in both places count as moving, and so once.
    pub(crate) fn leave_live(&self, taken: &[TakenRow]) {
        let mut left = Sums::new();
        for rows in taken.chunk_by(|one, next| share_a_shard(one.hash, next.hash)) {
            for rows in rows.chunks(LEAVING_AT_ONCE) {
                self.leave_shard(rows, &mut left);
            }
        }
        let mut moved = moving(taken);
        for (id, left) in left {
            let moved = moved.remove(&id).unwrap_or_default();
            self.change_usage(id, |usage| {
                usage.left(left.records, left.bytes);
                usage.end_moving((moved.records, moved.bytes));
            });
        }
        for (id, moved) in moved {
            self.change_usage(id, |usage| usage.end_moving((moved.records, moved.bytes)));
        }
        self.live.each_shard(super::live::Shard::shrink);
    }

    /// Changes several sums of one namespace in one step, under the order lock. A quota check holds that lock too;
    /// otherwise it could count a record in both places, or in none.
    fn change_usage(&self, id: u32, change: impl Fn(&Usage)) {
        if let Some(space) = self.spaces.by_id(id) {
            let _order = self.commit.order();
            change(&space.usage);
        }
    }

    /// The same for rows of one shard; adds the removed ones to `left`.
    fn leave_shard(&self, rows: &[TakenRow], left: &mut Sums) {
        let Some(first) = rows.first() else { return };
        // No order lock: claims of other shards go on. A claim of this shard that looked its key up before finds the
        // generation changed under the shard lock.
        let mut shard = self.live.shard(first.hash);
        for rows in rows.chunks(NEAR_AT_ONCE) {
            let found = rows.iter().filter_map(|row| shard.find(row.hash, &row.key));
            bring_bodies_near(found);
            rows.iter().for_each(|row| self.leave_row(&mut shard, row, left));
        }
    }

    /// The same for one row.
    fn leave_row(&self, shard: &mut Shard, row: &TakenRow, left: &mut Sums) {
        let Some(entry) = shard.find_mut(row.hash, &row.key) else { return };
        let unchanged = entry.record.seq == row.record.seq;
        let in_progress = row.record.state == State::InProgress;
        if in_progress {
            entry.marks.spilled = true;
            entry.marks.spill_current = unchanged;
        } else if unchanged && !entry.marks.reserved {
            if let Some(entry) = self.live.remove(shard, row.hash, &row.key) {
                // Claims counted since the row was copied are not in the run: keep their counts in memory.
                let more = entry.repeats.get().since(row.repeats);
                if more != Repeats::default() {
                    shard.cold_repeats.count(row.hash, &row.record, more, self.time.now_ms());
                }
            }
            count(left, row);
        } else {
            // A newer version, or a reservation that may write one. The next checkpoint must write a tombstone over
            // the row in the bucket just written; one over the row in the open bucket was written with it.
            entry.marks.may_shadow = true;
            entry.marks.spilled = false;
        }
    }
}

/// Prefetches some entries and their bodies, which are anywhere in memory.
fn bring_bodies_near<'a>(entries: impl Iterator<Item = &'a Entry>) {
    let first_byte = |entry: &Entry| entry.record.body.first().copied().unwrap_or_default();
    black_box(entries.fold(0, |sum, entry| sum ^ first_byte(entry)));
}

/// Sorts rows by their keys.
fn sort_by_key(rows: &mut [Going], taken: &[TakenRow]) {
    let key = |at: usize| taken.get(at).map(|row| &*row.key);
    rows.sort_unstable_by(|one, other| {
        one.head.cmp(&other.head).then_with(|| key(one.at).cmp(&key(other.at)))
    });
}

/// How much of each namespace is in both the live table and the new runs, once these are published.
fn moving(taken: &[TakenRow]) -> Sums {
    let mut sums = Sums::new();
    taken.iter().filter(|row| counts_in_runs(&row.record)).for_each(|row| count(&mut sums, row));
    sums
}

fn count(sums: &mut Sums, row: &TakenRow) {
    let id = row.key.first_chunk::<4>().map_or(0, |id| u32::from_be_bytes(*id));
    let sum = sums.entry(id).or_default();
    sum.records += 1;
    sum.bytes += (row.key.len() + row.body.len) as u64;
}

/// The bucket of a record; `None` for an erased record, which is written as a tombstone in other buckets only.
fn bucket_of(record: &Record) -> Option<BucketId> {
    match record.state {
        State::Completed | State::Failed => Some(BucketId::for_expiry(record.until_ms, record.ttl_ms)),
        State::Retry | State::Parked => Some(BucketId::Held),
        State::InProgress => Some(BucketId::Open),
        State::Erased => None,
    }
}

/// The first sixteen bytes of a key as a number that sorts like the bytes.
fn head_of(key: &[u8]) -> u128 {
    let mut head = [0u8; 16];
    head.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(head)
}

fn counts_in_runs(record: &Record) -> bool {
    !matches!(record.state, State::InProgress | State::Erased)
}

#[cfg(test)]
mod tests {
    use super::{BODIES_PIECE, Bodies};

    #[test]
    fn bodies_are_found_where_they_were_put() {
        let mut bodies = Bodies::default();
        let lengths = [0, 1, BODIES_PIECE - 1, 1, 2, 3 * BODIES_PIECE, 0, 7];
        let body = |n: usize| vec![n as u8; lengths[n]];
        let places: Vec<_> = (0..lengths.len()).map(|n| bodies.push(&body(n))).collect();
        for (n, place) in places.into_iter().enumerate() {
            assert_eq!(bodies.get(place), Some(&*body(n)));
        }
        assert!(bodies.pieces.len() <= 4);
    }
}
