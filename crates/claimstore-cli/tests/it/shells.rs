//! `completions` and `man`: they need no store.

use std::process::Command;

use crate::sandbox::{Ran, run};

pub(crate) fn without_store(words: &str) -> Ran {
    run(Command::new(env!("CARGO_BIN_EXE_claimstore")).args(words.split(' ')))
}

#[test]
fn every_shell_gets_a_script_that_knows_the_subcommands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = without_store(&format!("completions {shell}"));
        let text = String::from_utf8(ran.out).unwrap();
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        for name in subcommands() {
            assert!(text.contains(&name), "{shell} {name}");
        }
    }
    assert_eq!(without_store("completions cmd").code, 64);
    assert_eq!(without_store("completions").code, 64);
}

/// What `claimstore help` lists.
pub(crate) fn subcommands() -> Vec<String> {
    let help = String::from_utf8(without_store("help").out).unwrap();
    let (groups, _) = help.split_once("\nOptions:\n").unwrap();
    let indented = groups.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    indented
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .filter(|name| name != "help")
        .collect()
}

/// Each has tests in the files beside this one; who adds a subcommand adds them, then the name.
#[test]
fn these_are_the_subcommands_and_each_explains_itself() {
    let mut names = subcommands();
    names.sort();
    assert_eq!(
        names.join(" "),
        "backup checkpoint clock compact complete completions dedupe exec explain export fail forget get import list man \
         orphans parked policy prune release requeue restore stats stuck top verify"
    );
    for name in &names {
        let ran = without_store(&format!("{name} --help"));
        let text = String::from_utf8(ran.out).unwrap();
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{name}");
        assert!(text.contains(&format!("Usage: claimstore {name}")), "{text}");
        assert_eq!(without_store(&format!("{name} --surprise")).code, 64, "{name}");
    }
}

#[test]
fn there_is_a_page_for_the_command_and_for_each_subcommand() {
    let page = |words: &str| {
        let ran = without_store(words);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words}");
        String::from_utf8(ran.out).unwrap()
    };
    assert!(page("man").contains(".TH claimstore 1"));
    for name in subcommands() {
        let page = page(&format!("man {name}"));
        assert!(page.contains(&format!(".TH claimstore-{name} 1")), "{page}");
        assert!(page.contains("Exit codes"), "{name}");
    }
    assert_eq!(without_store("man nothing").code, 64);
}
