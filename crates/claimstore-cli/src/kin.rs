//! The parent, the process group and the session of a process.
//!
//! In a PID namespace (a container) these can be outside of it: `docker exec` starts a process whose group and session
//! were made by somebody else. The kernel then says 0, which no process id can be, so these are plain numbers.

use rustix::process::Pid;

/// Numbers as this process sees them; 0: in no PID namespace that it can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kin {
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
}

impl Kin {
    /// Nothing, if there is no such process, or the system does not say.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(pid: Pid) -> Option<Kin> {
        // `getpgid` of the library that wraps it takes the answer for a process id, which is never 0.
        if !Kin::can_be_seen() {
            return None;
        }
        let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
        Kin::in_stat(&String::from_utf8_lossy(&stat))
    }

    /// Nothing, if there is no such process. Its parent cannot be asked for here, and is 0.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(pid: Pid) -> Option<Kin> {
        use rustix::process::{getpgid, getsid};
        let (group, session) = (getpgid(Some(pid)).ok()?, getsid(Some(pid)).ok()?);
        Some(Kin { parent: 0, group: group.as_raw_pid(), session: session.as_raw_pid() })
    }

    /// Whether `/proc` has the processes by the numbers that they have here. One that was mounted outside of our PID namespace
    /// has other processes by them.
    #[cfg(target_os = "linux")]
    fn can_be_seen() -> bool {
        let own = rustix::process::getpid().as_raw_pid().to_string();
        std::fs::read_link("/proc/self").is_ok_and(|seen| seen == std::path::Path::new(&own))
    }

    /// Reads a `/proc/PID/stat`. The name in it is in parentheses, and may hold some.
    #[cfg(target_os = "linux")]
    fn in_stat(stat: &str) -> Option<Kin> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let mut numbers = after_name.split_whitespace().skip(1).map_while(|number| number.parse().ok());
        Some(Kin { parent: numbers.next()?, group: numbers.next()?, session: numbers.next()? })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{getpid, getppid};

    use super::*;

    #[test]
    fn the_numbers_are_found_behind_any_name() {
        for (stat, expected) in [
            ("12 (sh) S 7 12 11 0", Some([7, 12, 11])),
            ("12 (a) S 9) (b c) R 8 1 2", Some([8, 1, 2])),
            ("12 (sh) S 0 0 0 0 -1", Some([0, 0, 0])),
            ("12 (sh) S 1 12", None),
            ("12 (sh) S 1 x 3", None),
            ("12", None),
            ("", None),
        ] {
            let expected = expected.map(|[parent, group, session]| Kin { parent, group, session });
            assert_eq!(Kin::in_stat(stat), expected, "{stat}");
        }
    }

    #[test]
    fn our_own_are_as_the_system_says() {
        let Some(own) = Kin::of(getpid()) else {
            println!("SKIPPED: there is no /proc of this PID namespace here");
            return;
        };
        assert_eq!(own.parent, getppid().map_or(0, Pid::as_raw_pid));
        assert_eq!(Kin::of(Pid::from_raw(i32::MAX).unwrap()), None);
    }
}
