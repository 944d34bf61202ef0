//! The cold store: resolved records in sorted files that are written once and dropped whole.
//!
//! A *bucket* is a stretch of expiry time. A *run* is one immutable file that holds part of a bucket, sorted
//! by key. A run file is its data blocks, an index of them, a filter, and a footer; `docs/file-format.md`
//! has the bytes. Pruning removes whole files; merging writes a new file out of several of one bucket.
//!
//! Every answer is proved: the catalogue names a run's digest, the digest covers the footer, the footer the
//! index, and the index each block. A key is absent only when the block that would hold it was read and
//! checked, or when the filter says so, and the filter is under the same chain.

mod backend;
mod block;
mod cache;
mod catalog;
mod cursor;
mod filter;
#[cfg(test)]
mod fixture;
mod footer;
mod hasher;
mod id;
mod index;
mod listed;
mod merge;
mod plan;
mod row;
mod run;
mod section;
mod set;
mod summary;
mod tables;
mod walk;
mod writer;

pub(crate) use backend::CommitFailed;
pub(crate) use cache::BlockCache;
pub(crate) use catalog::FILE as CATALOG;
pub(crate) use catalog::{Catalog, CatalogState, ClockMark, NamespaceRow};
pub(crate) use cursor::RunCursor;
pub(crate) use hasher::KeyHasher;
pub(crate) use id::BucketId;
pub(crate) use merge::{Merger, Step};
pub(crate) use plan::plan;
pub(crate) use row::{Apart, Row};
pub(crate) use run::{Run, remove_run, run_file_name};
pub(crate) use set::{Found, RunSet, is_newer};
pub(crate) use summary::{NamespaceUsage, RunSummary};
pub(crate) use tables::FILE as TABLES;
pub(crate) use tables::{ReadTable, Rows, Tables, TablesWrite, UserTable, check_table_name};
pub(crate) use writer::RunWriter;

use crate::codec::Malformed;
use crate::error::Error;
use crate::io::File;

/// The directory of the run files.
pub(crate) const RUNS_DIR: &str = "runs";

/// Bytes of an engine key that name its namespace.
const NAMESPACE_BYTES: usize = 4;

/// The namespace an engine key belongs to; keys too short to name one are refused before they get here.
fn namespace_of(key: &[u8]) -> Option<u32> {
    key.first_chunk::<NAMESPACE_BYTES>().map(|bytes| u32::from_be_bytes(*bytes))
}

fn shared_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(l, r)| l == r).count()
}

fn damaged(what: Malformed) -> Error {
    Error::corrupt(what.0)
}

/// Names the file, and the offset where the damage was found.
fn found_at(file: &dyn File, offset: u64, error: Error) -> Error {
    match file.name() {
        Some(name) => error.in_file(name, Some(offset)),
        None => error,
    }
}

/// A file that ends too early is damaged; every other failed read is the operating system's.
fn read_failed(what: &'static str, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::UnexpectedEof {
        Error::with_source(crate::error::ErrorKind::Corrupt, what, source)
    } else {
        Error::io(what, source)
    }
}
