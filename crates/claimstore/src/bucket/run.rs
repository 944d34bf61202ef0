//! An open run. Its index and filter are in memory; its blocks are read on demand. [`walk`](super::walk) opens it,
//! and reads it as a whole.

use super::block::{Block, BlockName};
use super::filter::Filter;
use super::footer::Footer;
use super::index::{BlockPlace, Index};
use super::listed::ListedBlock;
use super::summary::Ranges;
use super::{BlockCache, BucketId, NamespaceUsage, RUNS_DIR, RunSummary, found_at, read_failed};
use crate::codec::Record;
use crate::error::Error;
use crate::io::{File, Storage};
use crate::sync::Arc;
use std::fmt;
use std::io;

/// The size of a read when a section is read sequentially.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// The name of the file of run `number`.
pub(crate) fn run_file_name(number: u64) -> String {
    format!("{RUNS_DIR}/{number:016}.run")
}

/// Removes the file of a run. Handles that are open stay usable.
pub(crate) fn remove_run(storage: &Arc<dyn Storage>, number: u64) -> io::Result<()> {
    storage.remove(&run_file_name(number))
}

/// One immutable run, open for reading.
pub(crate) struct Run {
    pub(super) summary: RunSummary,
    pub(super) store_id: [u8; 16],
    pub(super) file: Arc<dyn File>,
    pub(super) footer: Footer,
    pub(super) index: Index,
    pub(super) filter: Option<Filter>,
    pub(super) filter_rebuilt: bool,
    pub(super) ranges: Ranges,
    pub(super) min_key: Box<[u8]>,
    pub(super) max_key: Box<[u8]>,
}

/// A key of a batch that is in the range of a run: its place in the batch, its hash, and whether the filter has
/// passed it so far.
pub(crate) struct Candidate {
    place: usize,
    hash: u64,
    held: bool,
}

impl Run {
    /// The catalogue's entry.
    pub(crate) fn summary(&self) -> &RunSummary {
        &self.summary
    }

    pub(crate) fn number(&self) -> u64 {
        self.summary.number
    }

    pub(crate) fn bucket(&self) -> BucketId {
        self.summary.bucket
    }

    /// Records and bytes of each namespace in the run, by namespace id.
    pub(crate) fn usage(&self) -> Vec<NamespaceUsage> {
        self.ranges.usage().collect()
    }

    /// Records and bytes of one namespace in the run.
    pub(crate) fn usage_of(&self, namespace: u32) -> Option<NamespaceUsage> {
        self.ranges.usage_of(namespace)
    }

    /// The largest key of a namespace in the run, without the namespace.
    pub(crate) fn max_key(&self, namespace: u32) -> Option<&[u8]> {
        self.ranges.max_key_of(namespace)
    }

    /// Whether the stored filter was damaged and had to be rebuilt.
    pub(crate) fn filter_was_rebuilt(&self) -> bool {
        self.filter_rebuilt
    }

