//! P18 for every public type there is: the list of types comes from the sources, so that a new one cannot be forgotten.
//!
//! Each public type of the libraries is either shown here, as a value that holds telltales wherever it can hold bytes, or
//! stands in [`HOLD_NOTHING`] with the reason why there is nothing to tell. The second kind must look so in the source
//! too: a type that derives `Debug` around bytes or text does not pass for it.

mod types;

use claimstore::io::{MemoryStorage, Storage};
use claimstore::{
    Claim, ClaimRequest, Claims, Durability, Error, Failure, FieldDigests, Filter, Fingerprint,
    Fingerprinter, Import, Lease, Namespace, Note, Once, OnceError, Options, Policy, PositionClaim, Review,
    SettleError, Store, Transacted,
};
use claimstore_admin::{
    Answer, AskError, Client, Decision, Dir, Export, Key, Listing, Refusal, RefusalKind, Request, Response,
    ServeAdmin as _, Served, Show, Target, Verb, Which, answer,
};
use claimstore_core::Pending;
use claimstore_core::backend::{self, Settlement};
use claimstore_core::claim::FailureClass;
use claimstore_core::codec::{self, Cursor, Malformed, RawRecord};
use claimstore_core::decide::{Ending, Wanted, claimed as claimed_record};
use claimstore_core::key_bytes::KeyBytes;
use claimstore_hash::{
    CompositeKey, DerivedKey, HttpBody, HttpRequest, HttpRules, JsonRules, KeyPart, KeyQuality, PayloadError,
    Sealer, UlidMinter, UuidV7Minter, canonical_json, composite_parts, parse_ulid,
};
use claimstore_recovery::steps::{Step, StepError, Steps, UndoError};
use claimstore_recovery::{Events, Orphan, OrphanPolicy, Recovery, Resolution, ReviewQueue, StepList};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::{Type, holds_bytes, public_types, types_of, unwatched_libraries};

const CANARY: &str = "canary-7f3a91";
const DAY: Duration = Duration::from_secs(86_400);
/// Public types with nothing in them that P18 is about, and why.
const HOLD_NOTHING: [(&str, &[&str], &str); 11] = [
    (
        "claimstore",
        &[
            "Bucket",
            "Census",
            "DuplicateRate",
            "Durability",
            "Imported",
            "OpenMode",
            "Outcomes",
            "Pruned",
            "Quantiles",
            "Report",
            "Stats",
        ],
        "numbers, times and words of our own",
    ),
    (
        "claimstore-core",
        &[
            "Asked",
            "Base",
            "ChangeOf",
            "ClockOf",
            "Decision",
            "Durable",
            "ErrorKind",
            "Happened",
            "Hold",
            "Now",
            "Numbers",
            "OnDrop",
            "OnOrphan",
            "Orphaned",
            "Promises",
            "RecordState",
            "Repeats",
            "State",
            "Tally",
            "TimeOrdered",
        ],
        "numbers, times and words of our own",
    ),
    ("claimstore-core", &["FileFault"], "the name of a file of the store, an offset, an error of the system"),
    (
        "claimstore",
        &["ManualClock", "SystemClock", "SystemEntropy"],
        "readings of clocks; nothing of a caller's",
    ),
    (
        "claimstore",
        &["DirStorage", "Kernel", "Locking", "Opening", "Running", "Status"],
        "the path of the store, which is the program's choice and in no key's place, and system calls without their bytes",
    ),
    (
        "claimstore-hash",
        &["Case", "Characters", "Doubt", "Finding", "Grain", "KeySpec", "Match"],
        "rules and counts",
    ),
    ("claimstore-hash", &["FieldsError"], "places and lengths"),
    (
        "claimstore-hash",
        &["FormRules", "PointerError"],
        "names of fields that the program chose, as they stand in its source",
    ),
    ("claimstore-recovery", &["Counts", "Outcome", "Reason"], "numbers and words of our own"),
    (
        "claimstore-admin",
        &[
            "BackoffView",
            "BucketView",
            "CensusView",
            "Live",
            "Numbers",
            "OrphanRule",
            "OutcomesView",
            "QuantilesView",
            "QuotaView",
            "RefusalKind",
            "Seen",
            "Served",
            "TallyView",
            "Show",
            "State",
            "Verb",
        ],
        "numbers, words of our own and names of policies",
    ),
    (
        "claimstore-admin",
        &["PolicyChange", "PolicyView", "RulesView"],
        "the name of a namespace and its rules, which the program chose",
    ),
];

