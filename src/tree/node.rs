//! The two records of a node: [`Node`], 64 bytes, which every node has, and [`Extra`], which only changed, owned and parent
//! nodes have.
//!
//! Guarantees the sizes and how name, data and flags are packed. Leaves to `arena`: where the records live and how they are
//! linked.

use super::slab::{NONE, Vacant};
use crate::base::ids::Zxid;
use crate::base::limits::FRAME_BYTES_MAX;
use crate::model::stat::PersistedStat;

/// A node's place. Valid until the node is deleted; places are used again, so it isn't kept across changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// The root, which is never deleted.
    pub const ROOT: NodeId = NodeId(0);

    /// The number under which snapshots know the node.
    #[must_use]
    pub fn slot(self) -> u32 {
        self.0
    }
}

/// Flags in the top bits of [`Node::name_len_and_flags`].
pub(super) const IN_USE: u32 = 1 << 31;
pub(super) const NULL_DATA: u32 = 1 << 30;
pub(super) const UNDIGESTED: u32 = 1 << 29;
pub(super) const NAME_LEN_MASK: u32 = UNDIGESTED - 1;
const _: () = assert!(FRAME_BYTES_MAX < NAME_LEN_MASK as usize);

/// One node.
pub(super) struct Node {
    pub(super) czxid: u64,
    pub(super) ctime_ms: i64,
    /// Name, then data.
    pub(super) name_and_data: Box<[u8]>,
    pub(super) parent: u32,
    pub(super) next: u32,
    pub(super) prev: u32,
    /// Number in the ACL table.
    pub(super) acl: u32,
    pub(super) name_len_and_flags: u32,
    /// State of the checksum after path and data; what follows them in it is the stat.
    pub(super) crc_state: u32,
    /// The node's part in the tree digest.
    pub(super) crc: u32,
    pub(super) extra: u32,
}

const _: () = assert!(size_of::<Node>() == 64);

/// What hangs below a node: children, or (ephemerals can't have any) its neighbours among the nodes of its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Below {
    /// The record is unused.
    Vacant,
    Children {
        first: u32,
        count: u32,
    },
    Session {
        next: u32,
        prev: u32,
    },
}

/// The rest of a node that is more than an unchanged leaf.
pub(super) struct Extra {
    pub(super) mzxid: u64,
    pub(super) pzxid: u64,
    pub(super) mtime_ms: i64,
    pub(super) owner: i64,
    pub(super) version: i32,
    pub(super) cversion: i32,
    pub(super) aversion: i32,
    pub(super) below: Below,
}

const _: () = assert!(size_of::<Extra>() == 56);

/// No children.
pub(super) const CHILDLESS: Below = Below::Children { first: NONE, count: 0 };

impl Vacant for Node {
    fn vacant() -> Node {
        Node {
            czxid: 0,
            ctime_ms: 0,
            name_and_data: Box::default(),
            parent: NONE,
            next: NONE,
            prev: NONE,
            acl: NONE,
            name_len_and_flags: 0,
            crc_state: 0,
            crc: 0,
            extra: NONE,
        }
    }

    fn is_vacant(&self) -> bool {
        self.name_len_and_flags & IN_USE == 0
    }
}

impl Vacant for Extra {
    fn vacant() -> Extra {
        Extra { mzxid: 0, pzxid: 0, mtime_ms: 0, owner: 0, version: 0, cversion: 0, aversion: 0, below: Below::Vacant }
    }

    fn is_vacant(&self) -> bool {
        self.below == Below::Vacant
    }
}

impl Node {
    /// Last component of the path, empty for the root.
    #[inline]
    pub(super) fn name(&self) -> &[u8] {
        &self.name_and_data[..(self.name_len_and_flags & NAME_LEN_MASK) as usize]
    }

    /// Null and empty differ.
    pub(super) fn data(&self) -> Option<&[u8]> {
        let data = &self.name_and_data[(self.name_len_and_flags & NAME_LEN_MASK) as usize..];
        (self.name_len_and_flags & NULL_DATA == 0).then_some(data)
    }

    /// Bytes of data; 0 for null.
    pub(super) fn data_len(&self) -> usize {
        self.name_and_data.len() - (self.name_len_and_flags & NAME_LEN_MASK) as usize
    }

    /// The root is its own parent.
    #[inline]
    pub(super) fn parent(&self) -> u32 {
        self.parent
    }

    /// Whether it counts in the tree digest.
    pub(super) fn is_digested(&self) -> bool {
        self.name_len_and_flags & UNDIGESTED == 0
    }

    /// Decides whether it counts in the tree digest (the loader learns the path late).
    pub(super) fn set_digested(&mut self, digested: bool) {
        self.name_len_and_flags = (self.name_len_and_flags & !UNDIGESTED) | if digested { 0 } else { UNDIGESTED };
    }

    /// The stat of a node without a second record.
    pub(super) fn unchanged_stat(&self) -> PersistedStat {
        let (zxid, time_ms) = (Zxid(self.czxid), self.ctime_ms);
        PersistedStat { czxid: zxid, mzxid: zxid, pzxid: zxid, ctime_ms: time_ms, mtime_ms: time_ms, ..PersistedStat::default() }
    }
}
