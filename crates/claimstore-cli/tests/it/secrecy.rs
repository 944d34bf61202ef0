//! No key and no payload appears anywhere unless asked: in output, in messages, in names of files.

use std::collections::BTreeSet;
use std::path::Path;

use crate::sandbox::{Sandbox, key, payload, run};
use crate::shells::subcommands;

const CANARY: &str = "canary";

fn assert_silent(words: &str, code: i32, sandbox: &Sandbox) {
    let ran = sandbox.run(words);
    assert_eq!(ran.code, code, "{words}: {}", ran.err);
    let out = String::from_utf8(ran.out).unwrap();
    assert!(!out.contains(CANARY), "{words} shows {out}");
    assert!(!ran.err.contains(CANARY), "{words} says {}", ran.err);
}

/// Subcommands that show keys or payloads because that is what they are for: the command's own output, the records that
/// pass, the export.
const BY_PURPOSE: [&str; 3] = ["dedupe", "exec", "export"];
/// Subcommands without a store.
const WITHOUT_STORE: [&str; 2] = ["completions", "man"];

/// A subcommand with what it takes, and its exit code. Keys are of the namespace `shop`, unless said.
type Case = (String, i32);

/// What shows and changes nothing.
fn looks() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "list",
        "stuck --older-than 0s",
        "orphans",
        "parked",
        "policy",
        "stats",
        "verify",
        "clock",
        "top --once",
    ]
    .map(|words| (words.to_owned(), 0))
    .into();
    for name in ["done", "failed", "retry", "parked", "orphan", "held"] {
        for verb in ["get", "explain"] {
            cases.push((format!("{verb} {} --namespace shop", key(name)), 0));
        }
    }
    cases.push((format!("get {}", key("parked")), 1));
    cases.push((format!("list --prefix {CANARY} --state failed"), 0));
    cases.push(("prune --dry-run".to_owned(), 0));
    cases
}

/// What is refused.
fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for verb in ["release", "complete", "fail", "forget"] {
        cases.push((format!("{verb} {} --namespace shop --yes", key("held")), 75));
        cases.push((format!("{verb} {} --namespace shop", key("orphan")), 64));
        cases.push((format!("{verb} {} --yes", key("orphan")), 1));
    }
    cases.push((format!("requeue {} --namespace shop --yes", key("done")), 4));
    // A key with a blank in it that nobody quoted; where several keys may be given, these are two that are not there.
    for (verb, code) in [("get", 64), ("explain", 64), ("forget", 1), ("requeue", 1)] {
        cases.push((format!("{verb} {} {}", key("one"), key("two")), code));
    }
    cases.push((format!("export {}", key("one")), 64));
    cases.push((format!("get {} --hex", key("one")), 64));
    cases
}

/// What changes something, in this order.
fn changes(sandbox: &Sandbox) -> Vec<Case> {
    let response = payload("response");
    let decided = [
        ("complete --response", response.as_str(), "parked"),
        ("fail --response", &response, "orphan"),
        ("forget --why", CANARY, "done"),
    ];
    let mut cases: Vec<Case> = decided
        .map(|(verb, text, name)| {
            (format!("{verb} {text} {} --namespace shop --yes --by {CANARY}", key(name)), 0)
        })
        .into();
    let copy = sandbox.path("copy");
    for words in ["prune", "checkpoint", "compact", "verify"] {
        cases.push((words.to_owned(), 0));
    }
    cases.push((format!("backup {}", copy.display()), 0));
    cases.push((format!("backup {}", copy.display()), 73));
    cases.push((format!("restore {}", copy.display()), 73));
    cases.push(("policy --namespace shop --ttl 9d".to_owned(), 0));
    cases
}

#[test]
fn p18_nothing_telltale_is_shown_unless_asked() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let mut covered: BTreeSet<String> =
        BY_PURPOSE.iter().chain(&WITHOUT_STORE).map(|&name| name.into()).collect();
    let mut check = |cases: Vec<Case>, suffixes: &[&str]| {
        for (words, code) in cases {
            covered.insert(words.split(' ').next().unwrap().to_owned());
            for suffix in suffixes {
                assert_silent(&format!("{words}{suffix}"), code, &sandbox);
            }
        }
    };
    check(looks(), &["", " --json"]);
    check(refused(), &[""]);
    check(changes(&sandbox), &[""]);
    let place = sandbox.path("place");
    let restored = sandbox.run_at(&format!("restore {}", sandbox.path("copy").display()), &place);
    assert_eq!((restored.code, has_canary(&restored.out)), (0, false));
    // What was decided stands in the history, and is told only if asked; by whom is no secret.
    let words = format!("explain {} --namespace shop", key("parked"));
    assert!(!String::from_utf8(sandbox.run(&words).out).unwrap().contains(&payload("response")));

    covered.insert("import".into());
    assert_eq!(covered, subcommands().into_iter().collect(), "who adds a subcommand adds it here");
    for dir in [sandbox.store(), sandbox.path("copy"), place] {
        assert_no_telltale_names(&dir);
    }
}