/// Types of [`HOLD_NOTHING`] that hold text all the same: its reason says whose.
const HOLD_CHOSEN_TEXT: [&str; 9] = [
    "DirStorage",
    "FormRules",
    "Live",
    "OutcomesView",
    "PointerError",
    "PolicyChange",
    "PolicyView",
    "RulesView",
    // A token in digits, and a word.
    "Seen",
];

/// Types that are shown and derive `Debug` around text, with whose text it is. None of it is a key, a payload, a response or a
/// fingerprint: those stand in types of their own.
const SHOW_CHOSEN_TEXT: [&str; 13] = [
    // A label, a metrics name, names of headers and of steps, the path of a copy: the program chose them.
    "Options",
    "Policy",
    "HttpRules",
    "UndoError",
    "Dir",
    // Words of our own.
    "Malformed",
    "PayloadError",
    // The short name of a key, which stands where the key must not.
    "KeyLabel",
    "Verdict",
    // Names of namespaces, words of our own, and cursors, which are digests.
    "Target",
    "Refusal",
    "Request",
    "Answer",
];

/// Everything that was shown, by the type it was shown of.
#[derive(Default, Clone)]
struct Shown {
    texts: Arc<Mutex<BTreeMap<String, String>>>,
    /// Bytes that must not be in any of them, beside the telltale.
    secrets: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Shown {
    fn of<T: Debug + ?Sized>(&self, value: &T) {
        let name = std::any::type_name::<T>();
        let path = name.split('<').next().unwrap();
        let parts: Vec<&str> = path.split("::").collect();
        let key = format!("{}/{}", parts[0].replace('_', "-"), parts[parts.len() - 1]);
        let mut texts = self.texts.lock().unwrap();
        write!(texts.entry(key).or_default(), "{value:?}\n{value:#?}\n").unwrap();
    }

    fn error<E: std::error::Error>(&self, error: &E) {
        self.of(error);
        let mut texts = self.texts.lock().unwrap();
        let text = texts.entry("errors".to_owned()).or_default();
        writeln!(text, "{error}").unwrap();
        let mut source = error.source();
        while let Some(inner) = source {
            write!(text, "{inner}\n{inner:?}\n").unwrap();
            source = inner.source();
        }
    }

    fn secret(&self, bytes: impl AsRef<[u8]>) {
        self.secrets.lock().unwrap().push(bytes.as_ref().to_vec());
    }

    /// As text, in hex digits, as a list of numbers; the first bytes are enough.
    fn check(&self) {
        let mut secrets = self.secrets.lock().unwrap().clone();
        secrets.push(CANARY.as_bytes().to_vec());
        for (of, text) in &*self.texts.lock().unwrap() {
            for secret in &secrets {
                let start = &secret[..secret.len().min(8)];
                let hex = start.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
                let list =
                    |between: &str| start.iter().map(ToString::to_string).collect::<Vec<_>>().join(between);
                let indented = text.split_whitespace().collect::<String>();
                let forms = [
                    String::from_utf8_lossy(start).into_owned(),
                    hex.clone(),
                    hex.to_uppercase(),
                    list(", "),
                ];
                for form in forms {
                    assert!(!text.contains(&form), "{of} shows {form}:\n{text}");
                }
                assert!(!indented.contains(&list(",")), "{of} shows {start:?}:\n{text}");
            }
        }
    }
}

fn canary(part: &str) -> String {
    format!("{CANARY}-{part}")
}

fn digest() -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..CANARY.len()].copy_from_slice(CANARY.as_bytes());
    digest
}

fn request(key: &str) -> ClaimRequest {
    ClaimRequest::new(canary(key)).ttl(DAY).origin(canary("origin")).fingerprint(digest())
}

fn claimed(answer: Result<Claim, Error>) -> Lease {
    answer.unwrap().claimed().unwrap()
}

