//! The codec of records: any bytes are refused, or are a record that is written and read back as it is.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| claimstore::fuzzing::record_decode(input));
