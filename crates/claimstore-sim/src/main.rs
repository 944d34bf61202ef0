//! Replays one crash image: the line a failing test prints.
//!
//! `claimstore-sim --seed S --steps N --event I --level L2 --variant V [--event I --level L3 --variant V]`:
//! the second crash happens inside the recovery of the first. Without a crash, the script itself is shown.
#![forbid(unsafe_code)]

use claimstore_sim::script::{Cut, Recording};
use claimstore_sim::{Level, Variant};
use std::process::ExitCode;

#[derive(Default)]
struct Args {
    seed: u64,
    steps: usize,
    events: Vec<usize>,
    levels: Vec<Level>,
    variants: Vec<u64>,
    lying: bool,
}

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args().skip(1)) else {
        eprintln!("usage: claimstore-sim --seed S [--steps N] [--event I --level L0..L3 --variant V]..");
        return ExitCode::from(2);
    };
    match replay(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn replay(args: &Args) -> Result<(), String> {
    for (at, step) in Recording::steps(args.seed, args.steps).iter().enumerate() {
        println!("{at:3} {step:?}");
    }
    let disk = if args.lying { claimstore_sim::SimDisk::lying() } else { claimstore_sim::SimDisk::new() };
    let recording =
        Recording::on(disk, args.seed, args.steps).map_err(|stop| format!("the script itself: {stop:?}"))?;
    println!("{} events", recording.events());
    let cuts = args.events.iter().zip(&args.levels).zip(&args.variants);
    let mut image: Option<claimstore_sim::script::Image> = None;
    for ((event, level), seed) in cuts {
        let cut = Cut { event: *event, variant: Variant::new(*level, *seed) };
        let place = if image.is_none() { recording.position(cut) } else { "in the recovery".to_owned() };
        println!("crash {cut}, {place}");
        let next = match &image {
            None => recording.image(cut),
            Some(first) => {
                // The events of the first recovery come into being by recovering.
                first.recover().map_err(|stop| format!("the first recovery: {stop:?}"))?;
                first.again(cut)
            }
        };
        image = Some(next);
    }
    let Some(image) = image else { return Ok(()) };
    let events = image.check().map_err(|stop| format!("{stop:?}"))?;
    println!("the store kept its promises; recovery made {events} events");
    Ok(())
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let mut parsed = Args { steps: 50, ..Args::default() };
    while let Some(name) = args.next() {
        match name.as_str() {
            "--lying" => parsed.lying = true,
            "--seed" => parsed.seed = args.next()?.parse().ok()?,
            "--steps" => parsed.steps = args.next()?.parse().ok()?,
            "--event" => parsed.events.push(args.next()?.parse().ok()?),
            "--variant" => parsed.variants.push(args.next()?.parse().ok()?),
            "--level" => parsed.levels.push(match args.next()?.as_str() {
                "L0" => Level::L0,
                "L1" => Level::L1,
                "L2" => Level::L2,
                "L3" => Level::L3,
                _ => return None,
            }),
            _ => return None,
        }
    }
    let crashes = parsed.events.len();
    (parsed.levels.len() == crashes && parsed.variants.len() == crashes).then_some(parsed)
}
