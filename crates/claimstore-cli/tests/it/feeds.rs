//! Feeds as people have them, through the command: rows that are not of one piece, old files, copies of tables, and the
//! files beside the output.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox, run};

#[track_caller]
fn check(words: &str, input: &[u8], code: i32, out: &[u8], said: &[&str]) {
    let ran = Sandbox::new().dedupe(words, input);
    let found = (ran.code, String::from_utf8_lossy(&ran.out).into_owned());
    assert_eq!(found, (code, String::from_utf8_lossy(out).into_owned()), "{}", ran.err);
    said.iter().for_each(|said| assert!(ran.err.contains(said), "{}", ran.err));
}

#[test]
fn a_row_of_another_width_is_refused_and_the_rest_goes_on() {
    check(
        "--key invoice",
        b"name,invoice\nSmith, John,INV-7\nSmith, John,INV-8\nMiller,INV-7\nSum,2,50\nTotal 2\n",
        3,
        b"name,invoice\nMiller,INV-7\n",
        &[
            "line 2: has 3 fields, and the header 2",
            "line 3: has 3",
            "line 5: has 3",
            "line 6: has 1 field, and the header 2",
        ],
    );
    // A whole record is what it is, of any width.
    check("--whole-record", b"a,b\n1\n1,2,3\n1\n", 0, b"a,b\n1\n1,2,3\n", &["3 read, 2 passed, 1 duplicate"]);
}

#[test]
fn old_line_ends_end_records() {
    check("--key id", b"id,v\r1,a\r2,b\r1,a\r", 0, b"id,v\r1,a\r2,b\r", &["3 read, 2 passed, 1 duplicate"]);
    check("--key id", b"id,v\n1,a\r2,b\n1,c\n", 0, b"id,v\n1,a\r2,b\n", &["3 read, 2 passed"]);
    check("--whole-record", b"v\r\r\na\r\r\na\r\nb", 0, b"v\r\r\na\r\r\nb\r\r\n", &["3 read, 2 passed"]);
}

#[test]
fn quotes_in_disorder_take_no_event_along() {
    let tsv = b"id\tname\n1\t\"Deluxe\n5\te\n6\t\"X\n";
    check(
        "--format tsv --key id",
        tsv,
        3,
        b"id\tname\n5\te\n",
        &["line 2: text stands behind", "line 4: a quote is never closed"],
    );
    check("--format tsv --no-quotes --key id", tsv, 0, tsv, &["3 read, 3 passed"]);
    let escaped = b"id,v\n1,\"say \\\"hi\\\", you\"\n2,x\n";
    check("--backslash-escapes --key id", escaped, 0, escaped, &["2 read, 2 passed"]);
    check("--key id", escaped, 3, b"id,v\n2,x\n", &["line 2: "]);
}

#[test]
fn copy_text_is_read_as_databases_write_it() {
    let rows = b"acme\\\\order\t7\n\\N\t8\nacme\\\\order\t9\n\"x\t\\N\n\\.\n";
    let kept = b"acme\\\\order\t7\n\"x\t\\N\n";
    check(
        "--format copy-text --key 1",
        rows,
        3,
        kept,
        &["line 2: key part `1` is empty", "4 read, 2 passed, 1 dup"],
    );
    let under_header = [b"id\tv\n", &rows[..]].concat();
    check("--format copy-text --key id", &under_header, 3, &[b"id\tv\n", &kept[..]].concat(), &["line 3: "]);
    // The key is the value: written another way, it is the same event.
    let sandbox = Sandbox::new();
    sandbox.dedupe("--format copy-text --columns id,v --key id", b"a\\tb\t1\n");
    let ran = sandbox.dedupe("--key id", b"id,v\na\tb,1\n");
    assert!(ran.err.contains("1 duplicate"), "{}", ran.err);
}

#[test]
fn an_input_without_a_header_has_columns_by_number_or_by_given_name() {
    check("--no-header --key 2", b"1,a\n2,a\n3,b\n", 0, b"1,a\n3,b\n", &["3 read, 2 passed"]);
    check(
        "--columns id,v --key v",
        b"1,a\n2,a\n3,b\n4\n",
        3,
        b"1,a\n3,b\n",
        &["line 4: has 1 field, and --columns 2"],
    );
    check("--no-header --whole-record", b"1,a\n1,a\n", 0, b"1,a\n", &["1 passed"]);
}

