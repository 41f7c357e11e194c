//! A server's part in its ensemble as a plain value, and the lines that `mntr` makes of it: ZooKeeper's own under its names, ours
//! under `zk_ringkeeper_`.
//!
//! Every value is a number (a zxid in decimal), since tools convert each. Leaves to others: filling it (`keeper`).

use super::facts::Mode;
use super::mntr::Summary;
use super::text::put;
use crate::base::ids::{ServerId, Zxid};

/// How a learner was brought to its leader's history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SyncKind {
    /// It lacked the end of the log, or nothing.
    Diff = 0,
    /// It first gave up what the leader doesn't have.
    Trunc = 1,
    /// It got a snapshot.
    Snap = 2,
}

impl SyncKind {
    /// All kinds, in order.
    pub const ALL: [SyncKind; 3] = [SyncKind::Diff, SyncKind::Trunc, SyncKind::Snap];

    /// As ZooKeeper names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SyncKind::Diff => "diff",
            SyncKind::Trunc => "trunc",
            SyncKind::Snap => "snap",
        }
    }
}

/// How far server and leader are with each other (ZooKeeper: `ZabState` and `SyncMode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// There is no leader.
    Election,
    /// Who leads is known, the epoch is not begun.
    Discovery,
    /// Histories are being made equal, as the kind says once it is known.
    Synchronization(Option<SyncKind>),
    /// Serving.
    Broadcast,
}

/// Where this server stands in the one history. Without an ensemble, committed is what is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Positions {
    /// The last transaction that was judged.
    pub proposed: Zxid,
    /// Encoded here.
    pub accepted: Zxid,
    /// Handed to the disk here.
    pub submitted: Zxid,
    /// Contiguously durable here.
    pub durable: Zxid,
    /// Durable on a quorum, as far as this server knows.
    pub committed: Zxid,
    /// In the tree.
    pub applied: Zxid,
}

/// A server that a leader feeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnerFacts {
    /// Who.
    pub id: ServerId,
    /// Whether it votes.
    pub votes: bool,
    /// Whether it is synchronised and gets proposals as they come.
    pub synced: bool,
    /// The last position that it acknowledged.
    pub durable: Zxid,
    /// Bytes that wait for it.
    pub waiting_bytes: u64,
}

/// Bytes of proposals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProposalBytes {
    /// Of the last one.
    pub last: u64,
    /// Of the smallest.
    pub min: u64,
    /// Of the largest.
    pub max: u64,
}

impl ProposalBytes {
    /// Books one proposal of `len` bytes.
    pub fn record(sizes: &mut Option<ProposalBytes>, len: u64) {
        let before = sizes.unwrap_or(ProposalBytes { last: len, min: len, max: len });
        *sizes = Some(ProposalBytes { last: len, min: before.min.min(len), max: before.max.max(len) });
    }
}

/// What a leader knows and nobody else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaderFacts {
    /// Since it leads.
    pub uptime_ms: u64,
    /// `None` before the first.
    pub proposal_bytes: Option<ProposalBytes>,
    /// Syncs of clients that wait for a commit.
    pub pending_syncs: u64,
    /// Everyone that is connected to be fed, by number.
    pub learners: Vec<LearnerFacts>,
}

/// What the server does in the ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// It has no leader. Words are answered then only in read-only mode.
    Looking,
    /// It leads.
    Leading(LeaderFacts),
    /// It follows with a vote.
    Following {
        /// Whom.
        leader: ServerId,
    },
    /// It follows without a vote.
    Observing {
        /// Whom.
        leader: ServerId,
    },
}

/// What happened between servers since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EnsembleCounts {
    /// How often it began to look for a leader.
    pub looking: u64,
    /// How often it became leader.
    pub elections_won: u64,
    /// From beginning to look until it leads or follows, in ms.
    pub election_ms: Summary,
    /// Without serving, in ms, each time.
    pub unavailable_ms: Summary,
    /// How it was synchronised by leaders, in ms, by [`SyncKind`].
    pub synced_ms: [Summary; 3],
    /// Learners that it synchronised as leader, by [`SyncKind`].
    pub syncs_served: [u64; 3],
    /// Transactions proposed to it.
    pub proposals_received: u64,
    /// Transactions that it was told to be committed.
    pub commits_received: u64,
    /// Sessions that other servers asked it about.
    pub revalidations: u64,
    /// Peers dropped because too much waited for them.
    pub peers_dropped: u64,
}

/// This server in its ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnsembleFacts {
    /// What it does.
    pub role: Role,
    /// How far it is with that.
    pub phase: Phase,
    /// The epoch whose leader it acknowledged last.
    pub current_epoch: u32,
    /// The highest epoch it promised.
    pub accepted_epoch: u32,
    /// Members that vote.
    pub voters: u64,
    /// Since the start.
    pub counts: EnsembleCounts,
}

