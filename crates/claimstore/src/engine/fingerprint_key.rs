//! The key of the store's fingerprints, in a file of its own.
//!
//! Invariant: no fingerprint exists under a key that is not durable. Otherwise a power loss could take the key but
//! leave the fingerprints, and no later fingerprint would match them. So before the key is used, the file is written
//! under another name and synced, then renamed, then the directory is synced. A crash before the rename leaves a file
//! without meaning. A crash after it leaves a key that may not have been used yet. A failed sync is not repeated in
//! this life: its data may be in the page cache only. The next open syncs the directory before it relies on any name.

use crate::codec::{Cursor, Malformed, crc32};
use crate::error::{Error, ErrorKind};
use crate::io::{Entropy, OpenMode, Storage};
use crate::sync::{Arc, Mutex};

const NAME: &str = "fingerprint.key";
const NEW_NAME: &str = "fingerprint.key.new";
const MAGIC: &[u8; 8] = b"CLMFPKEY";
const VERSION: u32 = 1;
/// Magic, version, store id, key, CRC of the bytes before it.
const KEY_FILE_BYTES: usize = 8 + 4 + 16 + 32 + 4;

/// The key, read or created at its first use. Its lock is held meanwhile, and no other lock is taken under it.
pub(crate) struct FingerprintKey {
    storage: Arc<dyn Storage>,
    entropy: Arc<dyn Entropy>,
    store_id: [u8; 16],
    state: Mutex<State>,
}

#[derive(Default, Clone)]
enum State {
    #[default]
    NotAsked,
    Known([u8; 32]),
    /// Its creation failed half-way.
    Failed,
    /// The store was closed: its files may belong to another opening.
    Closed,
}

impl FingerprintKey {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        entropy: Arc<dyn Entropy>,
        store_id: [u8; 16],
    ) -> FingerprintKey {
        FingerprintKey { storage, entropy, store_id, state: Mutex::default() }
    }

    /// Whether it was asked for in this life.
    pub(crate) fn is_asked(&self) -> bool {
        !matches!(*self.state.lock(), State::NotAsked)
    }

    /// The key, read now if it was not yet; `None` if the store has none.
    pub(crate) fn known(&self) -> Result<Option<[u8; 32]>, Error> {
        let mut state = self.state.lock();
        match *state {
            State::Known(key) => Ok(Some(key)),
            State::Closed => Err(closed()),
            // What was made half-way has sealed nothing.
            State::Failed => Ok(None),
            State::NotAsked => {
                let key = read(&self.storage, self.store_id)?;
                if let Some(key) = key {
                    *state = State::Known(key);
                }
                Ok(key)
            }
        }
    }

    /// The key, made now if there is none yet and `may_make` lets it.
    pub(crate) fn get(&self, may_make: impl FnOnce() -> Result<(), Error>) -> Result<[u8; 32], Error> {
        let mut state = self.state.lock();
        let key = match *state {
            State::Known(key) => key,
            State::Closed => return Err(closed()),
            State::Failed => {
                return Err(Error::new(ErrorKind::Io, "the key of fingerprints could not be made; reopen"));
            }
            State::NotAsked => {
                if let Some(key) = read(&self.storage, self.store_id)? {
                    key
                } else {
                    may_make()?;
                    self.make().inspect_err(|_| *state = State::Failed)?
                }
            }
        };
        *state = State::Known(key);
        Ok(key)
    }

    fn make(&self) -> Result<[u8; 32], Error> {
        let mut key = [0; 32];
        let make = |key: &mut [u8; 32]| {
            self.entropy.fill(key)?;
            let names = self.storage.list("")?;
            if names.iter().any(|name| name == NEW_NAME) {
                self.storage.remove(NEW_NAME)?;
            }
            write(&self.storage, NEW_NAME, self.store_id, key)?;
            self.storage.rename(NEW_NAME, NAME)?;
            self.storage.sync_dir("")
        };
        make(&mut key).map_err(|error| Error::io("the key of fingerprints cannot be made", error))?;
        Ok(key)
    }

    /// Writes the key, if there is one, into a backup. Durable with the sync of the backup's directory.
    pub(crate) fn copy_to(&self, target: &Arc<dyn Storage>) -> Result<(), Error> {
        let _not_being_made = self.state.lock();
        let Some(key) = read(&self.storage, self.store_id)? else { return Ok(()) };
        write(target, NAME, self.store_id, &key)
            .map_err(|error| Error::io("the key of fingerprints cannot be copied", error))
    }

    /// Prevents the creation of a key from now on. Waits for one that is being created.
    pub(crate) fn close(&self) {
        *self.state.lock() = State::Closed;
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store was closed")
}

fn write(storage: &Arc<dyn Storage>, name: &str, store_id: [u8; 16], key: &[u8; 32]) -> std::io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&store_id);
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&crc32(&[&bytes]).to_le_bytes());
    // Files of a store are made for their owner alone; see `io::Storage`.
    let file = storage.open(name, OpenMode::CreateNew)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_data()
}

fn read(storage: &Arc<dyn Storage>, store_id: [u8; 16]) -> Result<Option<[u8; 32]>, Error> {
    let cannot = |error| Error::io("the key of fingerprints cannot be read", error);
    let file = match storage.open(NAME, OpenMode::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let len = file.len().map_err(cannot)?;
    if len != KEY_FILE_BYTES as u64 {
        return Err(Error::corrupt("the key of fingerprints has the wrong length").in_file(NAME, Some(len)));
    }
    let mut bytes = [0; KEY_FILE_BYTES];
    file.read_exact_at(&mut bytes, 0).map_err(cannot)?;
    parse(&bytes, store_id).map(Some).map_err(|error| error.in_file(NAME, Some(0)))
}

fn parse(bytes: &[u8; KEY_FILE_BYTES], store_id: [u8; 16]) -> Result<[u8; 32], Error> {
    let fields = || -> Result<_, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let (magic, version): ([u8; 8], _) = (cursor.array("magic")?, cursor.u32("version")?);
        let (id, key): ([u8; 16], [u8; 32]) = (cursor.array("store id")?, cursor.array("key")?);
        Ok((magic, version, id, key, cursor.u32("checksum")?))
    };
    let damaged = "the key of fingerprints is damaged";
    let (magic, version, id, key, sum) = fields().map_err(|_| Error::corrupt(damaged))?;
    let (body, _) = bytes.split_at(KEY_FILE_BYTES - 4);
    if magic != *MAGIC || sum != crc32(&[body]) {
        return Err(Error::corrupt(damaged));
    }
    // The checksum is verified first: damage must not be taken for a newer version.
    if version > VERSION {
        return Err(Error::new(ErrorKind::TooNew, "the key of fingerprints is of a newer version"));
    }
    if id != store_id {
        return Err(Error::corrupt("the key of fingerprints is another store's"));
    }
    Ok(key)
}

/// Shows whether there is a key, never the key.
impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.state.try_lock().is_some_and(|state| matches!(*state, State::Known(_)));
        f.debug_struct("FingerprintKey").field("known", &known).finish_non_exhaustive()
    }
}
