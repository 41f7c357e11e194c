//! The outstanding changes: what each path that an unapplied transaction touches will look like.
//!
//! An entry holds the whole judgeable state of one path after the last outstanding transaction that touched it, so a path
//! is either answered by its entry alone or, when it has none, by the tree alone. Entries leave when the transaction that
//! last touched them is applied; their memory is used again. A multi records what it overwrites and can put all of it back.
//! Leaves to others: whether a change is allowed (the siblings of this file), what it does to quotas (`quota`).

use crate::base::checksum::seeded_hash;
use crate::base::ids::{SessionId, Zxid};
use crate::invariant;
use crate::model::acl::{self, AclList};
use crate::model::create_mode::NodeKind;
use crate::mutant;
use crate::tree::{NodeId, Tree};
use hashbrown::HashTable;
use std::collections::{BTreeSet, VecDeque};

/// What judging needs to know of one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct NodeState {
    /// Whether there is a node; without one the other fields mean nothing.
    pub(super) exists: bool,
    /// Whether an outstanding transaction created it or set its data: then its age is zero.
    pub(super) is_young: bool,
    /// Of the data.
    pub(super) version: i32,
    /// Persisted: children ever created.
    pub(super) cversion: i32,
    /// Of the ACL.
    pub(super) aversion: i32,
    /// Persisted owner.
    pub(super) owner: i64,
    /// Direct children.
    pub(super) children: usize,
    /// Bytes of data; null counts as none.
    pub(super) data_len: usize,
}

/// A path as it was looked up: valid until the overlay changes for that path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    hash: u64,
    place: Place,
    /// The state found.
    pub(super) state: NodeState,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Overlay(u32),
    Tree(NodeId),
    Nowhere,
}

/// One path's future.
#[derive(Debug, Default)]
struct Entry {
    hash: u64,
    /// The last outstanding transaction that touched the path.
    zxid: Zxid,
    path: Vec<u8>,
    /// Whose list it has: that of a node of the tree, which lives as long as no later entry says otherwise, or its own.
    inherits: Option<NodeId>,
    /// Its own list in wire form, checked by the resolver.
    acl: Vec<u8>,
    state: NodeState,
}

/// What to put back when a multi fails.
#[derive(Debug)]
struct Undo {
    slot: u32,
    /// `None` when the multi made the entry.
    was: Option<Former>,
}

/// An entry before a multi changed it.
#[derive(Debug)]
struct Former {
    zxid: Zxid,
    state: NodeState,
    /// `None` if the change kept the list: a parent with a long one may be touched thousands of times.
    acl: Option<(Option<NodeId>, Vec<u8>)>,
}

/// Bytes of a released entry's texts that are kept for the next one.
const KEPT_BYTES_MAX: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Pending {
    seed: u64,
    extended_types: bool,
    entries: Vec<Entry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    /// Which entry each outstanding transaction touched, in zxid order.
    order: VecDeque<(Zxid, u32)>,
    /// Live ephemeral nodes among the entries, by session.
    ephemerals: BTreeSet<(SessionId, u32)>,
    undo: Vec<Undo>,
    /// Length of `order` when the recording multi began.
    recording_from: Option<usize>,
}

impl Pending {
    pub(super) fn new(seed: u64, extended_types: bool) -> Pending {
        Pending {
            seed,
            extended_types,
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            order: VecDeque::new(),
            ephemerals: BTreeSet::new(),
            undo: Vec::new(),
            recording_from: None,
        }
    }

    /// Paths with outstanding changes.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The last transaction that left an entry still here.
    pub(super) fn newest_zxid(&self) -> Option<Zxid> {
        self.order.back().map(|(zxid, _)| *zxid)
    }

