//! The bytes that were read and not yet used.

use std::io::{self, Read};

/// How much is asked for at once.
const READ_BYTES: usize = 256 << 10;

/// A piece of the input that grows at its end and is used up at its beginning.
#[derive(Debug)]
pub(super) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    /// What is not yet used is `buffer[start..end]`.
    start: usize,
    end: usize,
    /// How many bytes were used up.
    used: u64,
    at_end: bool,
}

impl<R: Read> Window<R> {
    pub(super) fn new(input: R) -> Window<R> {
        Window { input, buffer: Vec::new(), start: 0, end: 0, used: 0, at_end: false }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether nothing follows what is here.
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// How many bytes of the input were used up.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Reads on. An error (`WouldBlock` among them) loses nothing.
    pub(super) fn fill(&mut self) -> io::Result<()> {
        if self.at_end {
            return Ok(());
        }
        self.make_room();
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = loop {
            match self.input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.end += count;
        self.at_end = count == 0;
        Ok(())
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end < self.buffer.len() {
            return;
        }
        if self.start > self.buffer.len() / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else {
            self.buffer.resize((2 * self.buffer.len()).max(READ_BYTES), 0);
        }
    }

    /// Takes the first `length` bytes away.
    pub(super) fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.bytes().get(..length).unwrap_or(self.bytes()).to_vec();
        self.skip(length);
        taken
    }

    pub(super) fn skip(&mut self, length: usize) {
        let length = length.min(self.end - self.start);
        self.start += length;
        self.used += length as u64;
    }
}
