//! `claimstore top`: what a live store is doing, seen as it does it.

mod frame;
mod screen;

use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

use crate::codes;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::source::Source;
use crate::store_args::StoreArgs;
use crate::{duration, print, store};
use frame::Shape;
use screen::{Keys, Screen};

/// How often signals and the size of the terminal are looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// Shows what a live store is doing, over and over.
///
/// Rates by outcome, claims in progress by age, commits, journal and checkpoints, time buckets, of a store that a program
/// has open and serves. Of a store that nobody has open it shows what it holds, once.
///
/// `q` and Ctrl-C end it. Where standard output is no terminal, --once or --json is needed.
#[derive(Debug, Args)]
#[command(after_long_help = codes::TOP.listed())]
pub(crate) struct Top {
    #[command(flatten)]
    store: StoreArgs,

    /// How often it looks.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    interval: Duration,

    /// Shows one frame, with the rates of one interval, and ends.
    #[arg(long)]
    once: bool,

    /// One JSON object a line for each look, with names that stay: counts since the store was opened.
    #[arg(long)]
    json: bool,
}

impl Top {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        let width = print::width();
        if width.is_none() && !self.once && !self.json {
            let message = "standard output is no terminal: say --once or --json";
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let signals = Signals::noting(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP])?;
        let mut source = Source::open(&self.store)?;
        let exit = match (self.json, source.is_live()) {
            (true, _) => self.lines(&mut source, &signals)?,
            (false, true) if !self.once => self.watch(&mut source, &signals)?,
            (false, live) => {
                let before = if live { Some(source.live()?) } else { None };
                if live {
                    self.rest(&signals, &mut None, || true);
                }
                let shape = Shape { width: width.unwrap_or(80), height: usize::MAX, keys: false };
                let frame = frame::frame(before.as_ref(), &source.live()?, shape);
                print::text(&frame)?
            }
        };
        source.close()?;
        Ok(ended_by(&signals).unwrap_or(exit))
    }

    /// Frame after frame, in the same place.
    fn watch(&self, source: &mut Source, signals: &Signals) -> anyhow::Result<Exit> {
        // In this order: the picture is given back first, whatever ends it.
        let mut keys = Keys::take();
        let mut screen = Screen::take()?;
        let mut before = None;
        while signals.caught().is_none() {
            let now = source.live()?;
            // The same numbers again for each new size, until the next look.
            loop {
                let size = screen::size();
                let shape = Shape { width: size.0, height: size.1, keys: keys.is_some() };
                if !screen.show(&frame::frame(before.as_ref(), &now, shape))? {
                    return Ok(Exit::ReaderGone);
                }
                match self.rest(signals, &mut keys, || screen::size() == size) {
                    Rested::Due => break,
                    Rested::OtherSize => {}
                    Rested::Quit => return Ok(Exit::Done),
                }
            }
            before = Some(now);
        }
        Ok(Exit::Done)
    }

    /// Line after line.
    fn lines(&self, source: &mut Source, signals: &Signals) -> anyhow::Result<Exit> {
        loop {
            let exit = print::json(&serde_json::to_value(source.live()?)?)?;
            if self.once || !source.is_live() || exit != Exit::Done {
                return Ok(exit);
            }
            self.rest(signals, &mut None, || true);
            if signals.caught().is_some() {
                return Ok(exit);
            }
        }
    }

    /// Waits until the next look is due, a signal came, a key ends it, or `same` does not hold any more.
    fn rest(&self, signals: &Signals, keys: &mut Option<Keys>, same: impl Fn() -> bool) -> Rested {
        let mut left = self.interval;
        while !left.is_zero() && signals.caught().is_none() {
            if !same() {
                return Rested::OtherSize;
            }
            let nap = GLANCE.min(left);
            match keys.as_ref().map(|keys| keys.wait(nap)) {
                Some(Some(true)) => return Rested::Quit,
                Some(Some(false)) => {}
                // Nobody types any more.
                Some(None) => *keys = None,
                None => store::pause_for(nap),
            }
            left -= nap;
        }
        Rested::Due
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rested {
    /// The next look is due, or a signal came.
    Due,
    /// The terminal has another size.
    OtherSize,
    /// Somebody wants it to end.
    Quit,
}

/// Who watches ends it by Ctrl-C and its like; other signals are told on.
fn ended_by(signals: &Signals) -> Option<Exit> {
    let signal = signals.caught()?;
    let by_hand = [SIGINT, SIGQUIT, SIGTSTP].contains(&i32::from(signal));
    Some(if by_hand { Exit::Done } else { Exit::Signal(signal) })
}
