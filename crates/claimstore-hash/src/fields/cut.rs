//! From a document to digests of all its fields, and from those to as many as there is room for.

use std::collections::{BTreeMap, VecDeque};

use super::{Digest, Kind, MAX_LEVELS, Tree, leaf, sum};
use crate::json::parse::Node;
use crate::json::pointer::{Mask, Pointer, push_token};
use crate::json::write;
use crate::{Fingerprinter, JsonRules};

/// Bytes of a leaf, and of an array or object beside what it contains: see `bytes.rs`.
const LEAF_BYTES: usize = 9;
const LIST_BYTES: usize = 3;
const NAME_BYTES: usize = 2;

/// The digest of every field.
pub(super) struct Full {
    digest: Digest,
    inner: Inner,
    /// Whether the cut tree shows what is in it.
    open: bool,
}

enum Inner {
    Value,
    Object(Vec<(Box<str>, Full)>),
    Array(Vec<Full>),
}

/// Included pointers as a tree: the way to each is shown as objects, whatever the document has there.
#[derive(Default)]
struct Ways<'p> {
    end: Option<&'p Pointer>,
    next: BTreeMap<&'p str, Ways<'p>>,
}

/// The state while a document is read.
struct Reader<'r> {
    maker: &'r Fingerprinter,
    rules: &'r JsonRules,
    pointer: String,
}

impl Full {
    pub(super) fn read(maker: &Fingerprinter, rules: &JsonRules, document: &Node<'_>) -> Full {
        let mut reader = Reader { maker, rules, pointer: String::new() };
        let mut ways = Ways::default();
        for pointer in rules.included() {
            let mut way = &mut ways;
            for token in pointer.tokens() {
                way = way.next.entry(token).or_default();
            }
            way.end = Some(pointer);
        }
        if ways.end.is_some() || rules.included().next().is_none() {
            return reader.read(document, rules.mask());
        }
        reader.follow(document, &ways)
    }

    /// Opens arrays and objects, level by level, while the tree has at most `limit` bytes.
    pub(super) fn cut(mut self, limit: usize) -> Tree {
        let mut left = limit.saturating_sub(super::bytes::HEAD_BYTES + LEAF_BYTES);
        let mut queue = VecDeque::from([(&mut self, 0)]);
        while let Some((full, level)) = queue.pop_front() {
            let cost = full.inner.cost();
            if cost == 0 || level == MAX_LEVELS || cost > left + LEAF_BYTES {
                continue;
            }
            left = left + LEAF_BYTES - cost;
            full.open = true;
            match &mut full.inner {
                Inner::Value => {}
                Inner::Object(members) => {
                    queue.extend(members.iter_mut().map(|(_, value)| (value, level + 1)));
                }
                Inner::Array(elements) => queue.extend(elements.iter_mut().map(|value| (value, level + 1))),
            }
        }
        self.tree()
    }

    fn tree(self) -> Tree {
        match self.inner {
            Inner::Object(members) if self.open => {
                Tree::Object(members.into_iter().map(|(name, value)| (name, value.tree())).collect())
            }
            Inner::Array(elements) if self.open => {
                Tree::Array(elements.into_iter().map(Full::tree).collect())
            }
            _ => Tree::Leaf(self.digest),
        }
    }

    fn value(digest: Digest) -> Full {
        Full { digest, inner: Inner::Value, open: false }
    }

    fn object(mut members: Vec<(Box<str>, Full)>) -> Full {
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        let digest = sum(Kind::Object, members.iter().map(|(name, value)| (&**name, value.digest)));
        Full { digest, inner: Inner::Object(members), open: false }
    }

    fn array(elements: Vec<Full>) -> Full {
        let digest = sum(Kind::Array, elements.iter().map(|value| ("", value.digest)));
        Full { digest, inner: Inner::Array(elements), open: false }
    }
}

impl Inner {
    /// Bytes of the opened list, all that is in it closed. 0 for what cannot be opened: values and empty lists.
    fn cost(&self) -> usize {
        let (count, names) = match self {
            Inner::Value => return 0,
            Inner::Array(elements) => (elements.len(), 0),
            Inner::Object(members) => {
                (members.len(), members.iter().map(|(name, _)| NAME_BYTES + name.len()).sum())
            }
        };
        if count == 0 { 0 } else { LIST_BYTES + names + count * LEAF_BYTES }
    }
}

impl Reader<'_> {
    fn read(&mut self, node: &Node<'_>, mask: Option<&Mask>) -> Full {
        match node {
            _ if mask.is_some_and(Mask::leaves_out_all) => Full::value([0; 8]),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => {
                Full::value(leaf(self.maker, &self.pointer, &write::text(node, None)))
            }
            Node::Array(elements) => Full::array(
                elements
                    .iter()
                    .enumerate()
                    .map(|(place, element)| {
                        let mask = mask.and_then(|mask| mask.element(place));
                        self.at(&place.to_string(), |reader| reader.read(element, mask))
                    })
                    .collect(),
            ),
            Node::Object(members) => Full::object(
                members
                    .iter()
                    .filter_map(|(name, value)| {
                        let mask = mask.and_then(|mask| mask.child(name));
                        if mask.is_some_and(Mask::leaves_out_all) {
                            return None;
                        }
                        let value = self.at(name, |reader| reader.read(value, mask));
                        Some((Box::from(&**name), value))
                    })
                    .collect(),
            ),
        }
    }

    /// The included parts of `document` below here; an absent part has no member.
    fn follow(&mut self, document: &Node<'_>, ways: &Ways<'_>) -> Full {
        let members = ways.next.iter().filter_map(|(token, way)| {
            let value = self.at(token, |reader| match way.end {
                // Pointers that go further down are inside this one.
                Some(pointer) => {
                    let (node, mask) = reader.rules.select(document, pointer)?;
                    Some(reader.read(node, mask))
                }
                None => Some(reader.follow(document, way)),
            });
            Some((Box::from(*token), value?))
        });
        Full::object(members.collect())
    }

    fn at<T>(&mut self, token: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.pointer.len();
        push_token(&mut self.pointer, token);
        let value = read(self);
        self.pointer.truncate(length);
        value
    }
}
