//! What is known of streams in this life: the value of each, and who holds which position.

use super::held::Held;
use super::positions::Positions;
use crate::error::{Error, ErrorKind};
use crate::io::Process;
use crate::sync::{Arc, Mutex};
use std::collections::{BTreeMap, HashMap};

/// Streams opened in this life.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    pub(super) streams: Mutex<HashMap<Box<[u8]>, Arc<Stream>>>,
}

/// One stream. Under its lock an image may be queued, but not waited for.
pub(crate) struct Stream {
    pub(crate) name: Box<[u8]>,
    pub(super) held: Held,
    pub(super) state: Mutex<State>,
    pub(super) process: Process,
}

pub(super) struct State {
    pub(super) positions: Positions,
    /// The batch of the last image queued.
    pub(super) batch: u64,
    pub(super) holds: BTreeMap<u64, Hold>,
}

/// The holder of a position.
pub(super) struct Hold {
    pub(super) token: u64,
    pub(super) since_ms: u64,
    /// On the boot clock.
    pub(super) until_boot_ms: u64,
    /// Whether everything below is held too.
    pub(super) up_to: bool,
}

impl Sequences {
    /// How many positions are held, over all streams.
    pub(crate) fn held(&self) -> usize {
        // Not under the lock of all: each is asked on its own.
        let streams: Vec<Arc<Stream>> = self.streams.lock().values().cloned().collect();
        streams.iter().map(|stream| stream.state.lock().holds.len()).sum()
    }
}

impl State {
    /// The hold that this token has on the position.
    pub(super) fn hold(&self, position: u64, token: u64) -> Result<&Hold, Error> {
        let held = self.holds.get(&position).filter(|hold| hold.token == token);
        held.ok_or_else(|| Error::new(ErrorKind::StaleLease, "the position was claimed again, or skipped"))
    }

    /// A hold that has not lapsed and conflicts with a claim.
    pub(super) fn in_the_way(&self, position: u64, up_to: bool, boot_ms: u64) -> Option<&Hold> {
        let holds = self.holds.iter();
        let mut running = holds.filter(|(_, hold)| hold.until_boot_ms > boot_ms);
        running.find(|(held, hold)| conflicts(**held, hold.up_to, position, up_to)).map(|(_, hold)| hold)
    }
}

/// Whether two holds, each of one position or of all up to it, have a position in common.
pub(super) fn conflicts(one: u64, one_up_to: bool, other: u64, other_up_to: bool) -> bool {
    match (one_up_to, other_up_to) {
        (false, false) => one == other,
        (true, false) => other <= one,
        (false, true) => one <= other,
        (true, true) => true,
    }
}

/// Without the name, which is the caller's.
impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
