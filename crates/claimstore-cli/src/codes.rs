//! The table of exit codes of all subcommands, as `--help` lists them. The numbers themselves: `exit`.

use crate::print::wrapped_within;

/// An exit code, and what it means.
type Code = (u8, &'static str);

/// What an exit code means where a subcommand says nothing else.
const MEANINGS: [Code; 7] = [
    (0, "done"),
    (64, "usage: the command line makes no sense; nothing was done"),
    (65, "the store is damaged, or of a later version"),
    (66, "there is no store"),
    (74, "reading, writing or the store failed"),
    (75, "the store is open elsewhere"),
    (141, "the reader of the output is gone"),
];

const NO_NAMESPACE: Code = (1, "there is no such namespace");
const NO_KEY: Code = (1, "there is no such key, or no such namespace");
/// Of subcommands that a program answers which has the store open.
const UNSERVED: Code = (75, "the store is open elsewhere, and nobody serves it (`serve_admin`)");
/// Of those that a program must allow.
const UNDECIDED: Code = (
    75,
    "the store is open elsewhere, and the program allows no decisions (`serve_admin()?.allow_decisions()`)",
);
const BY_SIGINT: Code = (130, "ended by SIGINT");
const BY_SIGTERM: Code = (143, "ended by SIGTERM");

/// The exit codes of a subcommand.
pub(crate) struct Codes {
    own: &'static [Code],
    /// What they are beside those, if nothing of its own is said of the number.
    common: &'static [Code],
    /// Which of [`MEANINGS`] there are.
    numbers: &'static [u8],
}

/// Of a subcommand that needs the store to itself.
const fn alone(own: &'static [Code]) -> Codes {
    Codes { own, common: &[], numbers: &[0, 64, 65, 66, 74, 75, 141] }
}

/// Of one that looks, also at a store that a program has open.
const fn looks(own: &'static [Code]) -> Codes {
    Codes { common: &[UNSERVED], ..alone(own) }
}

/// Of one that a program which has the store open must allow.
const fn decides(own: &'static [Code]) -> Codes {
    Codes { common: &[UNDECIDED], ..alone(own) }
}

/// Of one that makes a store if there is none, and may be ended by a signal.
const fn makes(own: &'static [Code]) -> Codes {
    Codes { own, common: &[BY_SIGINT, BY_SIGTERM], numbers: &[64, 74, 75] }
}

/// Of one that needs no store.
const fn without_store(own: &'static [Code]) -> Codes {
    Codes { own, common: &[], numbers: &[0, 64, 74, 141] }
}

pub(crate) const DEDUPE: Codes = makes(&[
    (0, "all done"),
    (3, "some records were refused, each named on standard error"),
    (64, "usage, or standard input or output is closed"),
    (
        65,
        "the input is no text of records, its header cannot be read or looks like JSON, or the store is damaged",
    ),
    (66, "there is no such file"),
    (74, "input, output or store failed"),
    (141, "the reader of the output is gone"),
]);
pub(crate) const STATS: Codes = looks(&[(0, "shown")]);
pub(crate) const LIST: Codes = looks(&[(0, "listed, also when nothing fits"), NO_NAMESPACE]);
pub(crate) const GET: Codes = looks(&[(0, "shown"), NO_KEY]);
pub(crate) const EXPLAIN: Codes = looks(&[(0, "shown"), NO_KEY]);
pub(crate) const STUCK: Codes = looks(&[(0, "listed, also when nothing is stuck"), NO_NAMESPACE]);
pub(crate) const ORPHANS: Codes = looks(&[(0, "listed, also when there are none"), NO_NAMESPACE]);
pub(crate) const PARKED: Codes = looks(&[(0, "listed, also when there are none"), NO_NAMESPACE]);
pub(crate) const TOP: Codes = alone(&[
    (0, "shown, or ended by `q` or Ctrl-C"),
    (75, "the store is open elsewhere without a socket, or was closed meanwhile"),
    (129, "ended by SIGHUP"),
    BY_SIGTERM,
]);
/// Of `release`, `requeue`, `complete`, `fail` and `forget`.
pub(crate) const REPAIR: Codes = decides(&[
    (0, "done; with --all also when there was nothing to do"),
    (1, "there is no such key or namespace"),
    (4, "the key is in another state"),
    (
        75,
        "a holder is trusted with the key; or the store is open elsewhere, and the program allows no decisions",
    ),
]);
pub(crate) const PRUNE: Codes = looks(&[(0, "done, also when there was nothing")]);
pub(crate) const CHECKPOINT: Codes = looks(&[]);
pub(crate) const VERIFY: Codes = alone(&[(0, "all is in order")]);
pub(crate) const COMPACT: Codes = alone(&[]);
pub(crate) const BACKUP: Codes =
    decides(&[(73, "the directory is not empty"), (74, "it failed; the directory is no backup")]);
pub(crate) const RESTORE: Codes = alone(&[
    (65, "the backup is damaged"),
    (66, "there is no store in BACKUP"),
    (73, "--store is not empty"),
    (75, "BACKUP is still open elsewhere after --wait"),
]);
pub(crate) const POLICY: Codes = decides(&[NO_NAMESPACE]);
pub(crate) const COMPLETIONS: Codes = without_store(&[]);
pub(crate) const MAN: Codes = without_store(&[(64, "there is no such subcommand")]);
pub(crate) const EXPORT: Codes = decides(&[
    (0, "all was written"),
    NO_NAMESPACE,
    (74, "it failed, and the output is cut: its last line is missing"),
]);
pub(crate) const IMPORT: Codes = makes(&[
    (0, "all done"),
    (3, "some lines were refused, each named on standard error"),
    (
        65,
        "the input is empty or cut before the last line of an export, its header cannot be read, it is a dump, or the \
         store is damaged",
    ),
    (74, "input or store failed"),
    (130, "SIGINT, after what was read is written"),
    (143, "SIGTERM, after what was read is written"),
]);
pub(crate) const CLOCK: Codes = alone(&[(0, "shown, or accepted")]);

/// Of `exec`, which has those of its command too. The README has the same table.
const EXEC: [(&str, &str); 10] = [
    ("the command's", "it ran, or ran before; 128 and the signal if one ended it"),
    (
        "4",
        "the key is held for review: standard error has the line `claimstore explain ..` to paste; then `requeue`, `complete`, `fail` or `forget`",
    ),
    ("64", "usage; nothing ran"),
    (
        "65",
        "the key is known with other arguments, or its record is of something else, or the store is damaged; nothing ran",
    ),
    (
        "74",
        "the store failed; or the command ran, and its end could not be recorded, or does not count because the claim was \
         taken over; or its end is recorded, and its output could not be written. Standard error says which",
    ),
    (
        "75",
        "the command is running elsewhere or is to be retried later, or the store is busy; nothing ran. The message says \
         when to ask again",
    ),
    ("126", "the program of the command is there and cannot be run; the key is as it was"),
    ("127", "there is no such program; the key is as it was"),
    (
        "129, 130, 131, 143",
        "also: a signal came before the command ran, and nothing ran; or one ended the wait for a reader, and the end is \
         recorded",
    ),
    ("141", "it ran before, and the reader of its output is gone"),
];

impl Codes {
    /// As `--help` lists them: in the order of their numbers.
    pub(crate) fn listed(&self) -> String {
        let mut codes = self.own.to_vec();
        let meanings = MEANINGS.iter().filter(|(code, _)| self.numbers.contains(code));
        for common in self.common.iter().chain(meanings) {
            if codes.iter().all(|(code, _)| *code != common.0) {
                codes.push(*common);
            }
        }
        codes.sort_unstable();
        let line = |text: String, (code, meaning): &Code| {
            text + "\n" + wrapped_within(&format!("  {code:<4} {meaning}"), 7, Some(80)).trim_end()
        };
        codes.iter().fold("Exit codes:".to_owned(), line)
    }
}

/// Those of `exec`, as its `--help` lists them.
pub(crate) fn of_exec() -> String {
    let line = |text: String, (codes, meaning): &(&str, &str)| text + &format!("  {codes}: {meaning}\n");
    EXEC.iter().fold("Exit codes:\n".to_owned(), line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_what_is_said_here_and_what_all_have_in_common() {
        let text = STATS.listed();
        let first: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(first.join(" "), "Exit 0 64 65 66 74 75 141");
        assert!(text.contains(UNSERVED.1) && text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(COMPACT.listed().contains("75   the store is open elsewhere\n"));
        assert!(!MAN.listed().contains("66"));
    }

    #[test]
    fn the_readme_has_the_table_of_exec() {
        let rows = EXEC.map(|(codes, what)| format!("| {codes} | {what} |\n")).concat();
        let readme = include_str!("../README.md");
        assert!(readme.contains(&format!("| exit code | |\n|---|---|\n{rows}\n")), "expected\n{rows}");
    }
}
