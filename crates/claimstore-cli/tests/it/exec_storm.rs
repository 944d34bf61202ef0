//! Hundreds of runs of `claimstore exec`, each ended in another way: with a process left behind, an output that is closed,
//! not read or does not block, signals that come once, again or are ignored, and `kill -9`, while somebody else has the
//! store open now and then. What the commands did and what the store says of it must agree, and where somebody was told
//! an end, or that it is recorded, the command does not run again.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use claimstore::RecordState;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use crate::exec::{now, pause};
use crate::sandbox::{Sandbox, code, send, through};

/// So many runs go on at a time.
const LANES: u64 = 12;
/// After so long a run hangs.
const WATCHDOG: Duration = Duration::from_secs(60);
/// More than a pipe holds and than may wait behind it; less than two pipes hold with it.
const LONG: usize = 150_000;
const SIGNALS: [(Signal, &str); 4] =
    [(Signal::HUP, "HUP"), (Signal::INT, "INT"), (Signal::QUIT, "QUIT"), (Signal::TERM, "TERM")];

/// Notes that it runs; leaves a process behind; prints its token and zeros; notes that it is done, from when on no
/// signal ends it; and ends.
const COMMAND: &str = r#"echo "$CLAIMSTORE_KEY $CLAIMSTORE_TOKEN" >> $RUNS
if [ -n "$LEAVES" ]; then sleep 60 & echo $! >> $RUNS.$CLAIMSTORE_KEY.left; fi
echo $CLAIMSTORE_TOKEN; head -c $BYTES /dev/zero
[ $END = signal ] && kill -KILL $$
trap '' HUP INT QUIT TERM
echo "$CLAIMSTORE_KEY $CLAIMSTORE_TOKEN" >> $RUNS.done
exit $END"#;

/// Numbers drawn one after the other (SplitMix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Read,
    ReaderGone,
    NonBlocking,
    /// Read once the run has had its blow.
    Late,
    Closed,
}

/// How the wrapper is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    None,
    Kill,
    /// So many times.
    Signal(Signal, u32),
    /// Told to ignore it before.
    Ignored(Signal, &'static str),
}

#[derive(Debug)]
struct Plan {
    key: String,
    end: &'static str,
    leaves: bool,
    output: Output,
    blow: Blow,
    /// When the blow comes, in thousandths of what a run takes; where something is left, once that was said.
    point: u64,
    stores: bool,
    parks: bool,
    /// Somebody else opens the store at this point, for so many milliseconds.
    occupied: Option<(u64, u64)>,
}

fn plan(run: u64, seed: u64) -> Plan {
    let mut draw = Draw(seed.wrapping_mul(1_000_003).wrapping_add(run));
    let (signal, name) = draw.one(&SIGNALS);
    let times = draw.below(3) as u32 + 1;
    Plan {
        key: format!("k{run}"),
        end: draw.one(&["0", "0", "3", "signal"]),
        leaves: draw.below(3) == 0,
        output: draw.one(&[
            Output::Read,
            Output::ReaderGone,
            Output::NonBlocking,
            Output::Late,
            Output::Closed,
        ]),
        blow: draw.one(&[
            Blow::None,
            Blow::Kill,
            Blow::Kill,
            Blow::Signal(signal, times),
            Blow::Ignored(signal, name),
        ]),
        point: draw.below(1_250),
        stores: draw.below(2) == 0,
        parks: draw.below(2) == 0,
        occupied: (draw.below(3) == 0).then(|| (draw.below(1_000), draw.below(300))),
    }
}

impl Plan {
    fn bytes(&self) -> usize {
        if matches!(self.output, Output::NonBlocking | Output::Late) { LONG } else { 10 }
    }

    fn words(&self) -> String {
        let on_failure = if self.stores { "store" } else { "retry" };
        let on_orphan = if self.parks { "park" } else { "retry" };
        format!(
            "exec --key {} --lease 1s --attempts 9 --wait 60s --lock-wait 60s --on-failure {on_failure} --on-orphan {on_orphan}",
            self.key
        )
    }

    fn command(&self, sandbox: &Sandbox) -> Command {
        let mut command = sandbox.command(&self.words());
        command.args(["--", "sh", "-c", COMMAND]).env("RUNS", sandbox.path("runs")).env("END", self.end);
        command.env("LEAVES", if self.leaves { "1" } else { "" }).env("BYTES", self.bytes().to_string());
        command
    }

