//! Where the simulator meets what only ensembles have of the keeper: its role, its mail with other servers.

use crate::base::memory::HeapMemory;
use crate::server::keeper::{Cx, Effects, Keeper};
use crate::server::peer_mail::{PeerBurst, PeerOutbox};

/// What a server does in its ensemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It is alone.
    Alone,
    /// It looks for a leader.
    Looking,
    /// It leads.
    Leading {
        /// Which epoch.
        epoch: u32,
        /// It serves.
        established: bool,
    },
    /// It follows.
    Following {
        /// Index of the leader.
        leader: usize,
        /// In which epoch.
        epoch: u32,
        /// It serves.
        serving: bool,
    },
}

impl Role {
    /// Whether clients are served.
    #[must_use]
    pub fn serves(self) -> bool {
        matches!(self, Role::Alone | Role::Leading { established: true, .. } | Role::Following { serving: true, .. })
    }

    /// The epoch it is about; 0 without one.
    #[must_use]
    pub fn epoch(self) -> u32 {
        match self {
            Role::Alone | Role::Looking => 0,
            Role::Leading { epoch, .. } | Role::Following { epoch, .. } => epoch,
        }
    }
}

/// What the keeper says that it does.
#[must_use]
pub fn role(_keeper: &Keeper<HeapMemory>) -> Role {
    Role::Alone
}

/// Hands mail of other servers to the keeper.
pub fn on_peers(_keeper: &mut Keeper<HeapMemory>, _cx: &mut Cx<'_, HeapMemory>, _burst: &PeerBurst) {}

/// The keeper's mail for other servers.
#[must_use]
pub fn take_peers(_fx: &mut Effects<HeapMemory>) -> PeerOutbox {
    PeerOutbox::default()
}

/// Whether the keeper asks to be dropped and recovered anew.
#[must_use]
pub fn reboots(_fx: &mut Effects<HeapMemory>) -> bool {
    false
}
