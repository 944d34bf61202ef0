//! Segments that begin short and grow: the simulated machines see them do so, and on a full disk every claim still has
//! room for its end.

use crate::watch::{begun, told};
use claimstore::io::{OpenMode, Storage};
use claimstore::{ClaimRequest, ErrorKind, Lease, Options, Store};
use claimstore_sim::script::Recording;
use claimstore_sim::{Fault, FaultKind, Rng, SimDisk, Target};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const FULL: u64 = 2 << 20;
const FIRST: u64 = 32 << 10;
const RESPONSE: usize = 1 << 10;
/// An origin is written anew with each version of the record.
const ORIGIN: usize = 4 << 10;
/// More than a settlement takes: response, progress, origin, note, digests of fields, history, key.
const SETTLEMENT: u64 = 24 << 10;

fn segment_lengths(disk: &SimDisk) -> BTreeSet<u64> {
    let names = disk.list("journal").unwrap();
    let length = |name: &String| disk.open(&format!("journal/{name}"), OpenMode::Existing).unwrap().len();
    names.iter().map(|name| length(name).unwrap()).collect()
}

/// The scripts of the crash images and of the failing disks go through segments of several lengths.
#[test]
fn scripts_see_segments_grow() {
    begun();
    let lengths = |seed| segment_lengths(&Recording::new(seed, 40).unwrap().world().disk);
    let grown = (0..8).map(lengths).filter(|lengths| lengths.iter().any(|length| *length > 12 << 10)).count();
    assert!(grown >= 4, "{grown} of 8 scripts grew a segment");
}

fn options() -> Options {
    Options::new()
        .background(false)
        .first_segment_bytes(FIRST)
        .segment_bytes(FULL)
        .max_response_bytes(RESPONSE)
        .max_progress_bytes(RESPONSE)
}

fn claimed(store: &Store, key: &str) -> Result<Lease, claimstore::Error> {
    let request = ClaimRequest::new(key).ttl(DAY).origin(vec![b'o'; ORIGIN]);
    store.claim_with(&request).map(|claim| claim.claimed().unwrap())
}

/// P16 does not depend on how far the journal has grown: at whatever moment the disk becomes full, each claim that was
/// granted can be completed with the longest response, one by one, without a further segment. Only claims are `Full`.
#[test]
fn p16_every_claim_has_room_for_its_settlement_when_the_disk_becomes_full() {
    begun();
    let (mut settled, mut most) = (0, 0);
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new();
        disk.stop_recording();
        let store = options().open_on(Arc::new(disk.clone())).unwrap();
        let mut held = Vec::new();
        // As many as an eighth of a full segment has room for are promised their end.
        let promised = (FULL / 8 / SETTLEMENT) as usize;
        for n in 0..rng.below(60) {
            let lease = claimed(&store, &format!("before-{n}")).unwrap();
            if rng.below(8) == 0 && held.len() < promised {
                held.push(lease);
            } else {
                lease.complete(vec![1; RESPONSE]).unwrap();
            }
            if rng.below(4) == 0 {
                store.upkeep().unwrap();
            }
        }
        disk.fail_at(0, Fault::sticky(FaultKind::NoSpace, Target::DirOps));
        let mut refused = None;
        for n in 0..promised - held.len() {
            match claimed(&store, &format!("behind-{n}")) {
                Ok(lease) => held.push(lease),
                Err(error) => refused = Some(error.kind()),
            }
        }
        // Others use up what is not kept for those.
        for n in 0.. {
            assert!(n < 1_000, "a segment has an end");
            match claimed(&store, &format!("other-{n}")) {
                Ok(lease) => lease.complete(vec![3; RESPONSE]).unwrap(),
                Err(error) => {
                    refused = Some(error.kind());
                    break;
                }
            }
        }
        assert_eq!(refused, Some(ErrorKind::Full), "seed {seed}");
        most = most.max(held.len());
        while !held.is_empty() {
            let lease = held.swap_remove(rng.below(held.len() as u64) as usize);
            settled += 1;
            lease.complete(vec![2; RESPONSE]).unwrap_or_else(|refused| panic!("seed {seed}: {refused:?}"));
        }
        disk.clear_faults();
        store.verify().unwrap();
        store.close().unwrap();
    }
    told(format_args!("growth: {settled} settlements on a full disk, up to {most} at a time"));
    assert!(settled > 80 && most > 5);
}
