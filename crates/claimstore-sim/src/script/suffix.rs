//! What a power loss may leave under the weaker durability levels: a prefix of what was answered, and what is durable by
//! itself.

use super::model::{Model, Stage};
use super::steps::Step;
use claimstore::Durability;
use std::time::Duration;

/// The interval of scripts under [`Durability::Interval`], in boot time.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The level of the script that `seed` makes: of four scripts three have the default, and the fourth in turn none and an
/// interval.
pub fn durability_of(seed: u64) -> Durability {
    match seed % 8 {
        3 => Durability::None,
        7 => Durability::Interval(INTERVAL),
        _ => Durability::Sync,
    }
}

/// What the store should know behind a step.
#[derive(Debug, Clone)]
pub struct Point {
    /// All of it.
    pub model: Model,
    /// The key whose record this step made durable by itself: `transact` and its kind do so under every level.
    pub alone: Option<usize>,
}

impl Point {
    /// Behind a step that led from `before` to `model`.
    pub(super) fn behind(step: &Step, before: &Model, model: &Model) -> Point {
        let alone = match step {
            Step::Transact { .. } | Step::CompleteIn { .. } => model.known.iter().find(|(key, known)| {
                matches!(known.stage, Stage::Resolved { .. }) && before.known.get(key) != Some(known)
            }),
            _ => None,
        };
        Point { model: model.clone(), alone: alone.map(|(key, _)| *key) }
    }

    /// What every opening shows, and what it makes durable.
    pub(super) fn of(model: &Model) -> Point {
        Point { model: model.clone(), alone: None }
    }
}

/// Whatever a power loss may leave when the first of `points` is durable: the longest prefix first.
pub(super) fn prefixes(points: &[Point]) -> Vec<Model> {
    (0..points.len()).rev().filter_map(|end| prefix(points, end)).collect()
}

/// The state behind point `end`, and of what came later that which is durable by itself. Time goes on, and the
/// definition of a namespace stays, whatever is taken back.
fn prefix(points: &[Point], end: usize) -> Option<Model> {
    let newest = &points.last()?.model;
    let mut left = points.get(end)?.model.clone();
    for Point { model, alone } in points.get(end + 1..)? {
        if let Some(key) = alone {
            left.known.extend(model.known.get(key).map(|known| (*key, known.clone())));
            left.rows.extend(model.rows.get(key).map(|row| (*key, row.clone())));
        }
    }
    let Model { store_ms, boot_ms, wall_ms, start_ms, raised, newest_ms, .. } = *newest;
    Some(Model { store_ms, boot_ms, wall_ms, start_ms, raised, newest_ms, ..left })
}
