//! Synchronisation's end: NEWLEADER, its acknowledgement, the establishment of a leader, UPTODATE.
//!
//! Guarantees: a learner acknowledges NEWLEADER when its history is durable through there and then the epoch, in that order; a leader counts
//! itself when its own epoch is durable; it is established when a quorum is counted, and a learner serves only after that. A repeated
//! NEWLEADER is acknowledged again. Leaves to others: the history itself (`server::keeper::ensemble`).

use crate::base::ids::{ServerId, Zxid};
use crate::model::position::Identity;
use crate::mutant;
use crate::zab::send_after::{Durable, PlainMessage, SendAfter, Sink, Vow};
use crate::zab::words::Topic;
use crate::zab::{State, Zab};

impl Zab {
    /// Leader: the keeper has put everything on the learner's lane.
    pub(super) fn on_streamed(&mut self, peer: ServerId, last: Identity, sink: &mut Sink<'_>) {
        if !self.peers.get(&peer).is_some_and(|p| p.up) {
            return;
        }
        if let State::Leading(l) = &mut self.state {
            l.learners.entry(peer).or_default().new_leader = Some(last);
            sink.send(peer, PlainMessage::NewLeader { epoch: l.epoch, last });
        }
    }

    /// Leader: a learner holds the history through `last`, and the epoch.
    pub(super) fn on_ack_leader(&mut self, peer: ServerId, last: Identity, sink: &mut Sink<'_>) {
        let State::Leading(l) = &mut self.state else { return };
        let (epoch, established) = (l.epoch, l.established);
        let Some(learner) = l.learners.get_mut(&peer).filter(|x| x.new_leader == Some(last)) else {
            let text = format!("server {} acknowledged a NEWLEADER ({}) that it wasn't sent: ignored", peer.0, last.zxid);
            return self.words.say(self.now, Topic::BadInput(peer), true, text, sink);
        };
        if std::mem::replace(&mut learner.synced, true) {
            return;
        }
        learner.durable = learner.durable.max(last.zxid);
        if established {
            self.advance_commit(sink);
            sink.send(peer, PlainMessage::UpToDate { epoch, committed: self.committed });
        }
    }

    /// Leader: whether a quorum, itself included, has acknowledged NEWLEADER. Then its whole history is committed.
    pub(super) fn establish_if_acknowledged(&mut self, sink: &mut Sink<'_>) {
        let State::Leading(l) = &self.state else { return };
        // After a pause the acknowledgements may be old ones: a quorum must be heard following still.
        // Its own epoch too, even where the others make a quorum: until it is durable the log may still be taking on the ensemble's
        // identity, and takes no transaction.
        let own = self.vault.is_stored(l.serial) || mutant!("zab-leader-counts-itself-early");
        let acknowledged = (own && self.is_quorum(&self.counted())) || mutant!("zab-established-alone");
        if l.established || !l.hears_quorum || !acknowledged {
            return;
        }
        let State::Leading(l) = &mut self.state else { return };
        l.established = true;
        let (epoch, whole) = (l.epoch, l.proposed.zxid);
        let synced: Vec<ServerId> = l.learners.iter().filter(|(_, x)| x.synced).map(|(id, _)| *id).collect();
        self.search_ended();
        self.raise_committed(whole, sink);
        let whom = synced.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(", ");
        let why = if whom.is_empty() {
            "its own history is enough".to_owned()
        } else {
            format!("a quorum holds its history: with server {whom}")
        };
        sink.role(self.role(), why);
        for id in synced {
            sink.send(id, PlainMessage::UpToDate { epoch, committed: self.committed });
        }
    }

    /// Learner.
    pub(super) fn on_new_leader(&mut self, last: Identity, sink: &mut Sink<'_>) {
        self.on_progress_made();
        let State::Following(f) = &mut self.state else { return };
        (f.is_prefix, f.owed) = (true, Some(last));
        self.acknowledge_if_durable(sink);
    }

    /// Learner: history first, then the epoch, then the acknowledgement.
    pub(super) fn acknowledge_if_durable(&mut self, sink: &mut Sink<'_>) {
        let (durable, me) = (self.durable, self.options.me);
        let State::Following(f) = &mut self.state else { return };
        let Some(last) = f.owed else { return };
        let lags = durable.zxid < last.zxid;
        if lags && mutant!("zab-epoch-before-history") {
            self.adopt_epoch();
            return;
        }
        if lags && !mutant!("zab-ack-leader-before-history") {
            return;
        }
        if durable.zxid == last.zxid && durable != last {
            let (leader, zxid) = (f.leader, last.zxid);
            self.leave("the history differs from the leader's", sink);
            sink.say(
                true,
                format!("server {} and server {} hold different batches that end at {zxid}: it synchronises anew", me.0, leader.0),
            );
            return self.cut_off(leader, sink);
        }
        f.owed = None;
        let (epoch, leader) = (f.epoch, f.leader);
        let Some(serial) = self.adopt_epoch() else { return };
        let message = Vow::AckLeader { epoch, last };
        self.vault.send_after(SendAfter { durable: Durable::Stored(serial), to: leader, message });
    }

    /// Learner: the leader's epoch becomes its own; once in a relation.
    fn adopt_epoch(&mut self) -> Option<u64> {
        let State::Following(f) = &mut self.state else { return None };
        let (epoch, cluster) = (f.epoch, f.cluster);
        let vault = &mut self.vault;
        let serial = *f.serial.get_or_insert_with(|| {
            vault.change(|p| {
                (p.cluster, p.current_epoch, p.repairing) = (cluster, epoch, false);
                p.accepted_epoch = p.accepted_epoch.max(epoch);
            })
        });
        Some(serial)
    }

    /// Something was stored: a learner's epoch perhaps, or a leader's.
    pub(super) fn on_stored(&mut self, sink: &mut Sink<'_>) {
        match &mut self.state {
            State::Following(f) => f.synced = f.synced || f.serial.is_some_and(|serial| self.vault.is_stored(serial)),
            State::Leading(_) => self.advance_commit(sink),
            State::Looking(_) | State::Candidate(_) => {}
        }
    }

    /// Learner: a quorum has acknowledged.
    pub(super) fn on_up_to_date(&mut self, committed: Zxid, sink: &mut Sink<'_>) {
        let State::Following(f) = &mut self.state else { return };
        if !f.synced {
            let text = format!("server {} said UPTODATE before NEWLEADER was acknowledged: ignored", f.leader.0);
            let topic = Topic::BadInput(f.leader);
            return self.words.say(self.now, topic, true, text, sink);
        }
        let first = !std::mem::replace(&mut f.serving, true);
        self.raise_committed(committed, sink);
        if first {
            self.search_ended();
            sink.role(self.role(), "synchronised".to_owned());
        }
    }
}
