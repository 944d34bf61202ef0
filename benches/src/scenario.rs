//! The scenarios of the load bench, by name.

use crate::claims::Ttl;
use crate::drive::{Load, Pace, Workload};

/// One line of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// Its name on the command line and in the results.
    pub name: &'static str,
    /// What happens in it.
    pub kind: Kind,
    /// How long claimstore is asked to remember the keys.
    pub ttl: Ttl,
}

/// How a scenario loads a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By threads.
    Threads(Load),
    /// By that many asynchronous claims in flight on one thread.
    InFlight(u64),
}

/// Claims in progress at which a sustained load of fresh claims ends.
const MOST_IN_PROGRESS: u64 = 8_000_000;

/// All scenarios, in the order of the tables: first bursts, then sustained loads.
pub const ALL: [Scenario; 15] = [
    bursts("w1-1", Workload::Fresh, 1, 1),
    bursts("w1-16", Workload::Fresh, 16, 1),
    bursts("w1-256", Workload::Fresh, 256, 1),
    bursts("w1-16x64", Workload::Fresh, 16, 64),
    bursts("w2-16", Workload::Complete, 16, 1),
    bursts("w2-256", Workload::Complete, 256, 1),
    bursts("w2-16x64", Workload::Complete, 16, 64),
    bursts("w3-16", Workload::Duplicates, 16, 1),
    in_flight("async-4096", 4096),
    in_flight("async-16384", 16_384),
    sustained("w1-16-long", Workload::Fresh, 16, 1, Ttl::Same),
    sustained("w1-16x64-long", Workload::Fresh, 16, 64, Ttl::Same),
    sustained("w2-16-long", Workload::Complete, 16, 1, Ttl::Same),
    sustained("w2-256-long", Workload::Complete, 256, 1, Ttl::Same),
    sustained("w2-16x64-long", Workload::Complete, 16, 64, Ttl::Spread),
];

const fn bursts(name: &'static str, workload: Workload, threads: usize, per_call: usize) -> Scenario {
    let load = Load { workload, threads, per_call, pace: Pace::Bursts };
    Scenario { name, kind: Kind::Threads(load), ttl: Ttl::Same }
}

const fn sustained(
    name: &'static str,
    workload: Workload,
    threads: usize,
    per_call: usize,
    ttl: Ttl,
) -> Scenario {
    let most = if matches!(workload, Workload::Fresh) { MOST_IN_PROGRESS } else { u64::MAX };
    let load = Load { workload, threads, per_call, pace: Pace::Sustained { most } };
    Scenario { name, kind: Kind::Threads(load), ttl }
}

const fn in_flight(name: &'static str, calls: u64) -> Scenario {
    Scenario { name, kind: Kind::InFlight(calls), ttl: Ttl::Same }
}

impl Scenario {
    /// Whether the load comes without a pause, so that every store needs a directory and a time of its own.
    pub fn is_sustained(&self) -> bool {
        matches!(self.kind, Kind::Threads(Load { pace: Pace::Sustained { .. }, .. }))
    }

    /// Whether only one thread calls, one key at a time: what the bare loop is the limit of.
    pub fn is_lone(&self) -> bool {
        matches!(self.kind, Kind::Threads(Load { threads: 1, per_call: 1, .. }))
    }
}

/// The scenarios of a list of names, `bursts`, `sustained` or `all`.
pub fn chosen(names: &str) -> crate::Result<Vec<Scenario>> {
    let mut chosen = Vec::new();
    for name in names.split(',') {
        let matches = |scenario: &&Scenario| match name {
            "all" => true,
            "bursts" => !scenario.is_sustained(),
            "sustained" => scenario.is_sustained(),
            _ => scenario.name == name,
        };
        let before = chosen.len();
        chosen.extend(ALL.iter().filter(matches));
        if chosen.len() == before {
            let known: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
            return Err(format!(
                "no scenario {name}; there are all, bursts, sustained, {}",
                known.join(", ")
            )
            .into());
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_groups() {
        assert_eq!(chosen("all").unwrap().len(), ALL.len());
        let halves = chosen("bursts,sustained").unwrap();
        assert_eq!(halves, ALL);
        assert_eq!(chosen("w3-16").unwrap()[0].name, "w3-16");
        assert!(chosen("w4").is_err());
    }
}
