//! The fixed part of a record's bytes: flags and numbers.

use super::cursor::{Cursor, Malformed, put_signed, put_varint};
use super::record::{Base, State};

/// Flags beside the state: which of the parts after the numbers there are.
pub(super) const HAS_FINGERPRINT: u8 = 0x10;
pub(super) const HAS_EXTRA: u8 = 0x20;
const STATE_BITS: u8 = 0x0f;

/// The parts of a record that have a fixed size; the fields are those of [`Record`](super::Record).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The number of the operation that made the version.
    pub seq: u64,
    /// The fencing token.
    pub token: u64,
    /// How many claims have counted.
    pub attempt: u32,
    /// Where the key stands.
    pub state: State,
    /// When the claim was made, in milliseconds of store time.
    pub claimed_at_ms: u64,
    /// When it ended, in milliseconds of store time; 0 while in progress.
    pub settled_at_ms: u64,
    /// Expiry, or what else it is by state, in milliseconds of store time.
    pub until_ms: u64,
    /// How long the key is remembered, in milliseconds.
    pub ttl_ms: u64,
    /// How long the holder is trusted, in milliseconds.
    pub lease_ms: u64,
}

impl Numbers {
    /// Those of a tombstone.
    #[inline]
    pub fn erased(seq: u64) -> Numbers {
        Numbers {
            seq,
            token: 0,
            attempt: 0,
            state: State::Erased,
            claimed_at_ms: 0,
            settled_at_ms: 0,
            until_ms: 0,
            ttl_ms: 0,
            lease_ms: 0,
        }
    }

    /// Appends them; `has` tells which of the parts after them there are.
    pub(super) fn encode(&self, has: u8, base: &Base, out: &mut Vec<u8>) {
        out.push(self.state as u8 | has);
        put_signed(distance(self.seq, base.seq), out);
        if self.state == State::Erased {
            return;
        }
        put_signed(distance(self.seq, self.token), out);
        put_varint(u64::from(self.attempt), out);
        put_signed(distance(self.claimed_at_ms, base.time_ms), out);
        put_signed(distance(self.ttl_ms, base.ttl_ms), out);
        if self.state == State::InProgress {
            put_varint(self.until_ms, out);
        } else {
            put_signed(distance(self.settled_at_ms, self.claimed_at_ms), out);
            put_signed(distance(self.until_ms, self.settled_at_ms.wrapping_add(self.ttl_ms)), out);
        }
        if !self.state.expires() {
            put_varint(self.lease_ms, out);
        }
    }

    /// Reads them; returns also which of the parts after them there are. A tombstone ends here.
    pub(super) fn decode(cursor: &mut Cursor<'_>, base: &Base) -> Result<(Numbers, u8), Malformed> {
        let flags = cursor.u8("record flags")?;
        let state = State::from_bits(flags & STATE_BITS).ok_or(Malformed("record state"))?;
        if flags & !(STATE_BITS | HAS_FINGERPRINT | HAS_EXTRA) != 0 {
            return Err(Malformed("record flags"));
        }
        let has = flags & !STATE_BITS;
        let seq = offset(base.seq, cursor.signed("record seq")?);
        if state == State::Erased {
            return Ok((Numbers::erased(seq), has));
        }
        let token = offset(seq, cursor.signed("record token")?.wrapping_neg());
        if token > seq {
            return Err(Malformed("record token"));
        }
        let attempt =
            u32::try_from(cursor.varint("record attempt")?).map_err(|_| Malformed("record attempt"))?;
        let claimed_at_ms = offset(base.time_ms, cursor.signed("record claim time")?);
        let ttl_ms = offset(base.ttl_ms, cursor.signed("record ttl")?);
        let (settled_at_ms, until_ms) = if state == State::InProgress {
            (0, cursor.varint("record until")?)
        } else {
            let settled_at_ms = offset(claimed_at_ms, cursor.signed("record settle time")?);
            let until_ms = offset(settled_at_ms.wrapping_add(ttl_ms), cursor.signed("record until")?);
            (settled_at_ms, until_ms)
        };
        let lease_ms = if state.expires() { 0 } else { cursor.varint("record lease")? };
        let numbers =
            Numbers { seq, token, attempt, state, claimed_at_ms, settled_at_ms, until_ms, ttl_ms, lease_ms };
        Ok((numbers, has))
    }
}

#[inline]
fn distance(value: u64, from: u64) -> i64 {
    value.wrapping_sub(from) as i64
}

#[inline]
fn offset(from: u64, distance: i64) -> u64 {
    from.wrapping_add(distance as u64)
}
