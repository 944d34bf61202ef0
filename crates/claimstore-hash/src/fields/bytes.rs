//! The bytes of field digests, as they are stored with a claim.
//!
//! One byte 1 (the version), four of context, then the tree: a leaf is 0 and its digest (8); an object is 1, the
//! number of members (2, little endian), and for each the length of its name (2), the name, its tree; an array is
//! 2, the number of elements (2), their trees. Members are sorted by name.

use std::fmt;

use super::{FieldDigests, MAX_LEVELS, Tree};

pub(super) const HEAD_BYTES: usize = 5;

const VERSION: u8 = 1;
const LEAF: u8 = 0;
const OBJECT: u8 = 1;
const ARRAY: u8 = 2;

/// The bytes are no field digests that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FieldsError;

impl fmt::Display for FieldsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not field digests")
    }
}

impl std::error::Error for FieldsError {}

impl FieldDigests {
    /// The bytes, for storing: at most [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.context);
        put(&self.tree, &mut out);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`FieldsError`] for anything else, and for those of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Result<FieldDigests, FieldsError> {
        if bytes.len() > FieldDigests::MAX_BYTES {
            return Err(FieldsError);
        }
        let mut rest = bytes;
        let [VERSION, context @ ..] = take::<HEAD_BYTES>(&mut rest)? else {
            return Err(FieldsError);
        };
        let tree = read(&mut rest, MAX_LEVELS)?;
        if rest.is_empty() { Ok(FieldDigests { context, tree }) } else { Err(FieldsError) }
    }
}

fn put(tree: &Tree, out: &mut Vec<u8>) {
    match tree {
        Tree::Leaf(digest) => {
            out.push(LEAF);
            out.extend_from_slice(digest);
        }
        Tree::Object(members) => {
            out.push(OBJECT);
            out.extend_from_slice(&(members.len() as u16).to_le_bytes());
            for (name, value) in members {
                out.extend_from_slice(&(name.len() as u16).to_le_bytes());
                out.extend_from_slice(name.as_bytes());
                put(value, out);
            }
        }
        Tree::Array(elements) => {
            out.push(ARRAY);
            out.extend_from_slice(&(elements.len() as u16).to_le_bytes());
            elements.iter().for_each(|element| put(element, out));
        }
    }
}

fn read(rest: &mut &[u8], levels: usize) -> Result<Tree, FieldsError> {
    let [kind] = take(rest)?;
    if kind == LEAF {
        return Ok(Tree::Leaf(take(rest)?));
    }
    let levels = levels.checked_sub(1).ok_or(FieldsError)?;
    let count = u16::from_le_bytes(take(rest)?);
    if count == 0 {
        return Err(FieldsError);
    }
    match kind {
        OBJECT => {
            let mut members: Vec<(Box<str>, Tree)> = Vec::new();
            for _ in 0..count {
                let length = usize::from(u16::from_le_bytes(take(rest)?));
                let (name, behind) = rest.split_at_checked(length).ok_or(FieldsError)?;
                *rest = behind;
                let name = std::str::from_utf8(name).map_err(|_| FieldsError)?;
                if members.last().is_some_and(|(last, _)| **last >= *name) {
                    return Err(FieldsError);
                }
                members.push((name.into(), read(rest, levels)?));
            }
            Ok(Tree::Object(members))
        }
        ARRAY => (0..count).map(|_| read(rest, levels)).collect::<Result<_, _>>().map(Tree::Array),
        _ => Err(FieldsError),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], FieldsError> {
    let (taken, behind) = rest.split_first_chunk().ok_or(FieldsError)?;
    *rest = behind;
    Ok(*taken)
}
