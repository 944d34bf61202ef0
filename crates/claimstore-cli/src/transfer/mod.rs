//! Records on their way out of a store and into one: `claimstore export` and `claimstore import`.
//!
//! [`line`](mod@line) is the store's own form, one JSON object a line; [`sql`] and [`redis`] read what other keepers
//! of idempotency keys give out, row by row ([`row`]); [`said`] knows what a row says about its work, by words, columns
//! and times; [`load`] writes batches of either into a store, and [`run`] takes an input through all of it.

mod columns;
mod foreign;
pub(crate) mod line;
pub(crate) mod load;
pub(crate) mod reading;
mod redis;
pub(crate) mod row;
pub(crate) mod rules;
pub(crate) mod run;
pub(crate) mod said;
mod sql;
#[cfg(test)]
mod systems;
pub(crate) mod time;
pub(crate) mod words;
