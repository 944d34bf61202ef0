//! A terminal of a given width, as the command sees it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Runs a command whose standard output is a terminal of so many columns; what it wrote there, and its exit code.
pub(crate) fn run(command: Command, columns: u16) -> (String, i32) {
    let (mut child, mut terminal) = start(command, columns);
    let text = read(&mut terminal, |_| false);
    let code = crate::sandbox::code(child.wait().unwrap());
    (text.replace("\r\n", "\n"), code)
}

/// Starts a command on a terminal of so many columns and 24 lines.
pub(crate) fn start(mut command: Command, columns: u16) -> (Child, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let side = rustix::fs::open(name, flags, Mode::empty()).unwrap();
    tcsetwinsize(&side, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let child = command.stdout(Stdio::from(side)).spawn().unwrap();
    // The command holds the other side, and the terminal ends when nobody does.
    drop(command);
    (child, File::from(terminal))
}

/// What comes to a terminal until there is enough, or nobody writes there any more.
pub(crate) fn read(terminal: &mut File, enough: impl Fn(&str) -> bool) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        match terminal.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What Linux says for the end.
            Err(_) => break,
        }
        if enough(&String::from_utf8_lossy(&text)) {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
