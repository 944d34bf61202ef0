//! `claimstore top`, in a terminal as people have it.

use std::io::Write as _;
use std::time::Duration;

use claimstore::Policy;
use claimstore_admin::ServeAdmin as _;
use rustix::process::Signal;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

use crate::sandbox::{Sandbox, code, send};
use crate::terminal;

const TAKEN: &str = "\u{1b}[?1049h\u{1b}[?25l";
const GIVEN_BACK: &str = "\u{1b}[?25h\u{1b}[?1049l";
const DAY: Duration = Duration::from_secs(86_400);

fn served() -> (Sandbox, claimstore::Store) {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    drop(store.serve_admin().unwrap());
    (sandbox, store)
}

/// A frame without what moves the cursor.
fn lines(frame: &str) -> Vec<String> {
    let text =
        frame.replace("\u{1b}[H", "").replace("\u{1b}[K", "").replace(['\r'], "").replace("\u{1b}[J", "");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn frames_fit_the_terminal_and_it_is_given_back() {
    for (columns, signal, ending) in
        [(80, Signal::INT, 0), (120, Signal::TERM, 143), (80, Signal::TSTP, 0), (120, Signal::HUP, 129)]
    {
        let (sandbox, store) = served();
        let (mut child, mut screen) = terminal::start(sandbox.command("top --interval 100ms"), columns);
        let shown = terminal::read(&mut screen, |text| text.matches("\u{1b}[J").count() >= 3);
        store.claim("k", DAY).unwrap().claimed().unwrap().complete("").unwrap();
        send(&child, signal);
        let rest = terminal::read(&mut screen, |_| false);
        assert_eq!(code(child.wait().unwrap()), ending);
        let all = shown + &rest;
        let frames = all.strip_prefix(TAKEN).and_then(|all| all.strip_suffix(GIVEN_BACK));
        let frames = frames.unwrap_or_else(|| panic!("the terminal is not given back: {all:?}"));
        let frames: Vec<_> = frames.split_inclusive("\u{1b}[J").collect();
        for frame in &frames {
            let lines = lines(frame);
            assert!((15..=24).contains(&lines.len()), "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= usize::from(columns)), "{lines:?}");
            assert!(frame.starts_with("\u{1b}[Hclaimstore top") && !frame.contains("\u{1b}[2J"), "{frame:?}");
        }
        assert!(frames[0].contains("parked 1") && !all.contains("canary"));
        store.close().unwrap();
    }
}

/// How the terminal is when `top` runs, and when it has ended in this way.
fn modes(
    end: impl FnOnce(&std::process::Child, &mut std::fs::File, claimstore::Store),
) -> (bool, i32, String) {
    let (sandbox, store) = served();
    let words = "top --interval 50ms";
    let (mut child, mut screen, side) = terminal::start_with_keys(sandbox.command(words), 80);
    let before = tcgetattr(&side).unwrap();
    let shown = terminal::read(&mut screen, |text| text.contains("\u{1b}[J"));
    assert!(shown.contains("q: quit"), "{shown}");
    let taken = tcgetattr(&side).unwrap();
    assert!(
        !taken.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO),
        "keys come one by one, unseen"
    );
    assert!(taken.local_modes.contains(LocalModes::ISIG), "Ctrl-C is still a signal");
    end(&child, &mut screen, store);
    let code = code(child.wait().unwrap());
    let after = tcgetattr(&side).unwrap();
    drop(side);
    let rest = terminal::read(&mut screen, |_| false);
    let is_as_before = (before.local_modes, before.input_modes, before.output_modes, before.control_modes)
        == (after.local_modes, after.input_modes, after.output_modes, after.control_modes);
    (is_as_before, code, rest)
}

#[test]
fn q_ends_it_and_however_it_ends_the_terminal_is_as_it_was() {
    let close = |store: claimstore::Store| store.close().unwrap();
    for key in ["q", "Q", "abcq"] {
        let (is_as_before, code, rest) = modes(|_, screen, store| {
            screen.write_all(key.as_bytes()).unwrap();
            // Closed once it has ended: the other way round the closing would end it.
            terminal::read(screen, |text| text.contains(GIVEN_BACK));
            close(store);
        });
        assert_eq!((is_as_before, code, rest.as_str()), (true, 0, ""), "{key}");
    }
    for (signal, ending) in [(Signal::INT, 0), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::TSTP, 0)] {
        let (is_as_before, code, _) = modes(|child, screen, store| {
            // Other keys end nothing. The terminal may take them only after the signal, and show them then.
            screen.write_all(b"xyz \r").unwrap();
            send(child, signal);
            terminal::read(screen, |text| text.contains(GIVEN_BACK));
            close(store);
        });
        assert_eq!((is_as_before, code), (true, ending));
    }
    let (is_as_before, code, _) = modes(|_, screen, store| {
        close(store);
        // Frames that nobody reads would keep it from ending.
        terminal::read(screen, |text| text.contains(GIVEN_BACK));
    });
    assert!(is_as_before && (code == 74 || code == 75), "{code}");
}

