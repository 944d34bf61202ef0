//! P2: what was said to be decided is there after the program was killed. The program is this test binary, run again.

use crate::decisions::decision;
use crate::questions::get;
use claimstore::{Failure, Store};
use claimstore_admin::{
    Answer, Client, Decision, Key, Request, ServeAdmin as _, Served, Show, Target, Verb, answer,
};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Names the directory to the program.
const DIR: &str = "CLAIMSTORE_ADMIN_SERVED";
const KEYS: usize = 40;

fn key(number: usize) -> String {
    format!("canary-key-{number}")
}

/// The program: parks keys, serves the store, and goes on claiming others until it is killed.
#[test]
fn the_program_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = Store::open(dir).unwrap();
    let shop = store.namespace("shop").unwrap();
    for number in 0..KEYS {
        let lease = shop.claim(key(number), Duration::from_secs(3_600)).unwrap().claimed().unwrap();
        if number % 2 == 0 { lease.fail(Failure::park("")).unwrap() } else { drop(lease) }
    }
    drop(store.serve_admin().unwrap().allow_decisions());
    let mut out = std::io::stdout();
    out.write_all(b"served\n").unwrap();
    out.flush().unwrap();
    let worker = store.clone();
    let load = move || {
        for number in 0_u64.. {
            let lease = worker.claim(format!("load-{number}"), Duration::from_secs(60)).unwrap();
            drop(lease.claimed().map(|lease| lease.complete("r")));
        }
    };
    drop(std::thread::Builder::new().spawn(load).unwrap());
    // Until it is killed, or whoever should do it is gone.
    drop(std::io::stdin().read(&mut [0]));
    std::process::exit(0);
}

fn start(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "durable::the_program_that_is_killed", "--nocapture"]).env(DIR, dir);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.as_mut().unwrap());
    let mut line = String::new();
    while !line.contains("served") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended before it served");
    }
    child
}

#[test]
fn what_was_said_to_be_decided_outlives_a_kill_right_after_the_answer() {
    for (verb, state) in [
        (Verb::Complete, Some("completed")),
        (Verb::Fail, Some("failed")),
        (Verb::Release, Some("retry")),
        (Verb::Requeue, Some("retry")),
        (Verb::Forget, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = start(dir.path());
        let mut client = Client::connect(dir.path()).unwrap();
        let target =
            |number| Target { namespace: "shop".into(), key: Key::new(key(number).as_bytes()), seen: None };
        let asked = Decision { targets: (0..KEYS).map(target).collect(), ..decision(verb, &[]) };
        let Answer::Decided { verdicts } = client.ask(&Request::Decide(asked)).unwrap() else { panic!() };
        child.kill().unwrap();
        child.wait().unwrap();
        let decided = verdicts.iter().filter(|verdict| verdict.refused.is_none()).count();
        let half = matches!(verb, Verb::Release | Verb::Requeue);
        assert_eq!(decided, if half { KEYS / 2 } else { KEYS }, "{verb:?}: {verdicts:?}");
        let store = Store::open(dir.path()).unwrap();
        for (number, verdict) in verdicts.iter().enumerate().filter(|(_, verdict)| verdict.refused.is_none())
        {
            let name = number.to_string();
            let found = answer(&store, &get(&name, Show::default()), Served::Briefly);
            let found = found.ok().map(|found| match found {
                Answer::Record { record, .. } => record.state.name(),
                other => panic!("{other:?}"),
            });
            assert_eq!(found, state, "{verb:?} {verdict:?}");
        }
        store.verify().unwrap();
        store.close().unwrap();
    }
}
