//! The identity file `STORE`.
//!
//! A store is created with a file `STORE.new`, which is renamed to `STORE` last, when everything else is durable. So
//! a directory with `STORE.new` alone never held a claim, and a directory with neither is not ours and stays
//! untouched.

use crate::codec::{Cursor, Malformed, crc32};
use crate::error::{Error, ErrorKind};
use crate::io::{OpenMode, Storage};
use crate::sync::Arc;

pub(crate) const LOCK: &str = "LOCK";
pub(crate) const STORE: &str = "STORE";
const NEWBORN: &str = "STORE.new";
const MAGIC: &[u8; 8] = b"CLMSTORE";
/// The version of the directory as a whole: 2 since records and policies have extensions that version 1 would pass over.
const VERSION: u32 = 2;
/// Magic, version, store id, CRC-32 of the bytes before it.
const IDENTITY_BYTES: usize = 8 + 4 + 16 + 4;

/// Every name a store may have in its directory.
const OUR_FILES: [&str; 14] = [
    LOCK,
    STORE,
    NEWBORN,
    "catalog.redb",
    "catalog.redb.new",
    "tables.redb",
    "tables.redb.new",
    "journal",
    "runs",
    "reserve",
    "fingerprint.key",
    "fingerprint.key.new",
    // Of `claimstore-admin`: the socket of a live store, and where it is made. A crash leaves them behind.
    "admin.sock",
    "admin.new",
];

/// The kind of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Empty, or an interrupted creation: nothing in it was ever acknowledged.
    Unborn,
    /// A store.
    Store([u8; 16]),
}

/// Tells what the directory is, without changing it.
pub(crate) fn identify(storage: &Arc<dyn Storage>) -> Result<Identity, Error> {
    let names = storage.list("").map_err(|error| Error::io("the store's directory cannot be read", error))?;
    let has = |name: &str| names.iter().any(|other| other == name);
    if has(STORE) {
        return read_identity(storage).map(Identity::Store);
    }
    if let Some(_foreign) = names.iter().find(|name| !OUR_FILES.contains(&name.as_str())) {
        return Err(Error::new(ErrorKind::Misuse, "the directory holds other files and no store"));
    }
    if has(NEWBORN) || names.iter().all(|name| name == LOCK) {
        return Ok(Identity::Unborn);
    }
    Err(Error::corrupt("the store's identity file is missing").in_file(STORE, None))
}

fn read_identity(storage: &Arc<dyn Storage>) -> Result<[u8; 16], Error> {
    parse(&read_bytes(storage)?, VERSION).map(|(id, _)| id)
}

fn read_bytes(storage: &Arc<dyn Storage>) -> Result<[u8; IDENTITY_BYTES], Error> {
    let mut bytes = [0u8; IDENTITY_BYTES];
    let file = storage
        .open(STORE, OpenMode::Existing)
        .map_err(|error| Error::io("STORE cannot be opened", error))?;
    let len = file.len().map_err(|error| Error::io("STORE cannot be read", error))?;
    if len != IDENTITY_BYTES as u64 {
        return Err(Error::corrupt("STORE has the wrong length").in_file(STORE, Some(len)));
    }
    file.read_exact_at(&mut bytes, 0).map_err(|error| Error::io("STORE cannot be read", error))?;
    Ok(bytes)
}

/// The store's id and version, which is at most `newest`.
fn parse(bytes: &[u8; IDENTITY_BYTES], newest: u32) -> Result<([u8; 16], u32), Error> {
    parse_whole(bytes, newest).map_err(|error| error.in_file(STORE, Some(0)))
}

fn parse_whole(bytes: &[u8; IDENTITY_BYTES], newest: u32) -> Result<([u8; 16], u32), Error> {
    let read = || -> Result<_, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let magic: [u8; 8] = cursor.array("magic")?;
        let (version, id, sum) = (cursor.u32("version")?, cursor.array("store id")?, cursor.u32("checksum")?);
        Ok((magic, version, id, sum))
    };
    let (magic, version, id, sum) = read().map_err(|_| Error::corrupt("STORE cannot be read"))?;
    let (body, _) = bytes.split_at(IDENTITY_BYTES - 4);
    if magic != *MAGIC || sum != crc32(&[body]) {
        return Err(Error::corrupt("STORE is damaged, or is not a claim store's"));
    }
    // The checksum is verified first: damage must not be taken for a newer version.
    if version > newest {
        return Err(Error::new(ErrorKind::TooNew, "the store was written by a newer version"));
    }
    Ok((id, version))
}

