//! The data directories at a start: made if missing, locked against a second server, refused when they are another program's.

use super::direct;
use super::files::Roots;
use crate::base::fatal::{Fatal, FatalError};
use crate::doctor::called::Direct;
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
pub(super) const ZOOKEEPER_DATA: &str = "version-2";

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

/// Refuses a filesystem that the log can't be written on. tmpfs is written through the page cache where it has no O_DIRECT.
///
/// # Errors
/// [`Fatal::Directory`] with the place and the remedy.
pub(super) fn require_direct_io(root: &Path) -> Result<(), FatalError> {
    match direct::probe(root) {
        Direct::Missing { in_memory: true } => {
            tracing::warn!("the filesystem of {} lies in memory: nothing in it outlives a restart of the host", root.display());
            Ok(())
        }
        Direct::Missing { in_memory: false } => {
            let text = format!("dataLogDir {}: its filesystem has no O_DIRECT; name a directory on a local ext4 or xfs", root.display());
            Err(FatalError::new(Fatal::Directory, text))
        }
        Direct::Works | Direct::Untried(_) => Ok(()),
    }
}
