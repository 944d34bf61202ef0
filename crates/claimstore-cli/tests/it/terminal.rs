//! A terminal of a given width, as the command sees it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Runs a command whose standard output is a terminal of so many columns; what it wrote there, and its exit code.
pub(crate) fn run(mut command: Command, columns: u16) -> (String, i32) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let side = rustix::fs::open(name, flags, Mode::empty()).unwrap();
    tcsetwinsize(&side, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut child = command.stdout(Stdio::from(side)).spawn().unwrap();
    // The command holds the other side, and the terminal ends when nobody does.
    drop(command);
    let mut text = Vec::new();
    let mut terminal = File::from(terminal);
    let mut buffer = [0; 4_096];
    loop {
        match terminal.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What Linux says for the end.
            Err(_) => break,
        }
    }
    let code = crate::sandbox::code(child.wait().unwrap());
    (String::from_utf8(text).unwrap().replace("\r\n", "\n"), code)
}
