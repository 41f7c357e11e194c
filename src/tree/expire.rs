//! Containers and nodes with a time to live: which of them the reaper should try to delete (T46).
//!
//! A container is due once it has had a child and has none (or, if so configured, when it was never used for long enough); a
//! TTL node when it has no children and its data weren't set for longer than its TTL. Time is monotonic and counts from when
//! this server applied the change, so a clock that jumps deletes nothing. What was changed before it began to count (it loaded
//! the change, or takes over now) is as old as the wall clock says, once: [`Reaper::restart`]. Deleting is a transaction like any
//! other and rechecked by whoever judges it.

use crate::base::time::{MonoMs, Now};
use crate::model::create_mode::NodeKind;
use std::collections::{BTreeMap, BTreeSet};

/// What the reaper must know of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReapFacts {
    pub(super) kind: NodeKind,
    pub(super) has_children: bool,
    /// Persisted: children ever created.
    pub(super) cversion: i32,
    /// Persisted: the creation or the last setData, by the wall clock of who led then.
    pub(super) mtime_ms: i64,
}

#[derive(Clone, Copy)]
struct Watched {
    /// When this server applied the creation or the last setData, or began to count.
    since: MonoMs,
    /// How old the node was by then: 0, unless the change was made before this server began to count.
    age_ms: u64,
    due: Option<MonoMs>,
}

/// Containers and TTL nodes.
pub(super) struct Reaper {
    now: MonoMs,
    never_used_ms: u64,
    watched: BTreeMap<u32, Watched>,
    due: BTreeSet<(MonoMs, u32)>,
}

impl Reaper {
    pub(super) fn new() -> Reaper {
        Reaper { now: MonoMs(0), never_used_ms: 0, watched: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// The host's time; changes applied from now on count from it.
    pub(super) fn set_now(&mut self, now: MonoMs) {
        self.now = now;
    }

    /// How long an unused container may stay; 0 is forever.
    pub(super) fn set_never_used_ms(&mut self, ms: u64) {
        self.never_used_ms = ms;
    }

    /// The first moment at which the node may be deleted.
    fn deadline(&self, since: MonoMs, age_ms: u64, facts: ReapFacts) -> Option<MonoMs> {
        let after = |ms: u64| Some(since.plus(ms.saturating_sub(age_ms)).plus(1));
        match facts.kind {
            _ if facts.has_children => None,
            // A wrapped counter is negative and was used all the same.
            NodeKind::Container if facts.cversion != 0 => Some(MonoMs(0)),
            NodeKind::Container if self.never_used_ms > 0 => after(self.never_used_ms),
            NodeKind::Ttl { ttl_ms } => after(ttl_ms.unsigned_abs()),
            NodeKind::Container | NodeKind::Persistent | NodeKind::Ephemeral(_) => None,
        }
    }

    /// Begins with a new node, or begins again because its data were set.
    pub(super) fn touch(&mut self, slot: u32, facts: ReapFacts) {
        self.watch(slot, 0, facts);
    }

    fn watch(&mut self, slot: u32, age_ms: u64, facts: ReapFacts) {
        if matches!(facts.kind, NodeKind::Container | NodeKind::Ttl { .. }) {
            self.forget(slot);
            let due = self.deadline(self.now, age_ms, facts);
            self.watched.insert(slot, Watched { since: self.now, age_ms, due });
            self.due.extend(due.map(|due| (due, slot)));
        }
    }

    /// A child came or went.
    pub(super) fn refresh(&mut self, slot: u32, facts: ReapFacts) {
        let Some(mut watched) = self.watched.get(&slot).copied() else { return };
        if let Some(due) = watched.due {
            self.due.remove(&(due, slot));
        }
        watched.due = self.deadline(watched.since, watched.age_ms, facts);
        self.due.extend(watched.due.map(|due| (due, slot)));
        self.watched.insert(slot, watched);
    }

    /// The node is deleted.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(Watched { due: Some(due), .. }) = self.watched.remove(&slot) {
            self.due.remove(&(due, slot));
        }
    }

    /// Begins to count at `now`, as after loading and when this server begins to lead. Only here the wall clock has a say: without
    /// it every restart and every new leader would give each node its whole time again. A node from the future is new, as in
    /// ZooKeeper, which compares the same two times at each look.
    pub(super) fn restart(&mut self, now: Now, facts: impl Fn(u32) -> ReapFacts) {
        self.now = now.mono;
        let slots: Vec<u32> = self.watched.keys().copied().collect();
        for slot in slots {
            let facts = facts(slot);
            let age_ms = u64::try_from(now.wall_ms.saturating_sub(facts.mtime_ms)).unwrap_or(0);
            self.watch(slot, age_ms, facts);
        }
    }

