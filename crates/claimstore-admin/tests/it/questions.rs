//! Every request, over the socket and in process: the same answer.

use crate::watch::this_test;
use claimstore::{ClaimRequest, Failure, Policy, Store};
use claimstore_admin::{
    Answer, AskError, Client, Key, Listing, RecordView, RefusalKind, Request, ServeAdmin as _, Served, Show,
    State, Which, answer,
};
use std::time::Duration;
use tempfile::TempDir;

/// One key in each state, in the namespace `shop`; the store is served.
pub(crate) fn filled() -> (TempDir, Store, Client) {
    this_test();
    let (dir, store) = unserved();
    drop(store.serve_admin().unwrap());
    let client = Client::connect(dir.path()).unwrap();
    (dir, store, client)
}

/// The same, not served.
pub(crate) fn unserved() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let shop = store.namespace_with("shop", Policy::daily().metrics_name("orders")).unwrap();
    let claim = |name: &str| {
        let request = ClaimRequest::new(format!("canary-key-{name}")).origin("canary-origin");
        shop.claim_with(&request).unwrap().claimed().unwrap()
    };
    claim("done").complete("canary-response").unwrap();
    claim("failed").fail(Failure::terminal("canary-failure")).unwrap();
    let later = Failure::retry_after(Duration::from_secs(3_600)).because("canary-error");
    claim("retry").fail(later).unwrap();
    claim("parked").fail(Failure::park("canary-note")).unwrap();
    let mut orphan = claim("orphan");
    orphan.save_progress(b"canary-progress\xff").unwrap();
    drop(orphan);
    drop(claim("held").into_token());
    (dir, store)
}

pub(crate) fn get(name: &str, show: Show) -> Request {
    let key = Key::new(format!("canary-key-{name}").as_bytes());
    Request::Get { namespace: "shop".into(), key, show, history: true }
}

pub(crate) fn list(which: Which, show: Show) -> Listing {
    Listing { which, namespace: None, limit: 100, after: None, show }
}

pub(crate) fn all() -> Which {
    Which::Records { states: Vec::new(), prefix: String::new(), older_than_ms: None, newer_than_ms: None }
}

fn without_time(answer: Answer) -> Answer {
    match answer {
        Answer::Record { record, .. } => Answer::Record { record, store_time_ms: 0 },
        Answer::Records { records, next, .. } => Answer::Records { records, next, store_time_ms: 0 },
        other => other,
    }
}

#[test]
fn the_socket_answers_as_the_store_does() {
    let (_dir, store, mut client) = filled();
    let show = Show { keys: true, payload: true };
    let states = Which::Records {
        states: vec![State::Parked, State::Retry],
        prefix: "canary-key-p".into(),
        older_than_ms: None,
        newer_than_ms: Some(600_000),
    };
    for request in [
        get("done", Show::default()),
        get("parked", show),
        get("orphan", show),
        Request::List(list(all(), Show::default())),
        Request::List(list(all(), show)),
        Request::List(list(states, show)),
        Request::List(list(Which::Unheld, show)),
        Request::List(list(Which::Stuck { older_than_ms: 0 }, show)),
        Request::Policies { namespace: None },
        Request::Policies { namespace: Some("shop".into()) },
        Request::Prune { dry_run: true },
        Request::Checkpoint,
        Request::Prune { dry_run: false },
        Request::List(list(all(), show)),
    ] {
        let served = client.ask(&request).unwrap();
        let here = answer(&store, &request, Served::Live).unwrap();
        assert_eq!(without_time(served), without_time(here), "{request:?}");
    }
    store.verify().unwrap();
    store.close().unwrap();
}

fn records(answer: Answer) -> (Vec<RecordView>, Option<String>) {
    match answer {
        Answer::Records { records, next, .. } => (records, next),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_tell_of_records_and_of_what_the_store_is_doing() {
    let (_dir, store, mut client) = filled();
    let Answer::Stats { stats } = client.ask(&Request::Stats).unwrap() else { panic!() };
    assert_eq!((stats.completed, stats.failed, stats.retry, stats.parked), (1, 1, 1, 1));
    assert_eq!((stats.in_progress, stats.orphaned, stats.namespaces), (1, 1, 2));
    let live = stats.live.unwrap();
    assert_eq!((live.census.in_progress, live.census.orphaned, live.census.parked), (1, 1, 1));
    assert_eq!(live.total().claimed, 6);
    assert_eq!(live.outcomes.iter().map(|of| of.policy.as_str()).collect::<Vec<_>>(), ["", "orders"]);
    assert!(live.commits > 0 && live.commit_us.count > 0);
    let Answer::Stats { stats } = answer(&store, &Request::Stats, Served::Briefly).unwrap() else { panic!() };
    assert_eq!(stats.live, None, "what this very opening did is of no interest");
    let Answer::Live { live: again } = client.ask(&Request::Live).unwrap() else { panic!() };
    assert_eq!(again.census.parked, live.census.parked);
    store.close().unwrap();
}

#[test]
fn pages_hold_every_record_once_and_end_where_their_bytes_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for number in 0..30 {
        let lease = store.claim(format!("k{number:02}"), Duration::from_secs(60)).unwrap();
        lease.claimed().unwrap().complete(vec![b'r'; 700_000]).unwrap();
    }
    drop(store.serve_admin().unwrap());
    let mut client = Client::connect(dir.path()).unwrap();
    for (show, limit, most) in [
        (Show { keys: true, payload: false }, 7, 7),
        (Show { keys: true, payload: true }, 100, 5),
        (Show { keys: true, payload: false }, 1_000_000, 30),
    ] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let listing = Listing { after, limit, ..list(all(), show) };
            let (page, next) = records(client.ask(&Request::List(listing)).unwrap());
            assert!((1..=most).contains(&page.len()), "{} records", page.len());
            assert!(page.iter().all(|record| record.response.is_some() == show.payload));
            seen.extend(page.into_iter().map(|record| record.key.unwrap()));
            after = next;
            if after.is_none() {
                break;
            }
        }
        seen.sort();
        assert_eq!(seen, (0..30).map(|number| format!("k{number:02}")).collect::<Vec<_>>());
    }
    store.close().unwrap();
}

#[test]
fn what_is_not_there_is_refused_as_such() {
    let (_dir, store, mut client) = filled();
    let refused = |request: &Request, client: &mut Client| match client.ask(request) {
        Err(AskError::Refused(refusal)) => refusal.kind,
        other => panic!("{other:?}"),
    };
    let namespace = Some("nowhere".to_owned());
    for (request, kind) in [
        (get("unknown", Show::default()), RefusalKind::NotFound),
        (Request::Policies { namespace: namespace.clone() }, RefusalKind::NotFound),
        (Request::List(Listing { namespace, ..list(all(), Show::default()) }), RefusalKind::NotFound),
        (
            Request::List(Listing { after: Some("nonsense".into()), ..list(all(), Show::default()) }),
            RefusalKind::Usage,
        ),
    ] {
        assert_eq!(refused(&request, &mut client), kind, "{request:?}");
    }
    assert!(store.namespaces().iter().all(|name| name != "nowhere"), "nothing is made by asking");
    let empty = Request::Get {
        namespace: String::new(),
        key: Key::Text(String::new()),
        show: Show::default(),
        history: false,
    };
    assert_eq!(refused(&empty, &mut client), RefusalKind::Usage);
    assert!(client.ask(&Request::Live).is_ok(), "the connection goes on");
    store.close().unwrap();
}
