//! Batches of records on their way into a store.

use std::collections::BTreeMap;

use anyhow::Context as _;
use claimstore::{Error, ErrorKind, Import, Imported, Namespace, Policy, RecordState, Store};

use super::rules::Rules;

/// A batch is written once it has so many records, or so many bytes of input.
const BATCH_RECORDS: usize = 8_192;
const BATCH_BYTES: usize = 4 << 20;
/// How often a batch is tried again that found no room: behind each try a checkpoint makes some.
const TRIES: u32 = 5;

/// What became of the lines so far. Each record read is in exactly one of the other counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) read: u64,
    pub(crate) imported: u64,
    /// Of `imported`: held for review.
    pub(crate) parked: u64,
    /// The store knew the key already.
    pub(crate) known: u64,
    /// No longer to be remembered.
    pub(crate) expired: u64,
    /// Of `expired`: those that do not say themselves until when, so that the ttl decided.
    pub(crate) expired_by_ttl: u64,
    pub(crate) refused: u64,
}

/// A record of the input.
struct Item {
    line: u64,
    import: Import,
    /// It says itself until when it is remembered.
    has_end: bool,
}

impl Item {
    fn parts(self) -> (Read, Import) {
        let parked = self.import.state() == RecordState::Parked;
        (Read { line: self.line, parked, has_end: self.has_end }, self.import)
    }
}

/// What is kept of an item while it is written.
#[derive(Clone, Copy)]
struct Read {
    line: u64,
    parked: bool,
    has_end: bool,
}

/// Writes records into a store, batch by batch.
pub(crate) struct Loader<'s> {
    store: &'s Store,
    batch: BTreeMap<String, Vec<Item>>,
    records: usize,
    bytes: usize,
    pub(crate) tally: Tally,
}

impl<'s> Loader<'s> {
    pub(crate) fn new(store: &'s Store) -> Loader<'s> {
        Loader { store, batch: BTreeMap::new(), records: 0, bytes: 0, tally: Tally::default() }
    }

    /// Takes a record of a line of so many bytes. `has_end`: it says itself until when it is remembered.
    pub(crate) fn add(&mut self, namespace: &str, import: Import, has_end: bool, line: u64, bytes: usize) {
        let item = Item { line, import, has_end };
        match self.batch.get_mut(namespace) {
            Some(items) => items.push(item),
            None => drop(self.batch.insert(namespace.to_owned(), vec![item])),
        }
        self.records += 1;
        self.bytes += bytes;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records >= BATCH_RECORDS || self.bytes >= BATCH_BYTES
    }

    /// Writes what was taken, a commit for each namespace. Answers the lines that were refused, and why.
    pub(crate) fn write(&mut self) -> anyhow::Result<Vec<(u64, String)>> {
        let mut refused = Vec::new();
        for (name, items) in std::mem::take(&mut self.batch) {
            let namespace = match self.store.namespace(&name) {
                Err(error) if is_about_the_line(error.kind()) => {
                    refused.extend(items.iter().map(|item| (item.line, error.to_string())));
                    continue;
                }
                namespace => namespace.context("opening a namespace")?,
            };
            let (reads, imports): (Vec<_>, Vec<_>) = items.into_iter().map(Item::parts).unzip();
            let answers = self.import(&namespace, &imports).context("writing a batch")?;
            for (read, answer) in reads.into_iter().zip(answers) {
                refused.extend(self.count(read, answer)?.map(|reason| (read.line, reason)));
            }
        }
        (self.records, self.bytes) = (0, 0);
        self.tally.refused += refused.len() as u64;
        refused.sort_unstable();
        Ok(refused)
    }

    fn import(
        &self,
        namespace: &Namespace,
        imports: &[Import],
    ) -> Result<Vec<Result<Imported, Error>>, Error> {
        let mut tries = 0;
        loop {
            match namespace.import_many(imports) {
                Err(error) if tries < TRIES && is_for_want_of_room(error.kind()) => {
                    tries += 1;
                    self.store.checkpoint()?;
                }
                answers => return answers,
            }
        }
    }

    /// Counts an answer; why the record was refused, if it was.
    fn count(&mut self, read: Read, answer: Result<Imported, Error>) -> anyhow::Result<Option<String>> {
        match answer {
            Ok(Imported::Stored) => {
                self.tally.imported += 1;
                self.tally.parked += u64::from(read.parked);
            }
            Ok(Imported::Expired) => {
                self.tally.expired += 1;
                self.tally.expired_by_ttl += u64::from(!read.has_end);
            }
            Ok(Imported::Differs) => {
                return Ok(Some("the key is known with another payload or another result".into()));
            }
            Ok(_) => self.tally.known += 1,
            Err(error) if is_about_the_line(error.kind()) => return Ok(Some(error.to_string())),
            Err(error) => return Err(error).context("writing a record"),
        }
        Ok(None)
    }

    /// Makes a namespace with these rules; one that is there keeps its own. Why it cannot take the records, if so.
    pub(crate) fn prepare(&self, rules: &Rules) -> anyhow::Result<Option<String>> {
        let Some(policy) = rules.policy() else {
            return Ok(Some("`key_rule_hex` is no rule that is known here".into()));
        };
        if self.store.namespaces().contains(&rules.namespace) {
            let here = self.store.namespace(&rules.namespace).context("opening a namespace")?.policy();
            if rules.namespace.is_empty() && here == Policy::new() {
                // The default namespace is there from the beginning.
                return self.define(&rules.namespace, policy);
            }
            let same = here.time_order() == policy.time_order() && here.key_rule() == policy.key_rule();
            return Ok((!same).then(|| "the namespace is here with another rule for its keys".into()));
        }
        self.define(&rules.namespace, policy)
    }

    fn define(&self, name: &str, policy: Policy) -> anyhow::Result<Option<String>> {
        match self.store.namespace_with(name, policy) {
            Err(error) if is_about_the_line(error.kind()) => Ok(Some(error.to_string())),
            made => made.context("making a namespace").map(|_| None),
        }
    }
}

fn is_about_the_line(kind: ErrorKind) -> bool {
    use ErrorKind::{Full, FutureKey, InvalidKey, Misuse, TooLarge};
    matches!(kind, InvalidKey | TooLarge | FutureKey | Misuse | Full)
}

fn is_for_want_of_room(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Overloaded | ErrorKind::Full)
}