#[test]
fn lines_before_the_header_are_passed_over() {
    check(
        "--key id",
        b"sep=;\r\nid;v\r\n1;a\r\n1;b\r\n",
        0,
        b"sep=;\r\nid;v\r\n1;a\r\n",
        &["2 read, 1 passed"],
    );
    check(
        "--skip-lines 2 --key id",
        b"Report\n\"x\nid,v\n1,a\n",
        0,
        b"Report\n\"x\nid,v\n1,a\n",
        &["1 read, 1 passed"],
    );
    check(
        "--comment # --key id",
        b"#a\n# b\nid,v\n#1,a\n",
        0,
        b"#a\n# b\nid,v\n#1,a\n",
        &["1 read, 1 passed"],
    );
    check("--delimiter , --key id", b"sep=;\nid;v\n", 64, b"", &["sep="]);
}

#[test]
fn blank_lines_are_no_events() {
    check("--key id", b"\nid,v\n\n1,a\n  \n2,b\n\n", 0, b"id,v\n1,a\n2,b\n", &["2 read, 2 passed"]);
    check("--format jsonl --key /id", b"\n{\"id\":1}\n \n\n", 0, b"{\"id\":1}\n", &["1 read, 1 passed"]);
    check("--format ndjson --whole-record", b"\n\nx\n\n", 0, b"x\n", &["1 read, 1 passed"]);
}

#[test]
fn what_is_no_text_of_records_is_refused_with_help() {
    let utf16: Vec<u8> = "id,v\n1,a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xFF\xFE", utf16.as_slice()].concat();
    let dump = b"--\n-- PostgreSQL database dump\n--\n\nCOPY public.t (id) FROM stdin;\n1\n\\.\n";
    for (input, said) in [
        (utf16.as_slice(), "iconv -f UTF-16LE -t UTF-8"),
        (&marked, "iconv -f UTF-16 -t UTF-8"),
        (dump, "psql -c"),
        (&dump[dump.len() - 37..], "psql -c"),
    ] {
        for words in
            ["--key id", "--whole-record", "--format ndjson --whole-record", "--format copy-text --key 1"]
        {
            let sandbox = Sandbox::new();
            let ran = sandbox.dedupe(words, input);
            assert_eq!((ran.code, ran.out.len(), sandbox.store().exists()), (65, 0, false), "{}", ran.err);
            assert!(ran.err.contains(said), "{}", ran.err);
        }
    }
}

#[test]
fn the_records_of_a_file_are_read() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("in.csv");
    fs::write(&path, "id,v\n1,a\n").unwrap();
    let file = |words: &str| run(sandbox.command(&format!("dedupe {words}")).arg(&path));
    let ran = file("--key id");
    assert_eq!((ran.code, ran.out.as_slice()), (0, &b"id,v\n1,a\n"[..]), "{}", ran.err);
    let mut command = sandbox.command("dedupe --key id -");
    assert_eq!(run(command.stdin(sandbox.file(b"id,v\n2,a\n"))).out, b"id,v\n2,a\n");
    for missing in [sandbox.path("nothing"), sandbox.path("")] {
        let ran = run(sandbox.command("dedupe --key id").arg(missing));
        assert_eq!((ran.code, ran.out.len()), (66, 0), "{}", ran.err);
    }
    // Written to while it is read, it would never end.
    let append = || fs::File::options().append(true).open(&path).unwrap();
    let ran = run(sandbox.command("dedupe --key id").arg(&path).stdout(append()));
    assert_eq!((ran.code, fs::read(&path).unwrap().as_slice()), (64, &b"id,v\n1,a\n"[..]), "{}", ran.err);
    for side in ["--rejects", "--duplicates"] {
        let ran = file(&format!("--key id {side} {}", path.display()));
        assert_eq!((ran.code, fs::read(&path).unwrap().as_slice()), (64, &b"id,v\n1,a\n"[..]), "{}", ran.err);
    }
}

