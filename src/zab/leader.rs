//! What a leader is, and when it stops: no quorum follows it any more, a later leader shows, it never became established, or a voter
//! that promised a later epoch can't follow it.
//!
//! Guarantees: a leader that hears no quorum of followers for the silence steps down; after a pause of its own process it confirms no
//! round before it hears a quorum again. Leaves to others: what it counts (`broadcast`), whom it accepts (`sync`).

use crate::base::ids::{ServerId, Zxid};
use crate::base::time::MonoMs;
use crate::model::peer::Stance;
use crate::model::position::Identity;
use crate::mutant;
use crate::zab::send_after::Sink;
use crate::zab::{LearnerFigures, State, Zab};
use std::collections::BTreeMap;

/// A leader steps down for a voter with a later promise at most once in this time, ms.
const STEP_UP_PAUSE_MS: u64 = 10_000;

/// What the leader knows of a learner on its present connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Learner {
    /// NEWLEADER was sent with this.
    pub(super) new_leader: Option<Identity>,
    /// It acknowledged that.
    pub(super) synced: bool,
    pub(super) durable: Zxid,
    pub(super) beat: u64,
}

/// A leadership.
#[derive(Clone, Debug)]
pub(super) struct Leading {
    pub(super) epoch: u32,
    pub(super) established: bool,
    /// The own current epoch is durable when the vault has stored this.
    pub(super) serial: u64,
    /// End of what was proposed, at first of the history that the leadership began with.
    pub(super) proposed: Identity,
    pub(super) learners: BTreeMap<ServerId, Learner>,
    /// The leadership began, or the process went on after a pause: from then on a learner has the silence to be heard.
    patient_from: MonoMs,
    /// When it was last seen that the synchronisation of a learner goes on.
    progress_at: MonoMs,
    /// How far each asked for what it lacks: a position, and bytes of a snapshot.
    asked: BTreeMap<ServerId, (Zxid, u64)>,
    /// A quorum was heard following, last then.
    heard_quorum_at: MonoMs,
    /// Whether one was heard since the leadership began or the process was paused.
    pub(super) hears_quorum: bool,
    /// The number that messages carry.
    pub(super) beat: u64,
    /// `beat` was begun in this turn: no message with it has left.
    pub(super) round_is_new: bool,
    pub(super) confirmed: u64,
    /// Since when a voter looks that promised a later epoch.
    outpromised_since: Option<MonoMs>,
}

impl Leading {
    pub(super) fn new(epoch: u32, serial: u64, last: Identity, now: MonoMs) -> Leading {
        // Rounds of a later leader have higher numbers, whoever it is.
        let beat = u64::from(epoch) << 32;
        Leading {
            epoch,
            established: false,
            serial,
            proposed: last,
            learners: BTreeMap::new(),
            patient_from: now,
            progress_at: now,
            asked: BTreeMap::new(),
            heard_quorum_at: now,
            hears_quorum: false,
            beat,
            round_is_new: false,
            confirmed: beat,
            outpromised_since: None,
        }
    }

    pub(super) fn after_pause(&mut self, now: MonoMs) {
        (self.hears_quorum, self.outpromised_since) = (false, None);
        (self.heard_quorum_at, self.patient_from) = (now, now);
    }

    pub(super) fn forget(&mut self, peer: ServerId) {
        self.learners.remove(&peer);
    }
}

impl Zab {
    pub(super) fn leads(&self, of_epoch: u32) -> bool {
        matches!(&self.state, State::Leading(l) if l.epoch == of_epoch)
    }

    pub(super) fn is_synced(&self, peer: ServerId) -> bool {
        matches!(&self.state, State::Leading(l) if l.established && l.learners.get(&peer).is_some_and(|x| x.synced))
    }

    /// On a leader: what it knows of each learner that was streamed to, by ascending id.
    pub fn learners(&self) -> impl Iterator<Item = LearnerFigures> {
        let learners = match &self.state {
            State::Leading(l) => Some(l.learners.iter()),
            _ => None,
        };
        learners.into_iter().flatten().map(|(id, x)| LearnerFigures {
            id: *id,
            votes: self.options.membership.votes(*id),
            synced: x.synced,
            durable: x.durable,
            beat: x.beat,
        })
    }

