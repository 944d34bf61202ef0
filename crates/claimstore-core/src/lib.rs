//! What a claim of [claimstore] is answered and what is recorded of it: pure functions and plain data, for authors of backends.
//!
//! A backend keeps, for each key, the newest version of a [record](codec::Record), as bytes. It decides with the same
//! functions as the embedded store, so that attempts, back-off, parking, mismatches, time-ordered keys, reviews and
//! histories are the same in each. It differs only in how it finds the newest version, compares and swaps, and makes the
//! next one durable:
//!
//! 1. [`Policy::identify`] reads the key, [`Wanted::of`](decide::Wanted::of) the request.
//! 2. [`decide`](decide::decide) says what is answered, and what becomes of the key.
//! 3. [`claimed`](decide::claimed), [`settled`](decide::settled) and their like build the next version.
//! 4. [`Record::encode`](codec::Record::encode) writes it. Once that is durable, the answer may be given.
//!
//! A backend of one key, in memory:
//!
//! ```
//! use claimstore_core::codec::{Base, Cursor, Malformed, Record, State};
//! use claimstore_core::decide::{Decision, Ending, Hold, Now, Wanted, claimed, decide, settled};
//! use claimstore_core::{ClaimRequest, Error, ErrorKind, Policy, Receipt};
//!
//! #[derive(Default)]
//! struct OneKey {
//!     newest: Vec<u8>,
//!     last_seq: u64,
//!     lease_until_ms: u64,
//! }
//!
//! impl OneKey {
//!     fn find(&self) -> Result<Option<Record>, Error> {
//!         if self.newest.is_empty() {
//!             return Ok(None);
//!         }
//!         let record = Record::decode(&mut Cursor::new(&self.newest), &Base::default());
//!         record.map(Some).map_err(|Malformed(part)| Error::corrupt(part))
//!     }
//!
//!     /// Where a real backend compares with the version it found, swaps, and syncs.
//!     fn put(&mut self, record: &Record) {
//!         self.newest.clear();
//!         record.encode(&Base::default(), &mut self.newest);
//!     }
//!
//!     fn next_seq(&mut self) -> u64 {
//!         self.last_seq += 1;
//!         self.last_seq
//!     }
//!
//!     /// The decision, and the newest version after it.
//!     fn claim(
//!         &mut self,
//!         request: &ClaimRequest,
//!         policy: &Policy,
//!         now_ms: u64,
//!     ) -> Result<(Decision, Option<Record>), Error> {
//!         let key_time_ms = policy.identify(request.key())?.time_ms();
//!         let wanted = Wanted::of(request, policy, key_time_ms)?;
//!         let found = self.find()?;
//!         let hold = match self.lease_until_ms.checked_sub(now_ms) {
//!             None | Some(0) => Hold::Lapsed,
//!             Some(remaining_ms) => Hold::Running { remaining_ms },
//!         };
//!         let now = Now { store_ms: now_ms, wall_ms: now_ms };
//!         let decision = decide(found.as_ref().map(|record| (record, hold)), &wanted, policy, 0, now);
//!         let Decision::Claim { attempt } = decision else { return Ok((decision, found)) };
//!         let (orphaned, seq) = (hold.orphaned(), self.next_seq());
//!         let record = claimed(found.as_ref(), orphaned, attempt, &wanted, seq, now_ms);
//!         self.put(&record);
//!         self.lease_until_ms = now_ms + record.lease_ms;
//!         Ok((decision, Some(record)))
//!     }
//!
//!     /// Refused unless the key is in progress under exactly this token.
//!     fn settle(&mut self, token: u64, ending: &Ending, policy: &Policy, now_ms: u64) -> Result<(), Error> {
//!         let is_held = |record: &Record| record.state == State::InProgress && record.token == token;
//!         let stale = || Error::new(ErrorKind::StaleLease, "the token was superseded or settled");
//!         let held = self.find()?.filter(is_held).ok_or_else(stale)?;
//!         let record = settled(&held, ending, policy, None, self.next_seq(), now_ms);
//!         self.put(&record);
//!         Ok(())
//!     }
//! }
//!
//! let (mut backend, policy) = (OneKey::default(), Policy::daily());
//! let request = ClaimRequest::new("invoice-2026-003");
//! let (decision, record) = backend.claim(&request, &policy, 1_000)?;
//! assert_eq!(decision, Decision::Claim { attempt: 1 });
//! let token = record.map_or(0, |record| record.token);
//!
//! // Somebody else is told how long the lease runs.
//! let (decision, _) = backend.claim(&request, &policy, 2_000)?;
//! assert_eq!(decision, Decision::InProgress { retry_after_ms: 59_000 });
//!
//! backend.settle(token, &Ending::Complete(b"posted as 90017"), &policy, 3_000)?;
//! let (decision, record) = backend.claim(&request, &policy, 4_000)?;
//! let (Decision::Duplicate { failure, fingerprint_checked }, Some(record)) = (decision, record) else { panic!() };
//! assert_eq!(Receipt::of(&record, failure, fingerprint_checked).response(), b"posted as 90017");
//! # Ok::<(), Error>(())
//! ```
//!
//! # For layers
//!
//! What works with any backend takes [`Claims`], a namespace of one: `impl Into<Claims>` in a constructor accepts a store,
//! a namespace, or the handle of a database. [`Backend`] is what a backend implements.
//!
//! # It is not
//!
//! a store. There is no I/O in this crate. It opens no file, reads no clock, takes no lock and starts no thread; times are
//! handed in. Only [`Pending::wait`] blocks: it parks the calling thread.
//!
//! [claimstore]: https://docs.rs/claimstore
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic"))]

pub mod backend;
pub mod claim;
pub mod claims;
pub mod codec;
pub mod decide;
pub mod error;
pub mod history;
pub mod key_bytes;
pub mod limits;
mod pending;
#[doc(hidden)]
pub mod planted;
pub mod policy;
pub mod review;
pub mod tally;
pub mod time;
#[cfg(feature = "serde")]
pub mod typed;
pub mod view;

pub use backend::Backend;
pub use claim::{ClaimRequest, Failure, Holder, Receipt};
pub use claims::{Claim, Claims, CompleteManyError, Lease, Once, OnceError, Records, SettleError};
pub use error::{Error, ErrorKind, http_status};
pub use history::{Happened, Orphaned, Past};
pub use pending::Pending;
pub use policy::{OnDrop, OnOrphan, Policy, TimeOrdered};
pub use review::{Note, Review};
pub use view::{Filter, Record, RecordState};

/// The program in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
