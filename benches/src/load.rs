//! The load bench: every store under every scenario, in turns.
//!
//! Every round makes each store anew and loads it. In a scenario of bursts the stores take turns, each turn in another
//! order, so that a slow spell of the machine meets them all. Under a sustained load each store has a fresh directory,
//! the device and its time for itself, one after another.

use crate::Result;
use crate::args::Args;
use crate::bare::Bare;
use crate::claims::{Claims, Ttl};
use crate::disk::Device;
use crate::drive;
use crate::engine::Built;
use crate::ideal::Ideal;
use crate::keys::Keys;
use crate::redb::Redb;
use crate::results::{Line, OURS, Results};
use crate::scenario::{self, Kind, Scenario};
use crate::scratch::Scratch;
use crate::stock::Stock;
use crate::subject::Subject;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A store that can take part.
#[derive(Debug)]
pub struct Maker {
    /// The name it will have.
    pub name: &'static str,
    /// Makes an empty one in a new directory; `None`, said on the error output, where it cannot be had.
    pub make: Make,
}

/// Makes a store in a directory.
pub type Make = fn(&Path) -> Result<Option<Box<dyn Subject>>>;

/// Most threads of a scenario.
pub const MAX_THREADS: usize = 256;

const KNOWN: [&str; 9] =
    ["scenarios", "subjects", "keys", "loaded", "seconds", "long-seconds", "rounds", "dir", "out"];

/// What the references of this package are made from; claimstore and the bare loop are always known.
pub fn references() -> Vec<Maker> {
    vec![
        Maker { name: "ideal", make: |dir| Ok(Some(Box::new(Ideal::create(dir)?))) },
        Maker { name: "redb+group", make: |dir| Ok(Some(Box::new(Built::grouped(Redb::create(dir)?)))) },
    ]
}

/// Runs the bench as the command line says, and prints its tables.
pub fn main(makers: &[Maker]) -> Result<()> {
    let args = Args::from_env(&KNOWN)?;
    let scratch = Scratch::new(args.text("dir"))?;
    let device = Device::under(scratch.path())?;
    let names = args.text("subjects").map(|names| names.split(',').map(str::to_owned).collect());
    let plan = Plan {
        makers,
        names,
        scenarios: scenario::chosen(args.text("scenarios").unwrap_or("bursts"))?,
        loaded: args.or("loaded", 1_000_000)?,
        turn: Duration::from_secs_f64(args.or("seconds", 0.5)?),
        long: Duration::from_secs_f64(args.or("long-seconds", 60.0)?),
        device,
    };
    plan.check()?;
    let mut results = Results::appending(args.text("out"))?;
    for round in 0..args.or("rounds", 3)? {
        eprintln!("round {}", round + 1);
        for keys in kinds(args.text("keys").unwrap_or("natural"))? {
            let dir = scratch.join("round");
            plan.bursts(round, keys, &dir, &mut results)?;
            plan.sustained(round, keys, &dir, &mut results)?;
        }
    }
    results.print();
    Ok(())
}

fn kinds(names: &str) -> Result<Vec<Keys>> {
    let kind = |name| match name {
        "natural" => Ok(Keys::Natural),
        "uuidv7" => Ok(Keys::uuid_v7()),
        _ => Err(format!("no kind of keys {name}; there are natural and uuidv7").into()),
    };
    names.split(',').map(kind).collect()
}

/// Turns that each store has in a scenario of one round.
const TURNS: u32 = 4;

struct Plan<'a> {
    makers: &'a [Maker],
    names: Option<Vec<String>>,
    scenarios: Vec<Scenario>,
    loaded: u64,
    turn: Duration,
    long: Duration,
    device: Option<Device>,
}

/// A store and the keys it is driven with.
struct Contender {
    store: Box<dyn Subject>,
    stock: Stock,
}

