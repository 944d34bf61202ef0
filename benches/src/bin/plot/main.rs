//! Plots and tables of what the load bench measured.
//!
//! ```text
//! cargo run --release -p claimstore-bench --bin plot -- --in FILE --to DIR
//! ```
//!
//! `FILE` is what `--out` of the load bench wrote, also several runs of it together. For each kind of keys `DIR` gets
//! two plots, `throughput-KEYS.svg` and `latency-KEYS.svg`; the tables go to the output, in Markdown.
#![forbid(unsafe_code)]

mod axis;
mod chart;
mod svg;

use chart::Chart;
use claimstore_bench::Result;
use claimstore_bench::args::Args;
use claimstore_bench::results::Results;
use std::fs;
use std::path::Path;

fn main() -> Result<()> {
    let args = Args::from_env(&["in", "to"])?;
    let file = args.text("in").ok_or("--in FILE: the lines to plot")?;
    let dir = Path::new(args.text("to").ok_or("--to DIR: where the plots go")?);
    let results = Results::read(Path::new(file))?;
    plot(&results, dir)?;
    results.print();
    Ok(())
}

fn plot(results: &Results, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    for keys in results.distinct(|line| &line.keys) {
        for chart in [Chart::throughput(results, keys), Chart::latency(results, keys)] {
            if let Some(svg) = chart.svg() {
                fs::write(dir.join(format!("{}-{keys}.svg", chart.name())), svg)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use claimstore_bench::results::Line;

    fn line(subject: &str, keys: &str, rate: f64, p50_us: f64) -> Line {
        Line {
            scenario: "w1-16".into(),
            keys: keys.into(),
            loaded: 1000,
            subject: subject.into(),
            rate,
            p50_us,
            p999_us: p50_us * 10.0,
            ..Line::default()
        }
    }

    #[test]
    fn each_kind_of_keys_has_two_plots_with_every_store() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lines");
        let mut results = Results::appending(file.to_str()).unwrap();
        for keys in ["natural", "uuidv7"] {
            for line in [line("claimstore", keys, 82_000.0, 150.0), line("a<b&c", keys, 13_000.0, 900.0)] {
                results.note(line).unwrap();
            }
        }
        plot(&Results::read(&file).unwrap(), dir.path()).unwrap();
        for keys in ["natural", "uuidv7"] {
            let throughput = fs::read_to_string(dir.path().join(format!("throughput-{keys}.svg"))).unwrap();
            for text in ["claimstore", "a&lt;b&amp;c", "82,000", "13,000", "w1-16", "1,000 keys loaded"] {
                assert!(throughput.contains(text), "{text}: {throughput}");
            }
            let latency = fs::read_to_string(dir.path().join(format!("latency-{keys}.svg"))).unwrap();
            assert!(latency.contains("150 / 1,500"), "{latency}");
        }
    }

    #[test]
    fn without_latencies_there_is_no_plot_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut results = Results::default();
        results.note(line("bare", "natural", 12_000.0, 0.0)).unwrap();
        plot(&results, dir.path()).unwrap();
        assert!(dir.path().join("throughput-natural.svg").exists());
        assert!(!dir.path().join("latency-natural.svg").exists());
    }
}
