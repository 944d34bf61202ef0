//! Fields of one record of delimited text.

use std::borrow::Cow;

use super::escape::{self, NULL};
use super::syntax::Syntax;

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// What it stands for: without quotes and escapes.
    pub(crate) value: Cow<'a, [u8]>,
    /// The same bytes as they are written, quotes and escapes included.
    pub(crate) written: &'a [u8],
}

impl Field<'_> {
    /// Whether it is `\N`, which stands for null in a syntax with escapes.
    pub(crate) fn is_null(&self, syntax: Syntax) -> bool {
        syntax.escapes && self.written == NULL
    }
}

/// The fields of a record without a fault. `content` is the record without its line end.
///
/// Reads exactly as the scan does: a quote opens a field only as its first byte, `""` inside quotes is one quote, and
/// any other quote is a letter.
pub(crate) fn fields(content: &[u8], syntax: Syntax) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut rest = Some(content);
    while let Some(content) = rest {
        let length = written_length(content, syntax);
        let (written, behind) = content.split_at_checked(length).unwrap_or((content, &[]));
        fields.push(Field { value: value(written, syntax), written });
        rest = behind.get(1..);
    }
    fields
}

/// Where the first backslash of a record stands that begins no escape.
pub(super) fn escape_fault(content: &[u8], syntax: Syntax) -> Option<usize> {
    let mut from = 0;
    loop {
        let rest = content.get(from..)?;
        let length = written_length(rest, syntax);
        if let Some(at) = escape::fault(rest.get(..length)?) {
            return Some(from + at);
        }
        from += length + 1;
    }
}

/// How many bytes stand before the delimiter behind the first field.
fn written_length(content: &[u8], syntax: Syntax) -> usize {
    let mut quoted = syntax.quotes && content.first() == Some(&b'"');
    if !quoted && !syntax.escapes {
        return memchr::memchr(syntax.delimiter, content).unwrap_or(content.len());
    }
    let mut at = usize::from(quoted);
    while let Some(&byte) = content.get(at) {
        match byte {
            b'\\' if syntax.escapes => at += 1,
            b'"' if quoted && content.get(at + 1) == Some(&b'"') => at += 1,
            b'"' if quoted => quoted = false,
            byte if byte == syntax.delimiter && !quoted => return at,
            _ => {}
        }
        at += 1;
    }
    content.len()
}

fn value(written: &[u8], syntax: Syntax) -> Cow<'_, [u8]> {
    let inner = written.strip_prefix(b"\"").filter(|_| syntax.quotes);
    let Some(inner) = inner else { return plain_value(written, syntax) };
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    match plain_value_of_quoted(inner, syntax) {
        Some(value) => Cow::Owned(value),
        None => Cow::Borrowed(inner),
    }
}

fn plain_value(written: &[u8], syntax: Syntax) -> Cow<'_, [u8]> {
    if syntax.escapes && memchr::memchr(b'\\', written).is_some() {
        return Cow::Owned(escape::unescape(written));
    }
    Cow::Borrowed(written)
}

/// What stands between quotes, where it is not what it stands for.
fn plain_value_of_quoted(inner: &[u8], syntax: Syntax) -> Option<Vec<u8>> {
    let mut rest = inner;
    let mut value: Option<Vec<u8>> = None;
    while let Some(at) = next_mark(rest, syntax) {
        let value = value.get_or_insert_default();
        let (before, mark) = rest.split_at(at);
        value.extend_from_slice(before);
        // A quote here is doubled, or the record would have a fault.
        let length = if mark.first() == Some(&b'\\') { escape::length(mark) } else { 2 };
        let (mark, behind) = mark.split_at_checked(length).unwrap_or((mark, &[]));
        match mark.first() {
            Some(b'"') => value.push(b'"'),
            _ => value.extend(escape::unescape(mark)),
        }
        rest = behind;
    }
    let mut value = value?;
    value.extend_from_slice(rest);
    Some(value)
}

fn next_mark(bytes: &[u8], syntax: Syntax) -> Option<usize> {
    if syntax.escapes { memchr::memchr2(b'"', b'\\', bytes) } else { memchr::memchr(b'"', bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(syntax: Syntax, content: &str, expected: &[&str]) {
        let fields = fields(content.as_bytes(), syntax);
        let found: Vec<_> = fields.iter().map(|field| std::str::from_utf8(&field.value).unwrap()).collect();
        assert_eq!(found, expected, "{content}");
        let written: Vec<_> = fields.iter().map(|field| field.written).collect();
        assert_eq!(written.join(&syntax.delimiter), content.as_bytes(), "what is written is all there is");
    }

    #[test]
    fn values_are_unquoted() {
        let csv = Syntax::csv(b';');
        check(csv, "", &[""]);
        check(csv, "a;b", &["a", "b"]);
        check(csv, "a;;b;", &["a", "", "b", ""]);
        check(csv, "\"a\";\"\"", &["a", ""]);
        check(csv, "\"a;b\nc\";d", &["a;b\nc", "d"]);
        check(csv, "\"say \"\"hi\"\"\";d", &["say \"hi\"", "d"]);
        check(csv, "\"\"\"\";\"\"\"\"\"\"", &["\"", "\"\""]);
        check(csv, "7\" wide;d", &["7\" wide", "d"]);
        check(csv, r"C:\dir\;d", &[r"C:\dir\", "d"]);
    }

    #[test]
    fn without_quotes_they_are_letters() {
        let plain = Syntax { quotes: false, ..Syntax::csv(b';') };
        check(plain, "\"a;b\";c", &["\"a", "b\"", "c"]);
        check(plain, r"\;b", &[r"\", "b"]);
    }

    #[test]
    fn escapes_are_read_inside_quotes_and_outside() {
        let escaped = Syntax { escapes: true, ..Syntax::csv(b',') };
        check(escaped, r#""say \"hi\"",d"#, &["say \"hi\"", "d"]);
        check(escaped, r#""say ""hi""",d"#, &["say \"hi\"", "d"]);
        check(escaped, r#""a\\","\tb""#, &["a\\", "\tb"]);
        check(escaped, r"a\,b,\\,c", &["a,b", "\\", "c"]);
        check(escaped, r#""\\""\"",c"#, &["\\\"\"", "c"]);
    }

    #[test]
    fn copy_text_has_tabs_and_escapes() {
        let copy = Syntax::copy_text();
        check(copy, "acme\\\\order\t7", &["acme\\order", "7"]);
        check(copy, "\"a\tb\\\tc\\\nd\t", &["\"a", "b\tc\nd", ""]);
        let null = fields(b"\\N\t\\\\N\tN", copy);
        assert_eq!(null.iter().map(|field| field.is_null(copy)).collect::<Vec<_>>(), [true, false, false]);
        assert!(!fields(b"\\N", Syntax::csv(b',')).iter().any(|field| field.is_null(Syntax::csv(b','))));
    }

    #[test]
    fn an_unknown_escape_is_found_in_its_field() {
        let copy = Syntax::copy_text();
        assert_eq!(escape_fault(b"\\N\ta\\\\\t\\N", copy), None);
        assert_eq!(escape_fault(b"\\N\ta\\q", copy), Some(4));
        assert_eq!(escape_fault(b"a\\", copy), Some(1));
    }
}
