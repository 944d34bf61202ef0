//! The terminal as a picture that is drawn over and over, and is as it was before when that is over.

use std::io::{self, Write as _};

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
