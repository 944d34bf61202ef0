//! What stands in the file: our own tables, the names of the callers', the claim rows and the state that proves them.

use super::rows::{Bounds, Page, page};
use crate::bucket::backend::{Fault, Tally, seal, unseal};
use crate::codec::{Cursor, Malformed};
use crate::error::{Error, ErrorKind};
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTableMetadata, TableDefinition, TableError, TableHandle,
    WriteTransaction,
};

const MAGIC: [u8; 8] = *b"CLMTABLS";
const VERSION: u32 = 1;

pub(super) type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;
pub(super) const META: Definition<'static> = TableDefinition::new("meta");
pub(super) const META_KEY: &[u8] = b"state";
pub(super) const CLAIMS: Definition<'static> = TableDefinition::new("claims");
/// Stands before the callers' table names, so that they never meet ours.
pub(super) const PREFIX: &str = "user/";

const MAX_NAME: usize = 255;
pub(super) const MAX_KEY: usize = 64 << 10;
pub(super) const MAX_VALUE: usize = 64 << 20;

type ReadOnly = ReadOnlyTable<&'static [u8], &'static [u8]>;

pub(super) fn page_of_snapshot(
    snapshot: &ReadTransaction,
    name: &str,
    bounds: Bounds<'_>,
) -> Result<Page, Fault> {
    open_read(snapshot, name)?.map_or(Ok(Page::default()), |table| page(&table, name, bounds))
}

pub(super) fn get_in_snapshot(
    snapshot: &ReadTransaction,
    name: &str,
    key: &[u8],
) -> Result<Option<Vec<u8>>, Fault> {
    let Some(table) = open_read(snapshot, name)? else { return Ok(None) };
    let found = table.get(key)?;
    opened(name, key, found.as_ref().map(redb::AccessGuard::value))
}

pub(super) fn open_read(snapshot: &ReadTransaction, name: &str) -> Result<Option<ReadOnly>, Fault> {
    match snapshot.open_table(definition(name)) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn opened(name: &str, key: &[u8], sealed: Option<&[u8]>) -> Result<Option<Vec<u8>>, Fault> {
    Ok(sealed.map(|sealed| unseal(name, key, sealed)).transpose()?.map(<[u8]>::to_vec))
}

pub(super) fn definition(name: &str) -> Definition<'_> {
    TableDefinition::new(name)
}

/// Whether a caller's table may have this name.
pub(crate) fn check_table_name(name: &str) -> Result<(), Error> {
    user_name(name).map(drop)
}

pub(super) fn user_name(name: &str) -> Result<String, Error> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Error::new(ErrorKind::Misuse, "a table name has 1 to 255 bytes"));
    }
    Ok(format!("{PREFIX}{name}"))
}

pub(super) fn ended() -> Fault {
    Fault::Ours(Error::new(ErrorKind::Closed, "the transaction has ended"))
}

/// Checks the file's state and every claim row.
pub(super) fn prove(snapshot: &ReadTransaction, store_id: [u8; 16]) -> Result<(), Fault> {
    let meta = snapshot.open_table(META)?;
    let proof = decode_meta(meta.get(META_KEY)?.map(|row| row.value().to_vec()), store_id)?;
    if meta.len()? != 1 {
        return Err(Error::corrupt("the tables have more than one state").into());
    }
    let mut found = Tally::default();
    for entry in snapshot.open_table(CLAIMS)?.range::<&[u8]>(..)? {
        let (key, value) = entry?;
        split_claim(unseal(CLAIMS.name(), key.value(), value.value())?)?;
        found.add(value.value());
    }
    if found != proof {
        return Err(Error::corrupt("claim rows are missing").into());
    }
    Ok(())
}

pub(super) fn put_tally(
    transaction: &WriteTransaction,
    store_id: [u8; 16],
    tally: Tally,
) -> Result<(), Fault> {
    let mut row = Vec::with_capacity(64);
    row.extend_from_slice(&MAGIC);
    row.extend_from_slice(&VERSION.to_le_bytes());
    row.extend_from_slice(&store_id);
    tally.put(&mut row);
    seal(META.name(), META_KEY, &mut row);
    transaction.open_table(META)?.insert(META_KEY, row.as_slice())?;
    Ok(())
}

pub(super) fn decode_meta(row: Option<Vec<u8>>, store_id: [u8; 16]) -> Result<Tally, Error> {
    let row = row.ok_or_else(|| Error::corrupt("the tables have no state"))?;
    // Checked before the version is read, and the same in every version: damage is never taken for a newer version.
    let mut cursor = Cursor::new(unseal(META.name(), META_KEY, &row)?);
    if cursor.array("magic").map_err(malformed)? != MAGIC {
        return Err(Error::corrupt("this is not a file of tables"));
    }
    match cursor.u32("version").map_err(malformed)? {
        VERSION => {}
        newer if newer > VERSION => {
            return Err(Error::new(ErrorKind::TooNew, "the tables were written by a newer version"));
        }
        _ => return Err(Error::corrupt("the tables have no such version")),
    }
    if cursor.array("store id").map_err(malformed)? != store_id {
        return Err(Error::corrupt("the tables belong to another store"));
    }
    let tally = Tally::take(&mut cursor).map_err(malformed)?;
    cursor.finish("the end of the state").map_err(malformed)?;
    Ok(tally)
}

pub(super) fn split_claim(claim: &[u8]) -> Result<(u64, &[u8]), Error> {
    let (seq, record) =
        claim.split_first_chunk().ok_or_else(|| Error::corrupt("a claim row is too short"))?;
    Ok((u64::from_le_bytes(*seq), record))
}

fn malformed(Malformed(what): Malformed) -> Error {
    Error::corrupt(what)
}
