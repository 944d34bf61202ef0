//! Bytes and back: what `claimstore-core` has of records and the cursor, and checksums.
//!
//! Pure: no I/O, no clock.

mod checksum;

pub(crate) use checksum::crc32;
#[cfg(fuzzing)]
pub(crate) use claimstore_core::codec::decode_any;
pub(crate) use claimstore_core::codec::{
    Asked, Base, Cursor, Extra, Fingerprint, Malformed, Numbers, RawRecord, Record, Repeats, State,
    put_bytes, put_varint,
};
