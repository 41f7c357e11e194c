//! Broadcast: what a quorum is durable through is committed; what a quorum has answered is confirmed.
//!
//! Guarantees: only members that acknowledged NEWLEADER on their present connection count, and only voters (by the membership); nothing is
//! committed before the leader is established; a round is confirmed by answers to messages that left after it was opened.
//! Leaves to others: batches and what carries commits (`server::keeper::ensemble`).

use crate::base::ids::{ServerId, Zxid};
use crate::invariant;
use crate::model::peer::Message;
use crate::model::position::Identity;
use crate::mutant;
use crate::zab::send_after::{Durable, SendAfter, Sink, Vow};
use crate::zab::words::Topic;
use crate::zab::{State, Zab};
use std::collections::BTreeSet;

impl Zab {
    pub(super) fn on_durable(&mut self, last: Identity, sink: &mut Sink<'_>) {
        let before = std::mem::replace(&mut self.durable, last);
        match &self.state {
            State::Leading(l) => {
                invariant!(last.zxid >= before.zxid, "a leader's durable position went from {} back to {}", before.zxid, last.zxid);
                invariant!(last.zxid <= l.proposed.zxid, "durable through {}, proposed only through {}", last.zxid, l.proposed.zxid);
                self.advance_commit(sink);
            }
            State::Following(_) => {
                self.on_progress_made();
                self.acknowledge_if_durable(sink);
            }
            State::Looking(_) | State::Candidate(_) => {}
        }
    }

    pub(super) fn on_proposed(&mut self, last: Identity) {
        let State::Leading(l) = &mut self.state else { return };
        invariant!(l.established, "a proposal ({}) of a leader that isn't established", last.zxid);
        invariant!(
            last.zxid > l.proposed.zxid && last.zxid.epoch() == l.epoch,
            "proposed {} after {} in epoch {}",
            last.zxid,
            l.proposed.zxid,
            l.epoch
        );
        l.proposed = last;
    }

    /// Who counts: this server once its epoch is durable, and who has acknowledged NEWLEADER.
    pub(super) fn counted(&self) -> BTreeSet<ServerId> {
        let State::Leading(l) = &self.state else { return BTreeSet::new() };
        let own = (self.vault.is_stored(l.serial) || mutant!("zab-leader-counts-itself-early")).then_some(self.options.me);
        l.learners.iter().filter(|(_, x)| x.synced || mutant!("zab-counts-unsynced")).map(|(id, _)| *id).chain(own).collect()
    }

    /// Leader: a learner's word on how far it is.
    pub(super) fn on_ack(&mut self, peer: ServerId, durable: Zxid, beat: u64, sink: &mut Sink<'_>) {
        let State::Leading(l) = &mut self.state else { return };
        let (proposed, newest) = (l.proposed.zxid, l.beat);
        // One that hasn't acknowledged NEWLEADER may speak of a history that isn't this leader's: what it says counts for nothing yet.
        let Some(learner) = l.learners.get_mut(&peer).filter(|x| x.synced || mutant!("zab-counts-unsynced")) else { return };
        if durable > proposed || beat > newest {
            let text =
                format!("server {} acknowledged {durable} and round {beat}; only {proposed} and {newest} were sent: ignored", peer.0);
            return self.words.say(self.now, Topic::BadInput(peer), true, text, sink);
        }
        let moved = (durable > learner.durable, beat > learner.beat);
        (learner.durable, learner.beat) = (learner.durable.max(durable), learner.beat.max(beat));
        if moved.0 {
            self.advance_commit(sink);
        }
        if moved.1 {
            self.advance_rounds(sink);
        }
    }

    /// Leader: commits what a quorum is durable through.
    pub(super) fn advance_commit(&mut self, sink: &mut Sink<'_>) {
        let State::Leading(l) = &self.state else { return };
        if !l.established {
            return;
        }
        let own = self.options.me;
        let durable_of = |id: &ServerId| if *id == own { self.durable.zxid } else { l.learners[id].durable };
        let reached = self.reached_by_quorum(self.counted().iter().map(|id| (durable_of(id).0, *id)).collect());
        self.raise_committed(Zxid(reached.unwrap_or(0)), sink);
    }