fn of_the_store(shown: &Shown) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().durability(Durability::Sync).background(false);
    shown.of(&options);
    let store = options.open(dir.path()).unwrap();
    shown.of(&store);
    shown.of(&store.downgrade());
    let space = store.namespace_with("space", Policy::daily()).unwrap();
    shown.of(&space);
    shown.of(&space.policy());
    shown.of(&request("key"));
    shown.of(&Import::completed(canary("key"), canary("response"))
        .origin(canary("origin"))
        .fingerprint(digest()));
    shown.of(&Failure::terminal(canary("response")));
    shown.of(&Failure::retry().because(canary("why")));
    shown.of(&Review::Complete(canary("response").into_bytes()));
    shown.of(&Note::new(canary("by"), canary("why")));
    shown.of(&Filter::new().prefix(canary("key")));
    leases_and_answers(shown, &store, &space);
    rows(shown, &store, &space);
    futures(shown, &store, &space);
    positions(shown, &store);
    drop(claimed(space.claim_with(&request("orphan"))));
    claimed(space.claim_with(&request("parked"))).fail(Failure::park(canary("why"))).unwrap();
    for record in store.scan(Filter::new()) {
        let record = record.unwrap();
        shown.of(&record);
        record.history().iter().for_each(|past| shown.of(past));
    }
    let mut records = store.scan(Filter::new());
    drop(records.next());
    shown.of(&records);
    let mut unheld = store.unheld();
    drop(unheld.next());
    shown.of(&unheld);
    let watch = store.watch_orphans().unwrap();
    shown.of(&watch);
    let storage = MemoryStorage::new();
    storage
        .open(&canary("file"), claimstore::io::OpenMode::CreateNew)
        .unwrap()
        .write_all_at(CANARY.as_bytes(), 0)
        .unwrap();
    // The names in it are the store's own, and no caller's bytes; the bytes are.
    let bytes = MemoryStorage::new();
    let file = bytes.open("file", claimstore::io::OpenMode::CreateNew).unwrap();
    file.write_all_at(CANARY.as_bytes(), 0).unwrap();
    shown.of(&bytes);
    drop(watch);
    store.close().unwrap();
}

fn leases_and_answers(shown: &Shown, store: &Store, space: &Namespace) {
    let mut lease = claimed(space.claim_with(&request("lease")));
    lease.save_progress(canary("progress")).unwrap();
    shown.of(&lease);
    shown.secret(lease.child_key("step"));
    let held = space.claim_with(&request("lease")).unwrap();
    shown.of(&held);
    let Claim::InProgress(holder) = held else { panic!("held") };
    shown.of(&holder);
    let refused = lease.complete(canary("response").repeat(200_000)).unwrap_err();
    shown.error(&refused);
    let lease = refused.into_parts().1.unwrap();
    let token = lease.into_token();
    shown.of(&token);
    let lease = store.resume(token).unwrap();
    lease.complete(canary("response")).unwrap();
    let Claim::Duplicate(receipt) = space.claim_with(&request("lease")).unwrap() else { panic!("done") };
    shown.of(&receipt);
    shown.of(&Claim::Duplicate(receipt.clone()));
    shown.of(&Once::Ran(canary("response").into_bytes()));
    shown.of(&Once::Replayed(receipt.clone()));
    shown.of(&Once::InProgress(holder));
    shown.of(&Transacted::Done(canary("response").into_bytes()));
    shown.of(&Transacted::Duplicate(receipt));
    shown.of(&Transacted::InProgress(holder));
    let error: SettleError =
        claimed(space.claim_with(&request("not-stored"))).complete(vec![0; 2 << 20]).unwrap_err();
    shown.of(&OnceError::<Error>::NotStored { response: canary("response").into_bytes(), error });
    shown.of(&OnceError::Work(Error::caller(canary("work"))));
    let mismatch = space.claim_with(&request("lease").fingerprint([9; 32])).unwrap_err();
    shown.error(&mismatch);
    shown.of(&OnceError::<Error>::Store(mismatch));
    let other = Store::in_memory().unwrap();
    let foreign = vec![(claimed(other.claim_with(&request("foreign"))), canary("response").into_bytes())];
    shown.error(&store.complete_many(foreign).unwrap_err());
}

fn rows(shown: &Shown, store: &Store, space: &Namespace) {
    let done = space.transact(&request("rows"), |tx| {
        let mut table = tx.table("table")?;
        table.insert(canary("row"), canary("value"))?;
        shown.of(tx);
        shown.of(&table);
        shown.of(&table.range(..));
        Ok(canary("response").into_bytes())
    });
    shown.of(&done.unwrap());
    let table = store.table("table").unwrap();
    shown.of(&table);
    let mut rows = table.range(..).unwrap();
    drop(rows.next());
    shown.of(&rows);
}

