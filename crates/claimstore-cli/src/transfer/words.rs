//! What a status says about the work, by its word.
//!
//! A word that is not known says nothing: to take it for *done* would lose work that was never done, and to take it for
//! *failed* would give up work that goes on.

use std::collections::BTreeMap;

/// What a word says about the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Done,
    Failed,
    /// Begun, or to be begun.
    InProgress,
    Unknown,
}

pub(crate) const DONE: [&str; 7] =
    ["done", "complete", "completed", "success", "succeeded", "processed", "finished"];
pub(crate) const FAILED: [&str; 7] =
    ["failed", "failure", "error", "discarded", "cancelled", "canceled", "dead"];
pub(crate) const IN_PROGRESS: [&str; 10] = [
    "in_progress",
    "in-progress",
    "in progress",
    "inprogress",
    "processing",
    "pending",
    "started",
    "running",
    "locked",
    "lock",
];

/// What the command line says about words.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) done: Vec<String>,
    /// In the place of [`DONE`], if there are any.
    pub(crate) only_done: Vec<String>,
    pub(crate) failed: Vec<String>,
    pub(crate) in_progress: Vec<String>,
}

/// Every word that is known, folded.
#[derive(Debug)]
pub(crate) struct Words(BTreeMap<String, Said>);

impl Words {
    /// The usual words and the given ones. A given word may change what a usual one says, not what another given one does.
    pub(crate) fn new(given: &Given) -> Result<Words, String> {
        let usual_done: &[&str] = if given.only_done.is_empty() { &DONE } else { &[] };
        let usual = [(usual_done, Said::Done), (&FAILED, Said::Failed), (&IN_PROGRESS, Said::InProgress)];
        let mut words = BTreeMap::new();
        for (list, said) in usual {
            words.extend(list.iter().map(|word| (fold(word), said)));
        }
        let mut own = BTreeMap::new();
        for (list, said) in [
            (&given.done, Said::Done),
            (&given.only_done, Said::Done),
            (&given.failed, Said::Failed),
            (&given.in_progress, Said::InProgress),
        ] {
            for word in list.iter().map(|word| fold(word)) {
                if word.is_empty() {
                    return Err("a word is empty".into());
                }
                if own.get(&word).is_some_and(|other| *other != said) {
                    return Err(format!("the word `{word}` is given two meanings"));
                }
                own.insert(word, said);
            }
        }
        words.extend(own);
        Ok(Words(words))
    }

    /// What a word says, blanks around it and its case aside.
    pub(crate) fn said(&self, word: &str) -> Said {
        self.0.get(&fold(word)).copied().unwrap_or(Said::Unknown)
    }
}

/// A word as words are compared: without blanks around it, in small letters.
pub(crate) fn fold(word: &str) -> String {
    word.trim().to_lowercase()
}

/// What a flag says, if it is one.
pub(super) fn flag(word: &str) -> Option<bool> {
    match fold(word).as_str() {
        "1" | "t" | "true" | "y" | "yes" | "x" | "\u{1}" | "b'1'" => Some(true),
        "0" | "f" | "false" | "n" | "no" | "\0" | "b'0'" => Some(false),
        _ => None,
    }
}

/// Longer words are not shown, nor is what does not look like one: it may be anything.
const SHOWN_CHARS: usize = 32;
/// So many different words are counted apart.
const SHOWN_WORDS: usize = 32;

/// How often words came that are not known.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Unknown {
    words: BTreeMap<String, u64>,
    /// Those that are not shown.
    others: u64,
}

impl Unknown {
    pub(crate) fn count(&mut self, word: &str) {
        let word = fold(word);
        let full = self.words.len() >= SHOWN_WORDS && !self.words.contains_key(&word);
        if full || !is_shown(&word) {
            self.others += 1;
        } else {
            *self.words.entry(word).or_insert(0) += 1;
        }
    }

    /// Counts one that must not be shown.
    pub(crate) fn count_hidden(&mut self) {
        self.others += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.others == 0
    }

    /// The words and their counts, and under `(other)` the count of all that are not shown.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        let others = (self.others > 0).then_some(("(other)", self.others));
        self.words.iter().map(|(word, count)| (word.as_str(), *count)).chain(others)
    }
}

