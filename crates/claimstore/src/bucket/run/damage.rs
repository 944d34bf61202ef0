//! Damaged, swapped and foreign run files: every answer is right, or an error.

use super::{Arc, BlockCache, Run, RunSummary, run_file_name};
use crate::bucket::KeyHasher;
use crate::bucket::fixture::{Fixture, Rows, STORE_ID, TIMED, completed, key};
use crate::bucket::footer::FOOTER_BYTES;
use crate::bucket::footer::Section;
use crate::bucket::section::SectionReader;
use crate::codec::{Cursor, Record, crc32};
use crate::error::{Error, ErrorKind};
use crate::io::OpenMode;
use proptest::prelude::*;

/// Two namespaces, tombstones, a row larger than a block, several blocks.
fn small_run(fixture: &Fixture) -> (RunSummary, Rows) {
    let mut rows: Rows = (0..60u64)
        .map(|n| (key(1, format!("key-{n:03}").as_bytes()), completed(n, &[n as u8; 30])))
        .collect();
    rows.insert(key(1, b"key-030-large"), completed(99, &[7; 9_000]));
    rows.insert(key(2, b"other"), Record::erased(100));
    (fixture.write(1, TIMED, &rows), rows)
}

/// Asks everything of a damaged run: every answer is right or `Corrupt`. Answers whether damage was seen.
fn ask_everything(fixture: &Fixture, summary: &RunSummary, rows: &Rows) -> bool {
    let mut seen = false;
    let mut failed = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        seen = true;
    };
    let run = match fixture.open(summary) {
        Ok(run) => run,
        Err(error) => {
            failed(error);
            return true;
        }
    };
    let cache = BlockCache::new(1 << 20);
    for key in rows.keys().chain([&key(1, b"key-030-absent"), &key(1, b"key-000-absent")]) {
        assert!(!rows.contains_key(key) || run.may_hold(key, fixture.hasher.hash(key)));
        match run.get(key, &cache) {
            Ok(record) => assert_eq!(record.as_ref(), rows.get(key)),
            Err(error) => failed(error),
        }
    }
    match read_all(&run) {
        Ok(read) => assert_eq!(&read, rows),
        Err(error) => failed(error),
    }
    match run.verify() {
        Ok(counted) => assert_eq!(counted, rows.len() as u64),
        Err(error) => failed(error),
    }
    seen
}

#[test]
fn no_flipped_byte_gives_a_wrong_answer() {
    let fixture = Fixture::new();
    let (summary, rows) = small_run(&fixture);
    assert!(!ask_everything(&fixture, &summary, &rows));
    let good = fixture.file_bytes(1);
    let mut bytes = good.clone();
    for at in 0..good.len() {
        // One changed bit, and all of them.
        for flip in [1u8 << (at % 8), 0xff] {
            bytes[at] = good[at] ^ flip;
            fixture.replace_file(1, &bytes);
            assert!(ask_everything(&fixture, &summary, &rows), "byte {at} can change unseen");
        }
        bytes[at] = good[at];
    }
}