    /// What `path` looks like once everything outstanding is applied.
    pub(super) fn look(&self, tree: &Tree, path: &[u8]) -> Look {
        let hash = seeded_hash(self.seed, path);
        if let Some(slot) = self.find(hash, path) {
            return Look { hash, place: Place::Overlay(slot), state: self.entries[slot as usize].state };
        }
        match tree.find(path) {
            Some(node) => Look { hash, place: Place::Tree(node), state: state_in_tree(tree, node) },
            None => Look { hash, place: Place::Nowhere, state: NodeState::default() },
        }
    }

    fn find(&self, hash: u64, path: &[u8]) -> Option<u32> {
        if self.index.is_empty() {
            return None;
        }
        self.index.find(hash, |slot| self.entries[*slot as usize].path == path).copied()
    }

    /// Whether `identities` may do one of `wanted` to the node that `look` found.
    pub(super) fn permits(&self, tree: &Tree, look: &Look, wanted: i32, identities: &[acl::Identity]) -> bool {
        let list = match look.place {
            Place::Tree(node) => tree.acl(node),
            Place::Overlay(slot) => self.entries[slot as usize].list(tree),
            Place::Nowhere => return false,
        };
        acl::permits(list, wanted, identities)
    }

    /// Gives `path`, found as `look`, a new state as of transaction `zxid`; `acl` of `None` keeps the list.
    pub(super) fn put(&mut self, zxid: Zxid, path: &[u8], look: &Look, state: NodeState, acl: Option<&[u8]>) {
        let slot = match look.place {
            Place::Overlay(slot) => {
                self.remember(slot, acl.is_some());
                slot
            }
            Place::Tree(_) | Place::Nowhere => self.insert(look.hash, path),
        };
        let entry = &mut self.entries[slot as usize];
        if let Some(list) = acl {
            entry.inherits = None;
            entry.acl.clear();
            entry.acl.extend_from_slice(list);
        } else if let Place::Tree(node) = look.place {
            entry.inherits = Some(node);
        }
        if entry.zxid != zxid {
            entry.zxid = zxid;
            self.order.push_back((zxid, slot));
        }
        self.set_state(slot, state);
    }

    /// The one place where a state changes, so that the index of ephemerals can't go astray.
    fn set_state(&mut self, slot: u32, state: NodeState) {
        let entry = &mut self.entries[slot as usize];
        let (old, new) = (ephemeral_owner(&entry.state, self.extended_types), ephemeral_owner(&state, self.extended_types));
        entry.state = state;
        if old != new {
            old.map(|session| self.ephemerals.remove(&(session, slot)));
            new.map(|session| self.ephemerals.insert((session, slot)));
        }
    }

