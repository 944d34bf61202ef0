//! Recovery points of work in several steps: [`Steps`].
//!
//! Before each step it is saved that the step begins, after it what it gave. The next attempt replays what
//! is there and goes on with the first step that is not done. A step that had begun is done again, with the
//! same [child key](Step::key): a remote side that knows the key answers as before.

use crate::step_list::{Stage, StepList};
use claimstore::{Error, ErrorKind, Lease, Namespace, Once, OnceError};
use std::fmt;
use std::time::Duration;

/// Work in named steps, under a lease (`'l`), with undos that may borrow (`'u`).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use claimstore::Store;
/// use claimstore_recovery::steps::{Step, Steps};
/// use std::convert::Infallible;
/// # use std::time::Duration;
///
/// let store = Store::in_memory()?;
/// let mut lease = store.claim("order-7", Duration::from_secs(86_400))?.claimed().unwrap();
/// let mut steps = Steps::begin(&mut lease, &["reserve", "charge"])?;
/// let place = steps.run("reserve", |_: &Step| Ok::<_, Infallible>(b"shelf 4".to_vec()))?;
/// steps.run("charge", |step: &Step| {
///     let _idempotency_key = step.key();
///     Ok::<_, Infallible>(b"paid".to_vec())
/// })?;
/// lease.complete(place)?;
/// # store.close()?; Ok(()) }
/// ```
pub struct Steps<'l, 'u> {
    lease: &'l mut Lease,
    list: StepList,
    /// The step that `run` expects.
    at: usize,
    undos: Vec<Undo<'u>>,
}

/// One step, as the closure that does it sees it.
#[derive(Clone, Copy)]
pub struct Step {
    key: [u8; 32],
    attempt: u32,
    token: u64,
    again: bool,
}

impl Step {
    /// The idempotency key for the remote call: the same on every attempt of this key and step.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Which attempt at the whole work this is.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The fencing token.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether an earlier attempt began this step and nobody knows how far it came.
    pub fn is_again(&self) -> bool {
        self.again
    }
}

/// Shows attempt and token, never the key: whoever has it can speak for the step at the remote side.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("attempt", &self.attempt)
            .field("token", &self.token)
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}

/// How an undo ends: its response is stored, so that it runs once.
type UndoResult = Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;

/// Given the step's output, if it is known to be done.
type UndoFn<'a> = Box<dyn FnOnce(Option<&[u8]>) -> UndoResult + 'a>;

/// What undoes a step that was done, or was begun.
struct Undo<'a> {
    step: String,
    output: Option<Vec<u8>>,
    run: UndoFn<'a>,
}

/// Why a step did not give its output.
#[derive(Debug)]
pub enum StepError<E> {
    /// The store refused or failed.
    Store(Error),
    /// The work failed with this. The step counts as begun.
    Work(E),
    /// An earlier attempt stored another list of steps, or progress of another kind. Nothing was run.
    Changed,
    /// It is not this step's turn, or it is not in the list.
    OutOfOrder,
    /// An earlier attempt has begun to undo: no further step may be done.
    Undoing,
}

/// Why what was done is not all undone.
#[derive(Debug)]
pub enum UndoError {
    /// The store refused or failed.
    Store(Error),
    /// The undo of this step failed, and may be tried again.
    Failed(String, Box<dyn std::error::Error + Send + Sync>),
    /// Somebody else is undoing this step.
    InProgress(String),
}

impl<'l, 'u> Steps<'l, 'u> {
    /// Takes up the steps `names`, 1 to 255 of them, all different, with what earlier attempts stored of them.
    /// [`StepError::Changed`] when those had other steps.
    pub fn begin(lease: &'l mut Lease, names: &[&str]) -> Result<Steps<'l, 'u>, StepError<Error>> {
        let fresh = StepList::new(names).ok_or(StepError::OutOfOrder)?;
        let list = match lease.progress() {
            None => fresh,
            Some(bytes) => {
                StepList::decode(bytes).filter(|stored| stored.is_same(&fresh)).ok_or(StepError::Changed)?
            }
        };
        Ok(Steps { lease, list, at: 0, undos: Vec::new() })
    }

    /// Whether an earlier attempt has begun to undo.
    pub fn is_undoing(&self) -> bool {
        self.list.undoing
    }

