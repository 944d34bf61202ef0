//! Recovery points of work in several steps: [`Steps`].
//!
//! Before each step its begin is saved, after it its output. The next attempt replays the saved outputs and continues
//! with the first step that is not done. A step that had begun is done again, with the same [child key](Step::key): a
//! remote side that knows the key returns the same result as before.

use crate::step_list::{Stage, StepList};
use claimstore_core::claims::Working;
use claimstore_core::{Claim, Claims, Error, ErrorKind, Failure};
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
    lease: &'l mut (dyn Working + 'static),
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

    /// Whether an earlier attempt began this step, with unknown result.
    pub fn is_again(&self) -> bool {
        self.again
    }
}

/// Without the key: it authorises requests for this step at the remote side.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("attempt", &self.attempt)
            .field("token", &self.token)
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}

/// The result of an undo. The response is stored, so that the undo runs once.
type UndoResult = Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;

/// The closure of an undo. It gets the step's output if the step is known to be done.
type UndoFn<'a> = Box<dyn FnOnce(Option<&[u8]>) -> UndoResult + 'a>;

/// The undo of a step that was done or begun.
struct Undo<'a> {
    step: String,
    output: Option<Vec<u8>>,
    run: UndoFn<'a>,
}

/// Why a step has no output.
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

/// Why not all steps were undone.
#[derive(Debug)]
pub enum UndoError {
    /// The store refused or failed.
    Store(Error),
    /// The undo of this step failed, and may be tried again.
    Failed(String, Box<dyn std::error::Error + Send + Sync>),
    /// Another caller is undoing this step.
    InProgress(String),
}

impl<'l, 'u> Steps<'l, 'u> {
    /// Continues the steps `names`, 1 to 255 of them, all different, from the progress that earlier attempts stored.
    /// [`StepError::Changed`] if those had other steps. `lease` is one of the embedded store or of any other backend.
    pub fn begin(
        lease: &'l mut (dyn Working + 'static),
        names: &[&str],
    ) -> Result<Steps<'l, 'u>, StepError<Error>> {
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

    /// Runs a step, or returns its stored output. Steps are run in the order of the list.
    pub fn run<E>(
        &mut self,
        name: &str,
        work: impl FnOnce(&Step) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, StepError<E>> {
        self.step(name, work, None)
    }

    /// Like [`run`](Steps::run), with an undo for the case that a later step fails: see
    /// [`undo_all`](Steps::undo_all). `undo` gets the step's output, or `None` if the step was begun and its result
    /// is unknown.
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

    /// Saves a new stage. If that fails, the list in memory stays unchanged.
    fn save(&mut self, stage: Stage) -> Result<(), Error> {
        let before = self.list.set(self.at, stage);
        self.lease.save_progress(self.list.encode()).inspect_err(|_| {
            if let Some(before) = before {
                self.list.set(self.at, before);
            }
        })
    }

    /// Undoes the steps that were run with an undo and were done or begun, the last one first. Returns how many undos
    /// ran now.
    ///
    /// Each undo is a claim of its own in `undos`, remembered for `ttl`, so it runs once, however often this is
    /// called and by however many attempts. First it is saved that the work is being undone, so that no later attempt
    /// continues it. A later attempt runs the steps again, which replays the outputs and registers the undos, and
    /// then calls this again.
    pub fn undo_all(mut self, undos: impl Into<Claims>, ttl: Duration) -> Result<usize, UndoError> {
        self.list.undoing = true;
        self.lease.save_progress(self.list.encode()).map_err(UndoError::Store)?;
        let (undos, mut ran) = (undos.into(), 0);
        for undo in std::mem::take(&mut self.undos).into_iter().rev() {
            let key = self.lease.child_key(&format!("undo/{}", undo.step));
            ran += usize::from(undo.run_once(&undos, key, ttl)?);
        }
        Ok(ran)
    }
}

impl Undo<'_> {
    /// Runs it under a claim of `key`; returns `false` if it ran before. A panic abandons the claim.
    fn run_once(self, undos: &Claims, key: [u8; 32], ttl: Duration) -> Result<bool, UndoError> {
        let lease = match undos.claim(key, ttl).wait().map_err(UndoError::Store)? {
            Claim::Claimed(lease) => lease,
            Claim::Duplicate(_) => return Ok(false),
            Claim::InProgress(_) => return Err(UndoError::InProgress(self.step)),
        };
        match (self.run)(self.output.as_deref()) {
            Ok(response) => {
                lease.complete(response).wait().map_err(|refused| UndoError::Store(refused.into()))?;
                Ok(true)
            }
            Err(error) => {
                // The caller needs the undo's own error; a claim that cannot be failed goes to its term.
                drop(lease.fail(Failure::retry()).wait());
                Err(UndoError::Failed(self.step, error))
            }
        }
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

/// The store's error.
impl<E> StepError<E> {
    /// The kind of the store's error; `None` for the others.
    pub fn store_kind(&self) -> Option<ErrorKind> {
        if let StepError::Store(error) = self { Some(error.kind()) } else { None }
    }
}
