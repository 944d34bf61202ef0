//! How a policy reads keys: under which bytes a key is known, and which time it carries.

use super::{Policy, TimeOrdered};
use crate::error::{Error, ErrorKind};
use crate::limits::MAX_KEY_BYTES;
use claimstore_hash::{CompositeKey, KeyError, KeyPart, TimeOrderedId, parse_ulid, parse_uuid_v7};
use std::fmt;

/// A key as a policy reads it. All spellings that the policy takes for one key have the same bytes.
#[derive(Clone)]
pub struct Identity<'a> {
    form: Form<'a>,
    time_ms: Option<u64>,
}

#[derive(Clone)]
enum Form<'a> {
    AsGiven(&'a [u8]),
    Normalised(Vec<u8>),
    Identifier([u8; 16]),
}

impl Identity<'_> {
    /// The bytes under which the key is known.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match &self.form {
            Form::AsGiven(bytes) => bytes,
            Form::Normalised(bytes) => bytes,
            Form::Identifier(bytes) => bytes,
        }
    }

    /// The key's own time in milliseconds since 1970, in a namespace of time-ordered keys.
    #[inline]
    pub fn time_ms(&self) -> Option<u64> {
        self.time_ms
    }
}

/// Shows how many bytes, never which.
impl fmt::Debug for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("bytes", &self.bytes().len())
            .field("time_ms", &self.time_ms)
            .finish()
    }
}

impl Policy {
    /// Reads a key as it was given: checks it, and brings it into the form it is known in.
    ///
    /// Errors: [`ErrorKind::InvalidKey`] for an empty key and for one that breaks the rule of the namespace,
    /// [`ErrorKind::TooLarge`] for one of more than 1,024 bytes.
    #[inline]
    pub fn identify<'a>(&self, key: &'a [u8]) -> Result<Identity<'a>, Error> {
        if key.is_empty() {
            return Err(Error::new(ErrorKind::InvalidKey, "a key must not be empty"));
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(too_long());
        }
        if let Some(spec) = &self.key_spec {
            let normalised = spec.normalise(key).map_err(refused)?;
            return Ok(Identity { form: Form::Normalised(normalised), time_ms: None });
        }
        let Some(order) = self.time_order else {
            return Ok(Identity { form: Form::AsGiven(key), time_ms: None });
        };
        let id = order.parse(key).map_err(|error| {
            let message = "the key is not of the namespace's time-ordered kind";
            Error::with_source(ErrorKind::InvalidKey, message, error)
        })?;
        Ok(Identity { form: Form::Identifier(id.to_bytes()), time_ms: Some(id.time_ms()) })
    }
}

impl Policy {
    /// The key of these parts, in the form it is known in: [`identify`](Policy::identify) gives the same bytes for it.
    ///
    /// | the policy has | key |
    /// |---|---|
    /// | a [key rule](Policy::key_spec) | each part normalised and checked by the rule, then joined as it says |
    /// | [time-ordered keys](Policy::time_ordered_keys) | the 16 bytes of one part that is an identifier, in any spelling |
    /// | neither | the parts with `|` between them, and `\\` before a `|` or `\\` inside a part: [`composite`](claimstore_hash::composite) |
    ///
    /// Different lists of parts give different keys, unless the rule takes them for the same. A null or empty part is
    /// refused unless the rule allows empty ones: a mapping that lost a field would put many events under one key.
    ///
    /// Errors: [`ErrorKind::InvalidKey`] for parts that break the rule, for none, and for a null or empty one;
    /// [`ErrorKind::TooLarge`] for a key of more than 1,024 bytes. The source is a [`KeyError`], which names the part.
    ///
    /// ```
    /// use claimstore_core::{Error, Policy};
    ///
    /// assert_eq!(Policy::daily().key(["INV-2026-003", "LINE|7"])?, br"INV-2026-003|LINE\|7");
    /// let netsuite = Policy::daily().key_spec(claimstore_hash::KeySpec::netsuite());
    /// assert_eq!(netsuite.key(["customer", " ord-001 "])?, b"CUSTOMER|ORD-001");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn key<'a, P: Into<KeyPart<'a>>>(
        &self,
        parts: impl IntoIterator<Item = P>,
    ) -> Result<Vec<u8>, Error> {
        let parts: Vec<KeyPart<'a>> = parts.into_iter().map(Into::into).collect();
        if let Some(spec) = &self.key_spec {
            return spec.key(parts).map_err(refused);
        }
        let texts: Result<Vec<&[u8]>, KeyError> = parts
            .iter()
            .enumerate()
            .map(|(index, part)| part.bytes().ok_or(KeyError::NullPart { index }))
            .collect();
        let texts = texts.map_err(refused)?;
        if self.time_order.is_some() {
            let [id] = texts[..] else { return Err(refused(KeyError::PartCount { parts: texts.len() })) };
            return Ok(self.identify(id)?.bytes().to_vec());
        }
        let composed = texts.into_iter().fold(CompositeKey::new().refuse_empty(), CompositeKey::part);
        composed.build().map_err(refused)
    }
}

impl TimeOrdered {
    /// Reads a key as an identifier of this kind, in any of its spellings.
    #[inline]
    pub fn parse(self, key: &[u8]) -> Result<TimeOrderedId, KeyError> {
        match self {
            TimeOrdered::UuidV7 => parse_uuid_v7(key),
            TimeOrdered::Ulid => parse_ulid(key),
        }
    }
}

fn refused(error: KeyError) -> Error {
    match error {
        KeyError::TooLong { .. } => too_long(),
        error => Error::with_source(ErrorKind::InvalidKey, "the key breaks the rule of its namespace", error),
    }
}

fn too_long() -> Error {
    Error::new(ErrorKind::TooLarge, "a key must have at most 1,024 bytes")
}

#[cfg(test)]
mod tests;
