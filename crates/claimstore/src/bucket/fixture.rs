//! What the tests of this module share: a storage in memory with a few runs in it.

use super::{BucketId, KeyHasher, Run, RunSummary, RunWriter, run_file_name};
use crate::codec::{Fingerprint, Record, State};
use crate::error::Error;
use crate::io::{MemoryStorage, OpenMode, Storage};
use crate::sync::Arc;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) const STORE_ID: [u8; 16] = [0x5a; 16];
pub(super) const TTL_MS: u64 = 7 * 24 * 3_600_000;
pub(super) const NOW_MS: u64 = 1_800_000_000_000;

/// A bucket that `completed` records fit in.
pub(super) const TIMED: BucketId = BucketId::Timed { class: 27, index: (NOW_MS + TTL_MS + (1 << 28)) >> 27 };

pub(super) type Rows = BTreeMap<Vec<u8>, Record>;

pub(super) struct Fixture {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) hasher: KeyHasher,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        storage.create_dir("runs").unwrap();
        Fixture { storage, hasher: KeyHasher::new([7; 16]) }
    }

    pub(super) fn writer(&self, number: u64, bucket: BucketId, hint: usize) -> RunWriter {
        RunWriter::create(&self.storage, STORE_ID, number, bucket, hint).unwrap()
    }

    pub(super) fn write<'a>(
        &self,
        number: u64,
        bucket: BucketId,
        rows: impl IntoIterator<Item = (&'a Vec<u8>, &'a Record)>,
    ) -> RunSummary {
        let mut writer = self.writer(number, bucket, 16);
        for (key, record) in rows {
            writer.push(key, self.hasher.hash(key), record).unwrap();
        }
        writer.finish().unwrap()
    }

    pub(super) fn open(&self, summary: &RunSummary) -> Result<Arc<Run>, Error> {
        Run::open(&self.storage, STORE_ID, summary, &self.hasher).map(Arc::new)
    }

    pub(super) fn run<'a>(
        &self,
        number: u64,
        bucket: BucketId,
        rows: impl IntoIterator<Item = (&'a Vec<u8>, &'a Record)>,
    ) -> Arc<Run> {
        let run = self.open(&self.write(number, bucket, rows)).unwrap();
        assert_eq!(run.verify().unwrap(), run.summary().rows);
        run
    }

    pub(super) fn file_bytes(&self, number: u64) -> Vec<u8> {
        let file = self.storage.open(&run_file_name(number), OpenMode::Existing).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    pub(super) fn replace_file(&self, number: u64, bytes: &[u8]) {
        let file = self.storage.open(&run_file_name(number), OpenMode::Existing).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    }
}

pub(super) fn key(namespace: u32, own: &[u8]) -> Vec<u8> {
    [&namespace.to_be_bytes(), own].concat()
}

/// A typical record: claimed, completed 50 ms later, remembered for a week.
pub(super) fn completed(seq: u64, body: &[u8]) -> Record {
    let claimed_at_ms = NOW_MS + seq / 100;
    Record {
        seq,
        token: seq - seq.min(1),
        attempt: 1,
        state: State::Completed,
        claimed_at_ms,
        settled_at_ms: claimed_at_ms + 50,
        until_ms: claimed_at_ms + 50 + TTL_MS,
        ttl_ms: TTL_MS,
        lease_ms: 0,
        fingerprint: None,
        body: body.into(),
        extra: None,
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let states =
        [State::InProgress, State::Completed, State::Failed, State::Retry, State::Parked, State::Erased];
    let body = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..80),
        1 => prop::collection::vec(any::<u8>(), 0..20_000),
    ];
    let fingerprint = prop::option::of(any::<(u8, [u8; 32])>());
    let numbers = (any::<u64>(), any::<u32>(), any::<[u64; 3]>(), 0..NOW_MS);
    (prop::sample::select(states.to_vec()), numbers, fingerprint, body).prop_map(
        |(state, (seq, attempt, times, until_ms), fingerprint, body)| {
            if state == State::Erased {
                return Record::erased(seq);
            }
            Record {
                seq,
                token: seq / 2,
                attempt,
                state,
                claimed_at_ms: times[0],
                settled_at_ms: if state == State::InProgress { 0 } else { times[1] },
                until_ms,
                ttl_ms: times[2],
                lease_ms: if state.expires() { 0 } else { times[1] },
                fingerprint: fingerprint.map(|(scheme, digest)| Box::new(Fingerprint { scheme, digest })),
                body: body.into(),
                extra: None,
            }
        },
    )
}

/// Sets of rows with few, close keys, so that sets meet; numbers are made unique by the caller.
pub(super) fn any_rows(most: usize) -> impl Strategy<Value = Rows> {
    let own = prop_oneof![
        prop::collection::vec(0u8..4, 0..5),
        prop::collection::vec(any::<u8>(), 0..40),
        (0u32..3000).prop_map(|n| format!("customer-{n:08}").into_bytes()),
    ];
    let key = (prop::sample::select(vec![0u32, 1, 256, u32::MAX]), own).prop_map(|(ns, own)| key(ns, &own));
    prop::collection::btree_map(key, any_record(), 1..most)
}
