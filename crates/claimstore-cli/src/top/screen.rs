//! The terminal as a picture that is drawn over and over, and is as it was before when that is over.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::getpid;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use crate::kin::Kin;
use crate::writer::Patient;

/// Another page than the one with the shell's lines, without a cursor.
const TAKE: &str = "\x1b[?1049h\x1b[?25l";
const GIVE_BACK: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal, taken. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Screen {
    /// The frame that is shown.
    shown: String,
}

impl Screen {
    pub(crate) fn take() -> io::Result<Screen> {
        // Made first: a terminal that was half taken is given back.
        let screen = Screen { shown: String::new() };
        write(TAKE)?;
        Ok(screen)
    }

    /// Draws a frame over the one before: each line is written over, not cleared first, and all of it at once, so
    /// that nothing flickers. False if nobody looks any more.
    pub(crate) fn show(&mut self, frame: &str) -> io::Result<bool> {
        if self.shown == frame {
            return Ok(true);
        }
        frame.clone_into(&mut self.shown);
        match write(&over(frame)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe) => Ok(false),
            written => written.map(|()| true),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(GIVE_BACK);
    }
}

/// The keyboard, read key by key and not shown. Dropping it gives it back as it was.
#[derive(Debug)]
pub(crate) struct Keys {
    before: Termios,
}

impl Keys {
    /// Takes standard input, if it is a terminal and this process may: of a job in the background it would be stopped.
    pub(crate) fn take() -> Option<Keys> {
        let input = io::stdin();
        // Of a terminal that is not the one that controls us there are no jobs.
        let own_group = Kin::of(getpid()).map(|own| own.group);
        let is_behind =
            tcgetpgrp(&input).is_ok_and(|group| own_group.is_some_and(|own| own != group.as_raw_pid()));
        if !input.is_terminal() || is_behind {
            return None;
        }
        let before = tcgetattr(&input).ok()?;
        let mut keys = before.clone();
        // Signals by keys stay: Ctrl-C and its like end it in their own way.
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Now, &keys).ok()?;
        Some(Keys { before })
    }

    /// Waits for a key that ends it, so long at most. `None` if there are no more keys to come.
    #[expect(clippy::unused_self, reason = "only who has taken the keys may wait for one")]
    pub(crate) fn wait(&self, time: Duration) -> Option<bool> {
        let input = io::stdin();
        let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        let mut polled = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
        match poll(&mut polled, Some(&time)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Some(false),
            Ok(_) => {}
            Err(_) => return None,
        }
        let mut typed = [0; 64];
        // Not through the buffer of standard input: what is in there would not be waited for.
        match rustix::io::read(input.as_fd(), &mut typed) {
            Ok(0) => None,
            Ok(length) => Some(typed.iter().take(length).any(|key| matches!(key, b'q' | b'Q'))),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// From the upper left corner on; what is left of a longer line, and of more lines, goes.
fn over(frame: &str) -> String {
    let lines: Vec<_> = frame.lines().map(|line| format!("{line}\x1b[K")).collect();
    format!("\x1b[H{}\x1b[J", lines.join("\r\n"))
}

fn write(text: &str) -> io::Result<()> {
    Patient::stdout()?.write_all(text.as_bytes())
}

/// Columns and lines of the terminal.
pub(crate) fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
    size.filter(|(columns, lines)| *columns > 0 && *lines > 0).unwrap_or((80, 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_drawn_over_the_one_before() {
        assert_eq!(over("a\nb\n"), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
        assert!(!over("a").contains("\x1b[2J"), "a cleared screen flickers");
    }
}
