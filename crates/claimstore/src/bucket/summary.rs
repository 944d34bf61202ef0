//! The metadata of a run: its entry in the catalogue, and the key ranges per namespace.

use super::{BucketId, NAMESPACE_BYTES, damaged, namespace_of};
use crate::codec::{Cursor, Malformed, Numbers, State};
use crate::error::Error;

/// The catalogue's entry of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunSummary {
    /// Names the file; never used twice in one store.
    pub(crate) number: u64,
    pub(crate) bucket: BucketId,
    /// All rows, tombstones among them.
    pub(crate) rows: u64,
    pub(crate) tombstones: u64,
    /// The length of the file.
    pub(crate) bytes: u64,
    pub(crate) min_seq: u64,
    pub(crate) max_seq: u64,
    /// The checksum in the footer. Through the chain of checksums it covers every byte of the file.
    pub(crate) digest: u32,
}

impl RunSummary {
    /// Appends the entry.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_le_bytes());
        self.bucket.encode(out);
        for value in [self.rows, self.tombstones, self.bytes, self.min_seq, self.max_seq] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&self.digest.to_le_bytes());
    }

    /// The counterpart of [`RunSummary::encode`].
    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<RunSummary, Malformed> {
        Ok(RunSummary {
            number: cursor.u64("run number")?,
            bucket: BucketId::decode(cursor)?,
            rows: cursor.u64("run rows")?,
            tombstones: cursor.u64("run tombstones")?,
            bytes: cursor.u64("run bytes")?,
            min_seq: cursor.u64("run min seq")?,
            max_seq: cursor.u64("run max seq")?,
            digest: cursor.u32("run digest")?,
        })
    }
}

/// Counts the rows of a run in their order. The writer stores the result, a verification compares it.
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) tombstones: u64,
    pub(super) min_seq: u64,
    pub(super) max_seq: u64,
    /// Complete only after [`Tally::close`].
    pub(super) ranges: Ranges,
    pub(super) last_key: Vec<u8>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            rows: 0,
            tombstones: 0,
            min_seq: u64::MAX,
            max_seq: 0,
            ranges: Ranges::default(),
            last_key: Vec::new(),
        }
    }

    /// Whether this row may come next in a run of `bucket`: its key is greater than the last one, and it expires
    /// before its bucket ends. Otherwise it would be pruned too early.
    pub(super) fn admits(&self, bucket: BucketId, key: &[u8], record: &Numbers) -> bool {
        namespace_of(key).is_some()
            && (self.rows == 0 || *key > *self.last_key)
            && (!record.state.expires() || bucket.outlasts(record.until_ms))
    }

    /// Counts a row in.
    pub(super) fn add(&mut self, key: &[u8], record: &Numbers, body_bytes: usize) {
        if namespace_of(&self.last_key) != namespace_of(key) {
            self.ranges.close(&self.last_key);
        }
        let tombstone = record.state == State::Erased;
        self.ranges.add(key, body_bytes, tombstone);
        self.rows += 1;
        self.tombstones += u64::from(tombstone);
        self.min_seq = self.min_seq.min(record.seq);
        self.max_seq = self.max_seq.max(record.seq);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }

    /// Ends the last range.
    pub(super) fn close(&mut self) {
        self.ranges.close(&self.last_key);
    }
}

/// Records and bytes of one namespace in a run, without tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamespaceUsage {
    pub(crate) namespace: u32,
    pub(crate) records: u64,
    /// Bytes of keys (the namespace's four aside) and bodies.
    pub(crate) bytes: u64,
}

/// The keys of one namespace in a run: from `min` to `max`, both of which are in the run.
#[derive(Clone, PartialEq, Eq)]
struct Range {
    usage: NamespaceUsage,
    min: Box<[u8]>,
    max: Box<[u8]>,
    /// The first bytes of `min` and `max`. They decide most comparisons without access to the keys.
    heads: (u64, u64),
}

/// The ranges of all namespaces in a run, in the order of their numbers.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    ranges: Vec<Range>,
}

impl Ranges {
    /// Counts a row in; rows come in key order, so the newest is the largest. Keys hold a namespace.
    fn add(&mut self, key: &[u8], body_bytes: usize, tombstone: bool) {
        let Some((namespace, own)) = split(key) else { return };
        let at_end = self.ranges.last().is_some_and(|range| range.usage.namespace == namespace);
        if !at_end {
            let usage = NamespaceUsage { namespace, records: 0, bytes: 0 };
            self.ranges.push(Range::new(usage, own.into(), Box::default()));
        }
        if let Some(range) = self.ranges.last_mut().filter(|_| !tombstone) {
            range.usage.records += 1;
            range.usage.bytes += (own.len() + body_bytes) as u64;
        }
    }

