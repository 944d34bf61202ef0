//! An open run. Its index and filter are in memory; its blocks are read on demand.

use super::block::{Block, BlockName};
use super::filter::{Filter, LINE_BYTES};
use super::footer::{Footer, MAX_FOOTER_BYTES, Section};
use super::index::{BlockPlace, Index};
use super::listed::ListedBlock;
use super::section::SectionReader;
use super::summary::{Ranges, Tally};
use super::{BlockCache, BucketId, KeyHasher, NamespaceUsage, RUNS_DIR, RunCursor, RunSummary, read_failed};
use crate::codec::{Record, crc32};
use crate::error::Error;
use crate::io::{File, OpenMode, Storage};
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
    summary: RunSummary,
    store_id: [u8; 16],
    file: Arc<dyn File>,
    footer: Footer,
    index: Index,
    filter: Option<Filter>,
    filter_rebuilt: bool,
    ranges: Ranges,
    min_key: Box<[u8]>,
    max_key: Box<[u8]>,
}

/// A key of a batch that is in the range of a run: its place in the batch, its hash, and whether the filter has
/// passed it so far.
pub(crate) struct Candidate {
    place: usize,
    hash: u64,
    held: bool,
}

impl Run {
    /// Opens the run that the catalogue names in `summary`.
    ///
    /// A damaged filter is rebuilt from the rows. Any other damage is `Corrupt`; a run written by a newer version is
    /// `TooNew`.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
        summary: &RunSummary,
        hasher: &KeyHasher,
    ) -> Result<Run, Error> {
        let file = storage.open(&run_file_name(summary.number), OpenMode::Existing).map_err(open_failed)?;
        let footer = read_footer(&*file, &store_id, summary)?;
        let ranges = Ranges::decode(&read_section(&*file, &footer.ranges, "run ranges")?)?;
        let (Some(min_key), Some(max_key)) = (ranges.min_key(), ranges.max_key()) else {
            return Err(Error::corrupt("run ranges"));
        };
        if hasher.hash(&min_key) != footer.first_hash {
            return Err(Error::corrupt("run hashed under another key"));
        }
        let index = SectionReader::new(&*file, &footer.index, "run index");
        let index = Index::read(index, &min_key, footer.data_bytes)?;
        let mut run = Run {
            summary: summary.clone(),
            store_id,
            file,
            footer,
            index,
            filter: None,
            filter_rebuilt: false,
            ranges,
            min_key: min_key.into(),
            max_key: max_key.into(),
        };
        run.load_filter(hasher)?;
        Ok(run)
    }

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
            return block.get(key);
        }
        let bytes = self.read_data(place.offset, place.length)?;
        let (block, first, last) = self.check_bounds(place, bytes)?;
        let found = block.get(key);
        cache.insert(self.number(), place.number, &Arc::new(ListedBlock::new(block, &first, &last)));
        found
    }

    /// Frees the last `bytes` of the file after its name was removed; see [`File::cut_nameless`]. Returns whether
    /// more are left. `&mut` proves that there is no reader left.
    pub(crate) fn cut_nameless(&mut self, bytes: u64) -> io::Result<bool> {
        self.file.cut_nameless(bytes)
    }

    /// The rows from `from` on, or all of them, in key order.
    pub(crate) fn iter(self: &Arc<Run>, from: Option<&[u8]>) -> RunCursor {
        RunCursor::new(self.clone(), from)
    }

    /// Reads and checks every byte of the file again; returns the number of rows.
    pub(crate) fn verify(self: &Arc<Run>) -> Result<u64, Error> {
        self.verify_sections()?;
        let mut tally = Tally::new();
        let mut cursor = self.iter(None);
        while let Some(record) = cursor.advance()? {
            let numbers = record.numbers();
            if !tally.admits(self.bucket(), cursor.key(), &numbers) {
                return Err(Error::corrupt("run order"));
            }
            tally.add(cursor.key(), &numbers, record.body.len());
        }
        tally.close();
        let counted = (tally.rows, tally.tombstones, tally.min_seq, tally.max_seq);
        let Footer { rows, tombstones, min_seq, max_seq, .. } = self.footer;
        if counted == (rows, tombstones, min_seq, max_seq) && tally.ranges == self.ranges {
            Ok(tally.rows)
        } else {
            Err(Error::corrupt("run counts"))
        }
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

    /// Reads the filter; a damaged one is rebuilt from the rows, which have checksums of their own.
    fn load_filter(&mut self, hasher: &KeyHasher) -> Result<(), Error> {
        if self.bucket() == BucketId::Open {
            return if self.footer.filter.length == 0 {
                Ok(())
            } else {
                Err(Error::corrupt("run filter length"))
            };
        }
        if self.footer.filter.length == 0 || !self.footer.filter.length.is_multiple_of(LINE_BYTES as u64) {
            return Err(Error::corrupt("run filter length"));
        }
        if let Some(filter) = read_filter(&*self.file, &self.footer.filter)? {
            self.filter = Some(filter);
            return Ok(());
        }
        let mut filter = Filter::for_keys(self.summary.rows);
        let mut rows = super::cursor::Rows::new(None);
        while rows.advance(self)?.is_some() {
            filter.insert(hasher.hash(rows.key()));
        }
        self.filter = Some(filter);
        self.filter_rebuilt = true;
        Ok(())
    }

    fn verify_sections(&self) -> Result<(), Error> {
        read_footer(&*self.file, &self.store_id, &self.summary)?;
        let index = SectionReader::new(&*self.file, &self.footer.index, "run index");
        Index::read(index, &self.min_key, self.footer.data_bytes)?;
        read_section(&*self.file, &self.footer.ranges, "run ranges")?;
        match read_filter(&*self.file, &self.footer.filter)? {
            Some(_) => Ok(()),
            None => Err(Error::corrupt("run filter")),
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("summary", &self.summary).finish_non_exhaustive()
    }
}

fn open_failed(source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        Error::with_source(crate::error::ErrorKind::Corrupt, "a run file is missing", source)
    } else {
        Error::io("open run", source)
    }
}

/// The length is compared with the file's first: nothing is allocated for a length from damaged bytes.
fn read_footer(file: &dyn File, store_id: &[u8; 16], summary: &RunSummary) -> Result<Footer, Error> {
    let length = file.len().map_err(|source| Error::io("run length", source))?;
    if length != summary.bytes {
        return Err(Error::corrupt("run length"));
    }
    let end = length.min(MAX_FOOTER_BYTES);
    Footer::check(&read(file, length - end, end as usize, "run footer")?, store_id, summary)
}

fn read_section(file: &dyn File, section: &Section, what: &'static str) -> Result<Vec<u8>, Error> {
    let bytes = read(file, section.offset, section.length as usize, what)?;
    if crc32(&[&bytes]) == section.crc { Ok(bytes) } else { Err(Error::corrupt(what)) }
}

/// The stored filter; `None` if its checksum is wrong.
fn read_filter(file: &dyn File, section: &Section) -> Result<Option<Filter>, Error> {
    let mut filter = Filter::with_capacity(section.length as usize);
    let mut stored = SectionReader::new(file, section, "run filter");
    loop {
        match stored.piece(section.length, LINE_BYTES)? {
            [] => return Ok(stored.finish().then_some(filter)),
            lines => filter.append(lines),
        }
    }
}

fn read(file: &dyn File, offset: u64, length: usize, what: &'static str) -> Result<Vec<u8>, Error> {
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
