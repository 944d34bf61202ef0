//! The catalogue: the namespaces, the runs, and the sequence number up to which the journal is covered by runs.
//!
//! One redb file, one generation per commit. redb verifies page checksums only in a repair, so every row has a
//! checksum of its own, and one row has the count and sum of all others: a row that is missing, superfluous, changed
//! or moved is detected. docs/file-format.md has the bytes.

#[cfg(test)]
mod tests;

use super::backend::{Db, Fault, Tally, seal, unseal};
use crate::codec::{Cursor, Malformed};
use crate::error::{Error, ErrorKind};
use crate::io::Storage;
use crate::sync::Arc;
use redb::{ReadTransaction, ReadableTableMetadata, TableDefinition, TableHandle, WriteTransaction};

pub(crate) const FILE: &str = "catalog.redb";
/// Several times the size of a catalogue.
const CACHE_BYTES: usize = 4 << 20;

const MAGIC: [u8; 8] = *b"CLMCATLG";
const VERSION: u32 = 1;

const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
const META_KEY: &[u8] = b"state";
const NAMESPACES: Rows = Rows { table: TableDefinition::new("namespaces") };
const RUNS: Rows = Rows { table: TableDefinition::new("runs") };

/// The contents of one generation of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogState {
    /// Rises by one with every commit. Journal frames carry it, so that recovery detects a stale catalogue.
    pub(crate) generation: u64,
    /// The number of this life of the store; 24 bits are used.
    pub(crate) life: u32,
    /// The state after all operations up to this one is in the runs and in `tables.redb`.
    pub(crate) checkpoint_seq: u64,
    /// Segment and salt from which the journal is replayed, and the last batch before it.
    pub(crate) journal: (u64, u64, u64),
    pub(crate) mark: ClockMark,
    /// The batch number of the seal, if the journal was closed cleanly.
    pub(crate) sealed: Option<u64>,
    /// The number of the next run.
    pub(crate) next_run: u64,
    /// The key of the hash that filters are built from.
    pub(crate) hash_key: [u8; 16],
    /// Whether `tables.redb` must exist. Set durably before its first use, so that its loss is detected.
    pub(crate) has_tables: bool,
    /// In the engine's order; ids are unique.
    pub(crate) namespaces: Vec<NamespaceRow>,
    /// One encoded summary per run, in the engine's order.
    pub(crate) runs: Vec<Vec<u8>>,
}

/// Store time and the clocks it was derived from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockMark {
    pub(crate) store_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) boot_ms: u64,
    pub(crate) boot_id: [u8; 16],
}

/// A namespace as the engine encodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceRow {
    pub(crate) id: u32,
    /// Name and policy.
    pub(crate) bytes: Vec<u8>,
}

/// The open catalogue.
#[derive(Debug)]
pub(crate) struct Catalog {
    storage: Arc<dyn Storage>,
    store_id: [u8; 16],
    /// `None` after a commit failed, until [`Catalog::reopen`].
    db: Option<Db>,
    /// The durable state, as of the last successful call.
    state: CatalogState,
}

impl Catalog {
    /// Creates the catalogue of a new store. On success the file and its name are durable; after an error there is no
    /// catalogue, or a complete one.
    pub(crate) fn create(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
        state: &CatalogState,
    ) -> Result<Catalog, Error> {
        let image = Image::of(state, store_id)?;
        let db = Db::create(storage, FILE, CACHE_BYTES, |transaction| image.write(None, transaction))?;
        Ok(Catalog { storage: storage.clone(), store_id, db: Some(db), state: state.clone() })
    }

    /// Opens the catalogue and checks every row. A file that is refused stays unchanged.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
    ) -> Result<(Catalog, CatalogState), Error> {
        let (db, state) = load(storage, store_id)?;
        Ok((Catalog { storage: storage.clone(), store_id, db: Some(db), state: state.clone() }, state))
    }

    /// Makes `state` the next generation, in one durable transaction that writes the changed rows.
    ///
    /// `Indeterminate`: the file has either the old or the new generation, complete; [`reopen`](Catalog::reopen)
    /// tells which. Any other error: it has the old one. After either error, commits are refused until the catalogue
    /// is reopened.
    pub(crate) fn commit(&mut self, state: &CatalogState) -> Result<(), Error> {
        let Some(db) = &self.db else {
            return Err(Error::new(
                ErrorKind::Poisoned,
                "the catalogue was not reopened after a failed commit",
            ));
        };
        if Some(state.generation) != self.state.generation.checked_add(1) {
            return Err(Error::new(ErrorKind::Misuse, "the catalogue's generations rise by one"));
        }
        let (old, new) = (Image::of(&self.state, self.store_id)?, Image::of(state, self.store_id)?);
        if let Err(error) = write(db, &old, &new) {
            // redb's cache may have pages that never reached the disk: this handle must not be read or written again.
            db.file().condemn();
            self.db = None;
            return Err(error);
        }
        self.state = state.clone();
        Ok(())
    }

    /// Drops redb's memory, reads the file again and returns the durable state.
    pub(crate) fn reopen(&mut self) -> Result<CatalogState, Error> {
        // Drop the old handle first: two handles on one file would overwrite each other's pages.
        self.db = None;
        let (db, state) = load(&self.storage, self.store_id)?;
        self.db = Some(db);
        self.state = state.clone();
        Ok(state)
    }

    /// Reads every row again and compares: the file must have the state that this handle committed last.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let Some(db) = &self.db else { return Ok(()) };
        let found = db.read(|transaction| read(transaction, self.store_id))?;
        if found == self.state {
            Ok(())
        } else {
            Err(Error::corrupt("the catalogue changed under its owner").in_file(FILE, None))
        }
    }

    /// Whether a commit failed and the catalogue has not been reopened since.
    pub(crate) fn is_lost(&self) -> bool {
        self.db.is_none()
    }

    /// The durable state, as of the last successful call.
    pub(crate) fn state(&self) -> &CatalogState {
        &self.state
    }

    /// Closes the file so that redb need not repair it next time. Nothing durable depends on it.
    pub(crate) fn close(self) -> Result<(), Error> {
        self.db.map_or(Ok(()), Db::close)
    }
}