    /// Bytes of the run in memory: index, filter and ranges.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.index.bytes() + self.ranges.bytes() + self.filter.as_ref().map_or(0, Filter::bytes)
    }

    /// Whether the run may hold `key`; never `false` if it does. Does no I/O.
    pub(crate) fn may_hold(&self, key: &[u8], hash: u64) -> bool {
        self.ranges.may_hold(key) && self.filter.as_ref().is_none_or(|filter| filter.may_hold(hash))
    }

    /// Calls `mark` for each key for which [`may_hold`](Run::may_hold) is true. `candidates` is a buffer that is
    /// reused from run to run.
    pub(crate) fn may_hold_each(
        &self,
        keys: &[(&[u8], u64)],
        candidates: &mut Vec<Candidate>,
        mut mark: impl FnMut(usize),
    ) {
        candidates.clear();
        let in_range = keys.iter().enumerate().filter(|(_, (key, _))| self.ranges.may_hold(key));
        candidates.extend(in_range.map(|(place, (_, hash))| Candidate { place, hash: *hash, held: true }));
        if let Some(filter) = &self.filter {
            // Two passes. The first loads one word per key, with independent loads, so that their cache misses
            // overlap. The second finds the whole lines in the cache.
            candidates.iter_mut().for_each(|key| key.held = filter.has_first_bit(key.hash));
            let maybe = candidates.iter_mut().filter(|key| key.held);
            maybe.for_each(|key| key.held = filter.may_hold(key.hash));
        }
        candidates.iter().filter(|key| key.held).for_each(|key| mark(key.place));
    }

    /// The record of `key`. `None` is proved: the one block that could hold it was read and checked.
    pub(crate) fn get(&self, key: &[u8], cache: &BlockCache) -> Result<Option<Record>, Error> {
        if !self.ranges.may_hold(key) {
            return Ok(None);
        }
        let place = self.index.place(self.index.block_for(key))?;
        if let Some(block) = cache.get(self.number(), place.number) {
            return block.get(key).map_err(|error| found_at(&*self.file, place.offset, error));
        }
        let bytes = self.read_data(place.offset, place.length)?;
        let (block, first, last) = self.check_bounds(place, bytes)?;
        let found = block.get(key).map_err(|error| found_at(&*self.file, place.offset, error));
        cache.insert(self.number(), place.number, &Arc::new(ListedBlock::new(block, &first, &last)));
        found
    }

    /// Frees the last `bytes` of the file after its name was removed; see [`File::cut_nameless`]. Returns whether
    /// more are left. `&mut` proves that there is no reader left.
    pub(crate) fn cut_nameless(&mut self, bytes: u64) -> io::Result<bool> {
        self.file.cut_nameless(bytes)
    }

    /// The place of block `number`; `None` after the last one.
    pub(super) fn place(&self, number: u32) -> Option<BlockPlace> {
        self.index.place(number).ok()
    }

    /// The block that would hold `key`.
    pub(super) fn block_for(&self, key: &[u8]) -> u32 {
        self.index.block_for(key)
    }

    /// Reads `length` bytes of the data from `offset` on.
    pub(super) fn read_data(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        read(&*self.file, offset, length, "run block")
    }

    /// Turns bytes into a block, after a check of checksum, name and bounds.
    pub(super) fn check_block(&self, place: BlockPlace, bytes: Vec<u8>) -> Result<Block, Error> {
        self.check_bounds(place, bytes).map(|(block, _, _)| block)
    }

    /// The same; also returns the block's first and last key.
    fn check_bounds(&self, place: BlockPlace, bytes: Vec<u8>) -> Result<(Block, Vec<u8>, Vec<u8>), Error> {
        self.bounded(place, bytes).map_err(|error| found_at(&*self.file, place.offset, error))
    }

    fn bounded(&self, place: BlockPlace, bytes: Vec<u8>) -> Result<(Block, Vec<u8>, Vec<u8>), Error> {
        let name = BlockName { store_id: self.store_id, run: self.number(), block: place.number };
        let block = Block::check(bytes, &name, place.crc)?;
        let (first, last) = block.bounds()?;
        let is_last = place.number + 1 == self.index.blocks();
        // The keys must lie between the block's separators, and at the ends of the run reach its bounds. Only then
        // does absence from this block prove absence from the run.
        let ends_fit = (place.number > 0 || first == *self.min_key) && (!is_last || last == *self.max_key);
        if ends_fit && self.index.covers(place.number, &first, &last) {
            Ok((block, first, last))
        } else {
            Err(Error::corrupt("block bounds"))
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("summary", &self.summary).finish_non_exhaustive()
    }
}

pub(super) fn read(
    file: &dyn File,
    offset: u64,
    length: usize,
    what: &'static str,
) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).map_err(|source| read_failed(what, source))?;
    Ok(bytes)
}

