//! What the socket does not put up with.

use crate::questions::filled;
use claimstore_admin::{AskError, Client, RefusalKind, Request, SOCKET};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

fn connect(dir: &Path) -> BufReader<UnixStream> {
    BufReader::new(UnixStream::connect(dir.join(SOCKET)).unwrap())
}

fn say(stream: &mut BufReader<UnixStream>, line: &[u8]) -> String {
    stream.get_mut().write_all(line).unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    answer
}

#[test]
fn nonsense_is_answered_and_the_connection_goes_on() {
    let (dir, store, _client) = filled();
    let mut stream = connect(dir.path());
    for line in [&b"\n"[..], b"hello\n", b"{\"v\":1}\n", b"\xff\xfe\n", b"[[[[[[[[[[[[[[[[[[[[[[\n"] {
        assert!(say(&mut stream, line).contains("\"kind\":\"usage\""));
    }
    assert!(say(&mut stream, b"{\"v\":9,\"ask\":\"live\"}\n").contains("\"kind\":\"version\""));
    assert!(say(&mut stream, b"{\"v\":1,\"ask\":\"live\"}\n").starts_with("{\"answer\":\"live\""));
    // Two at once, and one in pieces.
    let line = b"{\"v\":1,\"ask\":\"checkpoint\"}\n";
    let first = say(&mut stream, &[&line[..], line, b"{\"v\":1,"].concat());
    assert!(first.starts_with("{\"answer\":\"checkpointed\""), "{first}");
    let second = say(&mut stream, b"\"ask\":\"live\"}\n");
    assert!(second.starts_with("{\"answer\":\"checkpointed\""), "{second}");
    assert!(say(&mut stream, b"").starts_with("{\"answer\":\"live\""));
    store.close().unwrap();
}

#[test]
fn a_request_without_an_end_ends_the_connection() {
    let (dir, store, mut client) = filled();
    let mut stream = connect(dir.path());
    let answer = say(&mut stream, &[b'x'; 16 << 10]);
    assert!(answer.contains("16 KiB"), "{answer}");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert!(client.ask(&Request::Live).is_ok(), "others are served");
    store.close().unwrap();
}

#[test]
fn a_process_that_has_four_connections_open_is_told_to_use_those() {
    let (dir, store, client) = filled();
    let mut guests = vec![client];
    for _ in 0..3 {
        let mut guest = Client::connect(dir.path()).unwrap();
        drop(guest.ask(&Request::Checkpoint).unwrap());
        guests.push(guest);
    }
    let mut fifth = connect(dir.path());
    let mut line = String::new();
    fifth.read_line(&mut line).unwrap();
    assert!(line.contains("\"kind\":\"busy\"") && line.contains("this process"), "{line}");
    let told = Client::connect(dir.path()).unwrap().ask(&Request::Live).unwrap_err();
    assert!(matches!(&told, AskError::Refused(refusal) if refusal.kind == RefusalKind::Busy), "{told:?}");
    guests.truncate(2);
    // The places are free as soon as the thread has noticed.
    while Client::connect(dir.path()).unwrap().ask(&Request::Live).is_err() {}
    store.close().unwrap();
}

#[test]
fn a_client_that_reads_nothing_holds_no_close_up() {
    let (dir, store, _client) = filled();
    let mut stream = connect(dir.path());
    // More answers than the socket's buffers hold: the thread is left writing.
    let line = b"{\"v\":1,\"ask\":\"live\"}\n".repeat(300);
    drop(stream.get_mut().write(&line));
    store.close().unwrap();
}
