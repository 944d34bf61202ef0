//! Files beside the output: refused records, duplicates.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::exit::{Exit, Failure};
use crate::input::Input;

/// A file that records are added to; nothing where the user wants none.
#[derive(Debug)]
pub(crate) struct SideFile {
    option: &'static str,
    file: Option<BufWriter<File>>,
}

impl SideFile {
    /// Opens the file to add to it: what stands there stays.
    pub(crate) fn open(
        option: &'static str,
        path: Option<&Path>,
        input: &Input,
        output: &File,
    ) -> anyhow::Result<SideFile> {
        let Some(path) = path else { return Ok(SideFile { option, file: None }) };
        let file = File::options().create(true).append(true).open(path).map_err(|error| {
            Failure::new(Exit::CannotCreate, format!("{option}: {}: {error}", path.display()))
        })?;
        if input.is_file(&file) || is_same(&file, output) {
            let message = format!("{option}: {} is the input or the output of this run", path.display());
            return Err(Failure::new(Exit::Usage, message).into());
        }
        Ok(SideFile { option, file: Some(BufWriter::new(file)) })
    }

    /// Whether both are one file, in which records would be torn.
    pub(crate) fn is_same(&self, other: &SideFile) -> bool {
        match (&self.file, &other.file) {
            (Some(one), Some(other)) => is_same(one.get_ref(), other.get_ref()),
            _ => false,
        }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).with_context(|| format!("writing the file of {}", self.option))
    }

    /// Makes what was put there durable.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.flush().and_then(|()| {
            // A pipe or a terminal cannot be synced, and need not.
            if file.get_ref().metadata()?.is_file() { file.get_ref().sync_data() } else { Ok(()) }
        });
        written.with_context(|| format!("writing the file of {}", self.option))
    }
}

fn is_same(one: &File, other: &File) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
