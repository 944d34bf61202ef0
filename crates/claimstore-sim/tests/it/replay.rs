//! The program that looks at crash images, as a process: it counts, and it finds what a lying disk lost.

use crate::watch::this_test;
use std::process::{Command, Output};

fn program<'a>(args: impl IntoIterator<Item = &'a str>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_claimstore-sim")).args(args).output().unwrap()
}

#[test]
fn the_images_of_a_script_are_looked_at_and_counted() {
    this_test();
    let done = program(["--seed", "3", "--steps", "20"]);
    let (said, complaint) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{said}{complaint}");
    let counts = said.lines().last().unwrap();
    assert!(counts.starts_with("crash images: "), "{said}");
    assert!(!counts.starts_with("crash images: 0 "), "{said}");
    assert!(counts.ends_with(" 0 lost or phantom, 0 panic"), "{said}");
}

/// The control, and that the line it prints shows the same again.
#[test]
fn a_lying_disk_is_found_out_and_the_finding_replays() {
    this_test();
    let found = program(["--seed", "3", "--steps", "20", "--lying"]);
    assert_eq!(found.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&found.stderr);
    let finding = complaint.lines().find(|line| line.contains(" --event ")).unwrap();
    let (line, _what) = finding.split_once(": ").unwrap();
    let (_cargo, args) = line.split_once(" -- ").unwrap();
    assert!(args.starts_with("--lying --seed 3 --steps 20 "), "{line}");
    assert_eq!(program(args.split(' ')).status.code(), Some(1), "{line}");
}
