//! What the exit codes mean, as the `--help` of each subcommand lists them. The numbers themselves: `exit`.

use crate::print::wrapped_within;

/// What an exit code means where a subcommand says nothing else.
const MEANINGS: [(u8, &str); 6] = [
    (64, "usage: the command line makes no sense; nothing was done"),
    (65, "the store is damaged, or of a later version"),
    (66, "there is no store"),
    (74, "reading, writing or the store failed"),
    (75, BUSY),
    (141, "the reader of the output is gone"),
];

/// Of subcommands that need the store to themselves.
const BUSY: &str = "the store is open elsewhere";
/// Of those that a program answers which has the store open.
pub(crate) const UNSERVED: &str = "the store is open elsewhere, and nobody serves it (`serve_admin`)";
/// Of those that a program must allow.
pub(crate) const UNDECIDED: &str =
    "the store is open elsewhere, and the program allows no decisions (`serve_admin()?.allow_decisions()`)";

/// The exit codes of a subcommand that opens a store, as its `--help` lists them: those of its own, which go before what
/// all have in common.
pub(crate) fn with_store(own: &[(u8, &str)]) -> String {
    let common = MEANINGS.iter().filter(|(code, _)| own.iter().all(|(other, _)| other != code));
    listed(own.iter().chain(common).copied().collect())
}

/// The exit codes of a subcommand that needs no store.
pub(crate) fn without_store(own: &[(u8, &str)]) -> String {
    let common = MEANINGS.iter().filter(|(code, _)| [64, 74, 141].contains(code));
    listed(
        own.iter()
            .chain(common.filter(|(code, _)| own.iter().all(|(other, _)| other != code)))
            .copied()
            .collect(),
    )
}

/// In the order of their numbers.
fn listed(mut codes: Vec<(u8, &str)>) -> String {
    codes.sort_unstable();
    let line = |text: String, (code, meaning): &(u8, &str)| {
        text + "\n" + wrapped_within(&format!("  {code:<4} {meaning}"), 7, Some(80)).trim_end()
    };
    codes.iter().fold("Exit codes:".to_owned(), line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_what_is_said_here_and_what_all_have_in_common() {
        let text = with_store(&[(75, UNSERVED), (0, "shown")]);
        let first: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(first.join(" "), "Exit 0 64 65 66 74 75 141");
        assert!(text.contains(UNSERVED) && text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(with_store(&[]).contains("75   the store is open elsewhere\n"));
        assert!(!without_store(&[]).contains("66"));
    }
}
