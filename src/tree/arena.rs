//! The nodes themselves: 64 bytes each, one small allocation for name and data, children as a list through their siblings.
//!
//! What a leaf that was never changed doesn't need (modification zxids and times, versions, owner, children) stands in a
//! second record, [`Extra`], made with the first change. So no node has a collection of its own, and inserting and removing
//! a child costs the same however many there are. Guarantees: a node's number ([`NodeId`]) is stable for its life. Leaves to
//! others: finding nodes by path (`index`), whether a change is right (`apply`), digests (`digest`).

pub use super::node::NodeId;
use super::node::{Below, CHILDLESS, Extra, IN_USE, NAME_LEN_MASK, NULL_DATA, Node, UNDIGESTED};
use super::slab::{NONE, Slab, Vacant};
use crate::base::check::broken;
use crate::base::ids::Zxid;
use crate::invariant;
use crate::model::image::NodeImage;
use crate::model::stat::PersistedStat;

/// All values of a node that is to be.
#[derive(Clone, Copy)]
pub(super) struct NewNode<'a> {
    pub(super) parent: u32,
    pub(super) name: &'a [u8],
    pub(super) data: Option<&'a [u8]>,
    pub(super) acl: u32,
    pub(super) stat: PersistedStat,
    /// Whether it counts in the tree digest.
    pub(super) digested: bool,
}

/// All nodes.
pub(super) struct Arena {
    nodes: Slab<Node>,
    extras: Slab<Extra>,
}

impl Arena {
    pub(super) fn new() -> Arena {
        Arena { nodes: Slab::new(), extras: Slab::new() }
    }

    /// Number of nodes, the root counted once.
    pub(super) fn len(&self) -> usize {
        self.nodes.used()
    }

    /// One past the highest slot in use.
    pub(super) fn end(&self) -> u32 {
        self.nodes.end()
    }

    /// The highest place below `slot` that holds a node.
    pub(super) fn used_before(&self, slot: u32) -> Option<u32> {
        self.nodes.used_before(slot)
    }

    pub(super) fn node(&self, slot: u32) -> &Node {
        self.nodes.at(slot)
    }

    pub(super) fn node_mut(&mut self, slot: u32) -> &mut Node {
        self.nodes.at_mut(slot)
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.nodes.get(slot).is_some()
    }

    fn record(&mut self, new: &NewNode<'_>) -> Node {
        let stat = &new.stat;
        let mut bytes = Vec::with_capacity(new.name.len() + new.data.map_or(0, <[u8]>::len));
        bytes.extend_from_slice(new.name);
        bytes.extend_from_slice(new.data.unwrap_or_default());
        let name_len = u32::try_from(new.name.len()).unwrap_or(u32::MAX);
        invariant!(name_len <= NAME_LEN_MASK, "a name of {} bytes", new.name.len());
        let null = if new.data.is_none() { NULL_DATA } else { 0 };
        let undigested = if new.digested { 0 } else { UNDIGESTED };
        let mut node = Node {
            czxid: stat.czxid.0,
            ctime_ms: stat.ctime_ms,
            name_and_data: bytes.into_boxed_slice(),
            parent: new.parent,
            acl: new.acl,
            name_len_and_flags: name_len | IN_USE | null | undigested,
            ..Node::vacant()
        };
        if *stat != node.unchanged_stat() {
            node.extra = self.extras.insert(Extra {
                mzxid: stat.mzxid.0,
                pzxid: stat.pzxid.0,
                mtime_ms: stat.mtime_ms,
                owner: stat.owner,
                version: stat.version,
                cversion: stat.cversion,
                aversion: stat.aversion,
                below: CHILDLESS,
            });
        }
        node
    }

    /// Adds a node at the front of its parent's children. The first node is the root, its own parent.
    pub(super) fn add(&mut self, new: &NewNode<'_>) -> u32 {
        let node = self.record(new);
        let slot = self.nodes.insert(node);
        if slot != NodeId::ROOT.0 {
            self.link(slot);
        }
        slot
    }