fn futures(shown: &Shown, store: &Store, space: &Namespace) {
    shown.of(&space.claim_async(&request("future")));
    shown.of(&space.claim_many_async(&[request("future")]));
    shown.of(&space.claim_or_wait_async(&request("future"), DAY));
    shown.of(&claimed(space.claim_with(&request("settled"))).complete_async(canary("response")));
    shown.of(&claimed(space.claim_with(&request("detached"))).detach_async(DAY));
    shown.of(&space.transact_async(&request("future"), |_| Ok(canary("response").into_bytes())));
    let held = claimed(space.claim_with(&request("kept")));
    shown.of(&held.keep_alive(DAY));
    shown.of(&held.complete_in_async(|_| Ok(canary("response").into_bytes())));
    let batch = vec![(claimed(space.claim_with(&request("batch"))), canary("response").into_bytes())];
    shown.of(&store.complete_many_async(batch));
    shown.of(&space.get_async(canary("lease")));
    shown.of(&store.namespace_async("space"));
    shown.of(&store.prune_async());
}

fn positions(shown: &Shown, store: &Store) {
    let stream = store.sequence(canary("stream")).unwrap();
    shown.of(&stream);
    let granted = stream.claim(0).unwrap();
    shown.of(&granted);
    let PositionClaim::Claimed(lease) = granted else { panic!("a new stream") };
    shown.of(&lease);
    shown.secret(lease.child_key("step"));
    let again = store.sequence(canary("stream")).unwrap().lease(Duration::from_millis(1)).unwrap();
    let PositionClaim::Claimed(lapsing) = again.claim(1).unwrap() else { panic!("another position") };
    std::thread::sleep(Duration::from_millis(5));
    drop(again.claim(1).unwrap());
    shown.error(&lapsing.complete().unwrap_err());
}

/// What a backend handles: records and what they are made of.
fn of_core(shown: &Shown) {
    let (text, request) = (canary("text"), request("key"));
    let parts = request.parts();
    shown.of(&parts);
    shown.of(&KeyBytes::from(parts.key));
    shown.of(&Policy::new().identify(parts.key).unwrap());
    let fingerprint = codec::Fingerprint::from(&Fingerprint::from(digest()));
    shown.of(&fingerprint);
    let wanted = Wanted {
        ttl_ms: 1,
        lease_ms: 1,
        fingerprint: Some(fingerprint),
        fields: text.as_bytes(),
        origin: parts.origin,
        key_time_ms: None,
    };
    shown.of(&wanted);
    let record =
        codec::Record { body: text.as_bytes().into(), ..claimed_record(None, None, 1, &wanted, 7, 9) };
    shown.of(&record);
    shown.of(&**record.extra.as_ref().unwrap());
    let class = Failure::terminal(&text).class().clone();
    shown.of::<FailureClass>(&class);
    shown.of(&Ending::Fail(&class));
    shown.of(&Ending::Complete(text.as_bytes()));
    let mut bytes = Vec::new();
    record.encode(&codec::Base::default(), &mut bytes);
    let mut cursor = Cursor::new(&bytes);
    shown.of(&cursor);
    shown.of(&RawRecord::read(&bytes, &codec::Base::default()).unwrap());
    let Err(malformed) = cursor.take(9_999, "the part") else { panic!("too short") };
    shown.of::<Malformed>(&malformed);
}

