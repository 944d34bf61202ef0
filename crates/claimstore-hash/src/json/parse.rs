//! A strict reader of JSON: RFC 8259 and nothing more, no member twice, no number that would change.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::number::{self, Gate};
use crate::PayloadError;

/// A value, its members in canonical order, its numbers in canonical text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    /// Sorted by [`utf16_order`]; no name twice.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Reads a whole text.
pub(crate) fn parse(text: &[u8], max_depth: usize, gate: Gate) -> Result<Node<'_>, PayloadError> {
    let text =
        std::str::from_utf8(text).map_err(|error| PayloadError::NotUtf8 { at: error.valid_up_to() })?;
    let mut reader = Reader { text, at: 0, depth_left: max_depth, gate };
    let node = reader.value()?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.no_json());
    }
    Ok(node)
}

/// The order of member names in canonical JSON: by UTF-16 code units, which differs from the order of UTF-8
/// bytes only between characters from U+E000 on and those beyond U+FFFF.
pub(crate) fn utf16_order(one: &str, other: &str) -> Ordering {
    match one.bytes().zip(other.bytes()).find(|(one, other)| one != other) {
        None => one.len().cmp(&other.len()),
        Some((a, b)) if a.max(b) < 0xee => a.cmp(&b),
        Some(_) => one.encode_utf16().cmp(other.encode_utf16()),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth_left: usize,
    gate: Gate,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Node<'a>, PayloadError> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.nested(Reader::object),
            Some(b'[') => self.nested(Reader::array),
            Some(b'"') => Ok(Node::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Node::Bool(true)),
            Some(b'f') => self.word("false", Node::Bool(false)),
            Some(b'n') => self.word("null", Node::Null),
            _ => Err(self.no_json()),
        }
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Node<'a>, PayloadError>,
    ) -> Result<Node<'a>, PayloadError> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or(PayloadError::TooDeep { at: self.at })?;
        let node = read(self);
        self.depth_left += 1;
        node
    }

    fn object(&mut self) -> Result<Node<'a>, PayloadError> {
        let begin = self.at;
        let mut members = Vec::new();
        self.list(b'}', |reader| {
            if reader.peek() != Some(b'"') {
                return Err(reader.no_json());
            }
            let name = reader.string()?;
            reader.skip_space();
            reader.expect(b':')?;
            members.push((name, reader.value()?));
            Ok(())
        })?;
        members.sort_by(|(one, _), (other, _)| utf16_order(one, other));
        let twice = members.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other));
        if twice {
            return Err(PayloadError::DuplicateMember { at: begin });
        }
        Ok(Node::Object(members))
    }

    fn array(&mut self) -> Result<Node<'a>, PayloadError> {
        let mut elements = Vec::new();
        self.list(b']', |reader| {
            elements.push(reader.value()?);
            Ok(())
        })?;
        Ok(Node::Array(elements))
    }

    /// Items between commas, from the opening bracket to the closing one.
    fn list(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), PayloadError>,
    ) -> Result<(), PayloadError> {
        self.at += 1;
        self.skip_space();
        if self.take(close) {
            return Ok(());
        }
        loop {
            self.skip_space();
            item(self)?;
            self.skip_space();
            if self.take(close) {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn number(&mut self) -> Result<Node<'a>, PayloadError> {
        let begin = self.at;
        self.take(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let literal = self.text.get(begin..self.at).unwrap_or_default();
        let text = number::canonical(literal, self.gate).ok_or(PayloadError::InexactNumber { at: begin })?;
        Ok(Node::Number(text))
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), PayloadError> {
        let begin = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == begin { Err(self.no_json()) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, PayloadError> {
        self.at += 1;
        let mut text = Cow::Borrowed("");
        loop {
            let begin = self.at;
            while matches!(self.peek(), Some(byte) if byte >= 0x20 && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            // Both ends are next to ASCII characters, so they are character boundaries.
            let plain = self.text.get(begin..self.at).unwrap_or_default();
            if text.is_empty() {
                text = Cow::Borrowed(plain);
            } else if !plain.is_empty() {
                text.to_mut().push_str(plain);
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    text.to_mut().push(character);
                }
                _ => return Err(self.no_json()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, PayloadError> {
        let begin = self.at;
        self.at += 1;
        let character = match self.peek() {
            Some(same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(begin),
            _ => return Err(self.no_json()),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode_escape(&mut self, begin: usize) -> Result<char, PayloadError> {
        let lone = PayloadError::LoneSurrogate { at: begin };
        let first = self.code_unit()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or(lone);
        }
        if first >= 0xdc00 || self.text.as_bytes().get(self.at..self.at + 2) != Some(br"\u") {
            return Err(lone);
        }
        self.at += 1;
        let second = self.code_unit()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(lone);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(lone)
    }

    /// The four hexadecimal digits after a `u`.
    fn code_unit(&mut self) -> Result<u32, PayloadError> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit << 4 | digit.ok_or(self.no_json())?;
            self.at += 1;
        }
        Ok(unit)
    }

    fn word(&mut self, word: &str, node: Node<'a>) -> Result<Node<'a>, PayloadError> {
        for &byte in word.as_bytes() {
            self.expect(byte)?;
        }
        Ok(node)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), PayloadError> {
        if self.take(byte) { Ok(()) } else { Err(self.no_json()) }
    }

    fn no_json(&self) -> PayloadError {
        PayloadError::Syntax { at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &[u8]) -> Option<PayloadError> {
        parse(text, 4, Gate::Strict).err()
    }

    #[test]
    fn what_is_not_json_is_refused_where_it_ends() {
        let check = |text: &str, at| {
            assert_eq!(refusal(text.as_bytes()), Some(PayloadError::Syntax { at }), "{text}");
        };
        check("", 0);
        check(" ", 1);
        check("nul", 3);
        check("True", 0);
        check("NaN", 0);
        check("-", 1);
        check("+1", 0);
        check("01", 1);
        check("1.", 2);
        check(".5", 0);
        check("1e", 2);
        check("1e+", 3);
        check("-Infinity", 1);
        check("[1,]", 3);
        check("[1 2]", 3);
        check("[", 1);
        check("{\"a\":1,}", 7);
        check("{a:1}", 1);
        check("{\"a\" 1}", 5);
        check("{\"a\":}", 5);
        check("'a'", 0);
        check("\"a", 2);
        check("\"a\nb\"", 2);
        check("\"\u{0}\"", 1);
        check(r#""\x41""#, 2);
        check(r#""\u00g0""#, 5);
        check(r#""\u00"#, 5);
        check("1 1", 2);
        check("{} // comment", 3);
        check("\u{feff}{}", 0);
        check("\u{a0}1", 0);
    }

    #[test]
    fn what_is_json_and_not_strict_is_refused() {
        let check = |text: &[u8], expected| assert_eq!(refusal(text), Some(expected), "{text:?}");
        check(br#"{"a":1,"a":1}"#, PayloadError::DuplicateMember { at: 0 });
        check(br#"[{"a":1,"b":2,"\u0061":3}]"#, PayloadError::DuplicateMember { at: 1 });
        check(br#"{"":{},"":{}}"#, PayloadError::DuplicateMember { at: 0 });
        check(br#"{"amount": 9007199254740993}"#, PayloadError::InexactNumber { at: 11 });
        check(br"[1, 9007199254740993.0]", PayloadError::InexactNumber { at: 4 });
        check(br#""\ud800""#, PayloadError::LoneSurrogate { at: 1 });
        check(br#""ab\udc00""#, PayloadError::LoneSurrogate { at: 3 });
        check(br#""\ud800\u0041""#, PayloadError::LoneSurrogate { at: 1 });
        check(br#""\ud800A""#, PayloadError::LoneSurrogate { at: 1 });
        check(b"\"\xff\"", PayloadError::NotUtf8 { at: 1 });
        check(b"\"\xed\xa0\x80\"", PayloadError::NotUtf8 { at: 1 });
        check(b"[[[[[]]]]]", PayloadError::TooDeep { at: 4 });
    }

    #[test]
    fn nesting_is_counted_and_given_back() {
        assert_eq!(refusal(b"[[[[1]]],[[[2]]],{\"a\":[{}]}]"), None);
    }

    #[test]
    fn strings_are_read() {
        let check = |text: &str, expected: &str| {
            assert_eq!(parse(text.as_bytes(), 1, Gate::Strict), Ok(Node::Text(expected.into())), "{text}");
        };
        check(r#""""#, "");
        check(r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t");
        check(r#""\u0000\u00e9é\u20AC""#, "\0éé€");
        check(r#""a\ud83d\uDE02b""#, "a😂b");
        check(r#""\ufeff\uffff""#, "\u{feff}\u{ffff}");
    }

    #[test]
    fn names_are_in_the_order_of_utf_16() {
        let sorted = [
            "", "1", "10", "A", "a", "a\u{7f}", "ö", "€", "\u{d7ff}", "😂", "😂a", "\u{e000}", "\u{fb33}",
            "\u{ffff}",
        ];
        for (at, one) in sorted.iter().enumerate() {
            for (place, other) in sorted.iter().enumerate() {
                assert_eq!(utf16_order(one, other), at.cmp(&place), "{one:?} {other:?}");
            }
        }
    }
}