    /// Puts a node at a given place without linking it to its parent; false if the place is taken.
    pub(super) fn place(&mut self, slot: u32, new: &NewNode<'_>) -> bool {
        let node = self.record(new);
        self.nodes.place(slot, node).is_ok()
    }

    /// After placing: finds the free places.
    pub(super) fn settle(&mut self) {
        self.nodes.settle();
    }

    /// Whether `slot` may have children, which the nodes of a session can't.
    pub(super) fn is_session_bound(&self, slot: u32) -> bool {
        self.extra(slot).is_some_and(|extra| matches!(extra.below, Below::Session { .. }))
    }

    /// Enters the node into its parent's children.
    pub(super) fn link(&mut self, slot: u32) {
        let parent = self.node(slot).parent;
        let (first, count) = self.children_of(parent);
        self.set_children(parent, slot, count + 1);
        self.node_mut(slot).next = first;
        if first != NONE {
            self.node_mut(first).prev = slot;
        }
    }

    /// Removes a node without children.
    pub(super) fn remove(&mut self, slot: u32) {
        invariant!(slot != NodeId::ROOT.0, "the root is deleted");
        let node = self.nodes.remove(slot);
        if node.extra != NONE {
            let extra = self.extras.remove(node.extra);
            let is_leaf = !matches!(extra.below, Below::Children { count, .. } if count > 0);
            invariant!(is_leaf, "a node with children is deleted: slot {slot}");
        }
        if node.next != NONE {
            self.node_mut(node.next).prev = node.prev;
        }
        let (first, count) = self.children_of(node.parent);
        if node.prev == NONE {
            self.set_children(node.parent, node.next, count - 1);
        } else {
            self.node_mut(node.prev).next = node.next;
            self.set_children(node.parent, first, count - 1);
        }
    }

    fn extra(&self, slot: u32) -> Option<&Extra> {
        let extra = self.node(slot).extra;
        (extra != NONE).then(|| self.extras.at(extra))
    }

    /// The second record, made if there is none.
    fn extra_mut(&mut self, slot: u32) -> &mut Extra {
        let node = self.nodes.at_mut(slot);
        if node.extra == NONE {
            let stat = node.unchanged_stat();
            let (mzxid, pzxid, mtime_ms) = (stat.mzxid.0, stat.pzxid.0, stat.mtime_ms);
            node.extra = self.extras.insert(Extra { mzxid, pzxid, mtime_ms, below: CHILDLESS, ..Extra::vacant() });
        }
        self.extras.at_mut(node.extra)
    }

    fn children_of(&self, slot: u32) -> (u32, u32) {
        match self.extra(slot).map(|extra| extra.below) {
            None => (NONE, 0),
            Some(Below::Children { first, count }) => (first, count),
            Some(_) => broken(format_args!("children are asked of an ephemeral: slot {slot}")),
        }
    }

    fn set_children(&mut self, slot: u32, first: u32, count: u32) {
        self.extra_mut(slot).below = Below::Children { first, count };
    }

    /// Number of direct children.
    pub(super) fn child_count(&self, slot: u32) -> usize {
        if self.is_session_bound(slot) { 0 } else { self.children_of(slot).1 as usize }
    }

    /// Direct children, the youngest first (after loading: in the order of their places).
    pub(super) fn children(&self, slot: u32) -> impl Iterator<Item = u32> {
        let first = if self.is_session_bound(slot) { NONE } else { self.children_of(slot).0 };
        std::iter::successors((first != NONE).then_some(first), |child| {
            let next = self.node(*child).next;
            (next != NONE).then_some(next)
        })
    }

    /// `top` and everything below it, parents before children. No recursion, no memory.
    pub(super) fn walk(&self, top: u32) -> impl Iterator<Item = u32> {
        let walk = std::iter::successors(Some((top, 0)), move |(slot, depth)| self.next_in_walk(top, *slot, *depth));
        walk.map(|(slot, _)| slot)
    }

