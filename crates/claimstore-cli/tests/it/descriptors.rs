//! Standard descriptors that are closed, or that somebody made non-blocking.

use std::fs::File;
use std::io::{PipeWriter, Read};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};

use crate::sandbox::{Ran, Sandbox, code, run};

const INPUT: &[u8] = b"id,v\n1,a\n2,b\n";

/// The command as a shell starts it, with this behind it.
fn in_shell(sandbox: &Sandbox, words: &str, redirection: &str) -> Ran {
    let inner = sandbox.command(words);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" \"$@\" {redirection}")]);
    shell.arg(inner.get_program()).args(inner.get_args());
    run(shell.stdin(sandbox.file(INPUT)))
}

#[test]
fn records_are_not_written_to_a_closed_output() {
    let sandbox = Sandbox::new();
    for redirection in [">&-", "1<>/dev/null"] {
        let ran = in_shell(&sandbox, "dedupe --key id", redirection);
        assert_eq!((ran.code, sandbox.store().exists()), (64, false), "{redirection}: {}", ran.err);
        assert!(
            ran.err.contains("standard output is closed") && ran.err.contains("> /dev/null"),
            "{}",
            ran.err
        );
    }
    // Whoever wants to discard them says so.
    let ran = in_shell(&sandbox, "dedupe --key id", "> /dev/null");
    assert_eq!((ran.code, ran.err.as_str()), (0, "2 read, 2 passed, 0 duplicates, 0 refused\n"));
    let ran = in_shell(&sandbox, "export", ">&-");
    assert_eq!(ran.code, 64, "{}", ran.err);
    assert_eq!(in_shell(&sandbox, "export", "> /dev/null").code, 0);
}

#[test]
fn a_closed_input_is_no_empty_one() {
    // An export has a last line, so that an empty one is known to be cut.
    for (words, of_nothing) in
        [("dedupe --key id", 0), ("dedupe --format ndjson --whole-record", 0), ("import", 65)]
    {
        let sandbox = Sandbox::new();
        for redirection in ["<&-", "<>/dev/null"] {
            let ran = in_shell(&sandbox, words, redirection);
            assert_eq!((ran.code, sandbox.store().exists()), (64, false), "{words}: {}", ran.err);
            assert!(ran.err.contains("standard input is closed"), "{}", ran.err);
        }
        assert_eq!(in_shell(&sandbox, words, "< /dev/null").code, of_nothing, "{words}");
    }
}

#[test]
fn a_closed_standard_error_changes_nothing_else() {
    let sandbox = Sandbox::new();
    let ran = in_shell(&sandbox, "dedupe --key id", "2>&-");
    assert_eq!((ran.code, ran.out.as_slice()), (0, INPUT));
}

/// The library's standard output passes over a descriptor that is not open for writing.
#[test]
fn an_output_that_cannot_be_written_to_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.fill();
    for words in ["export", "list", "list --json", "stats", "verify", "man", "completions bash"] {
        let store = !words.starts_with("man") && !words.starts_with("completions");
        let (words, redirections) = (words.to_owned(), ["1</dev/null", "> /dev/full"]);
        for redirection in redirections {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("exec \"$0\" \"$@\" {redirection}")]);
            shell.arg(env!("CARGO_BIN_EXE_claimstore")).args(words.split(' '));
            if store {
                shell.arg("--store").arg(sandbox.store());
            }
            let ran = run(&mut shell);
            assert_eq!(ran.code, 74, "{words} {redirection}: {}", ran.err);
        }
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" --help > /dev/full", env!("CARGO_BIN_EXE_claimstore")]);
    assert_eq!(run(&mut shell).code, 74);
}

/// Runs it with a pipe that was made non-blocking, and reads only once that is full.
fn through_non_blocking_pipe(command: &mut Command) -> Ran {
    let (mut reader, writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    // Of the smallest pipe: one page.
    #[cfg(target_os = "linux")]
    rustix::pipe::fcntl_setpipe_size(&writer, 4_096).unwrap();
    let ours = writer.try_clone().unwrap();
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    // The command holds our end of the pipe until it is made anew.
    command.stdout(Stdio::null());
    while has_room(&ours) && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    drop(ours);
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    Ran { code: code(child.wait().unwrap()), out, err }
}

fn has_room(writer: &PipeWriter) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(writer, PollFlags::OUT)], Some(&now)).unwrap() > 0
}

#[test]
fn every_byte_arrives_through_a_non_blocking_pipe() {
    let sandbox = Sandbox::new();
    let rows: Vec<_> = (0..3_000).map(|row| format!("{row},{}\n", "x".repeat(row % 90))).collect();
    let input = format!("id,v\n{}", rows.concat());
    let mut dedupe = sandbox.command("dedupe --key id");
    let ran = through_non_blocking_pipe(dedupe.stdin(sandbox.file(input.as_bytes())));
    assert!((ran.code, ran.out.as_slice()) == (0, input.as_bytes()), "{}", ran.err);
    for words in ["export", "list --limit 3000 --json", "get 0", "stuck", "help", "help exec"] {
        let store = !words.starts_with("help");
        let command = || if store { sandbox.command(words) } else { help(words) };
        let (plain, piped) = (run(&mut command()), through_non_blocking_pipe(&mut command()));
        assert_eq!(piped.code, plain.code, "{words}: {}", piped.err);
        assert!(piped.out == plain.out, "{words}: {} of {} bytes", piped.out.len(), plain.out.len());
    }
}

fn help(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimstore"));
    command.args(words.split(' ')).stdin(Stdio::null());
    command
}

#[test]
fn a_non_blocking_input_is_waited_for() {
    let sandbox = Sandbox::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
    let mut child = sandbox.command("dedupe --key id").stdin(reader).spawn().unwrap();
    std::io::Write::write_all(&mut writer, INPUT).unwrap();
    let mut out = vec![0; INPUT.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut out).unwrap();
    drop(writer);
    assert_eq!((code(child.wait().unwrap()), out.as_slice()), (0, INPUT));
}

#[test]
fn the_null_device_is_no_file_of_records() {
    let sandbox = Sandbox::new();
    let ran = run(sandbox.command("dedupe --key id").stdin(File::open("/dev/null").unwrap()));
    assert_eq!((ran.code, ran.err.as_str()), (0, "0 read, 0 passed, 0 duplicates, 0 refused\n"));
}
