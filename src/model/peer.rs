//! What servers of an ensemble say to each other, as values. `wire::peer` gives them their bytes, `docs/replication.md` their order.
//!
//! Three lanes connect two servers, each a connection of its own: *pulse* (small, never behind anything), *main* (the one ordered
//! lane: election, synchronisation, proposals, commits, forwarded requests and their verdicts), *bulk* (what a server that catches
//! up fetches). Every message of the main lane but the first four names the epoch of the leader it is about; one of another epoch
//! is not looked at.

use crate::base::ids::{ClusterId, ServerId, Zxid};
use crate::model::position::{Identity, Position};

/// One of the connections between two servers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// Heartbeats.
    Pulse = 0,
    /// Everything that has an order.
    Main = 1,
    /// Log ranges and snapshots.
    Bulk = 2,
}

/// All lanes.
pub const LANES: [Lane; 3] = [Lane::Pulse, Lane::Main, Lane::Bulk];

/// What a server's word counts for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It never acknowledged a leader and holds no history: new, or wiped. It promises nothing, except to found an ensemble.
    Empty = 0,
    /// It lacks something that it once acknowledged. It promises nothing until a leader has synchronised it.
    Repairing = 1,
    /// It holds everything that it ever acknowledged.
    Voter = 2,
}

/// What a server is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stance {
    /// It looks for a leader.
    Looking,
    /// It asks for promises to lead `epoch`.
    Candidate {
        /// Which epoch.
        epoch: u32,
    },
    /// It leads.
    Leading {
        /// Which epoch.
        epoch: u32,
        /// A quorum has acknowledged its history: it serves.
        established: bool,
    },
    /// It follows (or observes).
    Following {
        /// Whom.
        leader: ServerId,
        /// In which epoch.
        epoch: u32,
        /// It is synchronised and serves.
        serving: bool,
    },
}

/// A heartbeat: everything about a server that others judge by. Sent at each interval and at once when the stance changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pulse {
    /// The ensemble's identity; 0 while the server has none.
    pub cluster: ClusterId,
    /// What its word counts for.
    pub standing: Standing,
    /// What it does.
    pub stance: Stance,
    /// The highest epoch it promised.
    pub accepted_epoch: u32,
    /// Its history.
    pub position: Position,
    /// Whether it hears voters enough for a quorum, itself included.
    pub hears_quorum: bool,
    /// The operator started it as the first member of an ensemble, with the history that it holds (`--bootstrap`).
    pub founder: bool,
    /// The last applied transaction.
    pub applied: Zxid,
    /// Digest of the tree there.
    pub digest: u64,
}

/// Why a promise is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// That epoch, or a later one, is promised already.
    Promised = 0,
    /// The asked server's history is newer than the candidate's.
    Newer = 1,
    /// The asked server follows a leader that it hears.
    Content = 2,
    /// The asked server's word doesn't count ([`Standing`]), or it isn't asked to found an ensemble.
    NoVoice = 3,
}

