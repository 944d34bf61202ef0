//! From the words of the command line to a subcommand; and what is said where that fails.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use crate::args::Cli;
use crate::print::wrapped_within;
use crate::store_args::STORE_VARIABLE;
use crate::visible::visible;

/// Help is made for terminals of so many columns, and no wider on others: long lines read badly.
const COLUMNS: usize = 80;
/// Where the second column of the list of subcommands begins.
const INDENT: usize = 14;

/// The subcommands by what people come for, in the order of the help.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Do something once", &["exec", "dedupe"]),
    ("Look", &["stats", "list", "get", "explain", "stuck", "orphans", "parked", "top"]),
    ("Decide", &["release", "requeue", "complete", "fail", "forget"]),
    ("Copy and move", &["backup", "restore", "export", "import"]),
    ("Keep in order", &["policy", "verify", "prune", "checkpoint", "compact", "clock"]),
    ("Other", &["completions", "man", "help"]),
];

/// Words that other tools have, for what has no second name here: what they do elsewhere is not what is done here.
const ELSEWHERE: [(&[&str], &str); 5] = [
    (
        &["rm", "del", "delete", "remove", "clear", "reset", "purge"],
        "`forget` makes a key unknown, so that its work may be done again; `prune` drops what is over",
    ),
    (
        &["retry", "rerun", "unpark"],
        "`requeue` lets a parked key be claimed again, `release` an orphaned one",
    ),
    (&["done", "ack", "resolve"], "`complete` says that the work of a parked or orphaned key is done"),
    (&["gc", "clean", "cleanup", "vacuum"], "`prune` drops what is over, `compact` merges files"),
    (&["run", "once"], "`exec` runs a command at most once per key"),
];

/// The subcommand that the words name.
pub(crate) fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    parsed(words).map_err(told)
}

fn parsed(words: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = command();
    if words.len() < 2 {
        // A store that a variable names is no reason to keep the help from somebody who said nothing.
        command = command.mut_arg("store", |arg| arg.env(None::<&'static str>));
    }
    let mut matches = command.try_get_matches_from_mut(words)?;
    if words.iter().filter(|word| is_store(word)).count() > 1 {
        refuse_two_stores(&mut command, words)?;
    }
    require_store(&mut command, &matches)?;
    Cli::from_arg_matches_mut(&mut matches)
}

/// The command, with its help in groups.
fn command() -> Command {
    let command = Cli::command().max_term_width(COLUMNS);
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{}\nOptions:\n{{options}}\n\n{}",
        groups(&command),
        AFTER
    );
    command.help_template(template)
}

const AFTER: &str = "\
claimstore help SUBCOMMAND says what one does, its options and its exit codes.
claimstore man SUBCOMMAND writes the same as a manual page.";

fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(text, "\n{heading}:");
        for name in names {
            let said = match command.find_subcommand(name) {
                Some(subcommand) => line(subcommand),
                // Made by clap, only later.
                None => "This list, or what one subcommand does".to_owned(),
            };
            text += &wrapped_within(
                &format!("  {name:<width$}{said}", width = INDENT - 2),
                INDENT,
                Some(COLUMNS),
            );
        }
    }
    text
}

/// What a subcommand does, and its other names.
fn line(subcommand: &Command) -> String {
    let about = subcommand.get_about().map(StyledStr::to_string).unwrap_or_default();
    let others: Vec<_> = subcommand.get_visible_aliases().collect();
    if others.is_empty() { about } else { format!("{about} [also: {}]", others.join(", ")) }
}

fn is_store(word: &OsString) -> bool {
    word.to_str().is_some_and(|word| word == "--store" || word.starts_with("--store="))
}

