//! `claimstore import --from`: rows of tables, and keys of Redis.

use std::time::Duration;

use claimstore::{Claim, ClaimRequest, ErrorKind, Namespace};
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, run};

/// Imports rows into the namespace `api`, and answers what was counted.
fn import(sandbox: &Sandbox, words: &str, input: &str, exit: i32) -> (Value, String) {
    let mut command = sandbox.command(&format!("import --namespace api --json --from {words}"));
    let ran = run(command.stdin(sandbox.file(input.as_bytes())));
    assert_eq!(ran.code, exit, "{}", ran.err);
    (serde_json::from_slice(&ran.out).unwrap(), ran.err)
}

/// What the claims of these keys are answered: `done <response>`, `failed <response>`, `parked`, `new`.
fn answers(sandbox: &Sandbox, keys: &[&[u8]]) -> Vec<String> {
    let store = sandbox.open();
    let api = store.namespace("api").unwrap();
    let answers = keys.iter().map(|key| answer(&api, key)).collect();
    store.close().unwrap();
    answers
}

fn answer(api: &Namespace, key: &[u8]) -> String {
    match api.claim_default(key) {
        Ok(Claim::Duplicate(receipt)) => {
            let response = String::from_utf8_lossy(receipt.response()).into_owned();
            format!("{} {response}", if receipt.is_failure() { "failed" } else { "done" })
        }
        Ok(Claim::Claimed(_)) => "new".into(),
        Ok(Claim::InProgress(_)) => "in progress".into(),
        Err(error) if error.kind() == ErrorKind::Parked => "parked".into(),
        Err(error) => panic!("{error}"),
    }
}

const KEYS_CSV: &str = "\
id,created_at,idempotency_key,last_run_at,locked_at,request_method,request_params,request_path,response_code,response_body,recovery_point,user_id
1,2026-11-20 10:00:00+00,ka,2026-11-20 10:00:00+00,,POST,\"{\"\"amount\"\": 20}\",/rides,201,\"{\"\"ride\"\": 7}\",finished,9
2,2026-11-20 10:00:00+00,kb,2026-11-20 10:00:00+00,2026-11-20 10:00:01+00,POST,{},/rides,,,ride_created,9
3,2026-11-20 10:00:00+00,kc,2026-11-20 10:00:00+00,,POST,{},/rides,402,\"{\"\"error\"\": \"\"card\"\"}\",finished,8
4,soon,kd,2026-11-20 10:00:00+00,,POST,{},/rides,201,{},finished,8
5,2026-11-20 10:00:00+00,,2026-11-20 10:00:00+00,,POST,{},/rides,201,{},finished,8
6,too,few
";

#[test]
fn a_table_of_idempotency_keys_as_delimited_text() {
    let sandbox = Sandbox::new();
    let words = "sql-idempotency-keys --format csv --ttl 3650d";
    let (counted, said) = import(&sandbox, words, KEYS_CSV, 3);
    assert_eq!(
        (&counted["imported"], &counted["parked"], &counted["refused"]),
        (&3.into(), &1.into(), &3.into())
    );
    for line in ["line 5: `created_at` is no time", "line 6: ", "line 7: has 3 fields, and the header 12"] {
        assert!(said.contains(line), "{said}");
    }
    let key = |user: &str, key: &str| claimstore_hash::composite(&[user, key]).unwrap();
    let keys = [key("9", "ka"), key("9", "kb"), key("8", "kc"), key("8", "kd")];
    assert_eq!(
        answers(&sandbox, &keys.each_ref().map(Vec::as_slice)),
        [
            "done {\"response_code\":201,\"response_body\":{\"ride\": 7}}",
            "parked",
            "failed {\"response_code\":402,\"response_body\":{\"error\": \"card\"}}",
            "new"
        ]
    );
    let (counted, _) = import(&sandbox, &format!("{words} --key idempotency_key"), KEYS_CSV, 3);
    assert_eq!(counted["imported"], 3, "other columns make other keys");
    assert!(answers(&sandbox, &[b"ka"])[0].starts_with("done"));
}

