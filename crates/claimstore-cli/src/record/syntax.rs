//! How records are written: what stands between two of them and between two fields, and what stands before the first.

/// How the fields of delimited text are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// The byte between two fields.
    pub(crate) delimiter: u8,
    /// A field may stand in double quotes, where `""` is one quote, and delimiters and line ends are data (RFC 4180).
    pub(crate) quotes: bool,
    /// A backslash takes the meaning from the byte behind it, or gives it one (`\t`).
    pub(crate) escapes: bool,
}

impl Syntax {
    /// RFC 4180 with any delimiter.
    pub(crate) const fn csv(delimiter: u8) -> Syntax {
        Syntax { delimiter, quotes: true, escapes: false }
    }

    /// `COPY` of `PostgreSQL` in its text format, `INTO OUTFILE` of `MySQL`.
    pub(crate) const fn copy_text() -> Syntax {
        Syntax { delimiter: b'\t', quotes: false, escapes: true }
    }

    /// Whether this byte may stand on a blank line.
    pub(super) fn is_blank(self, byte: u8) -> bool {
        byte.is_ascii_whitespace() && byte != self.delimiter
    }
}

/// Where the names of columns come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Header {
    /// The first record has them.
    First,
    /// The user has them: all records are data.
    Given(Vec<String>),
    /// Nobody: columns have numbers.
    None,
}

/// How it is known in which format the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    Said,
    /// Nobody said it: a header that begins as JSON does is refused.
    Assumed,
}

/// What the user says about an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Nothing: each line is a record, and what is in it is not looked at.
    pub(crate) syntax: Option<Syntax>,
    pub(crate) header: Header,
    /// A first line `sep=;` may say the delimiter. The user said none.
    pub(crate) sep_decides: bool,
    /// A line `\.` ends the data.
    pub(crate) end_mark: bool,
    /// Records may have more or fewer fields than the header, or than the first of them.
    pub(crate) any_width: bool,
    /// So many lines at the beginning are neither header nor records.
    pub(crate) skip_lines: u64,
    /// Lines before the header, or before the first record, that begin like this are neither.
    pub(crate) comment: Option<Vec<u8>>,
    pub(crate) basis: Basis,
}

impl Layout {
    /// One record a line.
    pub(crate) fn lines() -> Layout {
        Layout {
            syntax: None,
            header: Header::None,
            sep_decides: false,
            end_mark: false,
            any_width: true,
            skip_lines: 0,
            comment: None,
            basis: Basis::Said,
        }
    }
}

#[cfg(test)]
impl Layout {
    /// Delimited text, all of one width, under a header.
    pub(crate) fn delimited(syntax: Syntax) -> Layout {
        Layout { syntax: Some(syntax), header: Header::First, any_width: false, ..Layout::lines() }
    }

    /// The same without a header, and of any width.
    pub(crate) fn ragged(syntax: Syntax) -> Layout {
        Layout { header: Header::None, any_width: true, ..Layout::delimited(syntax) }
    }
}