    /// Nodes that are due, the longest first.
    pub(super) fn due(&self, now: MonoMs) -> impl Iterator<Item = u32> {
        self.due.range(..=(now, u32::MAX)).map(|(_, slot)| *slot)
    }

    /// Whether one node is due.
    pub(super) fn is_due(&self, slot: u32, now: MonoMs) -> bool {
        self.watched.get(&slot).and_then(|watched| watched.due).is_some_and(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set at wall time 70,000.
    const TTL: ReapFacts = ReapFacts { kind: NodeKind::Ttl { ttl_ms: 100 }, has_children: false, cversion: 0, mtime_ms: 70_000 };
    const NEW_CONTAINER: ReapFacts = ReapFacts { kind: NodeKind::Container, ..TTL };

    fn at(mono: u64, wall_ms: i64) -> Now {
        Now { mono: MonoMs(mono), mono_ns: 0, wall_ms }
    }

    fn due(reaper: &Reaper, now: u64) -> Vec<u32> {
        reaper.due(MonoMs(now)).collect()
    }

    #[test]
    fn a_ttl_counts_from_the_last_change_and_waits_for_children() {
        let mut reaper = Reaper::new();
        reaper.set_now(MonoMs(1000));
        reaper.touch(1, TTL);
        assert_eq!((due(&reaper, 1100), due(&reaper, 1101)), (vec![], vec![1]));
        reaper.set_now(MonoMs(1050));
        reaper.touch(1, TTL);
        assert!(!reaper.is_due(1, MonoMs(1150)) && reaper.is_due(1, MonoMs(1151)));
        reaper.refresh(1, ReapFacts { has_children: true, ..TTL });
        assert_eq!(due(&reaper, 9999), [0u32; 0]);
        reaper.refresh(1, TTL);
        assert_eq!(due(&reaper, 1151), [1], "a child leaves the clock alone");
        reaper.forget(1);
        assert_eq!(due(&reaper, u64::MAX), [0u32; 0]);
    }

    #[test]
    fn a_restart_leaves_of_a_ttl_what_the_wall_clock_leaves_of_it() {
        // (wall clock at the restart, what is left)
        for (wall_ms, left) in [(70_000, 100), (70_030, 70), (70_100, 0), (i64::MAX, 0), (69_000, 100), (i64::MIN, 100)] {
            let mut reaper = Reaper::new();
            reaper.touch(1, TTL);
            // The host has just started: less time has passed on its clock than the node is old.
            reaper.restart(at(10, wall_ms), |_| TTL);
            assert_eq!((due(&reaper, 10 + left), due(&reaper, 11 + left)), (vec![], vec![1]), "{wall_ms}");
            reaper.refresh(1, ReapFacts { has_children: true, ..TTL });
            reaper.refresh(1, TTL);
            assert_eq!((due(&reaper, 10 + left), due(&reaper, 11 + left)), (vec![], vec![1]), "{wall_ms} after a child");
            reaper.set_now(MonoMs(500));
            reaper.touch(1, TTL);
            assert_eq!((due(&reaper, 600), due(&reaper, 601)), (vec![], vec![1]), "set anew, it has all of it");
        }
    }

    #[test]
    fn a_container_is_due_when_it_was_used() {
        let mut reaper = Reaper::new();
        reaper.touch(4, NEW_CONTAINER);
        assert_eq!(due(&reaper, u64::MAX), [0u32; 0], "never used");
        reaper.refresh(4, ReapFacts { has_children: true, cversion: 1, ..NEW_CONTAINER });
        assert_eq!(due(&reaper, u64::MAX), [0u32; 0]);
        reaper.refresh(4, ReapFacts { cversion: 1, ..NEW_CONTAINER });
        assert_eq!(due(&reaper, 0), [4]);
    }

    #[test]
    fn an_unused_container_goes_only_when_configured() {
        let mut reaper = Reaper::new();
        reaper.set_never_used_ms(300);
        reaper.touch(4, NEW_CONTAINER);
        reaper.touch(5, ReapFacts { kind: NodeKind::Persistent, ..NEW_CONTAINER });
        assert_eq!((due(&reaper, 300), due(&reaper, 301)), (vec![], vec![4]));
        reaper.restart(at(1000, 70_250), |_| NEW_CONTAINER);
        assert_eq!((due(&reaper, 1050), due(&reaper, 1051)), (vec![], vec![4]), "the age counts over a restart");
        reaper.restart(at(1000, 70_250), |_| ReapFacts { cversion: 1, ..NEW_CONTAINER });
        assert_eq!(due(&reaper, 0), [4], "a used one is due at once");
    }
}
