//! `claimstore export` and `claimstore import`: what goes out comes in, once.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use claimstore::{Claim, ErrorKind, KeySpec, Policy, RecordState, TimeOrdered};
use serde_json::{Map, Value, json};

use crate::sandbox::{Ran, Sandbox, key, open, payload, run};

/// The store's records by key, as `list` shows them in full, without what an import does not carry over.
fn records(sandbox: &Sandbox, store: &Path) -> Map<String, Value> {
    let ran = sandbox.run_at("list --json --show-keys --show-payload --limit 100000", store);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let listing: Value = serde_json::from_slice(&ran.out).unwrap();
    let record = |record: &Value| {
        let mut record = record.clone();
        for name in ["token", "work_token"] {
            record.as_object_mut().unwrap().remove(name);
        }
        let key = record.get("key").or(record.get("key_hex")).unwrap().as_str().unwrap().to_owned();
        (key, record)
    };
    listing["records"].as_array().unwrap().iter().map(record).collect()
}

pub(crate) fn export(sandbox: &Sandbox, words: &str) -> Vec<u8> {
    let ran = sandbox.run(format!("export {words}").trim_end());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    ran.out
}

pub(crate) fn import_at(sandbox: &Sandbox, words: &str, store: &Path, input: &[u8]) -> Ran {
    let mut command = Sandbox::command_at(format!("import {words}").trim_end(), store);
    run(command.stdin(sandbox.file(input)))
}

/// Imports into the store of the sandbox, and answers what it counted.
pub(crate) fn import(sandbox: &Sandbox, words: &str, input: &[u8], exit: i32) -> (Value, String) {
    let ran = import_at(sandbox, format!("{words} --json").trim_start(), &sandbox.store(), input);
    assert_eq!(ran.code, exit, "{}", ran.err);
    (serde_json::from_slice(&ran.out).unwrap(), ran.err)
}

pub(crate) fn lines(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

#[test]
fn what_was_exported_comes_back_with_times_and_history() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let copy = sandbox.path("copy");
    let ran = import_at(&sandbox, "", &copy, &export(&sandbox, ""));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(
        String::from_utf8(ran.out).unwrap(),
        "6 read, 6 imported (3 of them parked), 0 known before, 0 expired, 0 refused\n"
    );
    let (before, after) = (records(&sandbox, &sandbox.store()), records(&sandbox, &copy));
    for name in ["done", "failed", "retry", "parked"] {
        assert_eq!(before[&key(name)], after[&key(name)], "{name}");
    }
    for name in ["orphan", "held"] {
        let record = &after[&key(name)];
        assert_eq!(
            (&record["state"], &record["note"]),
            (&"parked".into(), &"was in progress when it was exported".into())
        );
        assert_eq!(
            (&record["progress"], &record["claimed_at_ms"]),
            (&before[&key(name)]["progress"], &before[&key(name)]["claimed_at_ms"])
        );
        let words = format!("explain {} --namespace shop --json --show-payload", key(name));
        let explained: Value = serde_json::from_slice(&sandbox.run_at(&words, &copy).out).unwrap();
        let past = &explained["history"].as_array().unwrap()[0];
        assert_eq!((&past["what"], &past["by"]), (&"parked".into(), &"claimstore import".into()));
        assert_eq!(past["token"], sandbox.explain(name)["token"], "the token that the remote side saw");
    }
    let words = format!("explain {} --namespace shop --json --show-payload", key("retry"));
    let explained: Value = serde_json::from_slice(&sandbox.run_at(&words, &copy).out).unwrap();
    assert_eq!(explained["history"], sandbox.explain("retry")["history"]);
    let policies = |store: &Path| sandbox.run_at("policy --json", store).out;
    assert_eq!(policies(&copy), policies(&sandbox.store()), "the rules come along");
    assert_eq!(sandbox.run_at("verify", &copy).code, 0);
}

