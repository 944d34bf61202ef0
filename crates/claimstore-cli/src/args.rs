//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::duration;
use crate::exec::Exec;
use crate::exit::{Exit, Failure};
use crate::key::KeySpec;
use crate::record::csv;
use crate::record::json::Pointer;
use crate::stats::Stats;
pub(crate) use crate::store_args::StoreArgs;
use crate::store_args::{STORE_VARIABLE, directory};
use crate::top::Top;

/// Claims events in a crash-safe store, so that each is handled once.
#[derive(Debug, Parser)]
#[command(name = "claimstore", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The directory of the store: here, or after the subcommand [env: CLAIMSTORE_STORE].
    // Told by hand: `command_line` takes the variable away for a moment.
    #[arg(long, value_name = "DIR", global = true, env = STORE_VARIABLE, hide_env = true, value_parser = directory())]
    store: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dedupe(Dedupe),
    Exec(Exec),
    #[command(visible_alias = "status")]
    Stats(Stats),
    #[command(visible_alias = "ls")]
    List(commands::List),
    #[command(visible_alias = "show")]
    Get(commands::Get),
    #[command(visible_alias = "why")]
    Explain(commands::Explain),
    Stuck(commands::Stuck),
    Orphans(commands::Orphans),
    Parked(commands::Parked),
    Release(commands::Release),
    Complete(commands::Complete),
    Fail(commands::Fail),
    Requeue(commands::Requeue),
    Forget(commands::Forget),
    Prune(commands::Prune),
    Checkpoint(commands::Checkpoint),
    #[command(visible_alias = "check")]
    Verify(commands::Verify),
    Compact(commands::Compact),
    Backup(commands::Backup),
    Restore(commands::Restore),
    Policy(commands::Policy),
    #[command(visible_alias = "completion")]
    Completions(commands::Completions),
    Man(commands::Man),
    Export(commands::Export),
    Import(Box<commands::Import>),
    Clock(commands::Clock),
    #[command(visible_alias = "watch")]
    Top(Top),
}

/// Passes each event on standard input on to standard output once, across runs and crashes.
///
/// A record counts as passed on when the output took all its bytes, and, where standard output is a regular file,
/// when they were synced. Records are claimed in batches: claim, write, sync, complete. After a crash the records of
/// the last batch are in doubt, and --on-crash decides about them. Once the output closes (EPIPE), or on SIGINT or
/// SIGTERM, nothing is in doubt: what was not passed on is left to the next run. A second signal ends at once, like
/// a crash.
///
/// The output has the bytes of the input: byte order mark, quotes and line endings stay. The header of delimited
/// text always passes. Whole records are compared without line ending and byte order mark.
///
/// One store serves one stream of events: records of two streams that look the same are the same event.
///
/// Exit codes: 0 all done; 3 some records refused, each named on standard error; 64 usage; 65 the header cannot be
/// read, or the store is damaged; 74 input, output or store failed; 75 the store is busy; 130, 143 SIGINT, SIGTERM; 141 the reader of the
/// output is gone.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("identity").required(true).args(["key", "whole_record"]))]
pub(crate) struct Dedupe {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// The parts that name the event: column names (csv) or JSON Pointers (ndjson), with commas between them; a
    /// name with a comma in it stands in double quotes. A record without one of them is refused.
    #[arg(long, value_name = "NAME,..")]
    key: Vec<String>,

    /// The whole record names the event; an empty field is a value like any other.
    #[arg(long)]
    whole_record: bool,

    /// How long a passed event is remembered.
    #[arg(long, value_name = "TIME", default_value = "35d", value_parser = duration::parse_ttl)]
    pub(crate) ttl: Duration,

    /// The byte between two fields, `\t` for a tab [default: `,`].
    #[arg(long, value_name = "CHAR", value_parser = parse_delimiter)]
    delimiter: Option<u8>,

    /// What a record is.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub(crate) format: Format,

    /// How many records are claimed at once, and so at most in doubt after a crash.
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch: u32,

    /// What happens to records in doubt after a crash of an earlier run.
    #[arg(long, value_enum, default_value_t = OnCrash::Emit)]
    pub(crate) on_crash: OnCrash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Delimited text with a header.
    Csv,
    /// One JSON text a line.
    Ndjson,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnCrash {
    /// Pass them on (again): nothing is lost, the last batch may be passed on twice.
    Emit,
    /// Count them as passed on: nothing is repeated, the last batch may be lost.
    Skip,
}

impl Dedupe {
    pub(crate) fn delimiter(&self) -> u8 {
        self.delimiter.unwrap_or(b',')
    }

    /// What names the event, checked as far as that goes without the input.
    pub(crate) fn key_spec(&self) -> Result<KeySpec, Failure> {
        if self.format == Format::Ndjson && self.delimiter.is_some() {
            return Err(usage("--delimiter is for --format csv"));
        }
        if self.whole_record {
            return Ok(KeySpec::WholeRecord);
        }
        let names = parse_names(&self.key)?;
        match self.format {
            Format::Csv => Ok(KeySpec::Columns(names)),
            Format::Ndjson => {
                let pointer = |name: String| Ok((name.clone(), Pointer::parse(&name).map_err(usage)?));
                names.into_iter().map(pointer).collect::<Result<_, _>>().map(KeySpec::Pointers)
            }
        }
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

pub(crate) fn parse_names(arguments: &[String]) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = Vec::new();
    for argument in arguments {
        for name in csv::fields(argument.as_bytes(), b',') {
            let name = String::from_utf8_lossy(&name).into_owned();
            if name.is_empty() {
                return Err(usage("--key: a name is empty"));
            }
            if names.contains(&name) {
                return Err(usage(format!("--key: `{name}` is named twice")));
            }
            names.push(name);
        }
    }
    Ok(names)
}

pub(crate) fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [b'\\', b't'] => Ok(b'\t'),
        [b'"' | b'\r' | b'\n'] => Err("a quote or line ending cannot stand between fields".into()),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err("a delimiter is one ASCII character".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<KeySpec, String> {
        let words = ["claimstore", "dedupe", "--store", "s"].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|error| error.kind().to_string())?;
        let Command::Dedupe(dedupe) = cli.command else { unreachable!() };
        dedupe.key_spec().map_err(|failure| failure.message)
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn keys_are_names_or_pointers() {
        let columns = |names: &[&str]| Ok(KeySpec::Columns(names.iter().map(|&n| n.into()).collect()));
        assert_eq!(parse("--key InvoiceNo,StockCode"), columns(&["InvoiceNo", "StockCode"]));
        assert_eq!(parse("--key a --key b"), columns(&["a", "b"]));
        assert_eq!(parse("--key \"a,b\",c"), columns(&["a,b", "c"]));
        assert_eq!(parse("--whole-record --delimiter ;"), Ok(KeySpec::WholeRecord));
        assert!(matches!(parse("--format ndjson --key /a,/b/c"), Ok(KeySpec::Pointers(p)) if p.len() == 2));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--ttl 35d",
            "--key a --whole-record",
            "--key a,,b",
            "--key a,a",
            "--key a --format ndjson",
            "--key /a --format ndjson --delimiter ;",
            "--whole-record --batch 0",
            "--whole-record --batch 65537",
            "--whole-record --ttl 35",
            "--whole-record --ttl 0s",
            "--whole-record --delimiter ;;",
            "--whole-record --delimiter \"",
            "--whole-record --on-crash maybe",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
