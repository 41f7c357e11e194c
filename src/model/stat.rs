//! The stat of a node as clients see it, and the part of it that is replicated.

use crate::base::ids::Zxid;

/// What is kept and replicated of a node's stat (60 bytes in ZooKeeper's formats; see the digest).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PersistedStat {
    /// Transaction that created the node.
    pub czxid: Zxid,
    /// Transaction that last changed its data.
    pub mzxid: Zxid,
    /// Its own `czxid`, then the last creation or deletion of a child.
    pub pzxid: Zxid,
    /// Leader's wall clock at the creation, milliseconds.
    pub ctime_ms: i64,
    /// Leader's wall clock at the last change of the data, milliseconds.
    pub mtime_ms: i64,
    /// +1 with every setData.
    pub version: i32,
    /// Number of children ever created; the source of sequence numbers. Not what clients see as `cversion`.
    pub cversion: i32,
    /// +1 with every setACL.
    pub aversion: i32,
    /// Persisted owner, see [`crate::model::create_mode::NodeKind`].
    pub owner: i64,
}

/// The stat on the wire (68 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// See [`PersistedStat`].
    pub czxid: Zxid,
    /// See [`PersistedStat`].
    pub mzxid: Zxid,
    /// Milliseconds since 1970.
    pub ctime_ms: i64,
    /// Milliseconds since 1970.
    pub mtime_ms: i64,
    /// Of the data.
    pub version: i32,
    /// Creations and deletions of children.
    pub cversion: i32,
    /// Of the ACL.
    pub aversion: i32,
    /// Session of an ephemeral node, else 0.
    pub ephemeral_owner: i64,
    /// Bytes of data.
    pub data_len: i32,
    /// Direct children.
    pub num_children: i32,
    /// See [`PersistedStat`].
    pub pzxid: Zxid,
}

impl PersistedStat {
    /// The stat a client sees: `cversion` counts creations and deletions (`2 * persisted - children`), containers and TTL nodes
    /// show no owner.
    #[must_use]
    pub fn seen_by_clients(&self, data_len: usize, num_children: usize, extended_types: bool) -> Stat {
        let children = i32::try_from(num_children).unwrap_or(i32::MAX);
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime_ms: self.ctime_ms,
            mtime_ms: self.mtime_ms,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(children),
            aversion: self.aversion,
            ephemeral_owner: super::create_mode::NodeKind::from_owner(self.owner, extended_types).owner_seen_by_clients(),
            data_len: i32::try_from(data_len).unwrap_or(i32::MAX),
            num_children: children,
            pzxid: self.pzxid,
        }
    }
}
