//! Standard output, which knows which records it took whole.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsFd;

use crate::signals::Signals;
use crate::writer::{End, PIPE_BYTES, write_while};

/// Where records go. A trait, so that passing on can be tested against outputs that fail.
pub(crate) trait Sink {
    /// Writes the records in order, as far as that goes.
    fn write(&mut self, records: &[&[u8]]) -> Written;

    /// Makes what was written survive a power loss, where the output is of a kind that can.
    fn sync(&mut self) -> io::Result<()>;
}

/// How far a write came.
#[derive(Debug)]
pub(crate) struct Written {
    /// How many records were taken whole.
    pub(crate) whole: usize,
    /// Why the rest was not.
    pub(crate) stopped: Option<Stopped>,
}

#[derive(Debug)]
pub(crate) enum Stopped {
    /// EPIPE: nobody reads any more.
    ReaderGone,
    /// A signal came while the reader kept us waiting.
    Signal,
    Failed(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Stopped::ReaderGone,
            _ => Stopped::Failed(error),
        }
    }
}

/// The standard output of the process, unbuffered.
#[derive(Debug)]
pub(crate) struct Output {
    file: File,
    regular: bool,
    signals: Signals,
}

impl Output {
    pub(crate) fn standard(signals: Signals) -> io::Result<Output> {
        Output::new(File::from(io::stdout().as_fd().try_clone_to_owned()?), signals)
    }

    /// The file behind it.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    fn new(file: File, signals: Signals) -> io::Result<Output> {
        let regular = file.metadata()?.is_file();
        Ok(Output { file, regular, signals })
    }

    /// One write for all; on an error (a full disk) the record cut in the middle is taken back.
    fn write_file(&mut self, records: &[&[u8]]) -> Written {
        let bytes = records.concat();
        let mut taken = 0;
        let mut stopped = None;
        while taken < bytes.len() && stopped.is_none() {
            match self.file.write(bytes.get(taken..).unwrap_or_default()) {
                Ok(0) => stopped = Some(Stopped::Failed(io::ErrorKind::WriteZero.into())),
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => stopped = Some(Stopped::Failed(error)),
            }
        }
        let (whole, cut) = whole_records(records, taken);
        if stopped.is_some() {
            self.take_back(cut);
        }
        Written { whole, stopped }
    }

    /// Removes the last `cut` bytes, so that the file ends with a whole record. Best effort: where the file does not
    /// end where our write ended, somebody else writes to it, and the bytes there are not ours to remove.
    fn take_back(&mut self, cut: usize) {
        let (Ok(end), Ok(data)) = (self.file.stream_position(), self.file.metadata()) else { return };
        let Some(whole) = end.checked_sub(cut as u64) else { return };
        if end == data.len() && self.file.set_len(whole).is_ok() {
            // The offset is shared with whoever writes to this file after us.
            let _ = self.file.seek(SeekFrom::Start(whole));
        }
    }

    /// Whole records in pieces a pipe takes at once: neither a signal nor a reader that goes away finds a record half
    /// written, unless it is longer than such a piece.
    fn write_stream(&mut self, records: &[&[u8]]) -> Written {
        let mut whole = 0;
        let mut rest = records;
        while !rest.is_empty() {
            let (group, after) = rest.split_at(group_length(rest));
            let (taken, stopped) = self.write_group(&group.concat());
            whole += whole_records(group, taken).0;
            if stopped.is_some() {
                return Written { whole, stopped };
            }
            rest = after;
        }
        Written { whole, stopped: None }
    }

    /// How many of the bytes were taken, and why not all. A signal stops it before the first byte only.
    fn write_group(&mut self, bytes: &[u8]) -> (usize, Option<Stopped>) {
        let go_on = |taken| taken > 0 || self.signals.caught().is_none();
        let (taken, end) = write_while(&self.file, bytes, go_on);
        let stopped = match end {
            End::All => None,
            End::GaveUp => Some(Stopped::Signal),
            End::Failed(error) => Some(error.into()),
        };
        (taken, stopped)
    }
}

