//! The data directories at a start: made if missing, locked against a second server, refused when they are another program's.

use super::direct;
use super::files::Roots;
use crate::base::fatal::{Fatal, FatalError};
use crate::doctor::called::Direct;
use crate::log::segment::LOG_DIR;
use crate::snapshot;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Holds the directories for this process; the locks go with it, also when the process is killed.
#[derive(Debug)]
pub(super) struct Locks(#[allow(dead_code, reason = "held for their lock")] Vec<File>);

/// Name of the lock file.
const LOCK: &str = "ringkeeper.lock";
/// Says below `dataDir` that the log lies in a directory of its own, and in which.
const LOG_PLACE: &str = "ringkeeper.log-dir";
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
    Ok(Locks(locks))
}

/// Refuses a log directory without a log where this server had one: such a start would be a first one, and serve nothing of what
/// clients were promised.
///
/// # Errors
/// [`Fatal::Directory`] with both places and the remedy.
pub(super) fn refuse_lost_log(roots: &Roots) -> Result<(), FatalError> {
    if holds_log(&roots.log) {
        return Ok(());
    }
    let (data, log) = (roots.data.display(), roots.log.display());
    if holds_log(&roots.data) {
        let text = format!(
            "dataLogDir {log} holds no log, but {data}/{LOG_DIR} does: move that directory to {log}/{LOG_DIR}, or remove dataLogDir from the \
             configuration. Nothing was touched"
        );
        return Err(FatalError::new(Fatal::Directory, text));
    }
    // With a snapshot recovery itself finds that the log is lost; a member of an ensemble is then repaired by the others.
    let marker = roots.data.join(LOG_PLACE);
    if !marker.exists() || has_entry(&roots.data.join(snapshot::DIR), |name| snapshot::zxid_of(name).is_some()) {
        return Ok(());
    }
    let before = fs::read_to_string(&marker).unwrap_or_default();
    let text = format!(
        "dataLogDir {log} holds no log, though this server had one (in {}, says {}): is it mounted, and is dataLogDir right? If that log is \
         lost for good, remove {} to start without it. Nothing was touched",
        before.trim(),
        marker.display(),
        marker.display()
    );
    Err(FatalError::new(Fatal::Directory, text))
}

/// Leaves below `dataDir` the word where the log lies, once there is one, if that is another directory.
pub(super) fn remember_log(roots: &Roots) {
    let marker = roots.data.join(LOG_PLACE);
    let place = format!("{}\n", roots.log.display());
    let done = if roots.data == roots.log {
        match fs::remove_file(&marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    } else if fs::read_to_string(&marker).is_ok_and(|said| said == place) {
        Ok(())
    } else {
        fs::write(&marker, place).and_then(|()| File::open(&marker)?.sync_all()).and_then(|()| File::open(&roots.data)?.sync_all())
    };
    if let Err(error) = done {
        tracing::warn!("{} can't be kept: {error}; a start without the log's filesystem may not be noticed", marker.display());
    }
}

fn holds_log(root: &Path) -> bool {
    has_entry(&root.join(LOG_DIR), |name| name.starts_with("epoch-") && name.ends_with(".meta"))
}

fn has_entry(dir: &Path, wanted: impl Fn(&str) -> bool) -> bool {
    // One that can't be listed is met by recovery, with a message of its own.
    fs::read_dir(dir).is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(&wanted)))
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
    let Some(place) = zookeeper_data(root) else { return Ok(()) };
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

/// Data of Apache ZooKeeper in a directory: below `version-2`, or right there, since ZooKeeper's own `conf` shows its directories with that name.
pub(super) fn zookeeper_data(root: &Path) -> Option<PathBuf> {
    let below = root.join(ZOOKEEPER_DATA);
    if below.exists() {
        return Some(below);
    }
    let entries = fs::read_dir(root).ok()?;
    let found = entries.flatten().find(|entry| entry.file_name().to_str().is_some_and(is_zookeeper_file))?;
    Some(found.path())
}