    fn insert(&mut self, hash: u64, path: &[u8]) -> u32 {
        invariant!(self.find(hash, path).is_none(), "two overlay entries for one path");
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.entries.push(Entry::default());
                u32::try_from(self.entries.len() - 1).expect("outstanding requests are bounded far below 2^32")
            }
        };
        let entry = &mut self.entries[slot as usize];
        entry.hash = hash;
        entry.path.clear();
        entry.path.extend_from_slice(path);
        entry.inherits = None;
        entry.acl.clear();
        let entries = &self.entries;
        self.index.insert_unique(hash, slot, |slot| entries[*slot as usize].hash);
        if self.recording_from.is_some() {
            self.undo.push(Undo { slot, was: None });
        }
        slot
    }

    fn remember(&mut self, slot: u32, acl_changes: bool) {
        if self.recording_from.is_some() {
            let entry = &mut self.entries[slot as usize];
            // Taken, not copied: what changes the list writes another one.
            let acl = acl_changes.then(|| (entry.inherits, std::mem::take(&mut entry.acl)));
            self.undo.push(Undo { slot, was: Some(Former { zxid: entry.zxid, state: entry.state, acl }) });
        }
    }

    fn release(&mut self, slot: u32) {
        self.set_state(slot, NodeState::default());
        let entry = &mut self.entries[slot as usize];
        entry.zxid = Zxid::ZERO;
        for text in [&mut entry.acl, &mut entry.path] {
            if text.capacity() > KEPT_BYTES_MAX {
                *text = Vec::new();
            }
        }
        match self.index.find_entry(entry.hash, |other| *other == slot) {
            Ok(found) => drop(found.remove()),
            Err(_) => crate::base::check::broken(format_args!("a released overlay entry isn't in the index")),
        }
        self.free.push(slot);
    }

    /// From here on, remembers what changes.
    pub(super) fn begin_multi(&mut self) {
        self.undo.clear();
        self.recording_from = Some(self.order.len());
    }

    /// Keeps what changed since [`Pending::begin_multi`].
    pub(super) fn keep_multi(&mut self) {
        self.recording_from = None;
        self.undo.clear();
    }

    /// Puts everything back as it was at [`Pending::begin_multi`].
    pub(super) fn roll_back_multi(&mut self) {
        let Some(order_len) = self.recording_from.take() else { return };
        if mutant!("prep-failed-multi-leaves-overlay") {
            self.undo.clear();
            return;
        }
        self.order.truncate(order_len);
        while let Some(undo) = self.undo.pop() {
            match undo.was {
                None => self.release(undo.slot),
                Some(Former { zxid, state, acl }) => {
                    self.set_state(undo.slot, state);
                    let entry = &mut self.entries[undo.slot as usize];
                    entry.zxid = zxid;
                    if let Some((inherits, list)) = acl {
                        (entry.inherits, entry.acl) = (inherits, list);
                    }
                }
            }
        }
    }

    /// Everything through `zxid` is in the tree now.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        while let Some((touched, slot)) = self.order.front().copied() {
            if touched > zxid {
                break;
            }
            self.order.pop_front();
            // A later transaction touched it too: that one's record is further back.
            if self.entries[slot as usize].zxid == touched {
                self.release(slot);
            }
        }
    }

    /// Forgets everything, as a leader does that stops leading.
    pub(super) fn clear(&mut self) {
        self.applied(Zxid(u64::MAX));
    }

    /// Paths of the ephemeral nodes of `session` among the entries, one after the other into `out` with their lengths.
    pub(super) fn ephemerals_of(&self, session: SessionId, out: &mut Vec<u8>, lens: &mut Vec<usize>) {
        for (_, slot) in self.ephemerals.range((session, 0)..=(session, u32::MAX)) {
            let path = &self.entries[*slot as usize].path;
            out.extend_from_slice(path);
            lens.push(path.len());
        }
    }

    /// Memory of all lists of its own, of failed multis too.
    #[cfg(test)]
    pub(super) fn acl_bytes(&self) -> usize {
        let undone = self.undo.iter().filter_map(|undo| undo.was.as_ref()?.acl.as_ref()).map(|(_, list)| list.capacity());
        self.entries.iter().map(|entry| entry.acl.capacity()).chain(undone).sum()
    }

    /// A picture of all entries that doesn't depend on slots, to compare before and after.
    #[cfg(test)]
    pub(super) fn picture(&self, tree: &Tree) -> Vec<(Vec<u8>, Zxid, NodeState, Vec<u8>)> {
        let live = self.index.iter().map(|slot| &self.entries[*slot as usize]);
        let mut all: Vec<_> = live.map(|e| (e.path.clone(), e.zxid, e.state, e.list(tree).bytes().to_vec())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

impl Entry {
    fn list<'a>(&'a self, tree: &'a Tree) -> AclList<'a> {
        self.inherits.map_or(AclList::of_checked(&self.acl), |node| tree.acl(node))
    }
}

fn ephemeral_owner(state: &NodeState, extended_types: bool) -> Option<SessionId> {
    match NodeKind::from_owner(state.owner, extended_types) {
        NodeKind::Ephemeral(session) if state.exists => Some(session),
        _ => None,
    }
}

fn state_in_tree(tree: &Tree, node: NodeId) -> NodeState {
    let stat = tree.persisted(node);
    NodeState {
        exists: true,
        is_young: false,
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        owner: stat.owner,
        children: tree.num_children(node),
        data_len: tree.data(node).map_or(0, <[u8]>::len),
    }
}
