//! Discovery: a candidate asks for an epoch, voters promise it or refuse; a quorum of promises makes a leader.
//!
//! Guarantees: an epoch is promised to one candidate at most and durably before anybody counts on it, the candidate's own promise
//! included; no promise goes to a candidate whose history is older; a server whose word doesn't count promises nothing, except to found an
//! ensemble. A promise counts only while the connection on which it came is open and the candidacy lasts. Leaves to others: when to stand
//! (`election`).

use crate::base::ids::{ClusterId, EPOCH_MAX, ServerId, Zxid};
use crate::base::time::MonoMs;
use crate::invariant;
use crate::model::peer::{Refusal, Standing};
use crate::model::position::Position;
use crate::mutant;
use crate::zab::election::Looking;
use crate::zab::leader::Leading;
use crate::zab::send_after::{Durable, PlainMessage, SendAfter, Sink, Vow};
use crate::zab::words::Topic;
use crate::zab::{State, Zab};
use std::collections::BTreeSet;

/// A candidacy.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) epoch: u32,
    pub(super) cluster: ClusterId,
    founding: bool,
    /// The own promise is durable when the vault has stored this.
    serial: u64,
    /// Set when that was so and everybody was asked: then the candidacy ends.
    ends: Option<MonoMs>,
    promised: BTreeSet<ServerId>,
    refused: BTreeSet<ServerId>,
}

impl Candidate {
    pub(super) fn forget(&mut self, peer: ServerId) {
        self.promised.remove(&peer);
        self.refused.remove(&peer);
    }
}

/// A question for a promise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) epoch: u32,
    pub(super) position: Position,
    pub(super) cluster: ClusterId,
    pub(super) founding: bool,
}

impl Zab {
    /// How long a candidacy may last, ms. A promise that was forgotten (a wiped server) can't count for longer.
    pub(super) fn candidacy_ms(&self) -> u64 {
        self.options.silence_ms * 2
    }

    /// Becomes a candidate for the epoch after the highest that it heard of; for the same as before when nobody else can have it.
    pub(super) fn stand(&mut self, founding: bool, sink: &mut Sink<'_>) {
        let standing = self.standing();
        let counts = standing == Standing::Voter || (founding && standing == Standing::Empty);
        invariant!(counts && self.at_rest(), "a server stands whose word counts for nothing: {standing:?}");
        let heard = self.peers.values().filter_map(|p| p.pulse.map(|pulse| pulse.accepted_epoch)).max().unwrap_or(0);
        let accepted = self.vault.wanted().accepted_epoch;
        let again = self.promised_to == Some((self.options.me, accepted)) && heard <= accepted;
        let used = accepted.max(heard).max(self.durable.zxid.epoch()).max(self.vault.wanted().current_epoch);
        if !again && used >= EPOCH_MAX {
            let text = format!(
                "every epoch is used up (the highest is {EPOCH_MAX}): this server can't lead; restore the ensemble from a backup into a new one"
            );
            return self.words.say(self.now, Topic::EpochsSpent, true, text, sink);
        }
        let next = if mutant!("zab-stands-in-used-epoch") { used.max(1) } else { used + 1 };
        let epoch = if again { accepted } else { next };
        let serial = self.vault.change(|p| p.accepted_epoch = epoch);
        self.promised_to = Some((self.options.me, epoch));
        let cluster = self.cluster_to_lead();
        sink.say(false, format!("stands for epoch {epoch}{}", if founding { ", to found the ensemble" } else { "" }));
        self.state = State::Candidate(Candidate {
            epoch,
            cluster,
            founding,
            serial,
            ends: None,
            promised: BTreeSet::new(),
            refused: BTreeSet::new(),
        });
    }

    /// The identity of the newest history that it hears of, its own before others, else a new one.
    fn cluster_to_lead(&mut self) -> ClusterId {
        let own = (self.position().rank(), true, self.vault.stored().cluster);
        let heard = self.fresh_voters().map(|(_, p)| (p.position.rank(), false, p.cluster));
        let known = heard.chain([own]).filter(|(.., c)| *c != ClusterId(0)).max_by_key(|(rank, own, _)| (*rank, *own));
        known.map(|(.., cluster)| cluster).unwrap_or_else(|| {
            let bits = u128::from(self.prng.next_u64()) << 64 | u128::from(self.prng.next_u64());
            ClusterId(bits.max(1))
        })
    }

