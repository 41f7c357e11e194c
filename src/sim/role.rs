//! What a server does in its ensemble, with servers named by their index.

use crate::base::memory::HeapMemory;
use crate::server::keeper::Keeper;
use crate::zab;

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
pub fn role(keeper: &Keeper<HeapMemory>) -> Role {
    match keeper.role() {
        None => Role::Alone,
        Some(zab::Role::Looking) => Role::Looking,
        Some(zab::Role::Leading { epoch, established }) => Role::Leading { epoch, established },
        Some(zab::Role::Following { leader, epoch, serving }) => {
            Role::Following { leader: usize::from(leader.0).saturating_sub(1), epoch, serving }
        }
    }
}