#[test]
fn a_table_of_idempotency_keys_as_json_keeps_digests_and_ends() {
    let sandbox = Sandbox::new();
    let digest = "5e".repeat(32);
    let rows = format!(
        "{{\"key\":\"a\",\"request_hash\":\"{digest}\",\"status\":\"completed\",\"response_body\":\"r\",\"expires_at\":\"2029-01-01T00:00:00Z\"}}\n\
         {{\"key\":\"b\",\"status\":\"in_progress\"}}\n\
         {{\"key\":\"c\",\"status\":\"completed\",\"expires_at\":\"2020-01-01\"}}\n\
         {{\"key\":\"d\",\"status\":\"busy\"}}\n"
    );
    let (counted, _) =
        import(&sandbox, "sql-idempotency-keys --in-progress busy --in-progress IN_PROGRESS", &rows, 0);
    assert_eq!(
        (&counted["imported"], &counted["parked"], &counted["expired"]),
        (&3.into(), &2.into(), &1.into())
    );
    assert_eq!(answers(&sandbox, &[b"a", b"b", b"c", b"d"]), ["done r", "parked", "new", "parked"]);
    let store = sandbox.open();
    let api = store.namespace("api").unwrap();
    assert_eq!(api.get("a").unwrap().unwrap().fingerprint(), Some([0x5e; 32].into()));
    let other = api.claim_with(&ClaimRequest::new("a").fingerprint([1; 32])).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::PayloadMismatch);
    store.close().unwrap();
}

