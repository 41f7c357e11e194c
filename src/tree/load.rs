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
    #[error("node {0} hangs below nodes that hang below each other and not below the root")]
    Circle(u32),
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

    /// Enters every node into its parent's children, in the order of their places, and makes it known to everything that follows from
    /// the nodes. It goes through the places and not down from the root, since that is how they lie in memory.
    fn enter_all(&mut self) -> Result<(), LoadError> {
        let (mut bound, mut paths) = (Bound::default(), Paths::default());
        let mut at = self.tree.arena.end();
        while let Some(slot) = self.tree.arena.used_before(at) {
            at = slot;
            if slot == NodeId::ROOT.0 {
                self.enter(slot, b"/", &mut bound)?;
                break;
            }
            let path = paths.of(&self.tree, slot)?;
            self.enter(slot, path, &mut bound)?;
            self.tree.arena.link(slot);
        }
        // Oldest first, as they were before.
        bound.ephemerals.sort_unstable();
        for (_, slot, session) in bound.ephemerals {
            self.tree.ephemerals.add(&mut self.tree.arena, session, slot);
        }
        for slot in bound.reapable {
            self.tree.reaper.touch(slot, self.tree.reap_facts(slot));
        }
        Ok(())
    }

    fn enter(&mut self, slot: u32, path: &[u8], bound: &mut Bound) -> Result<(), LoadError> {
        let tree = &mut self.tree;
        let (hash, arena) = (tree.hash(path), &tree.arena);
        if !tree.index.insert_new(hash, slot, |other| arena.is_at(other, path)) {
            return Err(LoadError::DuplicatePath(show(path)));
        }
        tree.arena.node_mut(slot).set_digested(digest::counts(path));
        tree.count_in(slot, path);
        tree.note_limits(path);
        match tree.kind(NodeId(slot)) {
            NodeKind::Persistent => {}
            NodeKind::Ephemeral(session) => bound.ephemerals.push((tree.arena.stat(slot).czxid, slot, session)),
            NodeKind::Container | NodeKind::Ttl { .. } => bound.reapable.push(slot),
        }
        Ok(())
    }
}

/// What can be entered elsewhere only when all children are known.
#[derive(Default)]
struct Bound {
    /// With the zxid that created each.
    ephemerals: Vec<(Zxid, u32, SessionId)>,
    reapable: Vec<u32>,
}

/// Paths of nodes of which only the parents are known.
#[derive(Default)]
struct Paths {
    path: Vec<u8>,
    /// Whose path the first `parent_len` bytes are, if anybody's.
    parent: Option<u32>,
    parent_len: usize,
    /// From a node up to the root.
    lineage: Vec<u32>,
}

impl Paths {
    /// Path of the node at `slot`, which isn't the root. Costs the length of the path, or only of the name when the node
    /// asked for before has the same parent.
    fn of(&mut self, tree: &Tree, slot: u32) -> Result<&[u8], LoadError> {
        let parent = tree.arena.node(slot).parent();
        if self.parent != Some(parent) {
            self.climb(tree, slot)?;
            self.path.clear();
            for above in self.lineage.iter().rev() {
                self.path.push(b'/');
                self.path.extend_from_slice(tree.arena.node(*above).name());
            }
            (self.parent, self.parent_len) = (Some(parent), self.path.len());
        }
        self.path.truncate(self.parent_len);
        self.path.push(b'/');
        self.path.extend_from_slice(tree.arena.node(slot).name());
        Ok(&self.path)
    }

    /// Finds everything between the node at `slot` and the root.
    fn climb(&mut self, tree: &Tree, slot: u32) -> Result<(), LoadError> {
        self.lineage.clear();
        let mut below = slot;
        loop {
            let parent = tree.arena.node(below).parent();
            if !tree.arena.contains(parent) || matches!(tree.kind(NodeId(parent)), NodeKind::Ephemeral(_)) {
                return Err(LoadError::Parent { slot: below, parent });
            }
            if parent == NodeId::ROOT.0 {
                return Ok(());
            }
            // More nodes than there are: they go round in a circle.
            if self.lineage.len() == tree.arena.len() {
                return Err(LoadError::Circle(slot));
            }
            self.lineage.push(parent);
            below = parent;
        }
    }
}
