//! When there is a socket, and when there is none.

use crate::decisions::{allowed, decision};
use crate::questions::filled;
use claimstore::{ErrorKind, Store};
use claimstore_admin::{AskError, Client, Dir, Request, SOCKET, ServeAdmin as _, Verb};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::time::Duration;

#[test]
fn close_takes_socket_and_thread_along() {
    let (dir, store, mut client) = filled();
    let socket = dir.path().join(SOCKET);
    let found = std::fs::symlink_metadata(&socket).unwrap();
    assert!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o600);
    let clone = store.clone();
    store.close().unwrap();
    assert!(!socket.exists());
    assert!(client.ask(&Request::Live).is_err(), "the thread is gone, and its connections with it");
    assert_eq!(Client::connect(dir.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(clone.serve_admin().unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert!(!socket.exists());
}

#[test]
fn the_last_handle_takes_them_along_too() {
    let (dir, store, _client) = filled();
    drop(store);
    assert!(!dir.path().join(SOCKET).exists(), "the service does not keep the store open");
    Store::open(dir.path()).unwrap().close().unwrap();
}

#[test]
fn it_can_be_stopped_and_begun_again() {
    crate::watch::this_test();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let admin = store.serve_admin().unwrap();
    assert_eq!(store.serve_admin().unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert!(Client::connect(dir.path()).unwrap().ask(&Request::Live).is_ok(), "the first goes on");
    admin.stop();
    admin.stop();
    assert!(Client::connect(dir.path()).is_err());
    drop(store.serve_admin().unwrap());
    assert!(Client::connect(dir.path()).unwrap().ask(&Request::Live).is_ok());
    store.close().unwrap();
}

#[test]
fn a_socket_that_a_crash_left_keeps_nobody_from_anything() {
    crate::watch::this_test();
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).unwrap().close().unwrap();
    drop(UnixListener::bind(dir.path().join(SOCKET)).unwrap());
    std::fs::create_dir(dir.path().join("admin.new")).unwrap();
    assert_eq!(Client::connect(dir.path()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let store = Store::open(dir.path()).unwrap();
    store.verify().unwrap();
    drop(store.serve_admin().unwrap());
    assert!(Client::connect(dir.path()).unwrap().ask(&Request::Live).is_ok());
    let copy = dir.path().join("copy");
    store.backup(&copy).unwrap();
    assert!(!copy.join(SOCKET).exists(), "it is no part of a backup");
    store.close().unwrap();
    let restored = Store::open(&copy).unwrap();
    restored.verify().unwrap();
    restored.close().unwrap();
}

#[test]
fn a_store_in_memory_has_no_place_for_one() {
    let store = Store::in_memory().unwrap();
    assert_eq!(store.serve_admin().unwrap_err().kind(), io::ErrorKind::Unsupported);
    store.close().unwrap();
}

#[test]
fn questions_and_the_close_may_meet() {
    for _ in 0..20 {
        let (dir, store, _client) = allowed();
        std::thread::scope(|scope| {
            let copy = Request::Backup { dir: Dir::new(&dir.path().join("copy")), with_key: false };
            let complete = Request::Decide(decision(Verb::Complete, &["parked", "orphan", "held"]));
            let export = Request::Export { namespace: None };
            for requests in
                [[Request::Stats, copy], [complete, export.clone()], [Request::Checkpoint, export]]
            {
                let dir = &dir;
                scope.spawn(move || {
                    let Ok(mut client) = Client::connect(dir.path()) else { return };
                    // Until the connection ends: a refusal is an answer.
                    while requests
                        .iter()
                        .all(|request| !matches!(client.ask(request), Err(AskError::Lost(_))))
                    {
                    }
                });
            }
            let store = store.clone();
            scope.spawn(move || {
                let claimed = store.claim("k", Duration::from_secs(60)).unwrap().claimed();
                claimed.unwrap().complete("").unwrap();
                store.close().unwrap();
            });
        });
        assert_eq!(store.stats().unwrap_err().kind(), ErrorKind::Closed);
        let store = Store::open(dir.path()).unwrap();
        store.verify().unwrap();
        store.close().unwrap();
    }
}
