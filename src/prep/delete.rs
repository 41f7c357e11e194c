//! Judging delete (T14), the reaper's deletions (T46), and the deletions that come with the end of a session (T39).

use super::pending::{Look, NodeState};
use super::{Asker, Bench, next_version};
use crate::base::ids::SessionId;
use crate::base::time::MonoMs;
use crate::model::acl::perms;
use crate::model::create_mode::NodeKind;
use crate::model::error_code::ErrorCode;
use crate::model::path;
use crate::model::txn::OpRef;
use crate::mutant;

/// Nodes that always exist.
const UNDELETABLE: [&[u8]; 4] = [b"/", b"/zookeeper", b"/zookeeper/quota", b"/zookeeper/config"];

impl Bench<'_> {
    pub(super) fn delete(&mut self, asker: &Asker<'_>, node_path: &[u8], version: i32) -> Result<(), ErrorCode> {
        self.prep.check_session(asker)?;
        let parent_path = parent_of_deletable(node_path)?;
        let (parent, node) = if mutant!("prep-delete-checks-node-before-acl") {
            let node = self.look_existing(node_path)?;
            let parent = self.look_existing(parent_path)?;
            self.check_acl(asker, &parent, perms::DELETE)?;
            (parent, node)
        } else {
            let parent = self.look_existing(parent_path)?;
            self.check_acl(asker, &parent, perms::DELETE)?;
            (parent, self.look_existing(node_path)?)
        };
        next_version(node.state.version, version)?;
        if node.state.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.check_room(node_path.len())?;
        self.ops.push(OpRef::Delete { path: node_path });
        self.mark_deleted(node_path, &node, parent_path, &parent);
        Ok(())
    }

    pub(super) fn reap(&mut self, node_path: &[u8], now: MonoMs) -> Result<(), ErrorCode> {
        let parent_path = parent_of_deletable(node_path)?;
        let node = self.look_existing(node_path)?;
        if node.state.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        if !self.is_reapable(node_path, &node, now) {
            return Err(ErrorCode::BadVersion);
        }
        let parent = self.look_existing(parent_path)?;
        self.ops.push(OpRef::Delete { path: node_path });
        self.mark_deleted(node_path, &node, parent_path, &parent);
        Ok(())
    }

    /// Whether kind and age let the node go; children are another question. The tree keeps the ages, so a TTL node is
    /// only due here when it is due there: one whose last child's deletion is outstanding waits for the next round.
    fn is_reapable(&self, node_path: &[u8], node: &Look, now: MonoMs) -> bool {
        let is_due = || !node.state.is_young && self.tree.find(node_path).is_some_and(|id| self.tree.is_reapable(id, now));
        match NodeKind::from_owner(node.state.owner, self.prep.options.extended_types) {
            NodeKind::Persistent | NodeKind::Ephemeral(_) => false,
            NodeKind::Container => node.state.cversion != 0 || is_due(),
            NodeKind::Ttl { .. } => is_due(),
        }
    }

    /// The overlay's part of a deletion.
    fn mark_deleted(&mut self, node_path: &[u8], node: &Look, parent_path: &[u8], parent: &Look) {
        let bytes = node.state.data_len as i64;
        self.charge_quota(node_path, -1, -bytes);
        let parent_state = NodeState { children: parent.state.children.saturating_sub(1), ..parent.state };
        self.put(parent_path, parent, parent_state, None);
        self.put(node_path, node, NodeState::default(), Some(b""));
    }

    /// Marks every ephemeral node of `session` deleted: those in the tree that no outstanding change took away, and those
    /// whose creation is outstanding.
    pub(super) fn delete_ephemerals(&mut self, session: SessionId) {
        let (mut paths, mut lens) = (Vec::new(), Vec::new());
        for node in self.tree.ephemerals_of(session) {
            let start = paths.len();
            let mut one = std::mem::take(&mut self.prep.path);
            one.clear();
            self.tree.path_of(node, &mut one);
            paths.extend_from_slice(&one);
            lens.push(paths.len() - start);
            self.prep.path = one;
        }
        self.prep.pending.ephemerals_of(session, &mut paths, &mut lens);
        let mut rest = paths.as_slice();
        for len in lens {
            let (node_path, after) = rest.split_at(len);
            rest = after;
            let node = self.look(node_path);
            // Listed twice, or deleted (and perhaps created anew by somebody else) by an outstanding change.
            if !node.state.exists || node.state.owner != session.0 {
                continue;
            }
            let parent_path = path::parent(node_path).expect("a node of the tree has an absolute path");
            let parent = self.look(parent_path);
            self.mark_deleted(node_path, &node, parent_path, &parent);
        }
    }
}

/// The parent of a path that delete may name.
fn parent_of_deletable(node_path: &[u8]) -> Result<&[u8], ErrorCode> {
    if node_path.contains(&0) || UNDELETABLE.contains(&node_path) {
        return Err(ErrorCode::BadArguments);
    }
    path::parent(node_path).ok_or(ErrorCode::BadArguments)
}