/// One message. Bytes are borrowed from the frame they came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Pulse lane.
    Pulse(Pulse),

    /// Candidate to every voter: promise me this epoch.
    NewEpoch {
        /// Promised by this candidate to itself, and to nobody else by anybody who answers with a promise.
        epoch: u32,
        /// The candidate's history.
        position: Position,
        /// The ensemble's identity.
        cluster: ClusterId,
        /// All voters were heard and none has a history (or the operator said so): empty servers may promise too.
        founding: bool,
    },
    /// The promise is durable: no leader of an earlier epoch will be followed, no other candidate gets this epoch.
    Promise {
        /// Promised epoch.
        epoch: u32,
        /// History of the promising server.
        position: Position,
    },
    /// No promise.
    Refuse {
        /// Epoch asked for.
        epoch: u32,
        /// Epoch promised before.
        accepted_epoch: u32,
        /// History of the refusing server.
        position: Position,
        /// Why.
        why: Refusal,
    },
    /// The candidate has the promises of a quorum and leads.
    Lead {
        /// Its epoch.
        epoch: u32,
    },

    /// Learner to leader: my history reaches through `last`; continue there.
    Follow {
        /// Of the leader.
        epoch: u32,
        /// A position at which the learner could continue.
        last: Identity,
        /// `last` isn't the learner's end but a guess at what both have: the answer is a [`Message::Back`] in any case.
        probe: bool,
    },
    /// The leader has `after`; every later batch follows on this lane, then NEWLEADER.
    Diff {
        /// Of the leader.
        epoch: u32,
        /// Same as [`Message::Follow`]'s `last`.
        after: Identity,
    },
    /// Continue at `to` at the latest: cut the log there if you have it, else say what you have before it.
    Back {
        /// Of the leader.
        epoch: u32,
        /// In the leader's history.
        to: Identity,
    },
    /// The leader has `after`, but so far back that the learner fetches the batches on the bulk lane and then follows again.
    Fetch {
        /// Of the leader.
        epoch: u32,
        /// Same as [`Message::Follow`]'s `last`.
        after: Identity,
    },
    /// The learner fetches this snapshot on the bulk lane, and then follows again from it.
    Snapshot {
        /// Of the leader.
        epoch: u32,
        /// Where the snapshot stands.
        at: Identity,
        /// Bytes of its file.
        len: u64,
    },
    /// NEWLEADER: make everything through `last` durable, then the epoch, then acknowledge.
    NewLeader {
        /// Of the leader.
        epoch: u32,
        /// What was sent last.
        last: Identity,
    },
    /// The history through `last` and then `epoch` as current epoch are durable.
    AckLeader {
        /// Of the leader.
        epoch: u32,
        /// As in [`Message::NewLeader`].
        last: Identity,
    },
    /// A quorum has acknowledged: serve.
    UpToDate {
        /// Of the leader.
        epoch: u32,
        /// Committed through here.
        committed: Zxid,
    },

    /// A proposal: one batch, `bytes` being its replicated header and body.
    Batch {
        /// Of the leader.
        epoch: u32,
        /// Committed through here.
        committed: Zxid,
        /// Number of the leader's round; the next ack names it.
        beat: u64,
        /// A quorum has answered this round.
        confirmed: u64,
        /// [`crate::model::peer`] doesn't look into it.
        bytes: &'a [u8],
    },
    /// What a batch says beside its bytes, when there is none to carry it.
    Progress {
        /// Of the leader.
        epoch: u32,
        /// Committed through here.
        committed: Zxid,
        /// Number of the leader's round.
        beat: u64,
        /// A quorum has answered this round.
        confirmed: u64,
    },
    /// Learner to leader, cumulative.
    Ack {
        /// Of the leader.
        epoch: u32,
        /// Durable here, contiguous over all shards, through this zxid.
        durable: Zxid,
        /// The last round heard of.
        beat: u64,
    },

    /// Learner to leader: requests of its clients (`wire::peer::forward`).
    Forward {
        /// Of the leader.
        epoch: u32,
        /// Encoded requests.
        bytes: &'a [u8],
    },
    /// Leader to learner: what became of the requests forwarded, in their order (`wire::peer::forward`).
    Verdicts {
        /// Of the leader.
        epoch: u32,
        /// Encoded verdicts.
        bytes: &'a [u8],
    },
    /// Learner to leader: sessions heard of since the last such message, and how long ago (`wire::peer::touched`).
    Touched {
        /// Of the leader.
        epoch: u32,
        /// Encoded items.
        bytes: &'a [u8],
    },

    /// Bulk lane: batches after `after`, at most so many bytes (one batch at least).
    FetchAsk {
        /// Where to begin.
        after: Identity,
        /// How much.
        bytes_max: u32,
    },
    /// Bulk lane: whole batches (replicated header and body each), one behind the other.
    Fetched {
        /// As asked.
        after: Identity,
        /// There are more; false with no bytes: nothing follows `after`, or it is gone.
        more: bool,
        /// The batches.
        bytes: &'a [u8],
    },
    /// Bulk lane: a piece of a snapshot.
    PieceAsk {
        /// Which snapshot.
        at: Zxid,
        /// First byte.
        offset: u64,
        /// How many.
        len: u32,
    },
    /// Bulk lane: that piece; empty: the snapshot is gone.
    Piece {
        /// As asked.
        at: Zxid,
        /// As asked.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
}
