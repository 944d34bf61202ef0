//! What came of all crashes of a handler.

use crate::effects::Effect;
use claimstore::RecordState;
use std::collections::BTreeMap;
use std::fmt;

/// What a handler did through all of its crashes: what ran twice, what was lost, what is in review.
///
/// `Display` prints a table, and below it where the process died for each finding. It shows keys, which nothing else of
/// claimstore does: it is made for tests.
#[must_use = "a verdict that nobody looks at tests nothing"]
pub struct Verdict {
    pub(crate) points: usize,
    pub(crate) power_losses: u32,
    pub(crate) in_a_row: u32,
    pub(crate) crashes: usize,
    pub(crate) missed: usize,
    pub(crate) rows: BTreeMap<Effect, Row>,
    pub(crate) findings: Vec<Finding>,
}

/// How often an effect ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) due: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
}

/// What is wrong after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// An effect ran more often than without a crash.
    Twice,
    /// An effect ran less often than without a crash, and nobody will do it any more: the key is settled, or the
    /// handler said that it is done with the message.
    Lost,
    /// The key is held for review: somebody must decide, and can.
    InReview,
    /// The key was not settled when the deliveries were used up. It may be claimed again, later.
    Unfinished,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Crash {
    /// It did not: the message was only delivered once more.
    None,
    /// It died; what it had written is there.
    OfProcess,
    /// Power was lost, and with it what `seed` chose among what was not synced.
    OfPower {
        /// As for [`Disk::lose_power`](crate::Disk::lose_power).
        seed: u64,
    },
}

/// One thing that is wrong after one crash. `Display` says it in a line.
#[derive(Clone, PartialEq, Eq)]
pub struct Finding {
    pub(crate) kind: FindingKind,
    pub(crate) effect: Effect,
    pub(crate) times: u64,
    pub(crate) due: u64,
    /// One for each process that ended; none where no process did.
    pub(crate) places: Vec<Place>,
}

/// Where a process ended, and what it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) crash: Crash,
    pub(crate) after: String,
    pub(crate) before: String,
    /// What the next process found of the key.
    pub(crate) state: Option<RecordState>,
}

impl Verdict {
    /// How many points there were at which the process died: before and after each effect and each operation of the disk.
    pub fn points(&self) -> usize {
        self.points
    }

    /// How many times the handler was crashed, one or [more](crate::CrashPoints::in_a_row) crashes each time.
    pub fn crashes(&self) -> usize {
        self.crashes
    }

    /// How many of the points a later run did not come to. Not 0 if a handler is not the same in every run: it has
    /// threads, or goes by random numbers. Such a handler was crashed at fewer points than there are.
    pub fn missed(&self) -> usize {
        self.missed
    }

    /// How often `step` was done for `key`: the least and the most over all crashes. `None` if it never was.
    pub fn times(&self, key: impl AsRef<[u8]>, step: &str) -> Option<(u64, u64)> {
        let row = self.rows.get(&(key.as_ref().to_vec(), step.to_owned()))?;
        Some((row.least, row.most))
    }

    /// Everything that is wrong.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Effects that ran too often.
    pub fn twice(&self) -> impl Iterator<Item = &Finding> {
        self.of_kind(FindingKind::Twice)
    }

    /// Effects that never will run.
    pub fn lost(&self) -> impl Iterator<Item = &Finding> {
        self.of_kind(FindingKind::Lost)
    }

    /// Keys that wait for somebody to decide.
    pub fn in_review(&self) -> impl Iterator<Item = &Finding> {
        self.of_kind(FindingKind::InReview)
    }

    /// Keys that were not settled.
    pub fn unfinished(&self) -> impl Iterator<Item = &Finding> {
        self.of_kind(FindingKind::Unfinished)
    }

    fn of_kind(&self, kind: FindingKind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }

    /// Panics, with the whole verdict, if an effect ran more often than without a crash; or if no effect was seen at all.
    #[track_caller]
    pub fn assert_effects_at_most_once(&self) {
        self.assert_effects_were_seen();
        assert!(self.twice().next().is_none(), "an effect ran more than once\n\n{self}");
    }

    /// Panics, with the whole verdict, if an effect was lost or a key left unsettled; or if no effect was seen at all. A
    /// key in review is not lost.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        self.assert_effects_were_seen();
        let gone = self.lost().chain(self.unfinished()).next();
        assert!(gone.is_none(), "an effect was lost\n\n{self}");
    }

    /// Panics, with the whole verdict, if a crash left a key in review.
    #[track_caller]
    pub fn assert_nothing_in_review(&self) {
        assert!(self.in_review().next().is_none(), "a key is held for review\n\n{self}");
    }

    #[track_caller]
    fn assert_effects_were_seen(&self) {
        let seen = self.rows.values().any(|row| row.due > 0);
        assert!(seen, "no effect was seen: do it by `Run::effects`, or count it by `CrashPoints::observe`");
    }
}

impl Finding {
    /// What is wrong.
    pub fn kind(&self) -> FindingKind {
        self.kind
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.effect.0
    }

    /// What is done for the key; empty where the finding is about the key as a whole.
    pub fn step(&self) -> &str {
        &self.effect.1
    }

    /// How often it ran in the end.
    pub fn times(&self) -> u64 {
        self.times
    }

    /// How often it runs without a crash.
    pub fn due(&self) -> u64 {
        self.due
    }

