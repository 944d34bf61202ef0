//! Bytes and back: records, checksums, and the cursor everything is read through.
//!
//! Pure: no I/O, no clock. `bincode` is named in this module and nowhere else.

mod checksum;
mod cursor;
#[cfg(any(fuzzing, test))]
mod fuzzed;
mod numbers;
mod raw;
mod record;

pub(crate) use checksum::crc32;
pub(crate) use cursor::{Cursor, Malformed, put_bytes, put_varint};
#[cfg(fuzzing)]
pub(crate) use fuzzed::decode_any;
pub(crate) use numbers::Numbers;
pub(crate) use raw::RawRecord;
pub(crate) use record::{Asked, Base, Extra, Fingerprint, Record, Repeats, State};
