//! `claimstore stats`: what a store holds now, and, where a program has it open, what it is doing.

use std::time::Duration;

use claimstore_admin::{Answer, Live, Numbers, Request};

use crate::args::Stats;
use crate::exit::Exit;
use crate::source::{self, unexpected};
use crate::{duration, print};

pub(crate) fn run(args: &Stats) -> anyhow::Result<Exit> {
    let Answer::Stats { stats } = source::ask(&args.store, &Request::Stats)? else {
        return Err(unexpected());
    };
    if args.json {
        return print::json(&serde_json::to_value(&stats)?);
    }
    let live = stats.live.as_ref().map(since_open).unwrap_or_default();
    print::text(&(table(&rows(&stats)) + &live))
}

/// One number: what it is, its value.
type Row = (&'static str, i128);

fn rows(stats: &Numbers) -> Vec<Row> {
    vec![
        ("events completed", stats.completed.into()),
        ("events failed for good", stats.failed.into()),
        ("claims in progress", stats.in_progress.into()),
        ("claims in doubt after a crash", stats.orphaned.into()),
        ("events waiting for a retry", stats.retry.into()),
        ("events held for review", stats.parked.into()),
        ("namespaces", stats.namespaces.into()),
        ("runs", stats.runs.into()),
        ("bytes in runs", stats.run_bytes.into()),
        ("rows in runs", stats.run_rows.into()),
        ("memory of results not yet in runs, bytes", stats.live_bytes.into()),
        ("memory of indexes, bytes", stats.index_bytes.into()),
        ("times opened", stats.life.into()),
        ("store time, ms since 1970", stats.store_time_ms.into()),
        ("wall clock ahead of it, ms", stats.clock_offset_ms.into()),
    ]
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |text, (label, value)| text + &format!("{label:width$}  {value:>14}\n"))
}

/// What the program that has the store open did with it.
fn since_open(live: &Live) -> String {
    let total = live.total();
    let rows: [Row; 8] = [
        ("claims granted", total.claimed.into()),
        ("duplicates", total.duplicates.into()),
        ("answers `in progress`", total.in_progress.into()),
        ("other payloads refused", total.mismatches.into()),
        ("claims refused", total.refused.into()),
        ("commits", live.commits.into()),
        ("checkpoints", live.checkpoints.into()),
        ("failures of upkeep", live.upkeep_failures.into()),
    ];
    let mut text = format!("\nsince it was opened:\n{}", table(&rows));
    let (age, percent) = (live.duplicate_age_ms, live.duplicate_ttl_percent);
    if age.count > 0 {
        let time = |ms| duration::format(Duration::from_millis(ms));
        let ages = format!("half within {}, 99 in 100 within {}", time(age.p50), time(age.p99));
        text += &print::wrapped(&format!("duplicates come {ages}, all within {}", time(age.max)), 2);
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
        let rows = [("runs", 3), ("bytes in runs", 4_096)];
        assert_eq!(table(&rows), "runs                        3\nbytes in runs            4096\n");
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
