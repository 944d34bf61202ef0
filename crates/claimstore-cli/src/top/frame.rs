//! One frame of `top`: text from two looks at a store. Pure.

use std::fmt::Write as _;

use claimstore_admin::{BucketView, Live, OutcomesView, State};

use crate::human::{bytes, count, span, utc};
use crate::visible::visible;

/// What the ages of claims in progress are divided by, as they are named.
const AGES: [&str; 6] = ["<1s", "<10s", "<1m", "<10m", "<1h", "over"];
/// Policies shown beside the sum of all.
const MAX_POLICIES: usize = 8;
/// Lines of buckets that are kept free, their head included, before policies take room.
const BUCKET_LINES: usize = 3;
/// Columns of the numbers of outcomes.
const OUTCOMES: usize = 63;
/// Columns of what a line is about.
const LABEL: usize = 13;

/// How a frame is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Most characters of a line.
    pub(super) width: usize,
    /// Most lines.
    pub(super) height: usize,
    /// Whether a key ends it.
    pub(super) keys: bool,
}

/// The frame of what came between `before` and `now`. Without `before` there are no rates.
pub(super) fn frame(before: Option<&Live>, now: &Live, shape: Shape) -> String {
    let Shape { width, height, .. } = shape;
    let looks = Looks { before, now };
    let mut below = vec![String::new()];
    below.extend(looks.claims());
    below.push(String::new());
    below.extend(looks.commits());
    below.extend(looks.disk(width));
    below.push(String::new());
    let mut lines = vec![title(now, shape), String::new()];
    // A line for the head of the outcomes and one for all of them.
    let taken = lines.len() + 2 + below.len() + BUCKET_LINES;
    lines.extend(looks.outcomes(width, height.saturating_sub(taken).min(MAX_POLICIES)));
    lines.extend(below);
    let room = height.saturating_sub(lines.len());
    lines.extend(buckets(&now.buckets, now.store_time_ms, room));
    lines.truncate(height);
    lines.into_iter().fold(String::new(), |text, line| text + &cut(&visible(&line), width) + "\n")
}

fn title(now: &Live, shape: Shape) -> String {
    let ends = if shape.keys { "   q: quit" } else { "" };
    let left = format!("claimstore top   opened {} times{ends}", now.life);
    let right = utc(now.store_time_ms);
    let gap = shape.width.saturating_sub(left.chars().count()).max(right.chars().count() + 2);
    format!("{left}{right:>gap$}")
}

/// Two looks, and what can be said about them.
struct Looks<'a> {
    before: Option<&'a Live>,
    now: &'a Live,
}