impl Plan<'_> {
    fn check(&self) -> Result<()> {
        let known = |name: &String| {
            [OURS, BARE].contains(&name.as_str()) || self.makers.iter().any(|maker| maker.name == name)
        };
        match self.names.iter().flatten().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => {
                let makers: Vec<_> = self.makers.iter().map(|maker| maker.name).collect();
                Err(format!("no store {name}; there are {OURS}, {BARE}, {}", makers.join(", ")).into())
            }
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name))
    }

    /// All scenarios of bursts, with all stores side by side.
    fn bursts(&self, round: u32, keys: Keys, dir: &Path, results: &mut Results) -> Result<()> {
        let scenarios: Vec<_> = self.scenarios.iter().filter(|scenario| !scenario.is_sustained()).collect();
        if scenarios.is_empty() {
            return Ok(());
        }
        fs::create_dir(dir)?;
        let mut bare = if self.wants(BARE) { Some(Bare::create(dir)?) } else { None };
        let mut contenders = Vec::new();
        for name in self.stores() {
            contenders.extend(self.contender(name, &dir.join(name), keys, Ttl::Same)?);
        }
        for scenario in scenarios {
            for turn in round * TURNS..(round + 1) * TURNS {
                if let (Some(bare), true) = (&mut bare, scenario.is_lone()) {
                    let rate = bare.measure(self.turn)?;
                    results.note(Line { rate, ..self.line(scenario, keys, BARE, turn) })?;
                }
                for place in 0..contenders.len() {
                    let place = (place + turn as usize) % contenders.len();
                    if let Some(contender) = contenders.get(place) {
                        self.drive(
                            scenario,
                            contender,
                            self.turn,
                            self.line(scenario, keys, "", turn),
                            results,
                        )?;
                    }
                }
            }
        }
        drop(contenders);
        Ok(fs::remove_dir_all(dir)?)
    }

    /// All sustained scenarios, one store after another.
    fn sustained(&self, round: u32, keys: Keys, dir: &Path, results: &mut Results) -> Result<()> {
        for scenario in self.scenarios.iter().filter(|scenario| scenario.is_sustained()) {
            for name in self.stores() {
                fs::create_dir(dir)?;
                if let Some(contender) = self.contender(name, &dir.join(name), keys, scenario.ttl)? {
                    // What its load, and whoever came before, left in the page cache, the system would write out in
                    // requests of megabytes in the middle of the measurement.
                    rustix::fs::sync();
                    self.drive(
                        scenario,
                        &contender,
                        self.long,
                        self.line(scenario, keys, "", round),
                        results,
                    )?;
                }
                fs::remove_dir_all(dir)?;
            }
        }
        Ok(())
    }

    fn stores(&self) -> impl Iterator<Item = &'static str> {
        let makers = self.makers.iter().map(|maker| maker.name);
        makers.chain([OURS]).filter(|name| self.wants(name))
    }

    fn contender(&self, name: &str, dir: &PathBuf, keys: Keys, ttl: Ttl) -> Result<Option<Contender>> {
        fs::create_dir(dir)?;
        let store = match self.makers.iter().find(|maker| maker.name == name) {
            None => Some(Box::new(Claims::create(dir, keys, ttl, MAX_THREADS)?) as Box<dyn Subject>),
            Some(maker) => (maker.make)(dir)?,
        };
        let Some(store) = store else { return Ok(None) };
        let stock = Stock::new(keys, self.loaded);
        store.load(&mut stock.loaded())?;
        Ok(Some(Contender { store, stock }))
    }

    fn drive(
        &self,
        scenario: &Scenario,
        contender: &Contender,
        duration: Duration,
        line: Line,
        results: &mut Results,
    ) -> Result<()> {
        let Contender { store, stock } = contender;
        let line = Line { subject: store.name().to_owned(), ..line };
        match scenario.kind {
            Kind::Threads(load) => {
                let before = self.device.as_ref().map(Device::written).transpose()?;
                let measured = drive::measure(store.as_ref(), load, duration, stock)?;
                let after = self.device.as_ref().map(Device::written).transpose()?;
                #[expect(clippy::cast_precision_loss, reason = "bytes and keys of one run")]
                let device_bytes = match (before, after) {
                    (Some(before), Some(after)) => (after - before) as f64 / measured.keys as f64,
                    _ => f64::NAN,
                };
                results.note(Line { device_bytes, ..line }.with(&measured))
            }
            Kind::InFlight(calls) => match store.measure_in_flight(calls, duration, stock)? {
                Some(rate) => results.note(Line { rate, ..line }),
                None => Ok(()),
            },
        }
    }

    fn line(&self, scenario: &Scenario, keys: Keys, subject: &str, turn: u32) -> Line {
        Line {
            scenario: scenario.name.to_owned(),
            keys: keys.name().to_owned(),
            loaded: self.loaded,
            subject: subject.to_owned(),
            turn,
            ..Line::default()
        }
    }
}

/// The name of the bare loop.
const BARE: &str = "bare";
