//! Roles begin and end: what is forgotten, who is let in.

use super::{Keeper, learning};
use crate::base::memory::BatchMemory;
use crate::server::keeper::{Cx, replies};
use crate::server::note::Level;
use crate::zab::{Input, Role};
use crate::{invariant, mutant};

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn enter_role(&mut self, cx: &mut Cx<'_, M>, role: Role, why: &str) {
        if let Some(e) = &mut self.ensemble {
            e.since.enter(role, e.zab.election_ms(), cx.now.mono);
        }
        self.stages.begin_at(self.log.tail().zxid);
        match role {
            Role::Looking => {
                // Nobody is served here until there is one; but who is told to end hands its office over as it should.
                let level = if self.stopping { Level::Info } else { Level::Warn };
                cx.fx.note(level, format!("looking for a leader: {why}"));
                self.end_role(cx);
            }
            Role::Leading { epoch, established: false } => {
                cx.fx.note(Level::Info, format!("leading epoch {epoch}, bringing the others up to date: {why}"));
                self.close_clients(cx);
                self.proposed = self.log.tail().zxid;
            }
            Role::Leading { epoch, established: true } => {
                self.begin_leading(cx);
                cx.fx.note(Level::Info, format!("leading epoch {epoch}, serving from {}: {why}", self.applied));
            }
            Role::Following { leader, epoch, serving: false } => {
                cx.fx.note(Level::Info, format!("following server {} in epoch {epoch}: {why}", leader.0));
                self.close_clients(cx);
                self.begin_learning(cx, leader, epoch);
            }
            Role::Following { leader, epoch, serving: true } => {
                cx.fx.note(Level::Info, format!("up to date with server {} in epoch {epoch}, serving from {}", leader.0, self.applied));
            }
        }
    }

    /// Everything in the history is committed now; it is applied before the first request is judged.
    fn begin_leading(&mut self, cx: &mut Cx<'_, M>) {
        self.commit_and_apply(cx);
        let tail = self.log.tail().zxid;
        invariant!(self.applied == tail, "leading from {} although the history ends at {tail}", self.applied);
        self.proposed = tail;
        if !mutant!("ensemble-timers-go-on") {
            self.sessions.restart_timers(self.session_now(cx));
        }
        self.tree.restart_reap_clocks(cx.now);
        // As in ZooKeeper: who comes back finds the interval's time to set anew what ran out while nobody led.
        self.next_reap = cx.now.mono.plus(self.options.reap_interval_ms);
    }

    /// A role is over: clients go, and whatever wasn't submitted never was. What was is durable or not once the log is at rest;
    /// until then this server's word counts for nothing.
    fn end_role(&mut self, cx: &mut Cx<'_, M>) {
        if !mutant!("ensemble-clients-outlive-role") {
            self.close_clients(cx);
        }
        if !mutant!("ensemble-pending-outlives-role") {
            self.prep.clear();
        }
        self.log.drop_unsubmitted();
        self.abandon_receiving(cx);
        if let Some(e) = &mut self.ensemble {
            e.leading.clear();
            e.learning = learning::Learning::default();
            e.settling = true;
        }
        self.settle(cx);
    }

    /// No pipelined write may succeed after one that was lost, so no connection outlives the role that served it.
    pub(in crate::server::keeper) fn close_clients(&mut self, cx: &mut Cx<'_, M>) {
        self.gates.clear();
        self.joining.clear();
        let all: Vec<u32> = self.conns.iter().map(|(idx, _)| idx).collect();
        for idx in all {
            self.watches.drop_conn(idx);
            if let Some(conn) = self.conns.get_mut(idx) {
                conn.queue.clear();
                conn.held.clear();
                conn.parked.clear();
                self.sessions.detach(conn.session, idx);
            }
            replies::close(&mut self.conns, cx.fx, idx);
        }
    }

    /// Whether the log goes on behind a snapshot that the tree isn't at yet.
    pub(in crate::server::keeper) fn is_restarting(&self) -> bool {
        self.ensemble.as_ref().is_some_and(|e| e.restarting.is_some())
    }

    /// Tells where the history ends, once nothing is on its way to the disk any more.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_, M>) {
        let Some(e) = &mut self.ensemble else { return };
        if !e.settling || e.restarting.is_some() || !self.log.is_idle() || self.log.is_cutting() {
            return;
        }
        e.settling = false;
        let last = self.log.durable();
        invariant!(last == self.log.tail(), "at rest, but durable through {} of {}", last.zxid, self.log.tail().zxid);
        e.told_durable = last;
        self.proposed = last.zxid;
        self.zab_step(cx, Input::Settled { last });
    }
}
