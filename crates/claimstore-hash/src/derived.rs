//! Keys for events that have none: a hash of what identifies them.

use std::fmt;
use std::num::NonZeroU64;

use crate::KeyError;
use crate::digest::{Domain, hash_parts};

/// A key of 32 bytes made from an event's type, chosen fields and, at need, a time truncated to a grain.
///
/// ```
/// use claimstore_hash::{DerivedKey, Grain};
///
/// let key = DerivedKey::new("stock.counted")
///     .field("warehouse", "0042")
///     .field("sku", "A-1")
///     .time(1_700_000_000_000, Grain::Day)
///     .build()?;
/// assert_eq!(key.len(), 32);
/// # Ok::<(), claimstore_hash::KeyError>(())
/// ```
///
/// # Truncated time has borders
///
/// A time goes into a key to let the same fields be an event again later, and is truncated to make retries meet.
/// But a retry meets the first try only if both fall on one side of a border:
///
/// ```
/// use claimstore_hash::{DerivedKey, Grain};
///
/// let key = |time_ms| DerivedKey::new("ping").field("host", "a").time(time_ms, Grain::Minute).build();
/// let (first, retry) = (1_700_000_039_900, 1_700_000_040_100); // 0.2 s apart, over a full minute
/// assert_ne!(key(first), key(retry)); // done twice
/// ```
///
/// And two events within one grain are one. A coarser grain makes the first rarer and the second more frequent.
/// Better, in this order:
///
/// 1. a number or id that the source gives the event, or its own time of creation, *not* truncated: a fact of the
///    event is the same in every retry, a time of sending or receiving is not;
/// 2. an id minted once at the origin and kept with the event ([`UuidV7Minter`](crate::UuidV7Minter));
/// 3. no time in the key, and the claim's ttl as the window: "not again within an hour of the first" has no border
///    that two tries can fall on either side of;
/// 4. truncated time, if the grain is a fact of the business (one count per warehouse and *day*), with the day
///    taken from the event and not from the clock of whoever handles it.
#[derive(Clone)]
#[must_use = "`build` gives the key"]
pub struct DerivedKey {
    event: Vec<u8>,
    fields: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The grain in ms, and how many of it have passed since 1970.
    time: Option<(u64, u64)>,
}

/// The unit to which a time is truncated, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grain {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// 24 hours.
    Day,
    /// So many milliseconds, counted from 1970.
    Millis(NonZeroU64),
}

impl Grain {
    fn millis(self) -> u64 {
        match self {
            Grain::Second => 1_000,
            Grain::Minute => 60_000,
            Grain::Hour => 3_600_000,
            Grain::Day => 86_400_000,
            Grain::Millis(millis) => millis.get(),
        }
    }
}

impl DerivedKey {
    /// A key for events of a type: `order.paid`, say. The type keeps events apart that have the same fields.
    pub fn new(event: impl AsRef<[u8]>) -> DerivedKey {
        DerivedKey { event: event.as_ref().to_vec(), fields: Vec::new(), time: None }
    }

    /// Adds a field that identifies the event. The order of fields does not count, and of several of one name the
    /// order among these.
    pub fn field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> DerivedKey {
        self.fields.push((name.as_ref().to_vec(), Some(value.as_ref().to_vec())));
        self
    }

    /// Adds a field that may be null. Null is not the same as empty, nor as a field not added.
    pub fn nullable(mut self, name: impl AsRef<[u8]>, value: Option<impl AsRef<[u8]>>) -> DerivedKey {
        let value = value.map(|value| value.as_ref().to_vec());
        self.fields.push((name.as_ref().to_vec(), value));
        self
    }

    /// Adds a time in milliseconds since 1970, truncated to `grain`. Read above what that costs.
    pub fn time(mut self, time_ms: u64, grain: Grain) -> DerivedKey {
        self.time = Some((grain.millis(), time_ms / grain.millis()));
        self
    }

    /// The key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Empty`] without a field that has a value: every such event would have one key.
    pub fn build(mut self) -> Result<[u8; 32], KeyError> {
        if !self.fields.iter().any(|(_, value)| value.as_ref().is_some_and(|value| !value.is_empty())) {
            return Err(KeyError::Empty);
        }
        // Stable: values of one name keep their order.
        self.fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        let time = self.time.map(|(grain, count)| [grain.to_le_bytes(), count.to_le_bytes()].concat());
        let mut parts: Vec<&[u8]> = vec![&self.event, time.as_deref().unwrap_or_default()];
        for (name, value) in &self.fields {
            parts.push(name);
            match value {
                Some(value) => parts.extend([&[1][..], value]),
                None => parts.push(&[0]),
            }
        }
        Ok(hash_parts(Domain::Derived, parts).into())
    }
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedKey").field("fields", &self.fields.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn event() -> DerivedKey {
        DerivedKey::new("e")
    }

    #[test]
    fn derived_keys_are_what_they_were_in_the_first_release() {
        let key = event().field("b", "2").nullable("a", None::<&str>).time(86_400_001, Grain::Day).build();
        assert_eq!(
            crate::hex::hex(&key.unwrap()),
            "dd91e9092f90f300f02f48fad4b3035d05dcb35c7e9fe56868e1324c47617319"
        );
    }

    #[test]
    fn what_is_the_same_event() {
        let same =
            |one: DerivedKey, other: DerivedKey| assert_eq!(one.build().unwrap(), other.build().unwrap());
        same(event().field("a", "1").field("b", "2"), event().field("b", "2").field("a", "1"));
        same(
            event().field("a", "1").time(60_000, Grain::Minute),
            event().time(119_999, Grain::Minute).field("a", "1"),
        );
        same(event().field("a", "1"), event().nullable("a", Some("1")));
        let millis = Grain::Millis(NonZeroU64::new(1_000).unwrap());
        same(event().field("a", "1").time(5, Grain::Second), event().field("a", "1").time(999, millis));
    }

    #[test]
    fn what_is_another() {
        let all = [
            event().field("a", "1"),
            DerivedKey::new("f").field("a", "1"),
            event().field("a", "01"),
            event().field("a", "1").field("b", ""),
            event().field("a", "1").nullable("b", None::<&str>),
            event().field("b", "1"),
            event().field("a", "1").field("a", "2"),
            event().field("a", "2").field("a", "1"),
            event().field("a1", "").field("", "x"),
            event().field("a", "1").time(0, Grain::Second),
            event().field("a", "1").time(1_000, Grain::Second),
            event().field("a", "1").time(0, Grain::Minute),
            event().field("a", "1").time(u64::MAX, Grain::Day),
        ];
        let keys: HashSet<_> = all.iter().map(|key| key.clone().build().unwrap()).collect();
        assert_eq!(keys.len(), all.len());
    }

    #[test]
    fn without_a_value_there_is_no_key() {
        let refused = |key: DerivedKey| assert_eq!(key.build(), Err(KeyError::Empty));
        refused(event());
        refused(event().time(1, Grain::Day));
        refused(event().field("a", "").nullable("b", None::<&str>));
        assert_eq!(format!("{:?}", event().field("secret", "secret")), "DerivedKey { fields: 1, .. }");
    }
}