#[test]
fn p18_a_store_that_is_busy_or_damaged_says_nothing_either() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    for (words, code) in looks().into_iter().chain(changes(&sandbox)) {
        if code == 0 {
            assert_silent(&format!("{words} --wait 0s"), 75, &sandbox);
        }
    }
    store.close().unwrap();
    let damaged = sandbox.path("damaged");
    std::fs::rename(sandbox.store(), &damaged).unwrap();
    // In the middle of what was stored.
    let damage = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let found = bytes.windows(CANARY.len()).position(|window| window == CANARY.as_bytes());
        if let Some(place) = found {
            bytes[place] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
        found.is_some()
    };
    let runs = std::fs::read_dir(damaged.join("runs")).unwrap();
    assert!(runs.map(|run| damage(&run.unwrap().path())).filter(|found| *found).count() > 0);
    for words in ["verify", "list", "stats", "export"] {
        let ran = sandbox.run_at(words, &damaged);
        assert!(ran.code == 65 && !ran.err.contains(CANARY), "{words}: {} {}", ran.code, ran.err);
        assert!(words == "export" || !has_canary(&ran.out), "{words}");
    }
}

/// Good lines and bad ones, of every source: each says line and column, and no value.
#[test]
fn p18_an_import_names_lines_and_not_what_is_in_them() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let exported = sandbox.run("export --namespace shop").out;
    let other = String::from_utf8(exported.clone()).unwrap().replace(&payload("response"), &payload("other"));
    let (one, two) = (key("one"), payload("two"));
    let inputs = [
        ("", exported),
        ("", other.into_bytes()),
        ("", format!("{{\"kind\":\"{one}\"}}\n{one}\n{{\"kind\":\"record\",\"key\":\"{one}\",\"state\":\"{two}\"}}\n").into()),
        (" --from redis", format!("{{\"key\":\"{one}\",\"value\":\"{two}\",\"pttl\":\"{two}\"}}\n{one}\n").into()),
        (
            " --from sql-idempotency-keys --format csv",
            format!("idempotency_key,response_code,created_at\n{one},{two},\n{one},200,{two}\n{one},200\n{one},200,\n").into(),
        ),
        (" --from sql-processed-messages", format!("{{\"message_id\":\"{one}\",\"processed_at\":\"{two}\"}}\n").into()),
        // A word that is not known may be anything, and so may a value of Redis that looks like one.
        (" --from sql-processed-messages", format!("{{\"message_id\":\"{one}\",\"status\":\"{two}/7\"}}\n").into()),
        (" --from redis", format!("{{\"key\":\"{one}\",\"value\":\"{two}\",\"pttl\":60000}}\n").into()),
        (" --from redis --unsaid park", format!("{{\"key\":\"{one}\",\"value\":\"{two}: 7\",\"pttl\":-1}}\n").into()),
    ];
    for (words, input) in inputs {
        for suffix in ["", " --json"] {
            let mut command = sandbox.command(&format!("import{words}{suffix}"));
            let ran = run(command.stdin(sandbox.file(&input)));
            assert!([0, 3, 65].contains(&ran.code), "{words}: {} {}", ran.code, ran.err);
            assert!(!has_canary(&ran.out) && !ran.err.contains(CANARY), "{words}: {}", ran.err);
        }
    }
    assert_no_telltale_names(&sandbox.store());
}

#[test]
fn p18_dedupe_says_nothing_of_the_records_but_passes_them_on() {
    let sandbox = Sandbox::new();
    let input = format!("id,text\n{},a\n,{}\n{},a\n\"{}", key("one"), payload("p"), key("one"), key("open"));
    let ran = sandbox.dedupe("--key id", input.as_bytes());
    assert_eq!((ran.code, ran.err.lines().count()), (3, 3), "{}", ran.err);
    assert!(!ran.err.contains(CANARY), "{}", ran.err);
    assert_no_telltale_names(&sandbox.store());
}

#[test]
fn p18_exec_says_no_key_of_its_own_accord() {
    let sandbox = Sandbox::new();
    let exec = |words: &str, script: &str| {
        let words = format!("exec --key {} --attempts 1 {words}", key("command"));
        let ran = run(sandbox.command(words.trim_end()).args(["--", "sh", "-c", script]));
        assert!(!ran.err.contains(CANARY) && ran.out.is_empty(), "{}", ran.err);
        ran.code
    };
    assert_eq!(exec("--fingerprint-args", "exit 1"), 1);
    assert_eq!(exec("--fingerprint-args", "exit 2"), 65);
    assert_eq!(exec("", "exit 1"), 4);
    assert_no_telltale_names(&sandbox.store());
}

fn has_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

/// The first test would pass if nothing were ever shown.
#[test]
fn everything_is_shown_when_asked() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let out = sandbox.run("list --show-keys").out;
    assert_eq!(String::from_utf8(out).unwrap().matches("canary-key-").count(), 6);
    let out = sandbox.run(&format!("get {} --namespace shop --show-payload", key("orphan"))).out;
    assert_eq!(String::from_utf8(out).unwrap().matches("canary-payload-").count(), 2, "progress and origin");
    let out = sandbox.run("export").out;
    assert_eq!(String::from_utf8(out).unwrap().matches("canary-key-").count(), 6);
}

fn assert_no_telltale_names(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        assert!(!path.to_string_lossy().contains(CANARY), "{}", path.display());
        if path.is_dir() {
            assert_no_telltale_names(&path);
        }
    }
}
