//! The world claimstore is tested in: a disk that can lose power at any point, random bytes that repeat,
//! and judges that say whether what came back is what was promised.
//!
//! - [`SimDisk`]: the disk of [`claimstore_testing`], a storage that records every operation and can show each state a
//!   machine might find after losing power (fault levels L0 to L4, and the lying flush of L6 as a control);
//! - [`model`]: what a claim store answers, as a state machine of one key;
//! - [`history`] and [`checker`]: what many threads saw, and whether one order of operations explains it;
//! - [`gate`]: a disk that stops a thread between two operations, so that others go on meanwhile;
//! - [`kill`]: the same for a process of its own, on a real file system.
//!
//! Everything here is a function of its seed. Time is [`claimstore::ManualClock`].
#![forbid(unsafe_code)]

pub mod checker;
pub mod gate;
pub mod history;
pub mod kill;
pub mod model;
#[expect(
    clippy::missing_errors_doc,
    clippy::indexing_slicing,
    reason = "every error is a store that failed or disagreed, and a panic is a failed test"
)]
pub mod script;

pub use checker::check;
pub use claimstore_testing::{
    Disk as SimDisk, Event, Fault, FaultKind, Level, Operation as Target, Rng, SeededEntropy, SimHandle,
    SimKernel, Variant,
};
pub use history::{History, Recorder};
pub use model::Violation;
