//! Changed bytes, cut files, torn tails.

use super::disk::TestDisk;
use super::*;
use crate::error::ErrorKind;
use crate::journal::frame::SECTOR_BYTES;
use crate::journal::{framed_bytes, segment_name};
use proptest::prelude::*;

/// A damaged journal is refused, or it reads as it was.
fn refused_or_unharmed(disk: &Arc<TestDisk>, seal: Option<u64>, written: &[Seen], may_lose: usize) {
    match reopen(disk, start(), seal) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
        Ok((_, seen)) => {
            assert!(written.starts_with(&seen), "something else was read");
            assert!(written.len() - seen.len() <= may_lose, "lost {}", written.len() - seen.len());
        }
    }
}

#[test]
fn every_flipped_byte_is_refused_or_harmless() {
    let (disk, written) = sealed_journal();
    for number in 1..=3 {
        let name = segment_name(number);
        for at in 0..disk.read(&name).len() {
            for flip in [0x01, 0x80, 0xff] {
                let hurt = disk.copy();
                hurt.edit(&name, |bytes| bytes[at] ^= flip);
                refused_or_unharmed(&hurt, Some(7), &written, 0);
                // After a crash the last batch cannot be told from a torn one.
                refused_or_unharmed(&hurt, None, &written, 1);
            }
        }
    }
}

