//! What a server of an ensemble needs to know beyond a standalone one, typed; [`super::ensemble_rules`] makes it.

use crate::base::ids::ServerId;
use crate::model::membership::Membership;

/// Who must be heard before a new ensemble makes its first leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bootstrap {
    /// Every voter: none of them can then have held a history that this one doesn't know of.
    All,
    /// A quorum: for voters that are known to be new.
    Quorum,
}

/// This server's ensemble and its part in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ensemble {
    /// Which of the members this server is (`myid`).
    pub me: ServerId,
    /// All members; `me` is one of them.
    pub membership: Membership,
    /// Longest time to connect to a leader and be synchronised (`initLimit` ticks).
    pub init_ms: u64,
    /// Longest time without progress that a synchronised server may lag (`syncLimit` ticks).
    pub sync_ms: u64,
    /// Between two heartbeats.
    pub pulse_interval_ms: u64,
    /// A peer that was silent for so long counts as gone.
    pub silence_ms: u64,
    /// How long a server that looks for a leader waits for better candidates once a quorum is heard.
    pub gather_ms: u64,
    /// Who must be heard before a new ensemble makes its first leader.
    pub bootstrap: Bootstrap,
    /// The operator started this server as the first of an ensemble, with the history that it holds (`serve --bootstrap`). Set by
    /// the command line, never by a file: the next start must not have it again.
    pub founder: bool,
    /// Bytes that may wait for one peer before it is dropped and synchronised anew.
    pub peer_backlog_bytes: u64,
    /// Bytes of batches that are kept in memory for peers that catch up.
    pub catchup_cache_bytes: u64,
    /// Listens for peers on all addresses, not only on that of its own `server.N` line.
    pub listen_on_all: bool,
    /// Serves reads to clients that accept it while it is cut off from its ensemble.
    pub read_only_enabled: bool,
}
