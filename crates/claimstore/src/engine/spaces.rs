//! Namespaces: their names, policies and usage.

use super::balance::Balance;
use super::counters::Counters;
use crate::codec::{Cursor, Malformed, put_bytes, put_varint};
use crate::key_bytes::KeyBytes;
use crate::policy::Policy;
use crate::sync::{Arc, AtomicU64, Mutex, Now, Ordering, Published, RwLock};
use std::collections::HashMap;

/// The namespace of streams. It cannot be opened by its name.
pub(crate) const SEQUENCES: &str = "claimstore/sequences";

/// One namespace.
pub(crate) struct Space {
    pub(crate) id: u32,
    pub(crate) name: Box<str>,
    policy: Published<Policy>,
    /// Time-ordered keys with an earlier time may have been resolved and pruned.
    watermark_ms: AtomicU64,
    pub(crate) usage: Usage,
    /// Outcomes of its claims since the store was opened.
    pub(crate) counters: Counters,
}

/// How much a namespace holds: versions in the live table plus rows of runs, minus the records that are in both
/// because a checkpoint is moving them. Such a move changes several of these sums. It happens under the order lock,
/// which a quota check holds too, so that the check sees a consistent state.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    live_records: Balance,
    live_bytes: Balance,
    run_records: AtomicU64,
    run_bytes: AtomicU64,
    moving_records: AtomicU64,
    moving_bytes: AtomicU64,
}

/// A key with its namespace, its hash and, where it carries one, its time.
#[derive(Clone, Default)]
pub(crate) struct Keyed {
    /// Namespace id, big-endian, then the key: injective, and sorted by namespace first.
    pub(crate) full: KeyBytes,
    pub(crate) hash: u64,
    pub(crate) time_ms: Option<u64>,
}

/// All namespaces.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    by_name: RwLock<HashMap<Box<str>, Arc<Space>>>,
    by_id: RwLock<HashMap<u32, Arc<Space>>>,
    /// Held for a definition, from its journal operation until it is visible.
    pub(crate) defining: Mutex<()>,
}

impl Space {
    fn new(id: u32, name: &str, policy: Policy, watermark_ms: u64) -> Space {
        Space {
            id,
            name: name.into(),
            policy: Published::new(policy),
            watermark_ms: AtomicU64::new(watermark_ms),
            usage: Usage::default(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn policy(&self) -> Now<Policy> {
        self.policy.now()
    }

    pub(crate) fn watermark_ms(&self) -> u64 {
        self.watermark_ms.load(Ordering::Acquire)
    }

    /// Raises the watermark. A prune does this before it hides the runs, and persists both in one catalogue commit.
    pub(crate) fn raise_watermark(&self, to_ms: u64) {
        self.watermark_ms.fetch_max(to_ms, Ordering::AcqRel);
    }

    /// The encoded form of the namespace, for the journal and the catalogue.
    pub(crate) fn row(&self) -> Vec<u8> {
        row(&self.name, &self.policy(), self.watermark_ms())
    }
}

impl Usage {
    pub(super) fn now(&self) -> (u64, u64) {
        let sum = |live: &Balance, run: &AtomicU64, moving: &AtomicU64| {
            (live.now() + run.load(Ordering::Acquire)).saturating_sub(moving.load(Ordering::Acquire))
        };
        (
            sum(&self.live_records, &self.run_records, &self.moving_records),
            sum(&self.live_bytes, &self.run_bytes, &self.moving_bytes),
        )
    }

    /// Records that count against the quota.
    pub(crate) fn records(&self) -> u64 {
        self.now().0
    }

    /// A version was added to the live table. Under the order lock, like [`replaced`](Usage::replaced).
    pub(crate) fn added(&self, bytes: usize) {
        self.live_records.add(1);
        self.live_bytes.add(bytes as u64);
    }

    /// A version was replaced by another one, which [`added`](Usage::added) has counted.
    pub(crate) fn replaced(&self, bytes: usize) {
        self.live_records.take_back(1);
        self.live_bytes.take_back(bytes as u64);
    }

    /// A checkpoint begins to move these records and bytes: they are in both the live table and the runs. `in_runs`
    /// is what all runs have now.
    pub(crate) fn begin_moving(&self, (records, bytes): (u64, u64), in_runs: (u64, u64)) {
        self.moving_records.fetch_add(records, Ordering::AcqRel);
        self.moving_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.set_in_runs(in_runs);
    }

    /// So much lies in runs by now.
    pub(super) fn set_in_runs(&self, (records, bytes): (u64, u64)) {
        self.run_records.store(records, Ordering::Release);
        self.run_bytes.store(bytes, Ordering::Release);
    }

    /// The move has ended. Records that stayed in the live table, because they changed, count twice from now on.
    pub(crate) fn end_moving(&self, (records, bytes): (u64, u64)) {
        self.moving_records.fetch_sub(records, Ordering::AcqRel);
        self.moving_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Versions were removed from the live table.
    pub(crate) fn left(&self, records: u64, bytes: u64) {
        self.live_records.take_out(records);
        self.live_bytes.take_out(bytes);
    }
}

impl Spaces {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Space>> {
        self.by_name.read().get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<Arc<Space>> {
        self.by_id.read().get(&id).cloned()
    }

    /// An id that none has.
    pub(super) fn next_id(&self) -> u32 {
        self.by_id.read().keys().max().map_or(0, |last| last + 1)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        let mut all: Vec<_> = self.by_id.read().values().cloned().collect();
        all.sort_by_key(|space| space.id);
        all
    }

    /// Inserts or changes a namespace. Called at open, and after a definition became durable.
    pub(crate) fn define(&self, id: u32, name: &str, policy: Policy, watermark_ms: u64) -> Arc<Space> {
        if let Some(space) = self.by_id(id) {
            space.raise_watermark(watermark_ms);
            space.policy.replace(policy);
            return space;
        }
        let space = Arc::new(Space::new(id, name, policy, watermark_ms));
        self.by_name.write().insert(name.into(), space.clone());
        self.by_id.write().insert(id, space.clone());
        space
    }

    /// Applies a row as [`row`] wrote it, preceded by the id in a journal operation.
    pub(crate) fn define_row(&self, id: u32, bytes: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(bytes);
        let name =
            std::str::from_utf8(cursor.bytes("namespace name")?).map_err(|_| Malformed("namespace name"))?;
        let watermark_ms = cursor.varint("namespace watermark")?;
        let policy = Policy::decode(&mut cursor)?;
        self.define(id, name, policy, watermark_ms);
        Ok(())
    }
}

/// Whether a namespace is the store's own: not to be opened by its name, and not shown.
pub(crate) fn is_reserved(name: &str) -> bool {
    name == SEQUENCES
}

pub(super) fn row(name: &str, policy: &Policy, watermark_ms: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(name.as_bytes(), &mut out);
    put_varint(watermark_ms, &mut out);
    policy.encode(&mut out);
    out
}

/// Shows shape, never the name: it may be a tenant's.
impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space").field("id", &self.id).field("policy", &self.policy()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").field("bytes", &self.full.len()).finish_non_exhaustive()
    }
}
