//! From files to an open store.
//!
//! `identity` says whether the directory is ours, [`plan`] what the parts found mean together, [`open`]
//! puts the engine together.

mod open;
mod plan;

pub(crate) use open::open;
