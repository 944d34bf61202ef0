//! What happens to a disk, one event at a time.

use std::fmt;
use std::sync::Arc;

/// One change, in the order the disk saw it. Files are numbered in the order of their creation.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// A new empty file got a name.
    Create {
        /// Its name.
        name: String,
    },
    /// Bytes entered the page cache.
    Write {
        /// The file's number.
        file: u64,
        /// Where.
        offset: u64,
        /// What.
        data: Arc<[u8]>,
    },
    /// A file was cut, or grew by a hole.
    SetLen {
        /// The file's number.
        file: u64,
        /// Its length from now on.
        len: u64,
    },
    /// Space for the first `len` bytes was reserved.
    Allocate {
        /// The file's number.
        file: u64,
        /// The least length from now on.
        len: u64,
    },
    /// A file's bytes and length became durable.
    SyncFile {
        /// The file's number.
        file: u64,
    },
    /// A sync failed: the dirty pages became clean, and some of them reached the disk.
    SyncFailed {
        /// The file's number.
        file: u64,
        /// Decides which.
        seed: u64,
        /// Whether the page cache goes on showing all of them.
        stuck: bool,
    },
    /// A name moved, replacing what had the new one.
    Rename {
        /// The old name.
        from: String,
        /// The new name.
        to: String,
    },
    /// A name went away.
    Remove {
        /// The name.
        name: String,
    },
    /// A directory came into being.
    CreateDir {
        /// Its name.
        dir: String,
    },
    /// The entries of a directory became durable.
    SyncDir {
        /// Its name; empty for the root.
        dir: String,
    },
    /// The clean pages of a file left the page cache.
    DropCache {
        /// The file's number.
        file: u64,
    },
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Create { name } => write!(f, "create {name}"),
            Event::Write { file, offset, data } => write!(f, "write #{file} {offset}+{}", data.len()),
            Event::SetLen { file, len } => write!(f, "set_len #{file} {len}"),
            Event::Allocate { file, len } => write!(f, "allocate #{file} {len}"),
            Event::SyncFile { file } => write!(f, "sync #{file}"),
            Event::SyncFailed { file, seed, stuck } => {
                write!(
                    f,
                    "sync #{file} FAILED (seed {seed}{})",
                    if *stuck { ", the cache stays" } else { "" }
                )
            }
            Event::Rename { from, to } => write!(f, "rename {from} -> {to}"),
            Event::Remove { name } => write!(f, "remove {name}"),
            Event::CreateDir { dir } => write!(f, "create_dir {dir}"),
            Event::SyncDir { dir } => write!(f, "sync_dir {dir:?}"),
            Event::DropCache { file } => write!(f, "drop_cache #{file}"),
        }
    }
}

/// The directory a name lies in; empty for the root.
pub(crate) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}
