//! What an error says about a failing disk: the file, the offset of a read or write, and the error of the disk; also
//! behind `Indeterminate`, and in every call of a store that is poisoned from then on.

use crate::watch::{begun, told};
use claimstore::io::{OpenMode, Storage};
use claimstore::{ClaimRequest, Error, ErrorKind, Options, Policy, Store};
use claimstore_sim::{Fault, FaultKind, SimDisk, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const TARGETS: [Target; 4] = [Target::Writes, Target::Syncs, Target::DirOps, Target::Reads];
const SECRETS: [&str; 3] = ["secret-key", "secret-payload", "secret-row"];

fn options() -> Options {
    Options::new()
        .background(false)
        .first_segment_bytes(12 << 10)
        .segment_bytes(36 << 10)
        .max_response_bytes(1 << 10)
        .max_progress_bytes(1 << 10)
        .page_cache_bytes(0)
}

/// Everything that touches a kind of file. Goes on after a failure, so that a later call tells of it too; answers all
/// errors in their order.
fn live(disk: &SimDisk) -> Vec<Error> {
    let mut errors = Vec::new();
    for _ in 0..2 {
        match options().open_on(Arc::new(disk.clone())) {
            Ok(store) => work(&store, &mut errors),
            Err(error) => errors.push(error),
        }
    }
    errors
}

fn work(store: &Store, errors: &mut Vec<Error>) {
    let mut note = |done: Result<(), Error>| errors.extend(done.err());
    note(store.fingerprinter().map(drop));
    note(store.namespace_with("space", Policy::daily()).map(drop));
    for n in 0..12 {
        note(claim_and_complete(store, &format!("secret-key-{n}")));
    }
    let request = ClaimRequest::new("secret-key-row").ttl(DAY);
    note(
        store
            .transact(&request, |tx| {
                tx.table("rows")?.insert(b"k", b"secret-row")?;
                Ok(b"secret-payload".to_vec())
            })
            .map(drop),
    );
    note(store.checkpoint());
    note(store.get("secret-key-3").map(drop));
    note(store.scan(claimstore::Filter::new()).try_for_each(|record| record.map(drop)));
    note(store.verify().map(drop));
    note(store.compact());
    note(store.clone().close());
}

fn claim_and_complete(store: &Store, key: &str) -> Result<(), Error> {
    if let Some(lease) = store.claim(key, DAY)?.claimed() {
        lease.complete("secret-payload".repeat(40))?;
    }
    Ok(())
}

/// The name of a file without its number.
fn kind_of(file: &str) -> String {
    file.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn every_failed_operation_names_its_file_and_keeps_its_error() {
    begun();
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut kinds = BTreeSet::new();
    let mut points = 0;
    for target in TARGETS {
        let whole = SimDisk::new();
        whole.stop_recording();
        assert!(live(&whole).is_empty(), "nothing fails by itself");
        for at in 0..whole.operations(target) {
            let disk = SimDisk::new();
            disk.stop_recording();
            disk.fail_at(at, Fault::once(FaultKind::Io, target));
            let errors = live(&disk);
            let point = format!("{target:?} {at}");
            let mut poisoned: Option<(Option<String>, Option<u64>)> = None;
            for error in &errors {
                assert_ne!(error.kind(), ErrorKind::Corrupt, "{point}: {error:?}");
                let file = error.file().unwrap_or_else(|| panic!("{point}: no file in {error:?}"));
                assert!(error.to_string().contains(file), "{point}: {error}");
                assert_eq!(cause(error), "simulated EIO", "{point}: {error:?}");
                let shown = format!("{error} {error:?}");
                assert!(SECRETS.iter().all(|secret| !shown.contains(secret)), "{point}: {shown}");
                let place = (Some(file.to_owned()), error.offset());
                if matches!(error.kind(), ErrorKind::Poisoned | ErrorKind::Indeterminate) {
                    // Whatever is asked of a store that stopped tells of the one failure that stopped it.
                    let first = poisoned.get_or_insert_with(|| place.clone());
                    assert_eq!(*first, place, "{point}");
                }
                kinds.insert(format!("{:?}", error.kind()));
                named.entry(format!("{target:?}")).or_default().insert(kind_of(file));
            }
            points += 1;
        }
    }
    told(format_args!("failures: {points} points, {kinds:?}, {named:?}"));
    let all = |target, files: &[&str]| {
        for file in files {
            assert!(
                named[&format!("{target:?}")].contains(*file),
                "no failed {target:?} of {file}: {named:?}"
            );
        }
    };
    all(Target::Writes, &["STORE", "journal/.seg", "catalog.redb", "tables.redb", "runs/.run"]);
    all(Target::Syncs, &["STORE", "journal/.seg", "catalog.redb", "tables.redb", "runs/.run", ".", "runs"]);
    all(Target::DirOps, &["journal", "runs", "runs/.run"]);
    all(Target::Reads, &["STORE", "journal/.seg", "catalog.redb", "runs/.run", "."]);
    assert!(kinds.contains("Poisoned") && kinds.contains("Indeterminate") && kinds.contains("Io"));
}

/// Reads and writes also name the offset.
#[test]
fn a_failed_write_of_a_batch_names_where_it_went() {
    begun();
    let disk = SimDisk::new();
    let store = options().open_on(Arc::new(disk.clone())).unwrap();
    claim_and_complete(&store, "secret-key-0").unwrap();
    let wrote = store.stats().unwrap().journal_bytes_written;
    disk.fail_at(disk.operations(Target::Writes), Fault::once(FaultKind::Io, Target::Writes));
    let error = store.claim("secret-key-1", DAY).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    // Behind the header of the segment and what was written before.
    let place = (Some("journal/0000000000000001.seg"), Some(512 + wrote));
    assert_eq!((error.file(), error.offset()), place);
    let later = store.claim("secret-key-2", DAY).unwrap_err();
    assert_eq!((later.kind(), later.file(), later.offset()), (ErrorKind::Poisoned, place.0, place.1));
    assert_eq!(cause(&later), "simulated EIO");
}

/// Each kind of file, with a byte changed: what refuses it says where.
#[test]
fn damage_names_its_file_and_offset() {
    begun();
    let disk = SimDisk::new();
    disk.stop_recording();
    assert!(live(&disk).is_empty());
    let at_rest = disk.power_loss(claimstore_sim::Variant::new(claimstore_sim::Level::L0, 0));
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    for file in files(&at_rest) {
        let len = at_rest.open(&file, OpenMode::Existing).unwrap().len().unwrap();
        for at in (0..len).step_by(509) {
            let hurt = at_rest.power_loss(claimstore_sim::Variant::new(claimstore_sim::Level::L0, 0));
            hurt.stop_recording();
            hurt.damage(&file, |bytes| bytes[at as usize] ^= 0x10);
            for error in live(&hurt).iter().filter(|error| error.kind() == ErrorKind::Corrupt) {
                assert_eq!(error.file(), Some(&*file), "byte {at}: {error:?}");
                // A row of a redb file that is unsound although its page is as it was written has no place.
                assert!(error.offset().is_some(), "{file}, byte {at}: {error:?}");
                *tally.entry(kind_of(&file)).or_default() += 1;
            }
        }
    }
    told(format_args!("failures: damage told in {tally:?}"));
    for file in ["STORE", "journal/.seg", "catalog.redb", "tables.redb", "runs/.run", "fingerprint.key"] {
        assert!(tally.contains_key(file), "no damage of {file} was told: {tally:?}");
    }
}

fn files(disk: &SimDisk) -> Vec<String> {
    let mut names: Vec<String> = disk.list("").unwrap();
    for dir in ["journal", "runs"] {
        names.extend(disk.list(dir).unwrap().into_iter().map(|name| format!("{dir}/{name}")));
    }
    names.retain(|name| !["journal", "runs", "LOCK", "reserve"].contains(&&**name));
    names
}

/// What the disk said, behind the error and all that it rests on.
fn cause(error: &Error) -> String {
    let mut cause = error.source().unwrap_or_else(|| panic!("no source of {error:?}"));
    while let Some(behind) = cause.source() {
        cause = behind;
    }
    assert!(cause.is::<io::Error>(), "{cause:?}");
    cause.to_string()
}
