//! From files to an open store.
//!
//! `identity` tells whether the directory is a store, [`plan`] evaluates together what its parts say, and
//! [`open`](mod@open) assembles the engine.

mod open;
mod owner;
mod plan;
mod replay;

pub(crate) use open::open;
