//! Durable claims side by side: claimstore, the bare loop, an ideal journal, and redb with group commit.
//!
//! ```text
//! cargo run --release -p claimstore-bench --bin load -- \
//!     [--scenarios bursts|sustained|all|NAME,..] [--subjects NAME,..] [--keys natural,uuidv7] [--loaded 1000000] \
//!     [--rounds 3] [--seconds 0.5] [--long-seconds 60] [--dir DIR] [--out FILE]
//! ```
//!
//! `--out` appends every measured turn to a file, one JSON object a line. The other databases have a workspace of
//! their own, `benches/rivals`, with the same command line.
#![forbid(unsafe_code)]

use claimstore_bench::{Result, load};

fn main() -> Result<()> {
    load::main(&load::references())
}
