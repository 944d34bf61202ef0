//! Everything that reads keys or bytes of the crate's own: composite keys, ids, key rules and their bytes, field
//! digests, paths and forms. Each answers or refuses, and what it answers reads back.

#![no_main]

use claimstore_hash::{
    Case, FieldDigests, Fingerprint, HttpRequest, HttpRules, JsonRules, KeyQuality, KeySpec, composite,
    composite_parts, parse_ulid, parse_uuid_v7,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(parts) = composite_parts(bytes) {
        assert_eq!(composite(&parts).as_deref(), Ok(bytes));
    }
    if let Ok(id) = parse_uuid_v7(bytes) {
        assert_eq!(parse_uuid_v7(&id.to_bytes()), Ok(id));
        assert_eq!(parse_uuid_v7(id.to_uuid_string().as_bytes()), Ok(id));
    }
    if let Ok(id) = parse_ulid(bytes) {
        assert_eq!(parse_ulid(&id.to_bytes()), Ok(id));
        assert_eq!(parse_ulid(id.to_ulid_string().as_bytes()), Ok(id));
    }
    let presets = [
        KeySpec::salesforce(),
        KeySpec::netsuite(),
        KeySpec::dynamics365(3),
        KeySpec::sap(),
        KeySpec::stripe(),
        KeySpec::client_token(),
        KeySpec::service_bus(),
        KeySpec::source_record(),
        KeySpec::new().compose(true).case(Case::Lower).trim(true).allow_empty(true).parts(1, 200),
    ];
    for spec in &presets {
        settles(spec, bytes);
    }
    if let Some((rule, key)) = bytes.split_at_checked(9)
        && let Ok(spec) = KeySpec::from_bytes(rule)
    {
        assert_eq!(spec.to_bytes(), rule);
        settles(&spec, key);
    }
    if let Ok(fields) = FieldDigests::from_bytes(bytes) {
        assert_eq!(fields.to_bytes(), bytes);
        assert_eq!(fields.differing(&fields).as_deref(), Some(&[][..]));
    }
    let mut quality = KeyQuality::new(4);
    bytes.chunks(5).for_each(|key| quality.observe(key, Some(&Fingerprint::raw(b"one"))));
    let _ = quality.findings();
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Fingerprint::http(&HttpRules::new().header(text), &HttpRequest::new("GET", text).query(text));
        let _ = JsonRules::new().include(text).and_then(|rules| rules.exclude(text));
    }
});

/// What a rule makes of a key stays what it is under that rule.
fn settles(spec: &KeySpec, key: &[u8]) {
    if let Ok(key) = spec.normalise(key) {
        assert_eq!(spec.normalise(&key).as_ref(), Ok(&key));
    }
}
