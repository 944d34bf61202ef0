//! Scripts: single-threaded programs over a few keys, run against a store and a model side by side.
//!
//! A script's steps are data, so they can be generated, shrunk and replayed. [`Runner`] carries a script out
//! and holds every answer against [`Model`]; what is kept of a run ([`Trace`]) lets a crash harness compare
//! any later image with what had been acknowledged by then.

mod backend;
mod calls;
mod campaign;
mod coded;
mod compare;
mod crash;
mod failing;
mod holders;
mod imports;
mod look;
mod midst;
mod model;
mod probe;
mod runner;
mod spaces;
mod steps;
mod suffix;
mod world;

pub use campaign::{Campaign, guarded};
pub use coded::decode_steps;
pub use compare::{compare, key_bytes};
pub use crash::{Cut, Image, Recording};
pub use failing::survive;
pub use midst::Midst;
pub use model::{KEYS, Model, Stage};
pub use probe::{Found, is_owned_up, probe};
pub use runner::{Runner, Stop, Trace};
pub use steps::{Step, random_step, random_steps};
pub use suffix::{Point, durability_of};
pub use world::{Ground, RealStorage, World};
