//! Building a tree from the images of a snapshot. Nodes may come in any order and keep their places.
//!
//! The images come from a disk: whatever is wrong with them is an error, never a panic. A tree that comes out is whole: every
//! node hangs below the root under a name of its own, ACLs are counted, and the digest is the recorded one.

use super::arena::{NewNode, NodeId};
use super::{BUILT_IN, Tree, TreeOptions, digest};
use crate::base::ids::{SessionId, Zxid};
use crate::model::acl::AclList;
use crate::model::create_mode::NodeKind;
use crate::model::image::{AclImage, NodeImage};
use std::collections::BTreeMap;

/// What is wrong with the images.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no list, or the number came twice.
    #[error("ACL {0} is no list or comes twice")]
    Acl(u32),
    /// A node names an ACL that isn't in the table.
    #[error("node {slot} has the unknown ACL {acl}")]
    UnknownAcl {
        /// Place of the node.
        slot: u32,
        /// The number.
        acl: u32,
    },
    /// The place is taken or beyond every possible tree.
    #[error("place {0} comes twice or is out of range")]
    Place(u32),
    /// Empty or with a slash; or the root has one or isn't at its place.
    #[error("node {0} has an impossible name or parent")]
    Name(u32),
    /// The parent is missing or an ephemeral node.
    #[error("node {slot} hangs below {parent}, which is missing or an ephemeral node")]
    Parent {
        /// Place of the node.
        slot: u32,
        /// Place that should be the parent's.
        parent: u32,
    },
    /// Two children of one node have the same name.
    #[error("the path {0} comes twice")]
    DuplicatePath(String),
    /// Nodes that hang below each other and not below the root.
    #[error("{0} nodes can't be reached from the root")]
    Unreachable(usize),
    /// One of the nodes that every tree has isn't there.
    #[error("{0} is missing")]
    BuiltInMissing(String),
    /// One of them would go by itself, which they never do.
    #[error("{0} is an ephemeral, container or TTL node, which it can't be")]
    BuiltInKind(String),
    /// The tree isn't the one that was written.
    #[error("the digest is {found:#x}, recorded is {expected:#x}")]
    Digest {
        /// Recorded with the snapshot.
        expected: u64,
        /// Of the nodes as loaded.
        found: u64,
    },
}

/// Takes images and gives the tree.
pub struct TreeLoader {
    tree: Tree,
    /// From numbers of the snapshot to numbers of the tree.
    acls: BTreeMap<u32, u32>,
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

impl TreeLoader {
    /// With nothing loaded.
    #[must_use]
    pub fn new(options: TreeOptions) -> TreeLoader {
        TreeLoader { tree: Tree::bare(options), acls: BTreeMap::new() }
    }

    /// Takes one ACL list; all of them come before the nodes.
    ///
    /// # Errors
    /// [`LoadError::Acl`].
    pub fn acl(&mut self, image: AclImage<'_>) -> Result<(), LoadError> {
        if AclList::parse(image.list).is_none() || self.acls.contains_key(&image.acl) {
            return Err(LoadError::Acl(image.acl));
        }
        // Held until the end, so that the number stays while nodes come.
        let number = self.tree.acls.intern(image.list);
        self.acls.insert(image.acl, number);
        Ok(())
    }

    /// Takes one node.
    ///
    /// # Errors
    /// [`LoadError::UnknownAcl`], [`LoadError::Name`], [`LoadError::Place`].
    pub fn node(&mut self, image: NodeImage<'_>) -> Result<(), LoadError> {
        let NodeImage { slot, parent_slot: parent, name, data, stat, .. } = image;
        let acl = *self.acls.get(&image.acl).ok_or(LoadError::UnknownAcl { slot, acl: image.acl })?;
        let is_root = slot == NodeId::ROOT.0;
        let is_named_well = if is_root { name.is_empty() } else { !name.is_empty() && !name.contains(&b'/') };
        if !is_named_well || (parent == slot) != is_root {
            return Err(LoadError::Name(slot));
        }
        if !self.tree.arena.place(slot, &NewNode { parent, name, data, acl, stat, digested: true }) {
            return Err(LoadError::Place(slot));
        }
        self.tree.acls.retain(acl);
        Ok(())
    }