#[test]
fn tables_of_handled_messages() {
    let sandbox = Sandbox::new();
    let rows = "\
{\"message_id\":\"m1\",\"processed_at\":\"2026-11-20T00:00:00Z\",\"consumer\":\"billing\"}
{\"message_id\":\"m1\",\"processed_at\":null,\"consumer\":\"shipping\"}
{\"MessageId\":\"m2\",\"Dispatched\":true,\"DispatchedAt\":\"2026-11-20T00:00:00\"}
{\"message_id\":\"m3\"}
";
    let (counted, _) = import(&sandbox, "sql-processed-messages --ttl 3650d", rows, 0);
    assert_eq!((&counted["imported"], &counted["parked"]), (&4.into(), &1.into()));
    let key = |consumer: &str| claimstore_hash::composite(&[consumer, "m1"]).unwrap();
    let keys = [key("billing"), key("shipping")];
    assert_eq!(
        answers(&sandbox, &[&keys[0], &keys[1], b"m2", b"m3", b"m1"]),
        ["done ", "parked", "done ", "done ", "new"]
    );
}

#[test]
fn a_tab_may_stand_between_columns_and_a_key_must_be_one() {
    let sandbox = Sandbox::new();
    let rows = "id\tMessageId\tConsumed\n1\tm1\t2026-11-20\n2\tm2\t\\N\n";
    let words = "sql-processed-messages --ttl 3650d --format csv --delimiter \\t";
    let (counted, _) = import(&sandbox, words, rows, 0);
    assert_eq!((&counted["imported"], &counted["parked"]), (&2.into(), &1.into()));
    let other = Sandbox::new();
    let mut command = other.command(&format!("import --from {words} --key nowhere"));
    let ran = run(command.stdin(other.file(rows.as_bytes())));
    assert_eq!((ran.code, ran.out.len(), other.store().exists()), (64, 0, false), "{}", ran.err);
    let mut command = other.command("import --from redis --format csv");
    let ran = run(command.stdin(other.file(b"\"key,value\n")));
    assert_eq!((ran.code, ran.out.len(), other.store().exists()), (65, 0, false), "{}", ran.err);
}

#[test]
fn keys_of_redis_keep_the_time_they_have_left() {
    let sandbox = Sandbox::new();
    let rows = "\
{\"key\":\"idem:1\",\"value\":\"1\",\"pttl\":3600000}
{\"key\":\"idem:2\",\"value\":\"processing\",\"pttl\":3600000}
{\"key\":\"idem:3\",\"value\":false,\"pttl\":-2}
{\"key\":\"idem:4\",\"value\":\"{\\\"id\\\":7}\",\"pttl\":9223372036854775807}
";
    let (counted, _) = import(&sandbox, "redis", rows, 0);
    assert_eq!(
        (&counted["imported"], &counted["parked"], &counted["expired"]),
        (&3.into(), &1.into(), &1.into())
    );
    let keys: [&[u8]; 4] = [b"idem:1", b"idem:2", b"idem:3", b"idem:4"];
    assert_eq!(answers(&sandbox, &keys), ["done 1", "parked", "new", "done {\"id\":7}"]);
    let record = sandbox.json("get idem:1 --namespace api");
    let left = record["expires_at_ms"].as_u64().unwrap() - record["settled_at_ms"].as_u64().unwrap();
    assert_eq!(left, 3_600_000);
}

/// How a key stands: its state, and the note of one that is held for review.
fn stands(sandbox: &Sandbox, key: &str) -> String {
    let record = sandbox.json(&format!("get {key} --namespace api --show-payload"));
    let state = record["state"].as_str().unwrap();
    match record["note"].as_str() {
        Some(note) if !note.is_empty() => format!("{state}: {note}"),
        _ => state.to_owned(),
    }
}

#[test]
fn a_word_that_is_not_known_is_parked_with_the_word_and_counted() {
    let sandbox = Sandbox::new();
    let rows = "\
message_id,status,received_at
m1,ENQUEUED,2026-11-20
m2,DELAYED,2026-11-20
m3,new,2026-11-20
m4,in progress,2026-11-20
m5,0,2026-11-20
m6,NULL,2026-11-20
m7,FAILED  ,2026-11-20
m8,  Succeeded,2026-11-20
m9,New ,2026-11-20
";
    let words = "sql-processed-messages --format csv --ttl 3650d";
    let (counted, _) = import(&sandbox, words, rows, 0);
    assert_eq!(
        counted,
        json!({
            "read": 9, "imported": 9, "parked": 7, "known": 0, "expired": 0, "refused": 0, "expired_by_ttl": 0,
            "unknown_words": { "enqueued": 1, "delayed": 1, "new": 2, "0": 1 }, "assumed_done": 0,
        })
    );
    for (key, expected) in [
        ("m1", "parked: its status was `ENQUEUED` when it was imported"),
        ("m4", "parked: its status was `in progress` when it was imported"),
        ("m5", "parked: its status was `0` when it was imported"),
        ("m6", "parked: it did not say that it was done when it was imported"),
        ("m7", "failed"),
        ("m8", "completed"),
    ] {
        assert_eq!(stands(&sandbox, key), expected);
    }
    let other = Sandbox::new();
    let words = format!("import --from {words} --done Enqueued --in-progress NEW --failed delayed");
    let ran = run(other.command(&words).stdin(other.file(rows.as_bytes())));
    let said = String::from_utf8(ran.out).unwrap();
    assert!(
        said.starts_with("9 read, 9 imported (5 of them parked)") && said.contains(": 0 (1); --done WORD"),
        "{said}"
    );
    let (counted, _) =
        import(&Sandbox::new(), "sql-processed-messages --format csv --only-done a,b", rows, 0);
    assert_eq!((&counted["parked"], &counted["unknown_words"]["succeeded"]), (&8.into(), &1.into()));
}

#[test]
fn a_row_that_gives_no_sign_of_an_end_has_the_reason_in_its_note() {
    for (source, row, note) in [
        (
            "sql-idempotency-keys",
            "k,{}",
            "its response was `{}`, which is no sign of an end, when it was imported",
        ),
        (
            "sql-idempotency-keys",
            "k,null",
            "its response was `null`, which is no sign of an end, when it was imported",
        ),
        ("sql-processed-messages --status response", "k,3", "its status was `3` when it was imported"),
    ] {
        let sandbox = Sandbox::new();
        import(&sandbox, &format!("{source} --format csv"), &format!("id,response\n{row}\n"), 0);
        assert_eq!(stands(&sandbox, "k"), format!("parked: {note}"));
    }
    let sandbox = Sandbox::new();
    let rows = "id,payment_status,status_id\nm1,failed,done\nm2,done,3\nm3,done,done\n";
    let (counted, _) = import(&sandbox, "sql-processed-messages --format csv", rows, 0);
    assert_eq!((&counted["unknown_words"], &counted["assumed_done"]), (&json!({ "3": 1 }), &1.into()));
    assert_eq!(stands(&sandbox, "m1"), "parked: its status was `failed` when it was imported");
}

#[test]
fn an_end_far_away_is_as_long_as_a_store_remembers() {
    let sandbox = Sandbox::new();
    let rows = "\
id,status,completed_at,expires_at
k1,done,2026-11-20 10:00:00+00,infinity
k2,done,2026-11-20 10:00:00 UTC,9999-12-31 23:59:59.9999999
k3,done,2026-11-20 10:00:00 +0000 UTC,2999-01-01
k4,done,1795168800.25,0
k5,done,2026-11-20T10:00:00Z,0001-01-01T00:00:00Z
k6,done,2026-11-20T10:00:00Z,2020-01-01
k7,done,20261120,
k8,done,2026-11-20,-infinity
k9,done,n/a,
k10,done,2026-11-20,2050-01-01
";
    let words = "sql-idempotency-keys --format csv --null n/a --ttl 3650d";
    let (counted, said) = import(&sandbox, words, rows, 3);
    assert_eq!(
        (&counted["imported"], &counted["expired"], &counted["expired_by_ttl"], &counted["refused"]),
        (&7.into(), &1.into(), &0.into(), &2.into())
    );
    assert!(said.contains("line 8: `completed_at` is no time: the number"), "{said}");
    assert!(said.contains("line 9: `expires_at` is no time that can be read: --time-format"), "{said}");
    let left = |key: &str| {
        let store = sandbox.open();
        let record = store.namespace("api").unwrap().get(key).unwrap().unwrap();
        let left = record.expires_at().unwrap().duration_since(store.store_time()).unwrap();
        store.close().unwrap();
        left.as_secs() / 86_400
    };
    for key in ["k1", "k2", "k3", "k10"] {
        assert!((3_651..=3_652).contains(&left(key)), "{key}: {}", left(key));
    }
    assert!(left("k4") <= 3_650 && left("k5") <= 3_650, "0 and year 1 are no ends: the ttl counts");
    let (counted, _) = import(&sandbox, &format!("{words} --time-format %Y%m%d"), rows, 3);
    assert_eq!((&counted["imported"], &counted["refused"]), (&1.into(), &1.into()));
}

#[test]
fn what_the_ttl_leaves_out_is_told_with_what_helps() {
    let sandbox = Sandbox::new();
    let store = sandbox.open();
    let old = store.store_time() - Duration::from_secs(3 * 86_400);
    let old_s = old.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    store.close().unwrap();
    let rows = format!("{{\"message_id\":\"m1\",\"processed_at\":{old_s}}}\n{{\"message_id\":\"m2\"}}\n");
    let command = "import --namespace api --from sql-processed-messages";
    let ran = run(sandbox.command(command).stdin(sandbox.file(rows.as_bytes())));
    let said = String::from_utf8(ran.out).unwrap();
    assert!(
        said.contains("1 expired, 0 refused\n1 of the expired do not say") && said.contains("--ttl TIME"),
        "{said}"
    );
    let (counted, _) = import(&sandbox, "sql-processed-messages --ttl 7d", &rows, 0);
    assert_eq!(
        (&counted["imported"], &counted["known"], &counted["expired_by_ttl"]),
        (&1.into(), &1.into(), &0.into())
    );
}

#[test]
fn no_input_and_a_dump_are_told() {
    let sandbox = Sandbox::new();
    for (words, input, code, said) in [
        ("sql-processed-messages", "", 0, "the input has no rows"),
        ("sql-processed-messages", "\n \n", 0, "the input has no rows"),
        ("sql-processed-messages --format csv", "id,status\n", 0, "the input has no rows"),
        ("redis", "", 0, "the input has no rows"),
    ] {
        let (counted, told) = import(&sandbox, words, input, code);
        assert!(counted["read"] == 0 && told.contains(said), "{words}: {told}");
    }
    for (words, input, said) in [
        ("sql-processed-messages --format csv", "", "the input is empty"),
        ("sql-processed-messages --format csv", "--\n-- PostgreSQL database dump\n--\n", "pg_dump"),
        ("sql-processed-messages", "COPY public.inbox (id) FROM stdin;\n7\n\\.\n", "pg_dump"),
        ("sql-processed-messages", "-- MySQL dump 10.13\n--\n", "mysqldump"),
        ("claimstore", "--\n-- PostgreSQL database dump\n", "pg_dump"),
    ] {
        let mut command = sandbox.command(&format!("import --from {words}"));
        let ran = run(command.stdin(sandbox.file(input.as_bytes())));
        assert!(ran.code == 65 && ran.err.contains(said), "{words}: {} {}", ran.code, ran.err);
    }
}

#[test]
fn an_input_that_is_read_the_wrong_way_is_told_once_what_helps() {
    for (words, input, helps) in [
        ("sql-processed-messages", "id,status\nm1,done\n", "--format csv"),
        ("redis", "key,value\na,1\n", "--format csv"),
        ("sql-processed-messages --format copy-text", "7\tdone\n8\tdone\n9\tdone\n", "--columns NAME,.."),
        ("sql-idempotency-keys --format csv", "7,done\n8,done\n9,done\n", "--columns NAME,.."),
    ] {
        let (counted, said) = import(&Sandbox::new(), words, input, 3);
        assert!(counted["imported"] == 0 && counted["refused"] == 2, "{words}: {counted}");
        assert_eq!(said.matches(helps).count(), 1, "{words}: {said}");
    }
    let (_, said) = import(&Sandbox::new(), "sql-processed-messages", "x\n{\"id\":7}\n", 3);
    assert!(!said.contains("--format"), "one line in disorder is no other format: {said}");
    let sandbox = Sandbox::new();
    let ran = run(&mut sandbox.command("import --from sql-processed-messages rows.csv"));
    assert!(ran.code == 64 && ran.err.contains("< FILE") && !ran.err.contains("rows.csv"), "{}", ran.err);
}

/// The rows of these keys come in, and those of these lines are refused.
fn check_rows(words: &str, input: &str, keys: &[&str], refused: &[usize]) {
    let sandbox = Sandbox::new();
    let exit = if refused.is_empty() { 0 } else { 3 };
    let words = format!("sql-processed-messages --key invoice --ttl 7d --format {words}");
    let (counted, said) = import(&sandbox, &words, input, exit);
    assert_eq!(
        (&counted["imported"], &counted["refused"]),
        (&keys.len().into(), &refused.len().into()),
        "{words}: {said}"
    );
    for line in refused {
        assert!(said.contains(&format!("line {line}: ")), "{words}: {said}");
    }
    let store = sandbox.open();
    let api = store.namespace("api").unwrap();
    for key in keys {
        assert!(api.get(key.as_bytes()).unwrap().is_some(), "{words}: {key}");
    }
    store.close().unwrap();
}

/// Each format, with all that can be wrong in it: a row that cannot be trusted is refused with its line, the others come in.
#[test]
fn rows_are_read_by_the_reader_of_dedupe() {
    for (words, input, keys, refused) in [
        // More or fewer fields, a footer, a decimal comma.
        (
            "csv",
            "name,invoice,state\nSmith, John,INV-7,done\nMeier,INV-8,done\n2 rows\n",
            &["INV-8"][..],
            &[2, 4][..],
        ),
        // Line ends of old systems, also one among others; blank lines anywhere.
        ("csv", "invoice,state\rINV-1,done\rINV-2,done\r", &["INV-1", "INV-2"], &[]),
        (
            "csv",
            "\n\ninvoice,state\n\nINV-1,done\r\r\n  \nINV-2,done\rINV-3,done\n\n",
            &["INV-1", "INV-2", "INV-3"],
            &[],
        ),
        // Quotes in disorder take no other row along.
        (
            "tsv",
            "invoice\tstate\ttext\nINV-1\tdone\t\"Deluxe\nINV-2\tdone\te\nINV-3\tdone\t\"X\n",
            &["INV-2"],
            &[2, 4],
        ),
        (
            "tsv --no-quotes",
            "invoice\tstate\ttext\nINV-1\tdone\t\"Deluxe\nINV-2\tdone\te\n",
            &["INV-1", "INV-2"],
            &[],
        ),
        // COPY has no header and escapes; `mysql --batch` has both.
        (
            "copy-text --columns invoice,state",
            "acme\\\\7\tdone\na\\tb\tdone\nx\t\\N\n\\.\n",
            &["acme\\7", "a\tb", "x"],
            &[],
        ),
        ("copy-text", "invoice\tstate\nacme\\\\7\tNULL\nx\\q\tdone\n", &["acme\\7"], &[3]),
        ("csv --delimiter ; --skip-lines 1", "Report\ninvoice;state\nINV-1;done\n", &["INV-1"], &[]),
        ("csv", "sep=;\ninvoice;state\nINV-1;done\n", &["INV-1"], &[]),
        (
            "jsonl",
            "{\"invoice\":\"INV-1\",\"state\":\"done\"}\n\n{\"invoice\":1}{\"invoice\":2}\n",
            &["INV-1"],
            &[3],
        ),
    ] {
        check_rows(words, input, keys, refused);
    }
    let utf16: Vec<u8> = "\u{feff}id,state\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let sandbox = Sandbox::new();
    let ran = run(sandbox.command("import --from redis --format csv").stdin(sandbox.file(&utf16)));
    assert!(ran.code == 65 && ran.err.contains("UTF-16") && !sandbox.store().exists(), "{}", ran.err);
}
