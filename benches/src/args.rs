//! Command lines of the form `--name value` and `--flag`.

use crate::Result;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The parsed command line of a bench program.
#[derive(Debug, Default)]
pub struct Args {
    values: BTreeMap<String, String>,
}

impl Args {
    /// Reads the process's command line. Names outside `known` are refused, so that a typing error does not
    /// measure the wrong thing. `cargo bench` and `cargo run` add nothing of their own to it.
    pub fn from_env(known: &[&str]) -> Result<Self> {
        Self::parse(std::env::args().skip(1), known)
    }

    fn parse(words: impl Iterator<Item = String>, known: &[&str]) -> Result<Self> {
        let mut words = words.peekable();
        let mut args = Self::default();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").filter(|name| known.contains(name));
            let Some(name) = name else {
                return Err(format!("unknown argument {word}; known: --{}", known.join(", --")).into());
            };
            let value = words.next_if(|next| !next.starts_with("--")).unwrap_or_default();
            args.values.insert(name.to_owned(), value);
        }
        Ok(args)
    }

    /// Whether the flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The text given for a name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value given for a name, or the default.
    pub fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name} does not take {text:?}").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse(line.split_whitespace().map(str::to_owned), &["rounds", "json"])
    }

    #[test]
    fn values_flags_and_defaults() {
        let args = parse("--json --rounds 5").unwrap();
        assert!(args.has("json"));
        assert_eq!(args.or("rounds", 3).unwrap(), 5);
        assert_eq!(parse("").unwrap().or("rounds", 3).unwrap(), 3);
    }

    #[test]
    fn mistakes_are_refused() {
        assert!(parse("--round 5").is_err());
        assert!(parse("--rounds many").unwrap().or("rounds", 3).is_err());
    }
}