#[test]
fn how_often_a_key_came_again_comes_along() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let request = |print| claimstore::ClaimRequest::new(key("again")).fingerprint([print; 32]);
    store.claim_with(&request(1)).unwrap().claimed().unwrap().complete("").unwrap();
    for _ in 0..3 {
        assert!(store.claim_with(&request(1)).unwrap().claimed().is_none());
        assert!(store.claim_with(&request(2)).is_err());
    }
    store.close().unwrap();
    let copy = sandbox.path("copy");
    let exported = export(&sandbox, "");
    assert!(String::from_utf8(exported.clone()).unwrap().contains(r#""replays":3,"mismatches":3"#));
    assert_eq!(import_at(&sandbox, "", &copy, &exported).code, 0);
    let words = format!("explain {} --json", key("again"));
    let explained: Value = serde_json::from_slice(&sandbox.run_at(&words, &copy).out).unwrap();
    assert_eq!((&explained["replays"], &explained["mismatches"]), (&3.into(), &3.into()));
    assert_eq!(sandbox.run_at("verify", &copy).code, 0);
}

/// Programs rely on these.
#[test]
fn the_names_stay() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    let request = claimstore::ClaimRequest::new(b"\xff\x00").fingerprint([0xab; 32]);
    store.claim_with(&request).unwrap().claimed().unwrap().complete(b"\xfe").unwrap();
    store.close().unwrap();
    let text = String::from_utf8(export(&sandbox, "")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str, value: &str| lines.iter().find(|line| line[name] == value).unwrap();
    let names = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        names(of("kind", "namespace")),
        "kind lease_ms max_attempts max_losses namespace on_drop on_orphan orphan_backoff quota require_fingerprint skew_ms time_order ttl_ms"
    );
    assert_eq!(lines.last().unwrap(), &json!({ "kind": "end", "records": 7 }));
    assert_eq!(
        names(of("key", &key("done"))),
        "attempt claimed_at_ms expires_at_ms failures in_doubt interrupted key kind losses namespace origin response settled_at_ms state token ttl_ms"
    );
    assert_eq!(
        names(of("key", &key("retry"))),
        "attempt claimed_at_ms failures history in_doubt interrupted key kind losses namespace origin retry_at_ms settled_at_ms state token ttl_ms"
    );
    assert_eq!(names(&of("key", &key("retry"))["history"][0]), "at_ms attempt claimed_at_ms note token what");
    let bytes = of("key_base64", "/wA=");
    assert_eq!((&bytes["response_base64"], &bytes["kind"]), (&"/g==".into(), &"record".into()));
    assert_eq!(bytes["fingerprint"], json!({ "scheme": 0, "digest_hex": "ab".repeat(32) }));
}

#[test]
fn an_import_may_be_run_again() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let exported = export(&sandbox, "");
    let copy = sandbox.path("copy");
    assert_eq!(import_at(&sandbox, "", &copy, &exported).code, 0);
    let before = records(&sandbox, &copy);
    let ran = import_at(&sandbox, "--json", &copy, &exported);
    let counted: Value = serde_json::from_slice(&ran.out).unwrap();
    assert_eq!(
        counted,
        json!({ "read": 6, "imported": 0, "parked": 0, "known": 6, "expired": 0, "refused": 0 })
    );
    assert_eq!((ran.code, records(&sandbox, &copy)), (0, before));
}

#[test]
fn one_namespace_goes_out_and_into_another() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    let store = sandbox.open();
    store.claim("elsewhere", Duration::from_secs(60)).unwrap().claimed().unwrap().complete("").unwrap();
    store.close().unwrap();
    let exported = export(&sandbox, "--namespace shop");
    assert_eq!(exported.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), 1 + 6 + 1);
    assert_eq!(sandbox.run("export --namespace nowhere").code, 1);
    let (counted, _) = import(&sandbox, "--namespace branch", &exported, 0);
    assert_eq!(counted["imported"], 6);
    let branch = sandbox.json("list --show-keys --namespace branch");
    assert_eq!(branch["records"].as_array().unwrap().len(), 6);
}

