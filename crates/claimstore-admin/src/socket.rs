//! The socket's file: created so that no other user can ever connect, and reachable at paths of any length.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The name of the socket in the store's directory.
pub const SOCKET: &str = "admin.sock";
/// The directory in which it is created, and its name there.
const NEST: &str = "admin.new";
const EGG: &str = "socket";
/// Longest path that fits the address of a socket, with a little to spare on every system.
const MAX_PATH_BYTES: usize = 100;

/// A socket in its final place. Dropping this removes the file, unless it was replaced by another one.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Creates the socket in `dir`, whose owner we are. A dead socket there is replaced; `AddrInUse` if a service listens
/// on it.
///
/// A new socket has the permissions that the process's umask allows, and we cannot change the umask: it belongs to
/// all threads of the program. So the socket is created in a directory with access for the owner only, gets its
/// permissions there, and is then moved to its place: no other user can reach it at any moment.
pub(crate) fn bind(dir: &Path) -> io::Result<(UnixListener, Place)> {
    bind_watched(dir, |_| {})
}

/// The same; `seen` is called with the name of each step when it is done.
fn bind_watched(dir: &Path, seen: impl Fn(&str)) -> io::Result<(UnixListener, Place)> {
    let path = dir.join(SOCKET);
    match fs::symlink_metadata(&path) {
        Ok(found) if !found.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) if connect(dir).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        _ => {}
    }
    let nest = dir.join(NEST);
    clear(&nest)?;
    DirBuilder::new().mode(0o700).create(&nest)?;
    seen("nest");
    let made = (|| {
        let egg = nest.join(EGG);
        let listener = reach(&nest, EGG, |path| UnixListener::bind(path))?;
        seen("born");
        fs::set_permissions(&egg, Permissions::from_mode(0o600))?;
        seen("restricted");
        let found = fs::symlink_metadata(&egg)?;
        fs::rename(&egg, &path)?;
        seen("placed");
        Ok((listener, Place { path, device: found.dev(), inode: found.ino() }))
    })();
    clear(&nest)?;
    made
}

/// Connects to the socket in `dir`.
pub(crate) fn connect(dir: &Path) -> io::Result<UnixStream> {
    reach(dir, SOCKET, |path| UnixStream::connect(path))
}

/// Removes the leftovers of a creation that a crash interrupted.
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
            // If the file stays, the next service replaces it.
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

    /// Sockets below `dir` to which another user could connect: each directory on the way can be entered, and the
    /// socket can be written.
    fn open_to_others(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() && mode(&path) & 0o011 != 0 {
                found.extend(open_to_others(&path));
            } else if kind.is_socket() && mode(&path) & 0o022 != 0 {
                found.push(path);
            }
        }
        found
    }

    /// The umask of this process removes no permission, and every user may enter the store's directory.
    #[test]
    fn at_no_moment_of_its_making_can_anybody_else_connect() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let mask = rustix::process::umask(rustix::fs::Mode::empty());
        let steps = std::cell::RefCell::new(Vec::new());
        let made = bind_watched(dir.path(), |step| {
            steps.borrow_mut().push(step.to_owned());
            assert_eq!(open_to_others(dir.path()), Vec::<PathBuf>::new(), "{step}");
            if step == "born" {
                assert_ne!(mode(&dir.path().join(NEST).join(EGG)) & 0o022, 0, "the control: it is born open");
            }
        });
        rustix::process::umask(mask);
        let (_listener, _place) = made.unwrap();
        assert_eq!(steps.into_inner(), ["nest", "born", "restricted", "placed"]);
        assert_eq!(mode(&dir.path().join(SOCKET)), 0o600);
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
