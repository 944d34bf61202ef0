//! A service whose store can be watched: metrics for Prometheus over HTTP, and a socket for `claimstore top`.
//!
//! ```text
//! cargo run -p claimstore-admin --example watched -- ./watched 127.0.0.1:9187
//! curl http://127.0.0.1:9187/metrics
//! claimstore top --store ./watched
//! ```
//!
//! `docs/signals.md` says what the metrics mean, `docs/alerts.yml` when to worry.

mod recorder;

use claimstore::{Claim, Failure, Options, Policy, Store};
use claimstore_admin::ServeAdmin as _;
use recorder::Recorder;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: watched DIRECTORY [ADDRESS]")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9187".into());
    // Before the store is opened: what is counted before there is a recorder is lost to it.
    let recorder = Recorder::default();
    metrics::set_global_recorder(recorder.clone())?;
    let store = Options::new().metrics_label("orders").open(&path)?;
    store.serve_admin()?;
    let listener = TcpListener::bind(&address)?;
    println!("metrics on http://{address}/metrics, and `claimstore top --store {path}`");
    let worker = store.clone();
    std::thread::Builder::new().name("orders".into()).spawn(move || work(&worker))?;
    for stream in listener.incoming() {
        // A scrape that fails is the scraper's to repeat.
        drop(stream.and_then(|stream| answer(&stream, &recorder)));
    }
    store.close()?;
    Ok(())
}

/// Answers one scrape.
fn answer(mut stream: &TcpStream, recorder: &Recorder) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mut request = String::new();
    BufReader::new(stream.take(4_096)).read_line(&mut request)?;
    let (status, body) = match request.split(' ').nth(1) {
        Some("/metrics") => ("200 OK", recorder.render()),
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Orders, some of which come twice, and some of which fail.
fn work(store: &Store) -> Result<(), claimstore::Error> {
    let orders = store.namespace_with("prod/acme/orders", Policy::daily().metrics_name("order-sync"))?;
    for number in 0_u64.. {
        let order = number - number % 7 / 6;
        match orders.claim_default(format!("order-{order}"))? {
            Claim::Claimed(lease) if number % 50 == 49 => lease.fail(Failure::retry())?,
            Claim::Claimed(lease) => lease.complete("posted")?,
            Claim::Duplicate(_) | Claim::InProgress(_) => {}
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}
