//! Election: whom the pulses make the leader to follow, or the best candidate, and when this server stands.
//!
//! Guarantees: a looking server that hears a working leader follows it and doesn't stand; only a server at rest (its log settled, its
//! epoch metadata durable) takes part; among servers that see the same, one stands; a best candidate that doesn't come up is passed
//! over, so that servers that see different things elect too. Nothing here is needed for safety. Leaves to others: promises (`discovery`).

use crate::base::ids::{ClusterId, EPOCH_MAX, ServerId, Zxid};
use crate::base::time::MonoMs;
use crate::model::peer::{Pulse, Stance, Standing};
use crate::model::position::Position;
use crate::mutant;
use crate::zab::send_after::Sink;
use crate::zab::words::Topic;
use crate::zab::{Role, State, Zab};
use std::collections::BTreeSet;

/// A search.
#[derive(Clone, Debug)]
pub(super) struct Looking {
    /// This server is the best and has a quorum: it stands then.
    gather_until: Option<MonoMs>,
    /// Whom it waits for, and until when.
    waiting: Option<(ServerId, MonoMs)>,
    /// It was sent to fetch what this peer has; the history is at rest again when the keeper says so.
    catching_up: Option<(ServerId, Position)>,
    /// It isn't sent again before.
    catch_up_after: MonoMs,
}

/// A search for a leader that lasts so long isn't a start or a change of leaders any more.
const WAITS_LONG_MS: u64 = 3000;

impl Looking {
    pub(super) fn new() -> Looking {
        Looking { gather_until: None, waiting: None, catching_up: None, catch_up_after: MonoMs(0) }
    }

    /// Forgets what it waited for.
    pub(super) fn restart(&mut self) {
        (self.gather_until, self.waiting) = (None, None);
    }

    pub(super) fn catching_up_from(&self, peer: ServerId) -> bool {
        self.catching_up.is_some_and(|(from, _)| from == peer)
    }
}

/// Order of candidates.
type Rank = ((u32, Zxid), ServerId);

impl Zab {
    /// The log is settled and the epoch metadata durable: the position that this server shows is its whole position.
    pub(super) fn at_rest(&self) -> bool {
        (self.settled || mutant!("zab-votes-unsettled")) && self.vault.at_rest()
    }

    /// Nothing but the lack of a quorum keeps this server from being a candidate.
    pub(super) fn may_stand(&self) -> bool {
        self.now >= self.not_standing_until && (self.at_rest() || matches!(self.state, State::Candidate(_)))
    }

    pub(super) fn judge_looking(&mut self, sink: &mut Sink<'_>) {
        if !self.at_rest() {
            return;
        }
        self.end_catch_up();
        if let Some((leader, epoch, cluster)) = self.leader_to_follow() {
            if self.peers[&leader].left_epoch >= epoch {
                // It was left on word that it doesn't lead any more, and does: on a new connection the relation begins anew.
                return self.cut_off(leader, sink);
            }
            if self.vault.wanted().cluster == cluster {
                return self.follow(leader, epoch, cluster, sink);
            }
            // No history binds this server (the identity would not fit else). The first batch will, so the identity is durable before it.
            self.vault.change(|p| p.cluster = cluster);
            return;
        }
        self.answer_held(sink);
        if self.at_rest() && self.votes() {
            self.judge_candidates(sink);
        }
    }

    fn looking(&mut self) -> &mut Looking {
        match &mut self.state {
            State::Looking(looking) => looking,
            _ => unreachable!("asked while looking only"),
        }
    }

    /// The working leader of the highest epoch, if its epoch isn't below what this server promised.
    fn leader_to_follow(&self) -> Option<(ServerId, u32, ClusterId)> {
        let own = self.bound_cluster();
        let fits = |theirs: ClusterId| own == ClusterId(0) || own == theirs;
        let leading = self.fresh_voters().filter_map(|(id, pulse)| match pulse.stance {
            // A leader without a history fits everybody, but a history can't follow one of another ensemble.
            Stance::Leading { epoch, .. } if pulse.cluster != ClusterId(0) && fits(pulse.cluster) => Some((id, epoch, pulse.cluster)),
            _ => None,
        });
        let bound = self.bound_epoch()?;
        leading.filter(|(_, epoch, _)| *epoch >= bound).max_by_key(|l| l.1)
    }

