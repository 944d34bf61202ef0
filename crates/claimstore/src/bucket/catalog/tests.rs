use super::super::backend::testing::{LossyStorage, blames_bytes, sweep};
use super::*;
use crate::io::MemoryStorage;

const ID: [u8; 16] = [7; 16];

fn state(generation: u64) -> CatalogState {
    CatalogState {
        generation,
        life: 3,
        checkpoint_seq: 1_000 + generation,
        journal: (12, 34, 56),
        mark: ClockMark { store_ms: 5, wall_ms: 6, boot_ms: 7, boot_id: [8; 16] },
        sealed: (generation % 2 == 1).then_some(99),
        next_run: 21,
        hash_key: [9; 16],
        has_tables: true,
        namespaces: (0..10u8).map(|n| NamespaceRow { id: n.into(), bytes: vec![n; 60] }).collect(),
        runs: (0..20u8).map(|n| vec![n; 80 + generation as usize % 7]).collect(),
    }
}

fn closed_image(generations: u64) -> Vec<u8> {
    let storage = Arc::new(LossyStorage::default());
    let shared = storage.clone() as Arc<dyn Storage>;
    let mut catalog = Catalog::create(&shared, ID, &state(1)).unwrap();
    for generation in 2..=generations {
        catalog.commit(&state(generation)).unwrap();
    }
    catalog.close().unwrap();
    storage.durable(FILE)
}

#[test]
fn what_is_committed_is_read_back() {
    let storage = Arc::new(MemoryStorage::new()) as Arc<dyn Storage>;
    let mut catalog = Catalog::create(&storage, ID, &state(1)).unwrap();
    let mut next = state(2);
    next.runs.remove(3);
    next.namespaces.push(NamespaceRow { id: 77, bytes: Vec::new() });
    catalog.commit(&next).unwrap();
    assert_eq!(catalog.reopen().unwrap(), next);
    next = CatalogState { generation: 3, runs: Vec::new(), namespaces: Vec::new(), ..next };
    catalog.commit(&next).unwrap();
    catalog.close().unwrap();
    let (catalog, found) = Catalog::open(&storage, ID).unwrap();
    assert_eq!((catalog.state(), &found), (&next, &next));
}

#[test]
fn generations_rise_by_one() {
    let storage = Arc::new(MemoryStorage::new()) as Arc<dyn Storage>;
    let mut catalog = Catalog::create(&storage, ID, &state(1)).unwrap();
    assert_eq!(catalog.commit(&state(3)).unwrap_err().kind(), ErrorKind::Misuse);
    assert_eq!(catalog.reopen().unwrap(), state(1));
}

#[test]
fn an_unclosed_catalogue_opens() {
    let storage = Arc::new(LossyStorage::default());
    let shared = storage.clone() as Arc<dyn Storage>;
    let mut catalog = Catalog::create(&shared, ID, &state(1)).unwrap();
    catalog.commit(&state(2)).unwrap();
    let crashed = LossyStorage::of(FILE, &storage.durable(FILE)) as Arc<dyn Storage>;
    assert_eq!(Catalog::open(&crashed, ID).unwrap().1, state(2));
}