    pub(super) fn judge_candidate(&mut self, sink: &mut Sink<'_>) {
        if self.leads_elsewhere().is_some() {
            return self.give_up(0, "there is a leader", sink);
        }
        let State::Candidate(c) = &self.state else { return };
        if c.ends.is_none() && (self.vault.is_stored(c.serial) || mutant!("zab-candidate-promises-itself-late")) {
            self.ask_everybody(sink);
        }
        let State::Candidate(c) = &self.state else { return };
        let Some(ends) = c.ends else { return };
        if self.now >= ends {
            let pause_ms = self.turn_lost_ms();
            return self.give_up(pause_ms, "no quorum promised in time", sink);
        }
        if self.is_quorum(&self.with_me(c.promised.iter().copied())) {
            self.lead(sink);
        }
    }

    fn ask_everybody(&mut self, sink: &mut Sink<'_>) {
        let ends = self.now.plus(self.candidacy_ms());
        if let State::Candidate(c) = &mut self.state {
            c.ends = Some(ends);
        }
        let voters: Vec<ServerId> = self.options.membership.voters().filter(|id| self.peers.get(id).is_some_and(|p| p.up)).collect();
        voters.into_iter().for_each(|id| self.ask_for_promise(id, sink));
    }

    /// A candidate that empty servers may promise to.
    pub(super) fn is_founding(&self) -> bool {
        matches!(&self.state, State::Candidate(c) if c.founding)
    }

    /// Asks one voter, if this server is a candidate whose own promise is durable.
    pub(super) fn ask_for_promise(&mut self, peer: ServerId, sink: &mut Sink<'_>) {
        let State::Candidate(c) = &self.state else { return };
        if c.ends.is_some() && self.options.membership.votes(peer) {
            let position = self.position();
            sink.send(peer, PlainMessage::NewEpoch { epoch: c.epoch, position, cluster: c.cluster, founding: c.founding });
        }
    }

    pub(super) fn on_new_epoch(&mut self, peer: ServerId, ask: Held, sink: &mut Sink<'_>) {
        if ask.epoch > EPOCH_MAX || !self.options.membership.votes(peer) {
            let text = format!(
                "server {} asks for epoch {}, but has no vote or that is above the highest, {EPOCH_MAX}: ignored",
                peer.0, ask.epoch
            );
            return self.words.say(self.now, Topic::BadInput(peer), true, text, sink);
        }
        if let State::Following(f) = &self.state
            && f.leader == peer
            && ask.epoch > f.epoch
        {
            // Only one that doesn't lead any more asks; its pulse is still on the way.
            self.leave("the leader stands for a new epoch", sink);
        }
        match self.state {
            State::Looking(_) if !self.at_rest() => {
                self.held.insert(peer, ask);
            }
            State::Looking(_) | State::Candidate(_) => self.answer(peer, ask, sink),
            State::Leading(_) | State::Following(_) => self.refuse(peer, ask.epoch, Refusal::Content, sink),
        }
    }

    /// The log came to rest: the questions that waited for it are answered.
    pub(super) fn answer_held(&mut self, sink: &mut Sink<'_>) {
        for (peer, ask) in std::mem::take(&mut self.held) {
            self.answer(peer, ask, sink);
        }
    }

    fn answer(&mut self, peer: ServerId, ask: Held, sink: &mut Sink<'_>) {
        if let Some(why) = self.objection(peer, &ask) {
            return self.refuse(peer, ask.epoch, why, sink);
        }
        if matches!(self.state, State::Candidate(_)) {
            self.give_up(0, "a candidate for a later epoch has a history as new", sink);
        }
        let serial = self.vault.change(|p| p.accepted_epoch = ask.epoch);
        (self.promised_to, self.promised_cluster) = (Some((peer, ask.epoch)), ask.cluster);
        let message = Vow::Promise { epoch: ask.epoch, position: self.position() };
        self.vault.send_after(SendAfter { durable: Durable::Stored(serial), to: peer, message });
    }

    /// Why `ask` gets no promise.
    fn objection(&self, peer: ServerId, ask: &Held) -> Option<Refusal> {
        let accepted = self.vault.wanted().accepted_epoch;
        let same = ask.epoch == accepted && self.promised_to == Some((peer, accepted));
        if !(self.votes() && self.cluster_fits(ask.cluster, &ask.position) && self.has_voice_for(peer, ask)) {
            Some(Refusal::NoVoice)
        } else if ask.epoch <= accepted && !same && !mutant!("zab-promises-twice") {
            Some(Refusal::Promised)
        } else if ask.position.rank() < self.position().rank() && !mutant!("zab-promises-to-older") {
            Some(Refusal::Newer)
        } else {
            None
        }
    }

