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
//! Timestamps, fields that can change, and a random id made afresh for each retry are not keys.
//!
//! | what the event has | take |
//! |---|---|
//! | a business number | the number's bytes as they are; never parsed, so `0042` stays `0042` |
//! | several fields that identify it together | [`composite`] or [`CompositeKey`] |
//! | the same, longer than [`MAX_KEY_BYTES`] or not to be readable | [`digest_key`] |
//! | a UUIDv7 or ULID given at its origin | [`parse_uuid_v7`] or [`parse_ulid`], and the 16 bytes |
//! | nothing | an id minted once where the event arises, kept with it: [`UuidV7Minter`], [`UlidMinter`] |
//! | a parent event and a step in its handling | [`child_key`] |
//!
//! # One id, several spellings
//!
//! `0192F0C5-…`, `0192f0c5…` and the raw bytes spell one UUID, but as byte strings they are three keys, and a
//! sender that changes its JSON library would run everything a second time. [`TimeOrderedId`] is the id without
//! its spelling; key by [`TimeOrderedId::to_bytes`].
//!
//! # What stays the same
//!
//! Keys and fingerprints outlive the program that made them. For the same input, every version of this crate
//! gives the same composite key, digest, child key and fingerprint; tests hold them to fixed values. A new way to
//! fingerprint gets a new scheme number, and fingerprints of different schemes are never compared.
//!
//! # What it is not
//!
//! Not for passwords: a fingerprint of a guessable payload can be found by guessing. Not a canonicaliser:
//! [`Fingerprint::raw`] takes the bytes as they are, so white space counts.
//!
//! Inputs are of any length and content, and no function panics on any of them. `Debug` and error texts show no
//! byte of a key or fingerprint.
//!
//! [claimstore]: https://docs.rs/claimstore

#![forbid(unsafe_code)]

mod composite;
mod digest;
mod error;
mod fields;
mod fingerprint;
mod fingerprinter;
mod form;
#[cfg(feature = "sha2")]
mod hmac;
mod http;
mod id;
mod json;
mod mac;
mod mint;
mod payload;
#[cfg(feature = "serde")]
mod value;

pub use composite::{CompositeKey, MAX_KEY_BYTES, composite, composite_parts};
pub use digest::{child_key, digest_key};
pub use error::KeyError;
pub use fields::{FieldDigests, FieldsError};
pub use fingerprint::{Fingerprint, Match};
pub use fingerprinter::{Fingerprinter, RawStream};
pub use form::FormRules;
pub use http::{HttpBody, HttpRequest, HttpRules};
pub use id::{TimeOrderedId, parse_ulid, parse_uuid_v7, ulid_time_ms, uuid_v7_time_ms};
pub use json::pointer::PointerError;
pub use json::{JsonRules, canonical_json};
pub use mint::{UlidMinter, UuidV7Minter};
pub use payload::PayloadError;

#[cfg(test)]
mod testing {
    use std::fmt::Write;

    pub(crate) fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }
}

/// Lets the README's program be compiled and run with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
