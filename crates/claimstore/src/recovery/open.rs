//! Opening: lock, identity, catalogue, runs, claims in progress, journal, tables; then a new life.
//!
//! Replay only applies records, it never decides again: of two versions of a key the one with the higher sequence
//! number wins, wherever each was found. The new life is durable in the catalogue before the first claim, so that no
//! token is ever assigned twice.

use super::owner::{not_locked, when_free};
use super::plan::{self, Evidence};
use super::replay::{Replay, corrupt};
use crate::bucket::{
    CATALOG, Catalog, CatalogState, ClockMark, KeyHasher, Run, RunSet, RunSummary, TABLES, Tables, remove_run,
};
use crate::codec::Cursor;
use crate::engine::cold::Cold;
use crate::engine::commit::Commit;
use crate::engine::home::{Home, clock_mark};
use crate::engine::live::Live;
use crate::engine::segments::InUse;
use crate::engine::spaces::Spaces;
use crate::engine::table_home::TableHome;
use crate::engine::time::{Mark, StoreClock};
use crate::engine::{Engine, Opening, Parts, observe, reserve, spans};
use crate::error::{Error, ErrorKind};
use crate::identity::{self, Identity, LOCK, STORE};
use crate::io::{LockGuard, Named, Overlay, Storage};
use crate::journal::{self, Recovered, Start, Writer};
use crate::options::Options;
use crate::planted;
use crate::policy::Policy;
use crate::sync::Arc;
use std::collections::HashSet;
use std::io;
use std::path::Path;

/// Opens or creates the store on `storage`.
pub(crate) fn open(options: Options, storage: Arc<dyn Storage>) -> Result<Arc<Engine>, Error> {
    spans::open().run(|span| {
        let engine = begin(options, storage)?;
        span.count("life", engine.life);
        Ok(engine)
    })
}

fn begin(options: Options, storage: Arc<dyn Storage>) -> Result<Arc<Engine>, Error> {
    let named = Named::own(storage);
    let ((storage, ownership, opened), began_ns) = when_free(&options, || {
        if options.read_only { look(&options, named.clone()) } else { take(&options, named.clone()) }
    })?;
    let Opened { store_id, life, hasher, time, live, cold, commit, spaces, home, tables, segments, opening } =
        opened;
    let engine = Engine::assemble(Parts {
        limits: options.limits,
        durability: options.durability,
        background: options.background && !options.read_only,
        read_only: options.read_only,
        entropy: options.entropy,
        storage,
        store_id,
        life,
        hasher,
        time,
        live,
        cold,
        commit,
        spaces,
        home,
        tables,
        segments,
        ownership,
        #[cfg(feature = "metrics")]
        metrics_label: options.metrics_label,
        opening,
    });
    engine.count_usage();
    if !options.read_only {
        reserve::restore(&engine.storage);
    }
    engine.start_threads()?;
    observe::opened(engine.life, &engine.opening, engine.time.lap_ns().saturating_sub(began_ns) / 1_000_000);
    Ok(engine)
}

/// A storage, the locks that are held on it, and the recovered state.
type Held = (Arc<dyn Storage>, Vec<LockGuard>, Opened);

/// Opens or creates the store as its one owner.
///
/// Two files are locked, `LOCK` and `STORE`. If `LOCK` is deleted as a supposed leftover, another process can create
/// and lock it again, but then fails at the lock of `STORE`. If `STORE` is deleted too, the directory is refused.
/// `STORE` exists and is locked before anything is recovered or acknowledged.
///
/// While there is no `STORE` yet, two processes can create a store in one directory at the same time. One of them
/// then finds that its `LOCK` has lost its name, or that the other one has locked `STORE`.
fn take(options: &Options, storage: Arc<dyn Storage>) -> Result<Held, Error> {
    // Before anything is created, so that a foreign directory stays unchanged. All other errors are judged under the
    // lock.
    if let Err(error) = identity::identify(&storage)
        && error.kind() == ErrorKind::Misuse
    {
        return Err(error);
    }
    let lock = storage.lock(LOCK).map_err(|error| not_locked(&storage, error))?;
    let (identity, opened) = match identity::identify(&storage)? {
        Identity::Unborn => {
            let opened = create(options, &storage)?;
            (storage.lock_also(STORE).map_err(|error| not_locked(&storage, error))?, opened)
        }
        Identity::Store(store_id) => {
            let identity = storage.lock_also(STORE).map_err(|error| not_locked(&storage, error))?;
            (identity, recover_told(options, &storage, store_id)?)
        }
    };
    // After both locks are held: see above.
    lock.check().map_err(|error| Error::io("the store's directory changed while it was opened", error))?;
    Ok((storage, vec![lock, identity], opened))
}

