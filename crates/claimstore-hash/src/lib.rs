//! Keys and payload fingerprints for [claimstore]: pure functions of bytes, no I/O, no clock, no randomness.
//!
//! ```
//! use claimstore_hash::{Fingerprint, Match, child_key, composite};
//!
//! // The key names the event: which system, which order, which stage.
//! let key = composite(&["erp-prod", "order", "0000471100", "paid"])?;
//! assert_eq!(key, b"erp-prod|order|0000471100|paid");
//!
//! // The fingerprint tells a repeat of the event from another payload under the same key.
//! let first = Fingerprint::raw(br#"{"amount":100}"#);
//! let again = Fingerprint::raw(br#"{"amount":999}"#);
//! assert_eq!(first.compare(&again), Match::Different);
//!
//! // The child key is the idempotency key of a call made while handling the event.
//! let charge = child_key("prod/acme/billing", &key, "charge");
//! assert_eq!(charge, child_key("prod/acme/billing", &key, "charge"));
//! # Ok::<(), claimstore_hash::KeyError>(())
//! ```
//!
//! # Which key?
//!
//! A good key is deterministic, unique and immutable, and names the *event*, not the message that carries it.
//!
//! | the event is | key | because |
//! |---|---|---|
//! | a document with a business number | the number's bytes as they are | never parsed, so `0042` stays `0042` |
//! | a stage of a document: order paid, order shipped | [`composite`] of number and stage | one order, several events |
//! | a line of a document | [`composite`]: `INV-2026-003`, `LINE-007` | unambiguous whatever the parts contain |
//! | a record of a source system | [`KeySpec::source_record`]: `system:type:id` | two systems may use one id |
//! | an upsert into a system with rules of its own | that system's [`KeySpec`] | its idea of "the same" becomes yours |
//! | a webhook or an event from a grid | [`KeySpec::cloudevents`], or sender and event id | the sender's id is only unique for the sender |
//! | a message from a broker | [`KeySpec::service_bus`]: entity and message id, *and* a fingerprint | brokers do not compare bodies |
//! | an HTTP request with an idempotency key | the header's text, [`KeySpec::stripe`] for its length, a namespace per account; *and* a fingerprint | clients use keys again |
//! | identified by several long or private fields | [`digest_key`] | 32 bytes, not readable |
//! | without any id, given by its fields | [`DerivedKey`] | read there about truncated time first |
//! | without any id, made by yourself | [`UuidV7Minter`] or [`UlidMinter`], once, kept with the event | and `TooOld` for ever after |
//! | given a UUIDv7 or ULID at its origin | [`parse_uuid_v7`], [`parse_ulid`], and the 16 bytes | spellings are one key |
//! | a log position, an offset, a sequence number | the store's sequences, one value per stream | no key per message at all |
//! | a call made while handling an event | [`child_key`] of the event and the step | the same for every attempt |
//!
//! Not keys: times of sending or receiving, fields that can change (an e-mail address), a random id made afresh for
//! each retry. [`KeyQuality`] watches keys go by and tells.
//!
//! # Which fingerprint?
//!
//! | the payload is | take |
//! |---|---|
//! | resent byte for byte: files, signed webhooks, anything binary | [`Fingerprinter::raw`]; large: [`raw_stream`](Fingerprinter::raw_stream) |
//! | JSON that is written anew for each try | [`Fingerprinter::json`] |
//! | the same, with members that change: a time of sending, a trace id | [`json_with`](Fingerprinter::json_with) and [`JsonRules::exclude`] |
//! | JSON of which few fields make the event | [`JsonRules::include`] |
//! | JSON with numbers beyond doubles, or members twice | refused as JSON: `raw`, or have them sent as text |
//! | a form | [`Fingerprinter::form`] |
//! | a request as a whole | [`Fingerprinter::http`] |
//! | a value of a type of yours | `Fingerprinter::of`, with feature `serde` |
//! | to be told apart field by field | [`json_with_fields`](Fingerprinter::json_with_fields) |
//!
//! Payloads that can be guessed need a key: [`Fingerprinter::with_key`], or the one that a store keeps. The functions
//! of [`Fingerprint`] itself use none.
//!
//! # One id, several spellings
//!
//! `0192F0C5-…`, `0192f0c5…` and the raw bytes spell one UUID, but as byte strings they are three keys, and a
//! sender that changes its JSON library would run everything a second time. [`TimeOrderedId`] is the id without
//! its spelling; key by [`TimeOrderedId::to_bytes`]. A [`KeySpec`] does the same for text: case, white space and
//! composed letters, as far as the system in question takes them for the same.
//!
//! # What stays the same
//!
//! Keys and fingerprints outlive the program that made them. For the same input, every version of this crate
//! gives the same composite key, digest, child key and fingerprint; tests hold them to fixed values. A new way to
//! fingerprint gets a new scheme number, and fingerprints of different schemes, keys or rules are never compared.
//!
//! # What it is not
//!
//! Not for passwords: a fingerprint without a key can be found by guessing the payload. Not a JSON validator beyond
//! what the fingerprint needs, and not lenient: what could be read in two ways is refused, and nothing falls back
//! to another form by itself.
//!
//! Inputs are of any length and content, and no function panics on any of them. `Debug` and error texts show no
//! byte of a key or fingerprint.
//!
//! # Features
//!
//! `serde`: fingerprints of Serde values. `sha2`: SHA-256 instead of BLAKE3, if regulations require it. Neither is on
//! by default.
//!
//! [claimstore]: https://docs.rs/claimstore

#![forbid(unsafe_code)]

mod composite;
mod derived;
mod digest;
mod error;
mod fields;
mod fingerprint;
mod fingerprinter;
mod form;
mod hex;
#[cfg(feature = "sha2")]
mod hmac;
mod http;
mod id;
mod json;
mod label;
mod mac;
mod mint;
mod payload;
mod quality;
mod seal;
mod spec;
#[cfg(feature = "serde")]
mod value;

pub use composite::{CompositeKey, MAX_KEY_BYTES, composite, composite_parts};
pub use derived::{DerivedKey, Grain};
pub use digest::{child_key, child_key_hex, digest_key};
pub use error::KeyError;
pub use fields::{FieldDigests, FieldsError};
pub use fingerprint::{Fingerprint, Match};
pub use fingerprinter::{Fingerprinter, RawStream};
pub use form::FormRules;
pub use http::{HttpBody, HttpRequest, HttpRules};
pub use id::{TimeOrderedId, parse_ulid, parse_uuid_v7, ulid_time_ms, uuid_v7_time_ms};
pub use json::pointer::PointerError;
pub use json::{JsonRules, canonical_json};
pub use label::{KeyLabel, key_label};
pub use mint::{UlidMinter, UuidV7Minter};
pub use payload::PayloadError;
pub use quality::{Doubt, Finding, KeyQuality};
pub use seal::{Seal, Sealer};
pub use spec::{Case, Characters, KeyPart, KeySpec};

/// Lets the README's program be compiled and run with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
