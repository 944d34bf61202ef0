//! Words of a command line that a shell reads as they were meant.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use crate::visible::is_hidden;

/// One word, quoted where that is needed. What must not go to a terminal, and bytes that are no UTF-8, stand in the form
/// `$'\033'`, which bash, zsh, ksh and busybox know.
pub(crate) fn quoted(word: &OsStr) -> String {
    let plain = word.to_str().filter(|text| !text.contains(is_hidden)).map(shlex::try_quote);
    match plain {
        Some(Ok(quoted)) => Cow::into_owned(quoted),
        _ => in_octal(word.as_bytes()),
    }
}

/// A command line about one key, whose short name gives no key away.
pub(crate) fn about_key(verb: &str, short_name: &str, namespace: &str, store: &OsStr) -> String {
    let mut line = format!("claimstore {verb} {short_name}");
    if !namespace.is_empty() {
        let _ = write!(line, " --namespace {}", quoted(OsStr::new(namespace)));
    }
    line + " --store " + &quoted(store)
}

fn in_octal(bytes: &[u8]) -> String {
    let escape = |text: String, byte: &u8| match byte {
        b'\'' | b'\\' => text + "\\" + &char::from(*byte).to_string(),
        b' '..=b'~' => text + &char::from(*byte).to_string(),
        byte => text + &format!("\\{byte:03o}"),
    };
    bytes.iter().fold("$'".to_owned(), escape) + "'"
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn plain_words_stay_and_others_are_quoted() {
        for (word, quoted_word) in [
            ("shop", "shop"),
            ("3f9a2b77c0de+14B", "3f9a2b77c0de+14B"),
            ("", "''"),
            ("a b", "'a b'"),
            ("\u{1b}[2J'", r"$'\033[2J\''"),
            ("a\nb", r"$'a\012b'"),
        ] {
            assert_eq!(quoted(OsStr::new(word)), quoted_word);
        }
        assert_eq!(quoted(OsStr::from_bytes(b"\xff")), r"$'\377'");
    }

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        let words = [
            "",
            "a b",
            "it's",
            "$HOME `x` \"y\" \\",
            "-n",
            "é注",
            "\u{1b}[2J'\\7",
            "\u{202e}x",
            "a\nb",
            "!x~*?#",
        ];
        for word in words {
            let line = format!("printf %s {}", quoted(OsStr::new(word)));
            let Ok(ran) = Command::new("bash").args(["-c", &line]).output() else {
                return eprintln!("SKIPPED: there is no bash here");
            };
            assert_eq!(ran.stdout, word.as_bytes(), "{line}");
        }
    }
}
