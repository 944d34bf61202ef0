//! For tests of programs that use claimstore.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic"))]

mod disk;
mod entropy;
mod rng;

pub use disk::{Disk, Event, Fault, FaultKind, Level, Operation, Variant};
#[doc(hidden)]
pub use disk::{SimHandle, SimKernel};
pub use entropy::SeededEntropy;
pub use rng::Rng;
