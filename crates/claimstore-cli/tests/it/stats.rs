//! `claimstore stats`.

use std::collections::HashMap;

use crate::sandbox::{Sandbox, run};

fn numbers(sandbox: &Sandbox) -> HashMap<String, i64> {
    let ran = run(&mut sandbox.command("stats --json"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_slice(&ran.out).unwrap()
}

#[test]
fn events_are_counted_by_state() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dedupe("--whole-record", b"a\n1\n2\n1\n").code, 0);
    assert_eq!(sandbox.dedupe("--key a", b"a\n1\n2\n3\n").code, 0);
    let numbers = numbers(&sandbox);
    assert_eq!((numbers["completed"], numbers["in_progress"], numbers["orphaned"]), (5, 0, 0));
    assert_eq!(numbers["namespaces"], 3, "the default one and one for each kind of key");
    assert!(numbers["life"] >= 3);
}

/// Scripts rely on these.
#[test]
fn the_names_stay() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dedupe("--whole-record", b"a\n").code, 0);
    let mut names: Vec<_> = numbers(&sandbox).into_keys().collect();
    names.sort_unstable();
    assert_eq!(
        names.join(" "),
        "clock_offset_ms completed failed in_progress index_bytes life live_bytes namespaces orphaned parked retry \
         run_bytes run_rows runs store_time_ms"
    );
}

#[test]
fn people_get_a_table() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.dedupe("--whole-record", b"a\n1\n").code, 0);
    let ran = run(&mut sandbox.command("stats"));
    let text = String::from_utf8(ran.out).unwrap();
    assert!(text.lines().any(|line| line.starts_with("completed ") && line.ends_with(" 1")), "{text}");
}
