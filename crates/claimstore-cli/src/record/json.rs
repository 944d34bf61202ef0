//! Single values of a JSON text, by JSON Pointer (RFC 6901), with numerals left as they are written.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A parsed pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    tokens: Vec<String>,
}

/// What stands where a pointer points.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Nothing: no such member, index, or a scalar on the way.
    Missing,
    /// The value as it is written.
    Value(&'a str),
}

impl Pointer {
    /// Reads `/a/b~1c/0`. The empty pointer names the whole document, which is no key part.
    pub(crate) fn parse(text: &str) -> Result<Pointer, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("`{text}` is not a JSON Pointer: write `/{text}`"));
        };
        let tokens = rest.split('/').map(unescape).collect::<Option<Vec<_>>>();
        let tokens = tokens.ok_or_else(|| format!("`{text}`: a `~` in a JSON Pointer is `~0` or `~1`"))?;
        Ok(Pointer { tokens })
    }

    /// Finds the value in one JSON text. The whole text is checked, also where the pointer does not lead.
    ///
    /// A name that stands twice in an object on the way is an error: which of the two counts is anybody's guess.
    pub(crate) fn find<'a>(&self, text: &'a str) -> Result<Found<'a>, serde_json::Error> {
        let mut value: &'a RawValue = serde_json::from_str(text)?;
        for token in &self.tokens {
            if !value.get().starts_with(['{', '[']) {
                return Ok(Found::Missing);
            }
            let mut document = serde_json::Deserializer::from_str(value.get());
            match document.deserialize_any(Step { token })? {
                Some(inner) => value = inner,
                None => return Ok(Found::Missing),
            }
        }
        Ok(Found::Value(value.get()))
    }
}

/// `~1` is a slash and `~0` a tilde; any other tilde is an error.
fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut rest = part.chars();
        plain.push(match rest.next()? {
            '0' => '~',
            '1' => '/',
            _ => return None,
        });
        plain.push_str(rest.as_str());
    }
    Some(plain)
}

/// One step down: the member or element the token names.
struct Step<'t> {
    token: &'t str,
}

impl Step<'_> {
    /// RFC 6901: digits without a leading zero. `-` names the element after the last, so never one.
    fn index(&self) -> Option<usize> {
        let plain = self.token == "0" || !self.token.starts_with(['0', '+']);
        self.token.parse().ok().filter(|_| plain)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Name(name)) = map.next_key_seed(NameSeed)? {
            if name != self.token {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom("a member name stands twice"));
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let wanted = self.index();
        let mut found = None;
        let mut position = 0;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            if wanted == Some(position) {
                found = Some(element);
            }
            position += 1;
        }
        Ok(found)
    }
}

/// A member name, borrowed where it has no escapes.
struct Name<'de>(Cow<'de, str>);

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(NameSeed)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pointer: &str, text: &str, expected: &Result<Found<'_>, ()>) {
        let found = Pointer::parse(pointer).unwrap().find(text).map_err(|_| ());
        assert_eq!(found, *expected, "{pointer} in {text}");
    }

    #[test]
    fn finds_values_as_they_are_written() {
        check("/id", r#"{"id":"000123"}"#, &Ok(Found::Value(r#""000123""#)));
        check("/id", r#"{"x":{"id":1},"id": 1.00e2 }"#, &Ok(Found::Value("1.00e2")));
        check("/id", r#"{"id":12345678901234567890123}"#, &Ok(Found::Value("12345678901234567890123")));
        check("/a/b", r#"{"a":{"b":null}}"#, &Ok(Found::Value("null")));
        check("/a/1", r#"{"a":[1,[2]]}"#, &Ok(Found::Value("[2]")));
        check("/a~1b/~01", r#"{"a/b":{"~1":7}}"#, &Ok(Found::Value("7")));
        check("/\u{e9}", r#"{"\u00e9":7}"#, &Ok(Found::Value("7")));
        check("/", r#"{"":7}"#, &Ok(Found::Value("7")));
    }

    #[test]
    fn says_missing_where_nothing_is() {
        for text in ["{}", "[]", "1", "-1.5", "\"id\"", "null", "true", "1e999", r#"{"ID":1}"#] {
            check("/id", text, &Ok(Found::Missing));
        }
        for pointer in ["/00", "/+0", "/-", "/2", "/99999999999999999999"] {
            check(pointer, "[1,2]", &Ok(Found::Missing));
        }
    }

    #[test]
    fn refuses_text_that_is_not_one_json_value() {
        for text in ["", "{", r#"{"id":1"#, r#"{"id":1} x"#, r#"{"id":1,"x":nope}"#, r#"{"id":1,"id":2}"#] {
            check("/id", text, &Err(()));
        }
    }

    #[test]
    fn deep_nesting_is_no_harm() {
        let text = format!("{{\"id\":1,\"x\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        check("/id", &text, &Ok(Found::Value("1")));
    }

    #[test]
    fn refuses_pointers_that_are_none() {
        for pointer in ["", "id", "/a~", "/a~2"] {
            assert!(Pointer::parse(pointer).is_err(), "{pointer}");
        }
    }
}
