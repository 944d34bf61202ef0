//! Why a piece of input is not a record that can be passed on.

use std::fmt;

/// Longer records are refused, so that no input can fill the memory.
pub(crate) const RECORD_BYTES: usize = 16 << 20;

/// Where something stands in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    /// From 1.
    pub(crate) line: u64,
    /// From 1, in characters.
    pub(crate) column: u64,
}

/// What a number of fields is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Header,
    /// The names that the user gave.
    Given,
    /// The first record of an input without names.
    FirstRecord,
}

/// What is wrong with a record. The text that a user sees has no bytes of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Longer than [`RECORD_BYTES`].
    TooLong,
    /// The input, or the room for a record, ends inside quotes that open here.
    OpenQuote(At),
    /// Here, behind a closing quote, stands neither a delimiter nor a line end.
    BehindQuote(At),
    /// Here, behind blanks at the beginning of a field, stands a quote.
    QuoteBehindBlanks(At),
    /// Here, inside an unquoted field, stands a quote, on a line that the quotes of a refused record reach into.
    StrayQuote(At),
    /// The backslash here gives the byte behind it no meaning that is known.
    Escape(At),
    /// The record has another number of fields than all should have.
    /// It stands on so many lines.
    Width { fields: usize, expected: usize, measure: Measure, lines: u64 },
    /// The line stands behind the end mark.
    BehindEnd,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::TooLong => f.write_str("the record is longer than 16 MiB"),
            Fault::OpenQuote(at) => {
                write!(f, "a quote is never closed, or not within 16 MiB: it opens a field at {at}")
            }
            Fault::BehindQuote(at) => {
                write!(f, "text stands behind a closing quote, at {at} (--no-quotes reads quotes as letters)")
            }
            Fault::QuoteBehindBlanks(at) => {
                write!(
                    f,
                    "a quote stands behind blanks, at {at}: it opens no field there, and may be meant to"
                )
            }
            Fault::StrayQuote(at) => {
                write!(f, "a quote stands inside a field, at {at}, and the quotes before it are in disorder")
            }
            Fault::Escape(at) => write!(f, "the backslash at {at} begins no escape that is known"),
            Fault::Width { fields, expected, measure, lines } => {
                let measure = match measure {
                    Measure::Header => "the header",
                    Measure::Given => "--columns",
                    Measure::FirstRecord => "the first record",
                };
                let s = if *fields == 1 { "" } else { "s" };
                let on = if *lines > 1 { format!(" on {lines} lines") } else { String::new() };
                write!(f, "has {fields} field{s}{on}, and {measure} {expected}")
            }
            Fault::BehindEnd => f.write_str("stands behind the line `\\.`, which ends the data"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_says_what_is_wrong_and_where() {
        let at = At { line: 3, column: 7 };
        let width = |measure| Fault::Width { fields: 2, expected: 3, measure, lines: 1 };
        let long = Fault::Width { fields: 1, expected: 3, measure: Measure::Header, lines: 4 };
        for (fault, word) in [
            (Fault::TooLong, "16 MiB"),
            (
                Fault::OpenQuote(at),
                "never closed, or not within 16 MiB: it opens a field at line 3, column 7",
            ),
            (Fault::BehindQuote(at), "behind a closing quote, at line 3, column 7"),
            (Fault::QuoteBehindBlanks(at), "line 3, column 7"),
            (Fault::StrayQuote(at), "line 3, column 7"),
            (Fault::Escape(at), "line 3, column 7"),
            (width(Measure::Header), "has 2 fields, and the header 3"),
            (width(Measure::Given), "has 2 fields, and --columns 3"),
            (width(Measure::FirstRecord), "has 2 fields, and the first record 3"),
            (long, "has 1 field on 4 lines, and the header 3"),
            (Fault::BehindEnd, "`\\.`"),
        ] {
            assert!(fault.to_string().contains(word), "{fault}");
        }
    }
}
