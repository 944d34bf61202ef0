//! Who owns a locked file: what an owner writes into it, and what others may conclude from it.
//!
//! An owner writes its *signature* into `LOCK` after it took the lock, and clears it before it gives the lock up. Whoever
//! finds the file locked reads the signature. The number in it is told only if it surely is the owner's:
//!
//! - An owner that closed left nothing. One that was killed left its signature, and then there is no process with this
//!   number, or one that began at another time; a zombie does not count, as the kernel released its lock.
//! - After a restart of the machine, or in another PID namespace, the number means nothing: boot and namespace are part
//!   of the signature.
//! - The next owner may have the lock and not have signed yet. The signature that it finds is then of one of the above.
//!   Where an owner could not clear its signature because the file system failed, the kernel's list of locks is the
//!   second opinion.
//! - A signature that is being written while it is read has the wrong checksum.
//!
//! If only children of a killed owner are left, they have its lock, and nobody is named.

use crc32fast::hash as crc32;
use std::fmt::Write as _;

/// Bytes of a signature in the file. Always the same, so that a shorter one leaves nothing of a longer one.
pub(super) const SIGNATURE_BYTES: usize = 128;

/// A process of this machine, so that another one with the same number is told from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub id: u32,
    /// When it began, in clock ticks since the machine started.
    pub began: u64,
    /// The PID namespace in which it has this number.
    pub namespace: u64,
    /// The boot of the machine.
    pub boot: u128,
}

impl Running {
    /// A line of text, so that an operator can read it too, and its checksum.
    pub(super) fn signature(&self) -> [u8; SIGNATURE_BYTES] {
        let Running { id, began, namespace, boot } = self;
        let mut text = format!("process {id} began {began} namespace {namespace} boot {boot:032x} ");
        let sum = crc32(text.as_bytes());
        // Writing to a `String` does not fail.
        let _ = write!(text, "{sum:08x}");
        let mut signature = [b' '; SIGNATURE_BYTES];
        for (into, byte) in signature.iter_mut().zip(text.bytes()) {
            *into = byte;
        }
        if let Some(last) = signature.last_mut() {
            *last = b'\n';
        }
        signature
    }

    /// `None` unless the bytes are a whole signature.
    pub(super) fn signed(bytes: &[u8]) -> Option<Running> {
        let text = std::str::from_utf8(bytes).ok()?.trim_end();
        let (covered, sum) = text.split_at_checked(text.len().checked_sub(8)?)?;
        if u32::from_str_radix(sum, 16).ok()? != crc32(covered.as_bytes()) {
            return None;
        }
        let mut words = covered.split_ascii_whitespace();
        let mut after = |name: &str| (words.next()? == name).then(|| words.next())?;
        Some(Running {
            id: after("process")?.parse().ok()?,
            began: after("began")?.parse().ok()?,
            namespace: after("namespace")?.parse().ok()?,
            boot: u128::from_str_radix(after("boot")?, 16).ok()?,
        })
    }
}

/// The state and the beginning of a process, by the line in its `/proc/PID/stat`. `None` for a process that has ended.
pub(super) fn began(stat: &str) -> Option<u64> {
    // The name of the program is in brackets, and may have brackets and spaces.
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" | "x" => None,
        // Field 22 of the line; the state is field 3.
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// Whether the kernel's list of locks (`/proc/locks`) has locks of this inode, and none of this process. Devices are not
/// compared: some file systems show another one here than to `stat`.
pub(super) fn is_denied(locks: &str, inode: u64, process: u32) -> bool {
    let owner = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        if fields.nth(1)? != "FLOCK" {
            return None;
        }
        let owner: i64 = fields.nth(2)?.parse().ok()?;
        let at = fields.next()?.rsplit(':').next()?;
        (at.parse() == Ok(inode)).then_some(owner)
    };
    let mut owners = locks.lines().filter_map(owner).peekable();
    owners.peek().is_some() && !owners.any(|owner| owner == i64::from(process))
}

#[cfg(test)]
mod tests {
    use super::{Running, began, is_denied};

    const OWNER: Running =
        Running { id: 4_194_303, began: u64::MAX, namespace: 4_026_531_836, boot: 1 << 127 };

    #[test]
    fn a_signature_round_trips_and_no_flipped_byte_names_another() {
        for owner in [OWNER, Running { id: 1, began: 0, namespace: 0, boot: 0 }] {
            let signature = owner.signature();
            assert_eq!(signature.last(), Some(&b'\n'), "it has room");
            assert_eq!(Running::signed(&signature), Some(owner));
            for at in 0..signature.len() {
                for flip in [0x01, 0x10, 0x80] {
                    let mut hurt = signature;
                    hurt[at] ^= flip;
                    let read = Running::signed(&hurt);
                    assert!(read.is_none_or(|read| read == owner), "byte {at}");
                }
            }
            for len in 0..40 {
                assert_eq!(Running::signed(&signature[..len]), None);
            }
        }
        assert_eq!(Running::signed(b""), None);
        assert_eq!(Running::signed(&[0; 128]), None);
    }

    #[test]
    fn a_process_is_known_by_when_it_began_and_a_zombie_by_nothing() {
        let stat = |state: &str| {
            format!("71 (a ) b (x) {state} 1 71 71 0 -1 4194560 106 0 0 0 0 0 0 0 20 0 1 0 3319 1 2 3")
        };
        assert_eq!(began(&stat("S")), Some(3319));
        assert_eq!(began(&stat("Z")), None);
        assert_eq!(began(""), None);
        assert_eq!(began("71 (x) S 1"), None);
    }

    #[test]
    fn the_kernels_list_denies_only_what_it_knows() {
        let locks = "1: POSIX  ADVISORY  WRITE 9 08:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 41 00:2f:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 42 00:2f:78 0 EOF\n";
        assert!(!is_denied(locks, 77, 41));
        assert!(is_denied(locks, 77, 9), "the lock is another's");
        assert!(!is_denied(locks, 76, 9), "not in the list: it says nothing");
        assert!(!is_denied(locks, 78, 9), "one that waits has no lock");
        assert!(!is_denied("", 77, 9));
    }
}
