//! Files that recovery will ask for, fetched in order by a thread while it works on others.
//!
//! Guarantees: a file is read as it would be without this, by the same function, one read at a time with the device; what isn't asked
//! for in the order that was told costs memory, nothing else; the thread ends with the owner. Leaves to others: which files, and when.

use super::{Fetched, open_and_map};
use crate::model::file::FilePath;
use crossbeam::channel::{Receiver, bounded};
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The files under way.
pub(super) struct Ahead {
    /// Not taken from the channel yet, in the order in which they come.
    coming: VecDeque<FilePath>,
    /// Taken from the channel, not asked for yet.
    come: HashMap<FilePath, Fetched>,
    fetched: Receiver<Fetched>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Begins to fetch, up to the first file with which it would be more than `bytes_max`. `None` if there is nothing to fetch or no
    /// thread to be had. Whatever isn't fetched is read when it is asked for.
    pub(super) fn start(files: Vec<(PathBuf, FilePath)>, bytes_max: u64) -> Option<Ahead> {
        let mut bytes = 0u64;
        let fits = |(place, _): &(PathBuf, FilePath)| {
            bytes = bytes.saturating_add(std::fs::metadata(place).map_or(0, |meta| meta.len()));
            bytes <= bytes_max
        };
        let (places, coming): (Vec<PathBuf>, VecDeque<FilePath>) = files.into_iter().take_while(fits).unzip();
        if places.is_empty() {
            return None;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (send, fetched) = bounded(places.len());
        let told = Arc::clone(&stop);
        let fetch = move || {
            for place in places {
                if told.load(Ordering::Relaxed) || send.send(open_and_map(&place, &told)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("read-ahead".to_owned()).spawn(fetch).ok()?;
        Some(Ahead { coming, come: HashMap::new(), fetched, stop, thread: Some(thread) })
    }

    /// The file, once, as soon as it is there. `None` if it was never expected or is gone already.
    pub(super) fn take(&mut self, path: &FilePath) -> Option<Fetched> {
        while !self.come.contains_key(path) && self.coming.contains(path) {
            // The thread is gone only after a panic; then whoever asks reads for himself.
            let fetched = self.fetched.recv().ok()?;
            let next = self.coming.pop_front()?;
            self.come.insert(next, fetched);
        }
        self.come.remove(path)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was told by its message; there is nothing to add.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DiskFiles, Roots};
    use super::*;
    use crate::model::file::{Files, Stored, Volume};
    use std::fs;

    fn path(name: &str) -> FilePath {
        FilePath::new(Volume::Log, name)
    }

    #[test]
    fn what_is_expected_is_what_is_there_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), name.repeat(5000)).unwrap();
        }
        fs::create_dir(dir.path().join("dir")).unwrap();
        let files = DiskFiles::new(Roots { data: dir.path().to_owned(), log: dir.path().to_owned() });
        assert_eq!(files.bytes(&path("c")), Stored::Present("c".repeat(5000).as_bytes()), "before anything is expected");
        files.expect(["a", "none", "dir", "b", "c"].map(path).to_vec());
        let under_way = |files: &DiskFiles| files.ahead.borrow().as_ref().map(|ahead| ahead.coming.len() + ahead.come.len());
        assert_eq!(under_way(&files), Some(4), "what was read before isn't fetched again");
        for _ in 0..2 {
            for name in ["b", "a", "c"] {
                assert_eq!(files.bytes(&path(name)), Stored::Present(name.repeat(5000).as_bytes()));
            }
            assert_eq!(files.bytes(&path("none")), Stored::Empty);
            assert!(matches!(files.bytes(&path("dir")), Stored::Unreadable(_)));
        }
        assert_eq!(under_way(&files), Some(0), "each was taken as it was fetched");
        assert!(files.unseen().is_some_and(|said| said.contains("/dir can't be read")), "{:?}", files.unseen());
    }

    #[test]
    fn each_file_is_handed_over_once_and_the_rest_is_given_up_with_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let named = |name: &str| (dir.path().join(name), path(name));
        fs::write(dir.path().join("a"), "x").unwrap();
        let mut ahead = Ahead::start(vec![named("a"), named("b")], 1).unwrap();
        assert!(ahead.take(&path("other")).is_none());
        assert!(matches!(ahead.take(&path("b")), Some(Ok(None))));
        assert!(matches!(ahead.take(&path("a")), Some(Ok(Some(map))) if map[..] == *b"x"));
        assert!(ahead.take(&path("a")).is_none() && ahead.take(&path("b")).is_none());
        drop(ahead);
        assert!(Ahead::start(Vec::new(), 1).is_none());
        fs::write(dir.path().join("c"), "yz").unwrap();
        let mut ahead = Ahead::start(vec![named("a"), named("c"), named("b")], 2).unwrap();
        assert!(ahead.take(&path("a")).is_some());
        assert!(ahead.take(&path("c")).is_none() && ahead.take(&path("b")).is_none(), "three bytes are too much");
    }
}
