//! A child at work whose disk fails, again and again on one store.
//!
//! One cycle: the child is started, behind the shell text `under`; what it says is taken down. After up to `lines`
//! lines the command `fault` runs, and the child must come to an end: by a signal, or with an honest error. Then
//! `relief` runs, and the store is opened as it is: it is refused honestly, or everything is there. Then `mend`
//! runs, and everything must be there. Commands find the number of the cycle in `$CYCLE`, the child in `$CHILD`.

use claimstore::Store;
use claimstore_sim::Rng;
use claimstore_sim::kill::{Book, is_honest};
use claimstore_sim::script::Stop;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What to do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dir: PathBuf,
    pub(crate) cycles: u64,
    pub(crate) seed: u64,
    /// Up to how many lines of the child come before the fault; the most there are: the child ends by itself.
    pub(crate) lines: u64,
    pub(crate) under: String,
    pub(crate) fault: String,
    pub(crate) relief: String,
    pub(crate) mend: String,
}

#[derive(Debug, Default)]
struct Tally {
    /// Children that ended with an honest error, by a signal.
    owned_up: u64,
    signalled: u64,
    /// Looks at the store before the disk was mended: at all of it, and refused as what.
    early: u64,
    refused: BTreeMap<String, u64>,
}

/// Carries the plan out; answers what happened, in one line.
pub(crate) fn run(plan: &Plan) -> Result<String, Stop> {
    let mut book = Book::default();
    let mut tally = Tally::default();
    for cycle in plan.seed..plan.seed.saturating_add(plan.cycles) {
        one_cycle(plan, cycle, &mut book, &mut tally).map_err(|stop| match stop {
            Stop::Disagree(what) => Stop::Disagree(format!("cycle {cycle}: {what}")),
            Stop::Failed(kind, what) => Stop::Failed(kind, format!("cycle {cycle}: {what}")),
        })?;
    }
    Ok(format!(
        "{} cycles, {} acknowledged, 0 lost; ends: {} honest errors, {} signals; before it was mended: {} opened, refused {:?}",
        plan.cycles,
        book.acknowledged(),
        tally.owned_up,
        tally.signalled,
        tally.early,
        tally.refused,
    ))
}

fn one_cycle(plan: &Plan, cycle: u64, book: &mut Book, tally: &mut Tally) -> Result<(), Stop> {
    let mut child = start(plan, cycle)?;
    let pid = child.id();
    let said = child.stdout.take().ok_or_else(|| Stop::Disagree("no pipe".into()))?;
    let mut said = BufReader::new(said).lines();
    let lines = if plan.lines == u64::MAX { u64::MAX } else { Rng::new(cycle).below(plan.lines) };
    for _ in 0..lines {
        let Some(line) = said.next() else { break };
        book.note(cycle, &line.map_err(|error| unexpected(&error))?)?;
    }
    shell(&plan.fault, cycle, pid)?;
    // What it says from here on counts no less.
    for line in said {
        book.note(cycle, &line.map_err(|error| unexpected(&error))?)?;
    }
    how_it_ended(child, tally)?;
    book.end_life();

    shell(&plan.relief, cycle, pid)?;
    match look(&plan.dir, book) {
        Ok(()) => tally.early += 1,
        Err(Stop::Failed(kind, _)) if is_honest(kind) => {
            *tally.refused.entry(format!("{kind:?}")).or_default() += 1;
        }
        Err(stop) => return Err(stop),
    }
    shell(&plan.mend, cycle, pid)?;
    look(&plan.dir, book)
}

fn start(plan: &Plan, cycle: u64) -> Result<Child, Stop> {
    let own = std::env::current_exe().map_err(|error| unexpected(&error))?;
    Command::new("sh")
        .args(["-c", &format!("{}\nexec \"$@\"", plan.under), "sh"])
        .arg(own.with_file_name("kill_child"))
        .arg(&plan.dir)
        .args([cycle.to_string().as_str(), "sync"])
        .env("CYCLE", cycle.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| unexpected(&error))
}

/// A child ends with an honest error, or by a signal that somebody sent.
fn how_it_ended(mut child: Child, tally: &mut Tally) -> Result<(), Stop> {
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut complaint).map_err(|error| unexpected(&error))?;
    }
    let ended = child.wait().map_err(|error| unexpected(&error))?;
    let kinds: Vec<&str> = complaint.split("Error { kind: ").skip(1).collect();
    let honest = ["Io", "Full", "Indeterminate", "Poisoned"];
    let all_honest = kinds.iter().all(|kind| honest.iter().any(|word| kind.starts_with(word)));
    match ended.code() {
        None if complaint.is_empty() => tally.signalled += 1,
        Some(1) if !kinds.is_empty() && all_honest => tally.owned_up += 1,
        _ => return Err(Stop::Disagree(format!("the child ended with {ended}: {complaint}"))),
    }
    Ok(())
}

/// Opens the store, asks it about everything, and closes it.
fn look(dir: &Path, book: &Book) -> Result<(), Stop> {
    let store = Store::open(dir)?;
    book.check(&store)?;
    store.verify()?;
    Ok(store.close()?)
}

fn shell(command: &str, cycle: u64, child: u32) -> Result<(), Stop> {
    let done = Command::new("sh")
        .args(["-ec", command])
        .env("CYCLE", cycle.to_string())
        .env("CHILD", child.to_string())
        .status()
        .map_err(|error| unexpected(&error))?;
    if done.success() { Ok(()) } else { Err(Stop::Disagree(format!("{command:?} ended with {done}"))) }
}

fn unexpected(error: &std::io::Error) -> Stop {
    Stop::Disagree(format!("outside the store: {error}"))
}
