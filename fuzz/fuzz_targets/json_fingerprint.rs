//! The JSON gate, against serde_json: what the gate lets through must be JSON to others too and mean the same; its
//! canonical text must be its own; field digests must fit their size and read back; nothing may panic.

#![no_main]

use claimstore_hash::{
    FieldDigests, Fingerprinter, FormRules, JsonRules, Match, PayloadError, canonical_json,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let maker = Fingerprinter::with_key([7; 32]);
    let rules = JsonRules::new();
    let _ = maker.form(&FormRules::new(), payload);
    let theirs = serde_json::from_slice::<serde_json::Value>(payload);
    let canonical = match canonical_json(&rules, payload) {
        Ok(canonical) => canonical,
        Err(error) => {
            let stricter = matches!(
                error,
                PayloadError::DuplicateMember { .. }
                    | PayloadError::InexactNumber { .. }
                    | PayloadError::TooDeep { .. }
                    | PayloadError::TooLarge { .. }
            );
            assert!(stricter || theirs.is_err(), "refused: {error:?}");
            return;
        }
    };
    let again = canonical_json(&rules, canonical.as_bytes()).expect("canonical text passes");
    assert_eq!(again, canonical);
    let theirs = theirs.expect("what passes is JSON");
    let read_back: serde_json::Value = serde_json::from_str(&canonical).expect("canonical text is JSON");
    assert!(same(&theirs, &read_back), "{theirs} {read_back}");

    let one = maker.json(payload).expect("passed");
    assert_eq!(one.compare(&maker.json(canonical.as_bytes()).expect("passed")), Match::Same);
    assert_eq!(one.compare(&maker.raw(payload)), Match::Unknown);
    let (with_fields, fields) = maker.json_with_fields(&rules, payload).expect("passed");
    assert_eq!(with_fields, one);
    let bytes = fields.to_bytes();
    assert!(bytes.len() <= 1024);
    assert_eq!(FieldDigests::from_bytes(&bytes).as_ref(), Ok(&fields));
    assert_eq!(fields.differing(&fields).as_deref(), Some(&[][..]));
});

/// Equal, numbers by the double they are: serde_json keeps integers and floats apart.
fn same(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}
