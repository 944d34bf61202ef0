//! A key built from parts is the key that the namespace knows it by.

use super::Policy;
use crate::error::ErrorKind;
use crate::policy::TimeOrdered;
use claimstore_hash::{KeyError, KeyPart, KeySpec, composite};
use proptest::prelude::*;

/// The error's kind, and the part that its source names.
fn refused(policy: &Policy, parts: &[Option<&str>]) -> (ErrorKind, KeyError) {
    let error = policy.key(parts.iter().copied()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    (error.kind(), *source.downcast_ref().unwrap())
}

#[test]
fn what_is_missing_is_refused_and_named() {
    let rules = [Policy::daily(), Policy::daily().key_spec(KeySpec::netsuite())];
    for policy in &rules {
        let check = |parts: &[Option<&str>], index: usize| {
            let expected = if parts[index].is_some() {
                KeyError::EmptyPart { index }
            } else {
                KeyError::NullPart { index }
            };
            assert_eq!(refused(policy, parts), (ErrorKind::InvalidKey, expected));
        };
        check(&[Some("a"), None], 1);
        check(&[None, Some("a")], 0);
        check(&[Some("a"), Some("")], 1);
    }
    assert_eq!(refused(&rules[0], &[]), (ErrorKind::InvalidKey, KeyError::Empty));
    assert_eq!(refused(&rules[1], &[Some("a")]).1, KeyError::PartCount { parts: 1 });
    let long = "x".repeat(1_025);
    assert_eq!(rules[0].key([&long]).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(rules[0].key([&long[1..]]).unwrap(), &long.as_bytes()[1..]);
}

#[test]
fn a_time_ordered_key_is_one_identifier_in_any_spelling() {
    let policy = Policy::daily().time_ordered_keys(TimeOrdered::UuidV7);
    let text = "0192F0C5-7b1c-7abc-8def-0123456789ab";
    let key = policy.key([text]).unwrap();
    assert_eq!(key.len(), 16);
    assert_eq!(policy.key([&text.to_ascii_lowercase()]).unwrap(), key);
    assert_eq!(policy.key([key.as_slice()]).unwrap(), key);
    assert_eq!(
        refused(&policy, &[Some(text), Some("x")]),
        (ErrorKind::InvalidKey, KeyError::PartCount { parts: 2 })
    );
    assert_eq!(policy.key(["no identifier"]).unwrap_err().kind(), ErrorKind::InvalidKey);
}

#[test]
fn one_part_of_a_rule_of_one_is_not_escaped() {
    let one = Policy::daily().key_spec(KeySpec::stripe());
    assert_eq!(one.key(["a|b"]).unwrap(), b"a|b");
    assert_eq!(Policy::daily().key(["a|b"]).unwrap(), br"a\|b");
}

proptest! {
    #[test]
    fn a_built_key_is_known_by_its_own_bytes(
        parts in prop::collection::vec("[a-zA-Zéß |:\\\\]{1,9}", 1..4),
        rule in prop::sample::select(vec![
            None,
            Some(KeySpec::salesforce()),
            Some(KeySpec::netsuite()),
            Some(KeySpec::source_record()),
            Some(KeySpec::stripe()),
        ]),
    ) {
        let policy = rule.clone().map_or_else(Policy::daily, |rule| Policy::daily().key_spec(rule));
        if let Ok(key) = policy.key(&parts) {
            let known = policy.identify(&key).unwrap();
            prop_assert_eq!(known.bytes(), &key);
        } else {
            prop_assert!(rule.is_some());
        }
        if rule.is_none() {
            prop_assert_eq!(policy.key(&parts).unwrap(), composite(&parts).unwrap());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(parts in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 0..4)) {
        let null = KeyPart::from(None::<&str>);
        let parts = || parts.iter().map(|part| part.as_deref().map_or(null, KeyPart::from));
        for policy in [Policy::daily(), Policy::daily().key_spec(KeySpec::sap())] {
            let _ = policy.key(parts());
        }
    }
}