    /// The first call, with its output as planned; and our end of it.
    fn first(&self, sandbox: &Sandbox) -> (Child, Option<io::PipeReader>) {
        let ignored =
            if let Blow::Ignored(_, name) = self.blow { format!("trap '' {name}; ") } else { String::new() };
        let closed = if self.output == Output::Closed { " >&-" } else { "" };
        let mut command = through(&format!("{ignored}exec \"$@\"{closed}"), &self.command(sandbox));
        let (reader, writer) = io::pipe().unwrap();
        if self.output == Output::NonBlocking {
            fcntl_setfl(&writer, fcntl_getfl(&writer).unwrap() | OFlags::NONBLOCK).unwrap();
        }
        let child = command.stdout(writer).spawn().unwrap();
        let is_read = matches!(self.output, Output::Read | Output::NonBlocking | Output::Late);
        (child, is_read.then_some(reader))
    }

    /// What a run with this token prints.
    fn expected(&self, token: &str) -> Vec<u8> {
        let mut out = format!("{token}\n").into_bytes();
        out.resize(out.len() + self.bytes(), 0);
        out
    }
}

/// What came of one call.
struct Call {
    code: i32,
    out: Option<Vec<u8>>,
    err: String,
    killed: bool,
}

impl Call {
    /// Somebody was told that the run has a result.
    fn is_known(&self, plan: &Plan) -> bool {
        let is_result = self.code == 0 || self.code == 3 && plan.stores;
        !self.killed && is_result
            || plan.end != "signal" && is_recorded(&self.err) && (plan.end == "0" || plan.stores)
    }
}

fn is_recorded(err: &str) -> bool {
    err.contains("its end is recorded")
}

#[derive(Default)]
struct Tally {
    runs: u32,
    killed: u32,
    left: u32,
    signalled: u32,
    known: u32,
    again: u32,
    held: u32,
}

/// What the commands of one key noted, by token.
fn noted(sandbox: &Sandbox, file: &str, key: &str) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path(file)).unwrap_or_default();
    let of_key = |line: &str| Some(line.strip_prefix(key)?.strip_prefix(' ')?.to_owned());
    text.lines().filter_map(of_key).collect()
}

/// Lines of standard error as they come.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (lines, said) = mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    thread::Builder::new()
        .spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)))
        .unwrap();
    said
}

/// Reads until the words, or the end.
fn read_until(said: &Receiver<String>, err: &mut String, words: Option<&str>) {
    let begun = now();
    while words.is_none_or(|words| !err.contains(words)) {
        match said.recv_timeout(WATCHDOG.saturating_sub(begun.elapsed())) {
            Ok(line) => err.push_str(&(line + "\n")),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => panic!("hangs: {err}"),
        }
    }
}

fn wait(child: &mut Child, plan: &Plan) -> ExitStatus {
    let begun = now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > WATCHDOG {
            child.kill().unwrap();
            panic!("hangs: {plan:?}");
        }
        pause(Duration::from_millis(2));
    }
}

fn until(begun: Instant, point: Duration) {
    pause(point.saturating_sub(begun.elapsed()));
}

/// The first call, as planned, with its blow.
fn first_call(plan: &Plan, sandbox: &Sandbox, whole: Duration) -> Call {
    let begun = now();
    let (mut child, reader) = plan.first(sandbox);
    let said = lines_of(&mut child);
    let mut err = String::new();
    thread::scope(|scope| {
        let (go, gone) = mpsc::channel::<()>();
        let is_late = plan.output == Output::Late;
        let out = reader.map(|mut reader| {
            scope.spawn(move || {
                // Hung up when it is time.
                let _ = is_late.then(|| gone.recv());
                let mut out = Vec::new();
                reader.read_to_end(&mut out).map(|_| out).unwrap()
            })
        });
        if let Some((point, ms)) = plan.occupied {
            scope.spawn(move || {
                until(begun, whole * point as u32 / 1_000);
                let store = sandbox.open();
                pause(Duration::from_millis(ms));
                store.close().unwrap();
            });
        }
        let early = plan.point.is_multiple_of(2);
        let is_told = matches!(plan.blow, Blow::Kill | Blow::Signal(..)) && early;
        if plan.leaves && !is_told {
            read_until(&said, &mut err, Some("its end is recorded"));
            assert!(is_recorded(&err), "a result waits for what was left: {plan:?} {err}");
        } else {
            until(begun, whole * plan.point as u32 / 1_000);
        }
        blow(plan, &child, sandbox);
        drop(go);
        if !is_told || !plan.leaves {
            end_left(plan, sandbox);
        }
        let status = wait(&mut child, plan);
        end_left(plan, sandbox);
        read_until(&said, &mut err, None);
        let killed = plan.blow == Blow::Kill && status.signal() == Some(9);
        Call { code: code(status), out: out.map(|out| out.join().unwrap()), err, killed }
    })
}