/// Whether it looks like the name of a status, or like its number.
fn is_shown(word: &str) -> bool {
    let is_number = (1..=3).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    is_number || is_name(word)
}

/// Whether it is a few letters, with `_`, `-` and blanks between them.
pub(super) fn is_name(word: &str) -> bool {
    word.len() <= SHOWN_CHARS
        && word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.chars().all(|letter| letter.is_ascii_alphabetic() || matches!(letter, '_' | '-' | ' '))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(words: &str) -> Vec<String> {
        words.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn given(done: &str, only_done: &str, failed: &str, in_progress: &str) -> Given {
        Given {
            done: list(done),
            only_done: list(only_done),
            failed: list(failed),
            in_progress: list(in_progress),
        }
    }

    fn check(given: &Given, expected: &[(&str, Said)]) {
        let words = Words::new(given).unwrap();
        for (word, said) in expected {
            assert_eq!(words.said(word), *said, "{word}");
        }
    }

    #[test]
    fn all_usual_words_say_what_they_say_in_any_spelling() {
        let words = Words::new(&Given::default()).unwrap();
        for (list, said) in
            [(&DONE[..], Said::Done), (&FAILED[..], Said::Failed), (&IN_PROGRESS[..], Said::InProgress)]
        {
            for word in list {
                for spelled in
                    [(*word).to_owned(), word.to_uppercase(), format!("{word}  "), format!("\t{word}\r\n")]
                {
                    assert_eq!(words.said(&spelled), said, "{spelled:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_known_says_nothing() {
        let words = "enqueued,delayed,new,queued,retrying,0,1,null,none,undone,not done,un-processed,completed_with_errors,\
                     incomplete,unsuccessful,ok,handled,retryable,scheduled,available,executing,expired,n,f,false";
        let words: Vec<_> = words.split(',').map(|word| (word, Said::Unknown)).collect();
        check(&Given::default(), &words);
    }

    #[test]
    fn given_words_add_to_the_usual_ones_and_only_done_replaces_them() {
        use Said::{Done, Failed, InProgress, Unknown};
        check(
            &given("Handled", "", "expired", "Queued"),
            &[
                ("handled", Done),
                ("done", Done),
                (" EXPIRED", Failed),
                ("dead", Failed),
                ("queued ", InProgress),
                ("pending", InProgress),
            ],
        );
        check(
            &given("ok", "Booked,paid", "", ""),
            &[("ok", Done), ("BOOKED", Done), ("paid", Done), ("done", Unknown), ("error", Failed)],
        );
        check(&given("error", "", "", "done"), &[("error", Done), ("done", InProgress)]);
    }

    #[test]
    fn a_word_has_one_meaning() {
        assert!(Words::new(&given("a", "A ", "", "")).is_ok());
        for given in [given("a", "", "A", ""), given("", "a", "", "a"), given(" ", "", "", "")] {
            assert!(Words::new(&given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn what_may_be_anything_is_counted_and_not_shown() {
        let mut unknown = Unknown::default();
        for word in
            ["New", "NEW ", "7", "4111111111111111", "c@example.com", "{\"id\":7}", "", &"w".repeat(33)]
        {
            unknown.count(word);
        }
        unknown.count_hidden();
        assert_eq!(unknown.counts().collect::<Vec<_>>(), [("7", 1), ("new", 2), ("(other)", 6)]);
    }

    proptest! {
        #[test]
        fn no_word_is_done_but_those_of_the_list(word in ".{0,12}") {
            let words = Words::new(&Given::default()).unwrap();
            prop_assert_eq!(words.said(&word) == Said::Done, DONE.contains(&fold(&word).as_str()));
        }

        #[test]
        fn the_counts_add_up_and_are_bounded(seen in prop::collection::vec("[a-z0-9@]{0,4}", 0..200)) {
            let mut unknown = Unknown::default();
            seen.iter().for_each(|word| unknown.count(word));
            prop_assert_eq!(unknown.counts().map(|(_, count)| count).sum::<u64>(), seen.len() as u64);
            prop_assert!(unknown.counts().count() <= SHOWN_WORDS + 1);
        }
    }
}