impl Looks<'_> {
    /// How much came in a second, where that can be said: not across two openings of the store.
    fn rate(&self, of: impl Fn(&Live) -> u64) -> Option<f64> {
        let before = self.before.filter(|before| before.life == self.now.life)?;
        let elapsed_ms = self.now.store_time_ms.checked_sub(before.store_time_ms).filter(|ms| *ms > 0)?;
        let came = of(self.now).saturating_sub(of(before));
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let rate = came as f64 * 1_000.0 / elapsed_ms as f64;
        Some(rate)
    }

    /// Rates by outcome, of all policies and of so many of them each on a line.
    fn outcomes(&self, width: usize, most: usize) -> Vec<String> {
        let name = width.saturating_sub(OUTCOMES).clamp(12, 40);
        let mut lines = vec![format!(
            "{:name$}{:>8}{:>11}{:>12}{:>9}{:>6}{:>10}{:>7}",
            "PER SECOND", "CLAIMED", "DUPLICATE", "IN-PROGRESS", "REFUSED", "DUP %", "COMPLETED", "FAILED"
        )];
        lines.push(self.outcome("all", name, Live::total));
        let policies = &self.now.outcomes;
        if policies.len() < 2 {
            return lines;
        }
        // Where not all have room, the last line says how many more there are.
        let shown = if policies.len() <= most { policies.len() } else { most.saturating_sub(1) };
        for of in policies.iter().take(shown) {
            let label = if of.policy.is_empty() { "(no name)" } else { &of.policy };
            let found = |live: &Live| {
                live.outcomes.iter().find(|other| other.policy == of.policy).cloned().unwrap_or_default()
            };
            lines.push(self.outcome(label, name, found));
        }
        if shown < policies.len() && most > 0 {
            lines.push(format!("and {} more", policies.len() - shown));
        }
        lines
    }

    fn outcome(&self, label: &str, name: usize, of: impl Fn(&Live) -> OutcomesView) -> String {
        let rate = |part: fn(&OutcomesView) -> u64| per_second(self.rate(|live| part(&of(live))));
        let refused = |of: &OutcomesView| of.mismatches + of.refused;
        let answered =
            |of: &OutcomesView| of.claimed + of.duplicates + of.in_progress + of.mismatches + of.refused;
        let share = match (self.rate(|live| of(live).duplicates), self.rate(|live| answered(&of(live)))) {
            (Some(duplicates), Some(all)) if all > 0.0 => format!("{:.1}", duplicates * 100.0 / all),
            _ => "-".into(),
        };
        format!(
            "{:name$}{:>8}{:>11}{:>12}{:>9}{share:>6}{:>10}{:>7}",
            cut(&visible(label), name - 1),
            rate(|of| of.claimed),
            rate(|of| of.duplicates),
            rate(|of| of.in_progress),
            rate(refused),
            rate(|of| of.completed),
            rate(|of| of.failed),
        )
    }

    /// Claims that are not over, by their states.
    fn claims(&self) -> Vec<String> {
        let census = &self.now.census;
        let mut first = format!("{:LABEL$}{}", State::InProgress.name(), count(census.in_progress));
        if census.in_progress > 0 {
            let _ = write!(first, ", oldest {}", span(census.oldest_in_progress_ms));
        }
        let _ = write!(first, "   lease over {}", count(census.lapsed));
        if census.lapsed > 0 {
            let _ = write!(first, ", longest {}", span(census.longest_lapsed_ms));
        }
        let ages = AGES.iter().zip(census.in_progress_ages);
        let ages: Vec<_> = ages.map(|(age, number)| format!("{age} {}", count(number))).collect();
        let others = [
            (State::Orphaned, census.orphaned),
            (State::Retry, census.retry),
            (State::Parked, census.parked),
        ];
        let others: Vec<_> =
            others.iter().map(|(state, number)| format!("{} {}", state.name(), count(*number))).collect();
        vec![
            first,
            format!("{:LABEL$}{}", "by age", ages.join(", ")),
            format!("{:LABEL$}{}  calls waiting {}", "others", others.join("  "), count(self.now.waiters)),
        ]
    }

    /// Commits, and what they are made of.
    fn commits(&self) -> Vec<String> {
        let (now, us) = (self.now, self.now.commit_us);
        let commits = per_second(self.rate(|live| live.commits));
        let mut lines = vec![
            format!(
                "{:LABEL$}{commits}/s   half take {}, 99 in 100 {}, longest {}",
                "commits",
                micros(us.p50),
                micros(us.p99),
                micros(us.max)
            ),
            format!("{:LABEL$}{} claims and results in each", "", self.operations_of_a_commit()),
        ];
        let (age, percent) = (now.duplicate_age_ms, now.duplicate_ttl_percent);
        if age.count > 0 {
            lines.push(format!(
                "{:LABEL$}half within {}, 99 in 100 within {} ({} % of the ttl)",
                "duplicates",
                span(age.p50),
                span(age.p99),
                percent.p99
            ));
        }
        if now.ttl_is_short {
            lines.push(format!("{:LABEL$}duplicates come near the end of their ttl: raise it", "WARNING"));
        }
        lines
    }

    fn operations_of_a_commit(&self) -> String {
        let ended = |live: &Live| {
            let all = live.total();
            all.claimed + all.completed + all.failed + all.released
        };
        match (self.rate(ended), self.rate(|live| live.commits)) {
            (Some(ended), Some(commits)) if commits > 0.0 => format!("{:.1}", ended / commits),
            _ => "-".into(),
        }
    }

    /// Journal, checkpoints and files.
    fn disk(&self, width: usize) -> Vec<String> {
        let now = self.now;
        let bar = bar(now.journal_bytes, now.journal_limit_bytes, width.saturating_sub(70).clamp(10, 40));
        let written = self.rate(|live| live.journal_bytes_written).map_or_else(
            || "-".into(),
            |rate| {
                // A rate of bytes is far below 2^53, and never below zero.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "said above")]
                bytes(rate as u64)
            },
        );
        let free = now.disk_free_bytes.map_or_else(|| "unknown".into(), bytes);
        vec![
            format!(
                "{:LABEL$}{bar} {} of {}, {written}/s",
                "journal",
                bytes(now.journal_bytes),
                bytes(now.journal_limit_bytes)
            ),
            format!(
                "{:LABEL$}{} to write, {} to checkpoint, {} batches to sync",
                "waiting",
                bytes(now.queued_bytes),
                bytes(now.checkpoint_lag_bytes),
                count(now.unsynced_batches)
            ),
            format!(
                "{:LABEL$}{}, half take {}, longest {}",
                "checkpoints",
                count(now.checkpoints),
                span(now.checkpoint_ms.p50),
                span(now.checkpoint_ms.max)
            ),
            format!(
                "{:LABEL$}merged {} rows   pruned {} rows   failures {}",
                "upkeep",
                count(now.merged_rows),
                count(now.pruned),
                count(now.upkeep_failures)
            ),
            format!(
                "{:LABEL$}memory {}  runs {}  tables {}  disk free {free}",
                "size",
                bytes(now.live_bytes),
                bytes(now.run_bytes),
                bytes(now.tables_bytes)
            ),
        ]
    }
}

