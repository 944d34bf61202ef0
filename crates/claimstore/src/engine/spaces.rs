//! Namespaces: their names, policies and usage.

use super::balance::Balance;
use super::commit::Waits;
use super::counters::Counters;
use super::sequences::SEQUENCES;
use super::{Class, Engine};
use crate::codec::{Cursor, Malformed, put_bytes, put_varint};
use crate::error::{Error, ErrorKind};
use crate::key_bytes::KeyBytes;
use crate::planted;
use crate::policy::{Policy, TimeOrdered};
use crate::sync::{Arc, AtomicU64, Mutex, Now, Ordering, Published, RwLock};
use claimstore_hash::KeyError;
use std::collections::HashMap;

/// Longest name of a namespace in bytes.
const MAX_NAME_BYTES: usize = 512;
/// Most namespaces of one store.
const MAX_SPACES: usize = 1 << 20;

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
    fn now(&self) -> (u64, u64) {
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
        self.run_records.store(in_runs.0, Ordering::Release);
        self.run_bytes.store(in_runs.1, Ordering::Release);
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

fn row(name: &str, policy: &Policy, watermark_ms: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(name.as_bytes(), &mut out);
    put_varint(watermark_ms, &mut out);
    policy.encode(&mut out);
    out
}

impl Engine {
    /// The namespace `name`, defined with `policy` or, if that is `None`, as stored or by default.
    pub(crate) fn space(&self, name: &str, policy: Option<Policy>) -> Result<Arc<Space>, Error> {
        if is_reserved(name) {
            return Err(Error::new(ErrorKind::Misuse, "the name of this namespace is the store's own"));
        }
        self.any_space(name, policy)
    }

    /// A reserved namespace, which only the store itself uses.
    pub(crate) fn reserved_space(&self, name: &str, policy: Policy) -> Result<Arc<Space>, Error> {
        debug_assert!(is_reserved(name));
        self.any_space(name, Some(policy))
    }

    fn any_space(&self, name: &str, policy: Option<Policy>) -> Result<Arc<Space>, Error> {
        self.check_open()?;
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::new(ErrorKind::TooLarge, "a namespace's name must have at most 512 bytes"));
        }
        if let Some(policy) = &policy {
            policy.check()?;
        }
        if let Some(space) = self.spaces.get(name)
            && policy.as_ref().is_none_or(|policy| *policy == **space.policy())
        {
            return Ok(space);
        }
        let _one_at_a_time = self.spaces.defining.lock();
        match (self.spaces.get(name), policy) {
            (Some(space), None) => Ok(space),
            (Some(space), Some(policy)) => self.redefine(&space, policy),
            (None, policy) => {
                let id = self.spaces.by_id.read().keys().max().map_or(0, |last| last + 1);
                if id as usize >= MAX_SPACES {
                    return Err(Error::new(ErrorKind::Full, "the store has its most namespaces"));
                }
                self.record_space(id, name, policy.unwrap_or_default(), 0)
            }
        }
    }

    fn redefine(&self, space: &Arc<Space>, policy: Policy) -> Result<Arc<Space>, Error> {
        let before = space.policy();
        if before.time_order != policy.time_order {
            return Err(Error::new(ErrorKind::Misuse, "the time order of a namespace cannot change"));
        }
        if before.key_spec != policy.key_spec {
            return Err(Error::new(ErrorKind::Misuse, "the key rule of a namespace cannot change"));
        }
        self.record_space(space.id, &space.name, policy, space.watermark_ms())
    }

    /// Makes a definition durable, then visible.
    fn record_space(
        &self,
        id: u32,
        name: &str,
        policy: Policy,
        watermark_ms: u64,
    ) -> Result<Arc<Space>, Error> {
        let mut op = id.to_le_bytes().to_vec();
        op.extend_from_slice(&row(name, &policy, watermark_ms));
        let batch = {
            let mut order = self.admit(op.len() + 16, Class::Settlement)?;
            let seq = order.take_seq();
            order.append_space(seq, &op, self.time.now_ms(), Waits::Here)
        };
        self.wait(batch)?;
        // A sync under every durability level: rows of a `transact`, which are durable by themselves, may refer to it
        // next.
        self.commit.sync(self)?;
        Ok(self.spaces.define(id, name, policy, watermark_ms))
    }

    /// Checks a key and joins it with its namespace.
    pub(crate) fn keyed(&self, space: &Space, policy: &Policy, key: &[u8]) -> Result<Keyed, Error> {
        if key.is_empty() {
            return Err(Error::new(ErrorKind::InvalidKey, "a key must not be empty"));
        }
        if key.len() > crate::options::MAX_KEY_BYTES {
            return Err(Error::new(ErrorKind::TooLarge, "a key must have at most 1,024 bytes"));
        }
        if let Some(spec) = &policy.key_spec {
            let refused = |error| match error {
                KeyError::TooLong { .. } => {
                    Error::new(ErrorKind::TooLarge, "a key must have at most 1,024 bytes")
                }
                error => Error::with_source(
                    ErrorKind::InvalidKey,
                    "the key breaks the rule of its namespace",
                    error,
                ),
            };
            return Ok(self.join(space, &spec.normalise(key).map_err(refused)?, None));
        }
        let parsed = match policy.time_order {
            None => None,
            Some(TimeOrdered::UuidV7) => Some(claimstore_hash::parse_uuid_v7(key)),
            Some(TimeOrdered::Ulid) => Some(claimstore_hash::parse_ulid(key)),
        };
        let parsed = parsed.transpose().map_err(|error| {
            Error::with_source(
                ErrorKind::InvalidKey,
                "the key is not of the namespace's time-ordered kind",
                error,
            )
        })?;
        Ok(match parsed {
            None => self.join(space, key, None),
            // All spellings of one identifier are one key: its 16 bytes.
            Some(id) => self.join(space, &id.to_bytes(), Some(id.time_ms())),
        })
    }

    fn join(&self, space: &Space, key: &[u8], time_ms: Option<u64>) -> Keyed {
        let full = if planted::active(19) {
            self.run_together(space, key)
        } else {
            KeyBytes::joined(&space.id.to_be_bytes(), key)
        };
        Keyed { hash: self.hasher.hash(&full), full, time_ms }
    }

    /// Planted bug 19: a name directly before the key, read back as the longest name that fits. Keys of two
    /// namespaces meet where one name goes on like a key of the other.
    fn run_together(&self, space: &Space, key: &[u8]) -> KeyBytes {
        let joined = [space.name.as_bytes(), key].concat();
        let spaces = self.spaces.all();
        let fits =
            spaces.iter().filter_map(|space| Some((space.id, joined.strip_prefix(space.name.as_bytes())?)));
        let (id, key) = fits.min_by_key(|(_, key)| key.len()).unwrap_or((space.id, key));
        KeyBytes::joined(&id.to_be_bytes(), key)
    }

    /// Whether a further key of `bytes` fits the namespace's quota.
    pub(crate) fn check_quota(space: &Space, policy: &Policy, bytes: usize) -> Result<(), Error> {
        let Some(quota) = policy.quota else { return Ok(()) };
        let (records, held_bytes) = space.usage.now();
        if records >= quota.records || held_bytes.saturating_add(bytes as u64) > quota.bytes {
            return Err(Error::new(ErrorKind::Full, "the namespace is at its quota"));
        }
        Ok(())
    }

    /// At open: how much of each namespace the live table holds.
    pub(crate) fn count_usage(&self) {
        self.live.each_shard(|shard| {
            for (_, key, entry) in shard.iter() {
                let id = key.first_chunk::<4>().map(|id| u32::from_be_bytes(*id));
                if let Some(space) = id.and_then(|id| self.spaces.by_id(id)) {
                    space.usage.added(key.len() + entry.record.body.len());
                }
            }
        });
        self.refresh_run_usage();
    }

    /// Sets, per namespace, how much the published runs hold.
    pub(crate) fn refresh_run_usage(&self) {
        let set = self.cold.set();
        for space in self.spaces.all() {
            let (records, bytes) = set.usage(space.id);
            space.usage.run_records.store(records, Ordering::Release);
            space.usage.run_bytes.store(bytes, Ordering::Release);
        }
    }
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
