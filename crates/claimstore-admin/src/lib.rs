//! Inspection of a live store, and decisions about it: the requests, and the service that answers them.
//!
//! A program that has a store open may serve a socket in the store's directory:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use claimstore_admin::{Answer, Client, Request, ServeAdmin as _};
//!
//! let store = claimstore::Store::open(dir.path())?;
//! store.serve_admin()?;
//!
//! // In another process of the same user, or by `claimstore top`:
//! let mut client = Client::connect(dir.path())?;
//! let Answer::Live { live } = client.ask(&Request::Live)? else { unreachable!() };
//! assert_eq!(live.census.in_progress, 0);
//!
//! store.close()?; // ends the thread and takes the socket away
//! # Ok(()) }
//! ```
//!
//! It costs one thread, which sleeps while there is no request; without it a store has at most two threads. A second
//! one exists while a request is served that excludes the store's upkeep (a checkpoint, a prune, a policy, a backup).
//! The socket, `admin.sock`, is readable and writable by its owner only, from its creation on. On Linux the service
//! also asks the system for the user of each connection, and accepts the user that the process runs as, and root. A
//! socket that was left by a crash is replaced by the next service. It is not part of a backup.
//!
//! # Requests
//!
//! [`Request`] lists all of them: numbers, one key, lists of keys a page at a time, policies. Two requests change
//! files: a checkpoint and a prune, which the store also does by itself. `verify` is left out: it blocks upkeep while
//! it reads every byte, and claims are refused once the journal is full; use it on a closed store or a backup. Keys
//! and stored data are in an answer only if the request asks for them by [`Show`].
//!
//! # Permissions
//!
//! No record can be changed, unless the program calls [`Admin::allow_decisions`]. Then clients can make [`Decision`]s
//! about keys, set policies, take backups and export everything that is stored. [`answer`] makes the same decisions
//! about a store in this process. Each decision is about the key as it was [`Seen`]. The store fences it against
//! claims and other reviewers, and it does not take a claim from a holder whose lease runs (except a forced
//! [`Verb::Forget`]). It is durable when it is answered, within the store's durability level. A backup is made by
//! this process, and a close waits for it. An [`Export`] keeps files on the disk that a merge or a prune has
//! replaced, until it ends.
//!
//! # The protocol, version 1
//!
//! One JSON object per line, in UTF-8, over a stream socket; each request is answered by one line, in order. A
//! request has the member `v`, the version, and `ask`, its name, with its parameters beside it:
//!
//! ```text
//! {"v":1,"ask":"get","namespace":"","key":"order-4711"}
//! {"answer":"record","record":{"state":"completed", ..},"store_time_ms":1800000000000}
//! {"v":1,"ask":"get","namespace":"","key_label":"3f9a2b77c0de+10B"}
//! {"answer":"record","record":{"state":"completed", ..},"store_time_ms":1800000000000}
//! {"v":1,"ask":"nonsense"}
//! {"answer":"refused","kind":"usage","message":".."}
//! ```
//!
//! A reader must ignore unknown members. New members and new requests come without a new version. A request that a
//! program does not know is refused as `unsupported`, and as `usage` by programs built before `hello` existed.
//! `hello` tells whether decisions are allowed; if not, they are refused as `denied`.
//!
//! Bounds: a request of 16 KiB, or 4 MiB if decisions are allowed; eight connections, four of them for one process; a
//! page of 1,000 records or about 4 MiB; a decision about 100 keys; half a minute of silence; five seconds for the
//! transfer of a request or an answer, from its first byte to its last; for an export at least 256 KiB a second, plus
//! one minute. Anything beyond is refused, or the connection is closed. A connection that reads or writes slowly
//! delays neither other connections nor a close.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic"))]

// In layers, each of which names only those above it: hex, millis; wire (what is written and read); socket; answer (a
// request answered about a store), client; serve (the thread behind the socket).
mod answer;
mod client;
mod hex;
mod millis;
mod planted;
mod serve;
mod socket;
mod wire;

pub use answer::{Export, Served, answer, is_cursor, resolve};
pub use claimstore_hash::{KeyLabel, key_label};
pub use client::{AskError, Client};
pub use hex::{from_hex, hex};
pub use millis::ms;
pub use serve::{Admin, ServeAdmin};
pub use socket::SOCKET;
pub use wire::{
    Answer, BackoffView, BucketView, CensusView, Decision, Dir, ExportView, FingerprintView, Key, Listing,
    Live, MAX_TARGETS, Numbers, OrphanRule, OutcomesView, Page, PastView, PolicyChange, PolicyView,
    QuantilesView, QuotaView, RecordView, Refusal, RefusalKind, Request, Response, RulesView, Seen, Show,
    State, TallyView, Target, Verb, Verdict, Which, cause_name, happened_name,
};

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
