//! Making keys unknown: whatever they are, or only the version that a listing showed.

use super::Engine;
use super::commit::Waits;
use super::held::stale;
use super::spaces::{Keyed, Space};
use super::write::{Change, LeaseAfter, Standing, Verdict};
use crate::codec::{self, State};
use crate::error::Error;
use crate::planted;
use crate::view::Record;

/// Which version of a key is forgotten; another one is `StaleLease`.
#[derive(Debug, Clone, Copy)]
struct Only {
    seq: u64,
    /// Also if somebody is trusted with it.
    held_too: bool,
}

impl Engine {
    /// Makes a key unknown, whatever it is. Answers whether it was known.
    pub(crate) fn forget(&self, space: &Space, key: &[u8]) -> Result<bool, Error> {
        let (batch, known) = self.begin_forget(space, key, Waits::Here)?;
        self.wait(batch)?;
        Ok(known)
    }

    /// Queues a `forget`. Answers the batch to wait for, and whether the key was known.
    pub(crate) fn begin_forget(&self, space: &Space, key: &[u8], waits: Waits) -> Result<(u64, bool), Error> {
        self.check_changes()?;
        let keyed = self.keyed(space, &space.policy(), key)?;
        self.erase(space, &keyed, waits, None)
    }

    /// Makes a key unknown, if it is as a listing or a look-up showed it, and nobody is trusted with it.
    ///
    /// Fencing: version and holder are compared under the order lock and the shard's lock, under which a claim
    /// is granted, renewed, settled and reviewed. So whoever comes first wins: a claim that was granted after
    /// the listing stands, and so does what another reviewer decided.
    pub(crate) fn forget_unheld(&self, listed: &Record) -> Result<(), Error> {
        self.forget_version(listed, false)
    }

    /// The same of a version that somebody may be trusted with.
    pub(crate) fn forget_shown(&self, listed: &Record) -> Result<(), Error> {
        self.forget_version(listed, true)
    }

    fn forget_version(&self, listed: &Record, held_too: bool) -> Result<(), Error> {
        let held = self.held(listed)?;
        let only = Only { seq: listed.version().seq, held_too };
        let (batch, _) = self.erase(&held.space, &held.keyed, Waits::Here, Some(only))?;
        self.wait(batch)
    }

    fn erase(
        &self,
        space: &Space,
        keyed: &Keyed,
        waits: Waits,
        only: Option<Only>,
    ) -> Result<(u64, bool), Error> {
        let change = Change { space, keyed, added: 0, carries: 0 };
        let look = || {
            let looked = self.look(keyed)?;
            if planted::active(75) {
                return Ok(looked.unguarded());
            }
            Ok(looked)
        };
        let (batch, known) = self.write(&change, waits, look, |standing| {
            standing.check_unreserved()?;
            if let Some(only) = only {
                self.check_only(standing, only)?;
            }
            if standing.is_unknown() {
                return Ok(Verdict::stands(false));
            }
            Ok(Verdict::write(LeaseAfter::Ended, |_, seq| Ok((codec::Record::erased(seq), true))))
        })?;
        if known {
            space.counters.settled(State::Erased);
        }
        Ok((batch, known))
    }

    /// Whether the key is known in this version, and nobody is trusted with it.
    fn check_only(&self, standing: Standing<'_>, only: Only) -> Result<(), Error> {
        if planted::active(56) {
            return Ok(());
        }
        let record = standing.record().ok_or_else(stale)?;
        let is_held = standing.entry.filter(|_| !only.held_too).is_some_and(|entry| {
            entry.record.state == State::InProgress && entry.orphaned(self.life, standing.at).is_none()
        });
        if record.state == State::Erased || record.seq != only.seq || is_held {
            return Err(stale());
        }
        Ok(())
    }
}