/// Makes a store of an earlier version one of this version. Durable when it returns `Ok`.
///
/// Invariant: no file has bytes of this version while `STORE` says an earlier one. So this comes before anything else is
/// written, and after everything that may refuse the store. The file is one sector, written in place: a crash leaves the
/// old version or the new one, and each is true of the other files, which are of the old version and are read by both.
/// In place also because the file is locked, and its name must go on leading to the locked one.
pub(crate) fn raise_version(storage: &Arc<dyn Storage>) -> Result<(), Error> {
    let (id, version) = parse(&read_bytes(storage)?, VERSION)?;
    if version == VERSION {
        return Ok(());
    }
    let raise = || {
        let file = storage.open(STORE, OpenMode::Existing)?;
        file.write_all_at(&identity_bytes(id), 0)?;
        file.sync_data()
    };
    raise().map_err(|error| Error::io("the version of the store cannot be raised", error))
}

fn identity_bytes(store_id: [u8; 16]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&store_id);
    bytes.extend_from_slice(&crc32(&[&bytes]).to_le_bytes());
    bytes
}

/// Marks the directory as unborn, then removes the leftovers of an interrupted creation. The marker is durable before
/// anything else is created, so that an interrupted creation can be distinguished from damage at every point.
pub(crate) fn begin_birth(storage: &Arc<dyn Storage>, store_id: [u8; 16]) -> Result<(), Error> {
    let begin = || {
        let leftovers = storage.list("")?;
        let has = |name: &str| leftovers.iter().any(|other| other == name);
        let marker = if has(NEWBORN) { OpenMode::Existing } else { OpenMode::CreateNew };
        let file = storage.open(NEWBORN, marker)?;
        file.set_len(0)?;
        file.write_all_at(&identity_bytes(store_id), 0)?;
        file.sync_data()?;
        storage.sync_dir("")?;
        for name in ["catalog.redb", "catalog.redb.new", "tables.redb", "tables.redb.new", "reserve"] {
            if has(name) {
                storage.remove(name)?;
            }
        }
        for dir in ["journal", "runs"] {
            storage.create_dir(dir)?;
            for name in storage.list(dir)? {
                storage.remove(&format!("{dir}/{name}"))?;
            }
        }
        storage.sync_dir("")
    };
    begin().map_err(|error| Error::io("a new store cannot be created", error))
}

/// Everything is durable: the store gets its name.
pub(crate) fn finish_birth(storage: &Arc<dyn Storage>) -> Result<(), Error> {
    let finish = || {
        storage.sync_dir("journal")?;
        storage.sync_dir("runs")?;
        storage.sync_dir("")?;
        storage.rename(NEWBORN, STORE)?;
        storage.sync_dir("")
    };
    finish().map_err(|error| Error::io("a new store cannot be created", error))
}

/// Writes the identity of a store that is otherwise complete: the last step of a backup.
///
/// Does not use `STORE.new`: if the copy were interrupted then, an opening would create an empty store in its place.
/// Until `STORE` is durable with all its bytes, the copy is refused.
pub(crate) fn write_identity(storage: &Arc<dyn Storage>, store_id: [u8; 16]) -> std::io::Result<()> {
    storage.sync_dir("")?;
    let file = storage.open(STORE, OpenMode::CreateNew)?;
    file.write_all_at(&identity_bytes(store_id), 0)?;
    file.sync_data()?;
    storage.sync_dir("")
}

#[cfg(test)]
mod tests {
    use super::{VERSION, identity_bytes, parse};
    use crate::codec::crc32;
    use crate::error::ErrorKind;

    #[test]
    fn round_trip_and_every_flipped_byte() {
        let bytes: [u8; 32] = identity_bytes([7; 16]).try_into().unwrap();
        assert_eq!(parse(&bytes, VERSION).unwrap(), ([7; 16], 2));
        for at in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[at] ^= 0x10;
            assert_eq!(parse(&damaged, VERSION).unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
        }
    }

    #[test]
    fn p15_a_newer_version_is_told_from_damage() {
        let mut bytes = identity_bytes([7; 16]);
        bytes[8] = 3;
        let sum = crc32(&[&bytes[..28]]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(parse(&bytes.try_into().unwrap(), VERSION).unwrap_err().kind(), ErrorKind::TooNew);
    }

    /// A build of version 1 reads a store of version 2 by this very code, with 1 for the newest.
    #[test]
    fn p15_an_earlier_version_refuses_this_one_and_is_read_by_it() {
        let mut bytes: [u8; 32] = identity_bytes([7; 16]).try_into().unwrap();
        assert_eq!(parse(&bytes, 1).unwrap_err().kind(), ErrorKind::TooNew);
        bytes[8] = 1;
        let sum = crc32(&[&bytes[..28]]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(parse(&bytes, VERSION).unwrap(), ([7; 16], 1));
    }
}
