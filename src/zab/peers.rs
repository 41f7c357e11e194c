//! What is known of the other members: their last pulse, when it came, whether the main lane is up; and the own pulse.
//!
//! Guarantees: a peer is *fresh* when its main lane is up and its last pulse was received within the silence; freshness counts
//! from the receipt, and after a pause of this process none is left. Leaves to others: what follows from it.

use crate::base::ids::{ClusterId, EPOCH_MAX, ServerId, Zxid};
use crate::base::time::MonoMs;
use crate::model::peer::{Pulse, Stance, Standing};
use crate::model::position::Position;
use crate::mutant;
use crate::zab::send_after::{PlainMessage, Sink};
use crate::zab::words::Topic;
use crate::zab::{State, Zab};
use std::collections::BTreeSet;

/// Another member.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its main lane is open.
    pub(super) up: bool,
    /// Since when.
    pub(super) up_at: MonoMs,
    /// Its last pulse.
    pub(super) pulse: Option<Pulse>,
    /// When that was received; `None` also when this process was paused since.
    pub(super) heard_at: Option<MonoMs>,
    /// That it leads is known from its word on the main lane only: older pulses may still come.
    pub(super) lead_is_early: bool,
    /// It was left while the connection stayed: in this epoch it isn't followed again, or old messages would mix with new ones.
    pub(super) left_epoch: u32,
    /// As a candidate it didn't come up: others have their turn until then.
    pub(super) passed_over_until: MonoMs,
}

/// What of a pulse is told at once when it changes.
pub(super) type Shown = (Stance, Standing, bool, u32, Option<Position>);

impl Zab {
    pub(super) fn is_fresh(&self, id: ServerId) -> bool {
        self.peers.get(&id).is_some_and(|p| p.up && p.heard_at.is_some_and(|at| self.now.since(at) <= self.options.silence_ms))
    }

    /// The last pulse of a fresh peer.
    pub(super) fn fresh_pulse(&self, id: ServerId) -> Option<&Pulse> {
        if self.is_fresh(id) { self.peers[&id].pulse.as_ref() } else { None }
    }

    /// The fresh voters besides this server, by ascending id.
    pub(super) fn fresh_voters(&self) -> impl Iterator<Item = (ServerId, &Pulse)> {
        let voters = self.options.membership.voters().filter(|id| *id != self.options.me);
        voters.filter_map(|id| self.fresh_pulse(id).map(|pulse| (id, pulse)))
    }

    pub(super) fn votes(&self) -> bool {
        self.options.membership.votes(self.options.me)
    }

    /// This server, if it votes, and those of the others that `wanted` takes.
    pub(super) fn with_me(&self, others: impl Iterator<Item = ServerId>) -> BTreeSet<ServerId> {
        others.chain(self.votes().then_some(self.options.me)).collect()
    }

    pub(super) fn is_quorum(&self, set: &BTreeSet<ServerId>) -> bool {
        if mutant!("zab-half-is-a-quorum") {
            return set.len() >= self.options.membership.voters().count() / 2;
        }
        self.options.membership.is_quorum(set)
    }

    pub(super) fn hears_quorum(&self) -> bool {
        self.is_quorum(&self.with_me(self.fresh_voters().map(|(id, _)| id)))
    }

    /// What is durable here.
    pub(super) fn position(&self) -> Position {
        Position { current_epoch: self.vault.stored().current_epoch, last: self.durable }
    }

    /// The ensemble that this server belongs to, as its pulses say; 0: none yet.
    pub(super) fn cluster(&self) -> ClusterId {
        match &self.state {
            State::Candidate(c) => c.cluster,
            State::Leading(_) => self.vault.wanted().cluster,
            State::Looking(_) | State::Following(_) => self.vault.stored().cluster,
        }
    }

    /// The ensemble that this server's history belongs to, for handshakes; 0 while it has none. An identity without a history binds nobody: a first
    /// start that was cut short may have left different ones on different servers.
    #[must_use]
    pub fn bound_cluster(&self) -> ClusterId {
        if self.durable.zxid == Zxid::ZERO { ClusterId(0) } else { self.cluster() }
    }

    /// Whether a server of the ensemble `other` with the history `position` belongs to ours, or one of the two has nothing that binds it.
    pub(super) fn cluster_fits(&self, other: ClusterId, position: &Position) -> bool {
        let own = self.bound_cluster();
        own == other || own == ClusterId(0) || other == ClusterId(0) || position.last.zxid == Zxid::ZERO
    }

    pub(super) fn on_up(&mut self, peer: ServerId, sink: &mut Sink<'_>) {
        let now = self.now;
        let Some(p) = self.peers.get_mut(&peer) else { return self.say_unknown(peer, sink) };
        if std::mem::replace(&mut p.up, true) {
            self.lost(peer, sink);
        }
        let p = self.peers.get_mut(&peer).expect("looked up above");
        (p.up, p.up_at, p.left_epoch) = (true, now, 0);
        if self.is_founding() && self.options.membership.votes(peer) && !mutant!("zab-founds-past-a-reconnect") {
            // It may have been wiped since it was heard, with what it promised to another founder and accepted from it.
            return self.give_up(0, "a voter connects anew, and may not be what was heard of it", sink);
        }
        self.ask_for_promise(peer, sink);
    }