/// Opens the store without changing it: everything that recovery writes stays in an overlay in memory.
fn look(options: &Options, storage: Arc<dyn Storage>) -> Result<Held, Error> {
    let mut shared = Vec::new();
    for name in [LOCK, STORE] {
        shared.extend(storage.lock_shared(name).map_err(|error| not_locked(&storage, error))?);
    }
    let storage: Arc<dyn Storage> = Arc::new(Overlay::over(storage));
    let is_absent = storage.list("").is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let identity = if is_absent { Identity::Unborn } else { identity::identify(&storage)? };
    let Identity::Store(store_id) = identity else {
        let directory = storage.directory().unwrap_or_else(|| Path::new(".")).to_string_lossy().into_owned();
        return Err(Error::new(ErrorKind::Misuse, "there is no store to look at").in_file(directory, None));
    };
    let opened = recover_told(options, &storage, store_id)?;
    Ok((storage, shared, opened))
}

fn recover_told(options: &Options, storage: &Arc<dyn Storage>, store_id: [u8; 16]) -> Result<Opened, Error> {
    spans::recovery().run(|span| {
        let opened = recover(options, storage, store_id)?;
        let Opening { replayed, clean, tail_cut } = opened.opening;
        span.count("runs", opened.cold.set().runs().len() as u64);
        span.count("replayed_batches", replayed);
        span.flag("clean", clean);
        span.flag("torn_tail_cut", tail_cut);
        Ok(opened)
    })
}

/// The result of recovery or creation.
struct Opened {
    store_id: [u8; 16],
    life: u64,
    hasher: KeyHasher,
    time: StoreClock,
    live: Live,
    cold: Cold,
    commit: Commit,
    spaces: Spaces,
    home: Home,
    tables: TableHome,
    segments: InUse,
    opening: Opening,
}

fn create(options: &Options, storage: &Arc<dyn Storage>) -> Result<Opened, Error> {
    let random = |error| Error::io("no random bytes", error);
    let (mut store_id, mut hash_key, mut salt) = ([0; 16], [0; 16], [0; 8]);
    options.entropy.fill(&mut store_id).map_err(random)?;
    options.entropy.fill(&mut hash_key).map_err(random)?;
    options.entropy.fill(&mut salt).map_err(random)?;
    let salt = u64::from_le_bytes(salt).max(1);
    identity::begin_birth(storage, store_id)?;
    let bytes = options.limits.segment_bytes.min(options.limits.first_segment_bytes);
    let first = journal::prepare(storage, store_id, 1, bytes, salt, None, true)
        .map_err(|error| Error::io("the first journal segment cannot be made", error))?;
    let time = StoreClock::begin(options.clock.clone(), &options.limits);
    let spaces = Spaces::default();
    let default = spaces.define(0, "", Policy::new(), 0);
    let life = 1;
    let state = CatalogState {
        generation: 1,
        life: 1,
        checkpoint_seq: 0,
        journal: (1, salt, 0),
        mark: clock_mark(time.mark()),
        sealed: None,
        next_run: 1,
        hash_key,
        has_tables: false,
        namespaces: vec![crate::bucket::NamespaceRow { id: 0, bytes: default.row() }],
        runs: Vec::new(),
    };
    // The name `STORE` comes last, when everything else is durable: a directory without it never acknowledged a
    // claim.
    let catalog = Catalog::create(storage, store_id, &state)?;
    identity::finish_birth(storage)?;
    Ok(Opened {
        store_id,
        life,
        hasher: KeyHasher::new(hash_key),
        time,
        live: Live::new(),
        cold: Cold::new(RunSet::default(), options.limits.cache_bytes),
        commit: Commit::new(Writer::start(first, 0), life, 0, options.durability),
        spaces,
        home: Home::new(catalog, state),
        tables: TableHome::new(None),
        segments: InUse::new(1, [bytes], Vec::new()),
        opening: Opening { clean: true, ..Opening::default() },
    })
}

