use proptest::prelude::*;

use super::*;

/// One row: the parts given, and the key or the refusal.
type Row<'a> = (&'a [Option<&'a str>], Result<&'a str, KeyError>);

/// Every row as it says; and every key is itself under its rule.
fn check(name: &str, spec: &KeySpec, rows: &[Row<'_>]) -> usize {
    assert_eq!(KeySpec::from_bytes(&spec.to_bytes()).as_ref(), Ok(spec), "{name}");
    for (parts, expected) in rows {
        let key = spec.key(parts.iter().copied());
        assert_eq!(key, expected.map(|key| key.as_bytes().to_vec()), "{name} {parts:?}");
        if let Ok(key) = key {
            assert_eq!(spec.normalise(&key), Ok(key.clone()), "{name} {parts:?}: not itself");
        }
    }
    rows.len()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn presets_accept_refuse_and_equate() {
    let null = |index| Err(KeyError::NullPart { index });
    let empty = |index| Err(KeyError::EmptyPart { index });
    let count = |parts| Err(KeyError::PartCount { parts });
    let character = |index, at| Err(KeyError::Character { index, at });
    let stripe_longest = "k".repeat(255);
    let stripe_letters = "é".repeat(255);
    let stripe_longer = "k".repeat(256);
    let token_longest = "t".repeat(64);
    let token_longer = "t".repeat(65);
    let mut rows = 0;
    rows += check(
        "salesforce",
        &KeySpec::salesforce(),
        &[
            (&[Some("Order__c"), Some("ERP_Id__c"), Some("ord-001")], Ok("Order__c|ERP_Id__c|ord-001")),
            (&[Some("Order__c"), Some("ERP_Id__c"), Some("ORD-001")], Ok("Order__c|ERP_Id__c|ORD-001")),
            (&[Some(" ord-001\t")], Ok("ord-001")),
            (&[Some("0042")], Ok("0042")),
            (&[Some("")], empty(0)),
            (&[Some("a"), Some("  ")], empty(1)),
            (&[None], null(0)),
            (&[Some("a\u{0}b")], character(0, 1)),
        ],
    );
    rows += check(
        "salesforce, folded",
        &KeySpec::salesforce().case(Case::Upper),
        &[(&[Some("ord-001")], Ok("ORD-001")), (&[Some("Ord-001 ")], Ok("ORD-001"))],
    );
    rows += check(
        "netsuite",
        &KeySpec::netsuite(),
        &[
            (&[Some("salesOrder"), Some("ord-001")], Ok("SALESORDER|ORD-001")),
            (&[Some("SalesOrder"), Some("ORD-001")], Ok("SALESORDER|ORD-001")),
            (&[Some(" salesorder"), Some("Ord-001 ")], Ok("SALESORDER|ORD-001")),
            (&[Some("customer"), Some("ord-001")], Ok("CUSTOMER|ORD-001")),
            (&[Some("customer"), Some("e\u{301}")], Ok("CUSTOMER|É")),
            (&[Some("customer"), Some("É")], Ok("CUSTOMER|É")),
            (&[Some("customer"), Some("straße")], Ok("CUSTOMER|STRAßE")),
            (&[Some("customer"), Some("001")], Ok("CUSTOMER|001")),
            (&[Some("ord-001")], count(1)),
            (&[Some("a"), Some("b"), Some("c")], count(3)),
            (&[Some("customer"), Some("")], empty(1)),
            (&[Some("customer"), None], null(1)),
        ],
    );
    rows += check(
        "dynamics365",
        &KeySpec::dynamics365(3),
        &[
            (&[Some("0001"), Some("EU")], Ok("0001|EU")),
            (&[Some("0001"), Some("EU"), Some("a|b")], Ok("0001|EU|a\\|b")),
            (&[Some("0001"), Some("eu")], Ok("0001|eu")),
            (&[Some("0001"), None], null(1)),
            (&[None, Some("EU")], null(0)),
            (&[Some("0001"), Some("")], empty(1)),
            (&[Some("a"), Some("b"), Some("c"), Some("d")], count(4)),
            (&[], count(0)),
        ],
    );
    rows += check(
        "sap",
        &KeySpec::sap(),
        &[
            (&[Some("PRD"), Some("IDOC"), Some("000123")], Ok("PRD|IDOC|000123")),
            (&[Some("PRD"), Some("IDOC"), Some("123")], Ok("PRD|IDOC|123")),
            (&[Some("0000471100")], Ok("0000471100")),
            (&[Some("471100")], Ok("471100")),
            (&[Some("471100 ")], Ok("471100 ")),
            (&[Some("PRD"), Some("")], empty(1)),
            (&[Some("PRD"), None], null(1)),
            (&[Some("4711\n")], character(0, 4)),
        ],
    );
    rows += check(
        "stripe",
        &KeySpec::stripe(),
        &[
            (&[Some("order-4711|charge")], Ok("order-4711|charge")),
            (&[Some("Order-4711")], Ok("Order-4711")),
            (&[Some(&stripe_longest)], Ok(&stripe_longest)),
            (&[Some(&stripe_letters)], Ok(&stripe_letters)),
            (&[Some(&stripe_longer)], Err(KeyError::PartTooLong { index: 0, characters: 256 })),
            (&[Some("")], empty(0)),
            (&[None], null(0)),
            (&[Some("a"), Some("b")], count(2)),
        ],
    );
    rows += check(
        "client_token",
        &KeySpec::client_token(),
        &[
            (&[Some("7d1a-token_42")], Ok("7d1a-token_42")),
            (&[Some(&token_longest)], Ok(&token_longest)),
            (&[Some("with space")], Ok("with space")),
            (&[Some(&token_longer)], Err(KeyError::PartTooLong { index: 0, characters: 65 })),
            (&[Some("tökén")], character(0, 1)),
            (&[Some("a\tb")], character(0, 1)),
            (&[Some("")], empty(0)),
            (&[None], null(0)),
        ],
    );
    rows += check(
        "service_bus",
        &KeySpec::service_bus(),
        &[
            (&[Some("orders"), Some("m-1")], Ok("orders|m-1")),
            (&[Some("orders|x"), Some("m-1")], Ok("orders\\|x|m-1")),
            (&[Some("orders"), Some("x|m-1")], Ok("orders|x\\|m-1")),
            (&[Some("invoices"), Some("m-1")], Ok("invoices|m-1")),
            (&[Some("m-1")], count(1)),
            (&[Some("orders"), Some("")], empty(1)),
            (&[Some("orders"), None], null(1)),
        ],
    );
    rows += check(
        "cloudevents",
        &KeySpec::cloudevents(),
        &[
            (&[Some("/shop/eu"), Some("A-1")], Ok("/shop/eu|A-1")),
            (&[Some("https://a.example/x?y#z"), Some("1")], Ok("https://a.example/x?y#z|1")),
            (&[Some("/shop/eu"), Some("a-1")], Ok("/shop/eu|a-1")),
            (&[Some(""), Some("1")], empty(0)),
            (&[Some("/shop"), None], null(1)),
            (&[Some("/shop")], count(1)),
        ],
    );
    rows += check(
        "source_record",
        &KeySpec::source_record(),
        &[
            (&[Some("sap-prd"), Some("order"), Some("000123")], Ok("sap-prd:order:000123")),
            (&[Some(" sap-prd "), Some("order"), Some("000123")], Ok("sap-prd:order:000123")),
            (&[Some("sap"), Some("order"), Some("a:b")], Ok("sap:order:a\\:b")),
            (&[Some("sap"), Some("order:a"), Some("b")], Ok("sap:order\\:a:b")),
            (&[Some("sap"), Some("order"), Some("a|b")], Ok("sap:order:a|b")),
            (&[Some("sap"), Some("order")], count(2)),
            (&[Some("sap"), Some(""), Some("1")], empty(1)),
            (&[Some("sap"), Some("order"), None], null(2)),
        ],
    );
    println!("presets: {rows} rows");
}

#[test]
fn whole_keys_are_normalised() {
    let check = |spec: &KeySpec, key: &[u8], expected: Result<&str, KeyError>| {
        assert_eq!(spec.normalise(key), expected.map(|key| key.as_bytes().to_vec()), "{key:?}");
    };
    let netsuite = KeySpec::netsuite();
    check(&netsuite, b" Customer | ord-1", Ok("CUSTOMER|ORD-1"));
    check(&netsuite, br"a\|b|c\\", Ok(r"A\|B|C\\"));
    check(&netsuite, br"a\b|c", Err(KeyError::NotComposite { at: 1 }));
    check(&netsuite, b"customer", Err(KeyError::PartCount { parts: 1 }));
    check(&netsuite, b"customer|\xff", Err(KeyError::NotText { index: 1 }));
    check(&netsuite, b"", Err(KeyError::Empty));
    check(&netsuite, &[b'a'; 1025], Err(KeyError::TooLong { bytes: 1025 }));
    check(&KeySpec::source_record(), b"sap: order :000123", Ok("sap:order:000123"));
    check(&KeySpec::stripe(), br"a|b\c", Ok(r"a|b\c"));
    check(&KeySpec::new().allow_empty(true), b"", Err(KeyError::Empty));
    check(&KeySpec::new().trim(true).allow_empty(true), b" ", Err(KeyError::Empty));
    check(&KeySpec::new().parts(2, 3).allow_empty(true), b"a|", Ok("a|"));
    check(
        &KeySpec::new().characters(Characters::AsciiVisible),
        b"a b",
        Err(KeyError::Character { index: 0, at: 1 }),
    );
    check(&KeySpec::new().case(Case::Lower), "ÀÉ-Q".as_bytes(), Ok("àé-q"));
    check(&KeySpec::new().trim(true), "\u{a0}a\u{2003}".as_bytes(), Ok("a"));
}

#[test]
fn composed_and_decomposed_letters_are_one_key_where_asked() {
    let (one, other) = ("Z\u{fc}rich", "Zu\u{308}rich");
    let plain = KeySpec::new();
    assert_ne!(plain.key([one]), plain.key([other]));
    let composing = plain.compose(true);
    assert_eq!(composing.key([one]), composing.key([other]));
}

/// Normalising is done once: by character, for every character there is, alone and behind a combining one.
#[test]
fn every_character_settles() {
    for case in [Case::Keep, Case::Upper, Case::Lower] {
        let spec = KeySpec::new().compose(true).trim(true).case(case);
        for character in ('\0'..=char::MAX).filter(|character| !character.is_control()) {
            for text in [character.to_string(), format!("a{character}"), format!("{character}\u{345}\u{301}")]
            {
                if let Ok(key) = spec.key([&text]) {
                    assert_eq!(spec.normalise(&key), Ok(key), "{text:?} {case:?}");
                } else {
                    assert!(text.trim().is_empty(), "{text:?} {case:?}");
                }
            }
        }
    }
}

#[test]
fn rules_of_other_versions_are_refused() {
    let bytes = KeySpec::netsuite().to_bytes();
    for at in 0..bytes.len() {
        assert_eq!(KeySpec::from_bytes(&bytes[..at]), Err(KeyError::NotASpec));
    }
    for (at, value) in [(0, 2), (1, 8), (2, 3), (3, 3), (4, 0), (4, 9), (5, 1), (8, b'a'), (8, b'\\')] {
        let mut changed = bytes;
        changed[at] = value;
        assert_eq!(KeySpec::from_bytes(&changed), Err(KeyError::NotASpec), "{at} {value}");
    }
}

fn specs() -> impl Strategy<Value = KeySpec> {
    let case = prop_oneof![Just(Case::Keep), Just(Case::Upper), Just(Case::Lower)];
    (any::<[bool; 4]>(), case, 1..4_u8, 0..3_u8, 0..6_u16).prop_map(
        |([trim, compose, empty, colon], case, least, more, characters)| {
            let spec = KeySpec::new().trim(trim).compose(compose).allow_empty(empty).case(case);
            let spec = spec.parts(least, least + more).max_characters(characters);
            if colon { KeySpec { separator: b':', ..spec } } else { spec }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn keys_are_themselves_and_rules_round_trip(spec in specs(), parts in prop::collection::vec("[aAé\u{301}ßǅ |:\\\\]{0,4}", 0..5)) {
        prop_assert_eq!(KeySpec::from_bytes(&spec.to_bytes()), Ok(spec.clone()));
        if let Ok(key) = spec.key(&parts) {
            prop_assert_eq!(spec.normalise(&key), Ok(key));
        }
    }

    #[test]
    fn any_bytes_are_a_key_or_an_error(spec in specs(), key: Vec<u8>) {
        if let Ok(key) = spec.normalise(&key) {
            prop_assert_eq!(spec.normalise(&key), Ok(key));
        }
    }

    /// Without folding, different parts are different keys.
    #[test]
    fn different_parts_are_different_keys(
        one in prop::collection::vec("[ab|:\\\\]{0,3}", 1..4),
        other in prop::collection::vec("[ab|:\\\\]{0,3}", 1..4),
        colon: bool,
    ) {
        let spec = KeySpec { separator: if colon { b':' } else { b'|' }, ..KeySpec::new().parts(1, 8) };
        if let (Ok(mine), Ok(theirs)) = (spec.key(&one), spec.key(&other)) {
            prop_assert_eq!(mine == theirs, one == other);
        }
    }
}
