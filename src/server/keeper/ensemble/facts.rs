//! What a member says of itself in words: its role, its learners, what happened since the start.

use super::learning::Step;
use super::{Duty, Keeper};
use crate::base::memory::BatchMemory;
use crate::base::time::MonoMs;
use crate::server::words::Mode;
use crate::server::words::ensemble::{
    EnsembleCounts, EnsembleFacts, LeaderFacts, LearnerFacts, Phase, ProposalBytes, Role as WordRole, SyncKind,
};
use crate::zab::Role;

/// Counters and times since the start.
#[derive(Debug, Default)]
pub(super) struct Since {
    pub(super) counts: EnsembleCounts,
    /// Of a leader: sizes of what it proposed.
    pub(super) proposal_bytes: Option<ProposalBytes>,
    /// When the present role began.
    role_at: MonoMs,
    looking: bool,
    /// Since when nobody is served.
    unserved_at: Option<MonoMs>,
    /// How the present leader synchronises this server.
    pub(super) sync_kind: Option<SyncKind>,
}

impl Since {
    /// Looking since now.
    pub(super) fn new(now: MonoMs) -> Since {
        Since { role_at: now, unserved_at: Some(now), looking: true, ..Since::default() }
    }

    /// For how long, in ms, this server looks for a leader.
    pub(super) fn looks_for(&self, now: MonoMs) -> Option<u64> {
        self.looking.then(|| now.since(self.role_at))
    }

    /// A role begins.
    pub(super) fn enter(&mut self, role: Role, election_ms: Option<u64>, now: MonoMs) {
        self.looking = role == Role::Looking;
        match role {
            Role::Looking => {
                self.counts.looking += 1;
                self.unserved_at.get_or_insert(now);
            }
            Role::Leading { established: true, .. } => {
                self.counts.elections_won += 1;
                self.proposal_bytes = None;
                self.served(election_ms, now);
            }
            Role::Following { serving: true, .. } => {
                let kind = self.sync_kind.unwrap_or(SyncKind::Diff);
                self.counts.synced_ms[kind as usize].record(now.since(self.role_at));
                self.served(election_ms, now);
                return;
            }
            Role::Following { .. } => self.sync_kind = None,
            Role::Leading { .. } => {}
        }
        self.role_at = now;
    }

    fn served(&mut self, election_ms: Option<u64>, now: MonoMs) {
        if let Some(ms) = election_ms {
            self.counts.election_ms.record(ms);
        }
        if let Some(since) = self.unserved_at.take() {
            self.counts.unavailable_ms.record(now.since(since));
        }
    }
}

impl<M: BatchMemory> Keeper<M> {
    /// In which mode words say that this server is.
    pub(in crate::server::keeper) fn mode(&self) -> Mode {
        let observes = self.ensemble.as_ref().is_some_and(|e| !e.votes);
        match self.role() {
            None => Mode::Standalone,
            Some(Role::Leading { .. }) => Mode::Leader,
            Some(Role::Following { .. }) if observes => Mode::Observer,
            Some(Role::Following { .. }) => Mode::Follower,
            Some(Role::Looking) => Mode::ReadOnly,
        }
    }

    /// Whether clients are served.
    pub(in crate::server::keeper) fn serves(&self) -> bool {
        self.duty() != Duty::Nothing
    }

    pub(in crate::server::keeper) fn ensemble_facts(&self, now: MonoMs) -> Option<EnsembleFacts> {
        let e = self.ensemble.as_ref()?;
        let persisted = e.zab.persisted();
        let role = match e.zab.role() {
            Role::Looking => WordRole::Looking,
            Role::Leading { .. } => WordRole::Leading(self.leader_facts(now)),
            Role::Following { leader, .. } if e.votes => WordRole::Following { leader },
            Role::Following { leader, .. } => WordRole::Observing { leader },
        };
        let phase = match e.zab.role() {
            Role::Looking => Phase::Election,
            Role::Leading { established: true, .. } | Role::Following { serving: true, .. } => Phase::Broadcast,
            Role::Following { .. } if matches!(e.learning.step, Step::Ask | Step::Asked) => Phase::Discovery,
            Role::Leading { .. } | Role::Following { .. } => Phase::Synchronization(e.since.sync_kind),
        };
        Some(EnsembleFacts {
            role,
            phase,
            current_epoch: persisted.current_epoch,
            accepted_epoch: persisted.accepted_epoch,
            voters: e.voters,
            counts: EnsembleCounts { syncs_served: e.leading.served(), ..e.since.counts },
        })
    }

    fn leader_facts(&self, now: MonoMs) -> LeaderFacts {
        let Some(e) = &self.ensemble else { return LeaderFacts::default() };
        let learners =
            e.zab.learners().map(|l| LearnerFacts { id: l.id, votes: l.votes, synced: l.synced, durable: l.durable, waiting_bytes: 0 });
        LeaderFacts {
            uptime_ms: now.since(e.since.role_at),
            proposal_bytes: e.since.proposal_bytes,
            pending_syncs: self.gates.len() as u64,
            learners: learners.collect(),
        }
    }
}