/// A tmux or a serial console of the smallest usual size, and a busy store.
#[test]
fn on_80_columns_and_24_lines_every_line_is_whole() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    drop(store.serve_admin().unwrap());
    for number in 0..12 {
        let policy = Policy::daily().metrics_name(&format!("policy-{number}"));
        let space = store.namespace_with(&format!("space-{number}"), policy).unwrap();
        for key in 0..5 {
            let lease = space.claim_default(format!("k{key}")).unwrap().claimed().unwrap();
            lease.complete("").unwrap();
            assert!(space.claim_default(format!("k{key}")).unwrap().claimed().is_none());
        }
    }
    let (mut child, mut screen, side) = terminal::start_with_keys(sandbox.command("top --interval 50ms"), 80);
    drop(side);
    let shown = terminal::read(&mut screen, |text| text.matches("\u{1b}[J").count() >= 2);
    screen.write_all(b"q").unwrap();
    terminal::read(&mut screen, |_| false);
    assert_eq!(code(child.wait().unwrap()), 0);
    let frame = shown.trim_start_matches(TAKEN).split_inclusive("\u{1b}[J").next().unwrap();
    let lines = lines(frame);
    assert!(
        (20..=24).contains(&lines.len()) && lines.iter().all(|line| line.chars().count() <= 80),
        "{lines:?}"
    );
    assert!(!frame.contains('…'), "{lines:?}");
    for part in
        ["PER SECOND", "policy-0", "and ", "in-progress  0", "duplicates", "journal", "size", "BUCKET ENDS"]
    {
        assert!(lines.iter().any(|line| line.starts_with(part)), "{part}: {lines:?}");
    }
    store.close().unwrap();
}

#[test]
fn another_size_is_drawn_at_once() {
    let (sandbox, store) = served();
    let (mut child, mut screen) = terminal::start(sandbox.command("top --interval 1h"), 80);
    terminal::read(&mut screen, |text| text.contains("\u{1b}[J"));
    tcsetwinsize(&screen, Winsize { ws_row: 10, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let frame = terminal::read(&mut screen, |text| text.contains("\u{1b}[J"));
    let lines = lines(&frame);
    assert!(lines.len() <= 10 && lines.iter().all(|line| line.chars().count() <= 60), "{lines:?}");
    send(&child, Signal::INT);
    terminal::read(&mut screen, |_| false);
    assert_eq!(code(child.wait().unwrap()), 0);
    store.close().unwrap();
}

#[test]
fn a_store_that_closes_ends_it_and_the_terminal_is_given_back() {
    let (sandbox, store) = served();
    let (mut child, mut screen) = terminal::start(sandbox.command("top --interval 50ms"), 80);
    terminal::read(&mut screen, |text| text.contains("\u{1b}[J"));
    store.close().unwrap();
    let rest = terminal::read(&mut screen, |_| false);
    assert!(rest.ends_with(GIVEN_BACK), "{rest:?}");
    let code = code(child.wait().unwrap());
    assert!(code == 74 || code == 75, "{code}");
}

#[test]
fn once_shows_rates_of_a_live_store_and_what_a_closed_one_holds() {
    let (sandbox, store) = served();
    for columns in [80, 120] {
        let (text, code) = terminal::run(sandbox.command("top --once --interval 100ms"), columns);
        assert_eq!(code, 0, "{text}");
        assert!(text.starts_with("claimstore top") && !text.contains('\u{1b}'), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(columns)), "{text}");
        let all = text.lines().find(|line| line.starts_with("all ")).unwrap();
        assert_ne!(all.split_whitespace().nth(1), Some("-"), "rates of one interval: {all}");
    }
    store.close().unwrap();
    let ran = sandbox.run("top --once");
    let text = String::from_utf8(ran.out).unwrap();
    assert!(ran.code == 0 && text.contains("parked 1") && text.contains("BUCKET ENDS"), "{text}");
}

#[test]
fn json_is_a_line_for_each_look() {
    let (sandbox, store) = served();
    let once = sandbox.json("top --once");
    assert_eq!(once["census"]["parked"], 1);
    let names: Vec<_> = once.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names.join(" "),
        "buckets catalogue_bytes census checkpoint_lag_bytes checkpoint_ms checkpointed checkpoints commit_ops \
         commit_us commits disk_free_bytes duplicate_age_ms duplicate_ttl_percent journal_bytes \
         journal_bytes_written journal_limit_bytes life live_bytes merged_rows merges outcomes pruned pruned_bytes \
         pruned_runs queued_bytes run_bytes run_rows runs store_time_ms tables_bytes ttl_is_short \
         unsynced_batches upkeep_failures waiters"
    );
    let (mut child, mut screen) = terminal::start(sandbox.command("top --json --interval 50ms"), 80);
    let text = terminal::read(&mut screen, |text| text.lines().count() > 3);
    send(&child, Signal::INT);
    terminal::read(&mut screen, |_| false);
    assert_eq!(code(child.wait().unwrap()), 0);
    for line in text.lines().take(3) {
        assert!(serde_json::from_str::<Value>(line).unwrap()["commits"].is_u64());
    }
    store.close().unwrap();
}

#[test]
fn without_a_terminal_it_wants_to_know_how() {
    let (sandbox, store) = served();
    let ran = sandbox.run("top");
    assert_eq!((ran.code, ran.out.len()), (64, 0), "{}", ran.err);
    assert!(ran.err.contains("--once"), "{}", ran.err);
    store.close().unwrap();
}
