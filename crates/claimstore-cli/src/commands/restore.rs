//! `claimstore restore`: a backup, or a snapshot of a directory, becomes the store.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::json;

use crate::codes;
use crate::exit::{Exit, Failure};
use crate::store_args::StoreArgs;
use crate::{print, store};

/// Makes a store of a backup.
///
/// Or of a snapshot of a directory that nobody had open.
///
/// The copy is made beside its place, its tokens are raised above all that were given after the backup, it is
/// verified, and only then it gets its name: an interruption leaves --store as it was, and a kill beside it a directory
/// `.NAME.restoring-PID`, which may be removed.
#[derive(Debug, Args)]
#[command(after_long_help = codes::RESTORE.listed())]
pub(crate) struct Restore {
    #[command(flatten)]
    store: StoreArgs,

    /// The directory of the backup; left as it is.
    #[arg(value_name = "BACKUP")]
    from: PathBuf,

    /// One JSON object, with names that stay.
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(crate) fn run(&self) -> anyhow::Result<Exit> {
        if !store::is_store(&self.from) {
            let message = format!("there is no store at {}", self.from.display());
            return Err(Failure::new(Exit::NoInput, message).into());
        }
        refuse_occupied(&self.store.store)?;
        let locked = lock(&self.from, self.store.wait)?;
        let draft = Draft::beside(&self.store.store)?;
        copy(&self.from, &draft.path).with_context(|| format!("copying {}", self.from.display()))?;
        drop(locked);
        let (rows, life) = draft.raise()?;
        draft.name(&self.store.store)?;
        if self.json {
            return print::json(&json!({ "rows": rows, "life": life }));
        }
        print::line(&format!("{rows} rows restored to {}, in life {life}", self.store.store.display()))
    }
}

/// A directory that is not there, or empty, may be written to.
fn refuse_occupied(dir: &Path) -> anyhow::Result<()> {
    let occupied = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("looking at {}", dir.display())),
    };
    if occupied {
        let message = format!("{} is not empty", dir.display());
        return Err(Failure::new(Exit::CannotCreate, message).into());
    }
    Ok(())
}

/// The copy while it is no store yet; removed when dropped.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn beside(place: &Path) -> anyhow::Result<Draft> {
        let name =
            place.file_name().ok_or_else(|| Failure::new(Exit::Usage, "--store names no directory"))?;
        let mut draft = OsString::from(".");
        draft.push(name);
        draft.push(format!(".restoring-{}", std::process::id()));
        let path = place.with_file_name(draft);
        // Like a store's own directory: for its owner alone.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("making {}", path.display()))?;
        Ok(Draft { path })
    }

    /// Raises the life, so that no token given after the backup is given again, and checks the copy.
    fn raise(&self) -> anyhow::Result<(u64, u64)> {
        let open = || store::open_existing(&StoreArgs::at(&self.path));
        let store = open().context("opening the copy")?;
        store.after_restore().context("raising the tokens of the copy")?;
        store.close().context("closing the copy")?;
        let store = open().context("opening the copy again")?;
        let report = store.verify().context("verifying the copy")?;
        let life = store.stats().context("reading the copy")?.life;
        store.close().context("closing the copy")?;
        Ok((report.rows, life))
    }

    /// Gives the copy its name, durably. An empty directory of that name is replaced, a full one is not.
    fn name(&self, place: &Path) -> anyhow::Result<()> {
        fs::rename(&self.path, place).with_context(|| format!("naming the copy {}", place.display()))?;
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new("."))).context("syncing the directory of the store")
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Nothing is there under this name once the copy got its own.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Keeps everybody from opening the directory while it is copied: files that change meanwhile make no store. Waits for
/// whoever has it open.
fn lock(from: &Path, wait: Duration) -> anyhow::Result<Option<File>> {
    let lock = match File::open(from.join("LOCK")) {
        Ok(lock) => lock,
        // A backup that was never opened has none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("opening {}", from.display())),
    };
    let mut waited = Duration::ZERO;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if waited < wait => {
                let pause = store::RETRY.min(wait.saturating_sub(waited));
                store::pause_for(pause);
                waited += pause;
            }
            Err(Errno::WOULDBLOCK) => {
                let message = format!("{} is open elsewhere: restore a backup of it", from.display());
                return Err(Failure::new(Exit::Busy, message).into());
            }
            result => return result.map(|()| Some(lock)).context("locking the backup"),
        }
    }
}

/// Copies the files of a directory, and of those in it, durably.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        // Not followed: a store has no links inside, and what one leads to is none of its own.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            DirBuilder::new().mode(0o700).create(&target)?;
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    sync_dir(to)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
