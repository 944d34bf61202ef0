//! Fields of one record of delimited text (RFC 4180, read leniently).

use std::borrow::Cow;

/// The values of the fields, unquoted. `content` is one record without its line ending.
///
/// Reads exactly as the splitter does: a quote opens a field only as its first byte, `""` inside quotes is
/// one quote, and text after a closing quote is kept.
pub(crate) fn fields(content: &[u8], delimiter: u8) -> Vec<Cow<'_, [u8]>> {
    let mut values = Vec::new();
    let mut rest = Some(content);
    while let Some(content) = rest {
        let (value, after) = field(content, delimiter);
        values.push(value);
        rest = after;
    }
    values
}

/// The first field, and what follows its delimiter: `None` when it was the last one.
fn field(content: &[u8], delimiter: u8) -> (Cow<'_, [u8]>, Option<&[u8]>) {
    if let Some(quoted) = content.strip_prefix(b"\"") {
        return quoted_field(quoted, delimiter);
    }
    let (value, after) = cut(content, delimiter);
    (Cow::Borrowed(value), after)
}

fn quoted_field(mut rest: &[u8], delimiter: u8) -> (Cow<'_, [u8]>, Option<&[u8]>) {
    let mut value = Vec::new();
    loop {
        let (inside, after) = cut(rest, b'"');
        value.extend_from_slice(inside);
        let Some(after) = after else { return (Cow::Owned(value), None) };
        if let Some(after) = after.strip_prefix(b"\"") {
            value.push(b'"');
            rest = after;
            continue;
        }
        let (tail, after) = cut(after, delimiter);
        value.extend_from_slice(tail);
        return (Cow::Owned(value), after);
    }
}

/// What stands before the first `at`, and what behind it.
fn cut(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = bytes.splitn(2, |&byte| byte == at);
    (parts.next().unwrap_or_default(), parts.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, expected: &[&str]) {
        let values = fields(content.as_bytes(), b';');
        let found: Vec<_> = values.iter().map(|v| std::str::from_utf8(v).unwrap()).collect();
        assert_eq!(found, expected, "{content}");
    }

    #[test]
    fn values_are_unquoted() {
        check("", &[""]);
        check("a;b", &["a", "b"]);
        check("a;;b;", &["a", "", "b", ""]);
        check("\"a\";\"\"", &["a", ""]);
        check("\"a;b\nc\";d", &["a;b\nc", "d"]);
        check("\"say \"\"hi\"\"\";d", &["say \"hi\"", "d"]);
        check("7\" wide;d", &["7\" wide", "d"]);
        check("\"a\"b\"c;d", &["ab\"c", "d"]);
        check("\"open;d", &["open;d"]);
    }
}
