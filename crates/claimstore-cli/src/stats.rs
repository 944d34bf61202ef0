//! `claimstore stats`: what a store holds now, and, where a program has it open, what it is doing.

use claimstore_admin::{Answer, Live, Numbers, Request, State};
use clap::Args;

use crate::exit::Exit;
use crate::human::{bytes, span, utc};
use crate::source::{self, unexpected};
use crate::store_args::StoreArgs;
use crate::{codes, print};

/// Shows what a store holds, in numbers.
///
/// And, where a program has it open and serves it, what it is doing.
#[derive(Debug, Args)]
#[command(after_long_help = codes::STATS.listed())]
pub(crate) struct Stats {
    #[command(flatten)]
    store: StoreArgs,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let Answer::Stats { stats } = source::ask(&self.store, &Request::Stats)? else {
            return Err(unexpected());
        };
        if self.json {
            return print::json(&serde_json::to_value(&stats)?);
        }
        let live = stats.live.as_ref().map(since_open).unwrap_or_default();
        print::text(&(table(&rows(&stats)) + &live))
    }
}

/// One number: what it is, its value.
type Row = (&'static str, String);

fn rows(stats: &Numbers) -> Vec<Row> {
    let of = |state: State| (state.name(), stats.of(state).to_string());
    let sign = if stats.clock_offset_ms < 0 { "-" } else { "" };
    let mut rows: Vec<_> = State::ALL.map(of).into();
    rows.extend([
        ("namespaces", stats.namespaces.to_string()),
        ("runs", stats.runs.to_string()),
        ("rows in runs", stats.run_rows.to_string()),
        ("size of runs", bytes(stats.run_bytes)),
        ("memory of results not yet in runs", bytes(stats.live_bytes)),
        ("memory of indexes", bytes(stats.index_bytes)),
        ("times opened", stats.life.to_string()),
        ("store time", utc(stats.store_time_ms)),
        ("wall clock ahead of it by", format!("{sign}{}", span(stats.clock_offset_ms.unsigned_abs()))),
    ]);
    rows
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |text, (label, value)| text + &format!("{label:width$}  {value:>20}\n"))
}

/// What the program that has the store open did with it.
fn since_open(live: &Live) -> String {
    let total = live.total();
    let rows: [Row; 8] = [
        ("claims granted", total.claimed),
        ("duplicates", total.duplicates),
        ("claims answered in-progress", total.in_progress),
        ("claims refused: another payload", total.mismatches),
        ("claims refused: other reasons", total.refused),
        ("commits", live.commits),
        ("checkpoints", live.checkpoints),
        ("failures of upkeep", live.upkeep_failures),
    ]
    .map(|(label, number)| (label, number.to_string()));
    let mut text = format!("\nsince it was opened:\n{}", table(&rows));
    let (age, percent) = (live.duplicate_age_ms, live.duplicate_ttl_percent);
    if age.count > 0 {
        let ages = format!("half within {}, 99 in 100 within {}", span(age.p50), span(age.p99));
        text += &print::wrapped(&format!("duplicates come {ages}, all within {}", span(age.max)), 2);
        let (p50, p99, max) = (percent.p50, percent.p99, percent.max);
        text += &print::wrapped(&format!("of the time a key is remembered: {p50} %, {p99} %, {max} %"), 2);
    }
    if live.ttl_is_short {
        let advice = "WARNING: duplicates come near the end of the time for which keys are remembered; behind it they \
                      are taken for new. Raise the ttl.";
        text += &print::wrapped(advice, 2);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_table_stand_under_each_other() {
        let rows = [("runs", 3.to_string()), ("size of runs", bytes(4_096))];
        let expected = "runs                             3\nsize of runs               4.0 KiB\n";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn late_duplicates_are_told_and_warned_of() {
        let mut live = Live::default();
        assert!(!since_open(&live).contains("duplicates come"));
        (live.duplicate_age_ms.count, live.duplicate_age_ms.p50) = (20, 60_000);
        (live.duplicate_age_ms.p99, live.duplicate_age_ms.max) = (3_600_000, 7_200_000);
        (live.duplicate_ttl_percent.p99, live.duplicate_ttl_percent.max) = (40, 80);
        let text = since_open(&live);
        assert!(text.contains("half within 1m, 99 in 100 within 1h, all within 2h\n"), "{text}");
        assert!(text.contains("0 %, 40 %, 80 %\n") && !text.contains("WARNING"), "{text}");
        live.ttl_is_short = true;
        assert!(since_open(&live).contains("WARNING"));
    }
}
