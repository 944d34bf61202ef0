//! What a row says about its work.
//!
//! Only what says so is done. To take work for done that is not loses it silently; a row that is held for review by
//! mistake is found there and decided.

use super::columns::{self, Holds};
use super::row::{Name, Row, Value};
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
    /// The status of something else, of its delivery or its order, does not say that the work is done.
    Other(String),
    /// All that it has is a response, and that says nothing or that the work goes on.
    Response(String),
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
            Why::InProgress(status) | Why::Word(status) | Why::Other(status) => {
                format!("its status was `{}` when it was imported", word(status))
            }
            Why::Text(text) => format!("its value was `{}` when it was imported", word(text)),
            Why::Response(text) => {
                format!("its response was `{}`, which is no sign of an end, when it was imported", word(text))
            }
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
        let mut said: Vec<_> = statuses.collect();
        // The order of the columns makes no difference.
        said.sort_by_key(|(name, _)| (!matches!(name.plain(), "status" | "state"), name.plain()));
        let is_there = !said.is_empty();
        let said = said.into_iter().filter_map(|(_, value)| Some(self.word(value.bytes()?)));
        // Null says nothing.
        let said: Vec<_> = said.filter(|said| *said != Ended::Not(Why::Unsaid)).collect();
        is_there.then(|| together(&said))
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
            let Some((sense, holds)) = sense(name.plain()) else { continue };
            let mark = self.mark(value, holds).map_err(|reason| format!("`{}` {reason}", name.shown()))?;
            marks.take(mark, sense);
        }
        Ok(marks.ended())
    }

    /// What columns say that may be of the work or of something else, `order_status`, `sent_at`: why the row is not taken
    /// for done where nothing else says that it is.
    pub(super) fn doubt(&self, row: &Row) -> Option<Why> {
        let mut doubts: Vec<_> = row
            .columns()
            .filter_map(|(name, value)| Some((name.plain(), self.doubt_of(name, value)?)))
            .collect();
        // A word before a null; the order of the columns makes no difference.
        doubts.sort_by_key(|(name, why)| (!matches!(why, Why::Word(_)), *why == Why::Unsaid, *name));
        doubts.into_iter().map(|(_, why)| why).next()
    }

    fn doubt_of(&self, name: &Name, value: &Value) -> Option<Why> {
        if self.status.is_none() && columns::is_other_status(name.plain(), name.shown()) {
            let Some(bytes) = value.bytes() else { return Some(Why::Unsaid) };
            return match self.word(bytes) {
                Ended::Well => None,
                Ended::Badly => Some(Why::Other(String::from_utf8_lossy(bytes).trim().to_owned())),
                Ended::Not(why) => Some(why),
            };
        }
        let is_no_end = columns::is_no_end(name.plain());
        if !is_no_end && (!columns::is_end(name.plain()) || sense(name.plain()).is_some()) {
            return None;
        }
        // What is no time here is a flag or a word.
        match self.mark(value, Holds::Any) {
            Ok(Mark::Set) => is_no_end.then_some(Why::Denied),
            Ok(Mark::Denied) => (!is_no_end).then_some(Why::Denied),
            Ok(Mark::Word(why)) => Some(why),
            Ok(Mark::Unset) | Err(_) => Some(Why::Unsaid),
        }
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

/// What several statuses say, the first of which counts most.
fn together(said: &[Ended]) -> Ended {
    let is_same = |one: &Ended, other: &Ended| std::mem::discriminant(one) == std::mem::discriminant(other);
    let agree = said.windows(2).all(|pair| matches!(pair, [one, other] if is_same(one, other)));
    // A word that is not known is counted, so that somebody says what it means.
    let is_word = |ended: &&Ended| matches!(ended, Ended::Not(Why::Word(_)));
    match said.iter().find(is_word).or_else(|| said.first()) {
        None => Ended::Not(Why::Unsaid),
        Some(ended) if agree || is_word(&ended) => ended.clone(),
        Some(_) => Ended::Not(Why::Both),
    }
}

/// What a flag or a time says where it is set.
#[derive(Clone, Copy)]
enum Sense {
    Done,
    Failed,
    /// That the work is not done; where it says no, that it is.
    Undone,
    /// That the work goes on; where it says no, nothing.
    Waits,
}

fn sense(name: &str) -> Option<(Sense, Holds)> {
    let done = columns::says_done(name).map(|holds| (Sense::Done, holds));
    done.or_else(|| columns::says_failed(name).map(|holds| (Sense::Failed, holds)))
        .or_else(|| columns::says_undone(name).map(|holds| (Sense::Undone, holds)))
        .or_else(|| columns::is_waiting(name).then_some((Sense::Waits, Holds::Any)))
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
    fn take(&mut self, mark: Mark, sense: Sense) {
        self.columns += 1;
        match (mark, sense) {
            (Mark::Set, Sense::Failed) => self.failed = true,
            (Mark::Set, Sense::Done) | (Mark::Denied, Sense::Undone) => self.done = true,
            (Mark::Set, Sense::Undone | Sense::Waits) | (Mark::Denied, Sense::Done) => self.denied = true,
            (Mark::Word(why), _) => self.word = Some(why),
            (Mark::Unset, _) | (Mark::Denied, Sense::Failed | Sense::Waits) => {}
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
