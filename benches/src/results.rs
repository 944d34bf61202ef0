//! Measured lines: written one JSON object a line, read again, and set side by side.

use crate::Result;
use crate::drive::Measured;
use crate::summary::{grouped, median};
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

/// One measured turn of one store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Line {
    /// The name of the scenario.
    pub scenario: String,
    /// The kind of keys.
    pub keys: String,
    /// Number of keys loaded before.
    pub loaded: u64,
    /// The store.
    pub subject: String,
    /// The turn: lines of one scenario with the same turn belong together.
    pub turn: u32,
    /// Keys a second.
    pub rate: f64,
    /// Median latency of a step in microseconds.
    pub p50_us: f64,
    /// The same, 99 of 100.
    pub p99_us: f64,
    /// The same, 999 of 1,000.
    pub p999_us: f64,
    /// The slowest step in microseconds.
    pub worst_us: f64,
    /// Bytes the device was asked to write for each key, by everybody; `NaN`, in JSON `null`, if that is not known.
    #[serde(deserialize_with = "or_nan")]
    pub device_bytes: f64,
}

impl Line {
    /// Takes over what a drive measured.
    #[must_use]
    pub fn with(self, measured: &Measured) -> Self {
        Self {
            rate: measured.rate(),
            p50_us: measured.micros(50.0),
            p99_us: measured.micros(99.0),
            p999_us: measured.micros(99.9),
            worst_us: measured.micros(100.0),
            ..self
        }
    }
}

fn or_nan<'de, D: Deserializer<'de>>(figure: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(figure)?.unwrap_or(f64::NAN))
}

/// All lines of a run.
#[derive(Debug, Default)]
pub struct Results {
    lines: Vec<Line>,
    out: Option<File>,
}

impl Results {
    /// No lines yet; each will be appended to the file as well.
    pub fn appending(out: Option<&str>) -> Result<Self> {
        let open = |path| File::options().create(true).append(true).open(path);
        Ok(Self { lines: Vec::new(), out: out.map(open).transpose()? })
    }

    /// Reads the lines of a file.
    pub fn read(path: &Path) -> Result<Self> {
        let lines = BufReader::new(File::open(path)?).lines();
        let lines: Result<Vec<Line>> = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect();
        Ok(Self { lines: lines?, out: None })
    }

