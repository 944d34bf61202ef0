//! Looks up namespaces and keys, also a key by its short name.

use crate::wire::{Key, Refusal, RefusalKind};
use crate::{KeyLabel, key_label};
use claimstore::{Filter, Namespace, Store};
use std::collections::BTreeSet;

/// How many other namespaces of a key are named.
const MOST_ELSEWHERE: usize = 3;

/// An existing namespace. `Store::namespace` would create a missing one.
pub(crate) fn namespace(store: &Store, name: &str) -> Result<Namespace, Refusal> {
    if !store.namespaces().iter().any(|known| known == name) {
        let message = format!("the store has no namespace `{}`", name.escape_debug());
        return Err(Refusal::new(RefusalKind::NotFound, message));
    }
    Ok(store.namespace(name)?)
}

/// The names of all namespaces, or of the one that is asked for.
pub(crate) fn names(store: &Store, only: Option<&str>) -> Result<Vec<String>, Refusal> {
    match only {
        Some(name) => Ok(vec![namespace(store, name)?.name().to_owned()]),
        None => Ok(store.namespaces()),
    }
}

/// The refusal for an unknown key. If no namespace was given, it names others that have the key.
pub(crate) fn unknown(store: &Store, name: &str, key: &[u8]) -> Refusal {
    // Named by its hash: a key must not appear in a log.
    let message = format!("the store knows no key {} in this namespace", key_label(key));
    let mut refusal = Refusal::new(RefusalKind::NotFound, message);
    if name.is_empty() {
        // It may be no valid key in this namespace; then it is unknown there.
        let has = |other: &String| {
            let found = store.namespace(other).and_then(|namespace| namespace.get(key));
            matches!(found, Ok(Some(_)))
        };
        let others = store.namespaces().into_iter().filter(|other| !other.is_empty() && has(other));
        refusal.elsewhere = others.take(MOST_ELSEWHERE).collect();
        refusal.elsewhere.sort();
    }
    refusal
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
    fn a_short_name_finds_its_key_in_its_namespace_alone() {
        let (_dir, store) = filled(&[("", "one"), ("shop", "two"), ("other", "two"), ("shop", "one")]);
        let ask = |name: &str, key: &str| resolve(&store, name, &Key::Label(key_label(key).to_string()));
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
        let label = key_label("one").to_string();
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
