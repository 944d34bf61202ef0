//! As much of HTTP/1.1 as one request on one connection needs.

use crate::Result;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A request: its line and the fencing token that came with it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) token: u64,
}

/// Sends a request and waits for the answer, for so long at each step.
pub(crate) fn call(
    port: u16,
    method: &str,
    path: &str,
    token: u64,
    patience: Duration,
) -> io::Result<(u16, String)> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nFencing-Token: {token}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse_answer(&answer).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn parse_answer(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Reads a request.
pub(crate) fn receive(stream: &TcpStream) -> Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().ok_or("no request")??;
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err("no request line".into());
    };
    let mut token = 0;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Fencing-Token: ") {
            token = value.parse()?;
        }
    }
    Ok(Request { method, path, token })
}

/// Answers a request. Nobody may be there any more to hear it.
pub(crate) fn answer(mut stream: &TcpStream, status: u16, body: &str) {
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    drop(stream.write_all(answer.as_bytes()));
}
