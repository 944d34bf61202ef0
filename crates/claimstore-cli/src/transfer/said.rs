//! What a row says about its work.
//!
//! Only what says so is done. To take work for done that is not loses it silently; a row that is held for review by
//! mistake is found there and decided.

use super::columns::{self, Holds};
use super::row::{Row, Value};
use super::time::{Times, When};
use super::words::{self, Said, Words};

/// How the work of a row ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Badly,
    /// It did not, or nobody can tell.
    Not(Why),
}

/// Why a row is held for review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// Its status says that the work goes on.
    InProgress(String),
    /// Its status is a word that is not known.
    Word(String),
    /// The same, of a text that may be anything.
    Text(String),
    /// It says nothing.
    Unsaid,
    /// It says that the work is not done.
    Denied,
    /// It says that the work is done, and that it failed or is not done.
    Both,
}

/// So much of a word goes into the note.
const NOTE_CHARS: usize = 256;

impl Why {
    /// For the reviewer.
    pub(super) fn note(&self) -> String {
        let word = |word: &str| word.chars().take(NOTE_CHARS).collect::<String>();
        match self {
            Why::InProgress(status) | Why::Word(status) => {
                format!("its status was `{}` when it was imported", word(status))
            }
            Why::Text(text) => format!("its value was `{}` when it was imported", word(text)),
            Why::Denied => "it said that it was not done when it was imported".into(),
            Why::Unsaid => "it did not say that it was done when it was imported".into(),
            Why::Both => "it said that it was done, and that it was not, when it was imported".into(),
        }
    }
}

/// How statuses and times are read.
#[derive(Debug)]
pub(crate) struct Language {
    pub(crate) words: Words,
    pub(crate) times: Times,
    /// The column of the status, where it is named.
    pub(crate) status: Option<String>,
}

impl Language {
    /// What the status of the row says. Nothing where it has none; [`Why::Unsaid`] where it is null.
    pub(super) fn status(&self, row: &Row) -> Option<Ended> {
        let statuses = row.columns().filter(|(name, _)| match &self.status {
            Some(status) => name.plain() == status,
            None => columns::is_status(name.plain()),
        });
        // `status` before `job_status`; of others the first. Null says nothing.
        let (mut found, mut word) = (false, None);
        for (name, value) in statuses {
            let is_plain = matches!(name.plain(), "status" | "state");
            if let Some(bytes) = value.bytes()
                && (word.is_none() || is_plain)
            {
                word = Some(bytes);
            }
            found = true;
        }
        found.then(|| word.map_or(Ended::Not(Why::Unsaid), |word| self.word(word)))
    }

    /// What a word says.
    pub(super) fn word(&self, word: &[u8]) -> Ended {
        let word = String::from_utf8_lossy(word).trim().to_owned();
        match self.words.said(&word) {
            Said::Done => Ended::Well,
            Said::Failed => Ended::Badly,
            Said::InProgress => Ended::Not(Why::InProgress(word)),
            Said::Unknown if is_nothing(&word) => Ended::Not(Why::Unsaid),
            Said::Unknown => Ended::Not(Why::Word(word)),
        }
    }

    /// What the row's flags and times say, `processed_at` or `consumed`. Nothing where it has no such columns.
    pub(super) fn marks(&self, row: &Row) -> Result<Option<Ended>, String> {
        let mut marks = Marks::default();
        for (name, value) in row.columns() {
            let (holds, failed) = match (columns::says_done(name.plain()), columns::says_failed(name.plain()))
            {
                (Some(holds), _) => (holds, false),
                (None, Some(holds)) => (holds, true),
                (None, None) => continue,
            };
            let mark = self.mark(value, holds).map_err(|reason| format!("`{}` {reason}", name.shown()))?;
            marks.take(mark, failed);
        }
        Ok(marks.ended())
    }

    fn mark(&self, value: &Value, holds: Holds) -> Result<Mark, &'static str> {
        let Some(bytes) = value.bytes() else { return Ok(Mark::Unset) };
        let text = String::from_utf8_lossy(bytes);
        if holds == Holds::Any
            && let Some(flag) = words::flag(&text)
        {
            return Ok(if flag { Mark::Set } else { Mark::Denied });
        }
        match (self.times.read(&text), holds) {
            (Ok(When::At(_)), _) => Ok(Mark::Set),
            (Ok(When::Never | When::ForEver), _) => Ok(Mark::Unset),
            (Err(no_time), Holds::Time) => Err(no_time.reason()),
            (Err(_), Holds::Any) => Ok(match self.word(bytes) {
                Ended::Well => Mark::Set,
                Ended::Badly | Ended::Not(Why::Unsaid) => Mark::Denied,
                Ended::Not(why) => Mark::Word(why),
            }),
        }
    }
}

/// Whether it is a word for nothing.
pub(super) fn is_nothing(word: &str) -> bool {
    matches!(words::fold(word).as_str(), "" | "null" | "(null)" | "none" | "nil" | "undefined")
}

/// What one column says.
enum Mark {
    /// It is so.
    Set,
    Unset,
    /// It is not so.
    Denied,
    Word(Why),
}

/// What the columns of a row say together.
#[derive(Default)]
struct Marks {
    /// Columns that could say how it ended.
    columns: usize,
    done: bool,
    failed: bool,
    denied: bool,
    word: Option<Why>,
}

impl Marks {
    fn take(&mut self, mark: Mark, failed: bool) {
        self.columns += 1;
        match mark {
            Mark::Set if failed => self.failed = true,
            Mark::Set => self.done = true,
            Mark::Denied if !failed => self.denied = true,
            Mark::Word(why) => self.word = Some(why),
            Mark::Unset | Mark::Denied => {}
        }
    }

    fn ended(self) -> Option<Ended> {
        Some(match self {
            Marks { word: Some(why), .. } => Ended::Not(why),
            Marks { done: true, failed: true, .. } | Marks { done: true, denied: true, .. } => {
                Ended::Not(Why::Both)
            }
            Marks { failed: true, .. } => Ended::Badly,
            Marks { done: true, .. } => Ended::Well,
            Marks { denied: true, .. } => Ended::Not(Why::Denied),
            Marks { columns: 0, .. } => return None,
            Marks { .. } => Ended::Not(Why::Unsaid),
        })
    }
}