/// Time buckets, those that end first; at most `room` lines.
fn buckets(buckets: &[BucketView], now_ms: u64, room: usize) -> Vec<String> {
    let mut lines = vec![format!("{:16}{:>6}{:>10}{:>12}", "BUCKET ENDS", "RUNS", "ROWS", "BYTES")];
    let shown = if buckets.len() < room { buckets.len() } else { room.saturating_sub(2) };
    for bucket in buckets.iter().take(shown) {
        let ends = match bucket.ends_at_ms {
            None => "never".into(),
            Some(at_ms) if at_ms <= now_ms => "now".into(),
            Some(at_ms) => format!("in {}", span(at_ms - now_ms)),
        };
        lines.push(format!(
            "{ends:16}{:>6}{:>10}{:>12}",
            bucket.runs,
            count(bucket.rows),
            bytes(bucket.bytes)
        ));
    }
    if shown < buckets.len() {
        lines.push(format!("and {} more", buckets.len() - shown));
    }
    lines
}

fn bar(part: u64, whole: u64, cells: usize) -> String {
    let full = u128::from(part.min(whole)) * cells as u128;
    let full = usize::try_from(full / u128::from(whole.max(1))).unwrap_or(cells);
    format!("[{}{}]", "#".repeat(full), ".".repeat(cells - full))
}

fn per_second(rate: Option<f64>) -> String {
    match rate {
        None => "-".into(),
        Some(rate) if rate >= 1e6 => format!("{:.1}M", rate / 1e6),
        Some(rate) if rate >= 1e4 => format!("{:.1}k", rate / 1e3),
        Some(rate) if rate >= 100.0 || rate == 0.0 => format!("{rate:.0}"),
        Some(rate) => format!("{rate:.1}"),
    }
}