/// `--store` before the subcommand and after it: one of the two would go unheard.
fn refuse_two_stores(command: &mut Command, words: &[OsString]) -> Result<(), clap::Error> {
    // As if the first were not meant for the subcommand: then each keeps its own.
    let apart = Cli::command().mut_arg("store", |arg| arg.global(false)).try_get_matches_from(words);
    let is_given = |matches: &ArgMatches| matches.value_source("store") == Some(ValueSource::CommandLine);
    let is_twice = apart.is_ok_and(|matches| {
        let after = matches.subcommand().is_some_and(|(_, of)| takes_store(of) && is_given(of));
        is_given(&matches) && after
    });
    if is_twice {
        let message = "--store stands before the subcommand and after it: say it once";
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    Ok(())
}

fn takes_store(of: &ArgMatches) -> bool {
    of.try_contains_id("store").is_ok()
}

/// A store is needed by each subcommand that has the option of its own.
fn require_store(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name, of)) = matches.subcommand() else { return Ok(()) };
    let plain = Cli::command();
    let needs = plain
        .find_subcommand(name)
        .is_some_and(|found| found.get_arguments().any(|arg| arg.get_id() == "store"));
    let named = of.try_get_one::<std::path::PathBuf>("store").ok().flatten();
    if !needs || named.is_some_and(|path| !path.as_os_str().is_empty()) {
        return Ok(());
    }
    let message = format!(
        "no store is named: say `--store DIR`, before `{name}` or after it, or set the variable {STORE_VARIABLE}"
    );
    Err(command.error(ErrorKind::MissingRequiredArgument, message))
}

/// Keeps from an error what must not be shown, and adds what helps.
fn told(mut error: clap::Error) -> clap::Error {
    if let Some(error) = withheld(&error) {
        return error;
    }
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) {
        let advice = ELSEWHERE.iter().find(|(words, _)| words.contains(&word.as_str()));
        if let Some((_, advice)) = advice {
            let message = format!("there is no `{word}`: {advice}");
            return command().error(ErrorKind::InvalidSubcommand, message);
        }
    }
    harmless(&mut error);
    error
}

/// One word too many may be part of a key with blanks in it: what stands in a log must not give it away. What begins
/// with a dash was meant to be an option, and is named.
fn withheld(error: &clap::Error) -> Option<clap::Error> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return None };
    if given.starts_with('-') {
        return None;
    }
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let redirect = if usage.contains("claimstore import") {
        ". Records come from standard input: of a file, say `claimstore import .. < FILE`"
    } else {
        ""
    };
    let message = no_argument(&usage).unwrap_or_else(|| {
        "an argument is one too many. It is not shown here, as it may be part of a key: put a key with blanks in it in \
         quotes, 'like this', and keep from a command what it does not take"
            .to_owned()
    });
    let more = "For more information, try '--help'.";
    Some(clap::Error::raw(ErrorKind::UnknownArgument, format!("{message}{redirect}\n\n{usage}\n\n{more}\n")))
}

/// What is said where the subcommand of this usage takes no argument at all: there is no key to be put in quotes.
fn no_argument(usage: &str) -> Option<String> {
    let name = usage.split_whitespace().skip_while(|word| *word != "claimstore").nth(1)?;
    let command = Cli::command();
    let subcommand = command.find_subcommand(name)?;
    if subcommand.get_positionals().next().is_some() {
        return None;
    }
    let has = |id: &str| subcommand.get_arguments().any(|arg| arg.get_id() == id);
    let named = match (has("store"), has("namespace")) {
        (true, true) => "; the store is named with --store, a namespace with --namespace",
        (true, false) => "; the store is named with --store",
        (false, _) => "",
    };
    Some(format!("`{name}` takes no argument{named}"))
}

