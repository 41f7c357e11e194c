//! Zab: who leads in which epoch, who follows, what is committed, which rounds a quorum has answered.
//!
//! Four machines over one state, as the paper has them (Junqueira, Reed, Serafini, DSN 2011): `election` (whom the pulses make the best
//! candidate), `discovery` (epochs and promises), `sync` (NEWLEADER and its acknowledgement), `broadcast` (acknowledgements, commits,
//! rounds). Pure: inputs and the time come in, outputs are left in a list; `docs/replication.md` is the protocol.
//!
//! Guarantees: an epoch has one leader at most; a leader's history holds everything that was ever committed; nothing that others count on
//! (`send_after`) leaves before it is durable. Leaves to others: the bytes of the history and what of it goes to whom
//! (`server::keeper::ensemble`), connections (`server::links`), durability (`log`).

mod broadcast;
mod discovery;
mod election;
mod follower;
mod leader;
mod peers;
mod send_after;
mod sync;
#[cfg(test)]
mod tests;
mod words;

use crate::base::ids::{ClusterId, ServerId, Zxid};
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::model::membership::Membership;
use crate::model::peer::{Message, Standing};
use crate::model::position::Identity;
use crate::mutant;
use discovery::{Candidate, Held};
use election::Looking;
use follower::Following;
use leader::Leading;
use peers::Peer;
use send_after::{Sink, Vault};
use std::collections::BTreeMap;
use words::Words;

/// How one server takes part.
#[derive(Clone, Debug)]
pub struct ZabOptions {
    /// This server.
    pub me: ServerId,
    /// Who belongs to the ensemble.
    pub membership: Membership,
    /// Time between two heartbeats, ms.
    pub pulse_interval_ms: u64,
    /// A server that wasn't heard for so long, ms, counts as gone.
    pub silence_ms: u64,
    /// How long, ms, the best candidate waits for others before it stands.
    pub gather_ms: u64,
    /// A learner whose synchronisation makes no progress for so long, ms, gives up; so does a leader that isn't established by then.
    pub init_ms: u64,
    /// `ringkeeper.bootstrap=quorum`: a first start needs no more than a quorum without a history.
    pub bootstrap_quorum: bool,
    /// `--bootstrap`: this server may found an ensemble with the history that it holds.
    pub founder: bool,
}

/// What zab needs to find again after a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Persisted {
    /// Whose history this is; 0: none yet.
    pub cluster: ClusterId,
    /// The highest epoch promised.
    pub accepted_epoch: u32,
    /// The epoch whose NEWLEADER was acknowledged last (or that this server led); 0: none, this server is empty.
    pub current_epoch: u32,
    /// The server lacks something that it acknowledged.
    pub repairing: bool,
}

/// What a server does, as its keeper sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It looks for a leader, or asks for promises.
    Looking,
    /// It leads.
    Leading {
        /// In this epoch.
        epoch: u32,
        /// A quorum has acknowledged its history.
        established: bool,
    },
    /// It follows, or observes.
    Following {
        /// Whom.
        leader: ServerId,
        /// In which epoch.
        epoch: u32,
        /// The leader said UPTODATE.
        serving: bool,
    },
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Time passed. Wanted a few times in each pulse interval.
    Tick,
    /// The main lane to `peer` is open. One that was open before is gone without another word.
    Up {
        /// Who.
        peer: ServerId,
    },
    /// The main lane to `peer` is gone.
    Down {
        /// Who.
        peer: ServerId,
    },
    /// A message; of the main and bulk lanes only from the connection that is open now. Those that the keeper acts on are shown here before it does.
    Message {
        /// From whom.
        peer: ServerId,
        /// What.
        message: Message<'a>,
    },
    /// What [`Output::Store`] asked for last is durable.
    Stored,
    /// This server's history is durable, contiguous over all shards, through `last`. Less than before after a cut.
    Durable {
        /// Its end.
        last: Identity,
    },
    /// The log is at rest after a role ended or after [`Output::CatchUp`]: nothing open, nothing in flight.
    Settled {
        /// The end of the history.
        last: Identity,
    },
    /// The established leader closed a batch.
    Proposed {
        /// Its end.
        last: Identity,
    },
    /// The leader has put everything through `last`, which is all that it has, on `peer`'s main lane.
    Streamed {
        /// Who.
        peer: ServerId,
        /// What was sent last.
        last: Identity,
    },
    /// The tree stands there.
    Applied {
        /// Last applied transaction.
        zxid: Zxid,
        /// Digest of the tree.
        digest: u64,
    },
    /// Don't lead for a while: the process ends, or the disk is full.
    Abdicate,
    /// The turn ends; what the outboxes hold leaves.
    Flush,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// A pulse goes to the pulse lane, all else to the main lane.
    Send {
        /// To whom.
        peer: ServerId,
        /// What.
        message: Message<'static>,
    },
    /// To be made durable, whole; answered by [`Input::Stored`]. One at a time.
    Store(Persisted),
    /// The role changed. After `Looking` the keeper brings its log to rest and says [`Input::Settled`].
    Role {
        /// To what.
        role: Role,
        /// For people.
        why: String,
    },
    /// Committed through here; it grew. A learner may be told before its own disk is so far.
    Committed(Zxid),
    /// A quorum has answered this round (on a learner: so its leader says).
    Confirmed(u64),
    /// Close all connections to `peer`; they may open again.
    Drop {
        /// Who.
        peer: ServerId,
    },
    /// Looking, and no server that hears a quorum has a history as new as `peer`'s, which hears none: fetch from it (bulk lane) what follows
    /// the own end, through `last`, append it, then say [`Input::Settled`], also when it failed. The role doesn't change.
    CatchUp {
        /// Who has it.
        peer: ServerId,
        /// Its end.
        last: Identity,
    },
    /// A line for the log.
    Say {
        /// A person should see it.
        important: bool,
        /// The line.
        text: String,
    },
}

