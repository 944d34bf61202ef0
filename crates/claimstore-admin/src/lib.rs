//! Looking into a live store, and deciding about it: what can be asked, and who answers.
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
//! It costs one thread, which sleeps while nobody asks; without it a store has two threads at most. While somebody has
//! asked for what takes turns with the store's upkeep (a checkpoint, a prune, a policy, a backup) there is a second one.
//! The socket, `admin.sock`, is readable and writable by its owner alone from its first moment on, and on Linux the
//! system is asked who connects: the user that the process runs as, and root. One that a crash left behind is replaced
//! by the next that serves. It is no part of a backup.
//!
//! # What can be asked
//!
//! [`Request`] is all of it: numbers, one key, lists of keys a page at a time, policies; and, of what changes
//! files, a checkpoint and a prune, which the store also does by itself. `verify` is left out: it holds upkeep up while
//! it reads every byte, and claims are refused once the journal is full; it is for a closed store or a backup. Keys and
//! what programs stored are in an answer only where the request asks for them by [`Show`].
//!
//! # What must be allowed
//!
//! No record can be changed, unless the program calls [`Admin::allow_decisions`]. Then [`Decision`]s can be made about
//! keys, policies set, backups taken, and all that is stored exported. [`answer`] makes the same decisions about a store
//! in this process. Each is about the key as it was [`Seen`], is fenced by the store against claims and other reviewers,
//! leaves a claim whose holder is trusted to it (but for a forced [`Verb::Forget`]), and is durable when it is answered,
//! as far as the store's durability goes. A backup is made by this process, and a close waits for it. An [`Export`]
//! keeps files on the disk that a merge or a prune has replaced, until it ends.
//!
//! # The protocol, version 1
//!
//! One JSON object a line, in UTF-8, over a stream socket; each request is answered by one line, in order. A
//! request has the member `v`, the version, and `ask`, what is asked, with its parts beside it:
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
//! Members a reader does not know are to be ignored; new ones come without a new version, and so do new requests: one
//! that a program does not know is refused as `unsupported`, by programs built before `hello` as `usage`. `hello` tells
//! whether decisions are allowed; without that they are refused as `denied`.
//!
//! Bounds: a request of 16 KiB, of 4 MiB where decisions are allowed; eight connections, four of them for one process; a
//! page of 1,000 records or about 4 MiB; a decision about 100 keys; half a minute of silence; five seconds for a request
//! or an answer to get through, from its first byte to its last; an export 256 KiB a second, beside a minute. What is
//! beyond is refused, or the connection ends. Nobody waits for a connection that reads or writes slowly, and none of them
//! keeps a close waiting.
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
pub use client::{AskError, Client};
pub use hex::{from_hex, hex};
pub use millis::ms;
pub use serve::{Admin, ServeAdmin};
pub use socket::SOCKET;
pub use wire::{
    Answer, BackoffView, BucketView, CensusView, Decision, Dir, ExportView, FingerprintView, Key, KeyLabel,
    Listing, Live, MAX_TARGETS, Numbers, OrphanRule, OutcomesView, Page, PastView, PolicyChange, PolicyView,
    QuantilesView, QuotaView, RecordView, Refusal, RefusalKind, Request, Response, RulesView, Seen, Show,
    State, Target, Verb, Verdict, Which, cause_name, happened_name, key_hash,
};

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
