//! Why a payload has no fingerprint of the wanted kind.

use std::fmt;

/// Why a payload was refused. Holds positions and limits, never a byte of the payload.
///
/// A refusal is final: no rule falls back to another, since a payload that is sometimes read as JSON and sometimes as
/// bytes would have two fingerprints. To fingerprint the bytes of refused JSON, use
/// [`Fingerprinter::raw`](crate::Fingerprinter::raw).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PayloadError {
    /// More bytes than the rules allow.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Arrays and objects nested deeper than the rules allow.
    TooDeep {
        /// Where the level too many begins, in bytes from 0.
        at: usize,
    },
    /// Not UTF-8.
    NotUtf8 {
        /// How many bytes are UTF-8.
        at: usize,
    },
    /// Not JSON by RFC 8259: a trailing comma, a comment, `NaN`, text after the value.
    Syntax {
        /// Where it stops to be JSON, in bytes from 0.
        at: usize,
    },
    /// Half of a surrogate pair, written as an escape: no character.
    LoneSurrogate {
        /// Where the escape begins, in bytes from 0.
        at: usize,
    },
    /// An object names a member twice. Which one counts differs from parser to parser.
    DuplicateMember {
        /// Where the object begins, in bytes from 0.
        at: usize,
    },
    /// A number that is not the value of its nearest double in canonical text: its canonical text would be another
    /// number, as for `9007199254740993` and `0.10000000000000001`. Or one beyond the largest double.
    ///
    /// [`JsonRules::round_numbers`](crate::JsonRules::round_numbers) takes the former.
    InexactNumber {
        /// Where the number begins, in bytes from 0.
        at: usize,
    },
    /// A `%` without two hexadecimal digits after it, in a form, a query or a path.
    PercentEncoding {
        /// Where it is, in bytes from 0.
        at: usize,
    },
    /// A method, path or header that HTTP does not have.
    NotHttp {
        /// Which part of the request.
        part: &'static str,
    },
    /// The value cannot be written as JSON: a float that is not finite, a map whose key is no text, a failure of
    /// its own `Serialize`.
    NotJson,
    /// Digests of single fields want a key: without one, small values can be guessed from them.
    NeedsKey,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadError::TooLarge { limit } => write!(f, "the payload has more than {limit} bytes"),
            PayloadError::TooDeep { at } => write!(f, "the payload is nested too deep at byte {at}"),
            PayloadError::NotUtf8 { at } => write!(f, "the payload is not UTF-8 at byte {at}"),
            PayloadError::Syntax { at } => write!(f, "the payload is not JSON at byte {at}"),
            PayloadError::LoneSurrogate { at } => write!(f, "half a surrogate pair at byte {at}"),
            PayloadError::DuplicateMember { at } => {
                write!(f, "the object at byte {at} has two members of one name")
            }
            PayloadError::InexactNumber { at } => write!(
                f,
                "the number at byte {at} is not the value of its nearest double: send it as text, or round with \
                 JsonRules::round_numbers"
            ),
            PayloadError::PercentEncoding { at } => write!(f, "a stray percent sign at byte {at}"),
            PayloadError::NotHttp { part } => write!(f, "the {part} is not one that HTTP has"),
            PayloadError::NotJson => f.write_str("the value cannot be written as JSON"),
            PayloadError::NeedsKey => f.write_str("digests of fields need a keyed fingerprinter"),
        }
    }
}

impl std::error::Error for PayloadError {}
