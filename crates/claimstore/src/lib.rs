//! An embedded, crash-safe claim store: *may I do this piece of work, has somebody done it, or is somebody
//! on it?*
//!
//! ```
//! # fn main() -> Result<(), claimstore::Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! use claimstore::{Claim, Store};
//! use std::time::Duration;
//!
//! let store = Store::open(dir.path())?;
//! match store.claim("invoice-2026-003", Duration::from_secs(7 * 86_400))? {
//!     Claim::Claimed(lease) => lease.complete("posted as 90017")?, // the work comes before this line
//!     Claim::Duplicate(receipt) => assert!(!receipt.is_failure()),
//!     Claim::InProgress(holder) => println!("ask again in {:?}", holder.retry_after()),
//! }
//! # store.close() }
//! ```
//!
//! # The answers to a claim
//!
//! | the key is | answer |
//! |---|---|
//! | unknown, expired, released | [`Claim::Claimed`], attempt 1 |
//! | in progress, lease running | [`Claim::InProgress`] |
//! | in progress, lease lapsed, not taken over | by [`OnOrphan`]; under `Retry`: `Claimed`, attempt + 1, higher token |
//! | orphaned (earlier life, dropped, panicked, [`Failure::unknown`]) | the same, at once |
//! | either, for the second time or later, with an [`orphan_backoff`](Policy::orphan_backoff) | `InProgress` with the wait; after it `Claimed`, attempt + 1 |
//! | under [`OnOrphan::Resolve`], not yet resolved | `InProgress` |
//! | failed, retry time ahead | `InProgress` with the remaining time; after it `Claimed`, attempt + 1 |
//! | failures or losses used up, or parked for review | error [`ErrorKind::Parked`] |
//! | completed, or failed for good | [`Claim::Duplicate`]; [`Receipt::is_failure`] tells which |
//! | reserved by a running `transact` | `InProgress` |
//! | any of these with another fingerprint | error [`ErrorKind::PayloadMismatch`]; the record stands |
//! | time-ordered, not found, older than the policy's ttl | error [`ErrorKind::TooOld`]; too far ahead: [`ErrorKind::FutureKey`] |
//!
//! Every grant that follows another is one attempt more. What bounds them is two other numbers: a key is parked at three
//! [failures](Policy::max_attempts) or ten [losses](Policy::max_losses). Dropping a lease is a loss; its process dying is a failure.
//! After either, [`Lease::in_doubt`] says that the work may have been done.
//!
//! # Futures
//!
//! Every call that may wait has a twin that returns a future, for any runtime. Nothing of them keeps the store open.
//!
//! | future of | begins | dropped before it was ready |
//! |---|---|---|
//! | `claim_async`, `claim_many_async`, `claim_or_wait_async`, `once_async` | when it is first polled | what was claimed is given back, and its attempt does not count; once the work of `once_async` has begun, the claim is abandoned |
//! | `transact_async` | when it is first polled | nothing happens, unless its closure has begun; then claim, rows and response are there together or not at all |
//! | every other | when the call returns | goes on; only the result is lost |
//! | [`Lease::keep_alive`] | when the call returns | the renewals end |
//!
//! # It is not
//!
//! a cache, a lock service, or a general key-value store; and it cannot make a remote effect happen exactly
//! once: a holder that outlives its lease can overlap the next one, so pass the [token](Lease::token) or the
//! [child key](Lease::child_key) downstream.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic"))]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("claimstore needs a 64-bit target");
#[cfg(windows)]
compile_error!("claimstore does not run on Windows: its promises rest on POSIX file semantics");

// The public types and calls; ARCHITECTURE.md says where to begin reading.
mod backend;
mod claim;
mod future;
mod import;
mod keep_alive;
mod lease;
mod namespace;
mod open;
mod options;
mod orphan;
mod queued;
mod sequence;
mod store;
mod task;
mod token;
mod transact;
mod transacting;
#[cfg(feature = "serde")]
mod typed;
mod view;
mod watch;

mod bucket;
mod codec;
mod engine;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
pub mod io;
mod journal;
mod recovery;
mod sync;

// What a claim is decided and recorded with, under the names it has here.
use claimstore_core::{error, history, key_bytes, planted, policy};

pub use claim::Claim;
pub use claimstore_core::{Backend, Claims};
pub use claimstore_core::{
    ClaimRequest, Error, ErrorKind, Failure, Filter, Happened, Holder, Note, OnDrop, OnOrphan, Orphaned,
    Past, Policy, Receipt, Record, RecordState, Review, TimeOrdered, http_status,
};
/// Keys, key rules and fingerprints: the crate `claimstore-hash` as a whole.
pub use claimstore_hash as hash;
pub use claimstore_hash::{FieldDigests, Fingerprint, Fingerprinter, KeyLabel, KeySpec, key_label};
pub use engine::measures::Pruned;
pub use engine::orphans::Unheld;
pub use engine::records::Records;
pub use future::{BatchSettleFuture, ClaimFuture, ClaimManyFuture, SettleFuture, WaitFuture};
pub use import::{Import, Imported};
pub use io::ManualClock;
pub use keep_alive::KeepAlive;
pub use lease::{Lease, SettleError};
pub use namespace::{Namespace, Once, OnceError};
pub use options::{Durability, Options};
pub use queued::{CommitFuture, DetachFuture, NamespaceFuture};
pub use sequence::{PositionClaim, PositionError, PositionLease, Sequence};
pub use store::{CompleteManyError, Store, WeakStore};
pub use task::TaskFuture;
pub use token::LeaseToken;
pub use transact::{Table, TableMut, TableRange, Transacted, Transaction};
pub use transacting::{CompleteInFuture, TransactFuture};
pub use view::{Bucket, Census, DuplicateRate, Outcomes, Quantiles, Report, Stats};
pub use watch::OrphanWatch;

/// The program in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
