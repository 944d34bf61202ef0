//! Which file an error is about, and where in it.

use std::error::Error as StdError;
use std::fmt;
use std::io::Error as IoError;

/// A file or directory, and what is known about it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) offset: Option<u64>,
    /// The process that owns it.
    pub(super) process: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        if let Some(process) = self.process {
            write!(f, " by process {process}")?;
        }
        Ok(())
    }
}

/// An error of the operating system together with the file that it is about. Travels inside of an [`std::io::Error`] of the
/// same kind, so that code between a file and an [`Error`](super::Error) needs no error type of its own.
pub struct FileFault {
    file: String,
    offset: Option<u64>,
    error: IoError,
}

impl FileFault {
    /// Adds the file, and the offset of the read or write in bytes. An error that names a file already stays as it is.
    pub fn wrap(file: &str, offset: Option<u64>, error: IoError) -> IoError {
        if FileFault::in_error(&error).is_some() {
            return error;
        }
        IoError::new(error.kind(), FileFault { file: file.to_owned(), offset, error })
    }

    /// A copy of an error, which is not `Clone`: kind, number of the operating system or text, and file.
    #[must_use]
    pub fn copy_of(error: &IoError) -> IoError {
        if let Some(FileFault { file, offset, error }) = FileFault::in_error(error) {
            return FileFault::wrap(file, *offset, FileFault::copy_of(error));
        }
        match error.raw_os_error() {
            Some(code) => IoError::from_raw_os_error(code),
            None if error.get_ref().is_none() => error.kind().into(),
            None => IoError::new(error.kind(), error.to_string()),
        }
    }

    /// The number of the operating system, with or without a file.
    #[must_use]
    pub fn os_error(error: &IoError) -> Option<i32> {
        FileFault::in_error(error).map_or(error, |fault| &fault.error).raw_os_error()
    }

    fn in_error(error: &IoError) -> Option<&FileFault> {
        error.get_ref().and_then(|inner| inner.downcast_ref::<FileFault>())
    }
}

impl fmt::Debug for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileFault { file, offset, error } = self;
        let place = Place { file: file.clone(), offset: *offset, process: None };
        write!(f, "{place}: {error}")
    }
}

impl StdError for FileFault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}

/// Takes the place out of the error behind an [`Error`](super::Error). A [`FileFault`] is unpacked: what stays is the
/// error of the operating system, so that nothing is told twice.
pub(super) fn taken_from(
    source: Box<dyn StdError + Send + Sync>,
) -> (Option<Place>, Box<dyn StdError + Send + Sync>) {
    if let Some(error) = source.downcast_ref::<super::Error>() {
        return (error.inner.place.clone(), source);
    }
    if source.downcast_ref::<IoError>().and_then(FileFault::in_error).is_none() {
        return (None, source);
    }
    match source.downcast::<IoError>().map(|error| unpacked(*error)) {
        Ok((place, error)) => (place, Box::new(error)),
        Err(source) => (None, source),
    }
}

fn unpacked(error: IoError) -> (Option<Place>, IoError) {
    let kind = error.kind();
    match error.into_inner().map(<dyn StdError + Send + Sync>::downcast::<FileFault>) {
        Some(Ok(fault)) => {
            let FileFault { file, offset, error } = *fault;
            (Some(Place { file, offset, process: None }), error)
        }
        Some(Err(other)) => (None, IoError::new(kind, other)),
        None => (None, kind.into()),
    }
}
