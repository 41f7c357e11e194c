//! When to take a snapshot, which one to start from, which ones may go.
//!
//! Guarantees that a damaged newest snapshot leads to the next older one and is reported, and that at least two verified ones
//! stay whatever is configured. Source of the jitter: ZooKeeper's `SyncRequestProcessor` (so that servers don't all pause at
//! once).

use super::format::{DIR, Summary, file_of, zxid_of};
use super::reader::{Nothing, SnapshotSink, read, verify};
use crate::base::ids::Zxid;
use crate::base::prng::Prng;
use crate::model::file::{Damage, FilePath, Files, Stored, Volume};

/// Verified snapshots that stay in any case.
const RETAINED_MIN: usize = 2;

/// What configuration decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Transactions between two snapshots, at most (`snapCount`).
    pub snap_count: u64,
    /// Log bytes between two snapshots, at most (`snapSizeLimitInKb`); 0 for no such limit.
    pub snap_bytes: u64,
}

/// Says when the next snapshot is due.
#[derive(Clone, Debug)]
pub struct Trigger {
    policy: Policy,
    prng: Prng,
    count: u64,
    bytes: u64,
    count_limit: u64,
    bytes_limit: u64,
}

impl Trigger {
    /// Counting from nothing.
    #[must_use]
    pub fn new(policy: Policy, prng: Prng) -> Trigger {
        let mut trigger = Trigger { policy, prng, count: 0, bytes: 0, count_limit: 0, bytes_limit: 0 };
        trigger.restart();
        trigger
    }

    /// A snapshot was begun: counts from nothing, with freshly drawn limits between a half and the whole.
    pub fn restart(&mut self) {
        let Policy { snap_count, snap_bytes } = self.policy;
        self.count_limit = snap_count / 2 + self.prng.below((snap_count / 2).max(1));
        self.bytes_limit = snap_bytes / 2 + self.prng.below((snap_bytes / 2).max(1));
        (self.count, self.bytes) = (0, 0);
    }

    /// A transaction of `bytes` bytes was logged. True when a snapshot is due.
    pub fn logged(&mut self, bytes: u64) -> bool {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.count > self.count_limit || (self.policy.snap_bytes > 0 && self.bytes > self.bytes_limit)
    }
}

/// The snapshot to start from, and what was wrong with newer ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The newest whole one; `None` if there is none.
    pub newest_good: Option<(FilePath, Summary)>,
    /// Of every newer one, newest first.
    pub damaged: Vec<Damage>,
}

/// Finds the newest snapshot that is whole. Names that aren't ours are passed over.
///
/// # Errors
/// When the directory can't be listed.
pub fn choose_newest_good(files: &dyn Files) -> Result<Choice, Damage> {
    Ok(load_newest_good(files, || Nothing)?.0)
}

/// Finds the newest snapshot that is whole and loads it, in one pass. `begin` gives an empty sink for every one that could be read; the
/// sink of the one that was chosen is given back.
///
/// # Errors
/// When the directory can't be listed, and when a sink refuses what a whole snapshot holds: then it isn't the disk that is wrong, and an
/// older one would hide it.
pub fn load_newest_good<S: SnapshotSink>(files: &dyn Files, mut begin: impl FnMut() -> S) -> Result<(Choice, Option<S>), Damage> {
    let mut zxids: Vec<Zxid> = files.list(&FilePath::new(Volume::Data, DIR))?.iter().filter_map(|e| zxid_of(&e.name)).collect();
    zxids.sort_unstable();
    let mut damaged = Vec::new();
    for zxid in zxids.into_iter().rev() {
        let path = file_of(zxid);
        let taken = match files.bytes(&path) {
            Stored::Present(bytes) => {
                let mut sink = begin();
                match read(&path.name, bytes, &mut sink) {
                    Ok(summary) => Ok((summary, sink)),
                    Err(damage) if verify(&path.name, bytes).is_ok() => return Err(damage),
                    Err(damage) => Err(damage),
                }
            }
            Stored::Empty => Err(Damage { path: path.name.clone(), offset: 0, what: "listed, and not there".to_owned() }),
            Stored::Unreadable(damage) => Err(damage),
        };
        match taken {
            Ok((summary, sink)) if summary.head.zxid == zxid => {
                return Ok((Choice { newest_good: Some((path, summary)), damaged }, Some(sink)));
            }
            Ok((summary, _)) => {
                let what = format!("holds the snapshot of zxid {}", summary.head.zxid);
                damaged.push(Damage { path: path.name, offset: 16, what });
            }
            Err(damage) => damaged.push(damage),
        }
    }
    Ok((Choice { newest_good: None, damaged }, None))
}

/// Which of the snapshots `(zxid, verified)` may be removed so that the `retain` newest verified ones (two at least) stay. One
/// that isn't verified counts for nothing; it goes only when it is older than all that stay.
#[must_use]
pub fn select_removable(snapshots: &[(Zxid, bool)], retain: usize) -> Vec<Zxid> {
    let mut verified: Vec<Zxid> = snapshots.iter().filter(|(_, verified)| *verified).map(|(zxid, _)| *zxid).collect();
    verified.sort_unstable();
    let Some(oldest_kept) = verified.iter().rev().nth(retain.max(RETAINED_MIN) - 1) else { return Vec::new() };
    let mut removable: Vec<Zxid> = snapshots.iter().map(|(zxid, _)| *zxid).filter(|zxid| zxid < oldest_kept).collect();
    removable.sort_unstable();
    removable
}
