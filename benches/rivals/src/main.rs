//! The load bench with the databases people would use instead of claimstore, side by side with it.
//!
//! ```text
//! cd benches/rivals && cargo run --release -- [the options of the load bench]
//! ```
//!
//! Started in this directory, cargo reads `.cargo/config.toml`, which compiles RocksDB and SQLite as they ask to be.
//! `--no-default-features` leaves RocksDB out. How every database is set up stands in its file and in
//! `docs/benchmarks.md`; Redis and PostgreSQL are started by the bench, and skipped where they are not installed.
#![deny(unsafe_code)]

mod fjall;
mod lmdb;
mod postgres;
mod redis;
mod resp;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod server;
mod sqlite;
#[cfg(test)]
mod testing;

#[cfg(feature = "rocksdb")]
use crate::rocksdb::{RocksDb, Writers};
use claimstore_bench::Result;
use claimstore_bench::engine::{Built, Engine};
use claimstore_bench::load::{self, Maker};
use claimstore_bench::subject::Subject;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Bytes of cache for a database that has a cache of its own: all the keys of a burst fit.
const CACHE_BYTES: usize = 1 << 30;

fn main() -> Result<()> {
    if option_env!("LIBSQLITE3_FLAGS").is_none() || option_env!("CXXFLAGS").is_none() {
        eprintln!("compiled outside benches/rivals: RocksDB and SQLite are slower than they can be");
    }
    raise_file_limit()?;
    let mut makers = load::references();
    makers.extend(rivals());
    load::main(&makers)
}

fn rivals() -> Vec<Maker> {
    vec![
        #[cfg(feature = "rocksdb")]
        Maker {
            name: "rocksdb",
            make: |dir| Ok(Some(Box::new(Built::own(RocksDb::create(dir, Writers::Many)?)))),
        },
        #[cfg(feature = "rocksdb")]
        Maker { name: "rocksdb+group", make: |dir| grouped(RocksDb::create(dir, Writers::One)?) },
        Maker { name: "sqlite+group", make: |dir| grouped(sqlite::Sqlite::create(dir)?) },
        Maker { name: "lmdb+group", make: |dir| grouped(lmdb::Lmdb::create(dir)?) },
        Maker { name: "fjall+group", make: |dir| grouped(fjall::Fjall::create(dir)?) },
        Maker { name: "redis", make: redis::make },
        Maker { name: "postgres", make: postgres::make },
    ]
}

#[expect(clippy::unnecessary_wraps, reason = "what a maker returns")]
fn grouped<E: Engine + 'static>(engine: E) -> Result<Option<Box<dyn Subject>>> {
    Ok(Some(Box::new(Built::grouped(engine))))
}

/// All stores at once, with a connection for every thread, have more files open than some systems allow by default.
fn raise_file_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