/// What the leader knows of one learner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnerFigures {
    /// Who.
    pub id: ServerId,
    /// Whether it votes.
    pub votes: bool,
    /// It acknowledged NEWLEADER.
    pub synced: bool,
    /// As it said.
    pub durable: Zxid,
    /// The last round it answered.
    pub beat: u64,
}

/// What the machines are at.
#[derive(Clone, Debug)]
enum State {
    Looking(Looking),
    Candidate(Candidate),
    Leading(Leading),
    Following(Following),
}

/// The machine of one server.
#[derive(Clone, Debug)]
pub struct Zab {
    options: ZabOptions,
    prng: Prng,
    started: MonoMs,
    now: MonoMs,
    /// Pulses that arrive before this count for nothing: they may have waited in a buffer while this process was paused.
    deaf_until: MonoMs,
    peers: BTreeMap<ServerId, Peer>,
    vault: Vault,
    /// Durable here.
    durable: Identity,
    /// The log is at rest: `durable` is the whole history.
    settled: bool,
    committed: Zxid,
    applied: (Zxid, u64),
    state: State,
    /// Questions for a promise that came while the log wasn't at rest.
    held: BTreeMap<ServerId, Held>,
    /// To whom the accepted epoch was promised, while nothing has happened since.
    promised_to: Option<(ServerId, u32)>,
    /// The ensemble that this candidate named.
    promised_cluster: ClusterId,
    /// Before this the server doesn't stand.
    not_standing_until: MonoMs,
    /// Last time that this leader stepped down for a voter with a higher promise.
    stepped_up_at: Option<MonoMs>,
    /// When the search for a leader began.
    search_began: Option<MonoMs>,
    election_ms: Option<u64>,
    pulsed_at: Option<MonoMs>,
    pulse_shown: Option<peers::Shown>,
    words: Words,
}

impl Zab {
    /// A server that begins looking, its log at rest, its history ending at `last`. `committed`: what its log proves to be committed.
    #[must_use]
    pub fn new(options: ZabOptions, persisted: Persisted, last: Identity, committed: Zxid, prng: Prng, now: MonoMs) -> Zab {
        let peers = options.membership.members().filter(|m| m.id != options.me).map(|m| (m.id, Peer::default())).collect();
        Zab {
            prng: prng.stream("zab"),
            started: now,
            now,
            deaf_until: now,
            peers,
            vault: Vault::new(persisted),
            durable: last,
            settled: true,
            committed,
            applied: (Zxid::ZERO, 0),
            state: State::Looking(Looking::new()),
            held: BTreeMap::new(),
            promised_to: None,
            promised_cluster: ClusterId(0),
            not_standing_until: now,
            stepped_up_at: None,
            search_began: Some(now),
            election_ms: None,
            pulsed_at: None,
            pulse_shown: None,
            words: Words::default(),
            options,
        }
    }

