//! Messages on standard error while the command runs.

use std::os::fd::AsFd as _;

use super::pump::write_briefly;
use crate::visible::visible;

/// A line on standard error. Whoever closed it, or does not read it, does not want it: nothing waits for that.
pub(super) fn say(message: &str) {
    let line = format!("claimstore: {}\n", visible(message));
    write_briefly(line.as_bytes(), std::io::stderr().as_fd());
}
