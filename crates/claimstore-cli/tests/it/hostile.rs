//! Names, keys, notes and payloads that a terminal would obey, or that cannot be seen: no text of any subcommand has them
//! as they are, asked for or not, and none of them makes a line of its own.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::Command;

use claimstore::{Failure, Policy, Store};
use claimstore_admin::ServeAdmin as _;
use serde_json::Value;

use crate::sandbox::{Ran, Sandbox, run};
use crate::shells::subcommands;
use crate::terminal;

/// Clears the screen (as ESC, and as the one character that says the same), sets a title, rings; turns the direction of
/// writing; hides; and makes a line that looks like ours.
const TELLTALES: [&str; 8] = [
    "\u{1b}[2J",
    "\u{9b}2J",
    "\u{1b}]0;title\u{7}",
    "\u{202e}gnirts\u{202c}",
    "\u{2066}x\u{2069}\u{61c}",
    "a\u{200b}b\u{feff}c\u{ad}\u{2028}",
    "x\nclaimstore: all is well",
    "\r\u{8}\u{7f}\t",
];

/// All of them in one name.
fn telltale() -> String {
    format!("shop/{}", TELLTALES.concat())
}

/// A store with keys in several states whose every text is telltale.
fn filled(sandbox: &Sandbox) -> String {
    let name = telltale();
    let store = sandbox.open();
    let space = store.namespace_with(&name, Policy::daily().max_attempts(2)).unwrap();
    let claim = |key: &str| {
        let request = claimstore::ClaimRequest::new(format!("{key}{name}")).origin(&name);
        space.claim_with(&request).unwrap().claimed().unwrap()
    };
    claim("done").complete(&name).unwrap();
    claim("parked").fail(Failure::park(&name)).unwrap();
    claim("parked2").fail(Failure::park(&name)).unwrap();
    claim("retry").fail(Failure::retry().because(&name)).unwrap();
    let mut orphan = claim("orphan");
    orphan.save_progress(&name).unwrap();
    drop(orphan);
    drop(claim("orphan2"));
    store.close().unwrap();
    name
}

fn is_telltale(c: char) -> bool {
    (c.is_control() && c != '\n') || TELLTALES.iter().any(|text| !c.is_ascii() && text.contains(c))
}

