//! The command line as people try it: the store in three places, help that fits, other names, one word for a state.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use claimstore_admin::{ServeAdmin as _, State};
use serde_json::Value;

use crate::sandbox::{Ran, Sandbox, key, run};
use crate::shells::{subcommands, without_store};
use crate::terminal;

/// A store in a variable, or none.
fn bare(words: &[&str], variable: Option<&std::path::Path>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimstore"));
    command.args(words).env_remove("CLAIMSTORE_STORE");
    if let Some(path) = variable {
        command.env("CLAIMSTORE_STORE", path);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Each subcommand that opens a store, with words that succeed on a filled one, in this order; and whether `--json`
/// is for it.
fn every(sandbox: &Sandbox) -> Vec<(String, bool)> {
    let shop = |verb: &str, name: &str| format!("{verb} {} --namespace shop", key(name));
    let yes = |verb: &str, name: &str| format!("{} --yes", shop(verb, name));
    [
        ("stats".to_owned(), true),
        ("list".to_owned(), true),
        (shop("get", "done"), true),
        (shop("explain", "parked"), true),
        ("stuck --older-than 0s".to_owned(), true),
        ("orphans".to_owned(), true),
        ("parked".to_owned(), true),
        ("top --once".to_owned(), true),
        ("policy".to_owned(), true),
        ("verify".to_owned(), true),
        ("prune --dry-run".to_owned(), true),
        ("checkpoint".to_owned(), true),
        ("compact".to_owned(), true),
        ("clock".to_owned(), true),
        ("export".to_owned(), false),
        ("import".to_owned(), true),
        ("dedupe --whole-record --format ndjson".to_owned(), false),
        ("exec --key k -- true".to_owned(), false),
        (format!("backup {}", sandbox.path("copy").display()), true),
        (yes("release", "orphan"), true),
        (yes("complete", "parked"), true),
        (yes("forget", "done"), true),
    ]
    .into()
}

/// An export of nothing, for `import`; for `dedupe`, a record.
const NO_RECORDS: &[u8] = b"{\"kind\":\"end\",\"records\":0}\n";

/// What the table above has no place for: it needs a store that is not there, or a key that has not been decided about.
const APART: [&str; 3] = ["restore", "requeue", "fail"];
const WITHOUT_STORE: [&str; 2] = ["completions", "man"];

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[test]
fn the_store_is_named_before_the_subcommand_after_it_or_by_a_variable() {
    let mut covered: BTreeSet<String> = APART.iter().chain(&WITHOUT_STORE).map(|&name| name.into()).collect();
    for place in ["before", "after", "variable"] {
        let sandbox = Sandbox::new();
        sandbox.fill();
        let store = sandbox.store();
        let path = store.to_str().unwrap();
        for (line, _) in every(&sandbox) {
            covered.insert(words(&line)[0].to_owned());
            let mut command = match place {
                "before" => bare(&[&["--store", path][..], &words(&line)].concat(), None),
                "variable" => bare(&words(&line), Some(&store)),
                // Right after the subcommand: what follows `--` is not ours.
                _ => {
                    let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
                    let rest = rest.split(' ').filter(|word| !word.is_empty());
                    bare(&[verb, "--store", path].into_iter().chain(rest).collect::<Vec<_>>(), None)
                }
            };
            let ran = run(command.stdin(sandbox.file(NO_RECORDS)));
            assert_eq!(ran.code, 0, "{place}: {line}: {}", ran.err);
        }
    }
    assert_eq!(covered, subcommands().into_iter().collect(), "who adds a subcommand adds it here");
}

#[test]
fn an_option_goes_before_the_variable_and_two_options_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let (store, nowhere) = (sandbox.store(), sandbox.path("nowhere"));
    let path = store.to_str().unwrap();
    for line in [["--store", path, "stats"], ["stats", "--store", path]] {
        assert_eq!(run(&mut bare(&line, Some(&nowhere))).code, 0, "{line:?}");
    }
    let ran = run(&mut bare(&["--store", path, "stats", "--store", path], None));
    assert!(ran.code == 64 && ran.err.contains("say it once"), "{}", ran.err);
    // The second is an argument of another command.
    let line = ["--store", path, "exec", "--key", "k", "--", "echo", "--store", "x"];
    let ran = run(&mut bare(&line, None));
    assert_eq!((ran.code, ran.out.as_slice()), (0, &b"--store x\n"[..]), "{}", ran.err);
}

#[test]
fn without_a_store_every_subcommand_says_how_to_name_one() {
    let sandbox = Sandbox::new();
    let all = every(&sandbox).into_iter().map(|(line, _)| line);
    let apart = ["restore /nowhere", "requeue k --yes", "fail k --yes"].map(str::to_owned);
    for line in all.chain(apart) {
        for variable in [None, Some(std::path::Path::new(""))] {
            let ran = run(&mut bare(&words(&line), variable));
            assert_eq!((ran.code, ran.out.len()), (64, 0), "{line}: {}", ran.err);
            assert!(
                ran.err.contains("--store DIR") && ran.err.contains("CLAIMSTORE_STORE"),
                "{line}: {}",
                ran.err
            );
        }
    }
    for line in ["completions bash", "man list", "help", "--version"] {
        assert_eq!(run(&mut bare(&words(line), Some(std::path::Path::new("")))).code, 0, "{line}");
    }
}

fn assert_fits(text: &str, line: &str) {
    for row in text.lines() {
        assert!(row.chars().count() <= 80, "{line}: {row:?}");
    }
}

#[test]
fn help_fits_80_columns_on_a_terminal_of_any_width_and_in_a_pipe() {
    let mut lines: Vec<String> = ["", "help", "--help", "-h"].map(str::to_owned).into();
    for name in subcommands() {
        lines.extend([format!("{name} --help"), format!("{name} -h"), format!("help {name}")]);
    }
    for line in &lines {
        let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let ran = run(&mut bare(&words, None));
        let text = String::from_utf8(ran.out).unwrap() + &ran.err;
        assert!(text.len() > 100, "{line}: {text}");
        assert_fits(&text, line);
    }
    for line in ["help", "list --help", "dedupe --help"] {
        let (text, code) = terminal::run(bare(&words(line), None), 200);
        let plain = without_colours(&text);
        assert_eq!(code, 0, "{line}");
        assert_fits(&plain, line);
    }
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[test]
fn help_shows_the_subcommands_in_groups_with_their_other_names() {
    let help = String::from_utf8(without_store("help").out).unwrap();
    let headings: Vec<_> =
        help.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
    let expected =
        ["Do something once:", "Look:", "Decide:", "Copy and move:", "Keep in order:", "Other:", "Options:"];
    assert_eq!(headings, expected, "{help}");
    for name in ["ls", "show", "status", "why", "watch", "check", "completion"] {
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&format!("[also: {name}]")), "{name}: {help}");
    }
    for variable in [None, Some(std::path::Path::new("/nowhere"))] {
        let bare = run(&mut bare(&[], variable));
        assert_eq!((bare.code, bare.err.as_str()), (64, help.as_str()), "who says nothing gets the same");
    }
}