#[test]
fn refused_records_and_duplicates_are_added_to_files_of_their_own() {
    let sandbox = Sandbox::new();
    let (rejects, duplicates) = (sandbox.path("rejects"), sandbox.path("duplicates"));
    let words = format!("--key id --rejects {} --duplicates {}", rejects.display(), duplicates.display());
    let input = b"id,v\r\n1,a\r\n1,b\r\n2\r\n3,\"x\r\n4,d\r\n4,e";
    let ran = sandbox.dedupe(&words, input);
    assert_eq!((ran.code, ran.out.as_slice()), (3, &b"id,v\r\n1,a\r\n4,d\r\n"[..]), "{}", ran.err);
    let refused = fs::read_to_string(&rejects).unwrap();
    let lines: Vec<_> = refused.lines().collect();
    assert!(
        lines[0].starts_with("# line 4: has 1 field") && lines[2].starts_with("# line 5: a quote"),
        "{refused}"
    );
    assert_eq!((lines[1], lines[3], lines.len()), ("2", "3,\"x", 4));
    assert_eq!(fs::read(&duplicates).unwrap(), b"1,b\r\n4,e\r\n");
    // A second run adds.
    sandbox.dedupe(&words, b"id,v\n1,c\n");
    assert_eq!(fs::read(&duplicates).unwrap(), b"1,b\r\n4,e\r\n1,c\n");
    let one = rejects.display();
    let ran = sandbox.dedupe(&format!("--key id --rejects {one} --duplicates {one}"), b"id\n1\n");
    assert_eq!(ran.code, 64, "{}", ran.err);
    let ran = sandbox.dedupe("--key id --rejects /nowhere/x", b"id\n1\n");
    assert_eq!(ran.code, 73, "{}", ran.err);
}

#[test]
fn the_summary_may_be_json() {
    let ran = Sandbox::new().dedupe("--key id --json", b"id,v\n1,a\n1,b\n2\n");
    let summary: Value = serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    for (name, count) in [
        ("read", 3),
        ("passed", 1),
        ("duplicates", 1),
        ("refused", 1),
        ("left", 0),
        ("in_doubt_passed", 0),
        ("in_doubt_skipped", 0),
    ] {
        assert_eq!(summary[name], count, "{name}");
    }
}

/// Two runs that add to one file: no record is glued to the one before.
#[test]
fn outputs_of_several_runs_can_stand_behind_each_other() {
    for (words, inputs, expected) in [
        ("--no-header --key 1", [&b"1,a"[..], b"1,a\n2,b"], &b"1,a\n2,b\n"[..]),
        ("--format ndjson --key /id", [b"{\"id\":1}", b"{\"id\":2}"], b"{\"id\":1}\n{\"id\":2}\n"),
        ("--whole-record", [b"id\n1", b"id\n2"], b"id\n1\nid\n2\n"),
    ] {
        let sandbox = Sandbox::new();
        let path = sandbox.path("all");
        for input in inputs {
            let out = fs::File::options().create(true).append(true).open(&path).unwrap();
            let mut command = sandbox.command(&format!("dedupe {words}"));
            let Ran { code, err, .. } =
                run(command.stdin(sandbox.file(input)).stdout(out).stderr(Stdio::piped()));
            assert_eq!(code, 0, "{err}");
        }
        assert_eq!(fs::read(&path).unwrap(), expected);
    }
}