    /// Takes one input and leaves what follows from it in `out`.
    pub fn step(&mut self, now: MonoMs, input: Input<'_>, out: &mut Vec<Output>) {
        let sink = &mut Sink::new(out);
        self.begin(now, sink);
        match input {
            Input::Tick => {}
            Input::Up { peer } => self.on_up(peer, sink),
            Input::Down { peer } => self.on_down(peer, sink),
            Input::Message { peer, message } => self.on_message(peer, message, sink),
            Input::Stored => {
                self.vault.on_stored();
                self.on_stored(sink);
            }
            Input::Durable { last } => self.on_durable(last, sink),
            Input::Settled { last } => {
                self.durable = last;
                self.settled = matches!(self.state, State::Looking(_) | State::Candidate(_));
            }
            Input::Proposed { last } => self.on_proposed(last),
            Input::Streamed { peer, last } => self.on_streamed(peer, last, sink),
            Input::Applied { zxid, digest } => self.applied = (zxid, digest),
            Input::Abdicate => self.abdicate(sink),
            Input::Flush => self.on_flush(),
        }
        self.judge(&input, sink);
        self.vault.flush(self.durable.zxid, sink);
        if !self.is_busy_work(&input) {
            self.pulse_if_due(sink);
        }
    }

    /// After a gap in its own steps longer than the silence the process was paused: whatever it heard before is void.
    fn begin(&mut self, now: MonoMs, sink: &mut Sink<'_>) {
        let gap_ms = now.since(self.now);
        self.now = self.now.max(now);
        if gap_ms <= self.options.silence_ms || mutant!("zab-pulses-fresh-after-pause") {
            return;
        }
        sink.say(true, format!("this process stood still for {gap_ms} ms: nothing that it heard before counts"));
        self.deaf_until = self.now.plus(self.options.pulse_interval_ms);
        self.peers.values_mut().for_each(|p| p.heard_at = None);
        match &mut self.state {
            State::Looking(looking) => looking.restart(),
            State::Candidate(_) => self.give_up(0, "this process stood still", sink),
            State::Leading(leading) => leading.after_pause(self.now),
            State::Following(following) => following.after_pause(self.now),
        }
    }

    fn on_message(&mut self, peer: ServerId, message: Message<'_>, sink: &mut Sink<'_>) {
        if !self.peers.contains_key(&peer) {
            self.say_unknown(peer, sink);
            return;
        }
        match message {
            Message::Pulse(pulse) => self.on_pulse(peer, pulse, sink),
            _ if !self.peers[&peer].up => {}
            Message::NewEpoch { epoch, position, cluster, founding } => {
                self.on_new_epoch(peer, Held { epoch, position, cluster, founding }, sink);
            }
            Message::Promise { epoch, position } => self.on_promise(peer, epoch, position, sink),
            Message::Refuse { epoch, accepted_epoch, position, why } => self.on_refuse(peer, epoch, accepted_epoch, position, why, sink),
            Message::Lead { epoch } => self.on_lead(peer, epoch),
            _ if !self.accepts(peer, &message) => {}
            Message::NewLeader { last, .. } => self.on_new_leader(last, sink),
            Message::AckLeader { last, .. } => self.on_ack_leader(peer, last, sink),
            Message::UpToDate { committed, .. } => self.on_up_to_date(committed, sink),
            Message::Batch { committed, beat, confirmed, .. } => {
                self.on_progress_made();
                self.on_progress(committed, beat, confirmed, sink);
            }
            Message::Progress { committed, beat, confirmed, .. } => self.on_progress(committed, beat, confirmed, sink),
            Message::Ack { durable, beat, .. } => self.on_ack(peer, durable, beat, sink),
            Message::Fetch { after, .. } => self.on_fetch(after),
            Message::Diff { .. } | Message::Back { .. } | Message::Snapshot { .. } | Message::Fetched { .. } | Message::Piece { .. } => {
                self.on_progress_made()
            }
            Message::Follow { .. } | Message::Forward { .. } | Message::Verdicts { .. } | Message::Touched { .. } => {}
            Message::FetchAsk { after, .. } => self.on_asked(peer, (after.zxid, 0)),
            Message::PieceAsk { at, offset, .. } => self.on_asked(peer, (at, offset)),
        }
    }