    /// What follows `slot`, at `depth` below `top`, in a walk over `top` and everything below it: the place and its depth.
    fn next_in_walk(&self, top: u32, slot: u32, depth: usize) -> Option<(u32, usize)> {
        if let Some(child) = self.children(slot).next() {
            return Some((child, depth + 1));
        }
        let (mut slot, mut depth) = (slot, depth);
        while slot != top {
            let node = self.node(slot);
            if node.next != NONE {
                return Some((node.next, depth));
            }
            (slot, depth) = (node.parent, depth - 1);
        }
        None
    }

    /// Whether the node at `slot` has this path: the names on its way to the root are compared from the end.
    pub(super) fn is_at(&self, slot: u32, path: &[u8]) -> bool {
        if slot == NodeId::ROOT.0 {
            return matches!(path, b"" | b"/");
        }
        let (mut rest, mut slot) = (path, slot);
        while slot != NodeId::ROOT.0 {
            let node = self.node(slot);
            match rest.strip_suffix(node.name()).and_then(|rest| rest.strip_suffix(b"/")) {
                Some(before) => rest = before,
                None => return false,
            }
            slot = node.parent();
        }
        rest.is_empty()
    }

    /// The replicated stat.
    pub(super) fn stat(&self, slot: u32) -> PersistedStat {
        let unchanged = self.node(slot).unchanged_stat();
        let Some(extra) = self.extra(slot) else { return unchanged };
        PersistedStat {
            mzxid: Zxid(extra.mzxid),
            pzxid: Zxid(extra.pzxid),
            mtime_ms: extra.mtime_ms,
            version: extra.version,
            cversion: extra.cversion,
            aversion: extra.aversion,
            owner: extra.owner,
            ..unchanged
        }
    }

    /// Replaces what can change of the stat: all but `czxid`, `ctime_ms` and `owner`.
    pub(super) fn set_stat(&mut self, slot: u32, stat: &PersistedStat) {
        let extra = self.extra_mut(slot);
        (extra.mzxid, extra.pzxid, extra.mtime_ms) = (stat.mzxid.0, stat.pzxid.0, stat.mtime_ms);
        (extra.version, extra.cversion, extra.aversion) = (stat.version, stat.cversion, stat.aversion);
    }