impl EnsembleFacts {
    /// As `srvr` says it.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.role {
            Role::Looking => Mode::ReadOnly,
            Role::Leading(_) => Mode::Leader,
            Role::Following { .. } => Mode::Follower,
            Role::Observing { .. } => Mode::Observer,
        }
    }

    /// What stands in [`super::ServerFacts::proposal_bytes`]: of a leader only, -1 before the first proposal.
    #[must_use]
    pub fn proposal_bytes(&self) -> Option<(i64, i64, i64)> {
        let Role::Leading(leader) = &self.role else { return None };
        let shown = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Some(leader.proposal_bytes.map_or((-1, -1, -1), |p| (shown(p.last), shown(p.min), shown(p.max))))
    }

    /// Such as `following - broadcast`.
    fn peer_state(&self) -> String {
        let role = match self.role {
            Role::Looking => "looking",
            Role::Leading(_) => "leading",
            Role::Following { .. } => "following",
            Role::Observing { .. } => "observing",
        };
        match self.phase {
            Phase::Election => role.to_owned(),
            Phase::Discovery => format!("{role} - discovery"),
            Phase::Synchronization(None) => format!("{role} - synchronization"),
            Phase::Synchronization(Some(kind)) => format!("{role} - synchronization - {}", kind.name()),
            Phase::Broadcast => format!("{role} - broadcast"),
        }
    }

    /// Lines at the front.
    pub(super) fn state_lines(&self, out: &mut Vec<u8>) {
        put(out, format_args!("zk_peer_state\t{}\n", self.peer_state()));
        if let Role::Observing { leader } = self.role {
            put(out, format_args!("zk_observer_master_id\t{}\n", leader.0));
        }
    }

    /// Lines behind the gauges.
    pub(super) fn gauge_lines(&self, out: &mut Vec<u8>) {
        put(out, format_args!("zk_quorum_size\t{}\n", self.voters));
        let Role::Leading(leader) = &self.role else { return };
        let synced = |votes: bool| leader.learners.iter().filter(|l| l.synced && l.votes == votes).count();
        let (last, min, max) = self.proposal_bytes().unwrap_or((-1, -1, -1));
        put(out, format_args!("zk_learners\t{}\nzk_synced_followers\t{}\n", leader.learners.len(), synced(true)));
        // Who doesn't vote is an observer here.
        put(out, format_args!("zk_synced_non_voting_followers\t0\nzk_synced_observers\t{}\n", synced(false)));
        put(out, format_args!("zk_pending_syncs\t{}\nzk_leader_uptime\t{}\n", leader.pending_syncs, leader.uptime_ms));
        put(out, format_args!("zk_last_proposal_size\t{last}\nzk_max_proposal_size\t{max}\nzk_min_proposal_size\t{min}\n"));
    }

    /// Lines behind the counters.
    pub(super) fn counter_lines(&self, out: &mut Vec<u8>) {
        let counts = &self.counts;
        let [diffs, truncs, snaps] = counts.syncs_served;
        for (name, n) in [
            // ZooKeeper counts a TRUNC with what follows it as a DIFF.
            ("diff_count", diffs + truncs),
            ("snap_count", snaps),
            ("looking_count", counts.looking),
            ("learner_proposal_received_count", counts.proposals_received),
            ("learner_commit_received_count", counts.commits_received),
            ("revalidate_count", counts.revalidations),
        ] {
            put(out, format_args!("zk_{name}\t{n}\n"));
        }
    }

    /// Summaries without percentiles, with their names.
    pub(super) fn summaries(&self) -> impl Iterator<Item = (&'static str, Summary)> {
        let synced = self.counts.synced_ms.iter().fold(Summary::default(), Summary::with);
        let observes = matches!(self.role, Role::Observing { .. });
        let (follower, observer) = if observes { (Summary::default(), synced) } else { (synced, Summary::default()) };
        [
            ("election_time", self.counts.election_ms),
            ("unavailable_time", self.counts.unavailable_ms),
            ("follower_sync_time", follower),
            ("observer_sync_time", observer),
        ]
        .into_iter()
    }

    /// Our own lines.
    pub(super) fn own_lines(&self, out: &mut Vec<u8>) {
        let mut own = |name: std::fmt::Arguments<'_>, n: u64| put(out, format_args!("zk_ringkeeper_{name}\t{n}\n"));
        own(format_args!("current_epoch"), u64::from(self.current_epoch));
        own(format_args!("accepted_epoch"), u64::from(self.accepted_epoch));
        own(format_args!("elections_won"), self.counts.elections_won);
        own(format_args!("peers_dropped"), self.counts.peers_dropped);
        for kind in SyncKind::ALL {
            let (name, synced) = (kind.name(), self.counts.synced_ms[kind as usize]);
            own(format_args!("sync_{name}_count"), synced.count());
            own(format_args!("sync_{name}_sum_ms"), synced.sum());
            own(format_args!("sync_{name}_max_ms"), synced.max());
            own(format_args!("sync_{name}_served"), self.counts.syncs_served[kind as usize]);
        }
        let Role::Leading(leader) = &self.role else { return };
        for learner in &leader.learners {
            let id = learner.id.0;
            own(format_args!("learner_{id}_synced"), u64::from(learner.synced));
            own(format_args!("learner_{id}_durable_zxid"), learner.durable.0);
            own(format_args!("learner_{id}_waiting_bytes"), learner.waiting_bytes);
        }
    }
}

impl Positions {
    /// Our own lines: every word for a position.
    pub(super) fn own_lines(&self, out: &mut Vec<u8>) {
        for (name, zxid) in [
            ("proposed", self.proposed),
            ("accepted", self.accepted),
            ("submitted", self.submitted),
            ("durable", self.durable),
            ("committed", self.committed),
            ("applied", self.applied),
        ] {
            put(out, format_args!("zk_ringkeeper_{name}_zxid\t{}\n", zxid.0));
        }
    }
}