#[test]
fn other_names_do_the_same() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let get = format!("{} --namespace shop --json", key("done"));
    for (name, other, rest) in [
        ("list", "ls", "--json --show-keys"),
        ("get", "show", &get),
        ("verify", "check", "--json"),
        ("stats", "status", "--help"),
        ("explain", "why", "--help"),
        ("top", "watch", "--help"),
    ] {
        let [one, two] = [name, other].map(|name| sandbox.run(&format!("{name} {rest}")));
        assert_eq!((one.code, two.code), (0, 0), "{other}: {}", two.err);
        assert_eq!(String::from_utf8(one.out), String::from_utf8(two.out), "{other}");
    }
    assert_eq!(without_store("completion bash").out, without_store("completions bash").out);
    for (word, advice) in
        [("rm", "`forget`"), ("retry", "`requeue`"), ("vacuum", "`prune`"), ("run", "`exec`")]
    {
        let ran = without_store(word);
        assert!(ran.code == 64 && ran.err.contains(advice), "{word}: {}", ran.err);
    }
}

#[test]
fn json_is_one_object_on_one_line() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    for (line, _) in every(&sandbox).iter().filter(|(_, json)| *json) {
        let mut command = sandbox.command(&format!("{line} --json"));
        let ran = run(command.stdin(sandbox.file(NO_RECORDS)));
        assert_eq!(
            (ran.code, ran.out.split_inclusive(|byte| *byte == b'\n').count()),
            (0, 1),
            "{line}: {}",
            ran.err
        );
        assert!(serde_json::from_slice::<Value>(&ran.out).unwrap().is_object(), "{line}");
    }
    let place = sandbox.path("place");
    let ran = sandbox.run_at(&format!("restore {} --json", sandbox.path("copy").display()), &place);
    assert!(ran.code == 0 && ran.out.ends_with(b"}\n"), "{}", ran.err);
    assert!(serde_json::from_slice::<Value>(&ran.out).unwrap().is_object());
}

