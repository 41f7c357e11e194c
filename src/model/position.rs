//! Positions in the one history: a zxid alone can be ambiguous between epochs, an [`Identity`] never is.

use crate::base::ids::Zxid;

/// Names a position of the one history: the last zxid of a batch and the checksum of its replicated header, which covers its
/// body and, through the predecessor, everything before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Identity {
    /// Last zxid of the batch.
    pub zxid: Zxid,
    /// Checksum of its replicated header; 0 when nothing or only a snapshot precedes.
    pub checksum: u64,
}

/// What decides whose history is the newest: first the epoch that a server acknowledged last, then how far its durable,
/// contiguous history reaches. Compared in this order (ZooKeeper: `FastLeaderElection.totalOrderPredicate` without the id).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// The epoch whose NEWLEADER was acknowledged last.
    pub current_epoch: u32,
    /// The last durable batch.
    pub last: Identity,
}

impl Position {
    /// The part that is compared.
    #[must_use]
    pub fn rank(&self) -> (u32, Zxid) {
        (self.current_epoch, self.last.zxid)
    }
}
