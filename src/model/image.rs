//! What a snapshot holds, as borrowed values. The scan in `tree` hands them out, `snapshot` stores them.

use crate::base::ids::SessionId;
use crate::model::stat::PersistedStat;
use crate::model::txn::PASSWORD_BYTES;

/// One node at the snapshot's zxid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeImage<'a> {
    /// The node's place in the arena; places are kept, so that parents can be named by theirs.
    pub slot: u32,
    /// The parent's place; a root names itself.
    pub parent_slot: u32,
    /// Last component of the path; empty for the root.
    pub name: &'a [u8],
    /// Null and empty differ.
    pub data: Option<&'a [u8]>,
    /// Number of its ACL in the snapshot's own table.
    pub acl: u32,
    /// The replicated stat.
    pub stat: PersistedStat,
}

/// One entry of the ACL table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AclImage<'a> {
    /// Number by which nodes name it.
    pub acl: u32,
    /// The list in wire form.
    pub list: &'a [u8],
}

/// One session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionImage {
    /// Which.
    pub session: SessionId,
    /// Negotiated timeout.
    pub timeout_ms: u32,
    /// For resuming.
    pub password: [u8; PASSWORD_BYTES],
}

/// Takes images of nodes, in any order, each node once.
pub trait ImageSink {
    /// One node as it is at the snapshot's zxid.
    fn node(&mut self, image: NodeImage<'_>);
}
