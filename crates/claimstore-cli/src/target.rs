//! Which keys of which namespaces a command is about.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;
use claimstore::{Namespace, Store};
use claimstore_admin::{Key, KeyLabel};
use clap::Args;

use crate::exit::{Exit, Failure};

/// One key.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The key, its bytes as they are; or its short name, as lists show it (`3f9a2b77c0de+14B`).
    #[arg(value_name = "KEY")]
    key: OsString,

    /// KEY is written in hex digits; no short name is looked for.
    #[arg(long)]
    hex: bool,

    /// The namespace of the key; left out, the default one.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) namespace: String,
}

impl KeyArgs {
    /// The key as it was given, for a question.
    pub(crate) fn given(&self) -> Result<Key, Failure> {
        given(&self.key, self.hex)
    }
}

/// A key as somebody gave it: its bytes, or hex digits of them, or the short name that lists show.
pub(crate) fn given(key: &OsStr, hex: bool) -> Result<Key, Failure> {
    let bytes = key.as_bytes();
    if hex {
        return Ok(Key::new(&from_hex(bytes)?));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if KeyLabel::parse(text).is_some() => Ok(Key::Label(text.to_owned())),
        _ => Ok(Key::new(bytes)),
    }
}

/// A namespace that is there. Asking the store for it would make it.
pub(crate) fn namespace(store: &Store, name: &str) -> anyhow::Result<Namespace> {
    if !store.namespaces().iter().any(|known| known == name) {
        let message = format!("the store has no namespace `{}`", name.escape_debug());
        return Err(Failure::new(Exit::NotFound, message).into());
    }
    store.namespace(name).context("opening the namespace")
}

fn from_hex(digits: &[u8]) -> Result<Vec<u8>, Failure> {
    let bytes = std::str::from_utf8(digits).ok().and_then(claimstore_admin::from_hex);
    bytes.ok_or_else(|| Failure::new(Exit::Usage, "KEY is no even number of hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_bytes_its_hex_digits_or_its_short_name() {
        let label = "3f9a2b77c0de+14B";
        for (text, hex, key) in [
            ("order-4711", false, Key::new(b"order-4711")),
            (label, false, Key::Label(label.into())),
            ("00ff", true, Key::new(b"\x00\xff")),
            ("00ff", false, Key::new(b"00ff")),
        ] {
            assert_eq!(given(OsStr::new(text), hex).unwrap(), key, "{text}");
        }
        assert_eq!(given(OsStr::new(label), true).unwrap_err().exit, Exit::Usage);
        assert_eq!(given(OsStr::from_bytes(b"\xff"), false).unwrap(), Key::new(b"\xff"));
    }

    #[test]
    fn hex_digits_are_bytes_and_nothing_else_is() {
        assert_eq!(from_hex(b"00fFa1").unwrap(), [0, 0xff, 0xa1]);
        for wrong in [&b"0"[..], b"0g", b"+1", b"0x01", b"\xff\xff"] {
            assert_eq!(from_hex(wrong).unwrap_err().exit, Exit::Usage);
        }
    }
}