fn blow(plan: &Plan, child: &Child, sandbox: &Sandbox) {
    match plan.blow {
        Blow::None => {}
        Blow::Kill => send(child, Signal::KILL),
        Blow::Signal(signal, times) => (0..times).for_each(|_| send(child, signal)),
        Blow::Ignored(signal, _) => {
            // Before that, whoever is to ignore it may not yet.
            let begun = now();
            while noted(sandbox, "runs", &plan.key).is_empty() && begun.elapsed() < WATCHDOG {
                pause(Duration::from_millis(2));
            }
            send(child, signal);
        }
    }
}

/// Ends what the commands of a key left behind.
fn end_left(plan: &Plan, sandbox: &Sandbox) {
    let left = sandbox.path(&format!("runs.{}.left", plan.key));
    let pids = fs::read_to_string(&left).unwrap_or_default();
    for pid in pids.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// A later call, with nothing in its way.
fn later_call(plan: &Plan, sandbox: &Sandbox) -> Call {
    let mut command = plan.command(sandbox);
    command.env("LEAVES", "");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let said = lines_of(&mut child);
    let (mut out, mut err) = (Vec::new(), String::new());
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    read_until(&said, &mut err, None);
    Call { code: code(wait(&mut child, plan)), out: Some(out), err, killed: false }
}

fn one_run(plan: &Plan, sandbox: &Sandbox, whole: Duration, tally: &mut Tally) {
    let first = first_call(plan, sandbox, whole);
    let before = noted(sandbox, "runs", &plan.key);
    let done = noted(sandbox, "runs.done", &plan.key);
    check_first(plan, &first, &before, &done);
    // A command that came to its end under a wrapper that lives has an end that is known, whatever was signalled.
    let has_result = plan.end == "0" || plan.end == "3" && plan.stores;
    let is_ended = !first.killed && first.code != 74 && !done.is_empty();
    let is_known = first.is_known(plan) || is_ended && has_result;
    let second = later_call(plan, sandbox);
    let after = noted(sandbox, "runs", &plan.key);
    assert!(after.is_sorted_by_key(|token| token.parse::<u64>().unwrap()), "{after:?}");
    if is_known {
        assert_eq!(
            after, before,
            "ran again, though its end was known: {plan:?} {} {}",
            first.code, first.err
        );
    }
    // Without a result, the killed wrapper may have recorded that the run is to be tried again.
    let is_held = plan.parks && first.killed && has_result;
    assert!(!is_held || after.len() <= 1, "ran again, though it was to be held: {plan:?}");
    check_second(plan, &second, &after);
    check_record(plan, &first, &before, &second, sandbox, &after);
    tally.runs += 1;
    tally.killed += u32::from(first.killed);
    tally.left += u32::from(plan.leaves);
    tally.signalled += u32::from(matches!(plan.blow, Blow::Signal(..) | Blow::Ignored(..)));
    tally.known += u32::from(is_known);
    tally.again += u32::from(after.len() > 1);
    tally.held += u32::from(second.code == 4);
}

fn check_first(plan: &Plan, first: &Call, before: &[String], done: &[String]) {
    assert!(before.len() <= 1 && done.len() <= before.len(), "{plan:?}");
    let is_signalled = matches!(plan.blow, Blow::Signal(..));
    let expected: &[i32] = match plan.end {
        "0" => &[0],
        "3" => &[3],
        _ => &[137],
    };
    let signals = [129, 130, 131, 143];
    let is_expected = first.killed
        || expected.contains(&first.code)
        // Given up by the second signal, which comes with a warning.
        || is_signalled && (signals.contains(&first.code) || first.code == 74 && first.err.contains("gives it up"));
    assert!(is_expected, "{plan:?}: {} {}", first.code, first.err);
    if let (Some(out), [token], true) = (&first.out, before, !first.killed && !is_signalled) {
        assert!(*out == plan.expected(token), "{plan:?}: {} bytes were passed on: {}", out.len(), first.err);
    }
}

/// A later call gives the result of one run, or runs the command, or is told that the key is held.
fn check_second(plan: &Plan, second: &Call, after: &[String]) {
    match second.code {
        4 => assert!(plan.parks, "{plan:?}: {}", second.err),
        0 | 3 | 137 => {
            let out = second.out.as_ref().unwrap();
            assert!(after.iter().any(|token| *out == plan.expected(token)), "{plan:?}: {} bytes", out.len());
            assert_eq!(second.code.to_string().replace("137", "signal"), plan.end);
        }
        _ => panic!("{plan:?}: {} {}", second.code, second.err),
    }
}

/// What the store says agrees with what the commands did.
fn check_record(
    plan: &Plan,
    first: &Call,
    before: &[String],
    second: &Call,
    sandbox: &Sandbox,
    after: &[String],
) {
    let store = sandbox.open();
    let record = store.namespace("exec").unwrap().get(&plan.key).unwrap().unwrap();
    store.close().unwrap();
    let expected = match (second.code, plan.stores) {
        (0, _) => RecordState::Completed,
        (3, true) => RecordState::Failed,
        (4, _) => RecordState::Parked,
        _ => RecordState::Retry,
    };
    assert_eq!(record.state(), expected, "{plan:?}");
    let (attempts, runs) = (record.attempt() as usize, after.len());
    // A wrapper that dies between its claim and its command leaves an attempt without a run.
    let idle = usize::from(first.killed || before.is_empty());
    assert!(runs <= attempts && attempts <= runs + idle, "{attempts} attempts, {runs} runs: {plan:?}");
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// `CLAIMSTORE_EXEC_RUNS` of them, planned from `CLAIMSTORE_SEED`.
#[test]
fn however_runs_end_their_effects_and_the_store_agree() {
    let (runs, seed) = (number("CLAIMSTORE_EXEC_RUNS", 12), number("CLAIMSTORE_SEED", 1));
    println!("exec: CLAIMSTORE_SEED={seed} CLAIMSTORE_EXEC_RUNS={runs}");
    let begun = now();
    let lanes = thread::scope(|scope| {
        let lane = |lane| scope.spawn(move || runs_of_a_lane((lane..runs).step_by(LANES as usize), seed));
        let lanes: Vec<_> = (0..LANES.min(runs)).map(lane).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect::<Vec<_>>()
    });
    let sum = |of: fn(&Tally) -> u32| lanes.iter().map(of).sum::<u32>();
    println!(
        "{} runs of exec in {} s: {} wrappers killed, {} with signals, {} with a process left behind; {} ran again, {} held \
         for review; of {} whose end was known, 0 ran again",
        sum(|tally| tally.runs),
        begun.elapsed().as_secs(),
        sum(|tally| tally.killed),
        sum(|tally| tally.signalled),
        sum(|tally| tally.left),
        sum(|tally| tally.again),
        sum(|tally| tally.held),
        sum(|tally| tally.known),
    );
    assert_eq!(u64::from(sum(|tally| tally.runs)), runs);
}

/// Runs of these numbers, one after the other on a store of their own.
fn runs_of_a_lane(numbers: impl Iterator<Item = u64>, seed: u64) -> Tally {
    let sandbox = Sandbox::new();
    let mut tally = Tally::default();
    let mut whole = Duration::ZERO;
    // The second: the first makes the store.
    for key in ["first", "second"] {
        let begun = now();
        let idle = Plan {
            key: key.into(),
            end: "0",
            leaves: false,
            output: Output::Read,
            blow: Blow::None,
            point: 0,
            stores: false,
            parks: false,
            occupied: None,
        };
        assert_eq!(later_call(&idle, &sandbox).code, 0);
        whole = begun.elapsed();
    }
    for number in numbers {
        one_run(&plan(number, seed), &sandbox, whole, &mut tally);
    }
    tally
}