    /// What time and the last input make of the role.
    fn judge(&mut self, input: &Input<'_>, sink: &mut Sink<'_>) {
        if self.is_busy_work(input) {
            return;
        }
        match &self.state {
            State::Looking(_) => self.judge_looking(sink),
            State::Candidate(_) => self.judge_candidate(sink),
            State::Leading(_) => self.judge_leading(sink),
            State::Following(_) => self.judge_following(sink),
        }
    }

    /// The inputs that come with every batch change nothing of what a leader or a learner is.
    fn is_busy_work(&self, input: &Input<'_>) -> bool {
        let busy = match input {
            Input::Proposed { .. } | Input::Durable { .. } | Input::Applied { .. } | Input::Flush => true,
            Input::Message { message, .. } => matches!(
                message,
                Message::Batch { .. }
                    | Message::Progress { .. }
                    | Message::Ack { .. }
                    | Message::Forward { .. }
                    | Message::Verdicts { .. }
                    | Message::Touched { .. }
                    | Message::FetchAsk { .. }
                    | Message::PieceAsk { .. }
            ),
            _ => false,
        };
        busy && matches!(self.state, State::Leading(_) | State::Following(_))
    }

    /// What the server does now.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.state {
            State::Looking(_) | State::Candidate(_) => Role::Looking,
            State::Leading(l) => Role::Leading { epoch: l.epoch, established: l.established },
            State::Following(f) => Role::Following { leader: f.leader, epoch: f.epoch, serving: f.serving },
        }
    }

    /// Committed through here, as far as this server knows.
    #[must_use]
    pub fn committed(&self) -> Zxid {
        self.committed
    }

    /// What this server's word counts for.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let stored = self.vault.stored();
        // A server that was wiped and is half synchronised has a history and still forgot what it promised: the epoch tells.
        let founds = self.options.founder && self.durable.zxid > Zxid::ZERO;
        match stored {
            Persisted { repairing: true, .. } => Standing::Repairing,
            Persisted { current_epoch: 0, .. } if !founds => Standing::Empty,
            _ => Standing::Voter,
        }
    }

    /// The durable epoch metadata.
    #[must_use]
    pub fn persisted(&self) -> &Persisted {
        self.vault.stored()
    }

    /// Whether `message` fits the relation with `peer` and its epoch: between a learner and its leader, or of no epoch at all. Any other is to be ignored.
    #[must_use]
    pub fn accepts(&self, peer: ServerId, message: &Message<'_>) -> bool {
        if !self.peers.get(&peer).is_some_and(|p| p.up || matches!(message, Message::Pulse(_))) {
            return false;
        }
        match *message {
            Message::Pulse(_)
            | Message::NewEpoch { .. }
            | Message::Promise { .. }
            | Message::Refuse { .. }
            | Message::Lead { .. }
            | Message::FetchAsk { .. }
            | Message::PieceAsk { .. } => true,
            Message::Follow { epoch, .. } | Message::AckLeader { epoch, .. } | Message::Ack { epoch, .. } => self.leads(epoch),
            Message::Forward { epoch, .. } | Message::Touched { epoch, .. } => self.leads(epoch) && self.is_synced(peer),
            Message::Diff { epoch, .. }
            | Message::Back { epoch, .. }
            | Message::Fetch { epoch, .. }
            | Message::Snapshot { epoch, .. }
            | Message::NewLeader { epoch, .. }
            | Message::UpToDate { epoch, .. }
            | Message::Batch { epoch, .. }
            | Message::Progress { epoch, .. }
            | Message::Verdicts { epoch, .. } => matches!(&self.state, State::Following(f) if f.leader == peer && f.epoch == epoch),
            Message::Fetched { .. } | Message::Piece { .. } => match &self.state {
                State::Following(f) => f.leader == peer,
                State::Looking(l) => l.catching_up_from(peer),
                State::Candidate(_) | State::Leading(_) => false,
            },
        }
    }

    /// How long, in ms, this server was without a leader the last time that it found one (or became it).
    #[must_use]
    pub fn election_ms(&self) -> Option<u64> {
        self.election_ms
    }

    /// The end of a search.
    fn search_ended(&mut self) {
        if let Some(began) = self.search_began.take() {
            self.election_ms = Some(self.now.since(began));
        }
    }
}
