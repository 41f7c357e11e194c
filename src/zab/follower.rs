//! What a learner is: whom it follows and when it leaves.
//!
//! Guarantees: it follows a leader of an epoch that isn't below its promise; it leaves at once when the connection ends or the leader's pulse
//! says that it doesn't lead that epoch any more, and after the silence otherwise; a connection on which a relation ended without the leader's doing
//! is closed, so that two relations never mix on one. Leaves to others: synchronisation (`sync`).

use crate::base::ids::{ClusterId, ServerId};
use crate::base::time::MonoMs;
use crate::model::peer::{Pulse, Stance};
use crate::model::position::Identity;
use crate::zab::send_after::Sink;
use crate::zab::{State, Zab};

/// A learner's relation with its leader.
#[derive(Clone, Debug)]
pub(super) struct Following {
    pub(super) leader: ServerId,
    pub(super) epoch: u32,
    pub(super) cluster: ClusterId,
    pub(super) serving: bool,
    /// NEWLEADER came: this history is the leader's.
    pub(super) is_prefix: bool,
    /// NEWLEADER to be acknowledged when the history is durable.
    pub(super) owed: Option<Identity>,
    /// The epoch is durable when the vault has stored this.
    pub(super) serial: Option<u64>,
    /// NEWLEADER is acknowledged.
    pub(super) synced: bool,
    /// The last round heard of.
    pub(super) beat: u64,
    /// What the last ack said.
    pub(super) acked: (crate::base::ids::Zxid, u64),
    pub(super) confirmed: u64,
    /// A pulse said that it leads; older pulses may come before that.
    seen_leading: bool,
    heard_at: MonoMs,
    progress_at: MonoMs,
    /// Where it was told last to fetch ranges from.
    fetches_after: Option<Identity>,
}

impl Following {
    pub(super) fn after_pause(&mut self, now: MonoMs) {
        // If the leader has given this learner up meanwhile the connection is closed, or its pulses tell.
        (self.heard_at, self.progress_at) = (now, now);
    }
}

impl Zab {
    pub(super) fn follow(&mut self, leader: ServerId, epoch: u32, cluster: ClusterId, sink: &mut Sink<'_>) {
        let seen_leading = !self.peers.get(&leader).is_some_and(|p| p.lead_is_early);
        self.state = State::Following(Following {
            leader,
            epoch,
            cluster,
            serving: false,
            is_prefix: false,
            owed: None,
            serial: None,
            synced: false,
            beat: 0,
            acked: Default::default(),
            confirmed: 0,
            seen_leading,
            heard_at: self.now,
            progress_at: self.now,
            fetches_after: None,
        });
        (self.settled, self.promised_to) = (false, None);
        self.vault.forget_vows();
        for (peer, ask) in std::mem::take(&mut self.held) {
            self.on_new_epoch(peer, ask, sink);
        }
        sink.role(self.role(), format!("server {} leads epoch {epoch}", leader.0));
    }

    /// Whose history the leader that is followed has.
    #[must_use]
    pub fn leader_cluster(&self) -> Option<ClusterId> {
        match &self.state {
            State::Following(f) => Some(f.cluster),
            _ => None,
        }
    }

    /// Stops following; the caller has closed the connection or knows that the leader ended the relation.
    pub(super) fn leave(&mut self, why: &str, sink: &mut Sink<'_>) {
        let State::Following(f) = &self.state else { return };
        let (leader, epoch) = (f.leader, f.epoch);
        if let Some(p) = self.peers.get_mut(&leader) {
            p.left_epoch = p.left_epoch.max(epoch);
        }
        self.look(why, sink);
    }

    /// The leader says what it does.
    pub(super) fn on_leader_pulse(&mut self, peer: ServerId, pulse: &Pulse, sink: &mut Sink<'_>) {
        let (now, deaf) = (self.now, self.now < self.deaf_until);
        let State::Following(f) = &mut self.state else { return };
        if f.leader != peer {
            return;
        }
        match pulse.stance {
            Stance::Leading { epoch, .. } if epoch == f.epoch => {
                f.seen_leading = true;
                f.heard_at = if deaf { f.heard_at } else { now };
            }
            Stance::Leading { epoch, .. } if epoch > f.epoch => self.leave("the leader leads a later epoch", sink),
            _ if f.seen_leading => self.leave("the leader doesn't lead any more", sink),
            // Sent before it led; the message that it leads came first, on the other lane.
            _ => {}
        }
    }

    /// The candidate that this server gave its promise to has its quorum. As good as a pulse that says so; others wait for that pulse, since the last one may
    /// name another ensemble, or be of an earlier life.
    pub(super) fn on_lead(&mut self, peer: ServerId, epoch: u32) {
        let heard = (self.now >= self.deaf_until).then_some(self.now);
        let (is_promised, cluster) = (self.promised_to == Some((peer, epoch)), self.promised_cluster);
        let Some(p) = self.peers.get_mut(&peer).filter(|_| is_promised) else { return };
        if let Some(pulse) = p.pulse.as_mut() {
            (pulse.stance, pulse.accepted_epoch) = (Stance::Leading { epoch, established: false }, epoch);
            pulse.cluster = cluster;
            p.lead_is_early = true;
            p.heard_at = heard.or(p.heard_at);
        }
    }

    /// Something came that brings the synchronisation on.
    pub(super) fn on_progress_made(&mut self) {
        let now = self.now;
        if let State::Following(f) = &mut self.state {
            f.progress_at = now;
        }
    }

    /// The leader has ranges for this learner. Told so again at the same place, the fetch in between brought nothing.
    pub(super) fn on_fetch(&mut self, after: Identity) {
        let State::Following(f) = &mut self.state else { return };
        if f.fetches_after.replace(after) != Some(after) {
            self.on_progress_made();
        }
    }

    pub(super) fn judge_following(&mut self, sink: &mut Sink<'_>) {
        let State::Following(f) = &self.state else { return };
        let leader = f.leader;
        let why = if self.now.since(f.heard_at) > self.options.silence_ms {
            "the leader wasn't heard for the silence"
        } else if !f.synced && self.now.since(f.progress_at) > self.options.init_ms {
            "the synchronisation made no progress"
        } else {
            return;
        };
        self.leave(why, sink);
        self.cut_off(leader, sink);
    }
}
