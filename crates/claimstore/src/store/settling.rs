//! Settling in bulk, and taking up claims again.

use super::Store;
use crate::engine::commit::Waits;
use crate::engine::decide::Ending;
use crate::engine::held::{Held, stale};
use crate::engine::spans;
use crate::error::{Error, ErrorKind};
use crate::future::BatchSettleFuture;
use crate::lease::{Lease, SettleError};
use crate::options::MAX_BATCH_ITEMS;
use crate::token::LeaseToken;
use std::fmt;

/// `complete_many` as a whole was refused: nothing happened, and here are the leases and responses back.
/// With [`ErrorKind::Indeterminate`] and [`ErrorKind::Poisoned`] the store must be reopened to learn more.
pub struct CompleteManyError {
    error: Error,
    items: Vec<(Lease, Vec<u8>)>,
}

impl CompleteManyError {
    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// The error and everything that was given in.
    pub fn into_parts(self) -> (Error, Vec<(Lease, Vec<u8>)>) {
        (self.error, self.items)
    }

    pub(crate) fn new(error: Error, items: Vec<(Lease, Vec<u8>)>) -> CompleteManyError {
        CompleteManyError { error, items }
    }
}

/// Leaves the claims to their terms.
impl From<CompleteManyError> for Error {
    fn from(refused: CompleteManyError) -> Error {
        for (lease, _) in refused.items {
            drop(lease.into_token());
        }
        refused.error
    }
}

impl fmt::Debug for CompleteManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteManyError")
            .field("error", &self.error)
            .field("items", &self.items.len())
            .finish()
    }
}

impl fmt::Display for CompleteManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for CompleteManyError {}

/// Settling in bulk, and taking up claims again.
impl Store {
    /// Completes many claims in one commit (at most 65,536), of any namespaces. Answers a verdict for each;
    /// a refused one holds its lease. No path loses a lease.
    pub fn complete_many(
        &self,
        items: Vec<(Lease, Vec<u8>)>,
    ) -> Result<Vec<Result<(), SettleError>>, CompleteManyError> {
        let completed = spans::complete_many().run(|span| {
            span.count("items", items.len() as u64);
            let (batch, verdicts) = self.queue_completions(&items, Waits::Here)?;
            self.engine().wait(batch)?;
            Ok(verdicts)
        });
        match completed {
            Ok(verdicts) => Ok(hand_out(items, verdicts)),
            Err(error) => Err(CompleteManyError { error, items }),
        }
    }

    /// Like [`complete_many`](Store::complete_many), as a future. Dropping the future does not stop the
    /// settlements.
    pub fn complete_many_async(&self, items: Vec<(Lease, Vec<u8>)>) -> BatchSettleFuture {
        let served = self.engine().serve_futures();
        let queued = served.and_then(|()| self.queue_completions(&items, Waits::Elsewhere));
        match queued {
            Ok((batch, verdicts)) => BatchSettleFuture::queued(self.engine(), batch, items, verdicts),
            Err(error) => BatchSettleFuture::refused(CompleteManyError { error, items }),
        }
    }

    fn queue_completions(
        &self,
        items: &[(Lease, Vec<u8>)],
        waits: Waits,
    ) -> Result<(u64, Vec<Result<(), Error>>), Error> {
        let engine = self.engine();
        if items.len() > MAX_BATCH_ITEMS {
            return Err(Error::new(ErrorKind::TooLarge, "a batch must have at most 65,536 items"));
        }
        for (lease, _) in items {
            if !lease.is_of(engine) {
                // A store that is closed goes before one that is another.
                lease.engine()?;
                return Err(Error::new(ErrorKind::Misuse, "a lease of another store"));
            }
        }
        let endings: Vec<(&Held, Ending<'_>)> =
            items.iter().map(|(lease, response)| (lease.held(), Ending::Complete(response))).collect();
        engine.settle_many(&endings, waits)
    }

    /// Takes up the claim of `token` again: one handed on by [`Lease::into_token`] in this life, or detached
    /// by [`Lease::detach`] in any.
    ///
    /// Errors, none of which changes anything: [`ErrorKind::InvalidToken`] when this store did not make the token, or
    /// somebody changed it since; [`ErrorKind::StaleLease`] when the claim was superseded or settled meanwhile;
    /// [`ErrorKind::Misuse`] while another lease of it lives; and those of [`fingerprinter`](Store::fingerprinter) when
    /// the key of the seals cannot be read.
    #[expect(clippy::needless_pass_by_value, reason = "the token is used up")]
    pub fn resume(&self, token: LeaseToken) -> Result<Lease, Error> {
        self.engine().check_changes()?;
        token.check(self.engine())?;
        let space = self.engine().spaces.get(&token.space).ok_or_else(stale)?;
        let (held, granted) = self.engine().resume(&space, &token.key, token.token)?;
        Ok(Lease::new(self.engine(), &held.space, &token.key, granted))
    }
}

/// Pairs leases with verdicts: accepted ones are done with, refused ones go back.
pub(crate) fn hand_out(
    items: Vec<(Lease, Vec<u8>)>,
    verdicts: Vec<Result<(), Error>>,
) -> Vec<Result<(), SettleError>> {
    let settle = |((mut lease, _), verdict): ((Lease, Vec<u8>), Result<(), Error>)| match verdict {
        Ok(()) => {
            lease.disarm();
            Ok(())
        }
        Err(error) => Err(SettleError::new(error, lease)),
    };
    items.into_iter().zip(verdicts).map(settle).collect()
}