    /// Ends the range of the last namespace; to be called with its last key.
    fn close(&mut self, last_key: &[u8]) {
        let Some((_, own)) = split(last_key) else { return };
        if let Some(range) = self.ranges.pop() {
            self.ranges.push(Range::new(range.usage, range.min, own.into()));
        }
    }

    /// Whether `key` lies in the range of its namespace.
    pub(super) fn may_hold(&self, key: &[u8]) -> bool {
        let Some((namespace, own)) = split(key) else { return false };
        let Ok(at) = self.ranges.binary_search_by_key(&namespace, |range| range.usage.namespace) else {
            return false;
        };
        self.ranges.get(at).is_some_and(|range| range.may_hold(own))
    }

    pub(super) fn usage(&self) -> impl Iterator<Item = NamespaceUsage> + '_ {
        self.ranges.iter().map(|range| range.usage)
    }

    pub(super) fn usage_of(&self, namespace: u32) -> Option<NamespaceUsage> {
        let at = self.ranges.binary_search_by_key(&namespace, |range| range.usage.namespace).ok()?;
        self.ranges.get(at).map(|range| range.usage)
    }

    /// The largest key of one namespace, without the namespace.
    pub(super) fn max_key_of(&self, namespace: u32) -> Option<&[u8]> {
        let at = self.ranges.binary_search_by_key(&namespace, |range| range.usage.namespace).ok()?;
        self.ranges.get(at).map(|range| &*range.max)
    }

    /// The smallest key of the run.
    pub(super) fn min_key(&self) -> Option<Vec<u8>> {
        self.ranges.first().map(|range| joined(range.usage.namespace, &range.min))
    }

    /// The largest key of the run.
    pub(super) fn max_key(&self) -> Option<Vec<u8>> {
        self.ranges.last().map(|range| joined(range.usage.namespace, &range.max))
    }

    /// Bytes the ranges take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.ranges.iter().map(|range| size_of::<Range>() + range.min.len() + range.max.len()).sum()
    }

    /// Appends the stored form.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.ranges.len() as u32).to_le_bytes());
        for range in &self.ranges {
            out.extend_from_slice(&range.usage.namespace.to_le_bytes());
            out.extend_from_slice(&range.usage.records.to_le_bytes());
            out.extend_from_slice(&range.usage.bytes.to_le_bytes());
            for key in [&range.min, &range.max] {
                out.extend_from_slice(&(key.len() as u32).to_le_bytes());
                out.extend_from_slice(key);
            }
        }
    }

    /// The counterpart of [`Ranges::encode`].
    pub(super) fn decode(stored: &[u8]) -> Result<Ranges, Error> {
        Ranges::parse(stored).map_err(damaged)
    }

    fn parse(stored: &[u8]) -> Result<Ranges, Malformed> {
        let mut cursor = Cursor::new(stored);
        let mut ranges: Vec<Range> = Vec::new();
        for _ in 0..cursor.u32("range count")? {
            let usage = NamespaceUsage {
                namespace: cursor.u32("range namespace")?,
                records: cursor.u64("range records")?,
                bytes: cursor.u64("range bytes")?,
            };
            let min_bytes = cursor.u32("range min length")? as usize;
            let min = cursor.take(min_bytes, "range min")?.into();
            let max_bytes = cursor.u32("range max length")? as usize;
            let range = Range::new(usage, min, cursor.take(max_bytes, "range max")?.into());
            let rising = ranges.last().is_none_or(|before| before.usage.namespace < usage.namespace);
            if !rising || range.min > range.max {
                return Err(Malformed("range order"));
            }
            ranges.push(range);
        }
        cursor.finish("ranges end")?;
        Ok(Ranges { ranges })
    }
}

impl Range {
    fn new(usage: NamespaceUsage, min: Box<[u8]>, max: Box<[u8]>) -> Range {
        let heads = (head(&min), head(&max));
        Range { usage, min, max, heads }
    }

    fn may_hold(&self, own: &[u8]) -> bool {
        let (low, high) = self.heads;
        let head = head(own);
        if head < low || head > high {
            return false;
        }
        // If the heads are equal, compare the whole keys.
        (head > low || own >= &*self.min) && (head < high || own <= &*self.max)
    }
}

/// The first eight bytes as a number; a shorter key is padded with zeros. Two heads compare like their keys, or are
/// equal.
fn head(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(key) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

fn split(key: &[u8]) -> Option<(u32, &[u8])> {
    Some((namespace_of(key)?, key.get(NAMESPACE_BYTES..)?))
}

fn joined(namespace: u32, own: &[u8]) -> Vec<u8> {
    [&namespace.to_be_bytes(), own].concat()
}
