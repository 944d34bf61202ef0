//! Generated feeds through the library of `dedupe`, against readers that others wrote: the `csv` crate and `serde_json`.
//!
//! Each feed goes through twice, with one store in memory: in the first run the records that pass and those that are
//! refused must be those of the other reader, in order; in the second none may pass, and what both wrote, one behind the
//! other as with `>>`, must read as the same events.
//!
//! Where the two readers differ, the bytes decide:
//!
//! | the input | the `csv` crate | here |
//! |---|---|---|
//! | text behind a closing quote | keeps it in the field | refused |
//! | a quote that is never closed | the field goes to the end of the input | refused, by its first line |
//! | a quote behind blanks | a letter | refused |
//! | `\r\r\n` | a record's end and an empty line | one line end |
//! | a line of blanks | a record | skipped |
//! | another number of fields | passed on (`flexible`) | refused |
//!
//! So the feeds of the first test have quotes that are well-formed, and all else at random; the second test breaks quotes,
//! and asks that each line that the other reader takes for a record by itself passes or is refused.

use std::collections::{HashMap, HashSet};
use std::env;

use super::batch::{Answer, Claims, Event, OnCrash, Tally, pass_on};
use super::output::{Sink, Written};
use crate::key::KeySpec;
use crate::record::json::Pointer;
use crate::record::{Layout, Reader, Syntax};

/// A store in memory.
#[derive(Default)]
struct Memory(std::cell::RefCell<HashSet<Vec<u8>>>);

impl Claims for Memory {
    type Lease = Vec<u8>;

    fn claim(&self, keys: &[&[u8]]) -> anyhow::Result<Vec<Answer<Vec<u8>>>> {
        let known = self.0.borrow();
        let answer = |key: &&[u8]| {
            if known.contains(*key) {
                Answer::Duplicate
            } else {
                Answer::Claimed { lease: key.to_vec(), in_doubt: false }
            }
        };
        Ok(keys.iter().map(answer).collect())
    }

    fn complete(&self, leases: Vec<Vec<u8>>) -> anyhow::Result<()> {
        self.0.borrow_mut().extend(leases);
        Ok(())
    }

