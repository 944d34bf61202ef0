//! The remote API: it books invoices in a ledger of its own, and answers late or not at all.
//!
//! `POST /invoices/KEY` books the invoice and answers with its number. It does not notice repeats: who sends an
//! invoice twice has it booked twice. `GET /invoices/KEY` answers the number, or 404, and from then on refuses
//! to book the invoice under a lower fencing token; for half of the invoices it answers 501. `GET /ledger` lists
//! what was booked.

use crate::http::{Request, answer, receive};
use crate::worker::PATIENCE;
use crate::{Dice, Result};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The ledger, and below which token an invoice is not booked any more.
#[derive(Debug, Default)]
struct Books {
    ledger: Vec<String>,
    fences: BTreeMap<String, u64>,
}

/// What the API makes of a request.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Prompt,
    /// Does it, and answers when the caller has given up.
    AnswersLate,
    /// Does it, and never answers.
    NeverAnswers,
    /// Does it when the caller has given up.
    WorksLate,
    /// Does nothing, and hangs up.
    HangsUp,
}

/// Serves until it is killed. Prints its port.
pub(crate) fn run(seed: u64) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    let books: Arc<Mutex<Books>> = Arc::default();
    let mut dice = Dice(seed);
    for stream in listener.incoming() {
        let (stream, books, mood) = (stream?, books.clone(), Mood::roll(&mut dice));
        // A request that cannot be read has nobody to be told so.
        thread::spawn(move || drop(serve(&stream, &books, mood)));
    }
    Ok(())
}

fn serve(stream: &TcpStream, books: &Mutex<Books>, mood: Mood) -> Result<()> {
    let request = receive(stream)?;
    let books = || books.lock().unwrap_or_else(PoisonError::into_inner);
    if request.path == "/ledger" {
        answer(stream, 200, &books().ledger.join("\n"));
        return Ok(());
    }
    let late = || thread::sleep(PATIENCE * 2);
    match mood {
        Mood::HangsUp => return Ok(()),
        Mood::WorksLate => late(),
        Mood::Prompt | Mood::AnswersLate | Mood::NeverAnswers => {}
    }
    let (status, body) = books().handle(&request);
    match mood {
        Mood::NeverAnswers => return Ok(()),
        Mood::AnswersLate => late(),
        Mood::Prompt | Mood::WorksLate | Mood::HangsUp => {}
    }
    answer(stream, status, &body);
    Ok(())
}

impl Books {
    fn handle(&mut self, request: &Request) -> (u16, String) {
        let Some(key) = request.path.strip_prefix("/invoices/") else { return (404, String::new()) };
        match request.method.as_str() {
            "POST" if self.fences.get(key).is_some_and(|fence| request.token < *fence) => {
                (409, "fenced off".to_owned())
            }
            "POST" => {
                self.ledger.push(key.to_owned());
                (201, self.ledger.len().to_string())
            }
            "GET" if key.starts_with("blind") => (501, String::new()),
            "GET" => {
                let fence = self.fences.entry(key.to_owned()).or_default();
                *fence = (*fence).max(request.token);
                match self.ledger.iter().position(|booked| booked == key) {
                    Some(at) => (200, (at + 1).to_string()),
                    None => (404, String::new()),
                }
            }
            _ => (405, String::new()),
        }
    }
}

impl Mood {
    fn roll(dice: &mut Dice) -> Mood {
        match dice.roll(100) {
            0..70 => Mood::Prompt,
            70..78 => Mood::AnswersLate,
            78..85 => Mood::NeverAnswers,
            85..93 => Mood::WorksLate,
            _ => Mood::HangsUp,
        }
    }
}
