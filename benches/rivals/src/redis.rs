//! Redis: `SET key value NX GET PX ttl` for a claim, `SET key value PX ttl` for a completion.
//!
//! The server runs on this machine behind a unix socket, with `appendonly yes` and `appendfsync always`: it answers once
//! the append-only file is synced, and syncs once for all commands that came in together. No snapshots; the file is
//! rewritten as it grows, by default. Every thread has its connection; several keys go out in one write. Redis holds
//! everything in memory. It needs version 7, the first in which `NX` goes with `GET`, so that a duplicate's response
//! comes with the answer.

use crate::resp::{Connection, Reply};
use crate::server::{Server, program, socket_dir};
use claimstore_bench::Result;
use claimstore_bench::engine::Record;
use claimstore_bench::keys::Key;
use claimstore_bench::load::MAX_THREADS;
use claimstore_bench::subject::Subject;
use rustix::process::Signal;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A week, in milliseconds.
const TTL_MS: &[u8] = b"604800000";

const SOCKET: &str = "redis.sock";

/// A Redis server and a connection for every thread.
#[derive(Debug)]
pub(crate) struct Redis {
    connections: Vec<Mutex<Connection>>,
    _server: Server,
}

/// Starts Redis in `dir`, if a version that can take part is installed.
pub(crate) fn make(dir: &Path) -> Result<Option<Box<dyn Subject>>> {
    Ok(Redis::start(dir)?.map(|redis| Box::new(redis) as Box<dyn Subject>))
}

impl Redis {
    fn start(dir: &Path) -> Result<Option<Self>> {
        let Some(program) = program("redis-server", []) else {
            eprintln!("SKIPPED redis: there is no redis-server on the PATH");
            return Ok(None);
        };
        let version = Command::new(&program).arg("--version").output()?.stdout;
        let version = String::from_utf8_lossy(&version).into_owned();
        if major(&version).is_none_or(|major| major < 7) {
            eprintln!("SKIPPED redis: needs version 7 or later, and this is {version}");
            return Ok(None);
        }
        let sockets = socket_dir()?;
        let mut command = Command::new(program);
        command.arg("--unixsocket").arg(sockets.path().join(SOCKET)).arg("--dir").arg(dir);
        let options = "--port 0 --maxclients 1000 --appendonly yes --appendfsync always --save";
        command.args(options.split(' ')).arg("");
        let mut server = Server::start(&mut command, Signal::TERM, dir, sockets)?;
        server.first(|sockets| ping(&sockets.join(SOCKET)))?;
        let connect = |_| Ok(Mutex::new(Connection::open(&server.sockets().join(SOCKET))?));
        let connections = (0..MAX_THREADS).map(connect).collect::<Result<_>>()?;
        Ok(Some(Self { connections, _server: server }))
    }

    fn connection(&self, worker: usize) -> Result<MutexGuard<'_, Connection>> {
        let connection = self.connections.get(worker).ok_or("more threads than connections")?;
        Ok(connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Claims keys; hands what was held before, by the place of the key, to `held`.
    fn claim_each(&self, worker: usize, keys: &[Key], held: &mut dyn FnMut(usize, &[u8])) -> Result<u64> {
        let mut connection = self.connection(worker)?;
        let record = Record::in_progress();
        for key in keys {
            let words = [b"SET", key.as_bytes(), record.as_bytes(), b"NX", b"GET", b"PX", TTL_MS];
            connection.command(&words);
        }
        connection.send()?;
        let mut fresh = 0;
        for place in 0..keys.len() {
            match connection.reply()? {
                Reply::Nil => fresh += 1,
                Reply::Value(record) => held(place, record),
                Reply::Status => return Err("Redis answered a claim with a status".into()),
            }
        }
        Ok(fresh)
    }
}

/// The number after `v=` in `Redis server v=7.0.15 sha=..`.
fn major(version: &str) -> Option<u32> {
    version.split_once("v=")?.1.split('.').next()?.parse().ok()
}

fn ping(socket: &Path) -> Result<()> {
    let mut connection = Connection::open(socket)?;
    connection.command(&[b"PING"]);
    connection.send()?;
    connection.reply().map(drop)
}

impl Subject for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn claim(&self, worker: usize, keys: &[Key]) -> Result<u64> {
        // Whoever asks wants the response, so it is copied out.
        self.claim_each(worker, keys, &mut |_, record| drop(black_box(record.to_vec())))
    }

    fn complete(&self, worker: usize, keys: &[Key]) -> Result<()> {
        let mut connection = self.connection(worker)?;
        for key in keys {
            let record = Record::completed(key);
            connection.command(&[b"SET", key.as_bytes(), record.as_bytes(), b"PX", TTL_MS]);
        }
        connection.send()?;
        for _ in keys {
            connection.reply()?;
        }
        Ok(())
    }

    fn load(&self, keys: &mut dyn Iterator<Item = Key>) -> Result<()> {
        const CHUNK: usize = 4096;
        loop {
            let chunk: Vec<Key> = keys.take(CHUNK).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            self.complete(0, &chunk)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use claimstore_bench::keys;
    use claimstore_bench::scratch::Scratch;

    #[test]
    fn threads_share_the_fresh_keys() {
        testing::threads_share_the_fresh_keys(Redis::start);
    }

    #[test]
    fn a_duplicate_comes_with_its_response() {
        let scratch = Scratch::new(None).unwrap();
        let Some(redis) = Redis::start(scratch.path()).unwrap() else { return };
        let (known, fresh) = (keys::key(1), keys::key(2));
        redis.complete(0, &[known]).unwrap();
        let mut held = Vec::new();
        let claimed = redis.claim_each(0, &[fresh, known], &mut |place, record| {
            held.push((place, record.to_vec()));
        });
        assert_eq!(claimed.unwrap(), 1);
        assert_eq!(held, [(1, Record::completed(&known).as_bytes().to_vec())]);
    }

    #[test]
    fn versions() {
        assert_eq!(major("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0"), Some(7));
        assert_eq!(major("something else"), None);
    }
}
