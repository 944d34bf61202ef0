//! Where the store is: what every subcommand takes that opens one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};

use crate::duration;

/// The variable that names the store where no option does.
pub(crate) const STORE_VARIABLE: &str = "CLAIMSTORE_STORE";

/// Where the store is, and how long to wait for it.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The directory of the store. `--store` may also stand before the subcommand.
    // Not required here: the option may stand before the subcommand. `command_line` asks for it.
    #[arg(long, value_name = "DIR", env = STORE_VARIABLE, hide_env_values = true, required = false, value_parser = directory())]
    pub(crate) store: PathBuf,

    /// How long to wait while another process has the store open, before giving up with exit code 75.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    pub(crate) wait: Duration,
}

impl StoreArgs {
    /// The store at `path`, waited for no longer than it takes to look.
    pub(crate) fn at(path: &Path) -> StoreArgs {
        StoreArgs { store: path.into(), wait: Duration::ZERO }
    }
}

/// A path of any bytes. An empty one passes, so that a variable that is set to nothing does not keep `completions` from
/// running; `command_line` refuses it where a store is needed.
pub(crate) fn directory() -> ValueParser {
    let to_path: fn(OsString) -> PathBuf = PathBuf::from;
    ValueParser::new(OsStringValueParser::new().map(to_path))
}
