//! What a process said before it ended, and whether the store still says so.
//!
//! `kill_child` prints a line for whatever its store acknowledged. Whoever ends it, or takes the disk from under
//! it, keeps a [`Book`] of those lines and holds the store that is opened afterwards against it.

use crate::script::Stop;
use claimstore::{Claim, ErrorKind, RecordState, Store};
use std::collections::HashMap;
use std::time::Duration;

const TTL: Duration = Duration::from_secs(86_400);

/// What was heard about one key.
#[derive(Debug, Default)]
struct Heard {
    /// Highest token.
    token: u64,
    /// Which life granted it.
    life: u64,
    /// The holder began to let go.
    let_go: bool,
    completed: bool,
    row: bool,
}

/// Everything that was heard, over all lives of one store.
#[derive(Debug, Default)]
pub struct Book {
    keys: HashMap<String, Heard>,
    acknowledged: u64,
    /// The highest token of earlier lives.
    before: u64,
    highest: u64,
}

impl Book {
    /// How much was acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Takes down a line that the child of life `life` said. [`Stop::Disagree`] when it cannot follow what was
    /// said before: a key done twice or held twice, a token given again.
    pub fn note(&mut self, life: u64, said: &str) -> Result<(), Stop> {
        let unreadable = || Stop::Disagree(format!("the child said {said:?}"));
        let parts: Vec<&str> = said.split(' ').collect();
        let (what, key) = match parts.as_slice() {
            [what, key, ..] => (*what, *key),
            _ => return Err(unreadable()),
        };
        let heard = self.keys.entry(key.to_owned()).or_default();
        match (what, parts.as_slice()) {
            ("C", [_, _, token, attempt]) => {
                let token: u64 = token.parse().map_err(|_| unreadable())?;
                let attempt: u32 = attempt.parse().map_err(|_| unreadable())?;
                let held = heard.token > 0 && heard.life == life && !heard.let_go;
                if heard.completed || held || attempt == 0 || token <= heard.token.max(self.before) {
                    return Err(Stop::Disagree(format!("{said:?} after {heard:?}, {} before", self.before)));
                }
                *heard = Heard { token, life, ..Heard::default() };
                self.highest = self.highest.max(token);
            }
            ("L", _) => heard.let_go = true,
            ("D", _) => heard.completed = true,
            ("T", _) => {
                if heard.completed || heard.token > 0 && !heard.let_go {
                    return Err(Stop::Disagree(format!("{key} was done twice: {heard:?}")));
                }
                (heard.completed, heard.row) = (true, true);
            }
            _ => return Err(unreadable()),
        }
        self.acknowledged += u64::from(what != "L");
        Ok(())
    }

    /// The child is gone: tokens of the next one lie above all of its.
    pub fn end_life(&mut self) {
        self.before = self.highest;
    }

    /// Asks the store about everything that was ever heard.
    pub fn check(&self, store: &Store) -> Result<(), Stop> {
        let rows = store.table("rows")?;
        for (key, heard) in &self.keys {
            if heard.completed {
                let answer = store.claim(key, TTL)?;
                let known =
                    matches!(&answer, Claim::Duplicate(receipt) if receipt.response() == key.as_bytes());
                if !known {
                    return Err(Stop::Disagree(format!("{key} is lost: {answer:?}, {heard:?}")));
                }
                if heard.row && rows.get(key)?.as_deref() != Some(key.as_bytes()) {
                    return Err(Stop::Disagree(format!("the row of {key} is lost: {heard:?}")));
                }
            } else if !heard.let_go {
                let record = store.get(key)?;
                let stands = record.as_ref().is_some_and(|record| {
                    let orphan = record.state() == RecordState::Orphaned;
                    record.token() >= heard.token && (orphan || record.response() == Some(key.as_bytes()))
                });
                if !stands {
                    return Err(Stop::Disagree(format!("the claim of {key}: {record:?}, {heard:?}")));
                }
            }
        }
        Ok(())
    }
}

/// Whether `kind` is an honest word about a disk that fails: nothing happened, or it says that it cannot know.
pub fn is_honest(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Io | ErrorKind::Full | ErrorKind::Indeterminate | ErrorKind::Poisoned)
}

#[cfg(test)]
mod tests {
    use super::{Book, Stop};
    use crate::script::World;
    use claimstore::{Claim, Store};
    use std::time::Duration;

    fn heard(lines: &[&str]) -> Book {
        let mut book = Book::default();
        lines.iter().for_each(|line| book.note(1, line).unwrap());
        book
    }

    fn store() -> Store {
        World::new(1).open().unwrap()
    }

    fn disagrees(book: &Book, store: &Store) -> bool {
        matches!(book.check(store), Err(Stop::Disagree(_)))
    }

    #[test]
    fn what_cannot_follow_is_refused() {
        let refused = [
            (&["C a 5 1", "D a"][..], "C a 6 1"),
            (&["C a 5 1"], "C a 6 2"),
            (&["C a 5 1", "L a"], "C a 5 1"),
            (&["C a 5 1"], "T a"),
            (&["T a"], "T a"),
            (&[], "C a 5 0"),
            (&[], "C a"),
            (&[], "X a"),
        ];
        for (before, line) in refused {
            assert!(heard(before).note(1, line).is_err(), "{before:?} {line}");
        }
        let mut book = heard(&["C a 5 1", "L a", "C b 9 1"]);
        book.end_life();
        assert!(book.note(2, "C a 9 2").is_err(), "a token of the earlier life");
        book.note(2, "C b 10 2").unwrap();
        assert_eq!(book.acknowledged(), 3);
    }

    #[test]
    fn what_is_lost_is_noticed() {
        for lines in [&["C a 1 1", "D a"][..], &["T a"], &["C a 1 1"]] {
            assert!(disagrees(&heard(lines), &store()), "{lines:?}");
        }
        heard(&["C a 1 1", "L a"]).check(&store()).unwrap();
    }

    #[test]
    fn what_is_there_is_found() {
        let store = store();
        let Claim::Claimed(lease) = store.claim("a", Duration::from_secs(60)).unwrap() else { panic!() };
        let line = format!("C a {} 1", lease.token());
        assert!(disagrees(&heard(&["C a 1000000000000 1"]), &store), "an older claim");
        lease.complete("a").unwrap();
        heard(&[&line]).check(&store).unwrap();
        heard(&[&line, "D a"]).check(&store).unwrap();
        assert!(disagrees(&heard(&["T a"]), &store), "no row");
    }
}