    /// Leader: confirms the rounds that a quorum has answered.
    pub(super) fn advance_rounds(&mut self, sink: &mut Sink<'_>) {
        let State::Leading(l) = &self.state else { return };
        if !l.established || !(l.hears_quorum || mutant!("zab-confirms-after-pause")) {
            return;
        }
        let answered = l.learners.iter().filter(|(_, x)| x.synced).map(|(id, x)| (x.beat, *id));
        let reached = self.reached_by_quorum(answered.chain([(l.beat, self.options.me)]).collect());
        let State::Leading(l) = &mut self.state else { return };
        if reached.is_some_and(|beat| beat > l.confirmed) {
            l.confirmed = reached.expect("compared above");
            sink.confirmed(l.confirmed);
        }
    }

    /// The highest value that a quorum has reached.
    fn reached_by_quorum(&self, mut values: Vec<(u64, ServerId)>) -> Option<u64> {
        values.sort_unstable();
        let mut there = BTreeSet::new();
        while let Some((value, id)) = values.pop() {
            there.insert(id);
            if self.is_quorum(&there) {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn raise_committed(&mut self, to: Zxid, sink: &mut Sink<'_>) {
        if to > self.committed {
            self.committed = to;
            sink.committed(to);
        }
    }

    /// Learner: what the leader's messages say beside their bytes.
    pub(super) fn on_progress(&mut self, committed: Zxid, beat: u64, confirmed: u64, sink: &mut Sink<'_>) {
        let State::Following(f) = &mut self.state else { return };
        // Before NEWLEADER this history may differ from the leader's, and what the leader committed be something else here.
        if !f.is_prefix && !mutant!("zab-commits-before-sync") {
            return;
        }
        f.beat = f.beat.max(beat);
        if confirmed > f.confirmed {
            f.confirmed = confirmed;
            sink.confirmed(confirmed);
        }
        self.raise_committed(committed, sink);
    }

    /// The turn ends: a learner acknowledges what moved; the leader's round has left.
    pub(super) fn on_flush(&mut self) {
        let durable = self.durable.zxid;
        match &mut self.state {
            State::Leading(l) => l.round_is_new = false,
            State::Following(f) if (f.synced || mutant!("zab-ack-overtakes-ack-leader")) && (durable, f.beat) != f.acked => {
                f.acked = (durable, f.beat);
                let message = Vow::Ack { epoch: f.epoch, durable, beat: f.beat };
                self.vault.send_after(SendAfter { durable: Durable::History(durable), to: f.leader, message });
            }
            _ => {}
        }
    }

    /// The number that messages to learners carry now; 0 on a server that doesn't lead.
    #[must_use]
    pub fn beat(&self) -> u64 {
        match &self.state {
            State::Leading(l) => l.beat,
            _ => 0,
        }
    }

    /// Leader: the round whose confirmation proves that a quorum was reached after this call. It is shared by all who ask in one turn, since what a turn
    /// sends leaves at its end ([`crate::zab::Input::Flush`]). Some message with [`Zab::beat`] must follow, at least [`Zab::progress`].
    pub fn open_round(&mut self) -> u64 {
        // Who is a quorum by itself asks nobody.
        let alone = self.is_quorum(&self.with_me(std::iter::empty()));
        let State::Leading(l) = &mut self.state else { return 0 };
        if !l.round_is_new && !mutant!("zab-round-is-an-old-one") {
            l.beat += 1;
            l.round_is_new = true;
        }
        if alone && l.established {
            l.confirmed = l.beat;
        }
        l.beat
    }

    /// The last round that a quorum has answered, as far as this server knows; 0: none.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        match &self.state {
            State::Leading(l) => l.confirmed,
            State::Following(f) => f.confirmed,
            State::Looking(_) | State::Candidate(_) => 0,
        }
    }

    /// Leader: what tells learners the commits and the round when no batch does.
    #[must_use]
    pub fn progress(&self) -> Option<Message<'static>> {
        match &self.state {
            State::Leading(l) => {
                Some(Message::Progress { epoch: l.epoch, committed: self.committed, beat: l.beat, confirmed: l.confirmed })
            }
            _ => None,
        }
    }
}