#[test]
fn a_bad_line_is_named_and_the_rest_goes_on() {
    let sandbox = Sandbox::new();
    let good = |key: &str| {
        format!(
            r#"{{"kind":"record","namespace":"","key":"{key}","state":"completed","attempt":1,"claimed_at_ms":1}}"#
        )
    };
    let (first, last) = (good("first"), good("last"));
    let long = good(&"k".repeat(1_025));
    let input = lines(&[
        &first,
        "nonsense",
        r#"{"kind":"record"}"#,
        r#"{"kind":"surprise"}"#,
        "",
        r#"{"kind":"record","namespace":"","key":"k","state":"gone","attempt":1,"claimed_at_ms":1}"#,
        r#"{"kind":"record","namespace":"","state":"completed","attempt":1,"claimed_at_ms":1}"#,
        r#"{"kind":"record","namespace":"","key_base64":"?","state":"completed","attempt":1,"claimed_at_ms":1}"#,
        r#"{"kind":"record","namespace":"","key":"k","key_base64":"aw==","state":"completed","attempt":1,"claimed_at_ms":1}"#,
        r#"{"kind":"record","namespace":"","key":"k","state":"completed","attempt":0,"claimed_at_ms":1}"#,
        r#"{"kind":"record","namespace":"","key":"k","key":"k","state":"completed","attempt":1,"claimed_at_ms":1}"#,
        r#"{"kind":"record","namespace":"claimstore/sequences","key":"k","state":"completed","attempt":1,"claimed_at_ms":1}"#,
        &long,
        r#"{"kind":"namespace","namespace":"n","ttl_ms":1,"lease_ms":1,"skew_ms":1,"max_attempts":1,"on_orphan":"retry"}"#,
        &last,
        r#"{"kind":"end","records":99}"#,
    ]);
    // Claimed in 1970, for a day: over, but for the two that are said to last.
    let forever = String::from_utf8(input)
        .unwrap()
        .replace("\"claimed_at_ms\":1}", "\"claimed_at_ms\":1,\"expires_at_ms\":1900000000000}");
    let (counted, said) = import(&sandbox, "", forever.as_bytes(), 3);
    let named: Vec<&str> = said.lines().map(|line| line.strip_prefix("claimstore: ").unwrap()).collect();
    let mut named: Vec<&str> = named.iter().map(|line| line.split(':').next().unwrap()).collect();
    named.sort_by_key(|line| line.strip_prefix("line ").unwrap().parse::<u32>().unwrap());
    let expected = [2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16].map(|number| format!("line {number}"));
    assert_eq!(named, expected, "{said}");
    assert_eq!((&counted["imported"], &counted["refused"]), (&2.into(), &13.into()), "{counted}");
    let store = sandbox.open();
    for key in ["first", "last"] {
        assert!(matches!(store.claim(key, Duration::from_secs(60)).unwrap(), Claim::Duplicate(_)));
    }
    store.close().unwrap();
}

#[test]
fn what_contradicts_the_store_is_refused_and_what_is_over_is_left_out() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    store.claim("known", Duration::from_secs(3_600)).unwrap().claimed().unwrap().complete("mine").unwrap();
    store.close().unwrap();
    let line = |key: &str, response: &str, expires_at_ms: u64| {
        format!(
            r#"{{"kind":"record","namespace":"","key":"{key}","state":"completed","response":"{response}","attempt":1,"claimed_at_ms":1,"expires_at_ms":{expires_at_ms}}}"#
        )
    };
    let later = 1_900_000_000_000;
    let input =
        lines(&[&line("known", "mine", later), &line("known", "theirs", later), &line("over", "", 2)]);
    let (counted, said) = import(&sandbox, "", &input, 65);
    assert_eq!(
        counted,
        json!({ "read": 3, "imported": 0, "parked": 0, "known": 1, "expired": 1, "refused": 1 })
    );
    assert!(said.contains("line 2: the key is known with another payload or another result"), "{said}");
    assert!(said.contains("the input is cut"), "there was no last line: {said}");
    let record = sandbox.json("get known --show-payload");
    assert_eq!(record["response"], "mine");
}

