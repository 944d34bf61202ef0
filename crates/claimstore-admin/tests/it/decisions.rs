//! What a program must allow: refused as long as it does not, done and remembered when it does.

use crate::questions::{all, filled, get, list, unserved};
use claimstore::{Claim, Options, Store};
use claimstore_admin::{
    Answer, AskError, Client, Decision, Dir, ExportView, Key, Listing, PolicyChange, RecordView, RefusalKind,
    Request, Response, Seen, ServeAdmin as _, Served, Show, State, Target, Verb, Verdict, Which, answer,
};
use std::collections::BTreeSet;
use tempfile::TempDir;

/// The store of `filled`, and a client that may decide.
pub(crate) fn allowed() -> (TempDir, Store, Client) {
    let (dir, store) = unserved();
    drop(store.serve_admin().unwrap().allow_decisions());
    let client = Client::connect(dir.path()).unwrap();
    (dir, store, client)
}

fn about(name: &str) -> Target {
    let key = Key::new(format!("canary-key-{name}").as_bytes());
    Target { namespace: "shop".into(), key, seen: None }
}

pub(crate) fn decision(verb: Verb, names: &[&str]) -> Decision {
    Decision {
        verb,
        targets: names.iter().map(|name| about(name)).collect(),
        by: "ada".into(),
        why: "canary-why".into(),
        response: Response::new(b"canary-decided"),
        force: false,
        dry_run: false,
    }
}

fn decide(client: &mut Client, decision: &Decision) -> Vec<Verdict> {
    match client.ask(&Request::Decide(decision.clone())).unwrap() {
        Answer::Decided { verdicts } => verdicts,
        other => panic!("{other:?}"),
    }
}

fn kinds(verdicts: &[Verdict]) -> Vec<Option<RefusalKind>> {
    verdicts.iter().map(|verdict| verdict.refused.as_ref().map(|refusal| refusal.kind)).collect()
}

