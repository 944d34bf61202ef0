//! The seams: everything the store takes from the outside world comes in here.
//!
//! Three traits, [`Storage`] (files), [`Clock`] (time) and [`Entropy`] (random bytes). A program
//! normally never names them; the simulator and the tests put their own underneath, so that every
//! write, sync and reading of a clock can be recorded, delayed and made to fail.
//!
//! Only this module opens files or reads clocks.

mod clock;
mod entropy;
mod file;
mod memory;
mod named;
mod overlay;
mod owner;
mod process;
mod storage;
#[doc(hidden)]
pub mod system;

pub use clock::{Clock, ManualClock, SystemClock};
pub use entropy::{Entropy, SystemEntropy};
pub use file::DirStorage;
pub use memory::MemoryStorage;
pub(crate) use named::Named;
pub(crate) use overlay::Overlay;
pub(crate) use process::{FORKED, Process};
pub use storage::{File, LockGuard, OpenMode, Ownership, Storage};
