//! Replays one crash image: the line a failing test prints. Or looks at those of a whole script.
//!
//! `claimstore-sim --seed S --steps N --event I --level L2 --variant V [--event I --level L3 --variant V]`:
//! the second crash happens inside the recovery of the first. Without a crash, the script's images are looked at as
//! `tests/it/crash.rs` does. With `--lying` the disk's syncs do nothing, which must be found out.
#![forbid(unsafe_code)]

use claimstore_sim::script::{Campaign, Cut, Recording, World, guarded};
use claimstore_sim::{Level, Variant};
use std::process::ExitCode;

#[derive(Default)]
struct Args {
    seed: u64,
    steps: Option<usize>,
    events: Vec<usize>,
    levels: Vec<Level>,
    variants: Vec<u64>,
    lying: bool,
}

impl Args {
    fn steps(&self) -> usize {
        self.steps.unwrap_or_else(|| Campaign::script_len(self.seed))
    }
}

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args().skip(1)) else {
        eprintln!(
            "usage: claimstore-sim --seed S [--steps N] [--lying] [--event I --level L0..L3 --variant V].."
        );
        return ExitCode::from(2);
    };
    for (at, step) in Recording::steps(args.seed, args.steps()).iter().enumerate() {
        println!("{at:3} {step:?}");
    }
    let done = if args.events.is_empty() { look(&args) } else { replay(&args) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn look(args: &Args) -> Result<(), String> {
    let mut campaign = if args.lying { Campaign::lying(1) } else { Campaign::new(1) };
    campaign.script(args.seed, args.steps());
    println!("{campaign}");
    if campaign.failures.is_empty() { Ok(()) } else { Err(campaign.failures.join("\n")) }
}

fn replay(args: &Args) -> Result<(), String> {
    let disk = if args.lying { claimstore_sim::SimDisk::lying() } else { claimstore_sim::SimDisk::new() };
    let recording = guarded(|| Recording::on(World::home(&disk), args.seed, args.steps()))
        .map_err(|what| format!("the script itself: {what}"))?;
    println!("{} events, {:?}", recording.events(), recording.world().durability);
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
                guarded(|| first.recover()).map_err(|what| format!("the first recovery: {what}"))?;
                first.again(cut)
            }
        };
        image = Some(next);
    }
    let Some(image) = image else { return Ok(()) };
    let events = guarded(|| image.check())?;
    println!("the store kept its promises; recovery made {events} events");
    Ok(())
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let mut parsed = Args::default();
    while let Some(name) = args.next() {
        match name.as_str() {
            "--lying" => parsed.lying = true,
            "--seed" => parsed.seed = args.next()?.parse().ok()?,
            "--steps" => parsed.steps = Some(args.next()?.parse().ok()?),
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
