//! The arguments of `dedupe`: the format of the input, and which part of a record identifies the event.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::batch::OnCrash;
use crate::codes;
use crate::duration;
use crate::exit::{Exit, Failure};
use crate::key::KeySpec;
use crate::record::json::Pointer;
use crate::record::{Basis, Format, Header, Layout, RecordArgs, parse_names};
use crate::store_args::StoreArgs;

/// Passes each event of a file, or of standard input, on to standard output once, across runs and crashes.
///
/// A record counts as passed on when the output took all its bytes, and, where standard output is a regular file,
/// when they were synced. Records are claimed in batches: claim, write, sync, complete. After a crash the records of
/// the last batch are in doubt, and --on-crash decides about them. Once the output closes (EPIPE), or on SIGINT or
/// SIGTERM, nothing is in doubt: what was not passed on is left to the next run. A second signal ends at once, like
/// a crash.
///
/// The output has the bytes of the input: byte order mark, quotes and line ends stay. The header of delimited text
/// always passes, with what stands before it. Blank lines do not pass. Whole records are compared without line end and
/// byte order mark. A last record without a line end gets that of the first line.
///
/// A record that cannot be trusted is refused, with its line, and the rest goes on: one with more or fewer fields than the
/// header, or with quotes in disorder.
///
/// One store serves one stream of events: records of two streams that look the same are the same event.
#[derive(Debug, Args)]
#[command(after_long_help = codes::DEDUPE.listed())]
#[command(group = ArgGroup::new("identity").required(true).args(["key", "whole_record"]))]
pub(crate) struct Dedupe {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// The file with the records; `-` or none: standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// The parts that name the event: columns by name, or by number where there is no header, or JSON Pointers
    /// (ndjson), with commas between them; a name with a comma in it stands in double quotes. A record without one of
    /// them is refused.
    #[arg(long, value_name = "NAME,..")]
    key: Vec<String>,

    /// The whole record names the event; an empty field is a value like any other.
    #[arg(long)]
    whole_record: bool,

    /// How long a passed event is remembered.
    #[arg(long, value_name = "TIME", default_value = "35d", value_parser = duration::parse_ttl)]
    pub(crate) ttl: Duration,

    /// What a record is [default: csv, and a header that looks like JSON is refused].
    #[arg(long, value_enum)]
    format: Option<Format>,

    #[command(flatten)]
    pub(crate) records: RecordArgs,

    /// Most records claimed at once, and so most in doubt after a crash. A batch has what is at hand: 64 at first, twice
    /// as many each time while the input has more, as few as there are where it pauses.
    #[arg(long, value_name = "COUNT", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch: u32,

    /// Refused records are added to this file, each behind a line `# line N: ` with the reason.
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,

    /// Records that do not pass because they are known are added to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) duplicates: Option<PathBuf>,

    /// The summary on standard error is one JSON object, with names that stay.
    #[arg(long)]
    pub(crate) json: bool,

    /// What happens to records in doubt after a crash of an earlier run.
    #[arg(long, value_enum, default_value_t = OnCrash::Emit)]
    pub(crate) on_crash: OnCrash,
}

impl Dedupe {
    /// How the input is written, and what names an event: checked as far as that goes without the input.
    pub(crate) fn reading(&self) -> Result<(Layout, KeySpec), Failure> {
        let names = parse_names("--key", &self.key)?;
        // Copy text has a header only if the key can have its names from nowhere else.
        let are_numbers = names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        let format = self.format.unwrap_or(Format::Csv);
        let has_header = format != Format::CopyText || !are_numbers;
        let layout = Layout {
            any_width: self.whole_record,
            basis: if self.format.is_some() { Basis::Said } else { Basis::Assumed },
            ..self.records.layout(format, has_header)?
        };
        let spec = match (&layout.syntax, &layout.header) {
            _ if self.whole_record => KeySpec::WholeRecord,
            (None, _) => {
                let pointer = |name: String| Ok((name.clone(), Pointer::parse(&name).map_err(usage)?));
                KeySpec::Pointers(names.into_iter().map(pointer).collect::<Result<_, _>>()?)
            }
            (Some(_), Header::None) => KeySpec::Numbers(parse_numbers(&names)?),
            (Some(_), Header::First | Header::Given(_)) => KeySpec::Columns(names),
        };
        Ok((layout, spec))
    }
}

/// Columns by number, from 1.
fn parse_numbers(names: &[String]) -> Result<Vec<usize>, Failure> {
    let mut numbers = Vec::with_capacity(names.len());
    for name in names {
        let number = name.parse::<usize>().ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| {
            usage(format!("--key: without a header, columns have numbers from 1, and `{name}` is none (or say --columns)"))
        })?;
        if numbers.contains(&number) {
            return Err(usage(format!("--key: column {number} is named twice")));
        }
        numbers.push(number);
    }
    Ok(numbers)
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        dedupe: Dedupe,
    }

    fn parse(line: &str) -> Result<KeySpec, String> {
        let words = ["dedupe", "--store", "s"].into_iter().chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.kind().to_string())?;
        line.dedupe.reading().map(|(_, spec)| spec).map_err(|failure| failure.message)
    }

    #[test]
    fn keys_are_names_or_pointers() {
        let columns = |names: &[&str]| Ok(KeySpec::Columns(names.iter().map(|&n| n.into()).collect()));
        assert_eq!(parse("--key InvoiceNo,StockCode"), columns(&["InvoiceNo", "StockCode"]));
        assert_eq!(parse("--key a --key b"), columns(&["a", "b"]));
        assert_eq!(parse("--key \"a,b\",c"), columns(&["a,b", "c"]));
        assert_eq!(parse("--whole-record --delimiter ;"), Ok(KeySpec::WholeRecord));
        for format in ["ndjson", "jsonl"] {
            let spec = parse(&format!("--format {format} --key /a,/b/c"));
            assert!(matches!(spec, Ok(KeySpec::Pointers(p)) if p.len() == 2));
        }
    }

    #[test]
    fn columns_without_a_header_have_numbers_or_the_names_that_are_given() {
        let numbers = |numbers: &[usize]| Ok(KeySpec::Numbers(numbers.into()));
        assert_eq!(parse("--no-header --key 1,3"), numbers(&[1, 3]));
        assert_eq!(parse("--format copy-text --key 1"), numbers(&[1]));
        let names = Ok(KeySpec::Columns(vec!["id".into()]));
        assert_eq!(parse("--format copy-text --key id"), names);
        assert_eq!(parse("--columns id,v --key id"), names);
        assert_eq!(parse("--key 1"), Ok(KeySpec::Columns(vec!["1".into()])));
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
            "--no-header --key a",
            "--no-header --key 0",
            "--no-header --key 1,01",
            "--no-header --columns a --key a",
            "--format copy-text --no-header --key a",
            "--format ndjson --whole-record --no-header",
            "--whole-record --skip-lines -1",
            "--whole-record --comment=",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
