//! PostgreSQL: `INSERT .. ON CONFLICT DO NOTHING` for a claim, `UPDATE` for a completion.
//!
//! The server runs on this machine behind a unix socket, with `synchronous_commit = on` and all that belongs to it
//! (`fsync`, `full_page_writes`), and groups commits by itself. Every thread has its connection and prepared
//! statements; several keys go in one statement, as arrays, and the records of duplicates come back in the same round
//! trip. Pages leave room for the update that completes a claim, so that it needs no new entry in the index. What the
//! settings of the server change is in [`SETTINGS`].

use crate::server::{Server, not_as_root, program, socket_dir};
use claimstore_bench::Result;
use claimstore_bench::engine::Record;
use claimstore_bench::keys::Key;
use claimstore_bench::load::MAX_THREADS;
use claimstore_bench::subject::Subject;
use postgres::{Client, Config, NoTls, Row, Statement};
use rustix::process::Signal;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A cache that holds everything, a WAL without what replication needs and with checkpoints far apart, and plans by
/// the index whatever the table looked like when they were made.
const SETTINGS: [&str; 16] = [
    "listen_addresses=",
    "max_connections=300",
    "synchronous_commit=on",
    "fsync=on",
    "full_page_writes=on",
    "shared_buffers=1GB",
    "wal_level=minimal",
    "max_wal_senders=0",
    "wal_buffers=64MB",
    "max_wal_size=8GB",
    "min_wal_size=1GB",
    "checkpoint_timeout=15min",
    "jit=off",
    "enable_seqscan=off",
    "enable_hashjoin=off",
    "enable_mergejoin=off",
];

const SCHEMA: &str =
    "CREATE TABLE claims (key bytea PRIMARY KEY, record bytea NOT NULL) WITH (fillfactor = 50)";

/// The statement sees the table as it was before: a fresh key appears in the first half only, with no record.
const CLAIM: &str = "WITH fresh AS (
        INSERT INTO claims VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING key)
    SELECT key, NULL::bytea FROM fresh UNION ALL SELECT key, record FROM claims WHERE key = $1";
const CLAIM_MANY: &str = "WITH fresh AS (
        INSERT INTO claims SELECT unnest($1::bytea[]), $2 ON CONFLICT DO NOTHING RETURNING key)
    SELECT key, NULL::bytea FROM fresh UNION ALL SELECT key, record FROM claims WHERE key = ANY($1)";
const COMPLETE: &str = "UPDATE claims SET record = $2 WHERE key = $1";
const COMPLETE_MANY: &str = "UPDATE claims SET record = done.record
    FROM unnest($1::bytea[], $2::bytea[]) AS done (key, record) WHERE claims.key = done.key";
const LOAD: &str = "INSERT INTO claims SELECT * FROM unnest($1::bytea[], $2::bytea[])";

/// A PostgreSQL server and a connection for every thread.
pub(crate) struct Postgres {
    workers: Vec<Mutex<Worker>>,
    _server: Server,
}

/// A connection and its prepared statements.
struct Worker {
    client: Client,
    claim: Statement,
    claim_many: Statement,
    complete: Statement,
    complete_many: Statement,
}

/// Starts PostgreSQL in `dir`, if it is installed.
pub(crate) fn make(dir: &Path) -> Result<Option<Box<dyn Subject>>> {
    Ok(Postgres::start(dir)?.map(|postgres| Box::new(postgres) as Box<dyn Subject>))
}

impl Postgres {
    fn start(dir: &Path) -> Result<Option<Self>> {
        let (Some(initdb), Some(postgres)) =
            (program("initdb", debian_dirs()), program("postgres", debian_dirs()))
        else {
            eprintln!(
                "SKIPPED postgres: there is no initdb or no postgres on the PATH or in /usr/lib/postgresql"
            );
            return Ok(None);
        };
        let data = dir.join("data");
        let mut command = not_as_root(initdb, &[dir])?;
        command.args("-U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions -D".split(' '));
        let output = command.arg(&data).output()?;
        if !output.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let sockets = socket_dir()?;
        let mut command = not_as_root(postgres, &[dir, sockets.path()])?;
        command.arg("-D").arg(data).arg("-k").arg(sockets.path());
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", *setting]));
        // Nobody needs the data, so it is stopped without a checkpoint.
        let mut server = Server::start(&mut command, Signal::QUIT, dir, sockets)?;
        server.first(connect)?.batch_execute(SCHEMA)?;
        let workers = (0..MAX_THREADS).map(|_| Worker::connect(server.sockets()).map(Mutex::new));
        Ok(Some(Self { workers: workers.collect::<Result<_>>()?, _server: server }))
    }

