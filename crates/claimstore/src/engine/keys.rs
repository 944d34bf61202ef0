//! Keys of callers, checked by the rules of their namespace and joined with it.

use super::Engine;
use super::spaces::{Keyed, Space};
use crate::error::Error;
use crate::key_bytes::KeyBytes;
use crate::planted;
use crate::policy::Policy;

impl Engine {
    /// Checks a key and joins it with its namespace.
    pub(crate) fn keyed(&self, space: &Space, policy: &Policy, key: &[u8]) -> Result<Keyed, Error> {
        let identity = policy.identify(key)?;
        Ok(self.join(space, identity.bytes(), identity.time_ms()))
    }

    fn join(&self, space: &Space, key: &[u8], time_ms: Option<u64>) -> Keyed {
        let mut full = KeyBytes::joined(&space.id.to_be_bytes(), key);
        if planted::active(19) {
            full = self.run_together(space, key);
        }
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