    fn release(&self, _: Vec<Vec<u8>>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Sink for Vec<u8> {
    fn write(&mut self, records: &[&[u8]]) -> Written {
        records.iter().for_each(|record| self.extend_from_slice(record));
        Written { whole: records.len(), stopped: None }
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a run did.
struct Ran {
    out: Vec<u8>,
    /// The lines of refused records.
    refused: Vec<u64>,
    tally: Tally,
}

fn run(input: &[u8], layout: &Layout, spec: &KeySpec, store: &Memory) -> Ran {
    let (mut reader, head) = Reader::open(input, layout.clone(), || Ok(())).unwrap();
    let keyer = spec.clone().bind(&head, reader.syntax()).unwrap();
    let mut ran = Ran { out: head.bytes, refused: Vec::new(), tally: Tally::default() };
    let mut events = Vec::new();
    loop {
        let record = reader.next_record().unwrap();
        let ended = record.is_none();
        if let Some(record) = record {
            ran.tally.read += 1;
            let line = record.line;
            match keyer.key(&record) {
                Ok(key) => events.push(Event { key, bytes: reader.ended_line(record), line }),
                Err(_) => ran.refused.push(line),
            }
        }
        if ended || events.len() >= 64 {
            pass_on(store, &mut ran.out, &events, OnCrash::Emit, &mut ran.tally).unwrap();
            events.clear();
        }
        if ended {
            return ran;
        }
    }
}

/// Numbers that look random, and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.roll(all.len() as u64)).unwrap()]
    }
}

const LINE_ENDS: [&str; 4] = ["\n", "\r\n", "\r", "\r\r\n"];

/// Delimited text of `count` records under a header: line ends, blank lines, quotes, widths, mark and end at random.
fn delimited(dice: &mut Dice, count: u64, delimiter: char) -> String {
    let mark = dice.pick(&["", "\u{feff}"]);
    let usual = dice.pick(&LINE_ENDS);
    let mut text = format!("{mark}id{delimiter}\"v\"{delimiter}w{usual}");
    for _ in 0..count {
        let width = if dice.roll(12) == 0 { 1 + dice.roll(5) } else { 3 };
        let fields: Vec<_> = (0..width).map(|place| field(dice, place, count)).collect();
        text += &fields.join(&delimiter.to_string());
        let line_end = if dice.roll(8) == 0 { dice.pick(&LINE_ENDS) } else { usual };
        text += line_end;
        if dice.roll(15) == 0 {
            text += line_end;
        }
    }
    if dice.roll(3) == 0 {
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
    }
    text
}

fn field(dice: &mut Dice, place: u64, count: u64) -> String {
    let plain = match (place, dice.roll(6)) {
        (0, 0) => String::new(),
        // Some come again.
        (0, _) => dice.roll(count).to_string(),
        (_, 0) => "7\" wide".to_owned(),
        (_, 1) => "na\u{ef}ve \\N".to_owned(),
        (_, 2) => String::new(),
        _ => "x".repeat(usize::try_from(dice.roll(40)).unwrap()),
    };
    if dice.roll(3) > 0 {
        return plain;
    }
    let inside = dice.pick(&["", "\n", "\r\n", "\r", "\"\"", ", ", "; ", "\t", "\n\n1,2,3\n", "\"\"\n\"\""]);
    let inside = if place == 0 { "" } else { inside };
    format!("\"{}{inside}\"", plain.replace('"', "\"\""))
}

/// Key and bytes of the records that the `csv` crate reads, by the fields it finds; nothing for the key of a record that
/// is to be refused.
fn by_csv(input: &[u8], delimiter: char) -> Vec<Option<Vec<Vec<u8>>>> {
    let input = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(u8::try_from(delimiter).unwrap())
        .flexible(true)
        .has_headers(true)
        .from_reader(input);
    let width = reader.byte_headers().unwrap().len();
    let fields = |record: csv::Result<csv::ByteRecord>| {
        let fields: Vec<Vec<u8>> = record.unwrap().iter().map(<[u8]>::to_vec).collect();
        (fields.len() == width && !fields[0].is_empty()).then_some(fields)
    };
    reader.byte_records().map(fields).collect()
}

/// The first of each key.
fn first_of_each(records: &[Option<Vec<Vec<u8>>>]) -> Vec<Vec<Vec<u8>>> {
    let mut seen = HashSet::new();
    records.iter().flatten().filter(|record| seen.insert(record[0].clone())).cloned().collect()
}

fn feed_records() -> u64 {
    env::var("CLAIMSTORE_FEED_RECORDS").map_or(20_000, |text| text.parse().unwrap())
}

const FEED: u64 = 200;

/// Runs `feed` on feeds until so many records were read, and prints how many.
fn for_each_feed(kind: &str, mut feed: impl FnMut(&mut Dice) -> Tally) {
    let seed: u64 = env::var("CLAIMSTORE_SEED").map_or(1, |text| text.parse().unwrap());
    let (mut dice, mut total, mut feeds) = (Dice(seed), Tally::default(), 0);
    while total.read < feed_records() {
        let tally = feed(&mut dice);
        total.read += tally.read;
        total.passed += tally.passed;
        total.duplicates += tally.duplicates;
        total.refused += tally.refused;
        feeds += 1;
    }
    let Tally { read, passed, duplicates, refused, .. } = total;
    println!(
        "{kind}: {feeds} feeds, {read} records, {passed} passed, {duplicates} duplicates, {refused} refused (seed {seed})"
    );
}

#[test]
fn delimited_feeds_are_the_events_that_another_reader_finds() {
    for_each_feed("delimited", |dice| {
        let delimiter = dice.pick(&[',', ';', '\t']);
        let text = delimited(dice, FEED, delimiter);
        let layout = Layout::delimited(Syntax::csv(u8::try_from(delimiter).unwrap()));
        let spec = KeySpec::Columns(vec!["id".into()]);
        let store = Memory::default();
        let first = run(text.as_bytes(), &layout, &spec, &store);
        let all = by_csv(text.as_bytes(), delimiter);
        let expected = first_of_each(&all);
        let passed: Vec<_> = by_csv(&first.out, delimiter).into_iter().collect();
        assert_eq!(passed, expected.iter().cloned().map(Some).collect::<Vec<_>>(), "{text:?}");
        assert_eq!(first.refused.len(), all.iter().filter(|record| record.is_none()).count(), "{text:?}");
        assert_eq!(first.tally.read, all.len() as u64, "{text:?}");
        assert!(first.refused.is_sorted(), "{text:?}");

        // Over a second run with some more, added to the first.
        let more = format!("{text}\r\nlast{delimiter}1{delimiter}2");
        let second = run(more.as_bytes(), &layout, &spec, &store);
        let both = [&first.out[..], &second.out].concat();
        assert_eq!(second.tally.passed, 1, "{text:?}");
        let added = by_csv(&both, delimiter);
        let last = added.last().unwrap().as_ref().unwrap();
        assert_eq!((added.len(), last[0].as_slice()), (expected.len() + 2, &b"last"[..]), "{text:?}");
        Tally { refused: first.refused.len() as u64, ..first.tally }
    });
}

/// Quotes in disorder: a stray one at the beginning, in the middle or at the end of some fields, or a closing one lost.
#[test]
fn no_line_is_lost_or_joined_where_quotes_are_in_disorder() {
    for_each_feed("disorder", |dice| {
        let usual = dice.pick(&LINE_ENDS);
        let mut text = format!("id,v{usual}");
        let mut lines = HashMap::new();
        for id in 0..FEED {
            let value = match dice.roll(12) {
                0 => "\"Deluxe",
                1 => "\"X\"y",
                2 => " \"z",
                3 => "\"ok\"",
                // A quote at the end would close a stray one before it, and make one well-formed record of both.
                4 => "7\" w",
                _ => "e",
            };
            let line = format!("{id},{value}");
            text += &[line.as_str(), usual].concat();
            lines.insert(id + 2, (line, value));
        }
        let (layout, store) = (Layout::delimited(Syntax::csv(b',')), Memory::default());
        let ran = run(text.as_bytes(), &layout, &KeySpec::Columns(vec!["id".into()]), &store);
        let out = String::from_utf8(ran.out).unwrap();
        let refused: HashSet<u64> = ran.refused.iter().copied().collect();
        for (number, (line, value)) in &lines {
            // A line of its own, or refused by number: nothing else.
            let passed = out.contains(&format!("{usual}{line}{usual}"));
            let is_refused = refused.contains(number);
            match *value {
                "e" | "\"ok\"" => assert!(passed && !is_refused, "line {number} of {text:?}"),
                "7\" w" => assert!(passed != is_refused, "line {number} of {text:?}"),
                _ => assert!(!passed && is_refused, "line {number} of {text:?}"),
            }
        }
        Tally { refused: ran.refused.len() as u64, ..ran.tally }
    });
}

fn json_line(dice: &mut Dice) -> String {
    let id = dice.roll(FEED);
    match dice.roll(12) {
        0 => format!("{{\"id\":{id}"),
        1 => "{\"v\":1}".into(),
        2 => format!("{{\"id\":{id}}}{{\"id\":{id}}}"),
        3 => format!("{{\"id\":\"{id}\",\"v\":\"a\\r\\n\\\"b\"}}"),
        4 => format!(" {{ \"v\" : [1, {{\"id\":2}}], \"id\" : {id} }}\t"),
        5 => format!("{{\"id\":null,\"v\":{id}}}"),
        _ => {
            format!("{{\"id\":{id},\"v\":\"\u{e9}{}\"}}", "x".repeat(usize::try_from(dice.roll(30)).unwrap()))
        }
    }
}

#[test]
fn lines_of_json_are_the_events_that_another_reader_finds() {
    for_each_feed("ndjson", |dice| {
        let mark = dice.pick(&["", "\u{feff}"]);
        let usual = dice.pick(&LINE_ENDS);
        let lines: Vec<String> = (0..FEED).map(|_| json_line(dice)).collect();
        let mut text = mark.to_owned();
        for line in &lines {
            text += line;
            let line_end = if dice.roll(8) == 0 { dice.pick(&LINE_ENDS) } else { usual };
            text += line_end;
            text += if dice.roll(15) == 0 { " \n" } else { "" };
        }
        if dice.roll(3) == 0 {
            text.truncate(text.trim_end().len());
        }
        let spec = KeySpec::Pointers(vec![("/id".into(), Pointer::parse("/id").unwrap())]);
        let store = Memory::default();
        let first = run(text.as_bytes(), &Layout::lines(), &spec, &store);
        let id = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            value.get("id").filter(|id| !id.is_null()).map(ToString::to_string)
        };
        let mut seen = HashSet::new();
        let expected: Vec<&str> = lines
            .iter()
            .filter(|line| id(line).is_some_and(|id| seen.insert(id)))
            .map(|line| line.trim())
            .collect();
        let out = String::from_utf8(first.out).unwrap();
        let passed: Vec<&str> = out
            .trim_start_matches('\u{feff}')
            .split(['\r', '\n'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        assert_eq!(passed, expected, "{text:?}");
        assert_eq!(first.refused.len(), lines.iter().filter(|line| id(line).is_none()).count(), "{text:?}");
        let second = run(text.as_bytes(), &Layout::lines(), &spec, &store);
        assert_eq!((second.tally.passed, second.out.len()), (0, 0), "{text:?}");
        Tally { refused: first.refused.len() as u64, ..first.tally }
    });
}
