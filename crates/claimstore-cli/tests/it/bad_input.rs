//! Every subcommand, where it cannot do what it is asked: it says so, with the right exit code, and nothing is lost.

use std::fs;

use crate::sandbox::{Sandbox, key};

/// Each subcommand that takes a store, with the least it needs.
const LOOKS: [&str; 12] = [
    "stats",
    "list",
    "get k",
    "explain k",
    "stuck",
    "orphans",
    "parked",
    "policy",
    "prune --dry-run",
    "export",
    "clock",
    "top --once",
];
const CHANGES: [&str; 10] = [
    "release k --yes",
    "complete k --yes",
    "fail k --yes",
    "requeue k --yes",
    "forget k --yes",
    "prune",
    "checkpoint",
    "verify",
    "compact",
    "clock --accept",
];

fn all() -> impl Iterator<Item = String> {
    LOOKS.into_iter().chain(CHANGES).map(str::to_owned)
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let sandbox = Sandbox::new();
    let backup = format!("backup {}", sandbox.path("copy").display());
    for words in all().chain([backup.clone()]) {
        let ran = sandbox.run(&words);
        assert_eq!((ran.code, ran.out.len()), (66, 0), "{words}: {}", ran.err);
        assert!(ran.err.contains("there is no store at"), "{words}: {}", ran.err);
        assert!(!sandbox.store().exists() && !sandbox.path("copy").exists(), "{words}");
    }
}

/// Somebody else's, and one that was only made: an empty store in it would hide that the path is wrong.
#[test]
fn a_directory_without_a_store_is_left_alone() {
    for files in [&["file"][..], &[]] {
        let sandbox = Sandbox::new();
        let directory = sandbox.path("directory");
        fs::create_dir(&directory).unwrap();
        files.iter().for_each(|name| fs::write(directory.join(name), "x").unwrap());
        let backup = format!("backup {}", sandbox.path("copy").display());
        for words in all().chain([backup]) {
            let ran = sandbox.run_at(&words, &directory);
            assert_eq!((ran.code, ran.out.len()), (66, 0), "{words}: {}", ran.err);
            assert!(ran.err.contains("there is no store at"), "{words}: {}", ran.err);
            let entries = fs::read_dir(&directory).unwrap();
            let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, files, "{words}");
            assert!(!sandbox.path("copy").exists(), "{words}");
        }
    }
}

#[test]
fn a_store_open_elsewhere_is_busy() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let backup = format!("backup {}", sandbox.path("copy").display());
    for words in all().chain([backup.clone()]) {
        let ran = sandbox.run(&format!("{words} --wait 0s"));
        assert_eq!((ran.code, ran.out.len()), (75, 0), "{words}: {}", ran.err);
    }
    assert!(!sandbox.path("copy").exists());
    store.close().unwrap();
}

#[test]
fn nonsense_is_a_usage_error_before_the_store_is_touched() {
    let sandbox = Sandbox::new();
    let each = all().flat_map(|words| [format!("{words} --wait soon"), format!("{words} --surprise")]);
    let more = [
        "list --state gone",
        "list --limit 0",
        "list --after nowhere",
        "list --older-than 5",
        "stuck --older-than soon",
        "get",
        "explain",
        "forget",
        "policy --ttl 1d",
        "policy --namespace shop --ttl 0s",
        "policy --namespace shop --lease 0s",
        "policy --namespace shop --lease 400d",
        "policy --namespace shop --attempts 0",
        "policy --namespace shop --quota 7",
        "policy --namespace shop --on-orphan wait",
        "backup",
        "backup copy --wait soon",
        "restore",
        "restore copy --wait soon",
        "import --wait soon",
        "top --interval soon",
        "top --once --interval 5",
    ];
    for words in each.chain(more.map(str::to_owned)) {
        let ran = sandbox.run(&words);
        assert_eq!((ran.code, ran.out.len()), (64, 0), "{words}: {}", ran.err);
        assert!(!ran.err.is_empty() && !sandbox.store().exists(), "{words}");
    }
}

#[test]
fn what_is_not_in_the_store_is_not_found() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    for verb in
        ["get", "explain", "release --yes", "complete --yes", "fail --yes", "requeue --yes", "forget --yes"]
    {
        for (words, said) in [
            (format!("{verb} nothing --namespace shop"), "no key"),
            // Keys of other namespaces are other keys.
            (format!("{verb} {}", key("parked")), "no key"),
            (format!("{verb} {} --namespace nowhere", key("parked")), "no namespace `nowhere`"),
        ] {
            let ran = sandbox.run(&words);
            assert_eq!((ran.code, ran.out.len()), (1, 0), "{words}: {}", ran.err);
            assert!(ran.err.contains(said), "{words}: {}", ran.err);
        }
    }
    for words in ["list", "stuck", "orphans", "parked", "policy"] {
        let ran = sandbox.run(&format!("{words} --namespace nowhere"));
        assert_eq!((ran.code, ran.out.len()), (1, 0), "{words}: {}", ran.err);
    }
    let policies = sandbox.json("policy");
    assert_eq!(policies["policies"].as_array().unwrap().len(), 2, "asking made no namespace");
}

#[test]
fn a_key_that_breaks_the_rules_is_a_usage_error() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    for words in ["get 0x --hex", "get abc --hex", "get "] {
        let ran = sandbox.run(words);
        assert_eq!((ran.code, ran.out.len()), (64, 0), "{words}: {}", ran.err);
    }
    let ran = sandbox.run(&format!("get {}", "k".repeat(1_025)));
    assert_eq!(ran.code, 64, "{}", ran.err);
}

#[test]
fn a_damaged_store_is_said_to_be_damaged_and_left_as_it_is() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let damaged = sandbox.path("damaged");
    fs::rename(sandbox.store(), &damaged).unwrap();
    let run = fs::read_dir(damaged.join("runs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&run).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&run, &bytes).unwrap();
    let ran = sandbox.run_at("verify", &damaged);
    assert_eq!((ran.code, ran.out.len()), (65, 0), "{}", ran.err);
    assert_eq!(fs::read(&run).unwrap(), bytes);

    fs::write(damaged.join("STORE"), "no identity").unwrap();
    let backup = format!("backup {}", sandbox.path("copy").display());
    for words in
        all().chain([backup, "import".to_owned(), "dedupe --whole-record --format ndjson".to_owned()])
    {
        let ran = sandbox.run_at(&words, &damaged);
        assert_eq!((ran.code, ran.out.len()), (65, 0), "{words}: {}", ran.err);
    }
}
