//! Which keys of which namespaces a command is about.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;
use claimstore::{Namespace, Record, Store};
use clap::Args;

use crate::exit::{Exit, Failure};
use crate::show::key_name;

/// One key.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The key, its bytes as they are.
    #[arg(value_name = "KEY")]
    key: OsString,

    /// KEY is written in hex digits.
    #[arg(long)]
    hex: bool,

    /// The namespace of the key; left out, the default one.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) namespace: String,
}

impl KeyArgs {
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let given = self.key.as_bytes();
        if self.hex { from_hex(given) } else { Ok(given.to_vec()) }
    }

    /// What the store knows of the key.
    pub(crate) fn find(&self, store: &Store) -> anyhow::Result<Record> {
        let key = self.bytes()?;
        let namespace = namespace(store, &self.namespace)?;
        let record = namespace.get(&key).context("looking the key up")?;
        Ok(record.ok_or_else(|| not_found(&key))?)
    }
}

/// A key that is not there, by its hash: what stands in a log must not give a key away.
pub(crate) fn not_found(key: &[u8]) -> Failure {
    Failure::new(Exit::NotFound, format!("the store knows no key {} in this namespace", key_name(key)))
}

/// A namespace that is there. Asking the store for it would make it.
pub(crate) fn namespace(store: &Store, name: &str) -> anyhow::Result<Namespace> {
    if !store.namespaces().iter().any(|known| known == name) {
        let message = format!("the store has no namespace `{}`", name.escape_debug());
        return Err(Failure::new(Exit::NotFound, message).into());
    }
    store.namespace(name).context("opening the namespace")
}

pub(crate) fn from_hex(digits: &[u8]) -> Result<Vec<u8>, Failure> {
    let bytes = std::str::from_utf8(digits).ok().and_then(claimstore_admin::from_hex);
    bytes.ok_or_else(|| Failure::new(Exit::Usage, "KEY is no even number of hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_digits_are_bytes_and_nothing_else_is() {
        assert_eq!(from_hex(b"00fFa1").unwrap(), [0, 0xff, 0xa1]);
        for wrong in [&b"0"[..], b"0g", b"+1", b"0x01", b"\xff\xff"] {
            assert_eq!(from_hex(wrong).unwrap_err().exit, Exit::Usage);
        }
    }
}
