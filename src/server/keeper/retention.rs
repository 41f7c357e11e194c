//! Which snapshots stay, and from where on the log does.
//!
//! Guarantees: the newest verified snapshots stay, and the log from the oldest of them on; what another server has been offered to catch
//! up from stays until it is joined, has been silent for [`HOLD_MS`], or the disk is full. Without that, a server that takes longer to start from a snapshot than
//! the others take to write three of them would be offered one snapshot after the other for ever.
//! Leaves to others: taking snapshots (`snapshots`), removing segments (the log).

use super::{Cx, Keeper};
use crate::base::ids::{ServerId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::time::MonoMs;
use crate::model::file::{FileOp, FilePath, Script, Volume};
use crate::mutant;
use crate::server::note::Level;
use crate::snapshot::{DIR, file_of, select_removable};
use std::collections::BTreeMap;

/// For how long nothing may be heard from a server that catches up, before what it needs is let go: it writes and verifies its
/// snapshot, starts from it and finds the leader anew in this time.
const HOLD_MS: u64 = 60_000;

/// What servers that catch up still need. One entry for each of them at most.
#[derive(Debug, Default)]
pub(super) struct Holds {
    from: BTreeMap<ServerId, (Zxid, MonoMs)>,
}

impl Holds {
    /// `peer` needs what follows `zxid`, and asked for it at `now`.
    pub(super) fn hold(&mut self, peer: ServerId, zxid: Zxid, now: MonoMs) {
        if !mutant!("keeper-holds-nothing") {
            self.from.insert(peer, (zxid, now));
        }
    }

    /// `peer` needs nothing of the files any more.
    pub(super) fn release(&mut self, peer: ServerId) {
        self.from.remove(&peer);
    }

    /// Forgets whoever was silent for too long. True if there was one.
    fn expire(&mut self, now: MonoMs) -> bool {
        let before = self.from.len();
        self.from.retain(|_, (_, at)| now.since(*at) < HOLD_MS);
        self.from.len() < before
    }

    /// Whether somebody needs the snapshot of `zxid`.
    fn holds(&self, zxid: Zxid) -> bool {
        self.from.values().any(|(from, _)| *from == zxid)
    }

    fn oldest(&self) -> Option<Zxid> {
        self.from.values().map(|(from, _)| *from).min()
    }
}

impl<M: BatchMemory> Keeper<M> {
    /// Lets go of snapshots beyond those that are to stay, and of the log behind the oldest of these.
    pub(super) fn prune(&mut self, cx: &mut Cx<'_, M>) {
        let holds = &self.snapshots.holds;
        let mut gone = select_removable(&self.snapshots.kept, self.snapshots.retained());
        gone.retain(|zxid| !holds.holds(*zxid));
        self.snapshots.kept.retain(|(zxid, _)| !gone.contains(zxid));
        if !gone.is_empty() {
            let mut ops: Vec<FileOp> = gone.iter().map(|zxid| FileOp::Remove(file_of(*zxid))).collect();
            ops.push(FileOp::SyncDir(FilePath::new(Volume::Data, DIR)));
            self.remove_files(cx, Script { ops });
        }
        // The log reaches back to the oldest snapshot that stays, and only once two of them were seen whole.
        let verified = self.snapshots.kept.iter().filter(|(_, verified)| *verified).count();
        if let Some((oldest, _)) = self.snapshots.kept.first()
            && verified >= 2
        {
            let from = self.snapshots.holds.oldest().map_or(*oldest, |held| held.min(*oldest));
            self.log.retain_from(from, &mut cx.fx.disk);
        }
    }

    /// Holds end by the clock, and at once when the disk has no room for the log.
    pub(super) fn end_holds(&mut self, cx: &mut Cx<'_, M>) {
        let holds = &mut self.snapshots.holds;
        if self.log.is_full() && !holds.from.is_empty() {
            let whom: Vec<String> = std::mem::take(holds).from.keys().map(|id| id.0.to_string()).collect();
            let text = format!(
                "the disk is full: what was kept for server {} to catch up from goes; it is offered a newer snapshot",
                whom.join(", ")
            );
            cx.fx.note(Level::Warn, text);
            return self.prune(cx);
        }
        if holds.expire(cx.now.mono) {
            self.prune(cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_needs_is_held_until_it_is_joined_or_silent() {
        let (a, b) = (ServerId(1), ServerId(2));
        let mut holds = Holds::default();
        assert!(!holds.expire(MonoMs(0)));
        holds.hold(a, Zxid(30), MonoMs(1000));
        holds.hold(b, Zxid(20), MonoMs(2000));
        holds.hold(b, Zxid(25), MonoMs(3000));
        assert_eq!(holds.oldest(), Some(Zxid(25)), "one for each server, the last that it asked for");
        assert!(holds.holds(Zxid(30)) && !holds.holds(Zxid(20)));
        assert!(!holds.expire(MonoMs(1000 + HOLD_MS - 1)));
        assert!(holds.expire(MonoMs(1000 + HOLD_MS)));
        assert_eq!(holds.oldest(), Some(Zxid(25)));
        holds.release(b);
        assert_eq!(holds.oldest(), None);
    }
}
