//! Reading, by inputs and the records they are.

use std::io::{self, Read};

use proptest::prelude::*;

use super::raw::BYTE_ORDER_MARK;
use super::*;
use crate::exit::{self, Exit};

/// Gives the input in pieces of these lengths, over and over, and says `WouldBlock` between them.
struct Pieces<'a> {
    rest: &'a [u8],
    lengths: Vec<usize>,
    turn: usize,
    pauses: bool,
    paused: bool,
}

impl<'a> Pieces<'a> {
    fn of(rest: &'a [u8], lengths: &[usize], pauses: bool) -> Pieces<'a> {
        Pieces { rest, lengths: lengths.to_vec(), turn: 0, pauses, paused: false }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.paused = self.pauses && !self.paused;
        if self.paused {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.lengths[self.turn % self.lengths.len()].min(self.rest.len()).min(buffer.len());
        self.turn += 1;
        let (piece, rest) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(piece);
        self.rest = rest;
        Ok(length)
    }
}

/// Every record, and what stood before the first.
fn read(input: impl Read, layout: &Layout, limit: Option<usize>) -> (Head, Vec<Record>) {
    let (mut reader, head) = Reader::open(input, layout.clone(), || Ok(())).unwrap();
    if let Some(limit) = limit {
        reader = reader.limited(limit);
    }
    let mut records = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (head, records),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

fn records(input: &[u8], layout: &Layout) -> Vec<Record> {
    let (_, whole) = read(input, layout, None);
    for (lengths, pauses) in [(&[1][..], true), (&[2], false), (&[3, 1], true), (&[7], false)] {
        let pieces = Pieces::of(input, lengths, pauses);
        assert_eq!(read(pieces, layout, None).1, whole, "in pieces of {lengths:?}");
    }
    whole
}

/// What is expected of a record: its line, and its bytes or, behind a `!`, a word of its fault.
#[track_caller]
fn check(layout: &Layout, input: &str, expected: &[(u64, &str)]) {
    let records = records(input.as_bytes(), layout);
    assert_eq!(records.len(), expected.len(), "{input:?}: {records:?}");
    for (record, (line, expected)) in records.iter().zip(expected) {
        let bytes = std::str::from_utf8(&record.bytes).unwrap();
        match (record.fault, expected.strip_prefix('!')) {
            (None, None) => assert_eq!((record.line, bytes), (*line, *expected), "{input:?}"),
            (Some(fault), Some(word)) => {
                assert!(fault.to_string().contains(word) && record.line == *line, "{input:?}: {record:?}");
            }
            _ => panic!("{input:?}: {record:?}"),
        }
    }
}

fn csv() -> Layout {
    Layout::ragged(Syntax::csv(b';'))
}

fn tsv() -> Layout {
    Layout::delimited(Syntax::csv(b'\t'))
}

#[test]
fn records_keep_their_bytes_and_know_their_line() {
    check(&csv(), "", &[]);
    check(&csv(), "a;b\nc;d\n", &[(1, "a;b\n"), (2, "c;d\n")]);
    check(&csv(), "a;b\r\nc;d", &[(1, "a;b\r\n"), (2, "c;d")]);
    check(&csv(), "a;\"x\ny\";b\nc\n", &[(1, "a;\"x\ny\";b\n"), (3, "c\n")]);
    check(&csv(), "a;\"x\r\n\"\"y\"\r\nc", &[(1, "a;\"x\r\n\"\"y\"\r\n"), (3, "c")]);
    check(&csv(), "a;7\" wide;7\"\nc\n", &[(1, "a;7\" wide;7\"\n"), (2, "c\n")]);
}

#[test]
fn every_kind_of_line_end_ends_a_record() {
    check(&csv(), "a;b\rc;d\re;f\r", &[(1, "a;b\r"), (2, "c;d\r"), (3, "e;f\r")]);
    check(&csv(), "a;b\nc;d\re;f\n", &[(1, "a;b\n"), (2, "c;d\r"), (3, "e;f\n")]);
    check(&csv(), "a\r\r\nb\r\r\nc", &[(1, "a\r\r\n"), (2, "b\r\r\n"), (3, "c")]);
    check(&csv(), "a\r\"b\r\r\nc\rd\";\"e\"\rf", &[(1, "a\r"), (2, "\"b\r\r\nc\rd\";\"e\"\r"), (5, "f")]);
    check(&csv(), "a;\"b\"\rc", &[(1, "a;\"b\"\r"), (2, "c")]);
    check(
        &Layout::lines(),
        "{}\r{ }\r\r\n[]\r\n\"\n",
        &[(1, "{}\r"), (2, "{ }\r\r\n"), (3, "[]\r\n"), (4, "\"\n")],
    );
    let header = Layout::delimited(Syntax::csv(b','));
    check(&header, "id,v\r1,a\r2,b\r1,a\r", &[(2, "1,a\r"), (3, "2,b\r"), (4, "1,a\r")]);
}

#[test]
fn blank_lines_are_no_records() {
    for layout in [csv(), Layout::lines()] {
        check(&layout, "\n\r\n\ra\n \t \n\nb\n\n", &[(4, "a\n"), (7, "b\n")]);
        check(&layout, "\n\n", &[]);
    }
    // Tabs between empty fields are no blanks.
    check(&tsv(), "a\tb\n\t\n  \n1\t2\n", &[(2, "\t\n"), (4, "1\t2\n")]);
    check(&csv(), "\"\"\n\" \"\n;\n", &[(1, "\"\"\n"), (2, "\" \"\n"), (3, ";\n")]);
}

#[test]
fn a_row_of_another_width_is_refused_and_the_rest_goes_on() {
    let layout = Layout::delimited(Syntax::csv(b','));
    check(
        &layout,
        "name,invoice\nSmith, John,INV-7\n\"Smith, John\",INV-8\nTotal: 2\na,\"1\n2\",c\n,\n1,5,\n",
        &[
            (2, "!has 3 fields, and the header 2"),
            (3, "\"Smith, John\",INV-8\n"),
            (4, "!has 1 field, and the header 2"),
            (5, "!has 3 fields on 2 lines, and the header 2"),
            (7, ",\n"),
            (8, "!has 3 fields"),
        ],
    );
    let numbered = Layout { header: Header::None, ..layout.clone() };
    check(&numbered, "1,a\n2\n3,b", &[(1, "1,a\n"), (2, "!and the first record 2"), (3, "3,b")]);
    let given = Layout { header: Header::Given(vec!["a".into(), "b".into()]), ..layout };
    check(&given, "1\n3,b", &[(1, "!has 1 field, and --columns 2"), (2, "3,b")]);
}

#[test]
fn quotes_in_disorder_take_no_other_line_along() {
    check(
        &tsv(),
        "id\tname\n1\t\"Deluxe\n5\te\n6\t\"X\n7\tf\n",
        &[
            (2, "!behind a closing quote, at line 4, column 4"),
            (3, "5\te\n"),
            (4, "!never closed, or not within 16 MiB: it opens a field at line 4, column 3"),
            (5, "7\tf\n"),
        ],
    );
    check(&csv(), "\"a\"b\"\nc\n", &[(1, "!line 1, column 4"), (2, "c\n")]);
    check(&csv(), "a; \"b;c\"\nd\n", &[(1, "!behind blanks, at line 1, column 4"), (2, "d\n")]);
    check(&csv(), "\u{e9};\"b\" ;c\nd\n", &[(1, "!at line 1, column 6"), (2, "d\n")]);
    check(&csv(), "a\n\"b\nc\n", &[(1, "a\n"), (2, "!opens a field at line 2, column 1"), (3, "c\n")]);
    check(&csv(), "\"b\rc\r\nd", &[(1, "!never closed"), (2, "c\r\n"), (3, "d")]);
    check(&csv(), "\"", &[(1, "!never closed")]);
}

/// Behind a quote in disorder, a quote inside a field may be the end of a field that began before.
#[test]
fn a_quote_inside_a_field_is_a_letter_unless_quotes_before_it_are_in_disorder() {
    check(
        &csv(),
        "7\" wide\nx;\"a\n1;y\" z;7\"\n8\" wide\n",
        &[
            (1, "7\" wide\n"),
            (2, "!behind a closing quote, at line 3, column 5"),
            (3, "!inside a field, at line 3, column 4"),
            (4, "8\" wide\n"),
        ],
    );
}

#[test]
fn without_quotes_each_line_is_a_record() {
    let plain = Layout::ragged(Syntax { quotes: false, ..Syntax::csv(b';') });
    check(&plain, "1;\"Deluxe\n2; \"b\"c\n", &[(1, "1;\"Deluxe\n"), (2, "2; \"b\"c\n")]);
}

#[test]
fn a_backslash_escapes_where_the_user_says_so() {
    let escaped = Layout::delimited(Syntax { escapes: true, ..Syntax::csv(b',') });
    check(
        &escaped,
        "a,b\n\"say \\\"hi\\\", you\",1\nx\\,y,2\n\"\\\\\",3\n\"\\\n\",4\nz\\\n5\\q,5\n\"\\N\",6\n\\N,7\n",
        &[
            (2, "\"say \\\"hi\\\", you\",1\n"),
            (3, "x\\,y,2\n"),
            (4, "\"\\\\\",3\n"),
            (5, "\"\\\n\",4\n"),
            (7, "!the backslash at line 7, column 2"),
            (8, "!the backslash at line 8, column 2"),
            (9, "!the backslash at line 9, column 2"),
            (10, "\\N,7\n"),
        ],
    );
    check(&csv(), "C:\\dir\\\nd\n", &[(1, "C:\\dir\\\n"), (2, "d\n")]);
}

#[test]
fn copy_text_is_read_as_databases_write_it() {
    let syntax = Syntax::copy_text();
    let copy = Layout { end_mark: true, header: Header::None, ..Layout::delimited(syntax) };
    check(
        &copy,
        "acme\\\\order\t7\n\"x\t\\N\na\\\nb\tc\\\td\n\\.\nx\t1\n\n",
        &[
            (1, "acme\\\\order\t7\n"),
            (2, "\"x\t\\N\n"),
            (3, "a\\\nb\tc\\\td\n"),
            (6, "!behind the line `\\.`"),
        ],
    );
    check(&copy, "a\tb\\", &[(1, "!the backslash at line 1, column 4")]);
}

#[test]
fn a_byte_order_mark_belongs_to_the_first_line_alone() {
    check(&csv(), "\u{feff}\"a\nb\";c\nd\n", &[(1, "\u{feff}\"a\nb\";c\n"), (3, "d\n")]);
    check(&csv(), "\u{feff}a\n\u{feff}\"b\n", &[(1, "\u{feff}a\n"), (2, "\u{feff}\"b\n")]);
    let found = records("\u{feff}a;b\r\n\u{feff}c\n".as_bytes(), &csv());
    assert_eq!(found[0].content(), b"a;b");
    assert_eq!(found[1].content(), "\u{feff}c".as_bytes());
    assert_eq!(records(b"\xEF\xBB\"a\nb\n", &csv()).len(), 2, "half a mark is text");
    check(&csv(), "\u{feff}\na\n", &[(2, "a\n")]);
}

#[test]
fn content_is_what_all_line_ends_share() {
    for line_end in ["", "\n", "\r\n", "\r", "\r\r\n"] {
        let input = format!("a;b{line_end}");
        let found = records(input.as_bytes(), &csv());
        assert_eq!((found[0].content(), found[0].has_line_end()), (&b"a;b"[..], !line_end.is_empty()));
    }
}

#[track_caller]
fn check_head(layout: &Layout, input: &str, bytes: &str, names: Option<&[&str]>, first: Option<&str>) {
    for lengths in [&[1][..], &[64]] {
        let (head, records) = read(Pieces::of(input.as_bytes(), lengths, true), layout, None);
        assert_eq!(std::str::from_utf8(&head.bytes).unwrap(), bytes, "{input:?}");
        let names = names.map(|names| names.iter().map(|name| name.as_bytes().to_vec()).collect());
        assert_eq!(head.names, names, "{input:?}");
        let bytes = records.first().map(|record| std::str::from_utf8(&record.bytes).unwrap());
        assert_eq!(bytes, first, "{input:?}");
    }
}

#[test]
fn what_stands_before_the_header_is_passed_over_and_kept() {
    let csv = Layout { sep_decides: true, ..Layout::delimited(Syntax::csv(b',')) };
    let ab = Some(&["a", "b"][..]);
    check_head(&csv, "a,b\n1,2\n", "a,b\n", ab, Some("1,2\n"));
    check_head(&csv, "\u{feff}\"a\",b\r\n1,2", "\u{feff}\"a\",b\r\n", ab, Some("1,2"));
    check_head(&csv, "sep=;\r\na;b\r\n1;2\r\n", "sep=;\r\na;b\r\n", ab, Some("1;2\r\n"));
    check_head(&csv, "\u{feff}\"SEP=\t\"\ra\tb\r1\t2\r", "\u{feff}\"SEP=\t\"\ra\tb\r", ab, Some("1\t2\r"));
    check_head(&csv, "\n \na,b\n\n1,2\n", "a,b\n", ab, Some("1,2\n"));
    check_head(&csv, "a,b", "a,b\n", ab, None);
    check_head(&csv, "", "", None, None);
    let commented = Layout { comment: Some(b"#".to_vec()), ..csv.clone() };
    check_head(&commented, "#x,\"\n\n# y\na,b\n#1,2\n", "#x,\"\n# y\na,b\n", ab, Some("#1,2\n"));
    let skipped = Layout { skip_lines: 2, ..csv.clone() };
    check_head(
        &skipped,
        "Report \"x\r\n\r\na,b\r\n1,2\r\n",
        "Report \"x\r\n\r\na,b\r\n",
        ab,
        Some("1,2\r\n"),
    );
    check_head(&skipped, "sep=;\nx\na;b\n1;2\n", "sep=;\nx\na;b\n", ab, Some("1;2\n"));
    check_head(&skipped, "x", "x\n", None, None);
    let numbered = Layout { header: Header::None, ..commented };
    check_head(&numbered, "sep=;\n#x\n1;2\n", "sep=;\n#x\n", None, Some("1;2\n"));
    check_head(&numbered, "\u{feff}1,2\n", "", None, Some("\u{feff}1,2\n"));
    let given = Layout { header: Header::Given(vec!["a".into(), "b".into()]), ..csv };
    check_head(&given, "1,2\n", "", ab, Some("1,2\n"));
    check_head(&Layout { skip_lines: 1, ..Layout::lines() }, "x\n{}\n", "x\n", None, Some("{}\n"));
}

#[test]
fn an_input_of_another_kind_is_refused_and_the_message_helps() {
    let csv = Layout::delimited(Syntax::csv(b','));
    let utf16: Vec<u8> = "\u{feff}a,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (input, word) in [
        (utf16.as_slice(), "iconv -f UTF-16"),
        (b"a\0,\0b\0", "iconv -f UTF-16LE"),
        (b"--\n-- PostgreSQL database dump\n--\n", "psql -c"),
        (b"COPY public.t (a) FROM stdin;\n1\n", "psql -c"),
        (b"\"a,b\n1,2\n", "the header, on line 1, cannot be read: a quote is never closed"),
        (b"\n\"a\"b,c\n1,2\n", "the header, on line 2"),
    ] {
        for layout in [csv.clone(), Layout { syntax: Some(Syntax::csv(b'\t')), ..csv.clone() }] {
            let pieces = Pieces::of(input, &[1], true);
            let error = Reader::open(pieces, layout, || Ok(())).err().unwrap();
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(exit::of_error(&error), Exit::Data);
        }
    }
    let stopped = Reader::open(Pieces::of(b"a", &[1], true), csv, || anyhow::bail!("stop"));
    assert_eq!(stopped.err().unwrap().to_string(), "stop");
}

#[test]
fn a_delimiter_that_contradicts_the_first_line_is_a_usage_error() {
    let layout = Layout::delimited(Syntax::csv(b','));
    let error = Reader::open(&b"sep=;\na;b\n"[..], layout.clone(), || Ok(())).err().unwrap();
    assert_eq!(exit::of_error(&error), Exit::Usage);
    assert!(Reader::open(&b"sep=,\na,b\n"[..], layout, || Ok(())).is_ok());
}

#[test]
fn a_long_record_is_refused_and_the_next_one_is_whole() {
    let read = |input: &str, syntax: Option<Syntax>| {
        let layout = Layout { syntax, ..csv() };
        let whole = read(input.as_bytes(), &layout, Some(5)).1;
        for lengths in [&[1][..], &[2, 3], &[7]] {
            assert_eq!(read(Pieces::of(input.as_bytes(), lengths, true), &layout, Some(5)).1, whole);
        }
        whole.into_iter().map(|record| (record.line, record.fault.is_none())).collect::<Vec<_>>()
    };
    for syntax in [None, csv().syntax] {
        assert_eq!(read("abcd\nabcde\nab\n", syntax), [(1, true), (2, false), (3, true)]);
        assert_eq!(read("abcdef\r\r\nabcd\r\nabcdefghijklm", syntax), [(1, false), (2, false), (3, false)]);
        assert_eq!(read("abcdef\ra\r", syntax), [(1, false), (2, true)]);
    }
    assert_eq!(read("\"bcdef\"\na\n", csv().syntax), [(1, false), (2, true)]);
    assert_eq!(read("\"b\ncdef\"\na\n", csv().syntax), [(1, false), (2, false), (3, true)]);
}

/// Each line opens a quote that the next one does not close: looked at again from each, this would take hours.
#[test]
fn disorder_is_read_in_one_go() {
    let lines = 200_000;
    for (line, syntax) in [
        ("7;\"\"\"\n", Syntax::csv(b';')),
        ("7\";\"\n", Syntax::csv(b';')),
        ("\\\";\"\n", Syntax { escapes: true, ..Syntax::csv(b';') }),
    ] {
        let input = line.repeat(lines) + "\"x\"y\n";
        let (_, found) = read(input.as_bytes(), &Layout::ragged(syntax), None);
        assert!(found.len() <= lines + 1, "{line:?}");
        assert_eq!(found.last().unwrap().line, lines as u64 + 1);
    }
}

/// What makes a difference to the reader, often enough.
fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let telling = prop::sample::select(b"ab\"\";;\r\n\n \t\\N.\xEF\xBB\xBF0".to_vec());
    prop::collection::vec(telling, 0..60)
}

fn any_layout() -> impl Strategy<Value = Layout> {
    let syntax = (prop::sample::select(vec![b';', b'\t']), any::<bool>(), any::<bool>())
        .prop_map(|(delimiter, quotes, escapes)| Syntax { delimiter, quotes, escapes });
    let header =
        prop::sample::select(vec![Header::None, Header::First, Header::Given(vec!["a".into(), "b".into()])]);
    (prop::option::of(syntax), header, any::<[bool; 3]>(), 0..3_u64).prop_map(
        |(syntax, header, [sep_decides, end_mark, any_width], skip_lines)| {
            let header = if syntax.is_some() { header } else { Header::None };
            let comment = (skip_lines == 1).then(|| b"a".to_vec());
            Layout {
                syntax,
                header,
                sep_decides,
                end_mark,
                any_width,
                skip_lines,
                comment,
                basis: Basis::Said,
            }
        },
    )
}

proptest! {
    #[test]
    fn the_records_of_any_bytes_are_those_bytes_but_for_blank_lines(input in any_input()) {
        for layout in [csv(), Layout::ragged(Syntax::copy_text()), Layout::lines()] {
            let Ok((mut reader, head)) = Reader::open(input.as_slice(), layout, || Ok(())) else { continue };
            let mut joined = head.bytes;
            let mut line = 1;
            while let Some(record) = reader.next_record().unwrap() {
                prop_assert!(record.line >= line, "lines go on");
                line = record.line;
                joined.extend(record.bytes);
            }
            let solid = |bytes: &[u8]| bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>();
            let mut expected = solid(&input);
            // A mark on a blank line goes with it.
            if expected.starts_with(BYTE_ORDER_MARK) && !solid(&joined).starts_with(BYTE_ORDER_MARK) {
                expected.drain(..BYTE_ORDER_MARK.len());
            }
            prop_assert_eq!(solid(&joined), expected);
        }
    }

    #[test]
    fn how_the_bytes_come_in_makes_no_difference(
        input in any_input(),
        layout in any_layout(),
        lengths in prop::collection::vec(1..20_usize, 1..6),
        pauses in any::<bool>(),
        limit in prop::option::of(1..20_usize),
    ) {
        let open = |input: &mut dyn Read| match Reader::open(input, layout.clone(), || Ok(())) {
            Err(error) => Err(error.to_string()),
            Ok((reader, head)) => {
                let mut reader = match limit {
                    Some(limit) => reader.limited(limit),
                    None => reader,
                };
                let mut records = Vec::new();
                loop {
                    match reader.next_record() {
                        Ok(Some(record)) => records.push(record),
                        Ok(None) => return Ok((head, records)),
                        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                    }
                }
            }
        };
        let whole = open(&mut input.as_slice());
        let pieces = open(&mut Pieces::of(&input, &lengths, pauses));
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn the_fields_are_as_many_as_the_scan_counts(input in any_input(), escapes in any::<bool>()) {
        for quotes in [false, true] {
            let syntax = Syntax { delimiter: b';', quotes, escapes };
            let Ok((mut reader, _)) = Reader::open(input.as_slice(), Layout::ragged(syntax), || Ok(())) else {
                continue;
            };
            while let Some(record) = reader.next_record().unwrap() {
                if record.fault.is_none() {
                    prop_assert_eq!(fields(record.content(), syntax).len(), record.fields);
                }
            }
        }
    }
}
