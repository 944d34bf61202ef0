//! `claimstore top`: what a live store is doing, seen as it does it.

mod frame;
mod screen;

use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

use crate::args::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::source::Source;
use crate::{duration, print, store};
use screen::Screen;

/// How often signals and the size of the terminal are looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// Shows what a store is doing that a program has open and serves: rates by outcome, claims in progress by age, commits,
/// journal and checkpoints, time buckets. Of a store that nobody has open it shows what it holds, once.
///
/// Ctrl-C ends it. Where standard output is no terminal, --once or --json is needed.
///
/// Exit codes: 0 shown; 64 usage; 65 the store is damaged; 66 no store; 74 it failed; 75 the store is open elsewhere
/// without a socket, or was closed meanwhile; 129, 143 SIGHUP, SIGTERM.
#[derive(Debug, Args)]
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
                    self.rest(&signals, || true);
                }
                let frame = frame::frame(before.as_ref(), &source.live()?, width.unwrap_or(80), usize::MAX);
                print::text(&frame)?
            }
        };
        source.close()?;
        Ok(ended_by(&signals).unwrap_or(exit))
    }

    /// Frame after frame, in the same place.
    fn watch(&self, source: &mut Source, signals: &Signals) -> anyhow::Result<Exit> {
        let mut screen = Screen::take()?;
        let mut before = None;
        while signals.caught().is_none() {
            let now = source.live()?;
            // The same numbers again for each new size, until the next look.
            loop {
                let size = screen::size();
                if !screen.show(&frame::frame(before.as_ref(), &now, size.0, size.1))? {
                    return Ok(Exit::ReaderGone);
                }
                if self.rest(signals, || screen::size() == size) {
                    break;
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
            self.rest(signals, || true);
            if signals.caught().is_some() {
                return Ok(exit);
            }
        }
    }

    /// Sleeps until the next look is due or a signal came; false if `same` did not hold before.
    fn rest(&self, signals: &Signals, same: impl Fn() -> bool) -> bool {
        let mut left = self.interval;
        while !left.is_zero() && signals.caught().is_none() {
            if !same() {
                return false;
            }
            let nap = GLANCE.min(left);
            store::pause_for(nap);
            left -= nap;
        }
        true
    }
}

/// Who watches ends it by Ctrl-C and its like; other signals are told on.
fn ended_by(signals: &Signals) -> Option<Exit> {
    let signal = signals.caught()?;
    let by_hand = [SIGINT, SIGQUIT, SIGTSTP].contains(&i32::from(signal));
    Some(if by_hand { Exit::Done } else { Exit::Signal(signal) })
}