    /// Keeps a line, and tells it.
    pub fn note(&mut self, line: Line) -> Result<()> {
        eprintln!(
            "  {} {}: {} {}/s, p50 {:.0} us, p99.9 {:.0} us, worst {:.0} us, {:.0} device bytes a key",
            line.scenario,
            line.keys,
            line.subject,
            grouped(line.rate),
            line.p50_us,
            line.p999_us,
            line.worst_us,
            line.device_bytes
        );
        if let Some(out) = &mut self.out {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        self.lines.push(line);
        Ok(())
    }

    /// The lines of one scenario, kind of keys and store.
    pub fn of<'a>(
        &'a self,
        scenario: &'a str,
        keys: &'a str,
        subject: &'a str,
    ) -> impl Iterator<Item = &'a Line> {
        let same =
            move |line: &&Line| line.scenario == scenario && line.keys == keys && line.subject == subject;
        self.lines.iter().filter(same)
    }

    /// All lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The median of one figure; `NaN` where there is none.
    pub fn median(&self, scenario: &str, keys: &str, subject: &str, figure: fn(&Line) -> f64) -> f64 {
        median(&self.of(scenario, keys, subject).map(figure).collect::<Vec<_>>())
    }

    /// The median over the turns of claimstore's figure divided by the other's in the same turn; `NaN` if they have
    /// no turn in common.
    pub fn ratio(&self, scenario: &str, keys: &str, subject: &str, figure: fn(&Line) -> f64) -> f64 {
        let mut ratios = Vec::new();
        for ours in self.of(scenario, keys, OURS) {
            let same_turn = self.of(scenario, keys, subject).find(|theirs| theirs.turn == ours.turn);
            ratios.extend(same_turn.map(|theirs| figure(ours) / figure(theirs)));
        }
        median(&ratios)
    }

    /// Tables in Markdown, one for each kind of keys.
    pub fn print(&self) {
        for keys in self.distinct(|line| &line.keys) {
            let subjects: Vec<_> = self.distinct(|line| &line.subject);
            println!(
                "\nKeys/s, {keys} keys, medians; in brackets claimstore's rate divided by it, median of the ratios\n"
            );
            println!("| | {} |", subjects.join(" | "));
            println!("|---|{}", "---:|".repeat(subjects.len()));
            for scenario in self.distinct(|line| &line.scenario) {
                let cell = |subject: &&str| self.cell(scenario, keys, subject);
                println!("| {scenario} | {} |", subjects.iter().map(cell).collect::<Vec<_>>().join(" | "));
            }
            println!("\np50 / p99.9 / worst in us, device bytes a key, {keys} keys, medians\n");
            println!("| | {} |", subjects.join(" | "));
            println!("|---|{}", "---:|".repeat(subjects.len()));
            for scenario in self.distinct(|line| &line.scenario) {
                let cell = |subject: &&str| self.latencies(scenario, keys, subject);
                println!("| {scenario} | {} |", subjects.iter().map(cell).collect::<Vec<_>>().join(" | "));
            }
        }
    }

    fn cell(&self, scenario: &str, keys: &str, subject: &str) -> String {
        let rate = self.median(scenario, keys, subject, |line| line.rate);
        let ratio = self.ratio(scenario, keys, subject, |line| line.rate);
        if !rate.is_finite() {
            return String::new();
        }
        if subject == OURS || !ratio.is_finite() {
            return grouped(rate);
        }
        format!("{} ({ratio:.2})", grouped(rate))
    }

    fn latencies(&self, scenario: &str, keys: &str, subject: &str) -> String {
        let figures: [fn(&Line) -> f64; 4] =
            [|line| line.p50_us, |line| line.p999_us, |line| line.worst_us, |line| line.device_bytes];
        let [p50, p999, worst, device] = figures.map(|figure| self.median(scenario, keys, subject, figure));
        if !p50.is_finite() || p50 == 0.0 {
            return String::new();
        }
        format!("{} / {} / {}, {} B", grouped(p50), grouped(p999), grouped(worst), grouped(device))
    }

    /// The different texts of the lines, in the order of their first.
    pub fn distinct(&self, text: fn(&Line) -> &String) -> Vec<&str> {
        let mut seen: Vec<&str> = Vec::new();
        for line in &self.lines {
            if !seen.contains(&text(line).as_str()) {
                seen.push(text(line));
            }
        }
        seen
    }
}

/// The name of what all others are compared with.
pub const OURS: &str = "claimstore";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_turns_that_belong_together() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lines");
        let mut results = Results::appending(file.to_str()).unwrap();
        for (turn, ours, theirs) in [(0, 10.0, 5.0), (1, 30.0, 10.0), (2, 1.0, 1.0)] {
            for (subject, rate) in [(OURS, ours), ("other", theirs)] {
                let line = Line {
                    scenario: "w1".into(),
                    keys: "natural".into(),
                    subject: subject.into(),
                    turn,
                    rate,
                    device_bytes: f64::NAN,
                    ..Line::default()
                };
                results.note(line).unwrap();
            }
        }
        let read = Results::read(&file).unwrap();
        assert!((read.ratio("w1", "natural", "other", |line| line.rate) - 2.0).abs() < 1e-9);
        assert!((read.median("w1", "natural", OURS, |line| line.rate) - 10.0).abs() < 1e-9);
        assert!(read.ratio("w1", "natural", "third", |line| line.rate).is_nan());
        assert!(read.lines().iter().all(|line| line.device_bytes.is_nan()));
    }
}
