//! JSON payloads: a strict gate, then RFC 8785, and selections of fields.

pub(crate) mod number;
pub(crate) mod parse;
pub(crate) mod pointer;
#[cfg(test)]
mod vectors;
pub(crate) mod write;

use std::collections::BTreeSet;

use self::number::Gate;
use self::parse::Node;
use self::pointer::{Mask, Pointer, PointerError};
use crate::fingerprinter::{Form, unkeyed};
use crate::mac::{Mac, Tag};
use crate::{FieldDigests, Fingerprint, Fingerprinter, PayloadError};

/// The deepest nesting that any rules allow: reading is recursive, and a thread's stack is bounded.
const MAX_DEPTH: usize = 256;

/// How JSON payloads are read: limits, and which fields count.
///
/// Pointers are JSON Pointers (RFC 6901): `/order/lines/0/sku`, `~1` for `/` and `~0` for `~` in a name.
///
/// ```
/// use claimstore_hash::{Fingerprinter, JsonRules, Match};
///
/// let rules = JsonRules::new().exclude("/trace_id")?.exclude("/sent_at")?;
/// let fingerprinter = Fingerprinter::with_key([7; 32]);
/// let first = fingerprinter.json_with(&rules, br#"{"order":"0047","trace_id":"a"}"#)?;
/// let retry = fingerprinter.json_with(&rules, br#"{"trace_id":"b", "order":"0047"}"#)?;
/// assert_eq!(first.compare(&retry), Match::Same);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The selection, and whether numbers are rounded, are part of the fingerprint's context: under other rules,
/// fingerprints are [`Match::Unknown`](crate::Match::Unknown), not different. Limits are not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonRules {
    max_bytes: usize,
    max_depth: usize,
    max_field_bytes: usize,
    gate: Gate,
    /// Sorted and without repeats, so that the order of the calls does not count. Empty: the whole document.
    include: BTreeSet<Pointer>,
    exclude: BTreeSet<Pointer>,
    /// `exclude` as a tree.
    mask: Option<Mask>,
}

impl Default for JsonRules {
    fn default() -> JsonRules {
        JsonRules::new()
    }
}

impl JsonRules {
    /// The whole document counts; at most 1 MiB, nested at most 64 deep; no number is rounded.
    pub fn new() -> JsonRules {
        JsonRules {
            max_bytes: 1 << 20,
            max_depth: 64,
            max_field_bytes: 1024,
            gate: Gate::Strict,
            include: BTreeSet::new(),
            exclude: BTreeSet::new(),
            mask: None,
        }
    }

    /// How long a text may be, in bytes. Reading takes some tens of bytes of memory for each value in it.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> JsonRules {
        self.max_bytes = bytes;
        self
    }

    /// How deep arrays and objects may be nested: `[[]]` is two deep. At most 256, whatever is given.
    #[must_use]
    pub fn max_depth(mut self, depth: usize) -> JsonRules {
        self.max_depth = depth.min(MAX_DEPTH);
        self
    }

    /// How many bytes [`FieldDigests`](crate::FieldDigests) may have. Default 1,024; at most
    /// [`FieldDigests::MAX_BYTES`](crate::FieldDigests::MAX_BYTES), whatever is given. Below 14 there are 14.
    #[must_use]
    pub fn max_field_bytes(mut self, bytes: usize) -> JsonRules {
        self.max_field_bytes = bytes.min(FieldDigests::MAX_BYTES);
        self
    }

    /// Reads numbers as RFC 8785 does: each becomes the nearest double, and two that become the same one are the
    /// same.
    ///
    /// Without it such numbers are refused ([the gate](canonical_json#the-gate)). With it `0.10000000000000001` is
    /// `0.1`, and 9007199254740993 is 9007199254740992: payloads that differ in such an id or amount alone have one
    /// fingerprint, and the second is answered as a duplicate of the first. Take it only where the sender computes in
    /// doubles, so that no more was ever meant. Numbers beyond the largest double stay refused.
    ///
    /// The rule is part of the fingerprint's context.
    #[must_use]
    pub fn round_numbers(mut self) -> JsonRules {
        self.gate = Gate::Rounded;
        self
    }

    /// Only what included pointers name counts; a name that is absent counts as absent, which is not `null`.
    ///
    /// # Errors
    ///
    /// [`PointerError`] if `pointer` is not a JSON Pointer.
    pub fn include(mut self, pointer: &str) -> Result<JsonRules, PointerError> {
        self.include.insert(Pointer::parse(pointer)?);
        Ok(self)
    }

    /// Leaves out what `pointer` names: members that change from retry to retry, such as a time of sending. Also
    /// within included parts.
    ///
    /// A member left out may as well be absent. An array's element that is left out keeps its place: how many
    /// elements there are counts.
    ///
    /// # Errors
    ///
    /// [`PointerError`] if `pointer` is not a JSON Pointer.
    pub fn exclude(mut self, pointer: &str) -> Result<JsonRules, PointerError> {
        let pointer = Pointer::parse(pointer)?;
        self.mask.get_or_insert_default().add(&pointer);
        self.exclude.insert(pointer);
        Ok(self)
    }

    pub(crate) fn read<'a>(&self, text: &'a [u8]) -> Result<Node<'a>, PayloadError> {
        if text.len() > self.max_bytes {
            return Err(PayloadError::TooLarge { limit: self.max_bytes });
        }
        parse::parse(text, self.max_depth, self.gate)
    }

    /// The rules, for the context.
    pub(crate) fn describe(&self, mac: &mut Mac) {
        self.include.iter().for_each(|pointer| mac.part(Tag::Include, pointer.text().as_bytes()));
        self.exclude.iter().for_each(|pointer| mac.part(Tag::Exclude, pointer.text().as_bytes()));
        if self.gate == Gate::Rounded {
            mac.part(Tag::Rounded, &[]);
        }
    }

    /// The selected part of a document, for the list of parts.
    pub(crate) fn write(&self, mac: &mut Mac, document: &Node<'_>) {
        let mut text = String::new();
        let whole = self.include.is_empty();
        if whole && !self.mask.as_ref().is_some_and(Mask::leaves_out_all) {
            write::push(&mut text, document, self.mask.as_ref());
            mac.part(Tag::Json, text.as_bytes());
        }
        for pointer in &self.include {
            mac.part(Tag::Pointer, pointer.text().as_bytes());
            match self.select(document, pointer) {
                None => mac.part(Tag::Absent, &[]),
                Some((node, mask)) => {
                    text.clear();
                    write::push(&mut text, node, mask);
                    mac.part(Tag::Json, text.as_bytes());
                }
            }
        }
    }

    /// The node that `pointer` names, and the mask of what is left out of it. `None`: it names nothing, or a node
    /// that is left out.
    pub(crate) fn select<'n, 'a>(
        &self,
        document: &'n Node<'a>,
        pointer: &Pointer,
    ) -> Option<(&'n Node<'a>, Option<&Mask>)> {
        let mut found = (document, self.mask.as_ref());
        for token in pointer.tokens() {
            if found.1.is_some_and(Mask::leaves_out_all) {
                return None;
            }
            found = (pointer::child(found.0, token)?, found.1.and_then(|mask| mask.child(token)));
        }
        if found.1.is_some_and(Mask::leaves_out_all) { None } else { Some(found) }
    }

    pub(crate) fn fields_limit(&self) -> usize {
        self.max_field_bytes
    }

    pub(crate) fn included(&self) -> impl Iterator<Item = &Pointer> {
        self.include.iter()
    }

    pub(crate) fn mask(&self) -> Option<&Mask> {
        self.mask.as_ref()
    }
}

