//! A client for Redis: commands out in one write, replies back in order.
//!
//! Two pages instead of a client library, so that what is measured on this side is the socket and nothing else. The
//! protocol is RESP2, <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use claimstore_bench::Result;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A connection with commands that wait to be sent.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
    commands: Vec<u8>,
    reply: Vec<u8>,
}

/// What the server answers to one command, as far as the bench needs it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// `OK`, `PONG` and the like.
    Status,
    /// There is no value.
    Nil,
    /// A value.
    Value(&'a [u8]),
}

impl Connection {
    /// Connects to the socket of a server.
    pub(crate) fn open(socket: &Path) -> Result<Self> {
        let stream = BufReader::new(UnixStream::connect(socket)?);
        Ok(Self { stream, commands: Vec::new(), reply: Vec::new() })
    }

    /// Adds a command to those that wait.
    pub(crate) fn command(&mut self, words: &[&[u8]]) {
        self.number(b'*', words.len());
        for word in words {
            self.number(b'$', word.len());
            self.commands.extend_from_slice(word);
            self.commands.extend_from_slice(b"\r\n");
        }
    }

    fn number(&mut self, kind: u8, number: usize) {
        self.commands.push(kind);
        self.commands.extend_from_slice(number.to_string().as_bytes());
        self.commands.extend_from_slice(b"\r\n");
    }

    /// Sends all that waits.
    pub(crate) fn send(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(&self.commands)?;
        self.commands.clear();
        Ok(())
    }

    /// Waits for the next reply.
    pub(crate) fn reply(&mut self) -> Result<Reply<'_>> {
        self.reply.clear();
        self.stream.read_until(b'\n', &mut self.reply)?;
        let line = self.reply.strip_suffix(b"\r\n").ok_or("Redis closed the connection")?;
        match line.split_first() {
            Some((b'+', _)) => Ok(Reply::Status),
            Some((b'$', b"-1")) => Ok(Reply::Nil),
            Some((b'$', len)) => {
                let len: usize = std::str::from_utf8(len)?.parse()?;
                self.reply.resize(len + 2, 0);
                self.stream.read_exact(&mut self.reply)?;
                let value = self.reply.strip_suffix(b"\r\n").ok_or("Redis sent a value without its end")?;
                Ok(Reply::Value(value))
            }
            _ => Err(format!("Redis answered {}", line.escape_ascii()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection whose other end has sent `bytes` and is gone.
    fn answered(bytes: &[u8]) -> Connection {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(bytes).unwrap();
        Connection { stream: BufReader::new(near), commands: Vec::new(), reply: Vec::new() }
    }

    #[test]
    fn replies_of_all_kinds() {
        let mut connection = answered(b"+OK\r\n$-1\r\n$4\r\na\r\nb\r\n-ERR no\r\n$3\r\nab");
        assert_eq!(connection.reply().unwrap(), Reply::Status);
        assert_eq!(connection.reply().unwrap(), Reply::Nil);
        assert_eq!(connection.reply().unwrap(), Reply::Value(b"a\r\nb"));
        assert_eq!(connection.reply().unwrap_err().to_string(), "Redis answered -ERR no");
        assert!(connection.reply().is_err(), "the value is cut short");
        assert!(connection.reply().is_err(), "nothing follows");
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut connection = answered(b"");
        connection.command(&[b"SET", b"key", b""]);
        assert_eq!(connection.commands, b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n");
    }
}