/// No telltale character; and the line that one of the names would make is not there.
#[track_caller]
fn assert_harmless(text: &str, words: &[&str]) {
    let found: Vec<_> = text.chars().filter(|c| is_telltale(*c)).collect();
    assert!(found.is_empty(), "{words:?}: {found:?} in {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("claimstore: all is well")), "{words:?}: {text:?}");
}

fn command(sandbox: &Sandbox, words: &[&str]) -> Command {
    let (verb, rest) = words.split_first().unwrap();
    let mut command = sandbox.command(verb);
    command.args(rest);
    command
}

fn check(sandbox: &Sandbox, words: &[&str], code: i32) -> Ran {
    let ran = run(&mut command(sandbox, words));
    assert_eq!(ran.code, code, "{words:?}: {}", ran.err);
    assert_harmless(&ran.err, words);
    assert_harmless(std::str::from_utf8(&ran.out).unwrap(), words);
    ran
}

/// Subcommands that pass on what others wrote because that is what they are for: records, the output of a command, the
/// export. What they say on standard error is looked at all the same.
const BY_PURPOSE: [&str; 3] = ["dedupe", "exec", "export"];

fn looks<'a>(name: &'a str, key: &'a str) -> Vec<Vec<&'a str>> {
    let mut looks = vec![
        vec!["stats"],
        vec!["list"],
        vec!["list", "--show-keys", "--show-payload"],
        vec!["list", "--namespace", name, "--limit", "1"],
        vec!["get", key, "--namespace", name, "--show-keys", "--show-payload"],
        vec!["explain", key, "--namespace", name],
        vec!["explain", key, "--namespace", name, "--show-keys", "--show-payload"],
        vec!["stuck", "--older-than", "0s", "--show-keys", "--show-payload"],
        vec!["orphans", "--show-keys", "--show-payload"],
        vec!["parked", "--show-keys", "--show-payload"],
        vec!["policy"],
        vec!["policy", "--namespace", name],
        vec!["prune", "--dry-run"],
        vec!["top", "--once"],
    ];
    let with_json: Vec<_> = looks.iter().map(|words| [&words[..], &["--json"]].concat()).collect();
    looks.extend(with_json);
    looks
}

/// What is not there, or not so, is told with the same names.
fn check_refusals(check: &dyn Fn(&[&str], i32), done: &str, name: &str) {
    check(&["get", done], 1);
    check(&["get", "nothing", "--namespace", name], 1);
    check(&["explain", done, "--json"], 1);
    check(&["list", "--namespace", &format!("{name}?")], 1);
    check(&["policy", "--namespace", &format!("{name}?"), "--ttl", "2d"], 1);
    check(&["get", done, name], 64);
    check(&["list", "--state", name], 64);
    check(&["list", &format!("--{name}")], 64);
    check(&[name], 64);
    check(&["restore", name], 66);
}

#[test]
fn no_text_moves_the_cursor_or_hides_anything() {
    let sandbox = Sandbox::new();
    let name = &filled(&sandbox);
    let keys: Vec<_> =
        ["done", "parked", "parked2", "retry", "orphan", "orphan2"].map(|key| format!("{key}{name}")).into();
    let [done, parked, parked2, retry, orphan, orphan2] = &keys[..] else { unreachable!() };
    let covered = RefCell::new(BTreeSet::new());
    let note = |name: &str| covered.borrow_mut().insert(name.to_owned());
    let check = |words: &[&str], code: i32| {
        note(words[0]);
        check(&sandbox, words, code)
    };
    for key in [parked, retry, orphan] {
        for words in looks(name, key) {
            check(&words, 0);
        }
    }
    check_refusals(&|words, code| drop(check(words, code)), done, name);
    let copy = sandbox.path(&format!("copy{}", name.replace('/', "-")));
    let copy = copy.to_str().unwrap();
    check(&["backup", copy], 0);
    check(&["backup", copy], 73);
    check(&["restore", copy], 73);
    for words in [&["verify"][..], &["checkpoint"], &["compact"], &["clock"], &["prune"]] {
        check(words, 0);
    }
    let yes = ["--namespace", name, "--yes", "--by", name, "--why", name];
    check(&["requeue", done, "--namespace", name, "--yes"], 4);
    for (verb, key) in
        [("requeue", parked), ("complete", parked2), ("release", orphan), ("fail", orphan2), ("forget", done)]
    {
        check(&[verb, key, "--namespace", name], 64);
        check(&[&[verb, key][..], &yes].concat(), 0);
    }
    // Who decided, and why, stands in the history now.
    check(&["explain", parked, "--namespace", name, "--show-payload"], 0);
    check(&["explain", parked, "--namespace", name, "--show-payload", "--json"], 0);
    check(&["policy", "--namespace", name, "--ttl", "2d"], 0);
    note("import");
    let words = ["import", "--namespace", name];
    for (input, code) in [("{\"kind\":\"end\",\"records\":0}\n".to_owned(), 0), (format!("{name}\n"), 3)] {
        let ran = run(command(&sandbox, &words).stdin(sandbox.file(input.as_bytes())));
        assert_harmless(&ran.err, &words);
        assert!(ran.code == code || code != 0, "{}", ran.err);
    }
    for words in [&["completions", "bash"][..], &["man", name]] {
        note(words[0]);
        assert_harmless(&run(Command::new(env!("CARGO_BIN_EXE_claimstore")).args(words)).err, words);
    }
    BY_PURPOSE.iter().for_each(|name| assert!(note(name)));
    assert!(covered.borrow_mut().remove(name), "which is none");
    assert_eq!(
        covered.into_inner(),
        subcommands().into_iter().collect(),
        "who adds a subcommand adds it here"
    );
}

#[test]
fn what_is_passed_on_by_purpose_says_nothing_else() {
    let sandbox = Sandbox::new();
    let name = &filled(&sandbox);
    for words in [
        &["export", "--namespace", &format!("{name}?")][..],
        &["dedupe", "--key", name],
        &["exec", "--key", name, "--namespace", name, "--", name],
    ] {
        let mut command = command(&sandbox, words);
        let ran = run(command.stdin(sandbox.file(b"a,b\n1,2\n")));
        assert!(ran.code != 0 && !ran.err.is_empty(), "{words:?}");
        assert_harmless(&ran.err, words);
    }
}

/// JSON has the same names as ever; only how they are written is harmless.
#[test]
fn scripts_get_every_character() {
    let sandbox = Sandbox::new();
    let name = filled(&sandbox);
    let listed = sandbox.json("list --show-keys --show-payload --state completed");
    let record = &listed["records"][0];
    assert_eq!(record["namespace"], Value::from(name.as_str()));
    assert_eq!(record["key"], Value::from(format!("done{name}")));
    assert_eq!(record["response"], Value::from(name));
}

#[test]
fn a_live_store_says_the_same_and_a_question_is_harmless_too() {
    let sandbox = Sandbox::new();
    let name = &filled(&sandbox);
    let key = format!("parked{name}");
    let store: Store = sandbox.open();
    drop(store.serve_admin().unwrap());
    for words in looks(name, &key) {
        check(&sandbox, &words, 0);
    }
    for (words, code) in [
        (&["get", &key][..], 1),
        (&["get", &key, "--namespace", &format!("{name}?")], 1),
        (&["policy", "--namespace", &format!("{name}?")], 1),
        (&["policy", "--namespace", &format!("{name}?"), "--if-absent"], 75),
    ] {
        check(&sandbox, words, code);
    }
    store.close().unwrap();
    let words = ["requeue", &key, "--namespace", name, "--by", name];
    let asked = terminal::answer(command(&sandbox, &words), "n\n");
    assert_eq!(asked.code, 64, "{}", asked.err);
    assert_harmless(&asked.err, &words);
}

/// Each line is one verdict, whatever the namespace is called.
#[test]
fn a_verdict_about_a_key_of_any_namespace_is_one_line() {
    for verb in ["requeue", "complete", "fail", "forget"] {
        let sandbox = Sandbox::new();
        let name = filled(&sandbox);
        let ran = check(&sandbox, &[verb, "--all", "--state", "parked", "--yes"], 0);
        let text = String::from_utf8(ran.out).unwrap();
        assert_eq!(text.lines().count(), 2, "{verb}: {text}");
        let is_whole = |line: &str| line.contains(" in namespace shop/") && line.contains("x\\nclaimstore");
        assert!(text.lines().all(is_whole), "{verb}: {text}");
        assert!(name.contains("x\nclaimstore"));
    }
}
