use super::*;
use Level::{L0, L1, L2, L3};
use std::collections::BTreeSet;

const SEEDS: u64 = 400;

/// What the disk says about one file: `None` if it is gone.
fn read(disk: &Disk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(name, OpenMode::Existing).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// Everything a crash of `level` right now can leave of one file.
fn outcomes(disk: &Disk, level: Level, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..SEEDS).map(|seed| read(&disk.power_loss(Variant::new(level, seed)), name)).collect()
}

fn create(disk: &Disk, name: &str) -> Arc<dyn File> {
    disk.open(name, OpenMode::CreateNew).unwrap()
}

/// A durable file of `bytes`.
fn durable(disk: &Disk, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = create(disk, name);
    file.write_all_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(event::parent(name)).unwrap();
    file
}

fn sectors(letters: &str) -> Vec<u8> {
    letters.bytes().flat_map(|letter| [letter; SECTOR]).collect()
}

/// The letters of a file of whole sectors; `?` for a sector that is not one letter throughout.
fn letters(bytes: &[u8]) -> String {
    let letter = |sector: &[u8]| match sector.iter().all(|byte| *byte == sector[0]) {
        true if sector[0] == 0 => '0',
        true => char::from(sector[0]),
        false => '?',
    };
    bytes.chunks(SECTOR).map(letter).collect()
}

fn shapes(outcomes: &BTreeSet<Option<Vec<u8>>>) -> BTreeSet<String> {
    outcomes.iter().map(|bytes| bytes.as_ref().map_or("gone".to_owned(), |bytes| letters(bytes))).collect()
}

fn check_shapes(disk: &Disk, level: Level, name: &str, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|&shape| shape.to_owned()).collect();
    assert_eq!(shapes(&outcomes(disk, level, name)), expected, "{level:?}");
}

#[test]
fn synced_bytes_survive_every_level() {
    let disk = Disk::new();
    let file = durable(&disk, "a", &sectors("xyz"));
    file.write_all_at(&sectors("n"), 3 * SECTOR as u64).unwrap();
    for level in [L0, L1, L2, L3] {
        assert!(outcomes(&disk, level, "a").iter().flatten().all(|bytes| bytes.starts_with(&sectors("xyz"))));
    }
}

#[test]
fn a_process_death_loses_nothing_and_syncs_nothing() {
    let disk = Disk::new();
    let file = create(&disk, "a");
    file.write_all_at(&sectors("x"), 0).unwrap();
    check_shapes(&disk, L0, "a", &["x"]);
    let next_life = disk.power_loss(Variant::new(L0, 0));
    assert_eq!(next_life.unsynced(), 2);
    check_shapes(&next_life, L1, "a", &["gone", "", "x"]);
}

#[test]
fn a_created_name_needs_the_sync_of_its_directory() {
    let disk = Disk::new();
    create(&disk, "a").sync_data().unwrap();
    check_shapes(&disk, L2, "a", &["gone", ""]);
    disk.sync_dir("").unwrap();
    check_shapes(&disk, L2, "a", &[""]);
}

#[test]
fn a_lost_directory_takes_its_files_along() {
    let disk = Disk::new();
    disk.create_dir("dir").unwrap();
    durable(&disk, "dir/a", b"");
    check_shapes(&disk, L2, "dir/a", &["gone", ""]);
    disk.sync_dir("").unwrap();
    check_shapes(&disk, L2, "dir/a", &[""]);
    assert_eq!(disk.list("").unwrap(), ["dir"]);
    assert_eq!(disk.list("dir").unwrap(), ["a"]);
}

#[test]
fn a_rename_is_whole_or_absent() {
    let disk = Disk::new();
    durable(&disk, "old", &sectors("o"));
    durable(&disk, "new", &sectors("n"));
    disk.rename("new", "old").unwrap();
    for seed in 0..SEEDS {
        let after = disk.power_loss(Variant::new(L3, seed));
        let seen = (read(&after, "old"), read(&after, "new"));
        let before = (Some(sectors("o")), Some(sectors("n")));
        assert!(seen == before || seen == (Some(sectors("n")), None));
    }
    disk.sync_dir("").unwrap();
    check_shapes(&disk, L3, "old", &["n"]);
    check_shapes(&disk, L3, "new", &["gone"]);
}

