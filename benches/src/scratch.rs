//! Where a bench puts its files.

use crate::Result;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory that is removed, with all that is in it, when this value is dropped.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// A new directory inside `parent`, or else inside the build directory the program runs from: that is on
    /// a real disk, whereas `/tmp` may be memory.
    pub fn new(parent: Option<&str>) -> Result<Self> {
        let parent = match parent {
            Some(dir) => PathBuf::from(dir),
            None => build_dir()?,
        };
        fs::create_dir_all(&parent)?;
        // Servers that refuse to be run by root reach their files as somebody else.
        let permissions = Permissions::from_mode(0o755);
        let mut builder = tempfile::Builder::new();
        Ok(Self(builder.prefix("claimstore-bench-").permissions(permissions).tempdir_in(parent)?))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A name inside the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

fn build_dir() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().ok_or("the program has no directory")?.to_owned())
}
