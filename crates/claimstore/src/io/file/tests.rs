use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn store() -> (tempfile::TempDir, DirStorage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = DirStorage::new(dir.path().join("a/store"));
    storage.create_root().unwrap();
    (dir, storage)
}

#[test]
fn files_and_directories_belong_to_their_owner_alone() {
    let (dir, storage) = store();
    storage.create_root().unwrap();
    storage.create_dir("sub").unwrap();
    storage.create_dir("sub").unwrap();
    drop(storage.open("sub/file", OpenMode::CreateNew).unwrap());
    let _lock = storage.lock("LOCK").unwrap();
    for (name, mode) in
        [("a", 0o700), ("a/store/sub", 0o700), ("a/store/sub/file", 0o600), ("a/store/LOCK", 0o600)]
    {
        let found = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode & 0o777, "{name}");
    }
}

#[test]
fn names_come_and_go() {
    let (_dir, storage) = store();
    let missing = |done: io::Result<()>| assert_eq!(done.unwrap_err().kind(), io::ErrorKind::NotFound);
    missing(storage.open("one", OpenMode::Existing).map(drop));
    missing(storage.open("one", OpenMode::Direct).map(drop));
    missing(storage.list("sub").map(drop));
    drop(storage.open("one", OpenMode::CreateNew).unwrap());
    let again = storage.open("one", OpenMode::CreateNew).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    storage.rename("one", "two").unwrap();
    storage.sync_dir("").unwrap();
    assert_eq!(storage.list("").unwrap(), ["two"]);
    storage.remove("two").unwrap();
    missing(storage.remove("two"));
    assert!(storage.list("").unwrap().is_empty());
    drop(storage.open("file", OpenMode::CreateNew).unwrap());
    let inside = DirStorage::new(storage.root().join("file"));
    assert_eq!(inside.create_root().unwrap_err().kind(), io::ErrorKind::NotADirectory);
}

#[test]
fn what_is_written_is_read_buffered_and_direct() {
    let (_dir, storage) = store();
    let file = storage.open("file", OpenMode::CreateNew).unwrap();
    file.allocate(8192).unwrap();
    file.allocate(4096).unwrap();
    assert_eq!(file.len().unwrap(), 8192);
    file.write_all_at(&[7; 8192], 0).unwrap();
    file.start_writeback(0, 8192);
    file.sync_data().unwrap();
    file.drop_cache().unwrap();

    let direct = storage.open("file", OpenMode::Direct).unwrap();
    let memory = vec![9u8; 8192];
    let aligned = memory.as_ptr().align_offset(4096);
    direct.write_all_at(&memory[aligned..aligned + 1024], 512).unwrap();
    // Whatever the file system makes of this one, it arrives.
    direct.write_all_at(&memory[aligned + 1..aligned + 4], 5000).unwrap();
    direct.write_all_at(&memory[aligned..aligned + 512], 4096).unwrap();
    direct.sync_data().unwrap();
    let mut expected = [7u8; 8192];
    expected[512..1536].fill(9);
    expected[5000..5003].fill(9);
    expected[4096..4608].fill(9);
    for handle in [&file, &direct] {
        let mut found = [0u8; 8192];
        handle.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected);
        let beyond = handle.read_exact_at(&mut found, 1).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }
    file.set_len(100).unwrap();
    assert_eq!(direct.len().unwrap(), 100);
    assert!(!file.is_empty().unwrap());
}

#[test]
fn only_a_file_without_a_name_is_cut() {
    let (_dir, storage) = store();
    let file = storage.open("file", OpenMode::CreateNew).unwrap();
    file.write_all_at(&[7; 10_000], 0).unwrap();
    fs::hard_link(storage.root().join("file"), storage.root().join("copy")).unwrap();
    assert!(!file.cut_nameless(4_096).unwrap());
    storage.remove("file").unwrap();
    assert!(!file.cut_nameless(4_096).unwrap());
    assert_eq!(file.len().unwrap(), 10_000, "the copy has these bytes");
    storage.remove("copy").unwrap();
    assert!(file.cut_nameless(4_096).unwrap());
    assert_eq!(file.len().unwrap(), 5_904);
    assert!(file.cut_nameless(4_096).unwrap());
    assert!(!file.cut_nameless(4_096).unwrap());
    assert!(file.is_empty().unwrap() && !file.cut_nameless(4_096).unwrap());
}

#[test]
fn one_owner_by_whatever_path() {
    let (dir, storage) = store();
    std::os::unix::fs::symlink(storage.root(), dir.path().join("link")).unwrap();
    let linked = DirStorage::new(dir.path().join("link"));
    let held = storage.lock("LOCK").unwrap();
    for other in [&storage, &linked] {
        assert_eq!(other.lock("LOCK").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    drop(held);
    let held = linked.lock("LOCK").unwrap();
    assert!(storage.lock("LOCK").is_err());
    drop(held);
}

#[test]
fn what_is_locked_is_missed_whatever_becomes_of_its_name() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 7] = [
        ("removed", |dir| fs::remove_file(dir.join("LOCK")).unwrap()),
        ("renamed", |dir| fs::rename(dir.join("LOCK"), dir.join("old")).unwrap()),
        ("replaced", |dir| {
            fs::write(dir.join("other"), b"").unwrap();
            fs::rename(dir.join("other"), dir.join("LOCK")).unwrap();
        }),
        ("removed and made again", |dir| {
            // The old file keeps its number for as long as it is open.
            fs::remove_file(dir.join("LOCK")).unwrap();
            fs::write(dir.join("LOCK"), b"").unwrap();
        }),
        ("directory renamed", |dir| fs::rename(dir, dir.with_extension("old")).unwrap()),
        ("directory removed", |dir| fs::remove_dir_all(dir).unwrap()),
        ("directory replaced by a file", |dir| {
            fs::remove_dir_all(dir).unwrap();
            fs::write(dir, b"").unwrap();
        }),
    ];
    for (name, change) in changes {
        let (_dir, storage) = store();
        let held = storage.lock("LOCK").unwrap();
        held.check().unwrap();
        let file = storage.open("file", OpenMode::CreateNew).unwrap();
        assert!(file.has_name().unwrap());
        change(storage.root());
        assert_eq!(held.check().unwrap_err().kind(), io::ErrorKind::StaleNetworkFileHandle, "{name}");
    }
}

#[test]
fn a_file_without_a_name_says_so() {
    let (_dir, storage) = store();
    let file = storage.open("file", OpenMode::CreateNew).unwrap();
    storage.rename("file", "other").unwrap();
    assert!(file.has_name().unwrap());
    storage.remove("other").unwrap();
    assert!(!file.has_name().unwrap());
}

#[test]
fn readers_share_what_nobody_owns() {
    let (_dir, storage) = store();
    assert!(storage.lock_shared("LOCK").unwrap().is_none(), "no file is made");
    assert!(storage.list("").unwrap().is_empty());
    assert_eq!(storage.lock_also("LOCK").unwrap_err().kind(), io::ErrorKind::NotFound);
    drop(storage.lock("LOCK").unwrap());
    let one = storage.lock_shared("LOCK").unwrap();
    let other = storage.lock_shared("LOCK").unwrap();
    assert!(one.is_some() && other.is_some());
    assert_eq!(storage.lock("LOCK").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop((one, other));
    let owned = storage.lock_also("LOCK").unwrap();
    assert_eq!(storage.lock_shared("LOCK").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(owned);
}

#[test]
fn relative_paths_are_taken_from_here() {
    assert!(DirStorage::new("somewhere").root().is_absolute());
}
