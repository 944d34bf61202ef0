//! The pure scan of a journal segment, on bytes and on segments written to order: it ends, what it takes for a frame
//! is one, and mending the end moves nothing, wherever a crash stops it.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| claimstore::fuzzing::journal_scan(input));
