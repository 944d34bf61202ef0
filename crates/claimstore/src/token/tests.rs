use super::LeaseToken;
use crate::{Claim, ErrorKind, Lease, ManualClock, Options, Store};
use proptest::prelude::*;
use std::time::{Duration, UNIX_EPOCH};

const HOUR: Duration = Duration::from_secs(3_600);

fn store() -> Store {
    Options::new().clock(ManualClock::new(UNIX_EPOCH)).background(false).in_memory().unwrap()
}

fn lease(store: &Store, key: &[u8]) -> Lease {
    store.claim(key, HOUR).unwrap().claimed().unwrap()
}

fn refusal(store: &Store, bytes: &[u8]) -> Option<ErrorKind> {
    LeaseToken::from_bytes(bytes).and_then(|token| store.resume(token)).err().map(|error| error.kind())
}

#[derive(Debug, Clone)]
enum Damage {
    Bit(prop::sample::Index),
    Cut(prop::sample::Index),
    More(Vec<u8>),
}

impl Damage {
    fn of(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Damage::Bit(at) => {
                let bit = at.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::More(more) => bytes.extend_from_slice(more),
        }
        bytes
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => any::<prop::sample::Index>().prop_map(Damage::Bit),
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Damage::More),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_token_that_was_changed_is_refused_and_changes_nothing(
        key in prop::collection::vec(any::<u8>(), 1..30),
        damages in prop::collection::vec(damage(), 1..30),
        detach: bool,
    ) {
        let store = store();
        let lease = lease(&store, &key);
        let number = lease.token();
        let bytes = if detach { lease.detach(HOUR).unwrap().to_bytes() } else { lease.into_token().to_bytes() };
        let before = store.get(&key).unwrap();
        for damage in damages {
            let changed = damage.of(&bytes);
            let refusal = refusal(&store, &changed);
            prop_assert!(
                matches!(refusal, Some(ErrorKind::InvalidToken | ErrorKind::Misuse)),
                "{damage:?}: {refusal:?}"
            );
            prop_assert_eq!(store.get(&key).unwrap(), before.clone());
            prop_assert!(matches!(store.claim(&key, HOUR).unwrap(), Claim::InProgress(_)));
        }
        let resumed = store.resume(LeaseToken::from_bytes(&bytes).unwrap()).unwrap();
        prop_assert_eq!((resumed.token(), resumed.key()), (number, &key[..]));
        resumed.complete("r").unwrap();
        prop_assert_eq!(refusal(&store, &bytes), Some(ErrorKind::StaleLease), "settled, and no forgery");
    }
}

#[test]
fn a_token_of_another_store_is_invalid_in_both_of_its_forms() {
    let (ours, other) = (store(), store());
    let here = lease(&other, b"k").into_token();
    let detached = lease(&other, b"d").detach(HOUR).unwrap();
    // Ours holds the same keys, under the same numbers.
    let _held = (lease(&ours, b"k"), lease(&ours, b"d"));
    for with_key in [false, true] {
        for token in [here.clone(), detached.clone()] {
            assert_eq!(refusal(&ours, &token.to_bytes()), Some(ErrorKind::InvalidToken));
            assert_eq!(ours.resume(token).unwrap_err().kind(), ErrorKind::InvalidToken);
        }
        if !with_key {
            assert!(!ours.engine().fingerprint_key.is_asked(), "a look makes no key");
            ours.fingerprinter().unwrap();
        }
    }
    assert_eq!(here, LeaseToken::from_bytes(&here.to_bytes()).unwrap());
    other.resume(here).unwrap().release().unwrap();
    other.resume(detached).unwrap().release().unwrap();
}

#[test]
fn bytes_of_a_token_whose_store_is_closed_have_no_seal() {
    let store = store();
    let token = lease(&store, b"k").into_token();
    store.close().unwrap();
    let bytes = token.to_bytes();
    assert!(bytes.ends_with(&[0; claimstore_hash::Seal::BYTES]));
    assert_eq!(LeaseToken::from_bytes(&bytes).unwrap(), token);
}

#[test]
fn a_token_of_the_earlier_form_is_misuse() {
    let mut bytes = b"clt1".to_vec();
    bytes.extend_from_slice(&7u64.to_le_bytes());
    bytes.extend_from_slice(&[0, 1, b'k']);
    assert_eq!(LeaseToken::from_bytes(&bytes).unwrap_err().kind(), ErrorKind::Misuse);
}
