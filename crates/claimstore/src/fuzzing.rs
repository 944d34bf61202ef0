//! Doors for fuzz targets into parts without a public name. Only builds with `--cfg fuzzing` have them, which
//! cargo-fuzz sets; nothing here is part of the API.

/// Reads `input` as a journal segment. Panics when the scan breaks a rule of its own.
pub fn journal_scan(input: &[u8]) {
    crate::journal::scan_any(input);
}

/// Reads `input` as records, one after the other. Panics if one of them does not read back.
pub fn record_decode(input: &[u8]) {
    crate::codec::decode_any(input);
}
