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
mod failures;
mod faults;
mod fingerprints;
mod growth;
mod imports;
mod kill;
mod midst;
mod promises;
mod races;
mod read_only;
mod real_storage;
mod recovery_crash;
mod recovery_pace;
mod recovery_rules;
mod replay;
mod resources;
mod rest;
mod secrecy;
mod sequences;
mod state_machine;
mod streams;

mod threads;
mod upgrade;
mod watch;
mod worker;
