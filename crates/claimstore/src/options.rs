//! How a store is opened: durability, limits, and the seams.

use crate::error::{Error, ErrorKind};
use crate::io::{Clock, Entropy, SystemClock, SystemEntropy};
#[cfg(doc)]
use crate::store::Store;
use crate::sync::Arc;
pub(crate) use claimstore_core::limits::{MAX_LEASE, MAX_ORIGIN_BYTES, MAX_TTL, MIN_TTL};
pub(crate) use claimstore_core::time::millis;
use std::time::Duration;

/// What a crash of the machine may take back. Under every level tokens never repeat, and `transact` and the
/// definition of a namespace are durable when they return. A sync that fails counts as a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing: an answer is returned after the sync of the facts on which it depends. The default.
    #[default]
    Sync,
    /// A power loss may take back what was answered in the last interval (at least 1 ms): claims and
    /// results of that time are forgotten as a whole suffix, so their work may be done again. The death of
    /// the process alone takes nothing back.
    Interval(Duration),
    /// A power loss may take back everything since the last checkpoint, clean close or opening, as a whole suffix.
    /// The death of the process alone takes nothing back.
    None,
}

/// Options for opening a [`Store`].
///
/// ```
/// # fn main() -> Result<(), claimstore::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// use claimstore::{Durability, Options};
/// let store = Options::new().durability(Durability::Sync).max_in_progress(10_000).open(dir.path())?;
/// # store.close() }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Options {
    pub(crate) durability: Durability,
    pub(crate) background: bool,
    pub(crate) limits: Limits,
    pub(crate) accept_clock_step: bool,
    pub(crate) read_only: bool,
    pub(crate) wait_for_owner: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    #[cfg(feature = "metrics")]
    pub(crate) metrics_label: Arc<str>,
}

/// Every limit, with its unit in its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) response_bytes: usize,
    pub(crate) progress_bytes: usize,
    pub(crate) in_progress: usize,
    pub(crate) live_bytes: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) first_segment_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) journal_bytes: u64,
    pub(crate) checkpoint_bytes: usize,
    pub(crate) clock_step_ms: u64,
    pub(crate) closed_gap_ms: u64,
}

/// Most items in one `claim_many` or `complete_many`.
pub(crate) const MAX_BATCH_ITEMS: usize = 65_536;

