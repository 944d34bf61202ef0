//! The journal as a whole: written, damaged, cut, and read again.

mod damage;
mod disk;
mod history;
mod order;

use super::frame::FrameKind;
use super::segment::Prepared;
use super::{BatchHead, Recovered, Start, Writer, prepare, recover};
use crate::error::Error;
use crate::io::Storage;
use crate::sync::Arc;
use disk::TestDisk;

const STORE: [u8; 16] = *b"the store's name";
const SMALL: u64 = 4096;

/// What a frame said, apart from what the writer fills in.
type Seen = (FrameKind, u64, Vec<u8>);

fn storage(disk: &Arc<TestDisk>) -> Arc<dyn Storage> {
    disk.clone()
}

fn prepared(disk: &Arc<TestDisk>, number: u64, salt: u64) -> Prepared {
    prepare(&storage(disk), STORE, number, SMALL, salt, None, true).unwrap()
}

fn roomy(disk: &Arc<TestDisk>) -> Prepared {
    prepare(&storage(disk), STORE, 1, 2 * SMALL, 11, None, true).unwrap()
}

fn start() -> Start {
    Start { segment: 1, salt: 11, batch: 0 }
}

fn head(batch: u64) -> BatchHead {
    let (first_seq, last_seq) = (batch * 10, batch * 10 + 9);
    BatchHead { batch, durable: 0, mark_ms: batch * 1_000, generation: 7, first_seq, last_seq, ops: 10 }
}

fn payload(batch: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (batch as usize * 31 + at * 7) as u8).collect()
}

fn append(writer: &mut Writer, batch: u64, len: usize) -> Seen {
    let payload = payload(batch, len);
    writer.append(&head(batch), &payload).unwrap();
    (FrameKind::Data, batch, payload)
}

fn reopen(disk: &Arc<TestDisk>, start: Start, seal: Option<u64>) -> Result<(Recovered, Vec<Seen>), Error> {
    let mut seen = Vec::new();
    let recovered = recover(&storage(disk), STORE, start, seal, &mut |frame| {
        seen.push((frame.kind, frame.head.batch, frame.payload.to_vec()));
        Ok(())
    })?;
    assert_eq!(recovered.frames, seen.len() as u64);
    Ok((recovered, seen))
}

/// Two segments and a seal: batches 1 to 6 as data, 7 as the seal.
fn sealed_journal() -> (Arc<TestDisk>, Vec<Seen>) {
    let disk = TestDisk::new();
    let mut writer = Writer::start(prepared(&disk, 1, 11), 0);
    let mut written = Vec::new();
    for (batch, len) in [(1, 100), (2, 700), (3, 0)] {
        written.push(append(&mut writer, batch, len));
        writer.sync().unwrap();
    }
    writer.install_next(prepared(&disk, 2, 22));
    for (batch, len) in [(4, 400), (5, 1000), (6, 416)] {
        written.push(append(&mut writer, batch, len));
        writer.sync().unwrap();
    }
    writer.install_next(prepared(&disk, 3, 33));
    writer.seal(&head(7)).unwrap();
    written.push((FrameKind::Seal, 7, Vec::new()));
    assert_eq!(writer.current(), Start { segment: 2, salt: 22, batch: 4 });
    (disk, written)
}

#[test]
fn what_was_written_is_read() {
    let (disk, written) = sealed_journal();
    for seal in [Some(7), None] {
        let (recovered, seen) = reopen(&disk, start(), seal).unwrap();
        assert_eq!(seen, written);
        let last = recovered.last.unwrap();
        assert_eq!((last.batch, last.durable, last.mark_ms, last.generation), (7, 6, 7_000, 7));
        assert!(recovered.sealed && !recovered.cut && recovered.writer.has_next());
        let spans: Vec<_> =
            recovered.segments.iter().map(|live| (live.start, live.first_seq, live.last_seq)).collect();
        let second = Start { segment: 2, salt: 22, batch: 4 };
        assert_eq!(spans, [(start(), 10, 49), (second, 50, 69)]);
        assert_eq!(recovered.spare, [0_u64; 0], "the third segment is named, so it is the writer's");
        assert_eq!(recovered.writer.next_number(), 4);
        assert_eq!(reopen(&disk, second, seal).unwrap().1, written[4..], "replay may begin at any segment");
    }
    assert!(reopen(&disk, start(), Some(6)).is_err(), "not the seal the catalogue knows");
}

