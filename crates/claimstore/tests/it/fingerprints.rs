//! Fingerprints under the store's key, pointers to what differs, and key rules of namespaces.

use crate::common::{
    Bed, DAY, HOUR, block_on, claimed, done_with, duplicate, in_progress, on_both, refused, request,
};
use claimstore::{
    ClaimRequest, ErrorKind, Failure, Fingerprinter, KeySpec, LeaseToken, Policy, Store, TimeOrdered,
};
use claimstore_hash::{JsonRules, Match, child_key};
use std::os::unix::fs::PermissionsExt;

const STORED: &str = r#"{"order":"0047","amount":100,"lines":[{"sku":"A","qty":1}],"sent_at":1}"#;
const OTHER: &str = r#"{"order":"0047","amount":999,"lines":[{"sku":"A","qty":2}],"sent_at":2,"note":""}"#;

fn order(maker: &Fingerprinter, key: &str, payload: &str) -> ClaimRequest {
    let rules = JsonRules::new().exclude("/sent_at").unwrap();
    let (fingerprint, fields) = maker.json_with_fields(&rules, payload.as_bytes()).unwrap();
    request(key).fingerprint(fingerprint).fields(&fields)
}

#[track_caller]
fn mismatch(store: &Store, request: &ClaimRequest, expected: &[&str]) {
    let error = store.claim_with(request).unwrap_err();
    assert_eq!(
        (error.kind(), error.differing_pointers()),
        (ErrorKind::PayloadMismatch, strings(expected).as_slice())
    );
    let batch = store.claim_many(std::slice::from_ref(request)).unwrap().remove(0).unwrap_err();
    assert_eq!(
        (batch.kind(), batch.differing_pointers()),
        (ErrorKind::PayloadMismatch, strings(expected).as_slice())
    );
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("amount"), "{shown}");
}

fn strings(pointers: &[&str]) -> Vec<String> {
    pointers.iter().map(ToString::to_string).collect()
}

#[test]
fn a_mismatch_names_what_differs_wherever_the_record_lies() {
    on_both(|bed| {
        let store = bed.open();
        let maker = store.fingerprinter().unwrap();
        let (stored, other) = (order(&maker, "k", STORED), order(&maker, "k", OTHER));
        let expected = ["/amount", "/lines/0/qty", "/note"];

        let lease = claimed(store.claim_with(&stored));
        mismatch(&store, &other, &expected);
        // Held through another attempt...
        lease.fail(Failure::retry()).unwrap();
        let lease =
            claimed(store.claim_with(&order(&maker, "k", &STORED.replace("\"sent_at\":1", "\"sent_at\":9"))));
        assert_eq!(lease.attempt(), 2);
        mismatch(&store, &other, &expected);
        // ...the settlement, a checkpoint and a restart.
        lease.complete("done").unwrap();
        mismatch(&store, &other, &expected);
        store.checkpoint().unwrap();
        mismatch(&store, &other, &expected);
        let store = bed.reopen(store);
        mismatch(&store, &other, &expected);
        assert!(duplicate(store.claim_with(&stored)).fingerprint_checked());
        let refused = store.transact(&other, |_| Ok(Vec::new())).unwrap_err();
        assert_eq!(refused.differing_pointers(), strings(&expected));
        done_with(store);
    });
}

#[test]
fn without_digests_on_both_sides_a_mismatch_names_nothing() {
    let bed = Bed::memory();
    let store = bed.open();
    let maker = store.fingerprinter().unwrap();
    let rules = JsonRules::new().exclude("/sent_at").unwrap();
    let plain =
        |key, payload: &str| request(key).fingerprint(maker.json_with(&rules, payload.as_bytes()).unwrap());
    claimed(store.claim_with(&plain("a", STORED))).complete("").unwrap();
    mismatch(&store, &order(&maker, "a", OTHER), &[]);
    claimed(store.claim_with(&order(&maker, "b", STORED))).complete("").unwrap();
    mismatch(&store, &plain("b", OTHER), &[]);
    done_with(store);
}

#[test]
fn the_first_payload_of_a_key_stays_the_one_compared() {
    let bed = Bed::memory();
    let store = bed.open();
    let maker = store.fingerprinter().unwrap();
    claimed(store.claim_with(&request("k"))).fail(Failure::retry()).unwrap();
    // No fingerprint yet: the second attempt brings one, with its digests.
    claimed(store.claim_with(&order(&maker, "k", STORED))).fail(Failure::retry()).unwrap();
    mismatch(&store, &order(&maker, "k", OTHER), &["/amount", "/lines/0/qty", "/note"]);
    claimed(store.claim_with(&request("k"))).release().unwrap();
    mismatch(&store, &order(&maker, "k", OTHER), &["/amount", "/lines/0/qty", "/note"]);
    done_with(store);
}

