//! What names an event, and what is refused for lack of a name.

use crate::sandbox::Sandbox;

#[track_caller]
fn check(words: &str, input: &str, code: i32, out: &str, err: &str) {
    let ran = Sandbox::new().dedupe(words, input.as_bytes());
    assert_eq!(ran.err, err);
    assert_eq!(String::from_utf8(ran.out).unwrap(), out);
    assert_eq!(ran.code, code);
}

#[test]
fn rows_without_a_key_part_are_refused_with_their_line() {
    check(
        "--key No,Code",
        "No,Code,Text\n1,a,x\n,a,x\n2,\"two\nlines\",x\n3,\"\",x\n4\n1,\"a\",y\n",
        3,
        "No,Code,Text\n1,a,x\n2,\"two\nlines\",x\n",
        "claimstore: line 3: key part `No` is empty\n\
         claimstore: line 6: key part `Code` is empty\n\
         claimstore: line 7: has 1 field, and the header 3\n\
         6 read, 2 passed, 1 duplicate, 3 refused\n",
    );
}

#[test]
fn in_whole_records_an_empty_field_is_a_value() {
    check(
        "--whole-record",
        "a,b\n1,\n,1\n1,\n\n\n,\n",
        0,
        "a,b\n1,\n,1\n,\n",
        "4 read, 3 passed, 1 duplicate, 0 refused\n",
    );
}

#[test]
fn json_lines_are_named_by_pointers() {
    check(
        "--format ndjson --key /order/id,/stage",
        concat!(
            r#"{"order":{"id":"000123"},"stage":"paid"}"#,
            "\n",
            r#"{"stage": "paid", "order": {"id": "000123", "total": 1.10}}"#,
            "\r\n",
            r#"{"order":{"id":123},"stage":"paid"}"#,
            "\n",
            r#"{"order":{"id":123.0},"stage":"paid"}"#,
            "\n",
            r#"{"order":{"id":null},"stage":"paid"}"#,
            "\n",
            r#"{"order":{"id":""},"stage":"paid"}"#,
            "\n",
            r#"{"order":{"id":[1]},"stage":"paid"}"#,
            "\n",
            r#"{"order":1,"stage":"paid"}"#,
            "\nno json\n",
        ),
        3,
        concat!(
            r#"{"order":{"id":"000123"},"stage":"paid"}"#,
            "\n",
            r#"{"order":{"id":123},"stage":"paid"}"#,
            "\n",
            r#"{"order":{"id":123.0},"stage":"paid"}"#,
            "\n",
        ),
        "claimstore: line 5: key part `/order/id` is empty\n\
         claimstore: line 6: key part `/order/id` is empty\n\
         claimstore: line 7: key part `/order/id` is an object or array\n\
         claimstore: line 8: key part `/order/id` is missing\n\
         claimstore: line 9: not one JSON text, or a member name stands twice\n\
         9 read, 3 passed, 1 duplicate, 5 refused\n",
    );
}

#[test]
fn other_key_parts_are_other_events() {
    let sandbox = Sandbox::new();
    let input = b"a,b\n1,1\n";
    for (words, passed) in
        [("--key a", 1), ("--key b", 1), ("--key a,b", 1), ("--key b,a", 0), ("--whole-record", 1)]
    {
        let ran = sandbox.dedupe(words, input);
        assert!(ran.err.starts_with(&format!("1 read, {passed} passed")), "{words}: {}", ran.err);
    }
}

#[test]
fn values_of_any_length_are_keys() {
    let row = |last: char| format!("{}{last},x\n", "k".repeat(100_000));
    let input = ["a,b\n", &row('1'), &row('2'), &row('1')].concat();
    let ran = Sandbox::new().dedupe("--key a", input.as_bytes());
    assert_eq!(ran.err, "3 read, 2 passed, 1 duplicate, 0 refused\n");
}

#[test]
fn values_never_reach_standard_error() {
    let ran = Sandbox::new().dedupe("--key a,b", b"a,b\nsecret,\n\"secret");
    assert_eq!(ran.code, 3);
    assert!(!ran.err.contains("secret"), "{}", ran.err);
}