#[test]
fn rules_of_keys_come_along_and_are_not_mixed() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let ordered = Policy::daily().time_ordered_keys(TimeOrdered::UuidV7);
    let events = store.namespace_with("events", ordered).unwrap();
    let now_ms = u64::try_from(store.store_time().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let minted = claimstore_hash::UuidV7Minter::new().mint(now_ms, [7; 10]).unwrap().to_bytes();
    events.claim_default(minted).unwrap().claimed().unwrap().complete("").unwrap();
    let folded = Policy::monthly().key_spec(KeySpec::netsuite());
    let orders = store.namespace_with("orders", folded).unwrap();
    orders.claim_default("invoice|ord-7").unwrap().claimed().unwrap().complete("").unwrap();
    store.close().unwrap();
    let exported = export(&sandbox, "");
    let copy = sandbox.path("copy");
    assert_eq!(import_at(&sandbox, "", &copy, &exported).code, 0);
    let store = open(&copy);
    assert!(matches!(store.namespace("events").unwrap().claim_default(minted), Ok(Claim::Duplicate(_))));
    let orders = store.namespace("orders").unwrap();
    assert!(matches!(orders.claim_default("Invoice|ORD-7"), Ok(Claim::Duplicate(_))));
    assert_eq!(
        store.namespace("events").unwrap().claim_default("invoice|ord-7").unwrap_err().kind(),
        ErrorKind::InvalidKey
    );
    store.close().unwrap();

    let other = sandbox.path("other");
    let store = open(&other);
    store.namespace("events").unwrap();
    store.close().unwrap();
    let ran = import_at(&sandbox, "", &other, &exported);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("the namespace is here with another rule for its keys"), "{}", ran.err);
}

