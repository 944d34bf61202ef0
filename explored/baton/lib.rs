//! The smallest core of group commit alone, so that loom can explore its every interleaving.
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports, reason = "of the modules below, only what the baton needs is used")]

#[path = "../../crates/claimstore/src"]
mod store {
    pub(crate) mod sync;

    #[path = "engine"]
    mod engine {
        mod baton;
    }
}

pub(crate) use store::sync;