/// What was typed is shown again, and may come from a script that had it from elsewhere.
fn harmless(error: &mut clap::Error) {
    let typed: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, ContextValue::String(visible(text).into_owned()))),
            ContextValue::Strings(texts) => {
                let texts = texts.iter().map(|text| visible(text).into_owned());
                Some((kind, ContextValue::Strings(texts.collect())))
            }
            _ => None,
        })
        .collect();
    for (kind, value) in typed {
        error.insert(kind, value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn refusal(line: &[&str]) -> String {
        let words: Vec<_> = ["claimstore"].iter().chain(line).map(OsString::from).collect();
        parse(&words).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn every_subcommand_stands_in_one_group() {
        let listed: Vec<_> =
            GROUPS.iter().flat_map(|(_, names)| *names).copied().filter(|name| *name != "help").collect();
        let command = Cli::command();
        let all: BTreeSet<_> = command.get_subcommands().map(Command::get_name).collect();
        assert_eq!((listed.len(), listed.into_iter().collect::<BTreeSet<_>>()), (all.len(), all));
    }

    #[test]
    fn no_name_has_two_meanings() {
        let command = Cli::command();
        let names =
            command.get_subcommands().flat_map(|of| [of.get_name()].into_iter().chain(of.get_all_aliases()));
        let elsewhere = ELSEWHERE.iter().flat_map(|(words, _)| *words).copied();
        let all: Vec<_> = names.chain(elsewhere).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
    }

    #[test]
    fn a_store_is_named_once() {
        for line in [
            &["--store", "a", "list"][..],
            &["list", "--store", "a"],
            &["--store=a", "exec", "--key", "k", "--", "x", "--store", "b"],
        ] {
            let words: Vec<_> = ["claimstore"].iter().chain(line).map(OsString::from).collect();
            assert!(parse(&words).is_ok(), "{line:?}");
        }
        assert!(refusal(&["--store", "a", "list", "--store", "b"]).contains("say it once"));
        assert!(refusal(&["--store", "", "list"]).contains(STORE_VARIABLE));
    }

    #[test]
    fn what_may_be_a_key_is_withheld_and_the_text_says_why() {
        for line in [&["--store", "s", "get", "one", "two"][..], &["--store", "s", "backup", "one", "two"]] {
            let text = refusal(line);
            assert!(
                !text.contains("two") && text.contains("part of a key") && text.contains("quotes"),
                "{text}"
            );
            assert!(text.contains(&format!("Usage: claimstore {}", line[2])), "{text}");
        }
        assert!(refusal(&["--store", "s", "get", "--two"]).contains("'--two'"));
    }

    #[test]
    fn a_subcommand_without_arguments_says_how_store_and_namespace_are_named() {
        for (line, said) in [
            (&["list", "two"][..], "`list` takes no argument; the store is named with --store, a namespace"),
            (&["--store", "s", "ls", "two"], "`list` takes no argument; the store is named with --store, a"),
            (
                &["export", "two", "--store", "s"],
                "`export` takes no argument; the store is named with --store, a",
            ),
            (&["top", "two"], "`top` takes no argument; the store is named with --store\n"),
        ] {
            let text = refusal(line);
            assert!(text.contains(said) && !text.contains("two") && !text.contains("quotes"), "{text}");
        }
    }

    #[test]
    fn a_file_that_import_is_given_is_to_be_redirected() {
        let text = refusal(&["--store", "s", "import", "rows.csv"]);
        assert!(text.contains("`claimstore import .. < FILE`") && !text.contains("rows.csv"), "{text}");
        assert!(!refusal(&["--store", "s", "export", "two"]).contains("FILE`"));
    }

    #[test]
    fn words_of_other_tools_get_advice() {
        assert!(refusal(&["rm", "k"]).contains("`forget` makes a key unknown"));
        assert!(refusal(&["lsit"]).contains("lsit"));
    }

    #[test]
    fn nothing_that_was_typed_moves_the_cursor() {
        for line in
            [&["\u{1b}[2J"][..], &["list", "--\u{1b}[2J"], &["list", "--limit", "\u{1b}[2J", "--store", "s"]]
        {
            let text = refusal(line);
            assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}"), "{text:?}");
        }
    }
}
