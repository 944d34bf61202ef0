//! What a run tells its user: a bar on a terminal, refusals as they come, one line at the end.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

use super::batch::Tally;
use crate::human::counted;

/// Everything that goes to standard error. Its failing (a closed standard error) is no reason to stop.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
    json: bool,
}

impl Progress {
    /// `size_bytes` of the input, where that is known. `json`: the summary is for programs.
    pub(crate) fn new(size_bytes: Option<u64>, json: bool) -> Progress {
        if !io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden(), json };
        }
        let (bar, template) = match size_bytes {
            Some(bytes) => (ProgressBar::new(bytes), "{bar:30} {bytes}/{total_bytes} {eta} {wide_msg}"),
            None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec} {wide_msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress { bar, json }
    }

    /// So much of the input was used up.
    pub(crate) fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// What became of the records so far.
    pub(crate) fn show(&self, tally: &Tally) {
        if !self.bar.is_hidden() {
            self.bar.set_message(summary(tally));
        }
    }

    /// One line about something that happened, above the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| {
            crate::print::say(line);
        });
    }

    /// Removes the bar and says what became of the records.
    pub(crate) fn finish(&self, tally: &Tally) {
        self.bar.finish_and_clear();
        if self.json {
            let _ = writeln!(io::stderr(), "{}", as_json(tally));
            return;
        }
        let _ = writeln!(io::stderr(), "{}", summary(tally));
        for line in remarks(tally) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

fn summary(tally: &Tally) -> String {
    let Tally { read, passed, duplicates, refused, .. } = tally;
    let duplicates = counted(*duplicates, "duplicate");
    format!("{read} read, {passed} passed, {duplicates}, {refused} refused")
}

fn as_json(tally: &Tally) -> serde_json::Value {
    let Tally { read, passed, duplicates, refused, left, in_doubt_passed, in_doubt_skipped } = tally;
    serde_json::json!({
        "read": read,
        "passed": passed,
        "duplicates": duplicates,
        "refused": refused,
        "left": left,
        "in_doubt_passed": in_doubt_passed,
        "in_doubt_skipped": in_doubt_skipped,
    })
}

/// What the summary alone would hide.
fn remarks(tally: &Tally) -> Vec<String> {
    let all = [
        (tally.left, "not passed on; they are left to the next run"),
        (tally.in_doubt_passed, "of the passed were in doubt after a crash and may have been passed before"),
        (
            tally.in_doubt_skipped,
            "of the duplicates were in doubt after a crash and may never have been passed",
        ),
    ];
    all.iter().filter(|(count, _)| *count > 0).map(|(count, remark)| format!("{count} {remark}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_the_words_scripts_look_for() {
        let tally = Tally { read: 10_000, passed: 9_804, duplicates: 196, ..Tally::default() };
        assert_eq!(summary(&tally), "10000 read, 9804 passed, 196 duplicates, 0 refused");
        assert!(remarks(&tally).is_empty());
    }

    #[test]
    fn what_is_left_is_said() {
        let tally = Tally { read: 3, passed: 1, left: 2, in_doubt_passed: 1, ..Tally::default() };
        assert_eq!(remarks(&tally).len(), 2);
    }
}