    /// Follows a leader of this epoch or a later one only. `None`: a server without a current epoch (wiped, or its metadata is lost) that hasn't heard
    /// yet what it may have promised.
    fn bound_epoch(&self) -> Option<u32> {
        let accepted = self.vault.wanted().accepted_epoch;
        if mutant!("zab-follows-older-epoch") {
            return Some(0);
        }
        let whole = self.vault.stored().current_epoch > 0 || self.standing() == Standing::Voter;
        if whole || !self.votes() || mutant!("zab-wiped-follows-at-once") {
            // Whoever holds what it acknowledged, in part or whole, still knows what it promised; a founder never promised anything before.
            return Some(accepted);
        }
        if self.standing() == Standing::Repairing && mutant!("zab-repairing-follows-at-once") {
            return Some(accepted);
        }
        if self.promised_to.is_some_and(|(_, epoch)| epoch == accepted) {
            // Promised in this life, to found the ensemble: nothing is forgotten.
            return Some(accepted);
        }
        // Candidacies that a forgotten promise may still count for are over by then.
        let listens_from = self.started.plus(self.candidacy_ms());
        let heard = self.fresh_voters().filter(|(id, _)| self.peers[id].heard_at.is_some_and(|at| at > listens_from));
        let (ids, epochs): (BTreeSet<ServerId>, Vec<u32>) = heard.map(|(id, pulse)| (id, pulse.accepted_epoch)).unzip();
        self.is_quorum(&ids).then(|| epochs.into_iter().fold(accepted, u32::max))
    }

    fn judge_candidates(&mut self, sink: &mut Sink<'_>) {
        let founding = self.founding();
        let counts = self.standing() == Standing::Voter || (founding && self.standing() == Standing::Empty);
        let stands = counts && self.may_stand() && self.hears_quorum();
        let own = (self.position().rank(), self.options.me);
        let best = self.best_other(founding);
        match best {
            Some((_, id)) if self.is_promised_to(id) => self.wait_for(id),
            Some((rank, id)) if !stands || (rank, id) > own => self.wait_for(id),
            _ if stands => self.judge_own_chance(founding, sink),
            _ => {
                self.looking().restart();
                self.say_whom_it_waits_for(founding, sink);
            }
        }
    }

    /// The best candidate besides this server that isn't passed over; before all others the one that has this server's promise.
    fn best_other(&self, founding: bool) -> Option<Rank> {
        let candidates = self.fresh_voters().filter(|(id, pulse)| {
            pulse.hears_quorum
                && has_voice(pulse, founding)
                && is_looking(pulse)
                && (self.now >= self.peers[id].passed_over_until || mutant!("zab-passes-nobody-over"))
        });
        candidates.map(|(id, pulse)| (pulse.position.rank(), id)).max_by_key(|rank| (self.is_promised_to(rank.1), *rank))
    }

    fn is_promised_to(&self, id: ServerId) -> bool {
        self.promised_to.is_some_and(|(to, epoch)| to == id && epoch == self.vault.wanted().accepted_epoch)
    }

    /// Waits for another candidate; one that doesn't come up within a bound is passed over for a while.
    fn wait_for(&mut self, id: ServerId) {
        let now = self.now;
        let until = now.plus(self.candidacy_ms() + self.prng.below(self.options.silence_ms + 1));
        let looking = self.looking();
        looking.gather_until = None;
        match looking.waiting {
            Some((whom, until)) if whom == id && now < until => {}
            Some((whom, _)) if whom == id => {
                looking.waiting = None;
                self.pass_over(id);
            }
            _ => looking.waiting = Some((id, until)),
        }
    }