#[test]
fn a_removed_name_may_come_back_until_its_directory_is_synced() {
    let disk = Disk::new();
    durable(&disk, "a", &sectors("x"));
    disk.remove("a").unwrap();
    check_shapes(&disk, L1, "a", &["gone", "x"]);
    disk.sync_dir("").unwrap();
    check_shapes(&disk, L1, "a", &["gone"]);
}

#[test]
fn a_prefix_of_the_whole_disk_survives_at_l1() {
    let disk = Disk::new();
    let (a, b) = (durable(&disk, "a", &sectors("0")), durable(&disk, "b", &sectors("0")));
    a.write_all_at(&sectors("x"), 0).unwrap();
    b.write_all_at(&sectors("y"), 0).unwrap();
    let seen = |seed| {
        let after = disk.power_loss(Variant::new(L1, seed));
        format!("{}{}", letters(&read(&after, "a").unwrap()), letters(&read(&after, "b").unwrap()))
    };
    let seen: BTreeSet<String> = (0..SEEDS).map(seen).collect();
    assert_eq!(seen, ["00", "x0", "xy"].map(str::to_owned).into());
}

#[test]
fn overwritten_sectors_are_old_or_new() {
    let disk = Disk::new();
    let file = durable(&disk, "a", &sectors("ooo"));
    file.write_all_at(&sectors("nnn"), 0).unwrap();
    for level in [L2, L3] {
        check_shapes(&disk, level, "a", &["ooo", "oon", "ono", "onn", "noo", "non", "nno", "nnn"]);
    }
}

#[test]
fn a_sector_arrives_as_the_cache_held_it() {
    let disk = Disk::new();
    let file = durable(&disk, "a", &[b'o'; SECTOR]);
    file.write_all_at(b"11", 0).unwrap();
    file.write_all_at(b"22", 2).unwrap();
    let heads: BTreeSet<Vec<u8>> =
        outcomes(&disk, L2, "a").into_iter().map(|b| b.unwrap()[..4].to_vec()).collect();
    assert_eq!(heads, [b"oooo".to_vec(), b"11oo".to_vec(), b"1122".to_vec()].into());
}

#[test]
fn unsynced_growth_at_l2_shows_holes_but_no_garbage() {
    let disk = Disk::new();
    let file = durable(&disk, "a", b"");
    file.write_all_at(&sectors("xx"), 0).unwrap();
    check_shapes(&disk, L2, "a", &["", "x", "0x", "xx"]);
}

#[test]
fn unsynced_growth_at_l3_shows_garbage_and_other_files() {
    let disk = Disk::new();
    durable(&disk, "donor", &sectors("d"));
    let file = durable(&disk, "a", &sectors("k"));
    file.write_all_at(&sectors("xx"), SECTOR as u64).unwrap();
    let seen = shapes(&outcomes(&disk, L3, "a"));
    assert!(seen.iter().all(|shape| shape.starts_with('k')), "{seen:?}");
    for expected in ["k", "kxx", "k00", "k??", "k0x"] {
        assert!(seen.contains(expected), "{expected} not in {seen:?}");
    }
    assert!(seen.iter().any(|shape| shape.contains('d')), "{seen:?}");
}

#[test]
fn a_synced_allocation_never_shows_garbage() {
    let disk = Disk::new();
    let file = durable(&disk, "a", b"");
    file.allocate(2 * SECTOR as u64).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&sectors("xx"), 0).unwrap();
    check_shapes(&disk, L3, "a", &["00", "0x", "x0", "xx"]);
}

#[test]
fn a_written_hole_may_show_garbage_an_untouched_one_zeros() {
    let disk = Disk::new();
    let file = durable(&disk, "a", b"");
    file.set_len(2 * SECTOR as u64).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&sectors("x"), 0).unwrap();
    check_shapes(&disk, L3, "a", &["00", "x0", "?0"]);
}

#[test]
fn a_length_may_survive_without_bytes_at_l3() {
    let disk = Disk::new();
    let file = durable(&disk, "a", &sectors("k"));
    file.write_all_at(&sectors("x"), SECTOR as u64).unwrap();
    let seen = shapes(&outcomes(&disk, L3, "a"));
    assert!(seen.contains("k0") && seen.contains("k") && seen.contains("kx"), "{seen:?}");
}

#[test]
fn a_cut_is_pending_like_all_else() {
    let disk = Disk::new();
    let file = durable(&disk, "a", &sectors("xy"));
    file.set_len(SECTOR as u64).unwrap();
    check_shapes(&disk, L2, "a", &["x", "xy"]);
    file.sync_data().unwrap();
    check_shapes(&disk, L2, "a", &["x"]);
}

