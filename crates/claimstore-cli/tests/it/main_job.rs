//! The job in the README: real invoice lines, some of which came twice.

use crate::sandbox::{Sandbox, data_set, run};

const SUMMARY_FIRST: &str = "10000 read, 9804 passed, 196 duplicates, 0 refused\n";
const SUMMARY_AGAIN: &str = "10000 read, 0 passed, 10000 duplicates, 0 refused\n";

/// Every line of the file once, the first time it comes.
fn distinct_lines(input: &[u8]) -> Vec<u8> {
    let mut seen = std::collections::HashSet::new();
    input
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| seen.insert(*line))
        .flatten()
        .copied()
        .collect()
}

#[test]
fn whole_records_pass_once_and_never_again() {
    let (sandbox, input) = (Sandbox::new(), data_set());
    let first = sandbox.dedupe("--delimiter ; --whole-record", &input);
    assert_eq!((first.code, first.err.as_str()), (0, SUMMARY_FIRST));
    assert!(first.out == distinct_lines(&input), "the output is the distinct lines, in order");

    let again = sandbox.dedupe("--delimiter ; --whole-record", &input);
    assert_eq!((again.code, again.err.as_str()), (0, SUMMARY_AGAIN));
    assert_eq!(again.out, input.split_inclusive(|byte| *byte == b'\n').next().unwrap(), "the header alone");
}

#[test]
fn a_file_as_output_gets_the_same() {
    let (sandbox, input) = (Sandbox::new(), data_set());
    let path = sandbox.path("unique.csv");
    let mut command = sandbox.command("dedupe --delimiter ; --whole-record");
    let ran = run(command.stdin(sandbox.file(&input)).stdout(std::fs::File::create(&path).unwrap()));
    assert_eq!((ran.code, ran.err.as_str()), (0, SUMMARY_FIRST));
    assert!(std::fs::read(&path).unwrap() == distinct_lines(&input));
}

#[test]
fn any_batch_size_gives_the_same() {
    let input = data_set();
    for batch in ["1000", "65536"] {
        let sandbox = Sandbox::new();
        let ran = sandbox.dedupe(&format!("--delimiter ; --whole-record --batch {batch}"), &input);
        assert_eq!(ran.err, SUMMARY_FIRST);
        assert!(ran.out == distinct_lines(&input));
    }
}

/// The README warns of this: two columns that look like a key and are not the event.
#[test]
fn a_key_that_is_not_the_event_drops_real_lines() {
    let ran = Sandbox::new().dedupe("--delimiter ; --key InvoiceNo,StockCode", &data_set());
    assert_eq!(ran.err, "10000 read, 9653 passed, 347 duplicates, 0 refused\n");
}

#[test]
fn lines_without_a_customer_are_refused_by_customer_and_the_rest_goes_on() {
    let ran = Sandbox::new().dedupe("--delimiter ; --key InvoiceNo,CustomerID", &data_set());
    assert_eq!(ran.code, 3);
    assert!(ran.err.ends_with("10000 read, 444 passed, 7265 duplicates, 2291 refused\n"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 2_292);
}
