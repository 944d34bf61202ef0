//! Recovery of claims whose holder is gone.
//!
//! A process dies between claim and complete. The key is in progress without a holder: an *orphan*. The store detects
//! this at once. But only the caller can find out whether the work had an effect, and so what must happen next. This
//! crate asks the caller's code, decides, and continues to do so while the store runs.
//!
//! ```
//! # fn main() -> Result<(), claimstore::Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! use claimstore::Store;
//! use claimstore_recovery::{Orphan, OrphanPolicy, Recovery, Resolution};
//! use std::time::Duration;
//!
//! /// Who claims sends its request within its lease of 60 s, and the remote side books it within 30 s or never.
//! const UNDER_WAY: Duration = Duration::from_secs(60 + 30);
//!
//! let store = Store::open(dir.path())?;
//! let recovery = || {
//!     Recovery::new(&store)
//!         .policy(OrphanPolicy::retry()) // safe where doing it twice does no harm
//!         .policy_for("invoices", OrphanPolicy::resolve())
//!         .resolver_for("invoices", |orphan: &Orphan| match ask_the_remote_side(orphan.key()) {
//!             Ok(Some(number)) => Resolution::Happened(number),
//!             // Not found is not enough: the request may still be under way.
//!             Ok(None) if orphan.age() >= UNDER_WAY => Resolution::DidNotHappen,
//!             Ok(None) | Err(_) => Resolution::Unknown, // asked again later; in the end held for review, not guessed
//!         })
//! };
//! let report = recovery().run()?; // before any work is taken on
//! println!("{} orphans, {} parked", report.counts.found, report.counts.parked);
//! let reaper = recovery().spawn()?; // and while the store runs
//! // .. claim, work, complete ..
//! reaper.stop();
//! # store.close() }
//! # fn ask_the_remote_side(_: &[u8]) -> Result<Option<Vec<u8>>, ()> { Ok(None) }
//! ```
//!
//! # What happens to an orphan
//!
//! | policy | effect |
//! |---|---|
//! | [`OrphanPolicy::park`] | held for review: [`ReviewQueue`] |
//! | [`OrphanPolicy::fail`] | failed for good |
//! | [`OrphanPolicy::resolve`] | a [`Resolver`] decides; it runs under a fresh fenced lease |
//! | [`OrphanPolicy::retry`] | claimable again: the second attempt at once, later ones after a back-off |
//!
//! | the resolver | the orphan |
//! |---|---|
//! | [`Resolution::Happened`] | completed |
//! | [`Resolution::DidNotHappen`] | retried, as one loss; parked once the losses are used up |
//! | [`Resolution::Failed`] | failed for good |
//! | [`Resolution::Unknown`] | asked about later, after a back-off; parked once the asks are used up |
//! | panics, is late, or returns too much | parked with that reason |
//! | was overtaken (operator, lapsed lease) | unchanged |
//! | dies with its process | an ordinary orphan; parked once it was asked about as often as allowed |
//!
//! # Any backend
//!
//! [`Recovery`] and [`ReviewQueue`] take whatever becomes [`Claims`](claimstore_core::Claims): a store, a namespace of it, or
//! the handle of another backend. All namespaces are recovered, whichever is given. Calls wait for the backend on the threads of
//! the recovery and on that of [`Recovery::run`]; none of them may be a thread of an asynchronous runtime.
//!
//! A call whose answer is lost ([`Indeterminate`](claimstore_core::ErrorKind::Indeterminate)) is told as
//! [`Outcome::Error`]. The next pass finds what is still an orphan; one that was taken over is found once that lease has lapsed.
//!
//! # It is not
//!
//! a way to make a remote effect happen exactly once if the remote side can neither be queried nor given the
//! [fence](Orphan::fence): in that case [`OrphanPolicy::park`] is the honest policy.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic"))]

mod ask;
mod event;
mod pass;
mod policy;
mod reaper;
mod recovery;
mod resolver;
mod review;
mod step_list;
pub mod steps;
mod time;

pub use event::{Counts, Event, Events, Outcome, Reason};
pub use policy::OrphanPolicy;
pub use reaper::Reaper;
pub use recovery::{Recovery, Report};
pub use resolver::{AsyncResolver, Orphan, Resolution, ResolveFuture, Resolver};
pub use review::{Parked, ParkedKeys, ReviewQueue};
pub use step_list::{Stage, StepList};