/// A durable sector of `o`, overwritten with `n`, whose sync then fails.
fn after_failed_sync(seed: u64) -> (Disk, Arc<dyn File>) {
    let disk = Disk::new();
    let file = durable(&disk, "a", &sectors("oo"));
    let fault = Fault { seed, ..Fault::once(FaultKind::Io, Operation::Syncs) };
    disk.fail_at(disk.operations(Operation::Syncs), fault);
    file.write_all_at(&sectors("nn"), 0).unwrap();
    file.sync_data().unwrap_err();
    (disk, file)
}

#[test]
fn a_sync_after_a_failed_one_lies() {
    let mut on_disk = BTreeSet::new();
    for seed in 0..64 {
        let (disk, file) = after_failed_sync(seed);
        file.sync_data().unwrap();
        assert_eq!(letters(&read(&disk, "a").unwrap()), "nn", "the cache still shows it");
        on_disk.extend(shapes(&outcomes(&disk, L1, "a")));
    }
    assert_eq!(on_disk, ["oo", "on", "no", "nn"].map(str::to_owned).into());
}

#[test]
fn a_dropped_cache_shows_what_the_disk_holds() {
    for seed in 0..64 {
        let (disk, file) = after_failed_sync(seed);
        let held = shapes(&outcomes(&disk, L1, "a"));
        let next_life = disk.power_loss(Variant::new(L0, 0));
        next_life.open("a", OpenMode::Existing).unwrap().drop_cache().unwrap();
        file.drop_cache().unwrap();
        assert_eq!(held, [letters(&read(&disk, "a").unwrap())].into());
        assert_eq!(held, [letters(&read(&next_life, "a").unwrap())].into());
    }
}

#[test]
fn a_dropped_cache_keeps_dirty_pages() {
    let (disk, file) = after_failed_sync(1);
    file.write_all_at(&sectors("d"), 0).unwrap();
    file.drop_cache().unwrap();
    assert!(letters(&read(&disk, "a").unwrap()).starts_with('d'));
    file.sync_data().unwrap();
    assert!(shapes(&outcomes(&disk, L3, "a")).iter().all(|shape| shape.starts_with('d')));
}

