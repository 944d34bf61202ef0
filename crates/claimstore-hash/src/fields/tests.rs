use proptest::prelude::*;

use super::*;

fn maker() -> Fingerprinter {
    Fingerprinter::with_key([5; 32])
}

fn fields(rules: &JsonRules, text: &str) -> FieldDigests {
    maker().json_with_fields(rules, text.as_bytes()).unwrap().1
}

fn check_with(one_rules: &JsonRules, other_rules: &JsonRules, one: &str, other: &str, expected: &[&str]) {
    let (stored, given) = (fields(one_rules, one), fields(other_rules, other));
    let stored = FieldDigests::from_bytes(&stored.to_bytes()).unwrap();
    assert_eq!(stored.differing(&given).unwrap(), expected, "{one} {other}");
    assert_eq!(given.differing(&stored).unwrap(), expected, "{other} {one}");
}

fn check(rules: &JsonRules, one: &str, other: &str, expected: &[&str]) {
    check_with(rules, rules, one, other, expected);
}

#[test]
fn what_differs_is_named() {
    let rules = JsonRules::new();
    check(&rules, "{}", "{}", &[]);
    check(&rules, r#"{"a":1,"b":[1,{"c":null}]}"#, r#"{ "b":[1.0,{"c":null}],"a":1}"#, &[]);
    check(&rules, r#"{"a":1}"#, r#"{"a":2}"#, &["/a"]);
    check(&rules, r#"{"a":1}"#, r#"{"a":"1"}"#, &["/a"]);
    check(&rules, r#"{"a":1}"#, r#"{"b":1}"#, &["/a", "/b"]);
    // An empty object is a value like any other: it is not told which members it lacks.
    check(&rules, r#"{"a":null}"#, "{}", &[""]);
    check(&rules, r#"{"a":null,"b":1}"#, r#"{"b":1}"#, &["/a"]);
    check(&rules, r#"{"a":{"b":{"c":1}}}"#, r#"{"a":{"b":{"c":2}}}"#, &["/a/b/c"]);
    check(&rules, r#"{"a":[1,2,3]}"#, r#"{"a":[1,9,3,4]}"#, &["/a/1", "/a/3"]);
    check(&rules, r#"{"a":[1]}"#, r#"{"a":{"0":1}}"#, &["/a"]);
    check(&rules, r#"{"a":[1]}"#, r#"{"a":[]}"#, &["/a"]);
    check(&rules, r#"{"a":[]}"#, r#"{"a":{}}"#, &["/a"]);
    check(&rules, r#"{"a/b":{"m~n":1}}"#, r#"{"a/b":{"m~n":2}}"#, &["/a~1b/m~0n"]);
    check(&rules, r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#, &["/a", "/b"]);
    check(&rules, "1", "2", &[""]);
    check(&rules, "[1]", "1", &[""]);
}

#[test]
fn what_is_not_selected_is_not_named() {
    let but = JsonRules::new().exclude("/t").unwrap().exclude("/l/1").unwrap();
    check(&but, r#"{"a":1,"t":1,"l":[1,2]}"#, r#"{"a":2,"t":2,"l":[1,3]}"#, &["/a"]);
    let only = JsonRules::new().include("/m/a").unwrap().include("/l/0/b").unwrap().include("/x").unwrap();
    check(&only, r#"{"m":{"a":1,"b":1},"l":[{"b":1}]}"#, r#"{"m":{"a":1,"b":2},"l":[{"b":1}]}"#, &[]);
    check(
        &only,
        r#"{"m":{"a":1},"l":[{"b":1}],"x":null}"#,
        r#"{"m":{"a":2},"l":[{"b":2,"c":1}]}"#,
        &["/l/0/b", "/m/a", "/x"],
    );
    let nested = JsonRules::new().include("/m").unwrap().include("/m/a").unwrap();
    check(&nested, r#"{"m":{"a":1,"b":1}}"#, r#"{"m":{"a":1,"b":2}}"#, &["/m/b"]);
}

#[test]
fn a_small_limit_sums_up_what_lies_deep() {
    let one = r#"{"head":{"id":1,"who":2},"lines":[{"sku":"A","qty":1},{"sku":"B","qty":2}]}"#;
    let other = r#"{"head":{"id":1,"who":3},"lines":[{"sku":"A","qty":1},{"sku":"B","qty":9}]}"#;
    let limit = |bytes| JsonRules::new().max_field_bytes(bytes);
    check(&limit(1024), one, other, &["/head/who", "/lines/1/qty"]);
    check(&limit(0), one, other, &[""]);
    let mut last = usize::MAX;
    for bytes in (0..300).rev() {
        let stored = fields(&limit(bytes), one);
        assert!(stored.to_bytes().len() <= bytes.max(14), "{bytes}");
        // The limit is no rule of what counts: trees of any two limits are compared, and sums agree.
        check_with(&limit(bytes), &limit(1024), one, one, &[]);
        let named = stored.differing(&fields(&limit(1024), other)).unwrap().join("").len();
        assert!(named <= last, "{bytes}");
        last = named;
    }
}

#[test]
fn digests_are_bounded_whatever_the_payload_is() {
    let many: Vec<String> = (0..9_000).map(|place| format!("\"name{place}\":{place}")).collect();
    let wide = format!("{{\"a\":1,\"b\":{{{}}}}}", many.join(","));
    let rules = JsonRules::new().max_field_bytes(usize::MAX).max_depth(256);
    let stored = fields(&rules, &wide);
    assert!(stored.to_bytes().len() <= FieldDigests::MAX_BYTES);
    check(&rules, &wide, &wide.replace("name77\":77", "name77\":78"), &["/b"]);
    check(&rules, &wide, &wide.replace("\"a\":1", "\"a\":2"), &["/a"]);
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    check(&rules, &deep, &deep.replace('1', "2"), &[&*"/0".repeat(MAX_LEVELS)]);
    let long: Vec<String> = (0..200).map(|place| place.to_string()).collect();
    let other: Vec<String> = (1..201).map(|place| place.to_string()).collect();
    let [one, other] = [long, other].map(|list| fields(&rules, &format!("[{}]", list.join(","))));
    assert_eq!(one.differing(&other).unwrap().len(), MAX_POINTERS);
}

#[test]
fn another_key_or_other_rules_are_not_compared() {
    let rules = JsonRules::new();
    let one = fields(&rules, "1");
    let other = Fingerprinter::with_key([6; 32]).json_with_fields(&rules, b"1").unwrap().1;
    assert_eq!(one.differing(&other), None);
    assert_eq!(one.differing(&fields(&rules.clone().exclude("/a").unwrap(), "1")), None);
    assert_eq!(Fingerprinter::unkeyed().json_with_fields(&rules, b"1").err(), Some(PayloadError::NeedsKey));
}

#[test]
fn values_in_other_places_have_other_digests() {
    let made = fields(&JsonRules::new(), "[7,7]");
    let Tree::Array(elements) = &made.tree else { panic!("not opened") };
    assert_ne!(elements[0].digest(), elements[1].digest());
    assert_eq!(format!("{made:?}"), "FieldDigests { .. }");
}

#[test]
fn digests_are_what_they_were_in_the_first_release() {
    let made = fields(&JsonRules::new(), r#"{"b":[1,{}],"a":"x"}"#);
    let shown = crate::hex::hex(&made.to_bytes());
    assert_eq!(
        shown,
        "018c1e9d2a01020001006100007241fdbfade9a301006202020000f19f5ad8b87233dd002be063ad5c3b24aa"
    );
}

#[test]
fn other_bytes_are_refused() {
    let bytes = fields(&JsonRules::new(), r#"{"a":1,"b":[1,2]}"#).to_bytes();
    for cut in 0..bytes.len() {
        assert_eq!(FieldDigests::from_bytes(&bytes[..cut]), Err(FieldsError), "{cut}");
    }
    assert_eq!(FieldDigests::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(FieldsError));
    let refused: [&[u8]; 5] = [
        &[2, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
        &[1, 0, 0, 0, 0, 3, 1, 0],
        &[1, 0, 0, 0, 0, 2, 0, 0],
        &[
            1, 0, 0, 0, 0, 1, 2, 0, 1, 0, b'b', 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, b'a', 0, 1, 1, 1, 1, 1, 1,
            1, 1,
        ],
        &[1, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0xff, 0, 1, 1, 1, 1, 1, 1, 1, 1],
    ];
    for bytes in refused {
        assert_eq!(FieldDigests::from_bytes(bytes), Err(FieldsError));
    }
    let deep = [vec![1, 0, 0, 0, 0], [2, 1, 0].repeat(1_300), vec![0; 9]].concat();
    assert_eq!(FieldDigests::from_bytes(&deep), Err(FieldsError));
}

fn documents() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf =
        prop_oneof![Just(Value::Null), (0..4).prop_map(Value::from), "[ab]{0,2}".prop_map(Value::from)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab/~]{0,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Every pointer named leads to something that differs, and whatever differs is named.
    #[test]
    fn pointers_lead_to_what_differs(one in documents(), other in documents(), a in 0..400_usize, b in 0..400_usize) {
        let read = |document: &serde_json::Value, limit| {
            fields(&JsonRules::new().max_field_bytes(limit), &document.to_string())
        };
        let (stored, given) = (read(&one, a), read(&other, b));
        let found = stored.differing(&given).unwrap();
        prop_assert_eq!(found.is_empty(), one == other);
        for pointer in found {
            prop_assert_ne!(one.pointer(&pointer), other.pointer(&pointer));
        }
        prop_assert_eq!(FieldDigests::from_bytes(&stored.to_bytes()), Ok(stored));
    }

    #[test]
    fn noise_is_refused_or_round_trips(mut bytes in prop::collection::vec(0..4_u8, 0..40)) {
        bytes.splice(0..0, [1, 0, 0, 0, 0]);
        if let Ok(read) = FieldDigests::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }
}
