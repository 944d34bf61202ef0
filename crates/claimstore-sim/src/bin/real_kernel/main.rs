//! Stores on the file systems of this machine while those fail: what `scripts/real-kernel.sh` runs.
//!
//! ```text
//! real_kernel cycles DIR [--cycles N] [--seed S] [--lines N] [--under CMD] [--fault CMD] [--relief CMD] [--mend CMD]
//! real_kernel full DIR [--step KIB]
//! ```
//!
//! `cycles` lets a child work in DIR and makes the disk fail under it; `full` fills the disk that DIR is on. The
//! commands are shell, so that this program needs no rights of its own: see [`cycles`] for when each runs.
#![forbid(unsafe_code)]

mod cycles;
mod full;

use claimstore_sim::script::Stop;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(what), Some(dir)) = (args.next(), args.next().map(PathBuf::from)) else {
        return usage();
    };
    let Some(flags) = flags(args) else { return usage() };
    let number = |name: &str, default: u64| {
        flags.get(name).map_or(Some(default), |value| value.parse().ok()).filter(|number| *number > 0)
    };
    let command = |name: &str| flags.get(name).cloned().unwrap_or_default();
    let done = match what.as_str() {
        "cycles" => {
            let (Some(cycles), Some(seed)) = (number("cycles", 10), number("seed", 1)) else {
                return usage();
            };
            let plan = cycles::Plan {
                dir,
                cycles,
                seed,
                lines: number("lines", u64::MAX).unwrap_or(u64::MAX),
                under: command("under"),
                fault: command("fault"),
                relief: command("relief"),
                mend: command("mend"),
            };
            cycles::run(&plan)
        }
        "full" => {
            number("step", 64).map_or(Err(Stop::Disagree("--step".into())), |step| full::run(&dir, step))
        }
        _ => return usage(),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(stop) => {
            eprintln!("FAILED: {stop:?}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: real_kernel cycles|full DIR [--cycles N] [--seed S] [--lines N] [--step KIB]");
    eprintln!("       [--under CMD] [--fault CMD] [--relief CMD] [--mend CMD]");
    ExitCode::from(2)
}

/// `--name value` pairs.
fn flags(mut args: impl Iterator<Item = String>) -> Option<HashMap<String, String>> {
    let mut flags = HashMap::new();
    while let Some(name) = args.next() {
        flags.insert(name.strip_prefix("--")?.to_owned(), args.next()?);
    }
    Some(flags)
}
