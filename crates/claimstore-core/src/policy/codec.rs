//! The bytes of a policy.

use super::rules::is_metrics_name;
use super::{Backoff, MAX_LOSSES, OnDrop, OnOrphan, Policy, Quota, TimeOrdered};
use crate::codec::{Cursor, Malformed, put_bytes, put_varint};
use claimstore_hash::KeySpec;

/// Since version 2 of the directory: tagged extensions, as those of a record. What is the default is left out.
const TAG_MAX_LOSSES: u16 = 1;
const TAG_ON_DROP: u16 = 2;

impl Policy {
    /// Appends the policy's bytes, which [`Policy::decode`] reads back.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.ttl_ms, out);
        put_varint(self.lease_ms, out);
        put_varint(self.skew_ms, out);
        put_varint(u64::from(self.max_attempts), out);
        out.push(match self.on_orphan {
            OnOrphan::Retry => 0,
            OnOrphan::Park => 1,
            OnOrphan::Fail => 2,
            OnOrphan::Resolve => 3,
        });
        out.push(match self.time_order {
            None => 0,
            Some(TimeOrdered::UuidV7) => 1,
            Some(TimeOrdered::Ulid) => 2,
        });
        let extensions = self.extensions();
        out.push(
            u8::from(self.quota.is_some())
                | u8::from(self.require_fingerprint) << 1
                | u8::from(self.key_spec.is_some()) << 2
                | u8::from(self.backoff.is_some()) << 3
                | u8::from(self.metrics_name.is_some()) << 4
                | u8::from(!extensions.is_empty()) << 5,
        );
        if let Some(quota) = self.quota {
            put_varint(quota.records, out);
            put_varint(quota.bytes, out);
        }
        if let Some(spec) = &self.key_spec {
            out.extend_from_slice(&spec.to_bytes());
        }
        if let Some(backoff) = self.backoff {
            put_varint(backoff.first_ms, out);
            put_varint(backoff.most_ms, out);
        }
        if let Some(name) = &self.metrics_name {
            put_bytes(name.as_bytes(), out);
        }
        if !extensions.is_empty() {
            put_varint(extensions.len() as u64, out);
            for (tag, bytes) in &extensions {
                out.extend_from_slice(&tag.to_le_bytes());
                put_bytes(bytes, out);
            }
        }
    }

    /// The rules that are not as they are by default.
    fn extensions(&self) -> Vec<(u16, Vec<u8>)> {
        let mut extensions = Vec::new();
        if self.max_losses != MAX_LOSSES {
            let mut bytes = Vec::new();
            put_varint(u64::from(self.max_losses), &mut bytes);
            extensions.push((TAG_MAX_LOSSES, bytes));
        }
        match self.on_drop {
            OnDrop::Lost => {}
            OnDrop::KeepTerm => extensions.push((TAG_ON_DROP, vec![1])),
        }
        extensions
    }

    /// Reads what [`extensions`](Policy::extensions) says. A rule that is not known is refused: it must not be left out.
    fn extend(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        for _ in 0..cursor.varint("policy extensions")? {
            let tag = cursor.u16("policy extension")?;
            let mut bytes = Cursor::new(cursor.bytes("policy extension")?);
            match tag {
                TAG_MAX_LOSSES => {
                    let losses = bytes.varint("policy losses")?;
                    self.max_losses = u32::try_from(losses).map_err(|_| Malformed("policy losses"))?;
                }
                TAG_ON_DROP => {
                    self.on_drop = match bytes.u8("policy drop")? {
                        1 => OnDrop::KeepTerm,
                        _ => return Err(Malformed("policy drop")),
                    };
                }
                _ => return Err(Malformed("policy extension")),
            }
            bytes.finish("policy extension")?;
        }
        Ok(())
    }

    /// Reads one policy from `cursor`, leaving it after the policy.
    pub fn decode(cursor: &mut Cursor<'_>) -> Result<Policy, Malformed> {
        let ttl_ms = cursor.varint("policy ttl")?;
        let lease_ms = cursor.varint("policy lease")?;
        let skew_ms = cursor.varint("policy skew")?;
        let max_attempts =
            u32::try_from(cursor.varint("policy attempts")?).map_err(|_| Malformed("policy attempts"))?;
        let on_orphan = match cursor.u8("policy orphans")? {
            0 => OnOrphan::Retry,
            1 => OnOrphan::Park,
            2 => OnOrphan::Fail,
            3 => OnOrphan::Resolve,
            _ => return Err(Malformed("policy orphans")),
        };
        let time_order = match cursor.u8("policy time order")? {
            0 => None,
            1 => Some(TimeOrdered::UuidV7),
            2 => Some(TimeOrdered::Ulid),
            _ => return Err(Malformed("policy time order")),
        };
        let flags = cursor.u8("policy flags")?;
        let quota = if flags & 1 == 0 { None } else { Some(decode_quota(cursor)?) };
        let require_fingerprint = flags & 2 != 0;
        let key_spec = if flags & 4 == 0 { None } else { Some(decode_key_spec(cursor)?) };
        let backoff = if flags & 8 == 0 { None } else { Some(decode_backoff(cursor)?) };
        let metrics_name = if flags & 16 == 0 { None } else { Some(decode_metrics_name(cursor)?) };
        let mut policy = Policy {
            ttl_ms,
            lease_ms,
            skew_ms,
            max_attempts,
            max_losses: MAX_LOSSES,
            on_orphan,
            on_drop: OnDrop::Lost,
            time_order,
            quota,
            require_fingerprint,
            key_spec,
            backoff,
            metrics_name,
        };
        if flags & 32 != 0 {
            policy.extend(cursor)?;
        }
        Ok(policy)
    }
}

fn decode_quota(cursor: &mut Cursor<'_>) -> Result<Quota, Malformed> {
    Ok(Quota { records: cursor.varint("quota")?, bytes: cursor.varint("quota")? })
}

fn decode_key_spec(cursor: &mut Cursor<'_>) -> Result<KeySpec, Malformed> {
    let bytes: [u8; 9] = cursor.array("policy key rule")?;
    KeySpec::from_bytes(&bytes).map_err(|_| Malformed("policy key rule"))
}

fn decode_backoff(cursor: &mut Cursor<'_>) -> Result<Backoff, Malformed> {
    Ok(Backoff { first_ms: cursor.varint("policy back-off")?, most_ms: cursor.varint("policy back-off")? })
}

fn decode_metrics_name(cursor: &mut Cursor<'_>) -> Result<Box<str>, Malformed> {
    let name = std::str::from_utf8(cursor.bytes("policy metrics name")?).ok();
    Ok(name.filter(|name| is_metrics_name(name)).ok_or(Malformed("policy metrics name"))?.into())
}
