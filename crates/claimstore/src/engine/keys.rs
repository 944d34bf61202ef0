//! Keys of callers, checked by the rules of their namespace and joined with it.

use super::Engine;
use super::spaces::{Keyed, Space};
use crate::error::{Error, ErrorKind};
use crate::key_bytes::KeyBytes;
use crate::planted;
use crate::policy::{Policy, TimeOrdered};
use claimstore_hash::KeyError;

impl Engine {
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
}