fn recover(options: &Options, storage: &Arc<dyn Storage>, store_id: [u8; 16]) -> Result<Opened, Error> {
    settle_names(storage)?;
    let (catalog, state) = Catalog::open(storage, store_id)?;
    let hasher = KeyHasher::new(state.hash_key);
    let spaces = read_spaces(&state).map_err(in_catalogue)?;
    let set = open_runs(storage, store_id, &state, &hasher).map_err(in_catalogue)?;
    let mut replay = Replay {
        live: Live::new(),
        hasher: &hasher,
        spaces: &spaces,
        evidence: evidence_of(&state),
        copied: Vec::new(),
    };
    // Open runs, journal, tables: in each of them a record is applied only if its sequence number is higher than what
    // is there.
    replay.load_open_runs(&set)?;
    let (segment, salt, batch) = state.journal;
    let start = Start { segment, salt, batch };
    let recovered =
        journal::recover(storage, store_id, start, state.sealed, &mut |frame| replay.frame(frame))?;
    let cold = Cold::new(set, options.limits.cache_bytes);
    let tables = open_tables(options, storage, store_id, state.has_tables)?;
    if let Some(tables) = &tables {
        replay.load_tables(tables, &cold).map_err(|error| error.in_file(TABLES, None))?;
    }
    let Replay { live, evidence, copied, .. } = replay;
    let outcome = plan::weigh(&evidence).map_err(in_catalogue)?;
    admit(storage, tables.as_ref(), &copied)?;
    let time = resume_clock(options, &state.mark, outcome.mark_ms);
    let mut life = outcome.life;
    if planted::active(6) {
        life -= 1;
    }
    // The new life is durable before any token of it is assigned. Leftover run files are removed last: if the opening
    // fails, they stay.
    let mut home = Home::new(catalog, state);
    begin_life(&mut home, &time, outcome.life)?;
    remove_strangers(storage, &home.state);
    let Recovered { writer, last, segments, capacities, spare, sealed, frames, cut } = recovered;
    let last_batch = last.map_or(0, |head| head.batch);
    let oldest = segments.first().map_or(segment, |first| first.start.segment);
    Ok(Opened {
        store_id,
        life,
        commit: Commit::new(writer, life, last_batch, options.durability),
        time,
        live,
        cold,
        home,
        tables: TableHome::new(tables),
        segments: InUse::new(oldest, capacities, with_lengths(storage, spare)),
        opening: Opening { replayed: frames, clean: sealed, tail_cut: cut },
        spaces,
        hasher: hasher.clone(),
    })
}

/// The first writes. Only after the last check: a store that is refused stays unchanged. The version comes before anything of
/// this version is written.
fn admit(
    storage: &Arc<dyn Storage>,
    tables: Option<&Tables>,
    copied: &[(Vec<u8>, u64)],
) -> Result<(), Error> {
    identity::raise_version(storage)?;
    let Some(tables) = tables else { return Ok(()) };
    tables.admit()?;
    tables.remove_claims(copied)?;
    Ok(())
}

fn in_catalogue(error: Error) -> Error {
    error.in_file(CATALOG, None)
}

/// Retired segments with their lengths. One whose length cannot be read counts as if it had none.
fn with_lengths(storage: &Arc<dyn Storage>, segments: Vec<u64>) -> Vec<(u64, u64)> {
    let length = |number| storage.size(&journal::segment_name(number)).unwrap_or_default();
    segments.into_iter().map(|number| (number, length(number))).collect()
}

