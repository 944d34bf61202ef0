//! Bytes and back: records, checksums, and the cursor everything is read through.
//!
//! Pure: no I/O, no clock. `bincode` is named in this module and nowhere else.

mod checksum;
mod cursor;
mod record;

pub(crate) use checksum::crc32;
pub(crate) use cursor::{Cursor, Malformed, put_bytes, put_varint};
pub(crate) use record::{Asked, Base, Extra, Fingerprint, Record, State};
