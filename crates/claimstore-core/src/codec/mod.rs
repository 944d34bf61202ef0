//! Bytes and back: the [`Record`], and the [`Cursor`] that all bytes are read through.
//!
//! A record is kept as the bytes that [`Record::encode`] writes and [`Record::decode`] reads; docs/file-format.md
//! specifies them. They are stable: every later version reads what this one wrote, and keeps the extensions that it does
//! not know. `bincode`, an optional dependency, is named in `varint` and nowhere else.

mod cursor;
mod extra;
#[cfg(any(fuzzing, test))]
mod fuzzed;
mod numbers;
mod raw;
mod record;
mod varint;

pub use cursor::{Cursor, Malformed, put_bytes, put_varint};
pub use extra::{Asked, Extra, MAX_CALLS_BYTES, Repeats};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use fuzzed::decode_any;
pub use numbers::Numbers;
pub use raw::RawRecord;
pub use record::{Base, Fingerprint, Record, State};
