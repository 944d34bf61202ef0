//! What people see on a terminal of 80 and of 120 columns: the text as a whole, in files beside this one.
//!
//! `CLAIMSTORE_SNAPSHOTS=write` writes the files anew; then read them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use claimstore::{ClaimRequest, Failure, ManualClock, Namespace, OnOrphan, Options, Policy};

use crate::sandbox::Sandbox;
use crate::terminal;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Everything happened so long ago: the two units that are shown stay the same for half an hour.
const AGO: Duration = Duration::from_secs(10 * 86_400 + 5 * 3_600 + 1_800);

const BRANCH: &str =
    "production/acme-industries/order-synchronisation/branch-office-of-a-town-with-a-long-name";

/// A whole second, so that times are of one length.
#[expect(clippy::disallowed_methods, reason = "the command runs in real time")]
fn then() -> SystemTime {
    let seconds = (SystemTime::now() - AGO).duration_since(UNIX_EPOCH).unwrap().as_secs();
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A store with keys in every state, in three namespaces.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    let options = Options::new().clock(ManualClock::new(then())).background(false);
    let store = options.open(sandbox.store()).unwrap();
    let shop = store.namespace_with("shop", Policy::monthly().max_attempts(2)).unwrap();
    let slow = Policy::monthly().lease(HOUR).on_orphan(OnOrphan::Park).quota(1_000_000, 500_000_000);
    let branch = store.namespace_with(BRANCH, slow).unwrap();
    let claim = |space: &Namespace, key: &str| {
        let request = ClaimRequest::new(key).origin("nightly file 2026-11-10, line 7");
        space.claim_with(&request).unwrap().claimed().unwrap()
    };
    claim(&shop, "order-done").complete("posted as 90017").unwrap();
    claim(&shop, "order-failed").fail(Failure::terminal("no such customer")).unwrap();
    let later = Failure::retry_after(60 * DAY)
        .because("the gateway answered 503, and then nothing at all for a while");
    claim(&shop, "order-retry").fail(later).unwrap();
    claim(&shop, "order-parked").fail(Failure::park("two invoices fit")).unwrap();
    let mut orphan = claim(&shop, "order-orphan");
    orphan.save_progress("line 40 of 90").unwrap();
    drop(orphan);
    drop(claim(&branch, "order-held").detach(30 * DAY).unwrap());
    claim(&branch, &format!("order-{}", "0123456789".repeat(8))).complete("").unwrap();
    store.close().unwrap();
    sandbox
}

/// Replaces what differs from run to run: times, and numbers that stand for bytes, times and tokens.
fn normalised(text: &str) -> String {
    text.lines().fold(String::new(), |text, line| text + &normalised_line(line) + "\n")
}

fn normalised_line(line: &str) -> String {
    let is_number = |label: &str| line.starts_with(label) && line.len() > 40;
    if ["size of runs", "memory of", "store time", "wall clock"].iter().any(|label| is_number(label)) {
        return format!("{}{:>20}", &line[..line.len() - 20], "#");
    }
    if line.starts_with("token ") {
        return "token      #".into();
    }
    let is_time = |word: &str| word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let shown = |word: &str| {
        let bare = word.trim_end_matches(['.', ',']);
        if is_time(bare) { word.replace(bare, "<time>") } else { word.to_owned() }
    };
    line.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

fn check(sandbox: &Sandbox, name: &str, words: &str) {
    for columns in [80, 120] {
        let (text, code) = terminal::run(sandbox.command(words), columns);
        assert_eq!(code, 0, "{words}: {text}");
        let text = normalised(&text).replace(sandbox.store().to_str().unwrap(), "<store>");
        let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "it", "tables"].iter().collect();
        let file = file.join(format!("{name}-{columns}.txt"));
        if std::env::var("CLAIMSTORE_SNAPSHOTS").is_ok_and(|what| what == "write") {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, expected, "{}", file.display());
    }
}

#[test]
fn listings() {
    let sandbox = filled();
    check(&sandbox, "list", "list");
    check(&sandbox, "list-keys", "list --show-keys");
    check(&sandbox, "list-payload", "list --show-payload --namespace shop");
    check(
        &sandbox,
        "list-page",
        "list --limit 2 --namespace shop --state completed --state failed --state retry",
    );
    check(&sandbox, "orphans", "orphans");
    check(&sandbox, "parked", "parked --show-keys");
    check(&sandbox, "stuck", "stuck");
}

#[test]
fn single_keys() {
    let sandbox = filled();
    check(&sandbox, "get-done", "get order-done --namespace shop");
    check(&sandbox, "get-done-full", "get order-done --namespace shop --show-keys --show-payload");
    check(&sandbox, "get-held", &format!("get order-held --namespace {BRANCH}"));
    for name in ["done", "failed", "parked", "orphan"] {
        check(&sandbox, &format!("explain-{name}"), &format!("explain order-{name} --namespace shop"));
    }
    check(&sandbox, "explain-retry", "explain order-retry --namespace shop --show-payload");
}

#[test]
fn the_store_as_a_whole() {
    let sandbox = filled();
    check(&sandbox, "stats", "stats");
    check(&sandbox, "policy", "policy");
}

/// What does not go to a terminal is whole, however long.
#[test]
fn a_pipe_gets_everything() {
    let sandbox = filled();
    let text = String::from_utf8(sandbox.run("list --show-keys").out).unwrap();
    assert!(text.contains(&"0123456789".repeat(8)) && text.contains(BRANCH) && !text.contains('…'), "{text}");
}
