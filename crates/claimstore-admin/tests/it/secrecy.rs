//! P18: keys and payloads are in an answer only where they were asked for.

use crate::questions::{all, filled, get, list};
use claimstore_admin::{Key, Request, SOCKET, Show, Which};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

fn raw(stream: &mut BufReader<UnixStream>, line: &str) -> String {
    stream.get_mut().write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    answer
}

#[test]
fn p18_nothing_telltale_is_said_unless_asked() {
    let (dir, store, _client) = filled();
    let mut stream = BufReader::new(UnixStream::connect(dir.path().join(SOCKET)).unwrap());
    let line = |stream: &mut _, words: &str| raw(stream, &format!("{{\"v\":1,{words}}}\n"));
    let shows = [
        ("", 0, 0),
        (",\"show\":{\"keys\":true}", 6, 0),
        (",\"show\":{\"payload\":true}", 0, 10),
        (",\"show\":{\"keys\":true,\"payload\":true}", 6, 10),
    ];
    for (show, keys, payloads) in shows {
        let answer = line(&mut stream, &format!("\"ask\":\"list\",\"which\":\"records\"{show}"));
        assert!(answer.starts_with("{\"answer\":\"records\""), "{answer}");
        let found = answer.matches("canary-key").count();
        let others = answer.matches("canary").count() - found;
        // The progress, which is no text, stands there in hex digits.
        assert_eq!((found, others), (keys, payloads - usize::from(payloads > 0)), "{show}: {answer}");
    }
    for words in [
        "\"ask\":\"stats\"",
        "\"ask\":\"live\"",
        "\"ask\":\"policies\"",
        "\"ask\":\"list\",\"which\":\"unheld\"",
        "\"ask\":\"list\",\"which\":\"stuck\",\"older_than_ms\":0",
        "\"ask\":\"list\",\"which\":\"records\",\"prefix\":\"canary\"",
        "\"ask\":\"get\",\"namespace\":\"shop\",\"key\":\"canary-key-parked\",\"history\":true",
        "\"ask\":\"get\",\"namespace\":\"shop\",\"key\":\"canary-key-unknown\"",
        "\"ask\":\"get\",\"key\":\"canary-key-done\"",
        "\"ask\":\"list\",\"which\":\"records\",\"after\":\"canary\"",
        "\"ask\":\"canary\"",
        "\"ask\":\"list\",\"which\":\"canary\"",
    ] {
        let answer = line(&mut stream, words);
        assert!(answer.starts_with("{\"answer\":") && !answer.contains("canary"), "{words}: {answer}");
    }
    store.close().unwrap();
}

#[test]
fn p18_no_debug_text_gives_anything_away() {
    let (_dir, store, mut client) = filled();
    let show = Show { keys: true, payload: true };
    let prefix = "canary".to_owned();
    let which = Which::Records { states: Vec::new(), prefix, older_than_ms: None, newer_than_ms: None };
    let requests = [get("parked", show), Request::List(list(which, show)), Request::List(list(all(), show))];
    for request in requests {
        let answer = client.ask(&request).unwrap();
        let text = format!("{request:?} {answer:?} {:?}", Key::Hex("canary".into()));
        assert!(!text.contains("canary"), "{text}");
    }
    store.close().unwrap();
}