    fn pass_over(&mut self, id: ServerId) {
        let until = self.now.plus(self.turn_lost_ms());
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.passed_over_until = until;
        }
        if self.is_promised_to(id) {
            self.promised_to = None;
        }
    }

    /// How long a candidate that didn't come up lets others try. Random, so that those who see different things don't wait for each other forever.
    pub(super) fn turn_lost_ms(&mut self) -> u64 {
        self.options.silence_ms * 2 + self.prng.below(self.options.silence_ms * 4 + 1)
    }

    /// This server is the best that it hears of: it stands once a quorum would promise, and others had the time to be heard.
    fn judge_own_chance(&mut self, founding: bool, sink: &mut Sink<'_>) {
        let own = self.position().rank();
        // An empty server promises only to who holds as much as everybody.
        let founding = founding && self.fresh_voters().all(|(_, p)| p.position.rank() <= own);
        let looking: Vec<(ServerId, Pulse)> =
            self.fresh_voters().filter(|(_, p)| is_looking(p) && has_voice(p, founding)).map(|(id, pulse)| (id, *pulse)).collect();
        let counts = self.standing() == Standing::Voter || founding;
        let supporters =
            self.with_me(looking.iter().filter(|(_, p)| p.position.rank() <= own || mutant!("zab-promises-to-older")).map(|(id, _)| *id));
        if !counts || !self.is_quorum(&supporters) {
            self.looking().gather_until = None;
            return self.consider_catching_up(&looking, founding, sink);
        }
        let gather_ms = self.options.gather_ms + self.prng.below(self.options.gather_ms / 2 + 1);
        let (now, all_are_ready) = (self.now, self.all_linked_are_ready());
        let looking = self.looking();
        looking.waiting = None;
        let until = *looking.gather_until.get_or_insert(now.plus(gather_ms));
        if all_are_ready || now >= until {
            self.stand(founding, sink);
        }
    }

    /// Whether everybody whose connection is up looks for a leader too, with its position settled: nobody is to be waited for.
    fn all_linked_are_ready(&self) -> bool {
        self.options.membership.voters().filter(|id| self.peers.get(id).is_some_and(|p| p.up)).all(|id| {
            // Who can't stand says that it hears no quorum; then its position may not be its last word.
            self.fresh_pulse(id).is_some_and(|pulse| is_looking(pulse) && pulse.hears_quorum)
        })
    }

    /// Those who have a newer history hear no quorum, and this server, which does, has none as new: it fetches what it lacks, else
    /// nobody could ever lead.
    fn consider_catching_up(&mut self, looking: &[(ServerId, Pulse)], founding: bool, sink: &mut Sink<'_>) {
        let all = self.with_me(looking.iter().map(|(id, _)| *id));
        let newest = looking.iter().max_by_key(|(id, p)| (p.position.rank(), *id));
        let voter = self.standing() == Standing::Voter;
        let Some((id, pulse)) = newest.filter(|(_, p)| self.is_quorum(&all) && voter && p.cluster == self.cluster()) else {
            self.looking().waiting = None;
            return self.say_whom_it_waits_for(founding, sink);
        };
        let (now, until) = (self.now, self.now.plus(self.candidacy_ms() / 2));
        let pause_ms = self.turn_lost_ms();
        let looking = self.looking();
        match looking.waiting {
            Some((whom, until)) if whom == *id && now >= until.max(looking.catch_up_after) => {
                looking.waiting = None;
                looking.catching_up = Some((*id, pulse.position));
                looking.catch_up_after = now.plus(pause_ms);
                self.settled = false;
                sink.say(true, format!("fetches from server {}, which hears no quorum, the history that it needs to lead", id.0));
                sink.catch_up(*id, pulse.position.last);
            }
            Some((whom, _)) if whom == *id => {}
            _ => looking.waiting = Some((*id, until)),
        }
    }

    /// The keeper has settled: who holds exactly what a peer held, acknowledges what that peer acknowledged.
    fn end_catch_up(&mut self) {
        let Some((_, position)) = self.looking().catching_up.take() else { return };
        if self.durable == position.last && position.current_epoch > self.vault.wanted().current_epoch {
            self.vault.change(|p| {
                p.current_epoch = position.current_epoch;
                p.accepted_epoch = p.accepted_epoch.max(position.current_epoch);
            });
        }
    }

    /// Whether empty servers count, because the ensemble begins here as far as this server hears: every voter is heard (or a quorum, if the operator says that this
    /// is enough), and nobody holds a history, or one of them was started to found the ensemble with its own. With a founder the candidate must hold as much
    /// as everybody else; an attempt that was cut short may have left the founder's history, and its epoch, with others.
    pub(super) fn founding(&self) -> bool {
        let own = (self.options.founder, self.position());
        let all = || self.fresh_voters().map(|(_, p)| (p.founder, p.position)).chain([own]);
        let all_heard = all().count() == self.options.membership.voters().count() || mutant!("zab-founds-unheard");
        let none_holds = all().all(|(_, p)| p.last.zxid == Zxid::ZERO);
        let founders = all().filter(|(founder, p)| *founder && p.last.zxid > Zxid::ZERO).count();
        let enough = (all_heard && founders == 1) || (none_holds && (all_heard || (self.options.bootstrap_quorum && self.hears_quorum())));
        self.votes() && enough
    }

    fn say_whom_it_waits_for(&mut self, founding: bool, sink: &mut Sink<'_>) {
        if !self.words.is_due(self.now, Topic::Waiting) {
            return;
        }
        let unheard: Vec<String> = self
            .options
            .membership
            .voters()
            .filter(|id| *id != self.options.me && !self.is_fresh(*id))
            .map(|id| id.0.to_string())
            .collect();
        // Right after a start, and while a leader is replaced, that is in order.
        let long = self.search_began.is_some_and(|began| self.now.since(began) >= WAITS_LONG_MS);
        let mut whom = if unheard.is_empty() { String::new() } else { format!("; not heard: server {}", unheard.join(", ")) };
        if long {
            whom += &self.who_connects_here();
        }
        let spent = self.vault.wanted().accepted_epoch >= EPOCH_MAX;
        let text = match self.standing() {
            _ if spent => "every epoch is used up: this server can't lead any more".to_owned(),
            Standing::Empty if self.durable.zxid > Zxid::ZERO => {
                format!(
                    "has a history that no ensemble knows: it waits for a leader (to found an ensemble with it, start once with --bootstrap){whom}"
                )
            }
            Standing::Empty if !founding => {
                format!("empty: waits for a leader, or for every voter to be heard without a history{whom}")
            }
            Standing::Repairing if self.vault.stored().current_epoch == 0 => {
                format!(
                    "doesn't know what it promised: waits until a majority without it has told what it accepted, and for a leader{whom}"
                )
            }
            Standing::Repairing => format!("lacks something that it acknowledged: waits for a leader{whom}"),
            Standing::Empty | Standing::Voter => format!("waits for a quorum{whom}"),
        };
        self.words.say(self.now, Topic::Waiting, long, text, sink);
    }

    /// Of servers that this one doesn't connect to (the higher id does), it can only say who isn't there: why, they know.
    fn who_connects_here(&self) -> String {
        let (me, membership) = (self.options.me, &self.options.membership);
        let theirs: Vec<String> = membership.voters().filter(|id| *id > me && !self.is_fresh(*id)).map(|id| id.0.to_string()).collect();
        match membership.get(me) {
            Some(own) if !theirs.is_empty() => format!(
                " ({} {} to this one: look at the log there, and whether {}:{} and :{} can be reached from there)",
                theirs.join(", "),
                if theirs.len() == 1 { "connects" } else { "connect" },
                own.host,
                own.quorum_port,
                own.election_port
            ),
            _ => String::new(),
        }
    }

    /// A role ended: back to looking.
    pub(super) fn look(&mut self, why: &str, sink: &mut Sink<'_>) {
        self.begin_looking();
        sink.role(Role::Looking, why.to_owned());
    }

    fn begin_looking(&mut self) {
        self.state = State::Looking(Looking::new());
        self.settled = false;
        self.promised_to = None;
        self.vault.forget_vows();
        self.search_began = Some(self.now);
    }

    /// Doesn't stand for a while; a leader tells everybody that it looks for another one before its keeper hears of it.
    pub(super) fn abdicate(&mut self, sink: &mut Sink<'_>) {
        self.not_standing_until = self.not_standing_until.max(self.now.plus(self.options.silence_ms * 5));
        match self.state {
            State::Leading(_) => {
                self.begin_looking();
                self.pulse_if_due(sink);
                sink.role(Role::Looking, "hands leadership over".to_owned());
            }
            State::Candidate(_) => self.give_up(0, "it hands over", sink),
            State::Looking(_) | State::Following(_) => {}
        }
    }
}

/// Whether its word counts.
pub(super) fn has_voice(pulse: &Pulse, founding: bool) -> bool {
    match pulse.standing {
        Standing::Voter => true,
        Standing::Empty => founding || mutant!("zab-wiped-votes"),
        Standing::Repairing => mutant!("zab-repairing-votes"),
    }
}

fn is_looking(pulse: &Pulse) -> bool {
    matches!(pulse.stance, Stance::Looking | Stance::Candidate { .. })
}