    fn worker(&self, worker: usize) -> Result<MutexGuard<'_, Worker>> {
        let worker = self.workers.get(worker).ok_or("more threads than connections")?;
        Ok(worker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Claims keys; hands the keys that were held before, with their records, to `held`.
    fn claim_each(&self, worker: usize, keys: &[Key], held: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut worker = self.worker(worker)?;
        let rows = match keys {
            [key] => worker.claim(key)?,
            _ => worker.claim_many(keys)?,
        };
        let mut fresh = 0;
        for row in rows {
            match row.try_get::<_, Option<&[u8]>>(1)? {
                Some(record) => held(row.try_get(0)?, record),
                None => fresh += 1,
            }
        }
        Ok(fresh)
    }
}

/// In one order for everybody, so that two statements never wait for each other.
fn sorted(keys: &[Key]) -> Vec<Key> {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    sorted
}

/// Where Debian keeps the programs of each version, the newest first.
fn debian_dirs() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    dirs.sort();
    dirs.reverse();
    dirs
}

fn connect(sockets: &Path) -> Result<Client> {
    let mut config = Config::new();
    Ok(config.host_path(sockets).user("postgres").dbname("postgres").connect(NoTls)?)
}

impl Worker {
    fn connect(sockets: &Path) -> Result<Self> {
        let mut client = connect(sockets)?;
        Ok(Self {
            claim: client.prepare(CLAIM)?,
            claim_many: client.prepare(CLAIM_MANY)?,
            complete: client.prepare(COMPLETE)?,
            complete_many: client.prepare(COMPLETE_MANY)?,
            client,
        })
    }

    /// Rows of keys and the records that they had before; none for a fresh key.
    fn claim(&mut self, key: &Key) -> Result<Vec<Row>> {
        let record = Record::in_progress();
        Ok(self.client.query(&self.claim, &[&key.as_bytes(), &record.as_bytes()])?)
    }

    fn claim_many(&mut self, keys: &[Key]) -> Result<Vec<Row>> {
        let keys = sorted(keys);
        let keys: Vec<_> = keys.iter().map(Key::as_bytes).collect();
        let record = Record::in_progress();
        Ok(self.client.query(&self.claim_many, &[&keys, &record.as_bytes()])?)
    }

    fn complete(&mut self, key: &Key) -> Result<u64> {
        let record = Record::completed(key);
        Ok(self.client.execute(&self.complete, &[&key.as_bytes(), &record.as_bytes()])?)
    }

    fn complete_many(&mut self, keys: &[Key]) -> Result<u64> {
        let keys = sorted(keys);
        let records: Vec<_> = keys.iter().map(Record::completed).collect();
        let bytes: Vec<_> = keys.iter().map(Key::as_bytes).collect();
        let records: Vec<_> = records.iter().map(Record::as_bytes).collect();
        Ok(self.client.execute(&self.complete_many, &[&bytes, &records])?)
    }
}

impl Subject for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn claim(&self, worker: usize, keys: &[Key]) -> Result<u64> {
        // Whoever asks wants the response, so it is copied out.
        self.claim_each(worker, keys, &mut |_, record| drop(black_box(record.to_vec())))
    }

    fn complete(&self, worker: usize, keys: &[Key]) -> Result<()> {
        let mut worker = self.worker(worker)?;
        let completed = match keys {
            [key] => worker.complete(key)?,
            _ => worker.complete_many(keys)?,
        };
        if completed == keys.len() as u64 {
            return Ok(());
        }
        Err(format!("{completed} of {} claims were there to be completed", keys.len()).into())
    }

    fn load(&self, keys: &mut dyn Iterator<Item = Key>) -> Result<()> {
        const CHUNK: usize = 10_000;
        let mut worker = self.worker(0)?;
        loop {
            let chunk: Vec<_> = keys.take(CHUNK).map(|key| (key, Record::completed(&key))).collect();
            if chunk.is_empty() {
                return Ok(worker.client.batch_execute("VACUUM ANALYZE claims")?);
            }
            let keys: Vec<_> = chunk.iter().map(|(key, _)| key.as_bytes()).collect();
            let records: Vec<_> = chunk.iter().map(|(_, record)| record.as_bytes()).collect();
            worker.client.execute(LOAD, &[&keys, &records])?;
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
        testing::threads_share_the_fresh_keys(Postgres::start);
    }

    #[test]
    fn a_duplicate_comes_with_its_response() {
        let scratch = Scratch::new(None).unwrap();
        let Some(postgres) = Postgres::start(scratch.path()).unwrap() else { return };
        let (known, fresh) = (keys::key(1), keys::key(2));
        assert_eq!(postgres.claim(0, &[known]).unwrap(), 1);
        postgres.complete(0, &[known]).unwrap();
        for (asked, expected) in [(vec![fresh, known], 1), (vec![known], 0)] {
            let mut held = Vec::new();
            let claimed = postgres.claim_each(0, &asked, &mut |key, record| {
                held.push((key.to_vec(), record.to_vec()));
            });
            let record = Record::completed(&known).as_bytes().to_vec();
            assert_eq!(
                (claimed.unwrap(), held.as_slice()),
                (expected, &[(known.as_bytes().to_vec(), record)][..])
            );
            postgres.complete(0, &asked).unwrap();
        }
    }

    #[test]
    fn what_nobody_claimed_cannot_be_completed() {
        let scratch = Scratch::new(None).unwrap();
        let Some(postgres) = Postgres::start(scratch.path()).unwrap() else { return };
        assert!(postgres.complete(0, &[keys::key(1)]).is_err());
    }
}