fn micros(us: u64) -> String {
    if us < 10_000 { format!("{us}us") } else { span(us / 1_000) }
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.trim_end().to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use claimstore_admin::{CensusView, QuantilesView};

    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    /// A busy store, `seconds` after some moment.
    fn look(seconds: u64) -> Live {
        let outcomes = |policy: &str, each: u64| OutcomesView {
            policy: policy.into(),
            claimed: each * 100 * seconds,
            taken_over: seconds,
            duplicates: each * 7 * seconds,
            in_progress: each * seconds,
            mismatches: seconds / 2,
            refused: seconds,
            completed: each * 98 * seconds,
            failed: each * seconds,
            released: 0,
        };
        let (mib, gib) = (1 << 20, 1 << 30);
        Live {
            life: 7,
            store_time_ms: 1_800_000_000_000 + seconds * 1_000,
            outcomes: vec![outcomes("", 1), outcomes("order-sync", 20), outcomes("webhooks", 180)],
            commits: 900 * seconds,
            commit_us: quantiles(95, 880, 12_400),
            commit_ops: quantiles(31, 120, 256),
            duplicate_age_ms: quantiles(1_900, 5 * HOUR_MS, 30 * HOUR_MS),
            duplicate_ttl_percent: quantiles(0, 12, 71),
            checkpoint_ms: quantiles(210, 400, 1_950),
            checkpoints: 12,
            merges: 3,
            merged_rows: 1_250_000,
            pruned: 420,
            upkeep_failures: 0,
            census: CensusView {
                in_progress: 42,
                in_progress_ages: [30, 6, 3, 1, 1, 1],
                oldest_in_progress_ms: 3 * HOUR_MS,
                lapsed: 2,
                longest_lapsed_ms: 95_000,
                orphaned: 1,
                retry: 5,
                parked: 3,
            },
            waiters: 4,
            queued_bytes: 12 << 10,
            journal_bytes_written: 9 * mib * seconds,
            journal_bytes: 512 * mib,
            journal_limit_bytes: 2 * gib,
            checkpoint_lag_bytes: 33 * mib,
            live_bytes: 18 * mib,
            run_bytes: 3 * gib,
            tables_bytes: 0,
            catalogue_bytes: 1_589_248,
            disk_free_bytes: Some(88 * gib),
            buckets: (1..=9)
                .map(|hours| bucket(Some(1_800_000_000_000 + hours * HOUR_MS)))
                .chain([bucket(None)])
                .collect(),
            ..Live::default()
        }
    }

    fn bucket(ends_at_ms: Option<u64>) -> BucketView {
        BucketView { ends_at_ms, runs: 4, rows: 912_000, bytes: 77 << 20 }
    }

    fn quantiles(p50: u64, p99: u64, max: u64) -> QuantilesView {
        QuantilesView { count: 1_000, p50, p99, max }
    }

    /// `CLAIMSTORE_SNAPSHOTS=write` writes the files anew; then read them.
    fn check(name: &str, text: &str) {
        let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "src", "top", "frames"].iter().collect();
        let file = file.join(format!("{name}.txt"));
        if std::env::var("CLAIMSTORE_SNAPSHOTS").is_ok_and(|what| what == "write") {
            std::fs::write(&file, text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&file).unwrap_or_default(), "{}", file.display());
    }

    #[test]
    fn frames_of_80_and_120_columns() {
        let (before, now) = (look(100), look(102));
        for (width, height) in [(80, 24), (120, 40)] {
            let shape = Shape { width, height, keys: true };
            let text = frame(Some(&before), &now, shape);
            assert!(text.lines().count() <= height && text.lines().all(|line| line.chars().count() <= width));
            check(&format!("busy-{width}"), &text);
            check(&format!("first-{width}"), &frame(None, &now, shape));
        }
        let short = Live { ttl_is_short: true, ..look(102) };
        assert!(frame(None, &short, SMALL).contains("WARNING"));
        check("empty-80", &frame(Some(&Live::default()), &Live::default(), SMALL));
    }

    const SMALL: Shape = Shape { width: 80, height: 24, keys: true };

    /// Numbers as wide as any that a store can have, every line that there can be, and more policies than have room.
    #[test]
    fn on_80_columns_and_24_lines_nothing_is_cut() {
        let most = QuantilesView { count: 1, p50: 59_999, p99: 59_999, max: 86_399_999 };
        let wide = |mut live: Live| {
            live.census = CensusView {
                in_progress: 99_999,
                in_progress_ages: [99_999; 6],
                oldest_in_progress_ms: 59_999,
                lapsed: 99_999,
                longest_lapsed_ms: 59_999,
                orphaned: 99_999,
                retry: 99_999,
                parked: 99_999,
            };
            (live.waiters, live.unsynced_batches, live.checkpoints) = (99_999, 99_999, 99_999);
            (live.merged_rows, live.pruned, live.upkeep_failures) = (99_999, 99_999, 99_999);
            (live.commit_us, live.commit_ops, live.checkpoint_ms) = (most, most, most);
            (live.duplicate_age_ms, live.duplicate_ttl_percent) = (most, quantiles(0, 100, 100));
            live.ttl_is_short = true;
            for size in [
                &mut live.queued_bytes,
                &mut live.journal_bytes,
                &mut live.journal_limit_bytes,
                &mut live.checkpoint_lag_bytes,
                &mut live.live_bytes,
                &mut live.run_bytes,
                &mut live.tables_bytes,
            ] {
                *size = 1_023 << 30;
            }
            live.disk_free_bytes = Some(1_023 << 40);
            live
        };
        let (before, now) = (wide(look(100)), wide(look(102)));
        let text = frame(Some(&before), &now, SMALL);
        assert!(text.lines().count() <= 24 && !text.contains('…'), "{text}");
        for part in
            ["all ", "and 2 more", "WARNING", "parked 99.9k", "disk free 1023 TiB", "BUCKET ENDS", "q: quit"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    /// Names of policies come from programs.
    #[test]
    fn no_name_moves_the_cursor() {
        let mut now = look(5);
        now.outcomes[1].policy = "\u{1b}[2J\n\u{202e}".into();
        let text = frame(None, &now, Shape { height: 40, ..SMALL });
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && text.contains("\\u{1b}[2J\\n"), "{text}");
    }

    #[test]
    fn any_size_is_kept_to() {
        let (before, now) = (look(100), look(103));
        for width in 1..140 {
            for height in 0..45 {
                let text = frame(Some(&before), &now, Shape { width, height, keys: true });
                assert!(text.lines().count() <= height, "{width}x{height}");
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}x{height}");
            }
        }
    }

    #[test]
    fn rates_are_of_one_opening_and_of_time_that_went_by() {
        let none = |before: &Live, now: &Live| Looks { before: Some(before), now }.rate(|live| live.commits);
        assert_eq!(none(&look(1), &look(1)), None, "no time went by");
        assert_eq!(none(&look(2), &look(1)), None, "time stood back");
        assert_eq!(none(&Live { life: 6, ..look(1) }, &look(2)), None, "another opening");
        assert_eq!(none(&look(1), &look(3)), Some(900.0));
    }

    #[test]
    fn rates_are_short() {
        assert_eq!(
            [0.0, 0.5, 99.94, 100.0, 12_340.0, 2e6].map(|rate| per_second(Some(rate))).join(", "),
            "0, 0.5, 99.9, 100, 12.3k, 2.0M"
        );
        assert_eq!((micros(9_999), micros(12_400)), ("9999us".into(), "12ms".into()));
    }
}
