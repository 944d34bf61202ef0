//! What a look at the runs found, and as of when: the only reader of their generation. The argument stands in
//! [`write`](super).

use crate::codec::Record;
use crate::engine::Engine;
use crate::engine::cold::Cold;
use crate::engine::spaces::Keyed;
use crate::error::Error;

/// What a look at the runs found: of one key a record, if they have one; of many keys one for each.
#[derive(Debug)]
pub(crate) struct Looked<F> {
    pub(crate) found: F,
    as_of: AsOf,
}

/// The same, of one key, for its judgement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) cold: Option<&'a Record>,
    as_of: AsOf,
}

/// The generation that was read before the look-up. `None` where there was no look, so that nothing can pass it.
#[derive(Debug, Clone, Copy)]
struct AsOf(Option<u64>);

impl AsOf {
    fn is_current(self, cold: &Cold) -> bool {
        self.0.is_none_or(|generation| cold.generation() == generation)
    }
}

impl<F> Looked<F> {
    /// Whether no checkpoint and no prune came since. Means something of a key that is absent from the live table, under
    /// the lock of its shard.
    pub(crate) fn is_current(&self, cold: &Cold) -> bool {
        self.as_of.is_current(cold)
    }

    /// Planted bug 75: as if nothing could come since.
    pub(crate) fn unguarded(self) -> Looked<F> {
        Looked { as_of: AsOf(None), ..self }
    }
}

impl Looked<Option<Record>> {
    /// No look, for those who are after claims in progress: they never leave the live table.
    pub(crate) fn none() -> Looked<Option<Record>> {
        Looked { found: None, as_of: AsOf(None) }
    }

    pub(crate) fn seen(&self) -> Seen<'_> {
        Seen { cold: self.found.as_ref(), as_of: self.as_of }
    }
}

impl Looked<Vec<Option<Record>>> {
    /// What was found of one of the keys.
    pub(crate) fn seen_of<'a>(&self, cold: Option<&'a Record>) -> Seen<'a> {
        Seen { cold, as_of: self.as_of }
    }
}

impl Seen<'_> {
    /// See [`Looked::none`].
    pub(crate) fn of_live() -> Seen<'static> {
        Seen { cold: None, as_of: AsOf(None) }
    }

    /// See [`Looked::is_current`].
    pub(crate) fn is_current(self, cold: &Cold) -> bool {
        self.as_of.is_current(cold)
    }
}

impl Engine {
    /// Looks a key up in the runs, tombstones included.
    pub(crate) fn look(&self, keyed: &Keyed) -> Result<Looked<Option<Record>>, Error> {
        let look_up = || self.cold.lookup(&keyed.full, keyed.hash);
        self.look_by(|| Ok(look_up()?.map(|found| found.record)))
    }

    /// The same by a look-up of the caller's.
    pub(crate) fn look_by<F>(&self, look_up: impl FnOnce() -> Result<F, Error>) -> Result<Looked<F>, Error> {
        // Before the look-up: a checkpoint that passes in between is then noticed.
        let as_of = AsOf(Some(self.cold.generation()));
        Ok(Looked { found: look_up()?, as_of })
    }
}

/// Looks and tries, until no checkpoint came in between: `attempt` returns `None` where one did.
pub(crate) fn until_current<L, T>(
    look: impl Fn() -> Result<L, Error>,
    mut attempt: impl FnMut(L) -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    until_current_of(&mut (), |()| look(), |(), looked| attempt(looked))
}

/// The same for a request that the attempt which succeeds uses up.
pub(crate) fn until_current_of<R: ?Sized, L, T>(
    request: &mut R,
    look: impl Fn(&R) -> Result<L, Error>,
    mut attempt: impl FnMut(&mut R, L) -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    loop {
        let looked = look(request)?;
        if let Some(done) = attempt(request, looked)? {
            return Ok(done);
        }
    }
}
