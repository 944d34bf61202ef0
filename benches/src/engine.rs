//! A claim store as one builds it on somebody else's database: look up, write if absent, one sync for many.
//!
//! [`Engine`] is the database, [`Built`] the claim store around it. Claims of one key exclude each other by a set
//! of the keys that are being claimed; so every look-up runs on its caller's thread, beside the others, and what is
//! written needs no second look.

use crate::Result;
use crate::group::GroupCommit;
use crate::keys::{self, BuildKeyHasher, Key, RESPONSE_LEN};
use crate::subject::Subject;
use std::collections::HashSet;
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a record holds besides the response: sequence, expiry, state.
const HEAD_LEN: usize = 22;

/// First byte of a record in progress and of a completed one.
const IN_PROGRESS: u8 = 1;
const COMPLETED: u8 = 2;

const SHARDS: usize = 256;

/// An embedded database that keeps records by key.
pub trait Engine: Send + Sync {
    /// A short name for tables, without spaces.
    fn name(&self) -> &str;

    /// Hands each of the keys that is held, with its place among `keys`, to `found`, together with its record.
    fn get_many(&self, keys: &[Key], found: &mut dyn FnMut(usize, &[u8])) -> Result<()>;

    /// Writes records over what is there, atomically, and returns when they are durable. Only one caller at a time
    /// under group commit; any number without it.
    fn write(&self, puts: &[(Key, Record)]) -> Result<()>;

    /// Waits until the work that writes left for the background is done.
    fn rest(&self) -> Result<()> {
        Ok(())
    }
}

/// The record of a key: a fixed head, and the response once it is completed.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    bytes: [u8; HEAD_LEN + RESPONSE_LEN],
    len: usize,
}

impl Record {
    /// The record of a claim in progress.
    pub fn in_progress() -> Self {
        let mut bytes = [0; HEAD_LEN + RESPONSE_LEN];
        bytes.split_at_mut(HEAD_LEN).0.fill(IN_PROGRESS);
        Self { bytes, len: HEAD_LEN }
    }

    /// The record of a completed key.
    pub fn completed(key: &Key) -> Self {
        let mut bytes = [COMPLETED; HEAD_LEN + RESPONSE_LEN];
        bytes.split_at_mut(HEAD_LEN).1.copy_from_slice(&keys::response(key.as_bytes()));
        Self { bytes, len: bytes.len() }
    }

    /// What is stored.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Puts in the order of their keys: one after the other, a B-tree then finds many of its pages at hand.
pub fn in_key_order(puts: &[(Key, Record)]) -> Vec<&(Key, Record)> {
    let mut sorted: Vec<_> = puts.iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
    sorted
}

/// Who makes writes durable.
#[derive(Debug)]
enum Commit {
    /// Every caller by itself; the database may group them.
    Own,
    /// One caller for all that queued.
    Grouped(GroupCommit<(Key, Record)>),
}

/// A claim store around a database.
#[derive(Debug)]
pub struct Built<E> {
    engine: E,
    name: String,
    commit: Commit,
    claiming: Vec<Mutex<HashSet<Key, BuildKeyHasher>>>,
}

impl<E: Engine> Built<E> {
    /// Every caller writes and syncs by itself.
    pub fn own(engine: E) -> Self {
        let name = engine.name().to_owned();
        Self::new(engine, name, Commit::Own)
    }

    /// One caller writes and syncs for all that queued.
    pub fn grouped(engine: E) -> Self {
        let name = format!("{}+group", engine.name());
        Self::new(engine, name, Commit::Grouped(GroupCommit::default()))
    }

    fn new(engine: E, name: String, commit: Commit) -> Self {
        Self { engine, name, commit, claiming: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn put(&self, puts: &[(Key, Record)]) -> Result<()> {
        match &self.commit {
            Commit::Own => self.engine.write(puts),
            Commit::Grouped(group) => group.commit(puts, &|puts| self.engine.write(puts)),
        }
    }

    /// Keys nobody else is claiming at this moment; the caller is, until [`Self::let_go`].
    fn reserve(&self, keys: &[Key]) -> Vec<Key> {
        keys.iter()
            .filter(|key| self.shard(key).is_some_and(|mut shard| shard.insert(**key)))
            .copied()
            .collect()
    }

    fn let_go(&self, keys: &[Key]) {
        for key in keys {
            if let Some(mut shard) = self.shard(key) {
                shard.remove(key);
            }
        }
    }

    fn shard(&self, key: &Key) -> Option<MutexGuard<'_, HashSet<Key, BuildKeyHasher>>> {
        let shard = self.claiming.get(keys::hash(key.as_bytes()) as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn claim_reserved(&self, keys: &[Key]) -> Result<u64> {
        let mut held = vec![false; keys.len()];
        self.engine.get_many(keys, &mut |place, record| {
            // Whoever asks wants the response, so it is copied out.
            black_box(record.to_vec());
            if let Some(held) = held.get_mut(place) {
                *held = true;
            }
        })?;
        let absent = keys.iter().zip(&held).filter(|(_, held)| !**held);
        let puts: Vec<_> = absent.map(|(key, _)| (*key, Record::in_progress())).collect();
        if !puts.is_empty() {
            self.put(&puts)?;
        }
        Ok(puts.len() as u64)
    }
}

impl<E: Engine> Subject for Built<E> {
    fn name(&self) -> &str {
        &self.name
    }

    fn claim(&self, _worker: usize, keys: &[Key]) -> Result<u64> {
        let mine = self.reserve(keys);
        let fresh = self.claim_reserved(&mine);
        self.let_go(&mine);
        fresh
    }

    fn complete(&self, _worker: usize, keys: &[Key]) -> Result<()> {
        let puts: Vec<_> = keys.iter().map(|key| (*key, Record::completed(key))).collect();
        self.put(&puts)
    }

    fn load(&self, keys: &mut dyn Iterator<Item = Key>) -> Result<()> {
        const CHUNK: usize = 50_000;
        loop {
            let chunk: Vec<_> = keys.take(CHUNK).map(|key| (key, Record::completed(&key))).collect();
            if chunk.is_empty() {
                return self.engine.rest();
            }
            self.engine.write(&chunk)?;
        }
    }
}
