//! Opening a run, and going through all of it.

use super::cursor::Rows;
use super::filter::{Filter, LINE_BYTES};
use super::footer::{Footer, MAX_FOOTER_BYTES, Section};
use super::index::Index;
use super::run::read;
use super::section::SectionReader;
use super::summary::{Ranges, Tally};
use super::{BucketId, KeyHasher, Run, RunCursor, RunSummary, found_at, run_file_name};
use crate::codec::crc32;
use crate::error::Error;
use crate::io::{File, OpenMode, Storage};
use crate::sync::Arc;
use std::io;

impl Run {
    /// Opens the run that the catalogue names in `summary`.
    ///
    /// A damaged filter is rebuilt from the rows. Any other damage is `Corrupt`; a run written by a newer version is
    /// `TooNew`.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
        summary: &RunSummary,
        hasher: &KeyHasher,
    ) -> Result<Run, Error> {
        let opened = Run::open_checked(storage, store_id, summary, hasher);
        opened.map_err(|error| error.in_file(run_file_name(summary.number), None))
    }

    fn open_checked(
        storage: &Arc<dyn Storage>,
        store_id: [u8; 16],
        summary: &RunSummary,
        hasher: &KeyHasher,
    ) -> Result<Run, Error> {
        let file = storage.open(&run_file_name(summary.number), OpenMode::Existing).map_err(open_failed)?;
        let footer = read_footer(&*file, &store_id, summary)?;
        let stored = read_section(&*file, &footer.ranges, "run ranges")?;
        let in_ranges = |error| found_at(&*file, footer.ranges.offset, error);
        let ranges = Ranges::decode(&stored).map_err(in_ranges)?;
        let (Some(min_key), Some(max_key)) = (ranges.min_key(), ranges.max_key()) else {
            return Err(in_ranges(Error::corrupt("run ranges")));
        };
        if hasher.hash(&min_key) != footer.first_hash {
            return Err(in_ranges(Error::corrupt("run hashed under another key")));
        }
        let index = SectionReader::new(&*file, &footer.index, "run index");
        let index = Index::read(index, &min_key, footer.data_bytes)
            .map_err(|error| found_at(&*file, footer.index.offset, error))?;
        let mut run = Run {
            summary: summary.clone(),
            store_id,
            file,
            footer,
            index,
            filter: None,
            filter_rebuilt: false,
            ranges,
            min_key: min_key.into(),
            max_key: max_key.into(),
        };
        run.load_filter(hasher)?;
        Ok(run)
    }

    /// The rows from `from` on, or all of them, in key order.
    pub(crate) fn iter(self: &Arc<Run>, from: Option<&[u8]>) -> RunCursor {
        RunCursor::new(self.clone(), from)
    }

    /// Reads and checks every byte of the file again; returns the number of rows.
    pub(crate) fn verify(self: &Arc<Run>) -> Result<u64, Error> {
        self.verify_rows().map_err(|error| error.in_file(run_file_name(self.number()), None))
    }

    fn verify_rows(self: &Arc<Run>) -> Result<u64, Error> {
        self.verify_sections()?;
        let mut tally = Tally::new();
        let mut cursor = self.iter(None);
        while let Some(record) = cursor.advance()? {
            let numbers = record.numbers();
            if !tally.admits(self.bucket(), cursor.key(), &numbers) {
                return Err(cursor.damaged("run order"));
            }
            tally.add(cursor.key(), &numbers, record.body.len());
        }
        tally.close();
        let counted = (tally.rows, tally.tombstones, tally.min_seq, tally.max_seq);
        let Footer { rows, tombstones, min_seq, max_seq, .. } = self.footer;
        if counted == (rows, tombstones, min_seq, max_seq) && tally.ranges == self.ranges {
            Ok(tally.rows)
        } else {
            Err(Error::corrupt("run counts"))
        }
    }

    /// Reads the filter; a damaged one is rebuilt from the rows, which have checksums of their own.
    fn load_filter(&mut self, hasher: &KeyHasher) -> Result<(), Error> {
        if self.bucket() == BucketId::Open {
            return if self.footer.filter.length == 0 {
                Ok(())
            } else {
                Err(found_at(&*self.file, self.footer.filter.offset, Error::corrupt("run filter length")))
            };
        }
        if self.footer.filter.length == 0 || !self.footer.filter.length.is_multiple_of(LINE_BYTES as u64) {
            return Err(found_at(
                &*self.file,
                self.footer.filter.offset,
                Error::corrupt("run filter length"),
            ));
        }
        if let Some(filter) = read_filter(&*self.file, &self.footer.filter)? {
            self.filter = Some(filter);
            return Ok(());
        }
        let mut filter = Filter::for_keys(self.summary.rows);
        let mut rows = Rows::new(None);
        while rows.advance(self)?.is_some() {
            filter.insert(hasher.hash(rows.key()));
        }
        self.filter = Some(filter);
        self.filter_rebuilt = true;
        Ok(())
    }

    fn verify_sections(&self) -> Result<(), Error> {
        read_footer(&*self.file, &self.store_id, &self.summary)?;
        let index = SectionReader::new(&*self.file, &self.footer.index, "run index");
        Index::read(index, &self.min_key, self.footer.data_bytes)
            .map_err(|error| found_at(&*self.file, self.footer.index.offset, error))?;
        read_section(&*self.file, &self.footer.ranges, "run ranges")?;
        match read_filter(&*self.file, &self.footer.filter)? {
            Some(_) => Ok(()),
            None => Err(found_at(&*self.file, self.footer.filter.offset, Error::corrupt("run filter"))),
        }
    }
}

fn open_failed(source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        Error::with_source(crate::error::ErrorKind::Corrupt, "a run file is missing", source)
    } else {
        Error::io("open run", source)
    }
}

/// The length is compared with the file's first: nothing is allocated for a length from damaged bytes.
fn read_footer(file: &dyn File, store_id: &[u8; 16], summary: &RunSummary) -> Result<Footer, Error> {
    let length = file.len().map_err(|source| Error::io("run length", source))?;
    if length != summary.bytes {
        return Err(found_at(file, length, Error::corrupt("run length")));
    }
    let end = length.min(MAX_FOOTER_BYTES);
    let stored = read(file, length - end, end as usize, "run footer")?;
    Footer::check(&stored, store_id, summary).map_err(|error| found_at(file, length - end, error))
}

fn read_section(file: &dyn File, section: &Section, what: &'static str) -> Result<Vec<u8>, Error> {
    let bytes = read(file, section.offset, section.length as usize, what)?;
    if crc32(&[&bytes]) == section.crc {
        Ok(bytes)
    } else {
        Err(found_at(file, section.offset, Error::corrupt(what)))
    }
}

/// The stored filter; `None` if its checksum is wrong.
fn read_filter(file: &dyn File, section: &Section) -> Result<Option<Filter>, Error> {
    let mut filter = Filter::with_capacity(section.length as usize);
    let mut stored = SectionReader::new(file, section, "run filter");
    loop {
        match stored.piece(section.length, LINE_BYTES)? {
            [] => return Ok(stored.finish().then_some(filter)),
            lines => filter.append(lines),
        }
    }
}