/// The store as any backend, and the leases of that kind.
fn of_any_backend(shown: &Shown) {
    let store = Store::in_memory().unwrap();
    let claims = Claims::from(&store).namespace(&canary("space"));
    shown.of(&claims);
    let asked = claims.claim_with(request("key"));
    shown.of(&asked);
    let claim = asked.wait().unwrap();
    shown.of(&claim);
    let mut lease = claim.claimed().unwrap();
    lease.save_progress(canary("progress")).wait().unwrap();
    shown.of(&lease);
    shown.of(lease.held());
    let refused = lease.complete(vec![b'x'; 2 << 20]).wait().unwrap_err();
    shown.of(&refused);
    shown.error(&refused);
    let other = Claims::from(&Store::in_memory().unwrap());
    let refused =
        other.complete_many(vec![(refused.into_parts().1.unwrap(), canary("response").into_bytes())]);
    let refused = refused.wait().unwrap_err();
    shown.of(&refused);
    shown.error(&refused);
    let (grant, _) = refused.into_parts().1.remove(0).0.into_grant();
    shown.of(&grant);
    shown.of(&backend::Answer::Claimed(grant.clone()));
    for settlement in [
        Settlement::Complete(canary("response").into_bytes()),
        Settlement::Fail(Failure::terminal(canary("failure"))),
        Settlement::Release,
    ] {
        shown.of(&settlement);
    }
    let held = grant.held.clone();
    claims
        .backend()
        .settle(vec![(held, Settlement::Complete(canary("response").into_bytes()))])
        .wait()
        .unwrap();
    let done = claims.claim_with(request("key")).wait().unwrap();
    shown.of(&done);
    shown.of(&claims.scan(Filter::new().prefix(canary("key"))));
    let large = claims.once(request("large"), async |_: &claimstore_core::Lease| {
        Ok::<_, Error>(canary("response").repeat(200_000).into_bytes())
    });
    shown.of(&Pending::new(large).wait().unwrap_err());
    let again = claims.once(request("key"), async |_: &claimstore_core::Lease| Ok::<_, Error>(Vec::new()));
    shown.of(&Pending::new(again).wait().unwrap());
    shown.of(&claimstore_core::Once::Ran(canary("response").into_bytes()));
}

fn of_hashes(shown: &Shown) {
    let maker = Fingerprinter::with_key(digest());
    shown.of(&maker);
    let fingerprint = Fingerprint::from(digest());
    shown.of(&fingerprint);
    let sealer = Sealer::new(&digest());
    shown.of(&sealer);
    shown.secret(sealer.id());
    shown.secret(&sealer.seal(CANARY.as_bytes()).to_bytes()[8..]);
    shown.of(&sealer.seal(CANARY.as_bytes()));
    shown.secret(maker.raw(CANARY).to_bytes());
    shown.of(&maker.raw(CANARY));
    let mut stream = maker.raw_stream();
    stream.update(CANARY);
    shown.of(&stream);
    let text = format!("{{\"{CANARY}\":\"{CANARY}\"}}");
    let (_, fields) = maker.json_with_fields(&JsonRules::new(), text.as_bytes()).unwrap();
    shown.secret(&fields.to_bytes()[8..]);
    shown.of::<FieldDigests>(&fields);
    shown.of(&CompositeKey::new().part(CANARY));
    shown.of(&DerivedKey::new(CANARY).field("name", CANARY));
    shown.of(&KeyPart::from(CANARY));
    let mut quality = KeyQuality::new(9);
    quality.observe(CANARY, Some(&fingerprint));
    shown.of(&quality);
    let http = HttpRequest::new("POST", CANARY).query(CANARY).header("name", CANARY).body(CANARY);
    shown.of(&http);
    shown.of(&HttpRules::new().body(HttpBody::Json(JsonRules::new())));
    shown.of(&HttpBody::Raw);
    shown.of(&JsonRules::new());
    let refused: PayloadError = canonical_json(&JsonRules::new(), CANARY.as_bytes()).unwrap_err();
    shown.error(&refused);
    shown.error(&composite_parts(format!("{CANARY}\\x").as_bytes()).unwrap_err());
    shown.error(&parse_ulid(CANARY.as_bytes()).unwrap_err());
    let (mut uuids, mut ulids) = (UuidV7Minter::new(), UlidMinter::new());
    let id = uuids.mint(1_800_000_000_000, [0xc5; 10]).unwrap();
    shown.secret([0xc5; 8]);
    shown.of(&id);
    ulids.mint(1_800_000_000_000, [0xc5; 10]).unwrap();
    shown.of(&uuids);
    shown.of(&ulids);
}

