//! The output has the bytes of the input.

use crate::sandbox::{Sandbox, rows, with_header};

#[track_caller]
fn check_unchanged(words: &str, input: &str) {
    let ran = Sandbox::new().dedupe(words, input.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(String::from_utf8(ran.out).unwrap(), input);
}

#[test]
fn marks_quotes_and_line_endings_stay() {
    for input in [
        "",
        "a;b\n",
        "\u{feff}a;b\r\n1;2\r\n3;4\r\n",
        "\u{feff}\"a\";b\n\"1\";\"x;\ny\"\n2;\"say \"\"hi\"\"\"\n",
        "a;b\n1;\"x\r\ny\"\r\n2;7\" wide\n",
        "a;b\n1;\u{fc}\n2;\u{1f600}\n",
        "a;b\n1;2\n3;\0\n",
        "a;b\r1;2\r3;\"x\ry\"\r",
        "a;b\r\r\n1;2\r\r\n3;4\r\r\n",
        "a;b\n1;2\r3;4\r\n",
    ] {
        check_unchanged("--delimiter ; --key a", input);
        check_unchanged("--delimiter ; --whole-record", input);
    }
    check_unchanged("--format ndjson --key /a", "{\"a\":1}\r\n{ \"a\" : 2 }\n{\"a\":3}\r");
    check_unchanged("--format ndjson --whole-record", "\u{feff}{}\n[]\n\"\n");
}

#[test]
fn bytes_that_are_no_text_stay() {
    let input = b"a;b\n\xff\xfe;1\n\x80;2\n";
    for words in ["--delimiter ; --key a", "--delimiter ; --whole-record"] {
        assert_eq!(Sandbox::new().dedupe(words, input).out, input);
    }
}

#[test]
fn line_endings_and_marks_do_not_make_another_event() {
    let sandbox = Sandbox::new();
    let ran = sandbox.dedupe("--whole-record", b"\xEF\xBB\xBFa,b\r\n1,2\r\n3,4");
    assert!(ran.err.starts_with("2 read, 2 passed"));
    let ran = sandbox.dedupe("--whole-record", b"a,b\n1,2\n3,4\n5,6\n");
    assert_eq!(ran.out, b"a,b\n5,6\n");
}

#[test]
fn a_tab_may_stand_between_fields() {
    check_unchanged("--delimiter \\t --key b", "a\tb\n1\t2\n");
}

#[test]
fn a_last_record_without_a_line_end_gets_that_of_the_feed() {
    for (input, expected) in [
        ("a;b", "a;b\n"),
        ("a;b\n1;2", "a;b\n1;2\n"),
        ("\u{feff}a;b\r\n1;2\r\n3;4", "\u{feff}a;b\r\n1;2\r\n3;4\r\n"),
        ("a;b\r1;2", "a;b\r1;2\r"),
        ("a;b\n1;2\r\n3;4", "a;b\n1;2\r\n3;4\n"),
    ] {
        for words in ["--delimiter ; --key a", "--delimiter ; --whole-record"] {
            let ran = Sandbox::new().dedupe(words, input.as_bytes());
            assert_eq!((ran.code, String::from_utf8(ran.out).unwrap().as_str()), (0, expected), "{input:?}");
        }
    }
    let ran = Sandbox::new().dedupe("--format ndjson --key /a", b"{\"a\":1}\r\n{\"a\":2}");
    assert_eq!(ran.out, b"{\"a\":1}\r\n{\"a\":2}\r\n");
}

#[test]
fn an_unclosed_quote_is_refused_and_takes_no_other_line_along() {
    let ran = Sandbox::new().dedupe("--key a", b"a,b\n1,2\n3,\"4\n5,6\n");
    assert_eq!((ran.code, ran.out.as_slice()), (3, &b"a,b\n1,2\n5,6\n"[..]));
    assert!(ran.err.contains("line 3: a quote is never closed"), "{}", ran.err);
}

#[test]
fn records_larger_than_a_pipe_pass_whole() {
    let mut rows = rows(50);
    rows.push(format!("big;{};x\n", "y".repeat(1 << 20)));
    let input = with_header(&rows);
    let ran = Sandbox::new().dedupe("--delimiter ; --whole-record", &input);
    assert!(ran.out == input);
}

#[test]
fn a_record_beyond_the_limit_is_refused_and_the_rest_goes_on() {
    let input = ["a,b\n1,", &"y".repeat(17 << 20), "\n2,3\n"].concat();
    let ran = Sandbox::new().dedupe("--key a", input.as_bytes());
    assert_eq!((ran.code, ran.out.as_slice()), (3, &b"a,b\n2,3\n"[..]));
    assert!(ran.err.contains("line 2: the record is longer than 16 MiB"), "{}", ran.err);
}