    /// How the process ended, the last one if several did.
    pub fn crash(&self) -> Crash {
        self.places.last().map_or(Crash::None, |place| place.crash)
    }

    /// What that process did last: an effect or an operation of the disk. Empty if none ended.
    pub fn after(&self) -> &str {
        self.places.last().map_or("", |place| &place.after)
    }

    /// What it did not come to.
    pub fn before(&self) -> &str {
        self.places.last().map_or("", |place| &place.before)
    }

    /// Where the key stood when the store was opened again; `None` if it was unknown, or no process ended.
    pub fn state(&self) -> Option<RecordState> {
        self.places.last()?.state
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Title(self), Places(&self.places))
    }
}

/// The finding without its place.
struct Title<'f>(&'f Finding);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { kind, effect: (key, step), times, due, .. } = self.0;
        let key = key.escape_ascii();
        match kind {
            FindingKind::Twice => write!(f, "TWICE: {step} for {key} ran {times} times, due {due}"),
            FindingKind::Lost => write!(f, "LOST: {step} for {key} ran {times} times, due {due}"),
            FindingKind::InReview => write!(f, "IN REVIEW: {key}"),
            FindingKind::Unfinished => write!(f, "UNFINISHED: {key} is not settled"),
        }
    }
}

/// Where one process after the other ended.
pub(crate) struct Places<'p>(pub(crate) &'p [Place]);

impl fmt::Display for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no crash; the message was delivered once more");
        }
        for (number, place) in self.0.iter().enumerate() {
            let before = if number == 0 { "" } else { "; then " };
            write!(f, "{before}{place}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.crash {
            Crash::None => return f.write_str("no crash"),
            Crash::OfProcess => f.write_str("process died")?,
            Crash::OfPower { seed } => write!(f, "power lost (seed {seed})")?,
        }
        let (after, before) = (&self.after, &self.before);
        write!(f, " after \"{after}\", before \"{before}\"; {}", stage(self.state))
    }
}

/// Between which calls the process ended, by what is durable of them.
fn stage(state: Option<RecordState>) -> &'static str {
    match state {
        None => "the claim was not durable",
        Some(RecordState::InProgress | RecordState::Orphaned) => {
            "the claim was durable, the settlement was not"
        }
        Some(RecordState::Completed) => "the key was completed",
        Some(RecordState::Failed) => "the key had failed for good",
        Some(RecordState::Retry) => "the key was up for a retry",
        Some(RecordState::Parked) => "the key was in review",
        Some(_) => "the key was known",
    }
}

/// How many places of one finding are shown.
const MOST_PLACES: usize = 8;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (points, losses, crashes) = (self.points, self.power_losses, self.crashes);
        writeln!(
            f,
            "{points} crash points; at each the process died once and power was lost {losses} times: {crashes} crashes"
        )?;
        if self.in_a_row > 1 {
            writeln!(f, "up to {} processes in a row", self.in_a_row)?;
        }
        if self.missed > 0 {
            writeln!(f, "NOT THE SAME IN EVERY RUN: {} points were not reached again", self.missed)?;
        }
        self.write_table(f)?;
        let mut groups: BTreeMap<(FindingKind, &Effect, u64), Vec<&Finding>> = BTreeMap::new();
        for finding in &self.findings {
            groups.entry((finding.kind, &finding.effect, finding.times)).or_default().push(finding);
        }
        for places in groups.values() {
            let Some(first) = places.first() else { continue };
            writeln!(f, "\n{}", Title(first))?;
            for finding in places.iter().take(MOST_PLACES) {
                writeln!(f, "  {}", Places(&finding.places))?;
            }
            if places.len() > MOST_PLACES {
                writeln!(f, "  and {} more", places.len() - MOST_PLACES)?;
            }
        }
        if self.findings.is_empty() {
            writeln!(f, "\nevery effect ran as often as without a crash")?;
        }
        Ok(())
    }
}

impl Verdict {
    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.rows.iter().map(|((key, step), row)| {
            let ran = if row.least == row.most {
                row.most.to_string()
            } else {
                format!("{}..{}", row.least, row.most)
            };
            let verdict = match (row.most > row.due, row.least < row.due) {
                (true, true) => "twice, and not done",
                (true, false) => "twice",
                (false, true) => "not done",
                (false, false) => "ok",
            };
            [key.escape_ascii().to_string(), step.clone(), row.due.to_string(), ran, verdict.to_owned()]
        });
        let head = ["key", "effect", "due", "ran", "verdict"].map(str::to_owned);
        let lines: Vec<[String; 5]> = std::iter::once(head).chain(cells).collect();
        let width = |column: usize| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let (key_width, step_width, ran_width) = (width(0), width(1), width(3));
        writeln!(f)?;
        for [key, step, due, ran, verdict] in &lines {
            writeln!(f, "{key:key_width$}  {step:step_width$}  {due:>3}  {ran:>ran_width$}  {verdict}")?;
        }
        Ok(())
    }
}

/// Shows numbers, never keys.
impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdict")
            .field("points", &self.points)
            .field("crashes", &self.crashes)
            .field("findings", &self.findings.len())
            .finish_non_exhaustive()
    }
}

/// Shows kind and numbers, never the key.
impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finding")
            .field("kind", &self.kind)
            .field("times", &self.times)
            .field("due", &self.due)
            .field("crash", &self.crash())
            .finish_non_exhaustive()
    }
}
