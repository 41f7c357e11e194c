//! Reads of the tree. None of them changes anything or depends on a watch; paths that don't exist are `None`.

use super::arena::NodeId;
use super::expire::ReapFacts;
use super::{Tree, TreeOptions};
use crate::base::ids::{SessionId, Zxid};
use crate::base::time::{MonoMs, Now};
use crate::model::acl::AclList;
use crate::model::create_mode::NodeKind;
use crate::model::stat::{PersistedStat, Stat};

impl Tree {
    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> TreeOptions {
        self.options
    }

    /// The node at `path`. The empty path is an alias of the root (T70); a path that isn't legal finds nothing.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<NodeId> {
        self.index.find(self.hash(path), |slot| self.arena.is_at(slot, path)).map(NodeId)
    }

    /// The stat as clients see it.
    #[must_use]
    pub fn stat(&self, node: NodeId) -> Stat {
        let data_len = self.arena.node(node.0).data_len();
        self.persisted(node).seen_by_clients(data_len, self.num_children(node), self.options.extended_types)
    }

    /// The replicated part of the stat.
    #[must_use]
    pub fn persisted(&self, node: NodeId) -> PersistedStat {
        self.arena.stat(node.0)
    }

    /// What kind of node it is.
    #[must_use]
    pub fn kind(&self, node: NodeId) -> NodeKind {
        NodeKind::from_owner(self.arena.owner(node.0), self.options.extended_types)
    }

    /// The data; null and empty differ.
    #[must_use]
    pub fn data(&self, node: NodeId) -> Option<&[u8]> {
        self.arena.node(node.0).data()
    }

    /// The last component of its path; empty for the root.
    #[must_use]
    pub fn name(&self, node: NodeId) -> &[u8] {
        self.arena.node(node.0).name()
    }

    /// The ACL.
    #[must_use]
    pub fn acl(&self, node: NodeId) -> AclList<'_> {
        self.acls.list(self.arena.node(node.0).acl)
    }

    /// Number of direct children.
    #[must_use]
    pub fn num_children(&self, node: NodeId) -> usize {
        self.arena.child_count(node.0)
    }

    /// Names of the direct children, in no particular order.
    pub fn children(&self, node: NodeId) -> impl Iterator<Item = &[u8]> {
        self.arena.children(node.0).map(|slot| self.arena.node(slot).name())
    }

    /// The direct children, in the order of [`Tree::children`].
    pub fn child_ids(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.arena.children(node.0).map(NodeId)
    }

    /// The parent; the root's is the root.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> NodeId {
        NodeId(self.arena.node(node.0).parent())
    }

    /// Appends the node's full path to `out`.
    pub fn path_of(&self, node: NodeId, out: &mut Vec<u8>) {
        if node == NodeId::ROOT {
            out.push(b'/');
            return;
        }
        let way = || std::iter::successors(Some(node), |at| Some(self.parent(*at))).take_while(|at| *at != NodeId::ROOT);
        let mut end = out.len() + way().map(|at| self.name(at).len() + 1).sum::<usize>();
        out.resize(end, b'/');
        for at in way() {
            let name = self.name(at);
            out[end - name.len()..end].copy_from_slice(name);
            end -= name.len() + 1;
        }
    }

    /// Everything below the node; for the root all other nodes, the built-in ones too (T49). Costs time in proportion.
    #[must_use]
    pub fn descendants_count(&self, node: NodeId) -> usize {
        if node == NodeId::ROOT { self.arena.len() - 1 } else { self.arena.walk(node.0).count() - 1 }
    }

    /// The node and everything below it, parents before children.
    pub fn walk(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.arena.walk(node.0).map(NodeId)
    }

    /// The ephemeral nodes of a session, oldest first.
    pub fn ephemerals_of(&self, session: SessionId) -> impl Iterator<Item = NodeId> {
        self.ephemerals.of(&self.arena, session).map(NodeId)
    }

    /// Sessions that have ephemeral nodes, ascending, with how many.
    pub fn sessions_with_ephemerals(&self) -> impl Iterator<Item = (SessionId, usize)> {
        self.ephemerals.sessions()
    }

    /// Nodes as ZooKeeper counts them, the root twice: an empty tree has 5 (T70).
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.arena.len() + 1
    }

    /// Ephemeral nodes of all sessions.
    #[must_use]
    pub fn ephemerals_count(&self) -> usize {
        self.ephemerals.total()
    }

    /// Bytes of all paths and data (`approximate_data_size`): 44 for an empty tree.
    #[must_use]
    pub fn approximate_data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Different ACL lists in use.
    #[must_use]
    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// The last transaction that was wholly applied.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// ZooKeeper's tree digest, version 2; 0 when it isn't kept.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.value()
    }

    /// Tells the tree the time; changes applied from now on count as made at it (TTL nodes and containers).
    pub fn set_now(&mut self, now: MonoMs) {
        self.reaper.set_now(now);
    }

    /// How long a container that never had a child may stay (`znode.container.maxNeverUsedIntervalMs`); 0 is forever. To be
    /// called before anything is applied or loaded.
    pub fn set_container_never_used_ms(&mut self, ms: u64) {
        self.reaper.set_never_used_ms(ms);
    }

    /// Begins to count the age of all TTL nodes and containers, when this server starts and when it begins to reap: each is as old as the
    /// wall clock says now, and from here on time is monotonic.
    pub fn restart_reap_clocks(&mut self, now: Now) {
        let (arena, extended_types) = (&self.arena, self.options.extended_types);
        self.reaper.restart(now, |slot| Tree::facts_of(arena, extended_types, slot));
    }

    /// Appends the paths of up to `limit` containers and TTL nodes that should be deleted, the longest due first (T46).
    pub fn reap_candidates(&self, now: MonoMs, limit: usize, out: &mut Vec<Vec<u8>>) {
        for slot in self.reaper.due(now).take(limit) {
            let mut path = Vec::new();
            self.path_of(NodeId(slot), &mut path);
            out.push(path);
        }
    }

    /// Whether the reaper may delete this node now, to be asked again when its request is judged.
    #[must_use]
    pub fn is_reapable(&self, node: NodeId, now: MonoMs) -> bool {
        self.reaper.is_due(node.0, now)
    }

    pub(super) fn reap_facts(&self, slot: u32) -> ReapFacts {
        Tree::facts_of(&self.arena, self.options.extended_types, slot)
    }

    fn facts_of(arena: &super::Arena, extended_types: bool, slot: u32) -> ReapFacts {
        let kind = NodeKind::from_owner(arena.owner(slot), extended_types);
        let stat = arena.stat(slot);
        ReapFacts { kind, has_children: arena.child_count(slot) > 0, cversion: stat.cversion, mtime_ms: stat.mtime_ms }
    }
}