    /// Runs a step, or gives what it gave before. Steps are run in the order of the list.
    pub fn run<E>(
        &mut self,
        name: &str,
        work: impl FnOnce(&Step) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, StepError<E>> {
        self.step(name, work, None)
    }

    /// Like [`run`](Steps::run), with what is to be done should a later step fail: see
    /// [`undo_all`](Steps::undo_all). `undo` is given the step's output, or `None` when it was begun and
    /// nobody knows whether it was done.
    pub fn run_with_undo<E>(
        &mut self,
        name: &str,
        work: impl FnOnce(&Step) -> Result<Vec<u8>, E>,
        undo: impl FnOnce(Option<&[u8]>) -> UndoResult + 'u,
    ) -> Result<Vec<u8>, StepError<E>> {
        self.step(name, work, Some(Box::new(undo)))
    }

    fn step<E>(
        &mut self,
        name: &str,
        work: impl FnOnce(&Step) -> Result<Vec<u8>, E>,
        undo: Option<UndoFn<'u>>,
    ) -> Result<Vec<u8>, StepError<E>> {
        let stage = self.list.stage(self.at, name).ok_or(StepError::OutOfOrder)?.clone();
        let again = stage == Stage::Begun;
        if let Some(run) = undo.filter(|_| stage != Stage::Ahead || !self.list.undoing) {
            let output = if let Stage::Done(output) = &stage { Some(output.clone()) } else { None };
            self.undos.push(Undo { step: name.to_owned(), output, run });
        }
        if let Stage::Done(output) = stage {
            self.at += 1;
            return Ok(output);
        }
        if self.list.undoing {
            self.at += 1;
            return Err(StepError::Undoing);
        }
        self.save(Stage::Begun).map_err(StepError::Store)?;
        let step = Step {
            key: self.lease.child_key(name),
            attempt: self.lease.attempt(),
            token: self.lease.token(),
            again,
        };
        let output = work(&step).map_err(StepError::Work)?;
        if let Some(undo) = self.undos.last_mut().filter(|undo| undo.step == name) {
            undo.output = Some(output.clone());
        }
        self.save(Stage::Done(output.clone())).map_err(StepError::Store)?;
        self.at += 1;
        Ok(output)
    }

    /// What could not be saved did not happen: the list is as it was.
    fn save(&mut self, stage: Stage) -> Result<(), Error> {
        let before = self.list.set(self.at, stage);
        self.lease.save_progress(self.list.encode()).inspect_err(|_| {
            if let Some(before) = before {
                self.list.set(self.at, before);
            }
        })
    }

    /// Undoes the steps that were run with an undo and were done or begun, the last one first. Answers how
    /// many undos ran now.
    ///
    /// Each is a claim of its own in `undos`, remembered for `ttl`, so that it runs once however often this
    /// is called, by however many attempts. That the work is being undone is saved first: no later
    /// attempt goes on with it. It runs the steps again, which replays what was done and names the
    /// undos, and ends up here.
    pub fn undo_all(mut self, undos: &Namespace, ttl: Duration) -> Result<usize, UndoError> {
        self.list.undoing = true;
        self.lease.save_progress(self.list.encode()).map_err(UndoError::Store)?;
        let mut ran = 0;
        for undo in std::mem::take(&mut self.undos).into_iter().rev() {
            let key = self.lease.child_key(&format!("undo/{}", undo.step));
            let Undo { step, output, run } = undo;
            match undos.once(key, ttl, |_| run(output.as_deref())) {
                Ok(Once::Ran(_)) => ran += 1,
                Ok(Once::Replayed(_)) => {}
                Ok(Once::InProgress(_)) => return Err(UndoError::InProgress(step)),
                Err(OnceError::Work(error)) => return Err(UndoError::Failed(step, error)),
                Err(OnceError::Store(error)) => return Err(UndoError::Store(error)),
                Err(OnceError::NotStored { error, .. }) => return Err(UndoError::Store(error.into())),
            }
        }
        Ok(ran)
    }
}

impl fmt::Debug for Steps<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps").field("at", &self.at).field("list", &self.list).finish_non_exhaustive()
    }
}

impl<E: fmt::Display> fmt::Display for StepError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepError::Store(error) => error.fmt(f),
            StepError::Work(error) => error.fmt(f),
            StepError::Changed => f.write_str("an earlier attempt stored another list of steps"),
            StepError::OutOfOrder => f.write_str("the step is not in the list, or it is not its turn"),
            StepError::Undoing => f.write_str("an earlier attempt has begun to undo the work"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for StepError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StepError::Store(error) => Some(error),
            StepError::Work(error) => Some(error),
            StepError::Changed | StepError::OutOfOrder | StepError::Undoing => None,
        }
    }
}

impl fmt::Display for UndoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UndoError::Store(error) => error.fmt(f),
            UndoError::Failed(step, error) => write!(f, "the undo of step {step} failed: {error}"),
            UndoError::InProgress(step) => write!(f, "somebody else is undoing step {step}"),
        }
    }
}

impl std::error::Error for UndoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            UndoError::Store(error) => Some(error),
            UndoError::Failed(_, error) => Some(&**error),
            UndoError::InProgress(_) => None,
        }
    }
}

/// What kind of error the store gave, where it was the store.
impl<E> StepError<E> {
    /// The kind of the store's error; `None` for the others.
    pub fn store_kind(&self) -> Option<ErrorKind> {
        if let StepError::Store(error) = self { Some(error.kind()) } else { None }
    }
}