#[test]
fn every_shorter_or_missing_file_is_refused_or_harmless() {
    let (disk, written) = sealed_journal();
    for number in 1..=3 {
        let name = segment_name(number);
        for len in 0..disk.read(&name).len() {
            let hurt = disk.copy();
            hurt.edit(&name, |bytes| bytes.truncate(len));
            for seal in [Some(7), None] {
                assert_eq!(reopen(&hurt, start(), seal).unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
        let hurt = disk.copy();
        hurt.remove(&name).unwrap();
        refused_or_unharmed(&hurt, Some(7), &written, 0);
        assert_eq!(reopen(&hurt, start(), None).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn swapped_stale_and_foreign_segments_are_refused() {
    let (disk, _) = sealed_journal();
    let hurt = disk.copy();
    let (one, two) = (hurt.read(&segment_name(1)), hurt.read(&segment_name(2)));
    hurt.edit(&segment_name(1), |bytes| *bytes = two);
    hurt.edit(&segment_name(2), |bytes| *bytes = one);
    assert_eq!(reopen(&hurt, start(), None).unwrap_err().kind(), ErrorKind::Corrupt);

    let foreign = disk.copy();
    drop(prepare(&storage(&foreign), *b"some other store", 2, SMALL, 22, None, true).unwrap());
    assert_eq!(reopen(&foreign, start(), None).unwrap_err().kind(), ErrorKind::Corrupt);

    let salted = Start { salt: 12, ..start() };
    assert_eq!(reopen(&disk, salted, None).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_newer_version_is_named_so() {
    let (disk, _) = sealed_journal();
    disk.edit(&segment_name(1), |bytes| {
        bytes[8] = 2;
        let crc = crate::codec::crc32(&[&bytes[..12], &bytes[16..512]]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    assert_eq!(reopen(&disk, start(), Some(7)).unwrap_err().kind(), ErrorKind::TooNew);
}

/// Three durable batches and a fourth, of `len` bytes, that was being written.
fn journal_with_a_last_batch(len: usize) -> (Arc<TestDisk>, Vec<Seen>, usize) {
    let disk = TestDisk::new();
    let mut writer = Writer::start(roomy(&disk), 0);
    let mut written = Vec::new();
    let mut offset = SECTOR_BYTES;
    for batch in 1..=3 {
        written.push(append(&mut writer, batch, 50));
        writer.sync().unwrap();
        offset += framed_bytes(50);
    }
    written.push(append(&mut writer, 4, len));
    (disk, written, offset)
}

/// Opens a torn journal, writes on, and reads all of it again.
fn mended(disk: &Arc<TestDisk>, kept: &[Seen]) {
    let (mut recovered, seen) = reopen(disk, start(), None).unwrap();
    assert_eq!(seen, kept);
    let mut written = kept.to_vec();
    for batch in kept.len() as u64 + 1..=kept.len() as u64 + 2 {
        written.push(append(&mut recovered.writer, batch, 10));
        recovered.writer.sync().unwrap();
    }
    assert_eq!(reopen(disk, start(), None).unwrap().1, written);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let (disk, written, offset) = journal_with_a_last_batch(600);
    let whole = HEADER + 600;
    for arrived in 0..framed_bytes(600) {
        let torn = disk.copy();
        torn.edit(&segment_name(1), |bytes| bytes[offset + arrived..offset + framed_bytes(600)].fill(0));
        // What did not arrive may have been zeros anyway.
        let lost = (arrived..whole).any(|at| disk.read(&segment_name(1))[offset + at] != 0);
        mended(&torn, if lost { &written[..3] } else { &written });
    }
}

const HEADER: usize = 96;

#[test]
fn a_tail_with_any_of_its_sectors_is_cut() {
    let (disk, written, offset) = journal_with_a_last_batch(1500);
    let sectors = framed_bytes(1500) / SECTOR_BYTES;
    for arrived in 0..1usize << sectors {
        for missing in [0x00, 0xee] {
            let torn = disk.copy();
            torn.edit(&segment_name(1), |bytes| {
                for sector in (0..sectors).filter(|sector| arrived & 1 << sector == 0) {
                    let at = offset + sector * SECTOR_BYTES;
                    bytes[at..at + SECTOR_BYTES].fill(missing);
                }
            });
            let all = arrived + 1 == 1 << sectors;
            mended(&torn, if all { &written } else { &written[..3] });
        }
    }
}

/// Batches 1 and 2 durable, 3 to 6 written without a sync; all of one size.
fn journal_with_a_long_tail() -> (Arc<TestDisk>, Vec<Seen>) {
    let disk = TestDisk::new();
    let mut writer = Writer::start(roomy(&disk), 0);
    let mut written = Vec::new();
    for batch in 1..=6 {
        written.push(append(&mut writer, batch, 50));
        if batch == 2 {
            writer.sync().unwrap();
        }
    }
    (disk, written)
}

#[test]
fn a_long_tail_ends_at_its_first_damage_and_its_rest_never_comes_back() {
    for damaged in 3..=6usize {
        let (disk, mut written) = journal_with_a_long_tail();
        disk.edit(&segment_name(1), |bytes| bytes[damaged * SECTOR_BYTES + HEADER] ^= 1);
        let before = disk.copy();
        let (mut recovered, seen) = reopen(&disk, start(), None).unwrap();
        assert_eq!(seen, written[..damaged - 1]);
        assert!(recovered.cut);
        // New batches of the same size under the old numbers: they end where the old rest begins.
        written.truncate(damaged - 1);
        append(&mut recovered.writer, damaged as u64, 60);
        written.push((FrameKind::Data, damaged as u64, payload(damaged as u64, 60)));
        recovered.writer.sync().unwrap();
        assert_eq!(reopen(&disk, start(), None).unwrap().1, written, "the old rest is back");
        // A crash inside the mending finds the same end.
        for seed in 1..50 {
            let disk = before.copy();
            drop(reopen(&disk, start(), None).unwrap());
            let again = disk.cut_power(&mut super::disk::Dice(seed));
            assert_eq!(reopen(&again, start(), None).unwrap().1, written[..damaged - 1]);
        }
    }
}

#[test]
fn damage_below_what_a_later_batch_calls_durable_is_corruption() {
    for damaged in 1..=2usize {
        let (disk, _) = journal_with_a_long_tail();
        disk.edit(&segment_name(1), |bytes| bytes[damaged * SECTOR_BYTES + HEADER] ^= 1);
        assert_eq!(reopen(&disk, start(), None).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_damaged_length_hides_no_witness() {
    let (disk, _) = sealed_journal();
    for length in [0u32, 1, 4000, u32::MAX] {
        let hurt = disk.copy();
        hurt.edit(&segment_name(1), |bytes| {
            bytes[SECTOR_BYTES + 8..SECTOR_BYTES + 12].copy_from_slice(&length.to_le_bytes());
        });
        assert_eq!(reopen(&hurt, start(), None).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_torn_first_frame_of_the_successor_is_cut_there() {
    let disk = TestDisk::new();
    let mut writer = Writer::start(prepared(&disk, 1, 11), 0);
    writer.install_next(prepared(&disk, 2, 22));
    let mut written = vec![append(&mut writer, 1, 2000)];
    writer.sync().unwrap();
    append(&mut writer, 2, 2000);
    assert_eq!(writer.current().segment, 2);
    disk.edit(&segment_name(2), |bytes| bytes[SECTOR_BYTES + HEADER] ^= 1);
    let (mut recovered, seen) = reopen(&disk, start(), None).unwrap();
    assert_eq!(seen, written);
    assert!(recovered.cut && recovered.writer.has_next());
    written.push(append(&mut recovered.writer, 2, 20));
    written.push(append(&mut recovered.writer, 3, 1800));
    recovered.writer.sync().unwrap();
    assert_eq!(recovered.writer.current().segment, 2);
    assert_eq!(reopen(&disk, start(), None).unwrap().1, written);
}

proptest! {
    #[test]
    fn noise_is_refused_or_read_as_a_prefix(
        noise in prop::collection::vec((1u64..=3, 0usize..4096, prop::collection::vec(any::<u8>(), 1..700)), 1..6),
        sealed: bool,
    ) {
        let (disk, written) = sealed_journal();
        for (number, at, bytes) in &noise {
            disk.edit(&segment_name(*number), |old| {
                let end = (at + bytes.len()).min(old.len());
                old[*at..end].copy_from_slice(&bytes[..end - at]);
            });
        }
        if let Ok((_, seen)) = reopen(&disk, start(), sealed.then_some(7)) {
            prop_assert!(written.starts_with(&seen));
        }
    }

    /// The frame decoder and the scanner on bytes that were never a journal.
    #[test]
    fn no_bytes_make_the_scanner_panic(mut bytes: Vec<u8>, capacity in 0usize..1 << 40, offset in 0usize..3000) {
        use crate::journal::{frame::Place, scan};
        if let Some(magic) = bytes.get_mut(..4) {
            magic.copy_from_slice(b"CSJF");
        }
        let place = Place { salt: 1, offset, capacity };
        let mut chain = scan::Chain::behind(u64::MAX);
        let _ = scan::step(&bytes, place, &mut chain);
        let _ = scan::judge(&bytes, place, 0);
        let _ = scan::sectors_to_clear(&bytes, place).count();
    }
}