/// The canonical text of a JSON text (RFC 8785), after the same gate as for fingerprints.
///
/// Member order, white space, escapes and spellings of numbers are gone; everything else is as it was.
///
/// # The gate
///
/// RFC 8785 takes its input for I-JSON and leaves it to parsers what to do with the rest. Parsers keep the last of
/// two members of one name, and read 9007199254740993 as 9007199254740992, so two payloads would share a fingerprint.
/// Here both are refused: a member twice ([`PayloadError::DuplicateMember`]), and any number whose value is not that
/// of its canonical text ([`PayloadError::InexactNumber`]), such as most amounts and ids of more than 16 digits.
/// Whoever sends those as numbers takes [`Fingerprinter::raw`], or, where they come out of computing in doubles,
/// [`JsonRules::round_numbers`]; text in quotes passes. Also refused: what is not JSON by the letter, half surrogate
/// pairs, invalid UTF-8, sizes beyond the limits of `rules`. Its selection is not looked at.
///
/// # Errors
///
/// Those named; the first that is met.
///
/// ```
/// use claimstore_hash::{JsonRules, canonical_json};
///
/// let text = canonical_json(&JsonRules::new(), br#" {"b": 1.50, "a": "\u20ac"} "#)?;
/// assert_eq!(text, r#"{"a":"€","b":1.5}"#);
/// # Ok::<(), claimstore_hash::PayloadError>(())
/// ```
pub fn canonical_json(rules: &JsonRules, text: &[u8]) -> Result<String, PayloadError> {
    let document = rules.read(text)?;
    let mut canonical = String::with_capacity(text.len());
    write::push(&mut canonical, &document, None);
    Ok(canonical)
}

impl Fingerprint {
    /// The fingerprint of a JSON text, whatever its member order, white space, escapes and spellings of numbers.
    /// Without a key: see [`Fingerprinter::json`].
    ///
    /// # Errors
    ///
    /// Those of [`canonical_json`], under the limits of [`JsonRules::new`].
    ///
    /// ```
    /// use claimstore_hash::{Fingerprint, PayloadError};
    ///
    /// assert_eq!(Fingerprint::json(br#"{"a":1,"b":2}"#)?, Fingerprint::json(br#"{"b": 2e0, "a": 1}"#)?);
    /// assert_eq!(
    ///     Fingerprint::json(br#"{"id":9007199254740993}"#),
    ///     Err(PayloadError::InexactNumber { at: 6 })
    /// );
    /// # Ok::<(), PayloadError>(())
    /// ```
    pub fn json(text: &[u8]) -> Result<Fingerprint, PayloadError> {
        unkeyed().json(text)
    }
}

impl Fingerprinter {
    /// The fingerprint of a JSON text, whatever its member order, white space, escapes and spellings of numbers.
    ///
    /// # Errors
    ///
    /// Those of [`canonical_json`], under the limits of [`JsonRules::new`].
    pub fn json(&self, text: &[u8]) -> Result<Fingerprint, PayloadError> {
        self.json_with(&JsonRules::new(), text)
    }

    /// The fingerprint of those fields of a JSON text that `rules` select.
    ///
    /// # Errors
    ///
    /// Those of [`canonical_json`], for the whole text: also where a field is not selected.
    pub fn json_with(&self, rules: &JsonRules, text: &[u8]) -> Result<Fingerprint, PayloadError> {
        Ok(self.document(rules, &rules.read(text)?))
    }

    pub(crate) fn document(&self, rules: &JsonRules, document: &Node<'_>) -> Fingerprint {
        let mut mac = self.start(Form::Json);
        rules.write(&mut mac, document);
        self.fingerprint(Form::Json, self.json_context(rules), mac)
    }

    pub(crate) fn json_context(&self, rules: &JsonRules) -> [u8; 4] {
        self.context(Form::Json, |mac| rules.describe(mac))
    }
}
