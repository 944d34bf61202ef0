//! For tests of programs that use [claimstore]: does a handler do its work once, whatever crashes?
//!
//! ```
//! use claimstore::{Claim, Error};
//! use claimstore_testing::{Run, crash_points};
//! use std::time::Duration;
//!
//! fn handle(run: &Run) -> Result<(), Error> {
//!     match run.store().claim("order-1", Duration::from_secs(86_400))? {
//!         Claim::Claimed(lease) => {
//!             // A remote side that does the work once for each idempotency key.
//!             let id = lease.child_key("pay");
//!             let receipt = run.effects().run_once("order-1", "pay", &id, || b"receipt 17".to_vec());
//!             lease.complete(receipt)?;
//!             Ok(())
//!         }
//!         Claim::Duplicate(_) => Ok(()),
//!         Claim::InProgress(_) => Err(Error::caller("deliver it again later")),
//!     }
//! }
//!
//! let verdict = crash_points(handle)?;
//! verdict.assert_effects_at_most_once();
//! verdict.assert_nothing_lost();
//! # Ok::<(), claimstore_testing::NoVerdict>(())
//! ```
//!
//! # What is in it
//!
//! | | |
//! |---|---|
//! | [`crash_points`], [`crash_points_async`], [`CrashPoints`] | run a handler, crash it at every point, deliver the message again, and give a [`Verdict`] |
//! | [`Run`], [`Effects`] | what a handler is given: the store, and the world outside of it |
//! | [`Disk`] | a disk in memory that fills up, fails, and loses power; for tests of your own |
//! | [`ManualClock`] | a clock that is moved by hand |
//! | [`SeededEntropy`], [`Rng`] | random bytes that repeat |
//! | [`small_options`], [`block_on`] | a store that is opened quickly; an executor for one future |
//!
//! # It is not
//!
//! - a test of the remote side. Whether the real one knows idempotency keys, and for how long, it cannot see.
//! - a test of what two workers do at a time: one process handles one message.
//! - for production: nothing in this crate reaches a real disk.
//!
//! [claimstore]: https://docs.rs/claimstore
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic"))]

mod block_on;
mod crash_points;
mod disk;
mod effects;
mod entropy;
mod judge;
mod options;
mod process;
mod rng;
mod run;
mod verdict;

pub use block_on::block_on;
pub use claimstore::ManualClock;
pub use crash_points::{CrashPoints, NoVerdict, crash_points, crash_points_async};
pub use disk::{Disk, Event, Fault, FaultKind, Level, Operation, Variant, Which};
#[doc(hidden)]
pub use disk::{SimHandle, SimKernel};
pub use effects::Effects;
pub use entropy::SeededEntropy;
pub use options::small_options;
pub use rng::Rng;
pub use run::Run;
pub use verdict::{Crash, Finding, FindingKind, Verdict};

/// The program in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The programs of the page for users compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/testing-your-handler.md")]
struct Page;
