//! Imports and exports that are ended before they are done: by a kill, a signal, a cut, a reader that goes.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::sandbox::{Sandbox, code, open, run, send};
use crate::transfer::{export, import, import_at, lines};

#[test]
fn a_killed_import_is_finished_by_the_next() {
    let sandbox = Sandbox::new();
    let line = |number: u64| {
        format!(
            r#"{{"kind":"record","namespace":"n{}","key":"k{number}","state":"completed","attempt":1,"claimed_at_ms":1,"expires_at_ms":1900000000000}}"#,
            number % 3
        )
    };
    let mut input: Vec<u8> =
        (0..60_000).flat_map(|number| [line(number).as_bytes(), b"\n"].concat()).collect();
    input.extend_from_slice(b"{\"kind\":\"end\",\"records\":60000}\n");
    let mut child = sandbox.command("import").stdin(sandbox.file(&input)).spawn().unwrap();
    // Some of it is there once the journal has a segment.
    let journal = sandbox.store().join("journal");
    while fs::read_dir(&journal).map_or(0, Iterator::count) == 0 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    // No error where it has ended and was waited for.
    child.kill().unwrap();
    child.wait().unwrap();
    let (counted, _) = import(&sandbox, "", &input, 0);
    assert_eq!(counted["imported"].as_u64().unwrap() + counted["known"].as_u64().unwrap(), 60_000);
    let stats = sandbox.json("stats");
    assert_eq!(
        (&stats["completed"], &stats["orphaned"], &stats["in_progress"]),
        (&60_000.into(), &0.into(), &0.into())
    );
}

#[test]
fn a_signal_ends_an_import_with_what_it_read() {
    let sandbox = Sandbox::new();
    let mut child = sandbox.command("import").stdin(Stdio::piped()).spawn().unwrap();
    let line = r#"{"kind":"record","namespace":"","key":"k","state":"parked","note":"n","attempt":1,"claimed_at_ms":1}"#;
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, format!("{line}\n").as_bytes()).unwrap();
    while !sandbox.store().join("STORE").exists() {
        std::thread::yield_now();
    }
    // The input stays open: only the signal ends it. It may not have read the line yet.
    send(&child, Signal::TERM);
    assert_eq!(code(child.wait().unwrap()), 143);
    drop(input);
    let (counted, _) = import(&sandbox, "", &lines(&[line, r#"{"kind":"end","records":1}"#]), 0);
    assert_eq!(counted["imported"].as_u64().unwrap() + counted["known"].as_u64().unwrap(), 1);
}

/// An export that broke off, in any place and after any line, is not taken for a small one.
#[test]
fn an_export_that_was_cut_is_told_from_a_whole_one() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let exported = export(&sandbox, "");
    let whole: Vec<&[u8]> = exported.split_inclusive(|byte| *byte == b'\n').collect();
    let copy = sandbox.path("copy");
    let cuts = (0..whole.len()).map(|lines| whole[..lines].concat());
    // And in the middle of the last line, and of the one before.
    let inside =
        [1, 40, whole[whole.len() - 1].len() + 1].map(|less| exported[..exported.len() - less].to_vec());
    for cut in cuts.chain(inside.into_iter().skip(1)) {
        let ran = import_at(&sandbox, "", &copy, &cut);
        assert_eq!(ran.code, 65, "{} bytes: {}", cut.len(), ran.err);
        assert!(ran.err.contains(if cut.is_empty() { "is empty" } else { "is cut" }), "{}", ran.err);
        assert!(String::from_utf8(ran.out).unwrap().contains(" read, "), "what was read is there, and told");
    }
    // Without its last line end it is whole; so are two after each other, but not one and the beginning of the next.
    for (input, code) in [
        (exported[..exported.len() - 1].to_vec(), 0),
        ([exported.clone(), exported.clone()].concat(), 0),
        ([&exported[..], whole[0]].concat(), 65),
        ([&exported[..], whole[whole.len() - 2]].concat(), 65),
    ] {
        let ran = import_at(&sandbox, "", &copy, &input);
        assert_eq!(ran.code, code, "{}", ran.err);
    }
    let mut empty = Sandbox::command_at("export", &sandbox.path("empty"));
    let store = open(&sandbox.path("empty"));
    store.close().unwrap();
    let none = run(&mut empty).out;
    let ran = import_at(&sandbox, "", &copy, &none);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "an empty store has a whole export");
}

#[test]
fn a_reader_that_goes_ends_an_export() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let large = vec![b'x'; 1 << 20];
    for number in 0..4 {
        store
            .claim(format!("k{number}"), Duration::from_secs(60))
            .unwrap()
            .claimed()
            .unwrap()
            .complete(&large)
            .unwrap();
    }
    store.close().unwrap();
    let mut child = sandbox.command("export").spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(code(child.wait().unwrap()), 141);
}
