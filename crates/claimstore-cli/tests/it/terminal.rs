//! A terminal of a given width, as the command sees it.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::sandbox::{Ran, code};

/// Runs a command whose standard output is a terminal of so many columns; what it wrote there, and its exit code.
pub(crate) fn run(command: Command, columns: u16) -> (String, i32) {
    let (mut child, mut terminal) = start(command, columns);
    let text = read(&mut terminal, |_| false);
    (text.replace("\r\n", "\n"), code(child.wait().unwrap()))
}

/// Runs a command whose standard input and standard error are a terminal, and types `answer` once it asks. What stood on
/// the terminal in the end, what was typed included, is its standard error.
pub(crate) fn answer(mut command: Command, answer: &str) -> Ran {
    let (mut terminal, side) = open(80);
    let child = command.stdin(side.try_clone().unwrap()).stderr(side).spawn().unwrap();
    // As below.
    drop(command);
    let question = read(&mut terminal, |text| text.ends_with("[y/N] ") || text.ends_with("to do it: "));
    terminal.write_all(answer.as_bytes()).unwrap();
    let text = question + &read(&mut terminal, |_| false);
    let output = child.wait_with_output().unwrap();
    Ran { code: code(output.status), out: output.stdout, err: text.replace("\r\n", "\n") }
}

/// Starts a command on a terminal of so many columns and 24 lines.
pub(crate) fn start(mut command: Command, columns: u16) -> (Child, File) {
    let (terminal, side) = open(columns);
    let child = command.stdout(Stdio::from(side)).spawn().unwrap();
    // The command holds the other side, and the terminal ends when nobody does.
    drop(command);
    (child, terminal)
}

/// Starts a command on a terminal that is also its standard input; the third is the command's side of the terminal,
/// which this process has to let go of before the terminal ends.
pub(crate) fn start_with_keys(mut command: Command, columns: u16) -> (Child, File, OwnedFd) {
    let (terminal, side) = open(columns);
    command.stdin(side.try_clone().unwrap()).stdout(side.try_clone().unwrap());
    let child = command.spawn().unwrap();
    drop(command);
    (child, terminal, side)
}

/// Starts a command as the leader of a session whose terminal is its standard input; its output goes to pipes.
pub(crate) fn start_session(command: &Command) -> (Child, File) {
    let (terminal, side) = open(80);
    let mut session = Command::new("setsid");
    session.arg("--ctty").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        session.env(name, value.unwrap_or_default());
    }
    session.stdin(side).stdout(Stdio::piped()).stderr(Stdio::piped());
    (session.spawn().unwrap(), terminal)
}

/// A terminal, and its other side, which is for a command.
fn open(columns: u16) -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let side = rustix::fs::open(name, flags, Mode::empty()).unwrap();
    tcsetwinsize(&side, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(terminal), side)
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
