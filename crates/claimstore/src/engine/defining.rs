//! Namespaces: opened by their names, defined and redefined.

use super::Engine;
use super::commit::Waits;
use super::segments::Class;
use super::spaces::{Space, is_reserved, row};
use crate::error::{Error, ErrorKind};
use crate::policy::Policy;
use crate::sync::Arc;

/// Longest name of a namespace in bytes.
const MAX_NAME_BYTES: usize = 512;
/// Most namespaces of one store.
const MAX_SPACES: usize = 1 << 20;

impl Engine {
    /// The names of the namespaces that callers may name, oldest first.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let spaces = self.spaces.all();
        spaces.iter().filter(|space| !is_reserved(&space.name)).map(|space| space.name.to_string()).collect()
    }

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
                let id = self.spaces.next_id();
                if id as usize >= MAX_SPACES {
                    return Err(Error::new(ErrorKind::Full, "the store has its most namespaces"));
                }
                self.record_space(id, name, policy.unwrap_or_default(), 0)
            }
        }
    }

    fn redefine(&self, space: &Arc<Space>, policy: Policy) -> Result<Arc<Space>, Error> {
        let before = space.policy();
        if before.time_order() != policy.time_order() {
            return Err(Error::new(ErrorKind::Misuse, "the time order of a namespace cannot change"));
        }
        if before.key_rule() != policy.key_rule() {
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
}
