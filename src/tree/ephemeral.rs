//! Which ephemeral nodes a session has: for each session a list through the nodes themselves, oldest first.
//!
//! Guarantees: a node is in exactly the list of its owner while it lives; adding and removing cost the same however many
//! there are; sessions without ephemerals take no memory.

use super::arena::Arena;
use super::slab::NONE;
use crate::base::ids::SessionId;
use crate::invariant;
use std::collections::BTreeMap;

/// The ends of one session's list.
#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
    count: usize,
}

/// All lists.
pub(super) struct Ephemerals {
    /// Ordered, so that whatever is listed from it is the same in every run.
    lists: BTreeMap<SessionId, List>,
    total: usize,
}

impl Ephemerals {
    pub(super) fn new() -> Ephemerals {
        Ephemerals { lists: BTreeMap::new(), total: 0 }
    }

    /// Ephemeral nodes of all sessions.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Sessions that have some, with how many.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (SessionId, usize)> {
        self.lists.iter().map(|(session, list)| (*session, list.count))
    }

    /// The oldest node of a session.
    pub(super) fn first(&self, session: SessionId) -> Option<u32> {
        self.lists.get(&session).map(|list| list.first)
    }

    /// The nodes of a session, oldest first.
    pub(super) fn of<'a>(&self, arena: &'a Arena, session: SessionId) -> impl Iterator<Item = u32> + use<'a> {
        std::iter::successors(self.first(session), move |slot| {
            let (next, _) = arena.session_links(*slot);
            (next != NONE).then_some(next)
        })
    }

    /// Enters a new node at the end of its session's list.
    pub(super) fn add(&mut self, arena: &mut Arena, session: SessionId, slot: u32) {
        let list = self.lists.entry(session).or_insert(List { first: slot, last: NONE, count: 0 });
        arena.set_session_links(slot, NONE, list.last);
        if list.last != NONE {
            let (_, prev) = arena.session_links(list.last);
            arena.set_session_links(list.last, slot, prev);
        }
        list.last = slot;
        list.count += 1;
        self.total += 1;
    }

    /// Takes a node out of its session's list, before it is removed from the arena.
    pub(super) fn remove(&mut self, arena: &mut Arena, session: SessionId, slot: u32) {
        let (next, prev) = arena.session_links(slot);
        let list = self.lists.get_mut(&session);
        invariant!(list.is_some(), "an ephemeral of {session} isn't in any list: slot {slot}");
        let Some(list) = list else { return };
        if next == NONE {
            list.last = prev;
        } else {
            let (after, _) = arena.session_links(next);
            arena.set_session_links(next, after, prev);
        }
        if prev == NONE {
            list.first = next;
        } else {
            let (_, before) = arena.session_links(prev);
            arena.set_session_links(prev, next, before);
        }
        list.count -= 1;
        self.total -= 1;
        if list.count == 0 {
            self.lists.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::NewNode;
    use super::*;
    use crate::model::stat::PersistedStat;

    #[test]
    fn lists_survive_removals_anywhere() {
        let (mut arena, mut lists) = (Arena::new(), Ephemerals::new());
        let session = SessionId(-9);
        let stat = PersistedStat { owner: -9, ..Default::default() };
        let mut add = |parent, name: &[u8], stat| arena.add(&NewNode { parent, name, data: None, acl: 0, stat, digested: true });
        let root = add(0, b"", PersistedStat::default());
        let slots: Vec<u32> = [b"a", b"b", b"c", b"d"].iter().map(|name| add(root, *name, stat)).collect();
        slots.iter().for_each(|slot| lists.add(&mut arena, session, *slot));
        for (gone, left) in [(1, vec![0, 2, 3]), (3, vec![0, 2]), (0, vec![2]), (2, vec![])] {
            lists.remove(&mut arena, session, slots[gone]);
            arena.remove(slots[gone]);
            let left: Vec<u32> = left.into_iter().map(|at: usize| slots[at]).collect();
            assert_eq!(lists.of(&arena, session).collect::<Vec<_>>(), left);
            assert_eq!(lists.total(), left.len());
            assert_eq!(lists.sessions().map(|(_, count)| count).sum::<usize>(), left.len());
        }
        assert_eq!(lists.sessions().count(), 0);
    }
}