/// `log.` or `snapshot.` and a zxid; a snapshot may be compressed.
fn is_zookeeper_file(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("log.").or_else(|| name.strip_prefix("snapshot.")) else { return false };
    let zxid = rest.trim_end_matches(".gz").trim_end_matches(".snappy");
    !zxid.is_empty() && zxid.len() <= 16 && zxid.bytes().all(|b| b.is_ascii_hexdigit())
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

/// Refuses a filesystem that the log can't be written on; tmpfs is written through the page cache where it has no O_DIRECT. Returns
/// whether what is written outlives a restart of the host, as far as the filesystems say; each that lies in memory is named in a warning.
///
/// # Errors
/// [`Fatal::Directory`] with the place and the remedy.
pub(super) fn require_durable(roots: &Roots) -> Result<bool, FatalError> {
    if direct::probe(&roots.log) == (Direct::Missing { in_memory: false }) {
        let text = format!("dataLogDir {}: its filesystem has no O_DIRECT; name a directory on a local ext4 or xfs", roots.log.display());
        return Err(FatalError::new(Fatal::Directory, text));
    }
    let mut durable = true;
    for (key, root) in [("dataDir", &roots.data), ("dataLogDir", &roots.log)] {
        if !direct::in_memory(root) || (key == "dataLogDir" && roots.data == roots.log) {
            continue;
        }
        durable = false;
        tracing::warn!(
            "{key} {}: its filesystem lies in memory (tmpfs, ramfs), so nothing in it outlives a restart of the host; for anything but a trial \
             name a directory on a local ext4 or xfs",
            root.display()
        );
    }
    Ok(durable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(home: &Path) -> Roots {
        let roots = Roots { data: home.join("data"), log: home.join("log-dir") };
        prepare(&roots, true).unwrap();
        roots
    }

    fn put_log(root: &Path) {
        fs::create_dir_all(root.join("log")).unwrap();
        fs::write(root.join("log/epoch-1.meta"), "x").unwrap();
    }

    fn refusal(roots: &Roots) -> String {
        let error = refuse_lost_log(roots).unwrap_err();
        assert_eq!(error.kind, Fatal::Directory);
        error.message
    }

    #[test]
    fn zookeepers_files_are_known_below_version_2_and_beside_ours() {
        for name in ["version-2", "log.100000001", "snapshot.0", "snapshot.3f.gz", "snapshot.3f.snappy"] {
            let home = tempfile::tempdir().unwrap();
            fs::write(home.path().join(name), "").unwrap();
            let roots = Roots { data: home.path().to_owned(), log: home.path().to_owned() };
            let error = prepare(&roots, true).unwrap_err();
            assert_eq!(error.kind, Fatal::ForeignFormat);
            assert!(error.message.contains(&format!("/{name})")), "{error}");
        }
        for ours in ["log", "log.txt", "snapshots", "snapshot.", "log.1.bak"] {
            assert!(!is_zookeeper_file(ours), "{ours}");
        }
    }

    #[test]
    fn a_directory_in_memory_is_not_called_durable() {
        let on_disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let disk = on_disk.path().to_owned();
        let durable = |data: &Path, log: &Path| require_durable(&Roots { data: data.to_owned(), log: log.to_owned() });
        if direct::in_memory(&disk) || direct::probe(&disk) != Direct::Works {
            return; // Nothing to compare with.
        }
        assert_eq!(durable(&disk, &disk).ok(), Some(true));
        let Ok(in_memory) = tempfile::tempdir_in("/dev/shm") else { return };
        assert_eq!(durable(&disk, in_memory.path()).ok(), Some(false));
        assert_eq!(durable(in_memory.path(), &disk).ok(), Some(false));
    }

    #[test]
    fn a_log_that_lies_where_it_was_before_refuses_an_empty_start() {
        let home = tempfile::tempdir().unwrap();
        let roots = roots(home.path());
        assert!(refuse_lost_log(&roots).is_ok(), "a first start");
        put_log(&roots.data);
        let said = refusal(&roots);
        assert!(said.contains("log-dir holds no log") && said.contains("move that directory to"), "{said}");
        fs::rename(roots.data.join("log"), roots.log.join("log")).unwrap();
        assert!(refuse_lost_log(&roots).is_ok(), "it was moved");
    }

    #[test]
    fn a_log_directory_that_is_not_mounted_refuses_an_empty_start() {
        let home = tempfile::tempdir().unwrap();
        let roots = roots(home.path());
        put_log(&roots.log);
        remember_log(&roots);
        remember_log(&roots);
        fs::remove_dir_all(roots.log.join("log")).unwrap();
        let said = refusal(&roots);
        assert!(said.contains("is it mounted") && said.contains(&roots.log.display().to_string()), "{said}");
        // Without dataLogDir, too.
        assert!(refusal(&Roots { log: roots.data.clone(), ..roots.clone() }).contains("is dataLogDir right"));
        fs::create_dir(roots.data.join("snapshots")).unwrap();
        fs::write(roots.data.join("snapshots").join("0000000000000009.snap"), "x").unwrap();
        assert!(refuse_lost_log(&roots).is_ok(), "with a snapshot recovery decides");
        // Moved into dataDir, the log is remembered no more.
        let one = Roots { log: roots.data.clone(), ..roots };
        remember_log(&one);
        assert!(!one.data.join(LOG_PLACE).exists());
    }
}