fn record(client: &mut Client, name: &str) -> Option<RecordView> {
    match client.ask(&get(name, Show { keys: true, payload: true })) {
        Ok(Answer::Record { record, .. }) => Some(*record),
        Err(AskError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_permission_every_change_is_refused_and_says_what_would_help() {
    let (dir, store, mut client) = filled();
    let Answer::Hello { protocol, decisions } = client.ask(&Request::Hello).unwrap() else { panic!() };
    assert_eq!((protocol, decisions), (1, false));
    let before = client.ask(&Request::List(list(all(), Show { keys: true, payload: true })));
    let copy = dir.path().join("copy");
    for request in [
        Request::Decide(decision(Verb::Requeue, &["parked"])),
        Request::Decide(Decision { dry_run: true, ..decision(Verb::Forget, &["done"]) }),
        Request::SetPolicy(PolicyChange { create: true, ..PolicyChange::of("new") }),
        Request::Backup { dir: Dir::new(&copy), with_key: false },
        Request::Export { namespace: None },
        Request::ExportMore,
    ] {
        match client.ask(&request) {
            Err(AskError::Refused(refusal)) => {
                assert_eq!(refusal.kind, RefusalKind::Denied, "{request:?}");
                assert!(refusal.message.contains("allow_decisions"), "{refusal}");
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }
    assert!(!copy.exists() && !store.namespaces().contains(&"new".to_owned()));
    let after = client.ask(&Request::List(list(all(), Show { keys: true, payload: true })));
    let records = |answer: Result<Answer, AskError>| match answer.unwrap() {
        Answer::Records { records, .. } => records,
        other => panic!("{other:?}"),
    };
    assert_eq!(records(after), records(before));
    store.close().unwrap();
}

#[test]
fn permission_may_come_while_a_store_is_served() {
    let (dir, store) = unserved();
    let admin = store.serve_admin().unwrap();
    let mut client = Client::connect(dir.path()).unwrap();
    let dry = Request::Decide(Decision { dry_run: true, ..decision(Verb::Forget, &["done"]) });
    assert!(client.ask(&dry).is_err());
    drop(admin.allow_decisions());
    assert!(client.ask(&dry).is_ok());
    store.close().unwrap();
}

/// Every verb about every key, over the socket and in process: the same verdicts, and the same records afterwards but
/// for times and tokens.
#[test]
fn decisions_do_to_a_live_store_what_they_do_to_one_opened_for_them() {
    let names = ["done", "failed", "retry", "parked", "orphan", "held", "unknown"];
    let lasting = |client: &mut Client| -> Vec<_> {
        let view = |name: &&str| {
            record(client, name).map(|view| {
                let history = view.history.clone().unwrap_or_default();
                let history = history.iter().map(|past| {
                    (past.what.clone(), past.orphaned.clone(), past.attempt, past.by(), past.note())
                });
                (view.state, view.attempt, view.attempts_granted, view.stored(), history.collect::<Vec<_>>())
            })
        };
        names.iter().map(view).collect()
    };
    for verb in [Verb::Requeue, Verb::Release, Verb::Complete, Verb::Fail, Verb::Forget] {
        for force in [false, true] {
            let decision = Decision { force, ..decision(verb, &names) };
            let (_live_dir, live, mut client) = allowed();
            let told = kinds(&decide(&mut client, &decision));
            let (_dir, other, mut looking) = allowed();
            let here = match answer(&other, &Request::Decide(decision), Served::Briefly).unwrap() {
                Answer::Decided { verdicts } => kinds(&verdicts),
                other => panic!("{other:?}"),
            };
            assert_eq!(told, here, "{verb:?}");
            assert_eq!(lasting(&mut client), lasting(&mut looking), "{verb:?}");
            let takes = |name: &str, state: State| match (name, verb) {
                ("held", Verb::Requeue) => Some(RefusalKind::WrongState),
                ("held", Verb::Forget) if force => None,
                ("held", _) => Some(RefusalKind::Held),
                _ if verb.takes(state) => None,
                _ => Some(RefusalKind::WrongState),
            };
            let states = [State::Completed, State::Failed, State::Retry, State::Parked, State::Orphaned];
            let expected: Vec<_> = names
                .iter()
                .zip(states.into_iter().chain([State::InProgress]))
                .map(|(name, state)| takes(name, state))
                .chain([Some(RefusalKind::NotFound)])
                .collect();
            assert_eq!(told, expected, "{verb:?}, force: {force}");
            live.close().unwrap();
            other.close().unwrap();
        }
    }
}

#[test]
fn who_and_why_stand_in_the_history_and_the_response_is_what_duplicates_get() {
    let (_dir, store, mut client) = allowed();
    assert_eq!(kinds(&decide(&mut client, &decision(Verb::Complete, &["parked", "orphan"]))), [None, None]);
    for name in ["parked", "orphan"] {
        let shop = store.namespace("shop").unwrap();
        let Claim::Duplicate(receipt) = shop.claim_default(format!("canary-key-{name}")).unwrap() else {
            panic!("{name} is done")
        };
        assert_eq!(receipt.response(), b"canary-decided");
        let history = record(&mut client, name).unwrap().history.unwrap();
        let last = history.last().unwrap();
        assert_eq!(
            (last.what.as_str(), last.by(), last.note()),
            ("completed", b"ada".to_vec(), Some(b"canary-why".to_vec()))
        );
    }
    store.close().unwrap();
}

/// Somebody else came between the look and the decision.
#[test]
fn a_decision_is_about_what_was_seen_and_nothing_else() {
    let (_dir, store, mut client) = allowed();
    let dry = Decision { dry_run: true, ..decision(Verb::Forget, &["parked", "retry", "orphan", "done"]) };
    let looked = decide(&mut client, &dry);
    let seen = |at: usize| looked[at].seen.clone();
    assert_eq!(seen(0).unwrap().state, State::Parked);
    // Another reviewer completes the first, and the second is claimed and parked again.
    decide(&mut client, &decision(Verb::Complete, &["parked"]));
    decide(&mut client, &decision(Verb::Forget, &["retry"]));
    let shop = store.namespace("shop").unwrap();
    let again = shop.claim_default("canary-key-retry").unwrap().claimed().unwrap();
    again.fail(claimstore::Failure::park("again")).unwrap();
    let with_seen = |verb: Verb, names: &[&str], seen: Vec<Option<Seen>>| {
        let mut decision = decision(verb, names);
        for (target, seen) in decision.targets.iter_mut().zip(seen) {
            target.seen = seen;
        }
        decision
    };
    let stale = with_seen(Verb::Forget, &["parked", "retry"], vec![seen(0), seen(1)]);
    assert_eq!(kinds(&decide(&mut client, &stale)), [Some(RefusalKind::Busy); 2]);
    let parked = with_seen(Verb::Requeue, &["retry"], vec![seen(1)]);
    assert_eq!(kinds(&decide(&mut client, &parked)), [Some(RefusalKind::Busy)]);
    assert_eq!(record(&mut client, "parked").unwrap().state, State::Completed);
    assert_eq!(record(&mut client, "retry").unwrap().state, State::Parked);
    let fresh = with_seen(Verb::Forget, &["orphan", "done"], vec![seen(2), seen(3)]);
    assert_eq!(kinds(&decide(&mut client, &fresh)), [None, None]);
    store.close().unwrap();
}

#[test]
fn a_dry_run_changes_nothing() {
    let (_dir, store, mut client) = allowed();
    let names = ["done", "failed", "retry", "parked", "orphan", "held"];
    let before: Vec<_> = names.map(|name| record(&mut client, name)).into();
    for verb in [Verb::Requeue, Verb::Release, Verb::Complete, Verb::Fail, Verb::Forget] {
        let dry = Decision { dry_run: true, force: true, ..decision(verb, &names) };
        let looked = decide(&mut client, &dry);
        assert!(looked.iter().all(|verdict| verdict.seen.is_some()));
    }
    let after: Vec<_> = names.map(|name| record(&mut client, name)).into();
    assert_eq!(before, after);
    store.close().unwrap();
}

#[test]
fn what_is_wrong_with_a_decision_is_said_without_quoting_it() {
    let (_dir, store, mut client) = allowed();
    let refused = |client: &mut Client, decision: Decision| match client.ask(&Request::Decide(decision)) {
        Err(AskError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let many = Decision { targets: vec![about("done"); 101], ..decision(Verb::Forget, &[]) };
    assert!(refused(&mut client, many).message.contains("at most 100 keys"));
    let target = |namespace: &str, key: Key| Target { namespace: namespace.into(), key, seen: None };
    let decision = Decision {
        targets: vec![
            target("shop", Key::Hex("canary".into())),
            target("canary-space", Key::new(b"canary")),
            target("shop", Key::new(b"")),
            target("shop", Key::Label("canary".into())),
            target("shop", Key::Label("000000000000+5B".into())),
            about("done"),
        ],
        ..decision(Verb::Forget, &[])
    };
    let verdicts = decide(&mut client, &decision);
    let expected = [
        Some(RefusalKind::Usage),
        Some(RefusalKind::NotFound),
        Some(RefusalKind::Usage),
        Some(RefusalKind::Usage),
        Some(RefusalKind::NotFound),
        None,
    ];
    assert_eq!(kinds(&verdicts), expected);
    assert_eq!((verdicts[4].key_hash.as_str(), verdicts[4].key_bytes), ("000000000000", 5));
    let messages = verdicts.iter().filter_map(|verdict| Some(verdict.refused.as_ref()?.message.clone()));
    assert!(messages.filter(|message| message.contains("canary")).all(|said| said.contains("canary-space")));
    assert!(!format!("{decision:?} {verdicts:?}").contains("canary-key"));
    store.close().unwrap();
}

#[test]
fn a_response_may_be_large_where_decisions_are_allowed() {
    let (_dir, store, mut client) = allowed();
    for (size, byte) in [(1 << 20, 0_u8), (1 << 20, b'r'), ((1 << 20) - 1, 0xff)] {
        let response = Response::new(&vec![byte; size]);
        let verdicts = decide(&mut client, &Decision { response, ..decision(Verb::Complete, &["parked"]) });
        assert_eq!(kinds(&verdicts), [None]);
        let view = record(&mut client, "parked").unwrap();
        assert_eq!(view.response_bytes, size);
        decide(&mut client, &decision(Verb::Forget, &["parked"]));
        let shop = store.namespace("shop").unwrap();
        let lease = shop.claim_default("canary-key-parked").unwrap().claimed().unwrap();
        lease.fail(claimstore::Failure::park("")).unwrap();
    }
    let response = Response::new(&vec![b'r'; (1 << 20) + 1]);
    let verdicts = decide(&mut client, &Decision { response, ..decision(Verb::Complete, &["parked"]) });
    assert_eq!(kinds(&verdicts), [Some(RefusalKind::Usage)]);
    store.close().unwrap();
}

/// Names of what a listing of the decidable shows.
fn decidable(
    client: &mut Client,
    verb: Verb,
    force: bool,
    states: &[State],
) -> Result<Vec<String>, RefusalKind> {
    let which = Which::Decidable {
        verb,
        force,
        states: states.to_vec(),
        prefix: "canary-key-".into(),
        older_than_ms: None,
        newer_than_ms: Some(3_600_000),
    };
    let listing =
        Listing { namespace: Some("shop".into()), ..list(which, Show { keys: true, payload: false }) };
    match client.ask(&Request::List(listing)) {
        Ok(Answer::Records { records, .. }) => {
            let names = records.into_iter().map(|view| view.key.unwrap().replace("canary-key-", ""));
            Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
        }
        Err(AskError::Refused(refusal)) => Err(refusal.kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_can_be_decided_about_is_listed_and_what_is_held_is_not() {
    let (_dir, store, mut client) = allowed();
    let check = |client: &mut Client, verb, force, states: &[State], expected: &str| {
        let names = decidable(client, verb, force, states).unwrap();
        assert_eq!(names.join(" "), expected, "{verb:?} {force} {states:?}");
    };
    check(&mut client, Verb::Requeue, false, &[], "parked");
    check(&mut client, Verb::Release, false, &[], "orphan");
    check(&mut client, Verb::Complete, true, &[], "orphan parked");
    check(&mut client, Verb::Fail, false, &[State::Parked], "parked");
    check(&mut client, Verb::Forget, false, &[], "done failed orphan parked retry");
    check(&mut client, Verb::Forget, false, &[State::InProgress], "");
    check(&mut client, Verb::Forget, true, &[State::InProgress], "held");
    check(&mut client, Verb::Forget, true, &[], "done failed held orphan parked retry");
    check(&mut client, Verb::Forget, false, &[State::Retry, State::Failed], "failed retry");
    for (verb, state) in [(Verb::Requeue, State::Orphaned), (Verb::Complete, State::Completed)] {
        assert_eq!(decidable(&mut client, verb, false, &[state]), Err(RefusalKind::Usage));
    }
    store.close().unwrap();
}

#[test]
fn policies_are_set_through_the_socket() {
    let (_dir, store, mut client) = allowed();
    let change = PolicyChange { max_attempts: Some(9), ..PolicyChange::of("shop") };
    let Answer::PolicySet { policy, made } = client.ask(&Request::SetPolicy(change)).unwrap() else {
        panic!()
    };
    assert_eq!((policy.max_attempts, made), (9, false));
    assert_eq!(store.namespace("shop").unwrap().policy().attempts_allowed(), 9);
    store.close().unwrap();
}

#[test]
fn a_backup_is_made_by_the_program_and_never_over_something() {
    let (dir, store, mut client) = allowed();
    let full = dir.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("file"), "x").unwrap();
    let file = full.join("file").join("below");
    let ask = |client: &mut Client, to: Dir| client.ask(&Request::Backup { dir: to, with_key: false });
    for (to, kind) in [
        (Dir::new(&full), RefusalKind::Occupied),
        (Dir::Text("relative".into()), RefusalKind::Usage),
        (Dir::new(&file), RefusalKind::Failed),
    ] {
        match ask(&mut client, to) {
            Err(AskError::Refused(refusal)) => assert_eq!(refusal.kind, kind, "{refusal}"),
            other => panic!("{other:?}"),
        }
    }
    let copy = dir.path().join("copy");
    let Answer::BackedUp { rows } = ask(&mut client, Dir::new(&copy)).unwrap() else { panic!() };
    assert!(rows > 0);
    let restored = Store::open(&copy).unwrap();
    restored.verify().unwrap();
    assert_eq!(restored.parked().count(), 1);
    restored.close().unwrap();
    store.close().unwrap();
}

fn exported(client: &mut Client, namespace: Option<&str>) -> (Vec<String>, Vec<ExportView>, usize) {
    let mut request = Request::Export { namespace: namespace.map(Into::into) };
    let (mut rules, mut records, mut pages) = (Vec::new(), Vec::new(), 0);
    loop {
        let Answer::Exported(page) = client.ask(&request).unwrap() else { panic!() };
        rules.extend(page.rules.into_iter().map(|rules| rules.policy.namespace));
        records.extend(page.records);
        pages += 1;
        if page.is_last {
            return (rules, records, pages);
        }
        request = Request::ExportMore;
    }
}

#[test]
fn an_export_holds_every_record_once_and_ends_its_pages_where_their_bytes_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().open(dir.path()).unwrap();
    for number in 0..20 {
        let lease = store.claim(format!("k{number:02}"), std::time::Duration::from_secs(60)).unwrap();
        lease.claimed().unwrap().complete(vec![b'r'; 700_000]).unwrap();
    }
    drop(store.serve_admin().unwrap().allow_decisions());
    let mut client = Client::connect(dir.path()).unwrap();
    let (rules, records, pages) = exported(&mut client, None);
    let keys: Vec<_> = records.iter().map(|record| record.record.key.clone().unwrap()).collect();
    let distinct: BTreeSet<_> = keys.iter().collect();
    assert_eq!((rules, keys.len(), distinct.len()), (vec![String::new()], 20, 20));
    assert!((4..=7).contains(&pages), "{pages} pages of about 4 MiB");
    // What is left half read goes with the next.
    client.ask(&Request::Export { namespace: None }).unwrap();
    assert_eq!(exported(&mut client, Some("")).1.len(), 20);
    assert!(client.ask(&Request::ExportMore).is_err(), "after the last page there is none");
    let nowhere = client.ask(&Request::Export { namespace: Some("nowhere".into()) });
    assert!(matches!(nowhere, Err(AskError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound));
    // An export that nobody reads on keeps no store open.
    client.ask(&Request::Export { namespace: None }).unwrap();
    store.close().unwrap();
    Store::open(dir.path()).unwrap().close().unwrap();
}