fn load(storage: &Arc<dyn Storage>, store_id: [u8; 16]) -> Result<(Db, CatalogState), Error> {
    let db = Db::open(storage, FILE, CACHE_BYTES)?;
    let state = db.read(|transaction| read(transaction, store_id))?;
    // Still on trial: if another file of the store is refused, this one must stay unchanged too.
    Ok((db, state))
}

fn write(db: &Db, old: &Image, new: &Image) -> Result<(), Error> {
    db.admit()?;
    let transaction = db.begin()?;
    db.file().call(|| new.write(Some(old), &transaction))?;
    Ok(db.commit(transaction)?)
}

fn read(transaction: &ReadTransaction, store_id: [u8; 16]) -> Result<CatalogState, Fault> {
    let meta = transaction.open_table(META)?;
    let row = meta.get(META_KEY)?.ok_or_else(|| Error::corrupt("the catalogue has no state"))?;
    let (mut state, proof) = decode_meta(row.value(), store_id)?;
    if meta.len()? != 1 {
        return Err(Error::corrupt("the catalogue has more than one state").into());
    }
    for row in NAMESPACES.read(transaction, proof.namespaces)? {
        state.namespaces.push(decode_namespace(&row).map_err(malformed)?);
    }
    state.runs = RUNS.read(transaction, proof.runs)?;
    Ok(state)
}

/// A state as the rows it is stored in.
struct Image {
    meta: Vec<u8>,
    namespaces: Vec<Vec<u8>>,
    runs: Vec<Vec<u8>>,
}

impl Image {
    fn of(state: &CatalogState, store_id: [u8; 16]) -> Result<Image, Error> {
        let namespaces: Vec<_> = state.namespaces.iter().map(encode_namespace).collect();
        let namespaces = NAMESPACES.seal(&namespaces)?;
        let runs = RUNS.seal(&state.runs)?;
        let proof = Proof { namespaces: Tally::of(&namespaces), runs: Tally::of(&runs) };
        Ok(Image { meta: encode_meta(state, store_id, proof), namespaces, runs })
    }

    fn write(&self, old: Option<&Image>, transaction: &WriteTransaction) -> Result<(), Fault> {
        transaction.open_table(META)?.insert(META_KEY, self.meta.as_slice())?;
        NAMESPACES.write(old.map_or(&[], |old| &old.namespaces), &self.namespaces, transaction)?;
        RUNS.write(old.map_or(&[], |old| &old.runs), &self.runs, transaction)
    }
}

/// A table that stores a list: the key of a row is its index, 4 bytes big-endian.
struct Rows {
    table: TableDefinition<'static, &'static [u8], &'static [u8]>,
}

impl Rows {
    fn seal(&self, rows: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
        let sealed = rows.iter().enumerate().map(|(place, row)| {
            let mut sealed = row.clone();
            seal(self.table.name(), &place_key(place)?, &mut sealed);
            Ok(sealed)
        });
        sealed.collect()
    }

    fn write(&self, old: &[Vec<u8>], new: &[Vec<u8>], transaction: &WriteTransaction) -> Result<(), Fault> {
        let mut table = transaction.open_table(self.table)?;
        for (place, row) in new.iter().enumerate() {
            if old.get(place) != Some(row) {
                table.insert(place_key(place)?.as_slice(), row.as_slice())?;
            }
        }
        for place in new.len()..old.len() {
            table.remove(place_key(place)?.as_slice())?;
        }
        Ok(())
    }

