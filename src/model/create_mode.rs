//! How a node is created and what kind of node it then is, and how the kind is kept in the persisted `ephemeralOwner`.
//!
//! Source: ZooKeeper's `CreateMode` (flags 0 to 6) and `EphemeralType` (containers `0x8000…`, TTL `0xff…`).

use crate::base::ids::SessionId;

/// Mark of a container in the persisted owner.
const CONTAINER_OWNER: i64 = i64::MIN;
/// Mark of a TTL node in the persisted owner; the low 40 bits are the TTL in milliseconds.
const TTL_OWNER_MARK: u64 = 0xff00_0000_0000_0000;
/// Longest time to live, in milliseconds.
pub const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

/// The flags of a create request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateMode {
    /// Flag 0.
    Persistent,
    /// Flag 1.
    Ephemeral,
    /// Flag 2.
    PersistentSequential,
    /// Flag 3.
    EphemeralSequential,
    /// Flag 4.
    Container,
    /// Flag 5.
    PersistentWithTtl,
    /// Flag 6.
    PersistentSequentialWithTtl,
}

impl CreateMode {
    /// The mode of a number on the wire.
    #[must_use]
    pub fn from_flags(flags: i32) -> Option<CreateMode> {
        use CreateMode::*;
        [Persistent, Ephemeral, PersistentSequential, EphemeralSequential, Container, PersistentWithTtl, PersistentSequentialWithTtl]
            .get(usize::try_from(flags).ok()?)
            .copied()
    }

    /// Whether the parent's counter is appended to the name.
    #[must_use]
    pub fn is_sequential(self) -> bool {
        matches!(self, CreateMode::PersistentSequential | CreateMode::EphemeralSequential | CreateMode::PersistentSequentialWithTtl)
    }

    /// Whether the node dies with its session.
    #[must_use]
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Whether it is one of the TTL modes.
    #[must_use]
    pub fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl)
    }
}

/// The kind of a node, which its persisted `ephemeralOwner` encodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// Stays until it is deleted.
    Persistent,
    /// Dies with the session.
    Ephemeral(SessionId),
    /// Deleted by the server once its last child is gone.
    Container,
    /// Deleted by the server when it has no children and wasn't changed for this many milliseconds.
    Ttl {
        /// 1 to [`TTL_MS_MAX`].
        ttl_ms: i64,
    },
}

impl NodeKind {
    /// From a persisted owner. `extended_types` tells whether TTL nodes are enabled (else a top byte 0xff is a session).
    #[must_use]
    pub fn from_owner(owner: i64, extended_types: bool) -> NodeKind {
        if owner == 0 {
            NodeKind::Persistent
        } else if owner == CONTAINER_OWNER {
            NodeKind::Container
        } else if extended_types && owner.cast_unsigned() & TTL_OWNER_MARK == TTL_OWNER_MARK {
            NodeKind::Ttl { ttl_ms: owner & TTL_MS_MAX }
        } else {
            NodeKind::Ephemeral(SessionId(owner))
        }
    }

    /// The persisted owner.
    #[must_use]
    pub fn owner(self) -> i64 {
        match self {
            NodeKind::Persistent => 0,
            NodeKind::Ephemeral(session) => session.0,
            NodeKind::Container => CONTAINER_OWNER,
            NodeKind::Ttl { ttl_ms } => TTL_OWNER_MARK.cast_signed() | ttl_ms,
        }
    }

    /// What a client sees as `ephemeralOwner`: the session of an ephemeral node, else 0.
    #[must_use]
    pub fn owner_seen_by_clients(self) -> i64 {
        match self {
            NodeKind::Ephemeral(session) => session.0,
            NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_round_trip() {
        for kind in [NodeKind::Persistent, NodeKind::Container, NodeKind::Ttl { ttl_ms: TTL_MS_MAX }, NodeKind::Ephemeral(SessionId(-5))] {
            assert_eq!(NodeKind::from_owner(kind.owner(), kind != NodeKind::Ephemeral(SessionId(-5))), kind);
        }
        assert_eq!(NodeKind::Container.owner_seen_by_clients(), 0);
    }

    #[test]
    fn flags_outside_the_modes_are_none() {
        assert_eq!(CreateMode::from_flags(7), None);
        assert_eq!(CreateMode::from_flags(-1), None);
        assert_eq!(CreateMode::from_flags(6), Some(CreateMode::PersistentSequentialWithTtl));
    }
}