const SMALLEST_SEGMENT_BYTES: u64 = 16 * 1_024;
const SMALLEST_FIRST_BYTES: u64 = 8 * 1_024;
/// The largest segment of the format.
const LARGEST_SEGMENT_BYTES: u64 = 1 << 30;
const DAY_MS: u64 = 86_400_000;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            response_bytes: 1 << 20,
            progress_bytes: 64 << 10,
            in_progress: 1_000_000,
            live_bytes: 256 << 20,
            cache_bytes: 64 << 20,
            first_segment_bytes: 2 << 20,
            segment_bytes: 64 << 20,
            journal_bytes: 2 << 30,
            checkpoint_bytes: 64 << 20,
            clock_step_ms: DAY_MS,
            closed_gap_ms: 90 * DAY_MS,
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// The defaults: [`Durability::Sync`], background upkeep, the machine's clocks.
    pub fn new() -> Options {
        Options {
            durability: Durability::Sync,
            background: true,
            limits: Limits::default(),
            accept_clock_step: false,
            read_only: false,
            wait_for_owner: Duration::ZERO,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            #[cfg(feature = "metrics")]
            metrics_label: "main".into(),
        }
    }

    /// The value of the label `store` in this store's metrics, for programs with several stores. Default: `main`. It
    /// is sent wherever the metrics are sent.
    #[cfg(feature = "metrics")]
    pub fn metrics_label(mut self, label: &str) -> Options {
        self.metrics_label = label.into();
        self
    }

    /// What a crash may take back. Default: [`Durability::Sync`], nothing.
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// Where time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Options {
        self.clock = Arc::new(clock);
        self
    }

    /// Where random bytes come from. Default: [`SystemEntropy`].
    pub fn entropy(mut self, entropy: impl Entropy) -> Options {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Whether checkpoints, merges, pruning and segment preparation run by themselves on a thread of the
    /// store. Default: true. Without it, call [`Store::checkpoint`], [`Store::prune`] and
    /// [`Store::upkeep`] yourself, else claims meet [`ErrorKind::Overloaded`] or [`ErrorKind::Full`] at the
    /// limits.
    pub fn background(mut self, background: bool) -> Options {
        self.background = background;
        self
    }

    /// Longest response in bytes. Default: 1 MiB.
    pub fn max_response_bytes(mut self, bytes: usize) -> Options {
        self.limits.response_bytes = bytes;
        self
    }

    /// Longest progress in bytes. Default: 64 KiB.
    pub fn max_progress_bytes(mut self, bytes: usize) -> Options {
        self.limits.progress_bytes = bytes;
        self
    }

    /// Most claims in progress at a time; further ones are [`ErrorKind::Overloaded`]. Default: 1,000,000.
    pub fn max_in_progress(mut self, claims: usize) -> Options {
        self.limits.in_progress = claims;
        self
    }

    /// The most memory for claims in progress and results not yet checkpointed; beyond it new claims are
    /// [`ErrorKind::Overloaded`]. Default: 256 MiB.
    pub fn live_memory_bytes(mut self, bytes: usize) -> Options {
        self.limits.live_bytes = bytes;
        self
    }

    /// Memory for cached blocks of checkpointed records. Default: 64 MiB.
    pub fn page_cache_bytes(mut self, bytes: usize) -> Options {
        self.limits.cache_bytes = bytes;
        self
    }

    /// Size of a journal segment in bytes, rounded up to 4 KiB: 16 KiB to 1 GiB. Default: 64 MiB. A response
    /// must fit in a quarter of it, a batch of claims or completions in half of it.
    ///
    /// The first segment has 2 MiB, or this if it is less. Each following one is at least twice as long, until they have
    /// this size: the longer a segment, the fewer files are made and the fewer checkpoints.
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.limits.segment_bytes = bytes.checked_next_multiple_of(4_096).unwrap_or(u64::MAX);
        self
    }

    /// Size of the first segment. For the simulator, whose segments are short: where they are not to grow from a single
    /// one, they have to begin shorter still.
    #[doc(hidden)]
    pub fn first_segment_bytes(mut self, bytes: u64) -> Options {
        self.limits.first_segment_bytes = bytes.checked_next_multiple_of(4_096).unwrap_or(u64::MAX);
        self
    }

    /// The most bytes of journal that are not yet covered by a checkpoint; beyond it claims are [`ErrorKind::Full`].
    /// At least two segments. Default: 2 GiB.
    pub fn journal_bytes(mut self, bytes: u64) -> Options {
        self.limits.journal_bytes = bytes;
        self
    }

    /// A checkpoint starts when results not yet checkpointed take this much memory. Default: 64 MiB.
    pub fn checkpoint_bytes(mut self, bytes: usize) -> Options {
        self.limits.checkpoint_bytes = bytes;
        self
    }

    /// The largest difference between wall clock and store time at which the wall clock is still followed while the
    /// store runs. Smaller differences are corrected slowly, larger ones are ignored and reported in
    /// [`Stats::clock_offset`](crate::Stats). Default: one day.
    pub fn max_clock_step(mut self, step: Duration) -> Options {
        self.limits.clock_step_ms = millis(step);
        self
    }

    /// The longest time closed, across a restart of the machine, for which the wall clock is trusted. Default: 90
    /// days. Beyond it, and if the clock is before the last store time, store time continues from where it was:
    /// records live longer, never shorter.
    pub fn max_closed_gap(mut self, gap: Duration) -> Options {
        self.limits.closed_gap_ms = millis(gap);
        self
    }

    /// Trusts the wall clock at this open, however far ahead it is: for operators, after a clock was corrected. Store
    /// time still never goes back. Default: false.
    pub fn accept_clock_step(mut self, accept: bool) -> Options {
        self.accept_clock_step = accept;
        self
    }

    /// Opens the store for reading only: nothing in its directory changes. The directory may be on a read-only mount
    /// or belong to another user. Default: false.
    ///
    /// `get`, `scan` and the other listings, `stats`, `census`, `verify`, and reading tables and fingerprints work,
    /// and show what an ordinary opening at this moment would. Everything that would change something is
    /// [`ErrorKind::Misuse`]: claims, settlements, `transact`, streams, imports, new namespaces, upkeep, backups. After
    /// a crash the journal is replayed, its torn tail cut and a redb file repaired in memory alone, which holds what
    /// that writes until the store is closed. There is no upkeep thread, and time goes on for expiry as usual.
    ///
    /// Its locks are shared with other read-only openings: while one of them is open, an ordinary opening is
    /// [`ErrorKind::AlreadyOpen`], and the other way round. If no lock can be taken (no permission for the file, or a
    /// file system without locks), it goes on without. Then a process that writes to the directory meanwhile is not
    /// noticed, and results may be old or [`ErrorKind::Corrupt`].
    ///
    /// A directory without a store is [`ErrorKind::Misuse`], and no store is created.
    pub fn read_only(mut self, read_only: bool) -> Options {
        self.read_only = read_only;
        self
    }

    /// How long opening waits while the store is open elsewhere, in this process or another: until the owner closes it
    /// or dies. Then [`ErrorKind::AlreadyOpen`], as at once without it. Default: zero.
    ///
    /// For a new release that starts while the one before it still finishes its work. The lock is tried again after 1 ms,
    /// then at intervals that grow to 50 ms, and once more at the end of `wait`. Those who wait form no queue: which of
    /// several gets the store is not said. The call blocks its thread and starts none; nothing is left of a call that
    /// gave up. An owner that was killed holds the store on as long as a child that it forked lives.
    ///
    /// Any other error is returned at once. With [`read_only`](Options::read_only) an owner is waited for likewise, and
    /// without it read-only openings are.
    pub fn wait_for_owner(mut self, wait: Duration) -> Options {
        self.wait_for_owner = wait;
        self
    }

    /// Refuses limits that make no sense.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let limits = &self.limits;
        if limits.segment_bytes < SMALLEST_SEGMENT_BYTES {
            return Err(Error::new(ErrorKind::Misuse, "a journal segment must have at least 16 KiB"));
        }
        if limits.segment_bytes > LARGEST_SEGMENT_BYTES {
            return Err(Error::new(ErrorKind::Misuse, "a journal segment must have at most 1 GiB"));
        }
        if limits.first_segment_bytes < SMALLEST_FIRST_BYTES {
            return Err(Error::new(ErrorKind::Misuse, "the first journal segment must have at least 8 KiB"));
        }
        if limits.journal_bytes < 2 * limits.segment_bytes {
            return Err(Error::new(ErrorKind::Misuse, "the journal must have room for two segments"));
        }
        let largest = limits.response_bytes.max(limits.progress_bytes).saturating_add(2 * MAX_ORIGIN_BYTES);
        if (largest as u64) > limits.segment_bytes / 4 {
            return Err(Error::new(
                ErrorKind::Misuse,
                "the largest response must fit in a quarter of a segment",
            ));
        }
        if let Durability::Interval(every) = self.durability
            && every < Duration::from_millis(1)
        {
            return Err(Error::new(ErrorKind::Misuse, "an interval of durability must be at least 1 ms"));
        }
        Ok(())
    }
}
