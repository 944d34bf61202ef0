//! Answers to requests, within the process. Used by the socket for a live store, and by the command for a closed one.

mod decide;
mod export;
mod find;
mod numbers;
mod page;
mod policy;
mod served;

pub use export::Export;
pub use find::resolve;
pub use page::is_cursor;
pub use served::Served;

use crate::millis::ms;
use crate::wire::{Answer, PolicyView, RecordView, Refusal, RefusalKind, Request, Show, VERSION};
use claimstore::Store;
use find::{names, namespace, unknown};
use std::path::Path;
use std::{fs, io};

/// Answers `request` about `store`.
pub fn answer(store: &Store, request: &Request, served: Served) -> Result<Answer, Refusal> {
    match request {
        Request::Hello => Ok(Answer::Hello { protocol: VERSION, decisions: true }),
        Request::Stats => Ok(Answer::Stats { stats: Box::new(numbers::numbers(store, served)?) }),
        Request::Live => Ok(Answer::Live { live: Box::new(numbers::live(store)?) }),
        Request::Get { namespace, key, show, history } => {
            let key = resolve(store, namespace, key)?;
            let record = get(store, namespace, &key, *show, *history)?;
            Ok(Answer::Record { record: Box::new(record), store_time_ms: ms(store.store_time()) })
        }
        Request::List(listing) => page::page(store, listing, served),
        Request::Policies { namespace } => policies(store, namespace.as_deref()),
        Request::Checkpoint => {
            store.checkpoint()?;
            let stats = store.stats()?;
            let (run_rows, run_bytes) = (stats.checkpointed_rows, stats.run_bytes);
            Ok(Answer::Checkpointed { runs: stats.runs, run_rows, run_bytes })
        }
        Request::Prune { dry_run } => {
            let pruned = if *dry_run { store.prunable()? } else { store.prune()? };
            Ok(Answer::Pruned { records: pruned.records, runs: pruned.runs, bytes: pruned.bytes })
        }
        Request::Decide(decision) => Ok(Answer::Decided { verdicts: decide::decide(store, decision)? }),
        Request::SetPolicy(change) => {
            let made = policy::set(store, change)?;
            let policy = PolicyView::new(&change.namespace, &store.namespace(&change.namespace)?.policy());
            Ok(Answer::PolicySet { policy, made })
        }
        Request::Backup { dir, with_key } => backup(store, &dir.path()?, *with_key),
        Request::Export { .. } | Request::ExportMore => {
            Err(Refusal::new(RefusalKind::Usage, "an export goes on from page to page: see `Export`"))
        }
    }
}

/// Copies the store. Existing files in the target stay untouched.
fn backup(store: &Store, dir: &Path, with_key: bool) -> Result<Answer, Refusal> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            let message = format!("{} is not empty", dir.display());
            return Err(Refusal::new(RefusalKind::Occupied, message));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let message = format!("looking at {}: {error}", dir.display());
            return Err(Refusal::new(RefusalKind::Failed, message));
        }
        _ => {}
    }
    if with_key {
        store.backup_with_key(dir)?;
    } else {
        store.backup(dir)?;
    }
    Ok(Answer::BackedUp { rows: store.stats()?.checkpointed_rows })
}

fn get(store: &Store, name: &str, key: &[u8], show: Show, history: bool) -> Result<RecordView, Refusal> {
    let record = namespace(store, name)?.get(key)?.ok_or_else(|| unknown(store, name, key))?;
    let view = RecordView::new(&record, show);
    Ok(if history { view.with_history(&record, show) } else { view })
}

fn policies(store: &Store, name: Option<&str>) -> Result<Answer, Refusal> {
    let names = names(store, name)?;
    let view = |name: &String| Ok(PolicyView::new(name, &store.namespace(name)?.policy()));
    let policies = names.iter().map(view).collect::<Result<_, claimstore::Error>>()?;
    Ok(Answer::Policies { policies })
}
