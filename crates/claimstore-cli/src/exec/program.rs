//! The command's program: started as `execvp` would start it, and if not, in words why not.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::args::Exec;
use super::hold::Grant;
use crate::exit::{Exit, Failure};

/// Where commands are looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/bin:/bin";
const SHELL: &str = "/bin/sh";
/// Of a file so many bytes tell whether it can be a script.
const LOOK_BYTES: u64 = 256;

/// Starts the command. An error: nothing ran.
pub(super) fn start(exec: &Exec, grant: &Grant) -> Result<Child, Failure> {
    let (program, arguments) = exec.program();
    let spawn = |command: &mut Command| {
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("CLAIMSTORE_KEY", &exec.key);
        command.env("CLAIMSTORE_TOKEN", grant.token.token().to_string());
        command.env("CLAIMSTORE_ATTEMPT", grant.attempt.to_string());
        command.spawn()
    };
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let error = match spawn(&mut Command::new(program)) {
        Ok(child) => return Ok(child),
        Err(error) => error,
    };
    // A script that does not say who runs it is the shell's: `execvp` does so, and with it sh, cron, env and flock.
    if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error())
        && let Some(script) = find(program, &path).filter(|path| is_text(path))
    {
        return spawn(Command::new(SHELL).arg("--").arg(script))
            .map_err(|error| why_not(SHELL.as_ref(), &path, &error));
    }
    Err(why_not(program, &path, &error))
}

/// The file that a command's name stands for: the first that may be executed.
fn find(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    places(program, path).into_iter().find(|place| place.is_file() && access(place, Access::EXEC_OK).is_ok())
}

/// Where a command's name may lead to.
fn places(program: &OsStr, path: &OsStr) -> Vec<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.into()];
    }
    // An empty entry is the directory that we are in.
    std::env::split_paths(path)
        .map(|dir| if dir.as_os_str().is_empty() { ".".into() } else { dir })
        .map(|dir: PathBuf| dir.join(program))
        .collect()
}

/// Whether a file can be a script: no zero byte in its first line. A shell that is given a program of another machine
/// would run what it takes for words in it.
fn is_text(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LOOK_BYTES).read_to_end(&mut head));
    read.is_ok() && !head.split(|byte| *byte == b'\n').next().unwrap_or_default().contains(&0)
}

/// Says what is wrong with a command that cannot be started. Its name is no secret; its arguments may be.
fn why_not(program: &OsStr, path: &OsStr, error: &io::Error) -> Failure {
    let name = program.to_string_lossy().escape_debug().to_string();
    let there = places(program, path).into_iter().find(|place| place.exists());
    let (exit, what) = match (error.kind(), there) {
        (io::ErrorKind::NotFound, None) if program.as_bytes().contains(&b'/') => {
            (127, format!("there is no file `{name}`"))
        }
        (io::ErrorKind::NotFound, None) => {
            (127, format!("there is no command `{name}` in the directories of PATH"))
        }
        (io::ErrorKind::NotFound, Some(_)) => (
            126,
            format!(
                "`{name}` is there, but what is to run it (its first line after `#!`, or its loader) is not"
            ),
        ),
        (io::ErrorKind::PermissionDenied, Some(place)) if place.is_dir() => {
            (126, format!("`{name}` is a directory"))
        }
        (io::ErrorKind::PermissionDenied, _) => {
            (126, format!("`{name}` may not be executed; `chmod +x` makes a script a command"))
        }
        (io::ErrorKind::ArgumentListTooLong, _) => {
            (126, format!("the arguments and the environment of `{name}` are too long"))
        }
        _ if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            (126, format!("`{name}` is neither a program for this machine nor a script"))
        }
        _ => (126, format!("`{name}` cannot be run: {error}")),
    };
    Failure::new(Exit::Command(exit), what)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_name_is_looked_for_as_execvp_does() {
        let path = OsString::from("/a::/b");
        let found = |name: &str| places(name.as_ref(), &path);
        assert_eq!(found("x"), ["/a/x", "./x", "/b/x"].map(PathBuf::from));
        assert_eq!(found("./x"), ["./x"].map(PathBuf::from));
    }

    #[test]
    fn the_first_file_that_may_be_executed_is_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::env::join_paths(["one", "two", "three"].map(|name| dir.path().join(name))).unwrap();
        for (name, mode) in [("one", 0o644), ("two", 0o755), ("three", 0o755)] {
            let place = dir.path().join(name).join("x");
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(&place, "").unwrap();
            fs::set_permissions(&place, Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(find("x".as_ref(), &path), Some(dir.path().join("two/x")));
        assert_eq!(find("y".as_ref(), &path), None);
    }

    #[test]
    fn text_is_told_from_programs() {
        let dir = tempfile::tempdir().unwrap();
        for (bytes, expected) in [
            (&b""[..], true),
            (b"echo one\necho two\n", true),
            (b"echo \xC3\xA4\n\0\0", true),
            (b"\x7fELF\x02\x01\x01\0\0", false),
            (b"\xCA\xFE\xBA\xBE\0\0\0\x02\n", false),
        ] {
            let file = dir.path().join("file");
            fs::write(&file, bytes).unwrap();
            assert_eq!(is_text(&file), expected, "{bytes:?}");
        }
        assert!(!is_text(&dir.path().join("none")));
    }
}