    /// Checks the whole and gives the tree as of `zxid`. The digest isn't compared when the options say to skip it.
    ///
    /// # Errors
    /// Whatever is wrong with the whole.
    pub fn finish(mut self, zxid: Zxid, expected_digest: u64) -> Result<Tree, LoadError> {
        self.tree.arena.settle();
        if !self.tree.arena.contains(NodeId::ROOT.0) {
            return Err(LoadError::BuiltInMissing("/".to_owned()));
        }
        self.link()?;
        self.enter_all()?;
        for number in self.acls.values() {
            self.tree.acls.release(*number);
        }
        for (path, _) in BUILT_IN {
            let node = self.tree.find(path).ok_or_else(|| LoadError::BuiltInMissing(show(path)))?;
            if self.tree.kind(node) != NodeKind::Persistent {
                return Err(LoadError::BuiltInKind(show(path)));
            }
        }
        let found = self.tree.digest();
        if !self.tree.digest.is_skipped() && found != expected_digest {
            return Err(LoadError::Digest { expected: expected_digest, found });
        }
        self.tree.last_zxid = zxid;
        Ok(self.tree)
    }

    /// Enters every node into its parent's children, in the order of their places.
    fn link(&mut self) -> Result<(), LoadError> {
        let tree = &mut self.tree;
        let mut at = tree.arena.end();
        while let Some(slot) = tree.arena.used_before(at).filter(|slot| *slot != NodeId::ROOT.0) {
            at = slot;
            let parent = tree.arena.node(slot).parent();
            if !tree.arena.contains(parent) || matches!(tree.kind(NodeId(parent)), NodeKind::Ephemeral(_)) {
                return Err(LoadError::Parent { slot, parent });
            }
            tree.arena.link(slot);
        }
        Ok(())
    }

    /// Walks down from the root with the path in hand and makes every node known to everything that follows from the nodes.
    fn enter_all(&mut self) -> Result<(), LoadError> {
        let mut path: Vec<u8> = Vec::new();
        // Length of the path of the current node's ancestor at each depth.
        let mut lens = vec![0];
        let mut ephemerals: Vec<(Zxid, u32, SessionId)> = Vec::new();
        let mut reached = 0;
        let mut at = Some((NodeId::ROOT.0, 0));
        while let Some((slot, depth)) = at {
            if slot == NodeId::ROOT.0 {
                self.enter(slot, b"/", &mut ephemerals)?;
            } else {
                lens.truncate(depth);
                path.truncate(lens[depth - 1]);
                path.push(b'/');
                path.extend_from_slice(self.tree.arena.node(slot).name());
                lens.push(path.len());
                self.enter(slot, &path, &mut ephemerals)?;
            }
            reached += 1;
            at = self.tree.arena.next_in_walk(NodeId::ROOT.0, slot, depth);
        }
        if reached < self.tree.arena.len() {
            return Err(LoadError::Unreachable(self.tree.arena.len() - reached));
        }
        // Oldest first, as they were before.
        ephemerals.sort_unstable();
        for (_, slot, session) in ephemerals {
            self.tree.ephemerals.add(&mut self.tree.arena, session, slot);
        }
        Ok(())
    }

    fn enter(&mut self, slot: u32, path: &[u8], ephemerals: &mut Vec<(Zxid, u32, SessionId)>) -> Result<(), LoadError> {
        let tree = &mut self.tree;
        if tree.find(path).is_some() {
            return Err(LoadError::DuplicatePath(show(path)));
        }
        tree.arena.node_mut(slot).set_digested(digest::counts(path));
        tree.enter(slot, path);
        tree.note_limits(path);
        match tree.kind(NodeId(slot)) {
            NodeKind::Persistent => {}
            NodeKind::Ephemeral(session) => ephemerals.push((tree.arena.stat(slot).czxid, slot, session)),
            NodeKind::Container | NodeKind::Ttl { .. } => tree.reaper.touch(slot, tree.reap_facts(slot)),
        }
        Ok(())
    }
}
