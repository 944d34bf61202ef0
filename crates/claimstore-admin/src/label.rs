//! Short names of keys, as lists show them, and the look-up of a key by its short name.

use crate::answer::{MOST_ELSEWHERE, Refusal, RefusalKind, namespace};
use crate::ask::Key;
use crate::view::{HASH_BYTES, key_hash};
use claimstore::{Filter, Store};
use std::collections::BTreeSet;
use std::fmt;

/// The short name of a key, as lists show it: `3f9a2b77c0de+14B`, the first 12 hex digits of a plain digest of the
/// key, and its length. It does not reveal the key, and two keys of a store very rarely have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLabel {
    hash: String,
    bytes: usize,
}

impl KeyLabel {
    /// The short name of a key.
    pub fn of(key: &[u8]) -> KeyLabel {
        KeyLabel { hash: key_hash(key), bytes: key.len() }
    }

    /// Reads a short name; `None` for any other text.
    pub fn parse(text: &str) -> Option<KeyLabel> {
        let (hash, bytes) = text.strip_suffix('B')?.split_once('+')?;
        let is_hash = hash.len() == 2 * HASH_BYTES && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let label = KeyLabel { hash: hash.to_ascii_lowercase(), bytes: bytes.parse().ok()? };
        // Only the canonical spelling: no sign and no leading zero.
        (is_hash && label.bytes.to_string() == bytes).then_some(label)
    }

    /// The digits of the digest, and the length.
    pub(crate) fn into_parts(self) -> (String, usize) {
        (self.hash, self.bytes)
    }

    fn fits(&self, key: &[u8]) -> bool {
        key.len() == self.bytes && key_hash(key) == self.hash
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}B", self.hash, self.bytes)
    }
}

/// The bytes of a key of the namespace `name`. A [`Key::Label`] is searched among all keys of the namespace, which
/// reads them all; other forms are only decoded.
///
/// # Errors
///
/// [`RefusalKind::NotFound`] if no key, or no namespace, has this name; [`RefusalKind::Usage`] if several keys have
/// it.
pub fn resolve(store: &Store, name: &str, key: &Key) -> Result<Vec<u8>, Refusal> {
    match key {
        Key::Text(_) | Key::Hex(_) => key.bytes(),
        Key::Label(text) => {
            let no_label = || Refusal::new(RefusalKind::Usage, "key_label is no short name of a key");
            find(store, name, text, &KeyLabel::parse(text).ok_or_else(no_label)?)
        }
    }
}

/// The one key of a namespace that has this short name, or is itself spelt like it.
fn find(store: &Store, name: &str, text: &str, label: &KeyLabel) -> Result<Vec<u8>, Refusal> {
    namespace(store, name)?;
    // If no namespace was given, another one may be meant: the same scan searches all of them.
    let filter = if name.is_empty() { Filter::new() } else { Filter::new().namespace(name) };
    let (mut found, mut elsewhere) = (None, BTreeSet::new());
    for record in store.scan(filter) {
        let record = record?;
        if !label.fits(record.key()) && record.key() != text.as_bytes() {
            continue;
        }
        if record.namespace() != name {
            elsewhere.insert(record.namespace().to_owned());
            continue;
        }
        // A key that is claimed again during the scan may appear twice.
        if found.as_deref().is_some_and(|other| other != record.key()) {
            return Err(ambiguous(label));
        }
        found = Some(record.key().to_vec());
    }
    found.ok_or_else(|| {
        let message = format!("the store knows no key {label} in this namespace");
        let elsewhere = elsewhere.into_iter().take(MOST_ELSEWHERE).collect();
        Refusal { elsewhere, ..Refusal::new(RefusalKind::NotFound, message) }
    })
}

fn ambiguous(label: &KeyLabel) -> Refusal {
    let message = format!(
        "{label} names more than one key of this namespace; give the key itself (`list --show-keys` shows it), or its \
         bytes with `--hex`"
    );
    Refusal::new(RefusalKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

    fn filled(keys: &[(&str, &str)]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for (name, key) in keys {
            let space = store.namespace(name).unwrap();
            space.claim(key, DAY).unwrap().claimed().unwrap().complete("").unwrap();
        }
        (dir, store)
    }

    #[test]
    fn short_names_round_trip_and_other_texts_are_none() {
        let label = KeyLabel::of(b"order-4711");
        assert_eq!(label.to_string(), format!("{}+10B", key_hash(b"order-4711")));
        assert_eq!(KeyLabel::parse(&label.to_string()), Some(label.clone()));
        assert_eq!(KeyLabel::parse(&label.to_string().to_uppercase()), Some(label));
        for other in [
            "",
            "B",
            "+B",
            "order-4711",
            "3f9a2b77c0de",
            "3f9a2b77c0de+B",
            "3f9a2b77c0de+14",
            "3f9a2b77c0de+14b",
            "3f9a2b77c0de++4B",
            "3f9a2b77c0de+04B",
            "3f9a2b77c0de+-4B",
            "3f9a2b77c0d+14B",
            "3f9a2b77c0dee+14B",
            "3f9a2b77c0dg+14B",
            "3f9a2b77c0de+99999999999999999999999B",
        ] {
            assert_eq!(KeyLabel::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_short_name_finds_its_key_in_its_namespace_alone() {
        let (_dir, store) = filled(&[("", "one"), ("shop", "two"), ("other", "two"), ("shop", "one")]);
        let ask = |name: &str, key: &str| {
            resolve(&store, name, &Key::Label(KeyLabel::of(key.as_bytes()).to_string()))
        };
        assert_eq!(ask("shop", "two"), Ok(b"two".to_vec()));
        assert_eq!(ask("", "one"), Ok(b"one".to_vec()));
        let missed = ask("", "two").unwrap_err();
        assert_eq!(
            (missed.kind, missed.elsewhere),
            (RefusalKind::NotFound, vec!["other".into(), "shop".into()])
        );
        let missed = ask("other", "one").unwrap_err();
        assert_eq!((missed.kind, missed.elsewhere.len()), (RefusalKind::NotFound, 0));
        assert_eq!(ask("nowhere", "one").unwrap_err().kind, RefusalKind::NotFound);
        store.close().unwrap();
    }

    /// A producer can choose a key that is spelt like the short name of another key: neither may be taken for the
    /// other.
    #[test]
    fn a_key_that_is_spelt_like_the_short_name_of_another_is_ambiguous_beside_it() {
        let label = KeyLabel::of(b"one").to_string();
        let (_dir, store) = filled(&[("alone", &label), ("both", "one"), ("both", &label)]);
        let ask = |name: &str| resolve(&store, name, &Key::Label(label.clone()));
        assert_eq!(ask("alone"), Ok(label.clone().into_bytes()));
        let refused = ask("both").unwrap_err();
        assert!(
            refused.kind == RefusalKind::Usage && refused.message.contains("more than one key"),
            "{refused}"
        );
        assert_eq!(resolve(&store, "both", &Key::new(label.as_bytes())), Ok(label.clone().into_bytes()));
        store.close().unwrap();
    }
}
