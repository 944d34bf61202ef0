//! Read-only openings: they leave the disk as it is, and show what an ordinary opening shows.

use super::crash::Image;
use super::runner::{Done, ROWS, Stop, disagree};
use crate::Event;
use crate::SimDisk;
use claimstore::{ErrorKind, Filter, Record, Store};
use std::time::Duration;

/// Everything a store shows to whoever only looks.
#[derive(Debug, PartialEq)]
struct Shown {
    namespaces: Vec<String>,
    /// Sorted by namespace and key.
    records: Vec<Record>,
    /// What `get` says of each of them.
    got: Vec<Option<Record>>,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Image {
    /// Opens the store read-only, then as usual, at the same moment. Answers how many records both showed; `None` where
    /// there is no store yet.
    pub fn look(&self) -> Result<Option<usize>, Stop> {
        let mut world = self.world();
        let before = self.disk().events();
        let looked = world.open_read_only();
        let looked = match looked {
            // `Io`: there is no directory yet.
            Err(error) if matches!(error.kind(), ErrorKind::Misuse | ErrorKind::Io) => {
                left_alone(self.disk(), before)?;
                return if has_identity(self.disk()) { Err(error.into()) } else { Ok(None) };
            }
            looked => looked?,
        };
        let shown = Shown::by(&looked)?;
        looked.verify()?;
        refuses_changes(&looked)?;
        looked.close()?;
        left_alone(self.disk(), before)?;
        let usual = world.open()?;
        let expected = Shown::by(&usual)?;
        self.disk().unplug();
        drop(usual);
        if shown != expected {
            return disagree(format!("read-only: {shown:?}\nas usual: {expected:?}")).map(|()| None);
        }
        Ok(Some(shown.records.len()))
    }
}

impl Shown {
    fn by(store: &Store) -> Result<Shown, Stop> {
        let mut records: Vec<Record> = store.scan(Filter::new()).collect::<Result<_, _>>()?;
        records.sort_by(|one, other| {
            (one.namespace(), one.key(), one.token()).cmp(&(other.namespace(), other.key(), other.token()))
        });
        let got = records.iter().map(|record| store.namespace(record.namespace())?.get(record.key()));
        let got = got.collect::<Result<_, _>>()?;
        let rows = store.table(ROWS)?.range(..)?.collect::<Result<_, _>>()?;
        Ok(Shown { namespaces: store.namespaces(), records, got, rows })
    }
}

/// Nothing about a disk changes but what its cache holds.
fn left_alone(disk: &SimDisk, before: usize) -> Done {
    let events = disk.log();
    let changes = events.iter().skip(before).filter(|event| !matches!(event, Event::DropCache { .. }));
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        Ok(())
    } else {
        disagree(format!("a read-only opening changed the disk: {changes:?}"))
    }
}

fn has_identity(disk: &SimDisk) -> bool {
    use claimstore::io::Storage as _;
    disk.list("").is_ok_and(|names| names.iter().any(|name| name == "STORE"))
}

fn refuses_changes(store: &Store) -> Done {
    let day = Duration::from_secs(86_400);
    let answers = [
        ("claim", store.claim("new", day).map(drop)),
        ("forget", store.forget("new").map(drop)),
        ("checkpoint", store.checkpoint()),
        ("prune", store.prune().map(drop)),
        ("namespace", store.namespace("new").map(drop)),
    ];
    for (name, answer) in answers {
        match answer {
            Err(error) if error.kind() == ErrorKind::Misuse => {}
            other => return disagree(format!("{name} on a read-only store: {other:?}")),
        }
    }
    Ok(())
}