    /// An empty server's word counts for founding only, and only while it hears nobody who holds more than the candidate.
    fn has_voice_for(&self, peer: ServerId, ask: &Held) -> bool {
        match self.standing() {
            Standing::Voter => true,
            Standing::Repairing => mutant!("zab-repairing-votes"),
            Standing::Empty => {
                let others = || self.fresh_voters().filter(|(id, _)| *id != peer).map(|(_, p)| p.position);
                let holds_most = others().all(|p| p.rank() <= ask.position.rank());
                let none_holds = others().chain([self.position(), ask.position]).all(|p| p.last.zxid == Zxid::ZERO);
                let founder_heard = self.fresh_voters().any(|(_, p)| p.founder && p.position.last.zxid > Zxid::ZERO);
                (ask.founding && holds_most && (none_holds || founder_heard)) || mutant!("zab-wiped-votes")
            }
        }
    }

    fn refuse(&mut self, peer: ServerId, epoch: u32, why: Refusal, sink: &mut Sink<'_>) {
        let (accepted_epoch, position) = (self.vault.wanted().accepted_epoch, self.position());
        sink.send(peer, PlainMessage::Refuse { epoch, accepted_epoch, position, why });
    }

    pub(super) fn on_promise(&mut self, peer: ServerId, epoch: u32, position: Position, sink: &mut Sink<'_>) {
        let own = self.position().rank();
        let votes = self.options.membership.votes(peer);
        match &mut self.state {
            State::Candidate(c) if c.epoch == epoch && c.ends.is_some() && votes => {
                if position.rank() > own && !mutant!("zab-promises-to-older") {
                    return self.give_up(self.options.gather_ms, "a voter has a newer history", sink);
                }
                c.refused.remove(&peer);
                c.promised.insert(peer);
            }
            _ => {}
        }
    }

    pub(super) fn on_refuse(&mut self, peer: ServerId, epoch: u32, accepted: u32, position: Position, why: Refusal, sink: &mut Sink<'_>) {
        if let Some(pulse) = self.peers.get_mut(&peer).and_then(|p| p.pulse.as_mut()).filter(|_| accepted <= EPOCH_MAX) {
            pulse.accepted_epoch = pulse.accepted_epoch.max(accepted);
            pulse.position = position;
        }
        match &mut self.state {
            State::Candidate(c) if c.epoch == epoch => {
                c.promised.remove(&peer);
                c.refused.insert(peer);
            }
            _ => return,
        }
        if why == Refusal::Promised {
            // Somebody else has this epoch, or may have it: it isn't asked for again.
            self.promised_to = None;
        }
        let State::Candidate(c) = &self.state else { return };
        let open = self.options.membership.voters().filter(|id| self.peers.get(id).is_some_and(|p| p.up) && !c.refused.contains(id));
        if !self.is_quorum(&self.with_me(open)) {
            let pause_ms = self.options.gather_ms + self.prng.below(self.options.gather_ms * 2 + 1);
            self.give_up(pause_ms, &format!("server {} refused ({why:?}), no quorum can promise", peer.0), sink);
        }
    }

    /// Ends the candidacy; doesn't stand again for so long. The history didn't move, so the log is still at rest.
    pub(super) fn give_up(&mut self, pause_ms: u64, why: &str, sink: &mut Sink<'_>) {
        let State::Candidate(c) = &self.state else { return };
        sink.say(false, format!("gives up its candidacy for epoch {}: {why}", c.epoch));
        self.not_standing_until = self.not_standing_until.max(self.now.plus(pause_ms));
        self.state = State::Looking(Looking::new());
    }

    /// A quorum has promised: this server leads.
    fn lead(&mut self, sink: &mut Sink<'_>) {
        let State::Candidate(c) = &self.state else { return };
        let (epoch, cluster, last) = (c.epoch, c.cluster, self.durable);
        let by = words_of(&c.promised);
        let why = if by.is_empty() { "its own vote is enough".to_owned() } else { format!("promised epoch {epoch} by server {by}") };
        let serial = self.vault.change(|p| {
            (p.cluster, p.current_epoch) = (cluster, epoch);
        });
        self.state = State::Leading(Leading::new(epoch, serial, last, self.now));
        (self.settled, self.promised_to) = (false, None);
        sink.role(self.role(), why);
        for (id, _) in self.peers.iter().filter(|(_, p)| p.up) {
            sink.send(*id, PlainMessage::Lead { epoch });
        }
    }
}

fn words_of(ids: &BTreeSet<ServerId>) -> String {
    ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(", ")
}