/// Makes all names in the store's directories durable before anything relies on them. A killed process may have left
/// names in the page cache only. If the name of the store or of its tables were lost at a later power loss, every
/// claim since then would be lost with it.
fn settle_names(storage: &Arc<dyn Storage>) -> Result<(), Error> {
    let settle = || ["", "journal", "runs"].into_iter().try_for_each(|dir| storage.sync_dir(dir));
    settle().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::with_source(ErrorKind::Corrupt, "a directory of the store is missing", error)
        }
        _ => Error::io("the store's directories cannot be synced", error),
    })
}

fn evidence_of(state: &CatalogState) -> Evidence {
    Evidence {
        catalogue_generation: state.generation,
        catalogue_life: u64::from(state.life),
        checkpoint_seq: state.checkpoint_seq,
        catalogue_mark_ms: state.mark.store_ms,
        ..Evidence::default()
    }
}

fn read_spaces(state: &CatalogState) -> Result<Spaces, Error> {
    let spaces = Spaces::default();
    for row in &state.namespaces {
        spaces.define_row(row.id, &row.bytes).map_err(corrupt)?;
    }
    Ok(spaces)
}

fn open_runs(
    storage: &Arc<dyn Storage>,
    store_id: [u8; 16],
    state: &CatalogState,
    hasher: &KeyHasher,
) -> Result<RunSet, Error> {
    let open = |row: &Vec<u8>| {
        let mut cursor = Cursor::new(row);
        let summary = RunSummary::decode(&mut cursor).map_err(corrupt)?;
        cursor.finish("run row").map_err(corrupt)?;
        Run::open(storage, store_id, &summary, hasher).map(Arc::new)
    };
    Ok(RunSet::new(state.runs.iter().map(open).collect::<Result<_, _>>()?))
}

fn open_tables(
    options: &Options,
    storage: &Arc<dyn Storage>,
    store_id: [u8; 16],
    must_exist: bool,
) -> Result<Option<Tables>, Error> {
    match (Tables::exists(storage)?, must_exist) {
        (true, _) => {}
        (false, false) => return Ok(None),
        (false, true) => return Err(Error::corrupt("the tables' file is missing").in_file(TABLES, None)),
    }
    Tables::open_or_create(storage, store_id, options.limits.cache_bytes / 4).map(Some)
}

fn resume_clock(options: &Options, mark: &ClockMark, latest_ms: u64) -> StoreClock {
    // The catalogue's mark has all clock readings. Frames and rows may have later store times; advance all readings
    // by the difference.
    let ahead_ms = latest_ms - mark.store_ms;
    let last = Mark {
        store_ms: latest_ms,
        wall_ms: mark.wall_ms.saturating_add(ahead_ms),
        boot_ms: mark.boot_ms.saturating_add(ahead_ms),
        boot_id: mark.boot_id,
    };
    StoreClock::resume(options.clock.clone(), &last, options.accept_clock_step, &options.limits)
}

/// Raises the life in the catalogue, durably, before any token of it can be assigned.
fn begin_life(home: &mut Home, time: &StoreClock, life: u64) -> Result<(), Error> {
    home.begin_life(life as u32, clock_mark(time.mark()))
}

/// Removes run files that the catalogue does not name: leftovers of checkpoints and merges that did not finish. Best
/// effort.
fn remove_strangers(storage: &Arc<dyn Storage>, state: &CatalogState) {
    let named: HashSet<String> = state
        .runs
        .iter()
        .filter_map(|row| RunSummary::decode(&mut Cursor::new(row)).ok())
        .map(|summary| crate::bucket::run_file_name(summary.number))
        .collect();
    for name in storage.list("runs").unwrap_or_default() {
        let path = format!("runs/{name}");
        if !named.contains(&path)
            && let Some(number) = name.strip_suffix(".run").and_then(|digits| digits.parse::<u64>().ok())
            && crate::bucket::run_file_name(number) == path
        {
            drop(remove_run(storage, number));
        }
    }
}
