//! What a user says about how records are written.

use clap::{Args, ValueEnum};

use super::fields::fields;
use super::syntax::{Header, Layout, Syntax};
use crate::exit::{Exit, Failure};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Delimited text (RFC 4180), commas between fields, under a header.
    Csv,
    /// The same with tabs.
    Tsv,
    /// One JSON text a line; also called jsonl.
    #[value(alias = "jsonl")]
    Ndjson,
    /// What COPY of PostgreSQL and INTO OUTFILE of MySQL write: tabs, `\N`, backslash escapes, no quotes.
    CopyText,
}

/// How the records of an input are written, beyond the format.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RecordArgs {
    /// The byte between two fields, `\t` for a tab [default: `,`, of tsv and copy-text a tab; or what a first line
    /// `sep=;` says].
    #[arg(long, value_name = "CHAR", value_parser = parse_delimiter)]
    pub(crate) delimiter: Option<u8>,

    /// Double quotes are letters like any others: each line is a record.
    #[arg(long)]
    pub(crate) no_quotes: bool,

    /// A backslash escapes the byte behind it: `\"` is a quote, `\t` a tab, `\\` a backslash.
    #[arg(long)]
    pub(crate) backslash_escapes: bool,

    /// The first line is a record: columns have numbers, from 1, in the place of names.
    #[arg(long, conflicts_with = "columns")]
    pub(crate) no_header: bool,

    /// The names of the columns, for an input without a header.
    #[arg(long, value_name = "NAME,..")]
    pub(crate) columns: Vec<String>,

    /// So many lines at the beginning are neither header nor records.
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    pub(crate) skip_lines: u64,

    /// Lines before the header, or before the first record, that begin with this are neither.
    #[arg(long, value_name = "PREFIX", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) comment: Option<String>,
}

impl RecordArgs {
    /// The layout of an input of this format. `has_header`: whether its columns have their names from a first record,
    /// where the user does not say.
    pub(crate) fn layout(&self, format: Format, has_header: bool) -> Result<Layout, Failure> {
        let lines = Layout {
            skip_lines: self.skip_lines,
            comment: self.comment.as_ref().map(|prefix| prefix.clone().into_bytes()),
            ..Layout::lines()
        };
        if format == Format::Ndjson {
            return self.check_lines().map(|()| lines);
        }
        let syntax = self.syntax(format);
        if syntax.escapes && syntax.delimiter == b'\\' {
            return Err(usage("--delimiter: a backslash escapes here, and cannot stand between fields"));
        }
        let columns = parse_names("--columns", &self.columns)?;
        let header = match (columns.is_empty(), has_header && !self.no_header) {
            (false, _) => Header::Given(columns),
            (true, true) => Header::First,
            (true, false) => Header::None,
        };
        let sep_decides = self.delimiter.is_none() && format == Format::Csv;
        let end_mark = format == Format::CopyText;
        Ok(Layout { syntax: Some(syntax), header, sep_decides, end_mark, any_width: false, ..lines })
    }

    fn syntax(&self, format: Format) -> Syntax {
        let known = match format {
            Format::CopyText => Syntax::copy_text(),
            Format::Tsv => Syntax::csv(b'\t'),
            Format::Csv | Format::Ndjson => Syntax::csv(b','),
        };
        Syntax {
            delimiter: self.delimiter.unwrap_or(known.delimiter),
            quotes: known.quotes && !self.no_quotes,
            escapes: known.escapes || self.backslash_escapes,
        }
    }

    /// What only makes sense of delimited text.
    fn check_lines(&self) -> Result<(), Failure> {
        let given = [
            ("--delimiter", self.delimiter.is_some()),
            ("--no-quotes", self.no_quotes),
            ("--backslash-escapes", self.backslash_escapes),
            ("--no-header", self.no_header),
            ("--columns", !self.columns.is_empty()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => {
                Err(usage(format!("{name} is for delimited text: --format csv, tsv or copy-text")))
            }
            None => Ok(()),
        }
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Names with commas between them; one with a comma in it stands in double quotes.
pub(crate) fn parse_names(option: &str, arguments: &[String]) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = Vec::new();
    for argument in arguments {
        for field in fields(argument.as_bytes(), Syntax::csv(b',')) {
            let name = String::from_utf8_lossy(&field.value).into_owned();
            if name.is_empty() {
                return Err(usage(format!("{option}: a name is empty")));
            }
            if names.contains(&name) {
                return Err(usage(format!("{option}: `{name}` is named twice")));
            }
            names.push(name);
        }
    }
    Ok(names)
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
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

    #[test]
    fn formats_have_their_syntax() {
        let all = RecordArgs::default();
        let syntax = |args: &RecordArgs, format| args.layout(format, true).unwrap().syntax;
        assert_eq!(syntax(&all, Format::Csv), Some(Syntax::csv(b',')));
        assert_eq!(syntax(&all, Format::Tsv), Some(Syntax::csv(b'\t')));
        assert_eq!(syntax(&all, Format::CopyText), Some(Syntax::copy_text()));
        assert_eq!(syntax(&all, Format::Ndjson), None);
        let args = RecordArgs { delimiter: Some(b';'), no_quotes: true, backslash_escapes: true, ..all };
        let expected = Syntax { delimiter: b';', quotes: false, escapes: true };
        for format in [Format::Csv, Format::Tsv, Format::CopyText] {
            assert_eq!(syntax(&args, format), Some(expected));
        }
    }

    #[test]
    fn names_come_from_the_user_or_the_first_record_or_nowhere() {
        let header = |args: RecordArgs, has_header| args.layout(Format::Csv, has_header).unwrap().header;
        assert_eq!(header(RecordArgs::default(), true), Header::First);
        assert_eq!(header(RecordArgs::default(), false), Header::None);
        assert_eq!(header(RecordArgs { no_header: true, ..RecordArgs::default() }, true), Header::None);
        let given = RecordArgs { columns: vec!["a,\"b,c\"".into()], ..RecordArgs::default() };
        assert_eq!(header(given, true), Header::Given(vec!["a".into(), "b,c".into()]));
    }

    #[test]
    fn nonsense_is_refused() {
        let all = RecordArgs::default;
        for args in [
            RecordArgs { delimiter: Some(b';'), ..all() },
            RecordArgs { no_quotes: true, ..all() },
            RecordArgs { backslash_escapes: true, ..all() },
            RecordArgs { no_header: true, ..all() },
            RecordArgs { columns: vec!["a".into()], ..all() },
        ] {
            assert!(args.layout(Format::Csv, true).is_ok() && args.layout(Format::Ndjson, false).is_err());
        }
        for columns in ["a,,b", "a,a", ""] {
            let args = RecordArgs { columns: vec![columns.into()], ..all() };
            assert!(args.layout(Format::Csv, true).is_err(), "{columns}");
        }
        let args = RecordArgs { delimiter: Some(b'\\'), backslash_escapes: true, ..all() };
        assert!(args.layout(Format::Csv, true).is_err());
    }
}