    /// A learner asks for more of what it lacks. A leader that isn't established yet waits for it as long as it gets further.
    pub(super) fn on_asked(&mut self, peer: ServerId, how_far: (Zxid, u64)) {
        let (now, votes) = (self.now, self.options.membership.votes(peer));
        let State::Leading(l) = &mut self.state else { return };
        let furthest = l.asked.entry(peer).or_default();
        if votes && how_far > *furthest {
            (*furthest, l.progress_at) = (how_far, now);
        }
    }

    pub(super) fn judge_leading(&mut self, sink: &mut Sink<'_>) {
        let State::Leading(l) = &self.state else { return };
        if let Some((id, epoch)) = self.leads_elsewhere() {
            return self.look(&format!("server {} leads the later epoch {epoch}", id.0), sink);
        }
        if !l.established && self.now.since(l.progress_at) > self.options.init_ms {
            return self.look("no quorum acknowledged its history in time", sink);
        }
        self.judge_hearing(sink);
        self.judge_promises(sink);
        self.establish_if_acknowledged(sink);
        self.cut_silent_learners(sink);
    }

    /// A fresh leader of a later epoch than this server's role.
    pub(super) fn leads_elsewhere(&self) -> Option<(ServerId, u32)> {
        let own = match &self.state {
            State::Leading(l) => l.epoch + 1,
            _ => self.vault.wanted().accepted_epoch,
        };
        self.fresh_voters().find_map(|(id, pulse)| match pulse.stance {
            Stance::Leading { epoch, .. } if epoch >= own => Some((id, epoch)),
            _ => None,
        })
    }

    fn judge_hearing(&mut self, sink: &mut Sink<'_>) {
        let State::Leading(l) = &self.state else { return };
        let (me, epoch) = (self.options.me, l.epoch);
        let follows = |stance: &Stance| matches!(stance, Stance::Following { leader, epoch: e, .. } if *leader == me && *e == epoch);
        let followers = self.with_me(self.fresh_voters().filter(|(_, p)| follows(&p.stance)).map(|(id, _)| id));
        let hears = self.is_quorum(&followers);
        let (now, silence_ms) = (self.now, self.options.silence_ms);
        let State::Leading(l) = &mut self.state else { return };
        if hears {
            let again = !l.hears_quorum;
            (l.hears_quorum, l.heard_quorum_at) = (true, now);
            if again {
                self.advance_rounds(sink);
            }
        } else if now.since(l.heard_quorum_at) > silence_ms && !mutant!("zab-leads-unheard") {
            self.look("no quorum was heard following for the silence", sink);
        }
    }

    /// Steps down when a voter keeps looking because it promised a later epoch to a candidate that didn't come up.
    fn judge_promises(&mut self, sink: &mut Sink<'_>) {
        let State::Leading(l) = &self.state else { return };
        let epoch = l.epoch;
        // Whatever its word counts for: it can't follow this leader.
        let outpromised = self
            .fresh_voters()
            .find(|(_, p)| matches!(p.stance, Stance::Looking | Stance::Candidate { .. }) && p.accepted_epoch > epoch)
            .map(|(id, p)| (id, p.accepted_epoch));
        let (now, silence_ms) = (self.now, self.options.silence_ms);
        let State::Leading(l) = &mut self.state else { return };
        let Some((id, accepted)) = outpromised else {
            l.outpromised_since = None;
            return;
        };
        let since = *l.outpromised_since.get_or_insert(now);
        let lasts = now.since(since) >= silence_ms;
        if lasts && self.stepped_up_at.is_none_or(|at| now.since(at) >= STEP_UP_PAUSE_MS) && !mutant!("zab-never-steps-up") {
            self.stepped_up_at = Some(now);
            self.look(&format!("server {} promised epoch {accepted}: all elect anew", id.0), sink);
        }
    }

    /// A learner that isn't heard is cut off: it may hear this leader and would follow on, useless.
    fn cut_silent_learners(&mut self, sink: &mut Sink<'_>) {
        let State::Leading(l) = &self.state else { return };
        let silence_ms = self.options.silence_ms;
        let silent = l.learners.keys().filter(|id| {
            let p = &self.peers[id];
            let heard = p.heard_at.unwrap_or(p.up_at.max(l.patient_from));
            self.now.since(heard) > silence_ms
        });
        let silent: Vec<ServerId> = silent.copied().collect();
        for id in silent {
            sink.say(true, format!("server {} wasn't heard for {silence_ms} ms: its connections are closed", id.0));
            self.cut_off(id, sink);
        }
    }
}