#[test]
fn another_key_or_rule_is_not_compared() {
    let bed = Bed::memory();
    let store = bed.open();
    let maker = store.fingerprinter().unwrap();
    claimed(store.claim_with(&order(&maker, "k", STORED))).complete("").unwrap();
    let unknown =
        |request: ClaimRequest| assert!(!duplicate(store.claim_with(&request)).fingerprint_checked());
    unknown(order(&Fingerprinter::with_key([1; 32]), "k", OTHER));
    unknown(request("k").fingerprint(maker.raw(OTHER)));
    unknown(request("k").fingerprint(maker.json(OTHER.as_bytes()).unwrap()));
    unknown(request("k").fingerprint([7; 32]));
    unknown(request("k"));
    done_with(store);
}

#[test]
fn the_stores_key_stays_and_is_its_own() {
    let bed = Bed::disk();
    let store = bed.open();
    assert!(!bed.path().join("fingerprint.key").exists(), "made when it is asked for");
    let made = store.fingerprinter().unwrap().raw("payload");
    assert_eq!(block_on(store.fingerprinter_async()).unwrap().raw("payload"), made);
    let file = bed.path().join("fingerprint.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let store = bed.reopen(store);
    assert_eq!(store.fingerprinter().unwrap().raw("payload"), made);
    done_with(store);
    let other = Bed::disk();
    let store = other.open();
    assert_eq!(store.fingerprinter().unwrap().raw("payload").compare(&made), Match::Unknown);
    done_with(store);
}

#[test]
fn a_restored_store_knows_old_tokens_only_with_the_key() {
    let (bed, copies) = (Bed::disk(), tempfile::tempdir().unwrap());
    let store = bed.open();
    let token = claimed(store.claim("k", DAY)).detach(DAY).unwrap();
    let (plain, with_key) = (copies.path().join("a"), copies.path().join("b"));
    store.backup(&plain).unwrap();
    store.backup_with_key(&with_key).unwrap();
    done_with(store);
    let bytes = token.to_bytes();
    let again = || LeaseToken::from_bytes(&bytes).unwrap();

    let store = bed.options().open(&plain).unwrap();
    assert_eq!(refused(store.resume(again())), ErrorKind::InvalidToken, "there is no key yet");
    drop(claimed(store.claim("other", DAY)).detach(DAY).unwrap());
    assert_eq!(refused(store.resume(token)), ErrorKind::InvalidToken, "the key is another one");
    in_progress(store.claim("k", DAY));
    done_with(store);
    let store = bed.options().open(&with_key).unwrap();
    store.resume(again()).unwrap().complete("r").unwrap();
    done_with(store);
    let store = bed.open();
    store.resume(again()).unwrap().complete("r").unwrap();
    assert_eq!(refused(store.resume(again())), ErrorKind::StaleLease, "settled");
    done_with(store);
}

#[test]
fn a_damaged_key_refuses_to_detach_and_to_resume_and_leaves_the_claim() {
    let bed = Bed::disk();
    let store = bed.open();
    let token = claimed(store.claim("k", DAY)).detach(DAY).unwrap();
    let store = {
        done_with(store);
        let file = bed.path().join("fingerprint.key");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        bed.open()
    };
    assert_eq!(refused(store.resume(token)), ErrorKind::Corrupt);
    let (error, lease) = claimed(store.claim("l", DAY)).detach(DAY).unwrap_err().into_parts();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let (error, lease) = block_on(lease.unwrap().detach_async(DAY)).unwrap_err().into_parts();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let lease = store.resume(lease.unwrap().into_token()).unwrap();
    lease.complete("it needs no seal in this process").unwrap();
    in_progress(store.claim("k", DAY));
    done_with(store);
}

#[test]
fn a_backup_has_the_key_only_if_asked() {
    let (bed, copies) = (Bed::disk(), tempfile::tempdir().unwrap());
    let store = bed.open();
    let before = copies.path().join("before");
    store.backup_with_key(&before).unwrap();
    assert!(!before.join("fingerprint.key").exists(), "there was none");
    let maker = store.fingerprinter().unwrap();
    claimed(store.claim_with(&order(&maker, "k", STORED))).complete("").unwrap();
    let (plain, with_key, later) =
        (copies.path().join("a"), copies.path().join("b"), copies.path().join("c"));
    store.backup(&plain).unwrap();
    store.backup_with_key(&with_key).unwrap();
    block_on(store.backup_with_key_async(&later)).unwrap();
    assert!(!plain.join("fingerprint.key").exists());
    assert!(later.join("fingerprint.key").exists());
    assert_eq!(
        std::fs::metadata(with_key.join("fingerprint.key")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // Nothing else in the copy has the key's bytes.
    let key = std::fs::read(bed.path().join("fingerprint.key")).unwrap()[28..60].to_vec();
    for entry in walk(&plain) {
        let bytes = std::fs::read(&entry).unwrap();
        assert!(!bytes.windows(32).any(|window| window == key), "{}", entry.display());
    }
    done_with(store);

    let store = bed.options().open(&with_key).unwrap();
    mismatch(
        &store,
        &order(&store.fingerprinter().unwrap(), "k", OTHER),
        &["/amount", "/lines/0/qty", "/note"],
    );
    done_with(store);
    let store = bed.options().open(&plain).unwrap();
    let answer = duplicate(store.claim_with(&order(&store.fingerprinter().unwrap(), "k", OTHER)));
    assert!(!answer.fingerprint_checked(), "a new key: not compared, and no mismatch");
    done_with(store);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_damaged_key_is_owned_up_to_and_the_store_goes_on() {
    let bed = Bed::disk();
    let store = bed.open();
    store.fingerprinter().unwrap();
    done_with(store);
    let file = bed.path().join("fingerprint.key");
    let sound = std::fs::read(&file).unwrap();
    let check = |bytes: &[u8], expected| {
        std::fs::write(&file, bytes).unwrap();
        let store = bed.open();
        assert_eq!(refused(store.fingerprinter()), expected);
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "left as it was found");
        claimed(store.claim("k", HOUR)).release().unwrap();
        done_with(store);
    };
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        check(&bytes, ErrorKind::Corrupt);
    }
    check(&[], ErrorKind::Corrupt);
    check(&sound[..63], ErrorKind::Corrupt);
    let other = Bed::disk();
    let store = other.open();
    store.fingerprinter().unwrap();
    done_with(store);
    check(&std::fs::read(other.path().join("fingerprint.key")).unwrap(), ErrorKind::Corrupt);
    std::fs::write(&file, &sound).unwrap();
    let store = bed.open();
    store.fingerprinter().unwrap();
    done_with(store);
}

#[test]
fn keys_of_a_namespace_are_normalised_and_checked() {
    on_both(|bed| {
        let store = bed.open();
        let policy = || Policy::daily().key_spec(KeySpec::netsuite());
        let orders = store.namespace_with("orders", policy()).unwrap();
        let lease = claimed(orders.claim("customer| ord-001", DAY));
        assert_eq!(lease.key(), b"customer| ord-001", "as it was given");
        let child = lease.child_key("charge");
        assert_eq!(child, child_key("orders", b"CUSTOMER|ORD-001", "charge"));
        lease.complete("done").unwrap();
        for spelling in ["CUSTOMER|ORD-001", "Customer|Ord-001 ", "customer|ord-001"] {
            assert_eq!(duplicate(orders.claim(spelling, DAY)).response(), b"done", "{spelling}");
            assert!(orders.get(spelling).unwrap().is_some());
        }
        claimed(orders.claim("customer|ord-002", DAY)).complete("").unwrap();
        claimed(orders.claim("vendor|ord-001", DAY)).complete("").unwrap();
        for key in ["ord-001", "customer|", "customer||x", "customer|a\u{0}", "customer|a\\b"] {
            assert_eq!(refused(orders.claim(key, DAY)), ErrorKind::InvalidKey, "{key:?}");
        }
        assert_eq!(refused(orders.claim([b'a', b'|', 0xff], DAY)), ErrorKind::InvalidKey);
        store.checkpoint().unwrap();

        let store = bed.reopen(store);
        let orders = store.namespace("orders").unwrap();
        assert_eq!(duplicate(orders.claim("customer|ORD-001", DAY)).response(), b"done");
        assert!(orders.forget("customer|Ord-001").unwrap());
        assert_eq!(claimed(orders.claim("CUSTOMER|ord-001", DAY)).child_key("charge"), child);
        store.namespace_with("orders", policy().ttl(HOUR)).unwrap();
        done_with(store);
    });
}

#[test]
fn a_key_rule_cannot_change() {
    let bed = Bed::memory();
    let store = bed.open();
    store.namespace_with("a", Policy::daily().key_spec(KeySpec::netsuite())).unwrap();
    let misuse = |name, policy| assert_eq!(refused(store.namespace_with(name, policy)), ErrorKind::Misuse);
    misuse("a", Policy::daily());
    misuse("a", Policy::daily().key_spec(KeySpec::sap()));
    misuse("", Policy::daily().key_spec(KeySpec::sap()));
    misuse("b", Policy::daily().key_spec(KeySpec::sap()).time_ordered_keys(TimeOrdered::Ulid));
    done_with(store);
}

/// What a rule lengthens beyond the limit is too large, not cut.
#[test]
fn a_key_may_grow_beyond_the_limit_only_in_vain() {
    let bed = Bed::memory();
    let store = bed.open();
    let spec = KeySpec::new().case(claimstore_hash::Case::Upper);
    let space = store.namespace_with("a", Policy::daily().key_spec(spec)).unwrap();
    // U+0250 has two bytes, its capital U+2C6F three.
    assert_eq!(refused(space.claim("\u{250}".repeat(400), DAY)), ErrorKind::TooLarge);
    claimed(space.claim("\u{250}".repeat(340), DAY)).release().unwrap();
    done_with(store);
}