    pub(super) fn on_down(&mut self, peer: ServerId, sink: &mut Sink<'_>) {
        let Some(p) = self.peers.get_mut(&peer) else { return self.say_unknown(peer, sink) };
        if std::mem::replace(&mut p.up, false) {
            self.lost(peer, sink);
        }
    }

    /// Closes the connections to `peer` and takes them for closed from now on.
    pub(super) fn cut_off(&mut self, peer: ServerId, sink: &mut Sink<'_>) {
        sink.drop_links(peer);
        self.on_down(peer, sink);
    }

    /// The connection ended, and with it every relation that rested on it.
    fn lost(&mut self, peer: ServerId, sink: &mut Sink<'_>) {
        self.held.remove(&peer);
        self.vault.forget_vows_to(peer);
        if let Some(p) = self.peers.get_mut(&peer) {
            // What it said in an earlier life may not hold in the next: another pulse must come.
            p.heard_at = None;
        }
        match &mut self.state {
            State::Looking(_) => {}
            // A server that comes back may have been wiped meanwhile: what it promised before is void.
            State::Candidate(c) => c.forget(peer),
            State::Leading(_) if mutant!("zab-learner-outlives-connection") => {}
            State::Leading(l) => l.forget(peer),
            State::Following(f) if f.leader == peer => self.leave("the connection to the leader ended", sink),
            State::Following(_) => {}
        }
    }

    pub(super) fn on_pulse(&mut self, peer: ServerId, pulse: Pulse, sink: &mut Sink<'_>) {
        if !self.cluster_fits(pulse.cluster, &pulse.position) {
            let text = format!(
                "server {} belongs to the ensemble {}, this one to {}: it isn't listened to (check server.N in both configurations)",
                peer.0,
                pulse.cluster,
                self.cluster()
            );
            self.words.say(self.now, Topic::OtherCluster(peer), true, text, sink);
            return;
        }
        if !epochs_are_possible(&pulse) {
            let text = format!("server {} names an epoch above the highest, {EPOCH_MAX}: its pulse is ignored", peer.0);
            self.words.say(self.now, Topic::BadInput(peer), true, text, sink);
            return;
        }
        let p = self.peers.get_mut(&peer).expect("the caller looked");
        (p.pulse, p.lead_is_early) = (Some(pulse), false);
        p.heard_at = if self.now >= self.deaf_until { Some(self.now) } else { p.heard_at };
        self.on_leader_pulse(peer, &pulse, sink);
    }

    pub(super) fn say_unknown(&mut self, peer: ServerId, sink: &mut Sink<'_>) {
        let text = format!("server {} is no other member of this ensemble: what it says is ignored", peer.0);
        self.words.say(self.now, Topic::Unknown, true, text, sink);
    }

    fn stance(&self) -> Stance {
        match &self.state {
            State::Looking(_) => Stance::Looking,
            State::Candidate(c) => Stance::Candidate { epoch: c.epoch },
            State::Leading(l) => Stance::Leading { epoch: l.epoch, established: l.established },
            State::Following(f) => Stance::Following { leader: f.leader, epoch: f.epoch, serving: f.serving },
        }
    }

    fn pulse(&self) -> Pulse {
        Pulse {
            cluster: self.cluster(),
            standing: self.standing(),
            stance: self.stance(),
            accepted_epoch: self.vault.wanted().accepted_epoch,
            position: self.position(),
            hears_quorum: self.hears_quorum() && self.may_stand(),
            founder: self.options.founder,
            applied: self.applied.0,
            digest: self.applied.1,
        }
    }

    /// Sends a pulse to everybody at each interval, and at once when something changed that others judge by.
    pub(super) fn pulse_if_due(&mut self, sink: &mut Sink<'_>) {
        let pulse = self.pulse();
        let looking = matches!(self.state, State::Looking(_));
        let shown = (pulse.stance, pulse.standing, pulse.hears_quorum, pulse.accepted_epoch, looking.then_some(pulse.position));
        let due = self.pulsed_at.is_none_or(|at| self.now.since(at) >= self.options.pulse_interval_ms);
        if due || self.pulse_shown != Some(shown) {
            self.send_pulse(pulse, shown, sink);
        }
    }

    fn send_pulse(&mut self, pulse: Pulse, shown: Shown, sink: &mut Sink<'_>) {
        (self.pulsed_at, self.pulse_shown) = (Some(self.now), Some(shown));
        for id in self.peers.keys() {
            sink.send(*id, PlainMessage::Pulse(pulse));
        }
    }
}

fn epochs_are_possible(pulse: &Pulse) -> bool {
    let stance = match pulse.stance {
        Stance::Looking => 0,
        Stance::Candidate { epoch } | Stance::Leading { epoch, .. } | Stance::Following { epoch, .. } => epoch,
    };
    pulse.accepted_epoch.max(pulse.position.current_epoch).max(stance) <= EPOCH_MAX
}