fn of_recovery(shown: &Shown) {
    let store = Store::in_memory().unwrap();
    let policy = OrphanPolicy::fail(canary("response"));
    shown.of(&policy);
    let orphan = |key: &str| {
        let mut lease = claimed(store.claim_with(&request(key)));
        lease.save_progress(canary("progress")).unwrap();
    };
    orphan("one");
    let events = Events::new();
    let seen = shown.clone();
    events.subscribe(move |event| seen.of(event));
    let asked = shown.clone();
    let resolver = move |orphan: &Orphan| {
        asked.of(orphan);
        let answer = Resolution::Failed(canary("response").into_bytes());
        asked.of(&answer);
        answer
    };
    let recovery = Recovery::new(&store).policy(OrphanPolicy::resolve()).resolver(resolver).events(&events);
    shown.of(&recovery);
    shown.of(&recovery.run().unwrap());
    shown.of(&events);
    claimed(store.claim_with(&request("parked"))).fail(Failure::park(canary("why"))).unwrap();
    let queue = ReviewQueue::new(&store);
    shown.of(&queue);
    let mut keys = queue.list();
    shown.of(&keys.next().unwrap().unwrap());
    shown.of(&keys);
    let reaper = Recovery::new(&store).policy(policy).spawn().unwrap();
    shown.of(&reaper);
    reaper.stop();
    steps(shown, &store);
    store.close().unwrap();
}

fn steps(shown: &Shown, store: &Store) {
    let mut lease = claimed(store.claim_with(&request("steps")));
    let mut steps = Steps::begin(&mut lease, &["one", "two"]).unwrap();
    let work = |step: &Step| {
        shown.secret(step.key());
        shown.of(step);
        Ok::<_, Error>(canary("output").into_bytes())
    };
    steps.run("one", work).unwrap();
    let failed: StepError<Error> = steps.run("two", |_| Err(Error::caller(canary("why")))).unwrap_err();
    shown.of(&failed);
    shown.of(&steps);
    shown.of(&UndoError::InProgress("one".into()));
    drop(steps);
    let list = StepList::decode(lease.progress().unwrap()).unwrap();
    shown.of(&list);
    list.iter().for_each(|(_, stage)| shown.of(stage));
}

fn of_admin(shown: &Shown) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    claimed(store.claim_with(&request("done"))).complete(canary("response")).unwrap();
    claimed(store.claim_with(&request("retry"))).fail(Failure::retry().because(canary("why"))).unwrap();
    claimed(store.claim_with(&request("parked"))).fail(Failure::park(canary("why"))).unwrap();
    let admin = store.serve_admin().unwrap();
    shown.of(&admin);
    let mut client = Client::connect(dir.path()).unwrap();
    let show = Show { keys: true, payload: true };
    let which = Which::Records {
        states: Vec::new(),
        prefix: CANARY.into(),
        older_than_ms: None,
        newer_than_ms: None,
    };
    shown.of(&which);
    // One of three: the cursor of the others is made of a key.
    let listing = Listing { which, namespace: None, limit: 1, after: None, show };
    let page = client.ask(&Request::List(listing.clone())).unwrap();
    shown.of(&page);
    let Answer::Records { records, next, .. } = page else { panic!("a page") };
    assert!(next.is_some(), "more than a page");
    records.iter().for_each(|record| shown.of(record));
    let listing = Listing { after: next, ..listing };
    shown.of(&listing);
    shown.of(&Request::List(listing));
    let key = Key::new(canary("retry").as_bytes());
    shown.of(&key);
    let get = Request::Get { namespace: String::new(), key, show, history: true };
    shown.of(&get);
    let got = answer(&store, &get, Served::Live).unwrap();
    shown.of(&got);
    let Answer::Record { record, .. } = got else { panic!("a record") };
    record.history.iter().flatten().for_each(|past| shown.of(past));
    let missing =
        Request::Get { namespace: String::new(), key: Key::new(CANARY.as_bytes()), show, history: true };
    let refused = client.ask(&missing).unwrap_err();
    shown.error(&refused);
    decisions(shown, &store);
    let AskError::Refused(refusal) = refused else { panic!("refused") };
    assert_eq!(refusal.kind, RefusalKind::NotFound);
    shown.of::<Refusal>(&refusal);
    shown.of(&client);
    store.close().unwrap();
}