#[test]
fn after_a_seal_it_goes_on_in_the_same_segment() {
    let disk = TestDisk::new();
    let mut writer = Writer::start(roomy(&disk), 0);
    append(&mut writer, 1, 100);
    writer.seal(&head(2)).unwrap();
    let (mut recovered, _) = reopen(&disk, start(), Some(2)).unwrap();
    append(&mut recovered.writer, 3, 20);
    recovered.writer.sync().unwrap();
    assert!(reopen(&disk, start(), Some(2)).is_err(), "no longer sealed");
    let (recovered, seen) = reopen(&disk, start(), None).unwrap();
    let kinds: Vec<_> = seen.iter().map(|(kind, batch, _)| (*kind, *batch)).collect();
    assert_eq!(kinds, [(FrameKind::Data, 1), (FrameKind::Seal, 2), (FrameKind::Data, 3)]);
    assert!(!recovered.sealed);
    assert_eq!(recovered.writer.current(), start());
}

#[test]
fn an_empty_journal_is_one() {
    let disk = TestDisk::new();
    drop(Writer::start(prepared(&disk, 1, 11), 40));
    let from = Start { batch: 40, ..start() };
    let (mut recovered, seen) = reopen(&disk, from, None).unwrap();
    assert!(seen.is_empty() && recovered.last.is_none() && !recovered.cut);
    append(&mut recovered.writer, 41, 5);
    assert_eq!(reopen(&disk, from, None).unwrap().1.len(), 1);
}

#[test]
fn a_batch_without_room_is_refused_and_leaves_nothing() {
    let disk = TestDisk::new();
    let mut writer = Writer::start(prepared(&disk, 1, 11), 0);
    let room = writer.room();
    assert_eq!((room.current, room.next), (4096 - 3 * 512 - 96, None));
    append(&mut writer, 1, room.current as usize);
    assert_eq!(writer.room().current, 0);
    let full = writer.append(&head(2), &[]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    writer.install_next(prepared(&disk, 2, 22));
    assert_eq!(writer.room().next, Some(room.current));
    assert!(writer.append(&head(2), &vec![0; room.current as usize + 1]).is_err());
    assert_eq!(writer.current().segment, 1, "a batch too large for the successor moves nothing");
    append(&mut writer, 2, room.current as usize);
    writer.seal(&head(3)).unwrap();
    let (_, seen) = reopen(&disk, start(), Some(3)).unwrap();
    let kinds: Vec<_> = seen.iter().map(|(kind, batch, _)| (*kind, *batch)).collect();
    let expected = [(FrameKind::Data, 1), (FrameKind::Link, 1), (FrameKind::Data, 2), (FrameKind::Seal, 3)];
    assert_eq!(kinds, expected, "nobody had named the successor: a link does");
}

#[test]
fn a_seal_finds_room_behind_the_largest_batch_and_so_does_a_link() {
    let disk = TestDisk::new();
    let mut writer = Writer::start(prepared(&disk, 1, 11), 0);
    let room = writer.room().current as usize;
    append(&mut writer, 1, room);
    writer.seal(&head(2)).unwrap();
    let (mut recovered, _) = reopen(&disk, start(), Some(2)).unwrap();
    assert!(recovered.writer.seal(&head(3)).is_err(), "the last sector belongs to the link");
    recovered.writer.install_next(prepared(&disk, 2, 22));
    recovered.writer.seal(&head(3)).unwrap();
    assert_eq!(reopen(&disk, start(), Some(3)).unwrap().1.len(), 4);
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let disk = TestDisk::new();
    let mut writer = Writer::start(prepared(&disk, 1, 11), 0);
    append(&mut writer, 1, 10);
    let backwards = BatchHead { first_seq: 19, ..head(2) };
    for bad in [head(1), head(3), backwards, BatchHead { last_seq: 3, ..head(2) }] {
        let error = writer.append(&bad, b"x").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    append(&mut writer, 2, 10);
    assert_eq!(reopen(&disk, start(), None).unwrap().1.len(), 2);
}

#[test]
fn old_frames_of_a_recycled_segment_do_not_count() {
    let (disk, _) = sealed_journal();
    let second = Start { segment: 2, salt: 22, batch: 4 };
    let (mut recovered, _) = reopen(&disk, second, None).unwrap();
    assert_eq!(recovered.spare, [1]);
    append(&mut recovered.writer, 8, 1200);
    let next = prepare(&storage(&disk), STORE, 4, SMALL, 44, Some(1), true).unwrap();
    recovered.writer.install_next(next);
    // These two end where a whole frame of the file's first life begins.
    append(&mut recovered.writer, 9, 1200);
    append(&mut recovered.writer, 10, 100);
    recovered.writer.sync().unwrap();
    assert_eq!(recovered.writer.current(), Start { segment: 4, salt: 44, batch: 8 });
    let third = Start { segment: 3, salt: 33, batch: 7 };
    let (recovered, seen) = reopen(&disk, third, None).unwrap();
    let kinds: Vec<_> = seen.iter().map(|(kind, batch, _)| (*kind, *batch)).collect();
    let expected = [(FrameKind::Data, 8), (FrameKind::Link, 8), (FrameKind::Data, 9), (FrameKind::Data, 10)];
    assert_eq!(kinds, expected);
    assert!(!recovered.cut);
}