#[test]
fn a_cut_or_grown_file_is_refused() {
    let fixture = Fixture::new();
    let (summary, _) = small_run(&fixture);
    let good = fixture.file_bytes(1);
    for length in 0..good.len() {
        fixture.replace_file(1, &good[..length]);
        assert_eq!(fixture.open(&summary).unwrap_err().kind(), ErrorKind::Corrupt);
        let believed = RunSummary { bytes: length as u64, ..summary.clone() };
        assert_eq!(fixture.open(&believed).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    fixture.replace_file(1, &[good, vec![0]].concat());
    assert_eq!(fixture.open(&summary).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_damaged_filter_is_built_again_and_reported() {
    let fixture = Fixture::new();
    let (summary, rows) = small_run(&fixture);
    let filter = fixture.open(&summary).unwrap().footer.filter;
    let mut bytes = fixture.file_bytes(1);
    bytes[filter.offset as usize..][..filter.length as usize].fill(0);
    fixture.replace_file(1, &bytes);
    let run = fixture.open(&summary).unwrap();
    assert!(run.filter_was_rebuilt());
    assert!(rows.keys().all(|key| run.may_hold(key, fixture.hasher.hash(key))));
    assert_eq!(run.verify().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_run_of_another_place_is_refused() {
    let fixture = Fixture::new();
    let (summary, rows) = small_run(&fixture);
    let other = fixture.write(2, TIMED, &rows);
    assert_ne!(summary.digest, other.digest);
    fixture.replace_file(1, &fixture.file_bytes(2));
    let check = |store_id, summary: &RunSummary, hash_key| {
        let opened = Run::open(&fixture.storage, store_id, summary, &KeyHasher::new(hash_key));
        opened.map(drop).map_err(|error| error.kind())
    };
    assert_eq!(check(STORE_ID, &other, [7; 16]), Ok(()));
    assert_eq!(check(STORE_ID, &summary, [7; 16]), Err(ErrorKind::Corrupt));
    assert_eq!(check(STORE_ID, &RunSummary { number: 1, ..other.clone() }, [7; 16]), Err(ErrorKind::Corrupt));
    assert_eq!(check([0; 16], &other, [7; 16]), Err(ErrorKind::Corrupt));
    assert_eq!(check(STORE_ID, &other, [8; 16]), Err(ErrorKind::Corrupt));
    assert_eq!(check(STORE_ID, &RunSummary { number: 3, ..other }, [7; 16]), Err(ErrorKind::Corrupt));
}

#[test]
fn blocks_that_changed_places_are_refused() {
    let fixture = Fixture::new();
    let rows: Rows = (0..2_000u64).map(|n| (key(1, &n.to_be_bytes()), completed(5, b"12345678"))).collect();
    let run = fixture.run(1, TIMED, &rows);
    let places: Vec<_> = (0..run.index.blocks()).map(|n| run.index.place(n).unwrap()).collect();
    let twins = places.iter().flat_map(|one| places.iter().map(move |two| (*one, *two)));
    let mut twins = twins.filter(|(one, two)| one.number < two.number && one.length == two.length);
    let (one, two) = twins.next().unwrap();
    let mut bytes = fixture.file_bytes(1);
    let (first, second) = bytes.split_at_mut(two.offset as usize);
    first[one.offset as usize..][..one.length].swap_with_slice(&mut second[..two.length]);
    fixture.replace_file(1, &bytes);
    let (answered, refused): (Vec<_>, Vec<_>) = rows
        .keys()
        .map(|key| (key, run.get(key, &BlockCache::new(0))))
        .partition(|(_, answer)| answer.is_ok());
    assert!(!refused.is_empty());
    assert!(answered.iter().all(|(key, answer)| answer.as_ref().unwrap().as_ref() == rows.get(*key)));
    assert_eq!(read_all(&run).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_newer_version_is_left_alone() {
    let fixture = Fixture::new();
    let (summary, _) = small_run(&fixture);
    let mut bytes = fixture.file_bytes(1);
    let end = bytes.len();
    bytes[end - 12] = 2;
    let digest = crc32(&[&bytes[end - FOOTER_BYTES..end - 8]]);
    bytes[end - 8..end - 4].copy_from_slice(&digest.to_le_bytes());
    fixture.replace_file(1, &bytes);
    let error = fixture.open(&RunSummary { digest, ..summary }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooNew);
}

/// Fails when the format changes: then the version has to, and old files need a fixture.
#[test]
fn the_format_is_frozen() {
    let (summary, _) = small_run(&Fixture::new());
    assert_eq!((summary.bytes, summary.digest), (12_250, 986_847_102));
}

proptest! {
    #[test]
    fn noise_is_refused(noise: Vec<u8>, digest: u32) {
        let fixture = Fixture::new();
        let summary = RunSummary { bytes: noise.len() as u64, digest, ..small_run(&fixture).0 };
        fixture.replace_file(1, &noise);
        prop_assert_eq!(fixture.open(&summary).unwrap_err().kind(), ErrorKind::Corrupt);
        let _ = RunSummary::decode(&mut Cursor::new(&noise));
        let _ = super::Ranges::decode(&noise);
        let section = Section { offset: 0, length: noise.len() as u64, crc: crc32(&[&noise]) };
        let file = fixture.storage.open(&run_file_name(1), OpenMode::Existing).unwrap();
        let _ = super::Index::read(SectionReader::new(&*file, &section, "noise"), b"1234", 100);
    }
}

fn read_all(run: &Arc<Run>) -> Result<Rows, Error> {
    run.iter(None).map(|row| row.map(|(key, record)| (key.into(), record))).collect()
}