#[test]
fn faults_hit_the_operation_they_were_ordered_for() {
    let disk = Disk::new();
    disk.fail_at(1, Fault::once(FaultKind::NoSpace, Operation::Writes));
    disk.fail_at(5, Fault::sticky(FaultKind::Io, Operation::Any));
    let file = create(&disk, "a");
    file.write_all_at(b"1", 0).unwrap();
    assert_eq!(file.write_all_at(b"2", 1).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_all_at(b"3", 1).unwrap();
    disk.sync_dir("").unwrap();
    disk.remove("a").unwrap_err();
    file.sync_data().unwrap_err();
    disk.clear_faults();
    assert_eq!(read(&disk, "a").unwrap(), b"13");
    let kinds = [Operation::Writes, Operation::Syncs, Operation::DirOps, Operation::Any];
    assert_eq!(kinds.map(|kind| disk.operations(kind)), [3, 2, 2, 7]);
}

#[test]
fn reads_fail_only_where_reads_were_meant() {
    let disk = Disk::new();
    let file = durable(&disk, "a", b"kept");
    let mut bytes = [0; 4];
    disk.fail_at(0, Fault::sticky(FaultKind::Io, Operation::Any));
    file.write_all_at(b"lost", 0).unwrap_err();
    file.read_exact_at(&mut bytes, 0).unwrap();
    disk.clear_faults();
    disk.fail_at(2, Fault::once(FaultKind::Io, Operation::Reads));
    disk.fail_at(4, Fault::sticky(FaultKind::Io, Operation::Reads));
    assert_eq!(file.len().unwrap(), 4);
    disk.list("").unwrap_err();
    assert_eq!(disk.list("").unwrap(), ["a"]);
    file.read_exact_at(&mut bytes, 0).unwrap_err();
    file.len().unwrap_err();
    file.write_all_at(b"new!", 0).unwrap();
    disk.clear_faults();
    assert_eq!(read(&disk, "a").unwrap(), b"new!");
    assert_eq!(disk.operations(Operation::Reads), 8);
}

#[test]
fn a_short_write_leaves_its_first_half() {
    let disk = Disk::new();
    let file = create(&disk, "a");
    disk.fail_at(0, Fault::once(FaultKind::ShortWrite, Operation::Writes));
    file.write_all_at(b"abcd", 0).unwrap_err();
    assert_eq!(read(&disk, "a").unwrap(), b"ab");
}

#[test]
fn a_failed_directory_sync_leaves_the_names_unsynced() {
    let disk = Disk::new();
    create(&disk, "a");
    disk.fail_at(0, Fault::once(FaultKind::Io, Operation::Syncs));
    disk.sync_dir("").unwrap_err();
    check_shapes(&disk, L1, "a", &["gone", ""]);
}

#[test]
fn a_lying_disk_loses_what_it_said_was_synced() {
    let disk = Disk::lying();
    durable(&disk, "a", &sectors("x"));
    assert!(shapes(&outcomes(&disk, L1, "a")).contains("gone"));
}

#[test]
fn direct_writes_must_be_aligned_and_are_unsynced() {
    let disk = Disk::new();
    durable(&disk, "a", &sectors("o"));
    let file = disk.open("a", OpenMode::Direct).unwrap();
    assert_eq!(file.write_all_at(b"1", 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    file.write_all_at(&sectors("n"), 0).unwrap();
    check_shapes(&disk, L1, "a", &["o", "n"]);
}

#[test]
fn the_lock_is_exclusive_and_does_not_outlive_a_crash() {
    let disk = Disk::new();
    let guard = disk.lock("LOCK").unwrap();
    assert_eq!(disk.clone().lock("LOCK").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let next_life = disk.power_loss(Variant::new(L0, 0));
    drop(next_life.lock("LOCK").unwrap());
    drop(guard);
    drop(disk.lock("LOCK").unwrap());
}

#[test]
fn the_past_replays_as_it_was() {
    let disk = Disk::new();
    let file = durable(&disk, "a", b"");
    let mut digests = vec![(disk.events(), disk.digest())];
    let mut rng = crate::Rng::new(9);
    for round in 0..300u64 {
        file.write_all_at(&[round as u8; 700], rng.below(20_000)).unwrap();
        match rng.below(6) {
            0 => file.sync_data().unwrap(),
            1 => file.set_len(rng.below(20_000)).unwrap(),
            _ => {}
        }
        digests.push((disk.events(), disk.digest()));
    }
    for (events, digest) in digests {
        assert_eq!(disk.crash_at(events, Variant::new(L0, 0)).digest(), digest, "after {events} events");
        let loss = |seed| disk.crash_at(events, Variant::new(L3, seed)).digest();
        assert_eq!(loss(events as u64), loss(events as u64));
    }
    assert_eq!(disk.log().len(), disk.events());
}

#[test]
fn an_image_can_be_crashed_again() {
    let disk = Disk::new();
    let file = durable(&disk, "a", &sectors("oo"));
    file.write_all_at(&sectors("nn"), 0).unwrap();
    for seed in 0..40 {
        let first = disk.power_loss(Variant::new(L2, seed));
        let held = letters(&read(&first, "a").unwrap());
        assert_eq!((first.unsynced(), first.events()), (0, 0));
        check_shapes(&first.clone(), L1, "a", &[&held]);
        first.open("a", OpenMode::Existing).unwrap().write_all_at(&sectors("r"), 0).unwrap();
        check_shapes(&first, L1, "a", &[&held, &format!("r{}", &held[1..])]);
    }
}

#[test]
fn open_handles_keep_a_removed_file_and_nothing_else_does() {
    let disk = Disk::new();
    disk.stop_recording();
    let file = durable(&disk, "a", b"kept");
    disk.remove("a").unwrap();
    disk.sync_dir("").unwrap();
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"kept");
    drop(file);
    disk.sync_dir("").unwrap();
    assert!(disk.state().machine.contents(0).is_none());
}

#[test]
fn refusals_are_those_of_a_file_system() {
    let disk = Disk::new();
    let file = create(&disk, "a");
    let kind = |error: io::Result<()>| error.unwrap_err().kind();
    assert_eq!(kind(disk.open("a", OpenMode::CreateNew).map(drop)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.open("b", OpenMode::Existing).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.open("no/b", OpenMode::CreateNew).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.list("no").map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.rename("b", "c")), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.remove("b")), io::ErrorKind::NotFound);
    assert_eq!(kind(file.read_exact_at(&mut [0], 0)), io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(file.set_len(u64::MAX)), io::ErrorKind::FileTooLarge);
    assert_eq!(kind(file.write_all_at(b"x", u64::MAX)), io::ErrorKind::FileTooLarge);
}