    /// The node as a snapshot stores it.
    pub(super) fn image(&self, slot: u32) -> NodeImage<'_> {
        let node = self.node(slot);
        NodeImage { slot, parent_slot: node.parent, name: node.name(), data: node.data(), acl: node.acl, stat: self.stat(slot) }
    }

    /// Persisted owner.
    pub(super) fn owner(&self, slot: u32) -> i64 {
        self.extra(slot).map_or(0, |extra| extra.owner)
    }

    /// Replaces the data.
    pub(super) fn set_data(&mut self, slot: u32, data: Option<&[u8]>) {
        let node = self.nodes.at_mut(slot);
        let (name_len, new) = (node.name().len(), data.unwrap_or_default());
        if node.name_and_data.len() == name_len + new.len() {
            node.name_and_data[name_len..].copy_from_slice(new);
        } else {
            let mut bytes = Vec::with_capacity(name_len + new.len());
            bytes.extend_from_slice(node.name());
            bytes.extend_from_slice(new);
            node.name_and_data = bytes.into_boxed_slice();
        }
        node.name_len_and_flags = (node.name_len_and_flags & !NULL_DATA) | if data.is_none() { NULL_DATA } else { 0 };
    }

    /// The neighbours of an ephemeral among the nodes of its session: next and previous.
    pub(super) fn session_links(&self, slot: u32) -> (u32, u32) {
        match self.extra(slot).map(|extra| extra.below) {
            Some(Below::Session { next, prev }) => (next, prev),
            _ => broken(format_args!("slot {slot} is in a list of ephemerals and isn't one")),
        }
    }

    /// Makes the node one of a session's.
    pub(super) fn set_session_links(&mut self, slot: u32, next: u32, prev: u32) {
        let extra = self.extra_mut(slot);
        invariant!(!matches!(extra.below, Below::Children { count, .. } if count > 0), "an ephemeral has children: slot {slot}");
        extra.below = Below::Session { next, prev };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(arena: &mut Arena, parent: u32, name: &str, owner: i64) -> u32 {
        let stat = PersistedStat { czxid: Zxid(5), mzxid: Zxid(5), pzxid: Zxid(5), ctime_ms: 9, mtime_ms: 9, owner, ..Default::default() };
        arena.add(&NewNode { parent, name: name.as_bytes(), data: Some(b"d"), acl: 0, stat, digested: true })
    }

    fn names(arena: &Arena, slot: u32) -> Vec<String> {
        arena.children(slot).map(|c| String::from_utf8(arena.node(c).name().to_vec()).unwrap()).collect()
    }

    #[test]
    fn children_leave_from_the_front_the_middle_and_the_end() {
        let mut arena = Arena::new();
        let root = add(&mut arena, 0, "", 0);
        let slots: Vec<u32> = ["a", "b", "c", "d"].iter().map(|n| add(&mut arena, root, n, 0)).collect();
        assert_eq!(names(&arena, root), ["d", "c", "b", "a"]);
        for (gone, left) in [(3, vec!["c", "b", "a"]), (1, vec!["c", "a"]), (0, vec!["c"]), (2, vec![])] {
            arena.remove(slots[gone]);
            assert_eq!(names(&arena, root), left);
            assert_eq!(arena.child_count(root), left.len());
        }
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn the_walk_sees_every_node_once_parents_first() {
        let mut arena = Arena::new();
        let root = add(&mut arena, 0, "", 0);
        let a = add(&mut arena, root, "a", 0);
        let b = add(&mut arena, a, "b", 0);
        let c = add(&mut arena, b, "c", 0);
        let d = add(&mut arena, root, "d", 0);
        assert_eq!(arena.walk(root).collect::<Vec<_>>(), [root, d, a, b, c]);
        assert_eq!(arena.walk(a).collect::<Vec<_>>(), [a, b, c]);
        assert_eq!(arena.walk(c).collect::<Vec<_>>(), [c]);
        assert_eq!(arena.next_in_walk(root, b, 2), Some((c, 3)));
    }

    #[test]
    fn null_and_empty_data_differ_and_lengths_may_change() {
        let mut arena = Arena::new();
        let root = add(&mut arena, 0, "", 0);
        let a = add(&mut arena, root, "name", 0);
        for data in [Some(&b"longer"[..]), Some(b""), None, Some(b"x"), Some(b"y")] {
            arena.set_data(a, data);
            assert_eq!((arena.node(a).name(), arena.node(a).data()), (&b"name"[..], data));
            assert_eq!(arena.node(a).data_len(), data.map_or(0, <[u8]>::len));
        }
    }

    #[test]
    fn an_unchanged_leaf_has_no_second_record() {
        let mut arena = Arena::new();
        let root = add(&mut arena, 0, "", 0);
        let a = add(&mut arena, root, "a", 0);
        assert_eq!(arena.extras.used(), 1, "only the root has one, for its children");
        let stat = PersistedStat { version: 3, ..arena.stat(a) };
        arena.set_stat(a, &stat);
        assert_eq!((arena.stat(a), arena.extras.used()), (stat, 2));
        arena.remove(a);
        assert_eq!(arena.extras.used(), 1);
    }

    #[test]
    #[should_panic(expected = "a node with children is deleted")]
    fn a_node_with_children_stays() {
        let mut arena = Arena::new();
        let root = add(&mut arena, 0, "", 0);
        let a = add(&mut arena, root, "a", 0);
        add(&mut arena, a, "b", 0);
        arena.remove(a);
    }
}
