//! Rows on their way from the live table into runs: which go, where to, and when they leave.
//!
//! Rows are kept in the order of the table's shards: they are taken, sent to their buckets and left shard by shard, as
//! they lie in memory. The order of keys, in which runs are written, is an order of their places.

use super::Engine;
use super::live::{Entry, Shard, share_a_shard};
use super::spaces::Usage;
use crate::bucket::{Apart, BucketId, Run};
use crate::codec::{Record, Repeats, State};
use crate::error::Error;
use crate::key_bytes::KeyBytes;
use crate::sync::Arc;
use std::collections::BTreeMap;
use std::hint::black_box;

/// Rows that leave one shard under one hold of its lock.
const LEAVING_AT_ONCE: usize = 256;
/// So many rows have their memory brought near at a time: as many as a processor waits for at once.
pub(super) const NEAR_AT_ONCE: usize = 16;

/// Bytes of bodies that lie together.
const BODIES_PIECE: usize = 1 << 20;

/// What a checkpoint takes.
pub(crate) struct Taken {
    pub(crate) rows: Vec<TakenRow>,
    bodies: Bodies,
}

/// An entry a checkpoint takes.
pub(crate) struct TakenRow {
    pub(crate) hash: u64,
    pub(crate) key: KeyBytes,
    /// Without its body.
    pub(crate) record: Record,
    body: BodyPlace,
    /// Of the counts in `record`, those that no earlier version has.
    repeats: Repeats,
    spilled: bool,
    may_shadow: bool,
    pub(crate) in_tables: bool,
}

/// A row of a run to be: a row that was taken, or a tombstone over an older version of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Going {
    /// The first bytes of its key, which settle most comparisons without a look at the row.
    head: u128,
    /// Its place among the rows taken.
    pub(crate) at: usize,
    pub(crate) tombstone: bool,
}

/// The bodies of rows, close together in pieces: a copy that costs no allocation a row, and that never moves, as
/// locks are held meanwhile.
#[derive(Default)]
struct Bodies {
    pieces: Vec<Vec<u8>>,
}

/// Where a body is.
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
    /// A row as it goes into a run; `None` only if it was not taken here.
    pub(crate) fn row<'a>(&'a self, row: &'a TakenRow) -> Option<Apart<'a>> {
        Some(Apart { record: &row.record, body: self.bodies.get(row.body)? })
    }

    /// Has the memory of some rows brought near. They lie anywhere, and one after the other each would be waited for:
    /// these reads depend on nothing but their places, so that the processor waits for all of them at once.
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

/// Rows by the bucket they go to, in the order of their keys.
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
    /// Copies the entries at or below `through` that are resolved, or in progress and not yet written out in
    /// this version.
    pub(crate) fn take(&self, through: u64) -> Taken {
        // Of the claims in progress most were written out before.
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
                rows.push(TakenRow {
                    hash,
                    key: key.into(),
                    record: entry.known_without_body(),
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

    /// Sends each row to its bucket, and tombstones to the buckets where an older version would come back.
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
            if row.spilled {
                groups.entry(BucketId::Open).or_default().push(going.tombstone());
            }
            if row.may_shadow {
                shadowing.push(going);
            }
        }
        // In the order of keys, as neighbours ask for the same blocks.
        sort_by_key(&mut shadowing, taken);
        for going in shadowing {
            self.cover_older(going, taken, &mut groups)?;
        }
        groups.values_mut().for_each(|rows| sort_by_key(rows, taken));
        Ok(groups)
    }

    /// Adds tombstones over the older versions of a row in other buckets than its own.
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

    /// Shows the new runs. From here on the rows are in the runs and in the live table.
    pub(crate) fn publish_moved(&self, taken: &[TakenRow], runs: Vec<Arc<Run>>) {
        self.cold.publish(self.cold.set().with(runs, &[]));
        // Of other namespaces the new runs have no records.
        let set = self.cold.set();
        for (id, sum) in moving(taken) {
            let in_runs = set.usage(id);
            self.change_usage(id, |usage| usage.begin_moving((sum.records, sum.bytes), in_runs));
        }
    }

    /// Takes the rows out of the live table, or notes that an older version of them now lies in a run.
    ///
    /// Usage follows when all of them left: until then what is in both places counts as moving, and so once.
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

    /// Changes several sums of one namespace at once: whoever checks a quota has the order lock, and would else see a
    /// record in both places, or in none.
    fn change_usage(&self, id: u32, change: impl Fn(&Usage)) {
        if let Some(space) = self.spaces.by_id(id) {
            let _order = self.commit.order();
            change(&space.usage);
        }
    }

    /// The same for rows of one shard; adds up what is gone.
    fn leave_shard(&self, rows: &[TakenRow], left: &mut Sums) {
        let Some(first) = rows.first() else { return };
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

/// Has some entries and their bodies brought near, which lie anywhere.
fn bring_bodies_near<'a>(entries: impl Iterator<Item = &'a Entry>) {
    let first_byte = |entry: &Entry| entry.record.body.first().copied().unwrap_or_default();
    black_box(entries.fold(0, |sum, entry| sum ^ first_byte(entry)));
}

/// Brings rows into the order of their keys.
fn sort_by_key(rows: &mut [Going], taken: &[TakenRow]) {
    let key = |at: usize| taken.get(at).map(|row| &*row.key);
    rows.sort_unstable_by(|one, other| {
        one.head.cmp(&other.head).then_with(|| key(one.at).cmp(&key(other.at)))
    });
}

/// How much of each namespace is in the live table and, once they are shown, in the new runs.
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

/// Where a record goes; tombstones of their own go nowhere.
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
