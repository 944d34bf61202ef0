//! Records on their way out of a store and into one: `claimstore export` and `claimstore import`.
//!
//! [`line`](mod@line) is the store's own form, one JSON object a line; [`sql`] and [`redis`] read what other keepers
//! of idempotency keys give out, row by row ([`row`]); [`load`] writes batches of either into a store.

pub(crate) mod base64;
pub(crate) mod foreign;
pub(crate) mod line;
pub(crate) mod load;
pub(crate) mod redis;
pub(crate) mod row;
pub(crate) mod rules;
pub(crate) mod sql;
pub(crate) mod time;
