//! `completions` and `man`: they need no store.

use std::process::Command;

use crate::sandbox::{Ran, run};

fn without_store(words: &str) -> Ran {
    run(Command::new(env!("CARGO_BIN_EXE_claimstore")).args(words.split(' ')))
}

#[test]
fn every_shell_gets_a_script_that_knows_the_subcommands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = without_store(&format!("completions {shell}"));
        let text = String::from_utf8(ran.out).unwrap();
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        for name in ["dedupe", "explain", "requeue", "restore"] {
            assert!(text.contains(name), "{shell} {name}");
        }
    }
    assert_eq!(without_store("completions cmd").code, 64);
    assert_eq!(without_store("completions").code, 64);
}

#[test]
fn there_is_a_page_for_the_command_and_for_each_subcommand() {
    let page = |words: &str| {
        let ran = without_store(words);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words}");
        String::from_utf8(ran.out).unwrap()
    };
    assert!(page("man").contains(".TH claimstore 1"));
    for name in ["dedupe", "list", "explain", "restore", "policy"] {
        let page = page(&format!("man {name}"));
        assert!(page.contains(&format!(".TH claimstore-{name} 1")), "{page}");
        assert!(page.contains("Exit codes"), "{name}");
    }
    assert_eq!(without_store("man nothing").code, 64);
}