#[test]
fn an_argument_too_many_is_withheld_and_the_text_says_why() {
    let sandbox = Sandbox::new();
    for line in ["get order 4711", "explain order 4711", "list 4711", "export 4711", "verify 4711"] {
        let ran = sandbox.run(line);
        assert_eq!((ran.code, ran.out.len()), (64, 0), "{line}");
        assert!(!ran.err.contains("4711") && !ran.err.contains("'..'"), "{line}: {}", ran.err);
        let takes_key = words(line).len() > 2;
        let said = if takes_key {
            "put a key with blanks in it in quotes"
        } else {
            "` takes no argument; the store is"
        };
        assert!(ran.err.contains(said), "{line}: {}", ran.err);
        let usage = format!("Usage: claimstore {} ", words(line)[0]);
        assert!(ran.err.contains(&usage), "{line}: {}", ran.err);
    }
    let ran = sandbox.run("list --4711");
    assert!(
        ran.code == 64 && ran.err.contains("--4711"),
        "what was meant as an option is shown: {}",
        ran.err
    );
}

/// `more:` is not among the records, and what is in them is told without `--json` too.
#[test]
fn a_listing_for_people_has_payloads_and_says_on_standard_error_that_there_is_more() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let day = std::time::Duration::from_secs(86_400);
    for name in ["a", "b", "c"] {
        let lease = store.claim(name, day).unwrap().claimed().unwrap();
        lease.complete(format!("{{\n\t\"is\": \"{name}\"\n}}\u{1b}[2J")).unwrap();
    }
    store.close().unwrap();
    let ran = sandbox.run("list --show-payload --show-keys --limit 2");
    let text = String::from_utf8(ran.out).unwrap();
    assert_eq!((ran.code, text.lines().count()), (0, 5), "{text}");
    let response = |name: &str| format!("       response   {{\\n\\t\"is\": \"{name}\"\\n}}\\u{{1b}}[2J\n");
    let shown = ["a", "b", "c"].iter().filter(|name| text.contains(&response(name))).count();
    assert_eq!(shown, 2, "{text}");
    assert!(ran.err.starts_with("more: --after ") && ran.err.lines().count() == 1, "{}", ran.err);
    let after = ran.err.trim_start_matches("more: ").trim_end();
    let ran = sandbox.run(&format!("list --show-keys {after}"));
    assert_eq!((String::from_utf8(ran.out).unwrap().lines().count(), ran.err.as_str()), (2, ""));
}

