//! Whether any server is taking a snapshot, by its files: looked at every few milliseconds from a thread of its own.

use crate::Failure;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often.
const EVERY: Duration = Duration::from_millis(10);
/// A snapshot file that changed so recently is being written.
const FRESH: Duration = Duration::from_millis(100);

/// A thread that looks, until it is ended.
pub struct Looking {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Looking {
    /// Sets `flag` while a snapshot is being taken in any of `dirs`.
    pub fn at(dirs: Vec<PathBuf>, flag: Arc<AtomicBool>) -> Looking {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                flag.store(dirs.iter().any(|dir| is_being_taken(dir)), Ordering::Relaxed);
                std::thread::sleep(EVERY);
            }
        });
        Looking { over, thread }
    }

    /// Ends it.
    pub fn end(self) -> Result<(), Failure> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the thread that looks for snapshots panicked".to_owned())
    }
}

/// Ringkeeper gives a snapshot its name when it is whole; ZooKeeper writes under the last name at once.
fn is_being_taken(data: &Path) -> bool {
    let entries = ["snapshots", "version-2"].into_iter().filter_map(|dir| fs::read_dir(data.join(dir)).ok()).flatten().flatten();
    entries.into_iter().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_fresh = || entry.metadata().and_then(|m| m.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age < FRESH));
        name.ends_with(".part") || name.starts_with("snapshot.") && is_fresh()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_while_it_is_written() {
        let data = std::env::temp_dir().join(format!("ringkeeper-looking-{}", std::process::id()));
        assert!(!is_being_taken(&data), "nothing there");
        fs::create_dir_all(data.join("snapshots")).expect("a directory");
        fs::write(data.join("snapshots/0000000000000001.snap"), "").expect("a file");
        assert!(!is_being_taken(&data), "a whole one");
        fs::write(data.join("snapshots/0000000000000002.part"), "").expect("a file");
        assert!(is_being_taken(&data));
        fs::remove_dir_all(data.join("snapshots")).expect("removed");
        fs::create_dir_all(data.join("version-2")).expect("a directory");
        fs::write(data.join("version-2/snapshot.1"), "").expect("a file");
        assert!(is_being_taken(&data));
        fs::remove_dir_all(&data).expect("removed");
    }
}
