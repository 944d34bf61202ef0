//! Which field differs: a tree of small keyed digests, stored in the place of the payload.

mod bytes;
mod cut;

use std::fmt;

use self::cut::Full;
use crate::json::pointer::push_token;
use crate::mac::Tag;
use crate::{Fingerprint, Fingerprinter, JsonRules, PayloadError};

pub use self::bytes::FieldsError;

/// Digests of a JSON payload's fields, so that a mismatch can say where it lies without the payload being stored.
///
/// A tree like the payload's, with the names of members and, in the place of each value, eight bytes of a keyed
/// hash of pointer and value. It has at most so many bytes: what lies deepest is summed up first, so that a large
/// payload is told apart by its upper levels.
///
/// ```
/// use claimstore_hash::{Fingerprinter, JsonRules};
///
/// let (fingerprinter, rules) = (Fingerprinter::with_key([7; 32]), JsonRules::new());
/// let read = |text: &str| fingerprinter.json_with_fields(&rules, text.as_bytes());
/// let (_, stored) = read(r#"{"order":"0047","lines":[{"sku":"A","qty":2}]}"#)?;
/// let (_, given) = read(r#"{"order":"0047","lines":[{"sku":"A","qty":3}],"note":""}"#)?;
/// assert_eq!(stored.differing(&given).unwrap(), ["/lines/0/qty", "/note"]);
/// # Ok::<(), claimstore_hash::PayloadError>(())
/// ```
///
/// # What it reveals
///
/// The names of members, and how many elements arrays have. With the key, small values can be found by guessing;
/// without it, only that two payloads have the same value in the same place. `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldDigests {
    /// The context of the fingerprint: digests under another key or other rules are not compared.
    context: [u8; 4],
    tree: Tree,
}

/// Eight bytes that represent a value at its place.
type Digest = [u8; 8];

/// Nesting beyond this is summed up, so that reading a tree back needs little stack.
const MAX_LEVELS: usize = 64;

/// The most pointers that are named.
const MAX_POINTERS: usize = 32;

#[derive(Clone, PartialEq, Eq)]
enum Tree {
    /// A value, or an array or object summed up.
    Leaf(Digest),
    /// Sorted by name; no name twice.
    Object(Vec<(Box<str>, Tree)>),
    Array(Vec<Tree>),
}

impl FieldDigests {
    /// The most bytes that digests have, whatever the rules say.
    pub const MAX_BYTES: usize = 4096;

    /// Pointers to what differs, in order, at most 32: the fields themselves where both sides still tell them
    /// apart, what contains them otherwise. A field that one side does not have differs.
    ///
    /// `None` if the two are of different keys or rules.
    pub fn differing(&self, other: &FieldDigests) -> Option<Vec<String>> {
        if self.context != other.context {
            return None;
        }
        let mut found = Vec::new();
        differing(&self.tree, &other.tree, &mut String::new(), &mut found);
        Some(found)
    }
}

impl fmt::Debug for FieldDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldDigests").finish_non_exhaustive()
    }
}

impl Fingerprinter {
    /// The fingerprint of a JSON text, and the digests of its selected fields.
    ///
    /// # Errors
    ///
    /// [`PayloadError::NeedsKey`] from a fingerprinter without one; else those of
    /// [`canonical_json`](crate::canonical_json).
    pub fn json_with_fields(
        &self,
        rules: &JsonRules,
        text: &[u8],
    ) -> Result<(Fingerprint, FieldDigests), PayloadError> {
        if !self.is_keyed() {
            return Err(PayloadError::NeedsKey);
        }
        let document = rules.read(text)?;
        let tree = Full::read(self, rules, &document).cut(rules.fields_limit());
        let fields = FieldDigests { context: self.json_context(rules), tree };
        Ok((self.document(rules, &document), fields))
    }

    /// The fingerprint of a value, and the digests of its selected fields.
    ///
    /// # Errors
    ///
    /// [`PayloadError::NeedsKey`] from a fingerprinter without one; else those of [`of`](Self::of).
    #[cfg(feature = "serde")]
    pub fn of_with_fields<T: serde::Serialize + ?Sized>(
        &self,
        rules: &JsonRules,
        value: &T,
    ) -> Result<(Fingerprint, FieldDigests), PayloadError> {
        self.json_with_fields(rules, crate::value::json_text(value)?.as_bytes())
    }
}

impl Tree {
    fn digest(&self) -> Digest {
        match self {
            Tree::Leaf(digest) => *digest,
            Tree::Object(members) => {
                sum(Kind::Object, members.iter().map(|(name, value)| (&**name, value.digest())))
            }
            Tree::Array(elements) => sum(Kind::Array, elements.iter().map(|value| ("", value.digest()))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
}

/// The digest of an array or object, from those of what it contains. Needs no key, so that two trees cut at
/// different places can be compared: the digests that go in are keyed.
fn sum<'a>(kind: Kind, values: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(match kind {
        Kind::Object => "claimstore 2026-11-21 fields of an object v1",
        Kind::Array => "claimstore 2026-11-21 fields of an array v1",
    });
    for (name, digest) in values {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&digest);
    }
    first_eight(hasher.finalize().into())
}

fn first_eight(hash: [u8; 32]) -> Digest {
    hash.first_chunk().copied().unwrap_or_default()
}

/// The digest of a value that contains no other.
fn leaf(maker: &Fingerprinter, pointer: &str, text: &str) -> Digest {
    let mut mac = maker.field_mac();
    mac.part(Tag::Pointer, pointer.as_bytes());
    mac.part(Tag::Json, text.as_bytes());
    first_eight(mac.finish())
}

/// Appends pointers to what differs between `one` and `other`, both at `pointer`.
fn differing(one: &Tree, other: &Tree, pointer: &mut String, found: &mut Vec<String>) {
    if found.len() >= MAX_POINTERS {
        return;
    }
    match (one, other) {
        (Tree::Object(one), Tree::Object(other)) => {
            let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
            loop {
                let order = match (one.peek(), other.peek()) {
                    (None, None) => return,
                    (Some(_), None) => std::cmp::Ordering::Less,
                    (None, Some(_)) => std::cmp::Ordering::Greater,
                    (Some((name, _)), Some((other, _))) => name.cmp(other),
                };
                let mine = if order.is_le() { one.next() } else { None };
                let theirs = if order.is_ge() { other.next() } else { None };
                let name = mine.or(theirs).map_or("", |(name, _)| name);
                differing_child(
                    mine.map(|(_, tree)| tree),
                    theirs.map(|(_, tree)| tree),
                    name,
                    pointer,
                    found,
                );
            }
        }
        (Tree::Array(one), Tree::Array(other)) => {
            for place in 0..one.len().max(other.len()) {
                differing_child(one.get(place), other.get(place), &place.to_string(), pointer, found);
            }
        }
        _ if one.digest() != other.digest() => found.push(pointer.clone()),
        _ => {}
    }
}

fn differing_child(
    one: Option<&Tree>,
    other: Option<&Tree>,
    token: &str,
    pointer: &mut String,
    found: &mut Vec<String>,
) {
    let length = pointer.len();
    push_token(pointer, token);
    match (one, other) {
        (Some(one), Some(other)) => differing(one, other, pointer, found),
        _ if found.len() < MAX_POINTERS => found.push(pointer.clone()),
        _ => {}
    }
    pointer.truncate(length);
}

#[cfg(test)]
mod tests;