impl Sink for Output {
    fn write(&mut self, records: &[&[u8]]) -> Written {
        if self.regular { self.write_file(records) } else { self.write_stream(records) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.regular { self.file.sync_data() } else { Ok(()) }
    }
}

/// How many of the first records go out together: at least one, more only if a pipe takes them at once.
fn group_length(records: &[&[u8]]) -> usize {
    let mut bytes = 0;
    let fits = records.iter().take_while(|record| {
        bytes += record.len();
        bytes <= PIPE_BYTES
    });
    fits.count().max(1)
}

/// Of `taken` bytes: how many whole records, and how many bytes of the one after.
fn whole_records(records: &[&[u8]], taken: usize) -> (usize, usize) {
    let mut cut = taken;
    for (index, record) in records.iter().enumerate() {
        match cut.checked_sub(record.len()) {
            Some(rest) => cut = rest,
            None => return (index, cut),
        }
    }
    (records.len(), 0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn pipe() -> (File, Output, Signals) {
        let (reader, writer) = io::pipe().unwrap();
        let signals = Signals::default();
        let output = Output::new(File::from(std::os::fd::OwnedFd::from(writer)), signals.clone()).unwrap();
        (File::from(std::os::fd::OwnedFd::from(reader)), output, signals)
    }

    #[test]
    fn whole_records_of_a_short_write() {
        let records: [&[u8]; 3] = [b"ab", b"cde", b"f"];
        let found: Vec<_> = (0..=6).map(|taken| whole_records(&records, taken)).collect();
        assert_eq!(found, [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0)]);
    }

    #[test]
    fn groups_fit_a_pipe() {
        let (small, large) = ([0; 2_000], [0; 9_000]);
        assert_eq!(group_length(&[&small, &small, &small]), 2);
        assert_eq!(group_length(&[&large, &small]), 1);
        assert_eq!(group_length(&[&small, &large]), 1);
    }

    #[test]
    fn a_pipe_gets_every_byte() {
        let (mut reader, mut output, _) = pipe();
        let written = output.write(&[&[b'a'; 5_000], b"b\n", b"", b"c"]);
        assert!(matches!(written, Written { whole: 4, stopped: None }));
        drop(output);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, [&[b'a'; 5_000][..], b"b\nc"].concat());
    }

    #[test]
    fn a_reader_that_is_gone_took_nothing() {
        let (reader, mut output, _) = pipe();
        drop(reader);
        let written = output.write(&[b"a\n", b"b\n"]);
        assert!(matches!(written, Written { whole: 0, stopped: Some(Stopped::ReaderGone) }));
    }

    #[test]
    fn a_signal_ends_the_wait_for_a_reader_between_records() {
        let (_reader, mut output, signals) = pipe();
        signals.raise(15);
        let record = [b'a'; PIPE_BYTES];
        let written = output.write(&[&record[..]; 1_000]);
        assert!(matches!(written.stopped, Some(Stopped::Signal)));
        assert!((1..1_000).contains(&written.whole), "a pipe holds some of them");
    }

    #[test]
    fn a_cut_record_is_taken_back() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\nb\nhalf").unwrap();
        let mut output = Output::new(file.try_clone().unwrap(), Signals::default()).unwrap();
        output.take_back(4);
        file.write_all(b"c\n").unwrap();
        file.rewind().unwrap();
        assert_eq!(io::read_to_string(&file).unwrap(), "a\nb\nc\n");
    }

    /// A file that cannot grow beyond 8,192 bytes, as on a full disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_leaves_whole_records() {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        let file = File::from(memfd_create("full", MemfdFlags::ALLOW_SEALING).unwrap());
        file.set_len(8_192).unwrap();
        fcntl_add_seals(&file, SealFlags::GROW).unwrap();
        let mut output = Output::new(file.try_clone().unwrap(), Signals::default()).unwrap();
        let record = [b'a'; 3_000];
        let written = output.write(&[&record[..]; 5]);
        assert_eq!(written.whole, 2);
        assert!(matches!(written.stopped, Some(Stopped::Failed(_))));
        assert_eq!((file.metadata().unwrap().len(), (&file).stream_position().unwrap()), (6_000, 6_000));
    }

    #[test]
    fn bytes_behind_ours_are_left_alone() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\nhalfother").unwrap();
        file.seek(SeekFrom::Start(6)).unwrap();
        let mut output = Output::new(file.try_clone().unwrap(), Signals::default()).unwrap();
        output.take_back(4);
        assert_eq!(file.metadata().unwrap().len(), 11);
    }
}
