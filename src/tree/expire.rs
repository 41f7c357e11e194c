//! Containers and nodes with a time to live: which of them the reaper should try to delete (T46).
//!
//! A container is due once it has had a child and has none (or, if so configured, when it was never used for long enough); a
//! TTL node when it has no children and its data weren't set for longer than its TTL. Time is monotonic and counts from when
//! this server applied the change (or loaded it, or took over: [`Reaper::restart`]), so a clock that jumps deletes nothing.
//! Deleting is a transaction like any other and rechecked by whoever judges it.

use crate::base::time::MonoMs;
use crate::model::create_mode::NodeKind;
use std::collections::{BTreeMap, BTreeSet};

/// What the reaper must know of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReapFacts {
    pub(super) kind: NodeKind,
    pub(super) has_children: bool,
    /// Persisted: children ever created.
    pub(super) cversion: i32,
}

#[derive(Clone, Copy)]
struct Watched {
    /// When this server applied the creation or the last setData.
    changed: MonoMs,
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
    fn deadline(&self, changed: MonoMs, facts: ReapFacts) -> Option<MonoMs> {
        match facts.kind {
            _ if facts.has_children => None,
            // A wrapped counter is negative and was used all the same.
            NodeKind::Container if facts.cversion != 0 => Some(MonoMs(0)),
            NodeKind::Container if self.never_used_ms > 0 => Some(changed.plus(self.never_used_ms).plus(1)),
            NodeKind::Ttl { ttl_ms } => Some(changed.plus(ttl_ms.unsigned_abs()).plus(1)),
            NodeKind::Container | NodeKind::Persistent | NodeKind::Ephemeral(_) => None,
        }
    }

    /// Begins with a new node, or begins again because its data were set.
    pub(super) fn touch(&mut self, slot: u32, facts: ReapFacts) {
        if matches!(facts.kind, NodeKind::Container | NodeKind::Ttl { .. }) {
            self.forget(slot);
            let due = self.deadline(self.now, facts);
            self.watched.insert(slot, Watched { changed: self.now, due });
            self.due.extend(due.map(|due| (due, slot)));
        }
    }

    /// A child came or went.
    pub(super) fn refresh(&mut self, slot: u32, facts: ReapFacts) {
        let Some(mut watched) = self.watched.get(&slot).copied() else { return };
        if let Some(due) = watched.due {
            self.due.remove(&(due, slot));
        }
        watched.due = self.deadline(watched.changed, facts);
        self.due.extend(watched.due.map(|due| (due, slot)));
        self.watched.insert(slot, watched);
    }

    /// The node is deleted.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(Watched { due: Some(due), .. }) = self.watched.remove(&slot) {
            self.due.remove(&(due, slot));
        }
    }

    /// Lets all clocks start at `now`, as after loading and when this server begins to lead.
    pub(super) fn restart(&mut self, now: MonoMs, facts: impl Fn(u32) -> ReapFacts) {
        self.now = now;
        let slots: Vec<u32> = self.watched.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.touch(slot, facts(slot)));
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

    const TTL: ReapFacts = ReapFacts { kind: NodeKind::Ttl { ttl_ms: 100 }, has_children: false, cversion: 0 };
    const NEW_CONTAINER: ReapFacts = ReapFacts { kind: NodeKind::Container, has_children: false, cversion: 0 };

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
        reaper.restart(MonoMs(5000), |_| TTL);
        assert_eq!((due(&reaper, 5100), due(&reaper, 5101)), (vec![], vec![1]));
        reaper.forget(1);
        assert_eq!(due(&reaper, u64::MAX), [0u32; 0]);
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
    }
}
