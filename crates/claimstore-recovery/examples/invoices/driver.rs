//! The driver: kills the worker at random points, then compares the ledger with the store.

use crate::http::call;
use crate::{Dice, Kind, Result, invoice, worker};
use claimstore::RecordState;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Invoices that come in before each start of the worker.
const PER_ROUND: u64 = 24;
/// The latest point after its start at which a worker is killed.
const LATEST_MS: u64 = 90;

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    kills: u64,
    seed: u64,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Options> {
        let mut options = Options { kills: 200, seed: 1 };
        for pair in words.chunks(2) {
            match pair {
                ["--kills", number] => options.kills = number.parse()?,
                ["--seed", number] => options.seed = number.parse()?,
                _ => return Err("usage: invoices [--kills 200] [--seed 1]".into()),
            }
        }
        Ok(options)
    }
}

/// A process that is killed when this value goes.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let store = dir.path().join("store");
    let (_server, port) = start_server(options.seed)?;
    let mut dice = Dice(!options.seed);
    let (mut kills, mut rounds, mut invoices) = (0, 0, 0);
    while kills < options.kills {
        invoices += PER_ROUND;
        rounds += 1;
        let mut worker = Killed(start_worker(&store, port, invoices)?);
        thread::sleep(Duration::from_millis(dice.roll(LATEST_MS)));
        match worker.0.try_wait()? {
            None => kills += 1,
            Some(status) if status.success() => {}
            Some(status) => return Err(format!("a worker failed in round {rounds}: {status}").into()),
        }
    }
    // The last one is left in peace.
    let status = start_worker(&store, port, invoices)?.wait()?;
    if !status.success() {
        return Err(format!("the last worker failed: {status}").into());
    }
    // What the API still does late is done by then.
    thread::sleep(worker::PATIENCE * 4);
    println!("{kills} kills in {rounds} rounds, {invoices} invoices");
    compare(&store, invoices, &ledger(port)?)
}

fn start_server(seed: u64) -> Result<(Killed, u16)> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(["server", &seed.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = server.stdout.take();
    let server = Killed(server);
    let mut line = String::new();
    BufReader::new(output.ok_or("the server has no output")?).read_line(&mut line)?;
    Ok((server, line.trim().parse()?))
}

fn start_worker(store: &Path, port: u16, invoices: u64) -> Result<Child> {
    let mut worker = Command::new(std::env::current_exe()?);
    worker.arg("worker").arg(store).arg(port.to_string()).arg(invoices.to_string());
    Ok(worker.spawn()?)
}

/// How often each invoice was booked.
fn ledger(port: u16) -> Result<BTreeMap<String, u64>> {
    let (_, body) = call(port, "GET", "/ledger", 0, Duration::from_secs(10))?;
    let mut ledger = BTreeMap::new();
    for key in body.lines() {
        *ledger.entry(key.to_owned()).or_default() += 1;
    }
    Ok(ledger)
}

/// Ends of invoices: how many, and in how many the ledger and the store disagree.
#[derive(Debug, Default)]
struct Tally {
    asked_booked: u64,
    blind_booked: u64,
    parked_booked: u64,
    parked_not_booked: u64,
    /// Attempts after the first.
    repeats: u64,
    wrong: Vec<String>,
}

fn compare(dir: &Path, invoices: u64, ledger: &BTreeMap<String, u64>) -> Result<()> {
    let store = worker::open(dir)?;
    let mut tally = Tally::default();
    for number in 0..invoices {
        let (kind, key) = invoice(number);
        let namespace = store.namespace(if kind == Kind::Asked { "asked" } else { "blind" })?;
        let record = namespace.get(&key)?.ok_or_else(|| format!("{key} is lost"))?;
        tally.repeats += u64::from(record.attempt() - 1);
        let booked = ledger.get(&key).copied().unwrap_or_default();
        match (kind, record.state(), booked) {
            (Kind::Asked, RecordState::Completed, 1) => tally.asked_booked += 1,
            (Kind::Blind, RecordState::Completed, 1) => tally.blind_booked += 1,
            (Kind::Blind, RecordState::Parked, 1) => tally.parked_booked += 1,
            (Kind::Blind, RecordState::Parked, 0) => tally.parked_not_booked += 1,
            (_, state, booked) => tally.wrong.push(format!("{key}: {state:?}, booked {booked} times")),
        }
    }
    store.verify()?;
    store.close()?;
    let Tally { asked_booked, blind_booked, parked_booked, parked_not_booked, repeats, wrong } = tally;
    println!(
        "can be asked: {asked_booked} booked exactly once and completed, after {repeats} further attempts"
    );
    println!(
        "cannot be asked: {blind_booked} booked exactly once and completed; parked, not guessed: {parked_booked} \
         booked, {parked_not_booked} not"
    );
    if !wrong.is_empty() {
        return Err(format!("{} invoices ended wrongly:\n{}", wrong.len(), wrong.join("\n")).into());
    }
    println!("every invoice ended as it should");
    Ok(())
}