#[test]
fn foreign_newer_missing_empty_and_cut_files_are_refused() {
    let image = closed_image(2);
    let open = |bytes: &[u8], id| {
        let storage = LossyStorage::of(FILE, bytes) as Arc<dyn Storage>;
        Catalog::open(&storage, id).unwrap_err().kind()
    };
    assert_eq!(open(&image, [8; 16]), ErrorKind::Corrupt);
    for len in (0..image.len()).step_by(997) {
        assert_eq!(open(&image[..len], ID), ErrorKind::Corrupt, "cut to {len}");
    }
    let nothing = Arc::new(MemoryStorage::new()) as Arc<dyn Storage>;
    assert_eq!(Catalog::open(&nothing, ID).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let mut meta = unseal(META.name(), META_KEY, &Image::of(&state(1), ID).unwrap().meta).unwrap().to_vec();
    meta[8] = 2;
    let mut newer = meta.clone();
    seal(META.name(), META_KEY, &mut newer);
    assert_eq!(decode_meta(&newer, ID).unwrap_err().kind(), ErrorKind::TooNew);
    meta.extend_from_slice(&[0; 4]);
    assert_eq!(decode_meta(&meta, ID).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Every operation of a commit fails once, with several choices of what reached the device.
#[test]
fn after_a_failed_commit_the_old_or_the_new_state_is_there() {
    let image = closed_image(2);
    let (mut old, mut new) = (0, 0);
    for point in 0.. {
        let mut came = false;
        for seed in 1..20 {
            let storage = LossyStorage::of(FILE, &image);
            let (mut catalog, _) = Catalog::open(&(storage.clone() as Arc<dyn Storage>), ID).unwrap();
            storage.fail_after(point, seed);
            let outcome = catalog.commit(&state(3));
            came |= !storage.disarm();
            if outcome.is_ok() {
                assert_eq!(catalog.reopen().unwrap(), state(3));
                continue;
            }
            let error = outcome.unwrap_err();
            let kind = error.kind();
            assert!(!blames_bytes(&error), "point {point}: {error:?}");
            assert!(matches!(kind, ErrorKind::Indeterminate | ErrorKind::Io), "point {point}: {kind:?}");
            assert_eq!(catalog.commit(&state(3)).unwrap_err().kind(), ErrorKind::Poisoned);
            let found = catalog.reopen().unwrap();
            let counter = if found == state(2) { &mut old } else { &mut new };
            assert!(found == state(2) || found == state(3), "point {point}: {found:?}");
            assert!(kind == ErrorKind::Indeterminate || found == state(2), "point {point}: it happened");
            *counter += 1;
            catalog.commit(&state(found.generation + 1)).unwrap();
            assert_eq!(catalog.reopen().unwrap(), state(found.generation + 1));
        }
        if !came {
            break;
        }
    }
    assert!(old > 0 && new > 0, "both outcomes were met: {old} old, {new} new");
}

/// Every operation of an open after a crash fails once.
#[test]
fn an_open_that_fails_half_way_loses_nothing() {
    let storage = Arc::new(LossyStorage::default());
    let shared = storage.clone() as Arc<dyn Storage>;
    let mut catalog = Catalog::create(&shared, ID, &state(1)).unwrap();
    catalog.commit(&state(2)).unwrap();
    let crashed = storage.durable(FILE);
    for point in 0.. {
        let mut came = false;
        for seed in 1..12 {
            let storage = LossyStorage::of(FILE, &crashed);
            let shared = storage.clone() as Arc<dyn Storage>;
            storage.fail_after(point, seed);
            let outcome = Catalog::open(&shared, ID).map(|(_, found)| found);
            came |= !storage.disarm();
            match outcome {
                Ok(found) => assert_eq!(found, state(2)),
                Err(error) => assert!(!blames_bytes(&error), "point {point}: {error:?}"),
            }
            assert_eq!(Catalog::open(&shared, ID).unwrap().1, state(2), "point {point}");
        }
        if !came {
            break;
        }
    }
}

#[test]
fn a_changed_byte_is_refused_or_has_no_effect() {
    let image = closed_image(4);
    let sweep = sweep(FILE, &image, &|storage| Ok(Catalog::open(storage, ID)?.1 == state(4)));
    assert!(sweep.other.is_empty(), "{:?}", sweep.other);
    assert!(sweep.refused > 0 && sweep.right > 0);
}

/// Also not to the commit before, which redb keeps.
#[test]
fn a_changed_byte_of_a_crashed_file_is_refused_or_has_no_effect() {
    let storage = Arc::new(LossyStorage::default());
    let shared = storage.clone() as Arc<dyn Storage>;
    let mut catalog = Catalog::create(&shared, ID, &state(1)).unwrap();
    for generation in 2..=4 {
        catalog.commit(&state(generation)).unwrap();
    }
    let sweep = sweep(FILE, &storage.durable(FILE), &|storage| Ok(Catalog::open(storage, ID)?.1 == state(4)));
    assert!(sweep.other.is_empty(), "{:?}", sweep.other);
}