#[test]
fn nonsense_and_places_that_are_no_store() {
    let sandbox = Sandbox::new();
    for words in [
        "import --from nowhere",
        "import --key a",
        "import --ttl 1d",
        "import --format csv",
        "import --in-progress x",
        "import --done x",
        "import --only-done x",
        "import --failed x",
        "import --status x",
        "import --null x",
        "import --time-format %Y%m%d",
        "import --unsaid done",
        "import --from sql-idempotency-keys --unsaid done",
        "import --from redis --done x --failed X",
        "import --from redis --only-done a,b --in-progress b",
        "import --from redis --time-format %H:%M",
        "import --from redis --time-format %Q",
        "import --from redis --delimiter ;",
        "import --from redis --ttl soon",
        "import --from redis --key a,,b",
        "import --wait soon",
        "import --surprise",
        "export --json",
    ] {
        let ran = sandbox.run(words);
        assert_eq!((ran.code, ran.out.len()), (64, 0), "{words}: {}", ran.err);
        assert!(!sandbox.store().exists(), "{words}");
    }
    let foreign = sandbox.path("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("file"), "x").unwrap();
    assert_eq!(import_at(&sandbox, "", &foreign, b"").code, 64);
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    let store = sandbox.open();
    assert_eq!(sandbox.run("import --wait 0s").code, 75);
    store.close().unwrap();
}

/// All that a history can tell, of records in every state, through both commands.
#[test]
fn a_history_comes_along_in_full() {
    use claimstore::{Happened, Import, Orphaned, Past};

    let sandbox = Sandbox::new();
    let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
    let all = [
        Happened::Orphaned(Orphaned::EarlierLife),
        Happened::Orphaned(Orphaned::Abandoned),
        Happened::Orphaned(Orphaned::Lapsed),
        Happened::Failed,
        Happened::Parked,
        Happened::Requeued,
        Happened::Completed,
        Happened::FailedForGood,
    ];
    let past = |(what, number): (Happened, u32)| {
        let ms = 1_000_000 + u64::from(number);
        Past::new(what, number, at(ms))
            .with_token(u64::MAX - u64::from(number))
            .with_claimed_at(at(ms - 500))
            .with_note(
                format!("by {number}"),
                [b"note ", &[0xff, 0, u8::try_from(number).unwrap()][..]].concat(),
            )
    };
    let history: Vec<Past> = all.into_iter().chain(all).zip(1..).map(past).collect();
    let end = at(1_900_000_000_000);
    let records = [
        Import::completed("completed", "r").expires_at(end),
        Import::failed("failed", b"\xff").expires_at(end),
        Import::retry("retry", at(7)).progress("p"),
        Import::parked("parked", "n").progress("p"),
    ];
    let store = sandbox.open();
    let imports = records.map(|import| import.claimed_at(at(5)).settled_at(at(6)).history(history.clone()));
    store
        .namespace("n")
        .unwrap()
        .import_many(&imports)
        .unwrap()
        .into_iter()
        .for_each(|answer| assert_eq!(answer.unwrap(), claimstore::Imported::Stored));
    store.close().unwrap();
    let copy = sandbox.path("copy");
    assert_eq!(import_at(&sandbox, "", &copy, &export(&sandbox, "")).code, 0);
    let (from, to) = (sandbox.open(), open(&copy));
    let copied = to.namespace("n").unwrap();
    for record in from.scan(claimstore::Filter::new()) {
        let record = record.unwrap();
        assert_eq!(record.history(), history, "sixteen are kept");
        let other = copied.get(record.key()).unwrap().unwrap();
        assert_eq!(other.history(), history, "{:?}", record.state());
        assert_eq!(
            (other.state(), other.note(), other.progress()),
            (record.state(), record.note(), record.progress())
        );
    }
    to.close().unwrap();
    from.close().unwrap();
}

/// `CLAIMSTORE_RECORDS` of them: 1,000,000 are 230 MB of lines. Each side has 512 MiB of address space, however many.
#[test]
fn a_store_of_many_records_goes_through_a_pipe_in_bounded_memory() {
    let count: u64 = std::env::var("CLAIMSTORE_RECORDS").map_or(20_000, |count| count.parse().unwrap());
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let shop = store.namespace_with("shop", Policy::monthly()).unwrap();
    for first in (0..count).step_by(8_192) {
        let numbers = first..count.min(first + 8_192);
        let requests: Vec<_> =
            numbers.map(|number| claimstore::ClaimRequest::new(format!("INV-{number:020}"))).collect();
        let leases = shop.claim_many(&requests).unwrap().into_iter();
        let done = leases
            .map(|answer| (answer.unwrap().claimed().unwrap(), payload("response").into_bytes()))
            .collect();
        store.complete_many(done).unwrap().into_iter().for_each(Result::unwrap);
    }
    store.close().unwrap();
    let copy = sandbox.path("copy");
    let script =
        "ulimit -v 524288; \"$CLI\" export --store \"$FROM\" | \"$CLI\" import --json --store \"$TO\"";
    let begun = now();
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("CLI", env!("CARGO_BIN_EXE_claimstore"));
    let ran = run(command.env("FROM", sandbox.store()).env("TO", &copy));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    println!("export | import of {count} records: {:?}", begun.elapsed());
    let counted: Value = serde_json::from_slice(&ran.out).unwrap();
    assert_eq!((&counted["imported"], &counted["refused"]), (&count.into(), &0.into()));
    let (from, to) = (sandbox.open(), open(&copy));
    let copied = to.namespace("shop").unwrap();
    let mut seen = 0;
    for record in from.scan(claimstore::Filter::new()) {
        let record = record.unwrap();
        let other = copied.get(record.key()).unwrap().unwrap();
        assert_eq!((other.state(), other.response()), (RecordState::Completed, record.response()));
        assert_eq!((other.claimed_at(), other.settled_at()), (record.claimed_at(), record.settled_at()));
        assert_eq!((other.expires_at(), other.ttl()), (record.expires_at(), record.ttl()));
        seen += 1;
    }
    assert_eq!(seen, count);
    to.verify().unwrap();
    to.close().unwrap();
    from.close().unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the commands run in real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
