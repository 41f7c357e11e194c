//! The data directories at a start: made if missing, locked against a second server, refused when they are another program's.

use super::files::Roots;
use crate::base::fatal::{Fatal, FatalError};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Holds the directories for this process; the locks go with it, also when the process is killed.
#[derive(Debug)]
pub(super) struct Locks(#[allow(dead_code, reason = "held for their lock")] Vec<File>);

/// Name of the lock file.
const LOCK: &str = "ringkeeper.lock";
/// Where ZooKeeper keeps its data below its directories.
const ZOOKEEPER_DATA: &str = "version-2";

/// Prepares both directories.
///
/// # Errors
/// [`Fatal::Directory`], [`Fatal::ForeignFormat`] or [`Fatal::Locked`], each with the place and the remedy.
pub(super) fn prepare(roots: &Roots, autocreate: bool) -> Result<Locks, FatalError> {
    let mut locks = Vec::new();
    for (key, root) in [("dataDir", &roots.data), ("dataLogDir", &roots.log)] {
        make(key, root, autocreate)?;
        refuse_zookeeper(key, root)?;
        if key == "dataDir" || roots.data != roots.log {
            locks.push(lock(key, root)?);
        }
    }
    warn_without_direct_io(&roots.log);
    Ok(Locks(locks))
}

fn make(key: &str, root: &Path, autocreate: bool) -> Result<(), FatalError> {
    let refuse = |what: String| FatalError::new(Fatal::Directory, what);
    if !root.exists() {
        if !autocreate {
            let text = format!("{key} {} is missing and datadir.autocreate is false: make it, or allow it to be made", root.display());
            return Err(refuse(text));
        }
        fs::create_dir_all(root).map_err(|e| refuse(format!("{key} {} is missing and can't be made: {e}", root.display())))?;
    }
    if !root.is_dir() {
        return Err(refuse(format!("{key} {} is not a directory: name one in the configuration", root.display())));
    }
    Ok(())
}

fn refuse_zookeeper(key: &str, root: &Path) -> Result<(), FatalError> {
    let place = root.join(ZOOKEEPER_DATA);
    if !place.exists() {
        return Ok(());
    }
    Err(FatalError::new(
        Fatal::ForeignFormat,
        format!(
            "{key} {} holds data of Apache ZooKeeper ({}). Importing it isn't built yet, and nothing in it was touched: give this server \
             a {key} of its own",
            root.display(),
            place.display()
        ),
    ))
}

fn lock(key: &str, root: &Path) -> Result<File, FatalError> {
    let place = root.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).open(&place).map_err(|error| {
        let remedy = if error.kind() == io::ErrorKind::PermissionDenied {
            "give the server's user write permission on it"
        } else {
            "see that the filesystem is mounted writable and has room"
        };
        FatalError::new(Fatal::Directory, format!("{key} {} can't be written: {error}; {remedy}", root.display()))
    })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FatalError::new(
            Fatal::Locked,
            format!(
                "{key} {} is in use by another server (its lock is {}): stop that one (`fuser {}` names it), or give this one a directory of \
                 its own",
                root.display(),
                place.display(),
                place.display()
            ),
        )),
        Err(error) => Err(FatalError::new(Fatal::Directory, format!("locking {} fails: {error}", place.display()))),
    }
}

/// Names a filesystem on which the log's writes go through the page cache.
fn warn_without_direct_io(root: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    let probe = root.join("ringkeeper.probe");
    let opened = OpenOptions::new().create(true).truncate(false).write(true).custom_flags(libc::O_DIRECT).open(&probe);
    let _ = fs::remove_file(&probe);
    if let Err(error) = opened
        && error.raw_os_error() == Some(libc::EINVAL)
    {
        let kind = rustix::fs::statfs(root).map_or_else(|_| "unknown".to_owned(), |s| format!("{:#x}", s.f_type));
        tracing::warn!(
            "the filesystem of {} (type {kind}) has no O_DIRECT: writes go through the page cache, and are as durable as it makes O_DSYNC",
            root.display()
        );
    }
}
