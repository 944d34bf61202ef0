//! The question: what is to be claimed, and how.

use crate::key_bytes::KeyBytes;
use crate::time::millis;
use claimstore_hash::{FieldDigests, Fingerprint};
use std::time::Duration;

/// The long form of a claim. Owns its bytes.
///
/// What is not set comes from the namespace's policy.
#[derive(Clone)]
#[must_use]
pub struct ClaimRequest {
    key: KeyBytes,
    ttl_ms: Option<u64>,
    lease_ms: Option<u64>,
    fingerprint: Option<Fingerprint>,
    /// As bytes: what is stored. Empty: none.
    fields: Box<[u8]>,
    origin: Box<[u8]>,
}

impl ClaimRequest {
    /// A claim of `key`: 1 to 1,024 bytes.
    pub fn new(key: impl AsRef<[u8]>) -> ClaimRequest {
        ClaimRequest {
            key: key.as_ref().into(),
            ttl_ms: None,
            lease_ms: None,
            fingerprint: None,
            fields: Box::default(),
            origin: Box::default(),
        }
    }

    /// How long the key is remembered after it resolved: 1 second to 10 years. Default: the policy's.
    pub fn ttl(mut self, ttl: Duration) -> ClaimRequest {
        self.ttl_ms = Some(millis(ttl));
        self
    }

    /// How long the holder is trusted. Default: the policy's.
    pub fn lease(mut self, lease: Duration) -> ClaimRequest {
        self.lease_ms = Some(millis(lease));
        self
    }

    /// A fingerprint of the payload, so that the same key with another payload is noticed.
    pub fn fingerprint(mut self, fingerprint: impl Into<Fingerprint>) -> ClaimRequest {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// Digests of the payload's fields, stored beside the fingerprint (up to 4,096 bytes), so that a
    /// [`PayloadMismatch`](crate::ErrorKind::PayloadMismatch) can say which fields differ:
    /// [`Error::differing_pointers`](crate::Error::differing_pointers). Ignored without a fingerprint.
    pub fn fields(mut self, fields: &FieldDigests) -> ClaimRequest {
        self.fields = fields.to_bytes().into();
        self
    }

    /// Where the work comes from, for whoever looks at an orphan later. At most 4,096 bytes.
    pub fn origin(mut self, origin: impl AsRef<[u8]>) -> ClaimRequest {
        self.origin = origin.as_ref().into();
        self
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Everything that was asked for, to be read.
    #[inline]
    pub fn parts(&self) -> RequestParts<'_> {
        RequestParts {
            key: &self.key,
            ttl_ms: self.ttl_ms,
            lease_ms: self.lease_ms,
            fingerprint: self.fingerprint.as_ref(),
            fields: &self.fields,
            origin: &self.origin,
        }
    }
}

/// What a [`ClaimRequest`] asks for, as a backend reads it. What is `None` or empty was not set.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RequestParts<'a> {
    /// The key.
    pub key: &'a [u8],
    /// How long the key is to be remembered once it has resolved, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// How long the holder is to be trusted, in milliseconds.
    pub lease_ms: Option<u64>,
    /// That of the payload.
    pub fingerprint: Option<&'a Fingerprint>,
    /// Digests of the payload's fields, as [`FieldDigests::to_bytes`] writes them.
    pub fields: &'a [u8],
    /// Where the work comes from.
    pub origin: &'a [u8],
}

/// Shows shape, never content.
impl std::fmt::Debug for ClaimRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimRequest")
            .field("key_bytes", &self.key.len())
            .field("ttl_ms", &self.ttl_ms)
            .field("lease_ms", &self.lease_ms)
            .field("fingerprint", &self.fingerprint.is_some())
            .finish_non_exhaustive()
    }
}

/// Shows shape, never content.
impl std::fmt::Debug for RequestParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestParts")
            .field("key_bytes", &self.key.len())
            .field("ttl_ms", &self.ttl_ms)
            .field("lease_ms", &self.lease_ms)
            .field("fingerprint", &self.fingerprint.is_some())
            .finish_non_exhaustive()
    }
}
