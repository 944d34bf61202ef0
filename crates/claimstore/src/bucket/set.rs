//! The set of all runs, and look-ups in it.

use super::{BlockCache, BucketId, Run};
use crate::codec::{Record, State};
use crate::error::Error;
use crate::planted;
use crate::sync::Arc;

/// All live runs at one moment. Immutable: a checkpoint, merge or prune publishes a new set.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunSet {
    /// Sorted by largest sequence number, descending, so that a look-up finds the newest version early.
    runs: Vec<Arc<Run>>,
}

/// The newest version of a key in the runs, and its bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// May be a tombstone (`State::Erased`).
    pub(crate) record: Record,
    pub(crate) bucket: BucketId,
}

/// A subset of a set's runs, one bit per place. The last bit stands for all runs from that place on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Among(u64);

impl Among {
    const LAST: usize = 63;

    fn add(&mut self, at: usize) {
        self.0 |= 1 << at.min(Among::LAST);
    }

    fn has(self, at: usize) -> bool {
        self.0 >> at.min(Among::LAST) & 1 != 0
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Whether a version (its sequence number, and whether it is a tombstone) is newer than `other`.
///
/// A record and the tombstones over its older versions in other buckets have the same number: the record wins.
pub(crate) fn is_newer((seq, tombstone): (u64, bool), other: &Record) -> bool {
    seq > other.seq || seq == other.seq && !tombstone && other.state == State::Erased
}

impl RunSet {
    /// A set of these runs.
    pub(crate) fn new(mut runs: Vec<Arc<Run>>) -> RunSet {
        runs.sort_by_key(|run| std::cmp::Reverse((run.summary().max_seq, run.number())));
        RunSet { runs }
    }

    /// This set without the runs of the numbers `removed`, and with `added`.
    pub(crate) fn with(&self, added: Vec<Arc<Run>>, removed: &[u64]) -> RunSet {
        let kept = self.runs.iter().filter(|run| !removed.contains(&run.number())).cloned();
        RunSet::new(kept.chain(added).collect())
    }

    /// The runs, by largest sequence number, descending.
    pub(crate) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// The newest version of `key` in all runs except those of the open bucket. It may be a tombstone.
    pub(crate) fn lookup(&self, key: &[u8], hash: u64, cache: &BlockCache) -> Result<Option<Found>, Error> {
        if planted::active(76) {
            return self.newest(key, cache, |_, _| true);
        }
        self.newest(key, cache, |_, run| run.may_hold(key, hash))
    }

    /// The same for a key whose filters were asked by [`may_hold`](RunSet::may_hold).
    pub(crate) fn lookup_among(
        &self,
        key: &[u8],
        hash: u64,
        among: Among,
        cache: &BlockCache,
    ) -> Result<Option<Found>, Error> {
        // The last bit says nothing about a single run, so those filters are asked again.
        self.newest(key, cache, |at, run| among.has(at) && (at < Among::LAST || run.may_hold(key, hash)))
    }

    fn newest(
        &self,
        key: &[u8],
        cache: &BlockCache,
        may_hold: impl Fn(usize, &Run) -> bool,
    ) -> Result<Option<Found>, Error> {
        let mut found: Option<Found> = None;
        for (at, run) in self.runs.iter().enumerate() {
            // No version in this run, or in any that follows, is newer than the one found.
            if found.as_ref().is_some_and(|found| !is_newer((run.summary().max_seq, false), &found.record)) {
                break;
            }
            if run.bucket() == BucketId::Open || !may_hold(at, run) {
                continue;
            }
            let Some(record) = run.get(key, cache)? else { continue };
            let version = (record.seq, record.state == State::Erased);
            if found.as_ref().is_none_or(|found| is_newer(version, &found.record)) {
                found = Some(Found { record, bucket: run.bucket() });
            }
        }
        Ok(found)
    }

    /// For each key, given with its hash: the runs that may hold it. No other run does.
    ///
    /// Goes run by run, not key by key: see [`Run::may_hold_each`].
    pub(crate) fn may_hold(&self, keys: &[(&[u8], u64)]) -> Vec<Among> {
        let (mut among, mut scratch) = (vec![Among::default(); keys.len()], Vec::with_capacity(keys.len()));
        for (at, run) in self.runs.iter().enumerate().filter(|(_, run)| run.bucket() != BucketId::Open) {
            let mark =
                |place: usize| among.get_mut(place).into_iter().for_each(|among: &mut Among| among.add(at));
            run.may_hold_each(keys, &mut scratch, mark);
        }
        among
    }

    /// The newest version of `key` in every bucket that has one, including the open bucket. A version may be a
    /// tombstone.
    pub(crate) fn buckets_holding(
        &self,
        key: &[u8],
        hash: u64,
        cache: &BlockCache,
    ) -> Result<Vec<(BucketId, Record)>, Error> {
        let mut versions: Vec<(BucketId, Record)> = Vec::new();
        for run in &self.runs {
            if !run.may_hold(key, hash) {
                continue;
            }
            let Some(record) = run.get(key, cache)? else { continue };
            match versions.iter_mut().find(|(bucket, _)| *bucket == run.bucket()) {
                Some((_, newest)) if newest.seq < record.seq => *newest = record,
                Some(_) => {}
                None => versions.push((run.bucket(), record)),
            }
        }
        Ok(versions)
    }

    /// The runs whose bucket has ended at store time `now_ms`: all their records have expired.
    pub(crate) fn ended(&self, now_ms: u64) -> Vec<u64> {
        let by_ms = |bucket: BucketId| {
            let mut end_ms = bucket.end_ms();
            if planted::active(18) {
                // About when the records were created: a ttl is eight widths.
                if let BucketId::Timed { class, .. } = bucket {
                    end_ms = end_ms.map(|end_ms| end_ms.saturating_sub(8 << class));
                }
            }
            end_ms
        };
        let ended = |run: &&Arc<Run>| by_ms(run.bucket()).is_some_and(|end_ms| end_ms <= now_ms);
        self.runs.iter().filter(ended).map(|run| run.number()).collect()
    }

    /// Records and bytes of a namespace, without the open bucket. A key with several versions counts once per version
    /// until they are merged.
    pub(crate) fn usage(&self, namespace: u32) -> (u64, u64) {
        let closed = self.runs.iter().filter(|run| run.bucket() != BucketId::Open);
        let usages = closed.filter_map(|run| run.usage_of(namespace));
        usages.fold((0, 0), |(records, bytes), usage| (records + usage.records, bytes + usage.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, Rows, TIMED, any_rows, completed, key};
    use super::{BlockCache, BucketId, RunSet};
    use crate::codec::{Record, State};
    use proptest::prelude::*;

    const BUCKETS: [BucketId; 3] = [BucketId::Held, TIMED, BucketId::Open];

    /// Numbers all versions, ascending from set to set.
    fn number(sets: Vec<(usize, Rows)>) -> Vec<(BucketId, Rows)> {
        let mut seq = 0;
        let numbered = sets.into_iter().map(|(bucket, mut rows)| {
            for record in rows.values_mut() {
                seq += 1;
                (record.seq, record.token) = (seq, record.token.min(seq));
            }
            (BUCKETS[bucket], rows)
        });
        numbered.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn lookups_find_the_newest_version(sets in prop::collection::vec((0..3usize, any_rows(60)), 1..6), order: u64) {
            let (fixture, cache) = (Fixture::new(), BlockCache::new(1 << 20));
            let sets = number(sets);
            let mut runs: Vec<_> = (1..).zip(&sets).map(|(n, (bucket, rows))| fixture.run(n, *bucket, rows)).collect();
            let turn = order as usize % runs.len();
            runs.rotate_left(turn);
            let set = RunSet::new(runs);
            for key in sets.iter().flat_map(|(_, rows)| rows.keys()).chain([&key(1, b"never seen")]) {
                let hash = fixture.hasher.hash(key);
                let versions = || sets.iter().filter_map(|(bucket, rows)| Some((*bucket, rows.get(key)?)));
                let newest = |wanted: &dyn Fn(BucketId) -> bool| versions().filter(|(b, _)| wanted(*b)).max_by_key(|(_, r)| r.seq);
                let found = set.lookup(key, hash, &cache).unwrap();
                let among = set.may_hold(&[(key, hash)])[0];
                prop_assert!(found.is_none() || !among.is_none());
                prop_assert_eq!(&set.lookup_among(key, hash, among, &cache).unwrap(), &found);
                let expected = newest(&|bucket| bucket != BucketId::Open);
                prop_assert_eq!(found.as_ref().map(|found| (found.bucket, &found.record)), expected);
                let holding = set.buckets_holding(key, hash, &cache).unwrap();
                for bucket in BUCKETS {
                    let held = holding.iter().find(|(b, _)| *b == bucket).map(|(b, record)| (*b, record));
                    prop_assert_eq!(held, newest(&|b| b == bucket));
                }
            }
        }
    }

    /// More runs than `Among` has bits: without merges their number is unbounded.
    #[test]
    fn a_version_is_found_among_any_number_of_runs() {
        let (fixture, cache) = (Fixture::new(), BlockCache::new(1 << 20));
        let name = |n: u64| key(1, &n.to_be_bytes());
        let run = |n: u64| fixture.run(n, TIMED, [(&name(n), &completed(n, b""))]);
        let set = RunSet::new((1..=150).map(run).collect());
        let keys: Vec<(Vec<u8>, u64)> = (1..=151).map(|n| (name(n), fixture.hasher.hash(&name(n)))).collect();
        let asked: Vec<(&[u8], u64)> = keys.iter().map(|(key, hash)| (&**key, *hash)).collect();
        for (n, ((key, hash), among)) in (1..).zip(asked.iter().zip(set.may_hold(&asked))) {
            let found = set.lookup_among(key, *hash, among, &cache).unwrap();
            assert_eq!(found.map(|found| found.record.seq), (n <= 150).then_some(n));
            assert_eq!(among.is_none(), n == 151, "no filter has a bit of it, as the fixture's hashes fall");
        }
    }

    #[test]
    fn runs_come_and_go_and_end() {
        let fixture = Fixture::new();
        let later = BucketId::Timed { class: 27, index: u64::MAX >> 27 };
        let one = fixture.run(
            1,
            TIMED,
            [(&key(1, b"a"), &completed(5, b"12345")), (&key(2, b"a"), &completed(6, b""))],
        );
        let two = fixture.run(
            2,
            later,
            [(&key(1, b"bc"), &completed(9, b"")), (&key(1, b"d"), &Record::erased(10))],
        );
        let open = fixture.run(3, BucketId::Open, [(&key(1, b"e"), &completed(11, b"12345"))]);
        let set = RunSet::new(vec![one.clone(), open]).with(vec![two], &[]);
        assert_eq!(set.runs().iter().map(|run| run.number()).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(set.usage(1), (2, 6 + 2));
        assert_eq!(set.usage(2), (1, 1));
        assert_eq!(set.usage(3), (0, 0));
        let end_ms = TIMED.end_ms().unwrap();
        assert_eq!(set.ended(end_ms - 1), [0; 0]);
        assert_eq!(set.ended(end_ms), [1]);
        let left = set.with(Vec::new(), &[1, 2]);
        assert_eq!(left.runs().iter().map(|run| run.number()).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_tombstone_is_an_answer() {
        let (fixture, cache) = (Fixture::new(), BlockCache::new(0));
        let key = key(1, b"a");
        let old = fixture.run(1, TIMED, [(&key, &completed(5, b""))]);
        let new = fixture.run(2, TIMED, [(&key, &Record::erased(6))]);
        let found = RunSet::new(vec![old, new]).lookup(&key, fixture.hasher.hash(&key), &cache).unwrap();
        assert_eq!(found.unwrap().record.state, State::Erased);
    }
}
