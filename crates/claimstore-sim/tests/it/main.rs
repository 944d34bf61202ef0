//! The general layers: scripts against the model, crash images, failing disks, threads.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::similar_names,
    clippy::match_same_arms,
    clippy::trivially_copy_pass_by_ref,
    missing_docs,
    reason = "tests may panic, start threads and name things alike"
)]

mod backups;
mod crash;
mod damage;
mod decisions;
mod executor;
mod faults;
mod fingerprints;
mod imports;
mod kill;
mod promises;
mod races;
mod recovery_crash;
mod recovery_rules;
mod replay;
mod sequences;
mod state_machine;
mod threads;
mod watch;
mod worker;
