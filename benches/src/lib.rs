//! Benches of claimstore: what it is measured against, and how.
//!
//! A number from one machine says little; a ratio between two things measured side by side in one run says
//! more. So every program here measures claimstore together with its references, in interleaved rounds:
//!
//! - [`bare`]: what the device gives one thread that does nothing but overwrite and sync;
//! - [`ideal`]: a journal and a hash map with nothing else, the limit of the design;
//! - [`engine`]: claim stores as one builds them on other databases; here on [`redb`], on more of them in the workspace
//!   `benches/rivals`.
//!
//! `docs/benchmarks.md` tells how to run them and what the results mean.
#![forbid(unsafe_code)]
#![expect(clippy::missing_errors_doc, reason = "every error ends the bench with its text")]

pub mod args;
pub mod bare;
pub mod claims;
pub mod device;
pub mod disk;
pub mod drive;
pub mod engine;
pub mod executor;
pub mod group;
pub mod ideal;
pub mod in_flight;
pub mod keys;
pub mod load;
pub mod redb;
pub mod results;
pub mod scenario;
pub mod scratch;
pub mod stock;
pub mod subject;
pub mod summary;
pub mod time;

/// Errors of a bench end the program with their text, so one boxed type is enough.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the fallible functions of the benches return.
pub type Result<T> = std::result::Result<T, Error>;
