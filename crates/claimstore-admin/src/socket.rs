//! The socket's file: made so that nobody else can ever connect, found at paths of any length.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The name of the socket in the store's directory.
pub const SOCKET: &str = "admin.sock";
/// Where it is made, and its name there.
const NEST: &str = "admin.new";
const EGG: &str = "socket";
/// Longest path that fits the address of a socket, with a little to spare on every system.
const MAX_PATH_BYTES: usize = 100;

/// A socket in its place. Dropping it takes the file away, unless another has taken its place.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Makes the socket in `dir`, whose owner we are. A dead one in its place is replaced; `AddrInUse` for one that
/// answers.
///
/// A socket is born with whatever the process's mask leaves to others. So it is born in a directory that is the
/// owner's alone, gets its own permissions there, and only then its place.
pub(crate) fn bind(dir: &Path) -> io::Result<(UnixListener, Place)> {
    let path = dir.join(SOCKET);
    match fs::symlink_metadata(&path) {
        Ok(found) if !found.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) if connect(dir).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        _ => {}
    }
    let nest = dir.join(NEST);
    clear(&nest)?;
    DirBuilder::new().mode(0o700).create(&nest)?;
    let made = (|| {
        let egg = nest.join(EGG);
        let listener = reach(&nest, EGG, |path| UnixListener::bind(path))?;
        fs::set_permissions(&egg, Permissions::from_mode(0o600))?;
        let found = fs::symlink_metadata(&egg)?;
        fs::rename(&egg, &path)?;
        Ok((listener, Place { path, device: found.dev(), inode: found.ino() }))
    })();
    clear(&nest)?;
    made
}

/// Connects to the socket in `dir`.
pub(crate) fn connect(dir: &Path) -> io::Result<UnixStream> {
    reach(dir, SOCKET, |path| UnixStream::connect(path))
}

/// What a crash may have left of a birth.
fn clear(nest: &Path) -> io::Result<()> {
    for removed in [fs::remove_file(nest.join(EGG)), fs::remove_dir(nest)] {
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Calls `call` with a path of `name` in `dir` that fits the address of a socket.
fn reach<T>(dir: &Path, name: &str, call: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = dir.join(name);
    if path.as_os_str().len() <= MAX_PATH_BYTES || !cfg!(target_os = "linux") {
        return call(&path);
    }
    let dir = File::open(dir)?;
    call(&PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd())))
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_ours = |found: &fs::Metadata| found.dev() == self.device && found.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(|found| is_ours(&found)) {
            // A file that stays is replaced by the next that serves.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_is_its_owners_alone_and_goes_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (_listener, place) = bind(dir.path()).unwrap();
        assert_eq!(mode(&dir.path().join(SOCKET)), 0o600);
        assert!(!dir.path().join(NEST).exists());
        assert_eq!(bind(dir.path()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(place);
        assert!(!dir.path().join(SOCKET).exists());
    }

    #[test]
    fn what_a_crash_left_is_replaced_and_what_is_no_socket_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (listener, place) = bind(dir.path()).unwrap();
        drop(listener);
        std::mem::forget(place);
        DirBuilder::new().create(dir.path().join(NEST)).unwrap();
        fs::write(dir.path().join(NEST).join(EGG), b"").unwrap();
        assert!(connect(dir.path()).is_err());
        let (listener, first) = bind(dir.path()).unwrap();
        connect(dir.path()).unwrap();
        drop(listener);
        let (_listener, second) = bind(dir.path()).unwrap();
        drop(first);
        assert!(dir.path().join(SOCKET).exists(), "it is another's by now");
        drop(second);
        fs::write(dir.path().join(SOCKET), b"a file").unwrap();
        assert_eq!(bind(dir.path()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join(SOCKET)).unwrap(), b"a file");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_path_may_be_long() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        let (_listener, _place) = bind(&deep).unwrap();
        connect(&deep).unwrap();
        assert_eq!(mode(&deep.join(SOCKET)), 0o600);
    }
}
