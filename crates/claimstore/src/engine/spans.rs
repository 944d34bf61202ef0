//! Long operations as spans of `tracing`, with the feature of that name; without it every call here is empty.
//!
//! The same rule as for events ([`observe`](super::observe)): counts, flags and kinds of errors, never a key, a
//! payload, a fingerprint, a namespace or a path. Claims and settlements are spans at level `TRACE`: if that level is
//! disabled, they cost a claim one comparison.

use crate::error::{Error, ErrorKind};

/// An operation before it runs.
#[must_use]
#[derive(Debug)]
pub(crate) struct Span {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

macro_rules! spans {
    ($($(#[$doc:meta])* $name:ident, $level:ident: $($field:ident)*;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name() -> Span {
            Span {
                #[cfg(feature = "tracing")]
                span: tracing::span!(
                    target: super::observe::TARGET,
                    tracing::Level::$level,
                    stringify!($name),
                    $($field = tracing::field::Empty,)*
                    error = tracing::field::Empty,
                ),
            }
        }
    )*};
}

spans! {
    open, INFO: life;
    /// Reading a store that was there already, in an open.
    recovery, INFO: runs replayed_batches clean torn_tail_cut;
    close, INFO: life;
    checkpoint, DEBUG: rows;
    /// One slice of a merge.
    merge, DEBUG: runs done;
    prune, DEBUG: runs records bytes;
    compact, INFO: slices;
    backup, INFO: runs bytes with_key;
    verify, INFO: runs rows table_rows live;
    claim, TRACE: outcome;
    claim_many, TRACE: items;
    settle, TRACE: how;
    complete_many, TRACE: items;
}

impl Span {
    /// Runs the operation inside the span, and notes in it how it failed, if it did.
    pub(crate) fn run<T>(self, work: impl FnOnce(&Span) -> Result<T, Error>) -> Result<T, Error> {
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        let result = work(&self);
        if let Err(error) = &result {
            self.error(error.kind());
        }
        result
    }

    /// Notes a number in one of the fields of the operation.
    pub(crate) fn count(&self, field: &str, count: u64) {
        #[cfg(feature = "tracing")]
        self.span.record(field, count);
        let _ = (self, field, count);
    }

    pub(crate) fn flag(&self, field: &str, flag: bool) {
        #[cfg(feature = "tracing")]
        self.span.record(field, flag);
        let _ = (self, field, flag);
    }

    /// A name of the store's own, never one that came from outside: hence for good.
    pub(crate) fn name(&self, field: &str, name: &'static str) {
        #[cfg(feature = "tracing")]
        self.span.record(field, name);
        let _ = (self, field, name);
    }

    fn error(&self, kind: ErrorKind) {
        #[cfg(feature = "tracing")]
        self.span.record("error", tracing::field::debug(kind));
        let _ = (self, kind);
    }
}