/// Thousands of generated records through the command itself; in greater number they go through its functions, in
/// `src/feed.rs`.
#[test]
fn generated_feeds_pass_once_over_two_runs() {
    let sandbox = Sandbox::new();
    let line_ends = ["\n", "\r\n", "\r", "\r\r\n"];
    let mut input = String::from("\u{feff}id,v\n");
    let mut expected = Vec::new();
    for number in 0..5_000_usize {
        let id = number * 7_919 % 3_000;
        let value = ["plain", "\"a,b\"", "\"two\nlines\"", "\"say \"\"hi\"\"\"", "7\" wide", ""][number % 6];
        input += &[id.to_string().as_str(), ",", value, line_ends[number / 3 % 4]].concat();
        if number % 10 == 0 {
            input += "\n";
        }
        if number < 3_000 {
            expected.push((id.to_string(), value.to_owned()));
        }
    }
    let path = sandbox.path("all.csv");
    let mut passed = Vec::new();
    for cut in [input.len() / 3, input.len()] {
        let is_line_end = |cut: &usize| input.is_char_boundary(*cut) && input[..*cut].ends_with(['\r', '\n']);
        let cut = (cut..input.len()).find(is_line_end).unwrap_or(input.len());
        let out = fs::File::options().create(true).append(true).open(&path).unwrap();
        let mut command = sandbox.command("dedupe --key id");
        let ran = run(command.stdin(sandbox.file(&input.as_bytes()[..cut])).stdout(out));
        // Cut inside quotes, the first part may end with a line that is refused, and comes again.
        assert!(ran.code == 0 || ran.code == 3, "{}", ran.err);
        passed.push(ran.err);
    }
    let all = fs::read(&path).unwrap();
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(all.as_slice());
    // The header of each run, with its mark, is no event.
    let is_event = |record: &csv::StringRecord| !record[0].ends_with("id");
    let mut found: Vec<_> = reader.records().map(Result::unwrap).filter(is_event).collect();
    let written = |value: &str| match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap().replace("\"\"", "\""),
        None => value.to_owned(),
    };
    let mut expected: Vec<_> = expected
        .iter()
        .map(|(id, value)| csv::StringRecord::from(vec![id.clone(), written(value)]))
        .collect();
    let by_id = |record: &csv::StringRecord| record[0].to_owned();
    found.sort_by_key(by_id);
    expected.sort_by_key(by_id);
    assert_eq!(found, expected, "{passed:?}");
}

/// Events taken for a header would be passed on at every run, and nobody would be told.
#[test]
fn json_is_not_taken_for_a_header_unless_that_is_said() {
    let events = "{\"id\":\"evt_1\",\"v\":\"a\"}\n{\"id\":\"evt_2\"}\n";
    let array = "[\n{\"id\":\"evt_1\"}]\n".to_owned();
    for input in [events.to_owned(), format!("\u{feff} \n \t{events}"), array] {
        for words in ["--whole-record", "--key id", "--whole-record --delimiter ;"] {
            let sandbox = Sandbox::new();
            let ran = sandbox.dedupe(words, input.as_bytes());
            assert_eq!((ran.code, ran.out.as_slice()), (65, &b""[..]), "{words}: {}", ran.err);
            assert!(ran.err.contains("looks like JSON: --format ndjson"), "{words}: {}", ran.err);
            assert!(!ran.err.contains("evt_1") && !sandbox.store().exists(), "{words}: {}", ran.err);
        }
    }
    check("--format ndjson --whole-record", events.as_bytes(), 0, events.as_bytes(), &["2 read, 2 passed"]);
    // What is said to be delimited text is read as such, and so are names that only end like JSON.
    for (words, input) in [
        ("--format csv --whole-record", "{\"id\":1}\n{\"id\":2}\n"),
        ("--format csv --key [id]", "[id],[name]\n1,a\n"),
        ("--whole-record", "id{},v[]\n1,2\n"),
        ("--whole-record --no-header", "{1}\n"),
        ("--whole-record --columns id", "{1}\n"),
    ] {
        check(words, input.as_bytes(), 0, input.as_bytes(), &["1 read, 1 passed"]);
    }
    check("--format csv --key id", b"{\"id\":1}\n", 64, b"", &["no column `id`", "--format ndjson"]);
    check("--key id", b"v\n1\n", 64, b"", &["no column `id` (is the --delimiter right?)"]);
}

#[test]
fn an_import_of_json_as_delimited_text_names_the_format() {
    let sandbox = Sandbox::new();
    let mut import = sandbox.command("import --from sql-idempotency-keys --format csv --key id");
    let ran = run(import.stdin(sandbox.file(b"{\"id\":\"evt_1\"}\n{\"id\":\"evt_2\"}\n")));
    assert_eq!((ran.code, sandbox.store().exists()), (64, false), "{}", ran.err);
    assert!(ran.err.contains("looks like JSON: --format ndjson"), "{}", ran.err);
}
