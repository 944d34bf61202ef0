//! The process at the other end of a connection.

use rustix::process::geteuid;
use std::os::unix::net::UnixStream;

/// A process, as reported by the operating system; a client cannot forge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) user: u32,
    pub(crate) process: i32,
}

impl Peer {
    /// The connected process; `None` on systems with another interface for it. There only the modes of socket and
    /// directory keep other users out.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(stream: &UnixStream) -> Option<Peer> {
        let found = rustix::net::sockopt::socket_peercred(stream).ok()?;
        Some(Peer { user: found.uid.as_raw(), process: found.pid.as_raw_nonzero().get() })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(_stream: &UnixStream) -> Option<Peer> {
        None
    }

    /// Whether this user may connect: the user that this process runs as, and root.
    pub(crate) fn is_let_in(self) -> bool {
        is_let_in(self.user, geteuid().as_raw())
    }
}

fn is_let_in(user: u32, owner: u32) -> bool {
    user == owner || user == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_and_root_are_let_in_and_nobody_else_is() {
        for (user, owner, expected) in
            [(1_000, 1_000, true), (0, 1_000, true), (0, 0, true), (1_001, 1_000, false), (65_534, 0, false)]
        {
            assert_eq!(is_let_in(user, owner), expected, "{user} of {owner}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_other_end_is_known() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.process, std::process::id().cast_signed());
        assert!(peer.is_let_in());
    }
}