#[cfg(test)]
mod damage;

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, NOW_MS, Rows, TIMED, TTL_MS, any_rows, completed, key};
    use super::{BlockCache, BucketId, Record, RunSummary};
    use crate::codec::Cursor;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn a_run_reads_like_a_map(rows in any_rows(300), from in any_rows(30), cache_bytes in 0..2_000_000usize) {
            let (fixture, cache) = (Fixture::new(), BlockCache::new(cache_bytes));
            let run = fixture.run(1, BucketId::Held, &rows);
            prop_assert_eq!(run.iter(None).map(|row| row.unwrap()).map(|(key, record)| (key.into(), record)).collect::<Rows>(), rows.clone());
            for key in rows.keys().chain(from.keys()) {
                let found = run.get(key, &cache).unwrap();
                prop_assert_eq!(found.as_ref(), rows.get(key));
                prop_assert!(found.is_none() || run.may_hold(key, fixture.hasher.hash(key)));
                let first = run.iter(Some(key)).next().map(|row| row.unwrap());
                let expected = rows.range(key.clone()..).next().map(|(key, record)| (key.clone().into(), record.clone()));
                prop_assert_eq!(first, expected);
            }
            let usage = run.usage();
            let live = || rows.iter().filter(|(_, record)| record.state != crate::codec::State::Erased);
            prop_assert_eq!(usage.iter().map(|of| of.records).sum::<u64>(), live().count() as u64);
            let bytes = live().map(|(key, record)| key.len() - 4 + record.body.len()).sum::<usize>();
            prop_assert_eq!(usage.iter().map(|of| of.bytes).sum::<u64>(), bytes as u64);
        }
    }

    #[test]
    fn summaries_round_trip() {
        let summary = Fixture::new().write(7, TIMED, [(&key(1, b"a"), &completed(5, b""))]);
        let mut bytes = Vec::new();
        summary.encode(&mut bytes);
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(RunSummary::decode(&mut cursor), Ok(summary));
        assert_eq!(cursor.remaining(), 0);
    }

    #[test]
    fn the_writer_refuses_what_would_lie() {
        let fixture = Fixture::new();
        let refused = |last: &[u8], record: &Record| {
            let mut writer = fixture.writer(1, TIMED, 1);
            writer.push(&key(1, b"b"), 1, &completed(1, b"")).unwrap();
            let pushed = writer.push(last, 2, record);
            pushed.is_err_and(|error| error.kind() == std::io::ErrorKind::InvalidInput)
        };
        assert!(!refused(&key(1, b"c"), &completed(2, b"")));
        assert!(refused(&key(1, b"b"), &completed(2, b"")), "the same key twice");
        assert!(refused(&key(1, b"a"), &completed(2, b"")), "keys that fall");
        assert!(refused(b"abc", &completed(2, b"")), "no namespace");
        let mut late = completed(2, b"");
        late.until_ms = TIMED.end_ms().unwrap();
        assert!(refused(&key(1, b"c"), &late), "a record that outlives its bucket");
        assert!(fixture.writer(1, TIMED, 0).finish().is_err(), "no rows");
        assert_eq!(
            fixture.storage.list("runs").unwrap(),
            Vec::<String>::new(),
            "abandoned files are removed"
        );
    }

    /// 200,000 records as they are in life: 24-byte keys, 64 bytes of response.
    #[test]
    fn disk_and_memory_stay_within_bounds() {
        let fixture = Fixture::new();
        let body = [9u8; 64];
        let rows: Rows = (0..200_000u64)
            .map(|n| {
                let own =
                    [fixture.hasher.hash(&n.to_le_bytes()).to_be_bytes(), n.to_be_bytes(), [0; 8]].concat();
                (key(1, &own), completed((1 << 40) + n, &body))
            })
            .map(|(key, mut record)| {
                record.claimed_at_ms = NOW_MS + (record.seq & 0xff_ffff) / 2;
                record.settled_at_ms = record.claimed_at_ms + 300;
                record.until_ms = record.settled_at_ms + TTL_MS;
                (key, record)
            })
            .collect();
        let run = fixture.run(1, TIMED, &rows);
        let (count, memory) = (rows.len() as u64, run.memory_bytes() as u64);
        let disk = run.summary().bytes;
        assert!(10 * disk <= 12 * count * (24 + 64 + 16), "{disk} bytes of file for {count} records");
        assert!(memory <= 2 * count, "{memory} bytes of memory for {count} records");
    }
}
