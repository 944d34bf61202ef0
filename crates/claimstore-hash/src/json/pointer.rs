//! JSON Pointer (RFC 6901), and trees of pointers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::parse::Node;

/// Why a text is no JSON Pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PointerError {
    /// Where it stops to be one, in bytes from 0.
    pub at: usize,
}

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a JSON Pointer at byte {}", self.at)
    }
}

impl std::error::Error for PointerError {}

/// A pointer, taken apart. The empty one is the whole document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pointer {
    tokens: Vec<String>,
}

impl Pointer {
    pub(crate) fn parse(text: &str) -> Result<Pointer, PointerError> {
        if text.is_empty() {
            return Ok(Pointer { tokens: Vec::new() });
        }
        let rest = text.strip_prefix('/').ok_or(PointerError { at: 0 })?;
        let mut at = 1;
        let mut tokens = Vec::new();
        for token in rest.split('/') {
            tokens.push(unescape(token).map_err(|place| PointerError { at: at + place })?);
            at += token.len() + 1;
        }
        Ok(Pointer { tokens })
    }

    /// The pointer's one spelling.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.tokens.iter().for_each(|token| push_token(&mut text, token));
        text
    }

    pub(crate) fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

/// Appends `/` and the token, escaped.
pub(crate) fn push_token(text: &mut String, token: &str) {
    text.push('/');
    for character in token.chars() {
        match character {
            '~' => text.push_str("~0"),
            '/' => text.push_str("~1"),
            plain => text.push(plain),
        }
    }
}

fn unescape(token: &str) -> Result<String, usize> {
    let mut plain = String::with_capacity(token.len());
    let mut characters = token.char_indices();
    while let Some((at, character)) = characters.next() {
        plain.push(match character {
            '~' => match characters.next() {
                Some((_, '0')) => '~',
                Some((_, '1')) => '/',
                _ => return Err(at),
            },
            same => same,
        });
    }
    Ok(plain)
}

/// The child that `token` names. Array indices are written without leading zeros; `-` names nothing.
pub(crate) fn child<'n, 'a>(node: &'n Node<'a>, token: &str) -> Option<&'n Node<'a>> {
    match node {
        Node::Object(members) => {
            let place = members.binary_search_by(|(name, _)| super::parse::utf16_order(name, token)).ok()?;
            members.get(place).map(|(_, value)| value)
        }
        Node::Array(elements) => elements.get(index(token)?),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => None,
    }
}

fn index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    if plain { token.parse().ok() } else { None }
}

/// Pointers as a tree: which parts of a document are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    /// Everything from here on is left out.
    whole: bool,
    children: BTreeMap<String, Mask>,
}

impl Mask {
    pub(crate) fn add(&mut self, pointer: &Pointer) {
        let mut mask = self;
        for token in pointer.tokens() {
            mask = mask.children.entry(token.clone()).or_default();
        }
        mask.whole = true;
    }

    pub(crate) fn leaves_out_all(&self) -> bool {
        self.whole
    }

    pub(crate) fn child(&self, token: &str) -> Option<&Mask> {
        self.children.get(token)
    }

    pub(crate) fn element(&self, index: usize) -> Option<&Mask> {
        if self.children.is_empty() {
            return None;
        }
        self.children.get(&*Cow::<str>::Owned(index.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::number::Gate;
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn pointers_are_read_and_have_one_spelling() {
        let check = |text: &str, expected: Result<&[&str], usize>| {
            let read = Pointer::parse(text);
            if let Ok(pointer) = &read {
                assert_eq!(pointer.text(), text);
            }
            let expected = expected.map_err(|at| PointerError { at });
            assert_eq!(
                read.as_ref().map(|pointer| pointer.tokens.clone()).map_err(|error| *error),
                expected.map(|tokens| tokens.iter().map(ToString::to_string).collect()),
                "{text}"
            );
        };
        check("", Ok(&[]));
        check("/", Ok(&[""]));
        check("/a/b", Ok(&["a", "b"]));
        check("/a~1b/m~0n", Ok(&["a/b", "m~n"]));
        check("/~01", Ok(&["~1"]));
        check("//x/", Ok(&["", "x", ""]));
        check("/0/é", Ok(&["0", "é"]));
        check("a", Err(0));
        check("#/a", Err(0));
        check("/~", Err(1));
        check("/a/b~2", Err(4));
    }

    /// The examples of RFC 6901, section 5.
    #[test]
    fn the_examples_of_rfc_6901() {
        let text =
            br#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        let document = parse(text, 4, Gate::Strict).unwrap();
        let check = |pointer: &str, expected: &str| {
            let pointer = Pointer::parse(pointer).unwrap();
            let found = pointer.tokens().iter().try_fold(&document, |node, token| child(node, token));
            let shown = found.map(|node| super::super::write::text(node, None));
            assert_eq!(shown.as_deref(), Some(expected));
        };
        check("/foo", r#"["bar","baz"]"#);
        check("/foo/0", r#""bar""#);
        check("/", "0");
        check("/a~1b", "1");
        check("/c%d", "2");
        check("/e^f", "3");
        check("/g|h", "4");
        check("/i\\j", "5");
        check("/k\"l", "6");
        check("/ ", "7");
        check("/m~0n", "8");
        for absent in ["2", "-", "00", "01", "+1", "", "bar", "99999999999999999999"] {
            assert_eq!(child(child(&document, "foo").unwrap(), absent), None, "{absent}");
        }
    }
}