#[test]
fn a_state_has_one_word_wherever_it_is_told() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let text = |ran: Ran| String::from_utf8(ran.out).unwrap();
    let (stats, list) = (text(sandbox.run("stats")), text(sandbox.run("list --namespace shop")));
    let help = text(sandbox.run("list --help"));
    let export = text(sandbox.run("export"));
    let name = |state: State| match state {
        State::Completed => "done",
        State::InProgress => "held",
        State::Orphaned => "orphan",
        other => other.name(),
    };
    for state in State::ALL {
        let (word, key) = (state.name(), key(name(state)));
        assert!(
            stats.lines().any(|line| line.starts_with(&format!("{word} ")) && line.ends_with(" 1")),
            "{stats}"
        );
        assert_eq!(
            list.lines().filter(|line| line.contains(&format!("  {word} "))).count(),
            1,
            "{word}: {list}"
        );
        assert!(help.contains(&format!("- {word}:")), "{word}: {help}");
        assert!(export.contains(&format!("\"state\":\"{word}\"")), "{word}");
        let ran = sandbox.json(&format!("list --state {word} --show-keys"));
        assert_eq!(
            (&ran["records"][0]["state"], &ran["records"][0]["key"]),
            (&word.into(), &key.as_str().into())
        );
        let explained = text(sandbox.run(&format!("explain {key} --namespace shop")));
        assert!(
            explained.contains(&format!("\nstate      {word}\n"))
                && explained.contains(&format!("\n{word}: "))
        );
        let shown = text(sandbox.run(&format!("get {key} --namespace shop")));
        assert!(shown.contains(&format!("\nstate      {word}\n")), "{shown}");
    }
    assert!(text(sandbox.run("orphans")).contains("  orphaned (abandoned)  "));
    let top = text(sandbox.run("top --once"));
    for word in ["in-progress  1", "orphaned 1", "retry 1", "parked 1"] {
        assert!(top.contains(word), "{word}: {top}");
    }
    // A program's words are these too.
    let store = sandbox.open();
    drop(store.serve_admin().unwrap());
    let live = text(sandbox.run("list --namespace shop"));
    for state in State::ALL {
        assert!(live.contains(&format!("  {} ", state.name())), "{live}");
    }
    store.close().unwrap();
}

/// What `explain` shows at its end does what it says, in a shell, whatever the names are.
#[test]
fn lines_to_paste_do_what_they_say() {
    let names = ["shop", "it's a \"shop\" $HOME", "\u{1b}[2J\n`x`", "\u{202e}注文\\n"];
    for name in names {
        let sandbox = Sandbox::new();
        let store = sandbox.open();
        let space = store.namespace(name).unwrap();
        let lease = space.claim_default(key("parked")).unwrap().claimed().unwrap();
        lease.fail(claimstore::Failure::park("")).unwrap();
        store.close().unwrap();
        let mut command =
            bare(&["explain", &key("parked"), "--json", "--namespace", name], Some(&sandbox.store()));
        let explained: Value = serde_json::from_slice(&run(&mut command).out).unwrap();
        let line = explained["next"][0]["command"].as_str().unwrap();
        assert!(line.starts_with("claimstore requeue ") && !line.contains("canary"), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        symlink(env!("CARGO_BIN_EXE_claimstore"), sandbox.path("claimstore")).unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("{line} --yes")]).env("PATH", sandbox.path(""));
        let Ok(output) = shell.output() else { return eprintln!("SKIPPED: there is no bash here") };
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(sandbox.json("list")["records"][0]["state"], "retry");
    }
}

#[test]
fn explain_tells_time_rules_and_what_is_left() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let explained = sandbox.explain("retry");
    assert_eq!((&explained["failures_left"], &explained["rules"]["max_attempts"]), (&1.into(), &2.into()));
    assert!(explained["store_time_ms"].as_u64() > explained["claimed_at_ms"].as_u64());
    let ran = sandbox.run(&format!("explain {} --namespace shop", key("orphan")));
    let text = String::from_utf8(ran.out).unwrap();
    for part in [
        "\nfailures   0 of 2, 2 left\n",
        "\nlosses     1 of 10, 9 left\n",
        "\nin doubt   yes\n",
        "\nrules      ttl 7d, lease 1m, failures 2, losses 10, on-orphan retry, on-drop lost\n",
        "\nstore time 20",
        "The next claim is granted, as attempt 2 (on-orphan retry).",
        "\n    claimstore release ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