    fn read(&self, transaction: &ReadTransaction, proof: Tally) -> Result<Vec<Vec<u8>>, Fault> {
        let table = transaction.open_table(self.table)?;
        let (mut rows, mut found) = (Vec::new(), Tally::default());
        for (place, entry) in table.range::<&[u8]>(..)?.enumerate() {
            let (key, value) = entry?;
            let row = unseal(self.table.name(), key.value(), value.value())?;
            if key.value() != place_key(place)? {
                return Err(Error::corrupt("a row of the catalogue is out of place").into());
            }
            found.add(value.value());
            rows.push(row.to_vec());
        }
        if found != proof {
            return Err(Error::corrupt("rows of the catalogue are missing").into());
        }
        Ok(rows)
    }
}

fn place_key(place: usize) -> Result<[u8; 4], Error> {
    let place = u32::try_from(place).map_err(|_| Error::new(ErrorKind::TooLarge, "too many rows"))?;
    Ok(place.to_be_bytes())
}

/// The count and sum that the rows of both tables must have.
#[derive(Clone, Copy, Debug)]
struct Proof {
    namespaces: Tally,
    runs: Tally,
}

fn encode_namespace(row: &NamespaceRow) -> Vec<u8> {
    [&row.id.to_le_bytes(), row.bytes.as_slice()].concat()
}

fn decode_namespace(row: &[u8]) -> Result<NamespaceRow, Malformed> {
    let mut cursor = Cursor::new(row);
    let id = cursor.u32("the id of a namespace")?;
    let bytes = cursor.take(cursor.remaining(), "a namespace")?.to_vec();
    Ok(NamespaceRow { id, bytes })
}

fn encode_meta(state: &CatalogState, store_id: [u8; 16], proof: Proof) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&store_id);
    out.extend_from_slice(&state.generation.to_le_bytes());
    out.extend_from_slice(&state.life.to_le_bytes());
    out.extend_from_slice(&state.checkpoint_seq.to_le_bytes());
    out.extend_from_slice(&state.journal.0.to_le_bytes());
    out.extend_from_slice(&state.journal.1.to_le_bytes());
    out.extend_from_slice(&state.journal.2.to_le_bytes());
    out.extend_from_slice(&state.mark.store_ms.to_le_bytes());
    out.extend_from_slice(&state.mark.wall_ms.to_le_bytes());
    out.extend_from_slice(&state.mark.boot_ms.to_le_bytes());
    out.extend_from_slice(&state.mark.boot_id);
    out.push(u8::from(state.sealed.is_some()));
    out.extend_from_slice(&state.sealed.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&state.next_run.to_le_bytes());
    out.extend_from_slice(&state.hash_key);
    out.push(u8::from(state.has_tables));
    proof.namespaces.put(&mut out);
    proof.runs.put(&mut out);
    seal(META.name(), META_KEY, &mut out);
    out
}

/// Reads the state without its rows, and the count and sum that those rows must have.
fn decode_meta(row: &[u8], store_id: [u8; 16]) -> Result<(CatalogState, Proof), Error> {
    // Checked before the version is read, and the same in every version: damage is never taken for a newer version.
    let mut cursor = Cursor::new(unseal(META.name(), META_KEY, row)?);
    if cursor.array("magic").map_err(malformed)? != MAGIC {
        return Err(Error::corrupt("this is not a catalogue"));
    }
    match cursor.u32("version").map_err(malformed)? {
        VERSION => {}
        newer if newer > VERSION => {
            return Err(Error::new(ErrorKind::TooNew, "the catalogue was written by a newer version"));
        }
        _ => return Err(Error::corrupt("the catalogue has no such version")),
    }
    if cursor.array("store id").map_err(malformed)? != store_id {
        return Err(Error::corrupt("the catalogue belongs to another store"));
    }
    decode_fields(cursor).map_err(malformed)
}

fn decode_fields(mut cursor: Cursor<'_>) -> Result<(CatalogState, Proof), Malformed> {
    let state = CatalogState {
        generation: cursor.u64("generation")?,
        life: cursor.u32("life")?,
        checkpoint_seq: cursor.u64("checkpoint")?,
        journal: (cursor.u64("journal segment")?, cursor.u64("journal salt")?, cursor.u64("journal batch")?),
        mark: ClockMark {
            store_ms: cursor.u64("store time")?,
            wall_ms: cursor.u64("wall clock")?,
            boot_ms: cursor.u64("boot time")?,
            boot_id: cursor.array("boot id")?,
        },
        sealed: match (cursor.u8("seal")?, cursor.u64("seal")?) {
            (0, 0) => None,
            (1, batch) => Some(batch),
            _ => return Err(Malformed("seal")),
        },
        next_run: cursor.u64("next run")?,
        hash_key: cursor.array("hash key")?,
        has_tables: match cursor.u8("tables flag")? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("tables flag")),
        },
        namespaces: Vec::new(),
        runs: Vec::new(),
    };
    let proof = Proof { namespaces: Tally::take(&mut cursor)?, runs: Tally::take(&mut cursor)? };
    cursor.finish("the end of the state")?;
    Ok((state, proof))
}

fn malformed(Malformed(what): Malformed) -> Error {
    Error::corrupt(what)
}
