//! What is synced before what.

use super::disk::{Dice, TestDisk};
use super::*;
use crate::io::DirStorage;

#[test]
fn a_segment_is_durable_with_its_name_before_it_can_be_used() {
    let disk = TestDisk::new();
    drop(prepared(&disk, 1, 11));
    let log = disk.take_log();
    let at = |what: &str| log.iter().rposition(|line| line.starts_with(what)).unwrap();
    assert!(at("write ") < at("sync ") && at("sync ") < at("sync_dir journal"), "{log:?}");

    drop(prepare(&storage(&disk), STORE, 2, SMALL, 22, Some(1), true).unwrap());
    let log = disk.take_log();
    let at = |what: &str| log.iter().rposition(|line| line.starts_with(what)).unwrap();
    assert!(at("rename ") < at("sync_dir journal") && at("sync ") < at("sync_dir journal"), "{log:?}");
    assert_eq!(log.iter().filter(|line| line.starts_with("write ")).count(), 1, "its blocks are there");
}

#[test]
fn a_recycled_file_gets_the_length_that_is_asked_for() {
    let disk = TestDisk::new();
    for (number, bytes) in [(2, 8192), (3, 4096), (4, 12_288)] {
        drop(prepare(&storage(&disk), STORE, number, bytes, number, Some(number - 1), true).unwrap());
        assert_eq!(disk.read(&crate::journal::segment_name(number)).len() as u64, bytes);
    }
    assert_eq!(storage(&disk).list("journal").unwrap(), ["0000000000000004.seg"]);
    for (bytes, salt, recycle) in [(4000, 1, None), (4096, 0, None), (4096, 1, Some(5)), (1 << 40, 1, None)] {
        assert!(prepare(&storage(&disk), STORE, 5, bytes, salt, recycle, true).is_err());
    }
}

#[test]
fn rotation_syncs_what_is_behind_it() {
    let disk = TestDisk::new();
    let mut writer = Writer::start(prepared(&disk, 1, 11), 0);
    writer.install_next(prepared(&disk, 2, 22));
    append(&mut writer, 1, 2000);
    disk.take_log();
    append(&mut writer, 2, 2000);
    let one = "journal/0000000000000001.seg";
    let two = "journal/0000000000000002.seg";
    assert_eq!(disk.take_log(), [format!("sync {one}"), format!("write {two}")]);
    let (recovered, _) = reopen(&disk, start(), None).unwrap();
    assert_eq!(recovered.last.unwrap().durable, 1, "and says so");
}

#[test]
fn an_unclean_open_shows_the_disk_before_it_reads_and_mends_before_it_writes() {
    let (disk, _) = sealed_journal();
    disk.take_log();
    drop(reopen(&disk, start(), None).unwrap());
    let log = disk.take_log();
    for number in 1..=3 {
        let name = crate::journal::segment_name(number);
        let at = |what: &str| log.iter().position(|line| *line == format!("{what} {name}")).unwrap();
        assert!(at("sync") < at("drop_cache") && at("drop_cache") < at("read"), "{log:?}");
    }
    assert!(log.last().unwrap().starts_with("sync "), "{log:?}");

    drop(reopen(&disk, start(), Some(7)).unwrap());
    assert!(disk.take_log().iter().all(|line| line.starts_with("read ")), "a clean open changes nothing");
}

#[test]
fn after_a_failed_sync_nothing_is_tried_again() {
    let disk = TestDisk::new();
    let mut writer = Writer::start(prepared(&disk, 1, 11), 0);
    append(&mut writer, 1, 10);
    disk.fail_syncs(1);
    assert!(writer.sync().is_err());
    disk.take_log();
    assert!(
        writer.sync().is_err() && writer.append(&head(2), b"x").is_err() && writer.seal(&head(2)).is_err()
    );
    assert!(disk.take_log().is_empty());
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_not_believed() {
    for seed in 1..100 {
        let disk = TestDisk::new();
        let mut writer = Writer::start(prepared(&disk, 1, 11), 0);
        let kept = append(&mut writer, 1, 10);
        writer.sync().unwrap();
        append(&mut writer, 2, 900);
        disk.fail_syncs(1);
        assert!(writer.sync().is_err());
        let (mut recovered, seen) = reopen(&disk, start(), None).unwrap();
        assert_eq!(seen, std::slice::from_ref(&kept), "the disk never got the second");
        let second = append(&mut recovered.writer, 2, 30);
        recovered.writer.sync().unwrap();
        let after = disk.cut_power(&mut Dice(seed));
        assert_eq!(reopen(&after, start(), None).unwrap().1, [kept, second]);
    }
}

#[test]
fn a_real_directory_holds_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(DirStorage::new(dir.path()));
    let make =
        |number, salt, recycle| prepare(&storage, STORE, number, 65_536, salt, recycle, number > 1).unwrap();
    let mut writer = Writer::start(make(1, 11, None), 0);
    let mut written = Vec::new();
    for batch in 1..100 {
        if !writer.has_next() {
            let number = writer.next_number();
            writer.install_next(make(number, number * 11, None));
        }
        written.push(append(&mut writer, batch, batch as usize * 37));
        writer.sync().unwrap();
    }
    drop(writer);
    for batch in 100..103 {
        let mut seen = Vec::new();
        let recovered = recover(&storage, STORE, start(), None, &mut |frame| {
            seen.push((frame.kind, frame.head.batch, frame.payload.to_vec()));
            Ok(())
        });
        let mut recovered = recovered.unwrap();
        assert!(seen == written && !recovered.cut);
        written.push(append(&mut recovered.writer, batch, 3000));
        recovered.writer.sync().unwrap();
    }
}