fn decisions(shown: &Shown, store: &Store) {
    let key = canary("parked");
    let target = Target { namespace: String::new(), key: Key::new(key.as_bytes()), seen: None };
    shown.of(&target);
    let response = Response::new(canary("response").as_bytes());
    shown.of(&response);
    shown.of(&claimstore_hash::key_label(&key));
    let decision = Decision {
        verb: Verb::Complete,
        targets: vec![target],
        by: canary("by"),
        why: canary("why"),
        response,
        force: false,
        dry_run: false,
    };
    shown.of(&decision);
    let decided = Request::Decide(decision);
    shown.of(&decided);
    let done = answer(store, &decided, Served::Live).unwrap();
    shown.of(&done);
    let Answer::Decided { verdicts } = done else { panic!("verdicts") };
    verdicts.iter().for_each(|verdict| shown.of(verdict));
    let mut export = Export::new(store, None).unwrap();
    let page = export.page().unwrap();
    shown.of(&export);
    shown.of(&page);
    page.records.iter().for_each(|record| shown.of(record));
    page.records.iter().filter_map(|record| record.fingerprint.as_ref()).for_each(|it| shown.of(it));
    // The copy's place is the caller's choice, and in no key's place.
    shown.of(&Dir::new(Path::new("/copy")));
}

#[test]
fn p18_no_public_type_shows_what_it_holds() {
    let shown = Shown::default();
    of_the_store(&shown);
    of_core(&shown);
    of_any_backend(&shown);
    of_hashes(&shown);
    of_recovery(&shown);
    of_admin(&shown);
    shown.check();
    let names: BTreeSet<String> = shown.texts.lock().unwrap().keys().cloned().collect();
    let excused: BTreeSet<String> = HOLD_NOTHING
        .iter()
        .flat_map(|(of, types, _)| types.iter().map(move |name| format!("{of}/{name}")))
        .collect();
    let types = public_types();
    assert!(types.len() > 120, "the sources were read: {}", types.len());
    let mut wrong = Vec::new();
    for Type { of, name, derives_debug, body } in &types {
        let full = format!("{of}/{name}");
        if names.contains(&full) {
            // The values that are shown may be those that hold nothing.
            if *derives_debug && holds_bytes(body) && !SHOW_CHOSEN_TEXT.contains(&name.as_str()) {
                wrong.push(format!("{full} is shown and derives Debug around bytes:\n{body}"));
            }
            continue;
        }
        if !excused.contains(&full) {
            wrong.push(format!("{full} is neither shown here nor listed as holding nothing"));
        } else if *derives_debug && holds_bytes(body) && !HOLD_CHOSEN_TEXT.contains(&name.as_str()) {
            wrong
                .push(format!("{full} is listed as holding nothing and derives Debug around bytes:\n{body}"));
        }
    }
    let known: BTreeSet<String> = types.iter().map(|known| format!("{}/{}", known.of, known.name)).collect();
    wrong.extend(excused.difference(&known).map(|gone| format!("{gone} is listed and is no type any more")));
    wrong.extend(excused.intersection(&names).map(|both| format!("{both} is listed and shown")));
    wrong.extend(unwatched_libraries().iter().map(|of| format!("the types of {of} are shown nowhere")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The control: the list notices what it is for.
#[test]
fn a_type_that_derives_debug_around_bytes_is_noticed() {
    let check = |source: &str, expected: (&str, bool, bool)| {
        let found = types_of(source, "crate");
        let [one] = found.as_slice() else { panic!("{source}: {}", found.len()) };
        assert_eq!((&*one.name, one.derives_debug, holds_bytes(&one.body)), expected, "{source}");
    };
    check("#[derive(Debug)]\npub struct A {\n    b: Vec<u8>,\n}", ("A", true, true));
    check(
        "/// Doc.\n#[derive(Clone, Debug)]\n#[must_use]\npub enum A<'a> {\n    B(&'a [u8]),\n    C,\n}",
        ("A", true, true),
    );
    check("#[derive(Debug)]\npub struct A(String);", ("A", true, true));
    check("#[derive(Debug)]\npub struct A {\n    key: [u8; 32],\n}", ("A", true, true));
    check("#[derive(\n    Debug,\n    Clone)]\npub struct A;\n", ("A", true, false));
    check("#[derive(Debug)]\npub struct A {\n    b: u64, // not a String\n}", ("A", true, false));
    check("/// No `Debug`.\n#[derive(Clone)]\npub struct A {\n    b: Vec<u8>,\n}", ("A", false, true));
    check("#[derive(Clone)]\npub struct A {\n    b: Vec<u8>,\n}", ("A", false, true));
    assert!(types_of("pub(crate) struct A;\nstruct B;\npub fn c() {}", "crate").is_empty());
    let shown = Shown::default();
    shown.of(&CANARY);
    assert!(std::panic::catch_unwind(|| shown.check()).is_err(), "a telltale is found");
}
