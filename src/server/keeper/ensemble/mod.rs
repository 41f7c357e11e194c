//! The keeper as a member of an ensemble: it hands what happens to the [`Zab`] machine, does what that decides, and moves the data.
//!
//! Guarantees: clients are served only as an established leader or a synchronised learner; when a role ends, every client connection
//! is closed, nothing unsubmitted stays, and no vote is cast before the log is at rest; nothing is applied that isn't committed.
//! Leaves to others: who leads and what is committed (`zab`), frames and handshakes (`server::links`), bytes on disk (`log`).
//! `docs/replication.md` has the protocol.

use super::{Cx, Keeper};
use crate::base::fatal::{Fatal, FatalError};
use crate::base::ids::{ClusterId, ServerId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::prng::Prng;
use crate::base::time::Now;
use crate::log::{DiskEffect, MetaChange};
use crate::model::file::Ticket;
use crate::model::peer::{Lane, Message, Pulse};
use crate::model::position::Identity;
use crate::mutant;
use crate::server::config::{Bootstrap, Config};
use crate::server::note::Level;
use crate::server::peer_mail::{LinkId, PeerBurst, PeerItem, PeerOutbox};
use crate::wire::peer as wire;
use crate::zab::{Input, Output, Persisted, Role, Zab, ZabOptions};
use bulk::Reading;
use facts::Since;
use leading::Leading;
use learning::Learning;
use std::collections::{BTreeMap, VecDeque};

mod bulk;
mod facts;
mod forwarded;
mod forwarding;
mod leading;
mod learning;
mod read_only;
mod receiving;
mod role;
mod sending;

pub use leading::Tell;

/// What a member is told.
#[derive(Clone, Debug)]
pub struct EnsembleOptions {
    /// For the machine that decides.
    pub zab: ZabOptions,
    /// Learners report the sessions they heard of at each half of it.
    pub tick_ms: u64,
    /// Clients that ask for no more than reading are served without a leader.
    pub read_only_enabled: bool,
}

impl EnsembleOptions {
    /// From the configuration; `None` for a server that stands alone.
    #[must_use]
    pub fn from_config(config: &Config) -> Option<EnsembleOptions> {
        let e = config.ensemble.as_ref()?;
        let zab = ZabOptions {
            me: e.me,
            membership: e.membership.clone(),
            pulse_interval_ms: e.pulse_interval_ms,
            silence_ms: e.silence_ms,
            gather_ms: e.gather_ms,
            init_ms: e.init_ms,
            bootstrap_quorum: e.bootstrap == Bootstrap::Quorum,
            founder: e.founder,
        };
        Some(EnsembleOptions { zab, tick_ms: u64::from(config.tick_ms), read_only_enabled: e.read_only_enabled })
    }
}

/// What this server may do for clients now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Duty {
    /// It judges their requests itself.
    Decide,
    /// It forwards what it can't answer to the leader.
    Forward,
    /// Nothing.
    Nothing,
}

/// Received batches that aren't durable at which a learner reads no more of them.
const UNDURABLE_MAX: usize = 128;
/// Digests of the tree that are kept for comparison with other servers, one for each batch.
const DIGESTS_MAX: usize = 4096;

/// A member's state beside the keeper's.
pub(super) struct Ensemble {
    me: ServerId,
    /// Whether it votes.
    votes: bool,
    /// Members that vote.
    voters: u64,
    since: Since,
    zab: Zab,
    tick_ms: u64,
    read_only_enabled: bool,
    outputs: VecDeque<Output>,
    scratch: Vec<Output>,
    stepping: bool,
    links: BTreeMap<(ServerId, Lane), LinkId>,
    storing: Option<Ticket>,
    /// A role ended and the log isn't at rest yet.
    settling: bool,
    /// The log is being begun anew behind a snapshot, or was: the tree doesn't fit it any more, and only a start from the files follows,
    /// whatever becomes of the role.
    restarting: Option<Ticket>,
    told_durable: Identity,
    told_applied: Zxid,
    leading: Leading,
    learning: Learning,
    reading: BTreeMap<Ticket, Reading>,
    /// What was asked on a connection while a read for it runs.
    asked_meanwhile: BTreeMap<LinkId, Reading>,
    /// What this server's log holds behind this position couldn't be read for a learner: it is damaged, and a snapshot must do.
    unreadable_after: Option<Zxid>,
    /// It gave up leading for a reason that still stands; it does so once.
    handed_over: bool,
    /// After each batch: position and digest, oldest first.
    digests: VecDeque<(Zxid, u64)>,
}

impl Ensemble {
    pub(super) fn new(options: EnsembleOptions, persisted: Persisted, last: Identity, applied: Zxid, prng: Prng, now: Now) -> Ensemble {
        Ensemble {
            me: options.zab.me,
            votes: options.zab.membership.votes(options.zab.me),
            voters: options.zab.membership.voters().count() as u64,
            since: Since::new(now.mono),
            tick_ms: options.tick_ms,
            read_only_enabled: options.read_only_enabled,
            zab: Zab::new(options.zab, persisted, last, applied, prng, now.mono),
            outputs: VecDeque::new(),
            scratch: Vec::new(),
            stepping: false,
            links: BTreeMap::new(),
            storing: None,
            settling: false,
            restarting: None,
            told_durable: last,
            told_applied: Zxid::ZERO,
            leading: Leading::default(),
            learning: Learning::default(),
            reading: BTreeMap::new(),
            asked_meanwhile: BTreeMap::new(),
            unreadable_after: None,
            handed_over: false,
            digests: VecDeque::new(),
        }
    }

    /// The round that an answer judged now must wait for.
    pub(super) fn open_round(&mut self) -> u64 {
        self.zab.open_round()
    }

    /// A quorum answered this round.
    pub(super) fn confirmed(&self) -> u64 {
        self.zab.confirmed()
    }

    /// What a leader that has applied so far tells its learners: committed, the round, the confirmed round. It judges by the sessions that it has
    /// applied, and keeps that back while a refusal waits for its round: a learner that was further would answer a client of whose session the
    /// leader doesn't know yet, and call it gone at the next request.
    fn say(&self, applied: Zxid) -> (Zxid, u64, u64) {
        let committed = self.zab.committed();
        let told = if mutant!("ensemble-says-more-than-it-applied") { committed } else { committed.min(applied) };
        (told, self.zab.beat(), self.zab.confirmed())
    }

    fn link(&self, peer: ServerId, lane: Lane) -> Option<LinkId> {
        self.links.get(&(peer, lane)).copied()
    }

    /// Sends over the peer's link of that lane, if it is up.
    fn send(&self, out: &mut PeerOutbox, peer: ServerId, lane: Lane, message: &Message<'_>) {
        if let Some(link) = self.link(peer, lane) {
            self.send_on(out, link, message);
        }
    }

    fn send_on(&self, out: &mut PeerOutbox, link: LinkId, message: &Message<'_>) {
        let from = out.bytes.len();
        wire::put(&mut out.bytes, self.me, message);
        out.book(link, from);
    }
}

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn duty(&self) -> Duty {
        match self.ensemble.as_ref().map(|e| e.zab.role()) {
            None | Some(Role::Leading { established: true, .. }) => Duty::Decide,
            Some(Role::Following { serving: true, .. }) => Duty::Forward,
            Some(Role::Following { .. }) if mutant!("ensemble-serves-before-uptodate") => Duty::Forward,
            Some(_) => Duty::Nothing,
        }
    }

    /// Whether the main lane may be read on: a learner whose disk is behind lets the leader's batches wait in the sockets. A leader always
    /// reads: acknowledgements are what it waits for.
    #[must_use]
    pub fn takes_batches(&self) -> bool {
        let learns = matches!(self.role(), Some(Role::Following { .. }));
        let waits = self.ensemble.as_ref().is_some_and(|e| !e.learning.backlog.is_empty());
        !learns || (self.log.undurable() < UNDURABLE_MAX && !waits)
    }

    /// Whose history this server holds, for handshakes: an identity without a history binds nobody. A first start that was cut short may have
    /// left different ones.
    #[must_use]
    pub fn bound_cluster(&self) -> ClusterId {
        self.ensemble.as_ref().map_or_else(|| self.log.cluster(), |e| e.zab.bound_cluster())
    }

    /// What this member is doing; `None` for a server that stands alone.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.ensemble.as_ref().map(|e| e.zab.role())
    }

    /// Committed through here, as far as this server knows.
    #[must_use]
    pub fn committed(&self) -> Zxid {
        match &self.ensemble {
            None => self.log.durable_zxid(),
            Some(_) if mutant!("ensemble-commits-alone") => self.log.durable_zxid(),
            // A batch's header names only what is committed in the history that it continues, whoever leads now.
            Some(e) => e.zab.committed().max(self.log.known_committed()),
        }
    }

    /// Takes in what came over the links to other servers.
    pub fn on_peers(&mut self, cx: &mut Cx<'_, M>, burst: &PeerBurst) {
        for item in &burst.items {
            match item {
                PeerItem::Up { peer, lane, link } => self.on_link_up(cx, *peer, *lane, *link),
                PeerItem::Down { peer, lane, link } => self.on_link_down(cx, *peer, *lane, *link),
                PeerItem::Message { peer, lane, link, body } => {
                    let known = self.ensemble.as_ref().and_then(|e| e.link(*peer, *lane));
                    if known != Some(*link) {
                        continue;
                    }
                    match wire::decode(&burst.bytes[body.clone()]) {
                        Ok(message) => self.on_peer_message(cx, *peer, *link, &message),
                        Err(error) => {
                            let why = format!("server {} sent a message that doesn't decode ({error}); its connection is closed", peer.0);
                            self.distrust(cx, *peer, *link, &why);
                        }
                    }
                }
            }
        }
        self.open_gates(cx);
    }

    fn on_link_up(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, lane: Lane, link: LinkId) {
        if self.ensemble.as_ref().is_some_and(|e| e.link(peer, lane).is_some_and(|old| old != link)) {
            self.end_link(cx, peer, lane);
        }
        let Some(e) = &mut self.ensemble else { return };
        e.links.insert((peer, lane), link);
        match lane {
            Lane::Main => self.zab_step(cx, Input::Up { peer }),
            Lane::Bulk => self.go_on_fetching(cx, peer),
            Lane::Pulse => {}
        }
    }

    fn on_link_down(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, lane: Lane, link: LinkId) {
        if self.ensemble.as_ref().is_some_and(|e| e.link(peer, lane) == Some(link)) {
            self.end_link(cx, peer, lane);
        }
    }

    fn end_link(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, lane: Lane) {
        let Some(e) = &mut self.ensemble else { return };
        if let Some(link) = e.links.remove(&(peer, lane)) {
            e.asked_meanwhile.remove(&link);
        }
        if lane != Lane::Pulse {
            self.give_up_catching_up(peer);
        }
        let Some(e) = &mut self.ensemble else { return };
        if lane == Lane::Main {
            e.leading.forget(peer);
            self.zab_step(cx, Input::Down { peer });
        }
    }

    /// Closes a link on which something came that must not come.
    fn distrust(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, why: &str) {
        self.complain(cx, why);
        cx.fx.peers.close(link);
        let lane = self.ensemble.as_ref().and_then(|e| e.links.iter().find(|(_, l)| **l == link).map(|((_, lane), _)| *lane));
        if let Some(lane) = lane {
            self.end_link(cx, peer, lane);
        }
    }

    fn on_peer_message(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, message: &Message<'_>) {
        if let Message::Pulse(pulse) = message {
            self.compare_digest(cx, peer, pulse);
        }
        let bulk = matches!(message, Message::FetchAsk { .. } | Message::Fetched { .. } | Message::PieceAsk { .. } | Message::Piece { .. });
        let Some(e) = &self.ensemble else { return };
        if bulk {
            return self.on_bulk(cx, peer, link, message);
        }
        // What is of another epoch, or doesn't fit the relation to that server, is late or stray: it counts for nothing.
        if !e.zab.accepts(peer, message) {
            return;
        }
        if let Message::Batch { bytes, .. } = message
            && !self.receive(cx, peer, link, bytes)
        {
            return;
        }
        self.zab_step(cx, Input::Message { peer, message: *message });
        if !self.ensemble.as_ref().is_some_and(|e| e.zab.accepts(peer, message)) {
            return;
        }
        match message {
            Message::Follow { last, probe, .. } => self.on_follow(cx, peer, *last, *probe),
            Message::Diff { after, .. } => self.on_diff(cx, peer, link, *after),
            Message::Back { to, .. } => self.on_back(cx, *to),
            Message::Fetch { after, .. } => self.on_fetch(cx, peer, *after),
            Message::Snapshot { at, .. } => self.on_snapshot_offer(cx, peer, *at),
            Message::Forward { bytes, .. } => self.on_forward(cx, peer, link, bytes),
            Message::Verdicts { bytes, .. } => self.on_verdicts(cx, peer, link, bytes),
            Message::Touched { bytes, .. } => self.on_touched(cx, bytes),
            _ => {}
        }
    }

    /// Hands something to the machine that decides, and does what it says.
    pub(super) fn zab_step(&mut self, cx: &mut Cx<'_, M>, input: Input<'_>) {
        let Some(e) = &mut self.ensemble else { return };
        let mut out = std::mem::take(&mut e.scratch);
        e.zab.step(cx.now.mono, input, &mut out);
        e.outputs.extend(out.drain(..));
        e.scratch = out;
        // What an output brings about stands behind the outputs that are there.
        if std::mem::replace(&mut e.stepping, true) {
            return;
        }
        while let Some(output) = self.ensemble.as_mut().and_then(|e| e.outputs.pop_front()) {
            self.obey(cx, output);
        }
        if let Some(e) = &mut self.ensemble {
            e.stepping = false;
        }
    }

    fn obey(&mut self, cx: &mut Cx<'_, M>, output: Output) {
        let Some(e) = &mut self.ensemble else { return };
        match output {
            Output::Send { peer, message } => {
                let lane = if matches!(message, Message::Pulse(_)) { Lane::Pulse } else { Lane::Main };
                e.send(&mut cx.fx.peers, peer, lane, &message);
            }
            Output::Store(persisted) => self.store(cx, persisted),
            Output::Role { role, why } => self.enter_role(cx, role, &why),
            // Both are looked at when something waits for them.
            Output::Committed(_) | Output::Confirmed(_) => {}
            Output::Drop { peer } => {
                for lane in crate::model::peer::LANES {
                    if let Some(link) = self.ensemble.as_ref().and_then(|e| e.link(peer, lane)) {
                        cx.fx.peers.close(link);
                        self.end_link(cx, peer, lane);
                    }
                }
            }
            Output::CatchUp { peer, last } => self.catch_up(cx, peer, last),
            Output::Say { important, text } => cx.fx.note(if important { Level::Warn } else { Level::Info }, text),
        }
    }

    fn store(&mut self, cx: &mut Cx<'_, M>, persisted: Persisted) {
        let change = MetaChange {
            cluster: (persisted.cluster != self.log.cluster()).then_some(persisted.cluster),
            accepted_epoch: persisted.accepted_epoch,
            current_epoch: persisted.current_epoch,
            repairing: persisted.repairing,
        };
        let ticket = self.log.set_meta(change, &mut cx.fx.disk);
        if let Some(e) = &mut self.ensemble {
            crate::invariant!(e.storing.is_none(), "two changes of the metadata at once");
            e.storing = Some(ticket);
        }
    }

    /// A completion of the log's: whether it is one that the member waits for.
    pub(super) fn on_ensemble_disk(&mut self, cx: &mut Cx<'_, M>, ticket: Ticket, failed: Option<&str>) {
        let Some(e) = &mut self.ensemble else { return };
        if e.storing == Some(ticket) {
            e.storing = None;
            if failed.is_none() {
                self.zab_step(cx, Input::Stored);
            }
        }
        self.on_receiving_disk(cx, ticket, failed);
        self.on_learning_disk(cx, ticket, failed.is_none());
    }

    /// The beginning of a turn: what the disk did is told, what waits for a log at rest goes on.
    pub(super) fn begin_ensemble_turn(&mut self, cx: &mut Cx<'_, M>) {
        let Some(e) = &mut self.ensemble else { return };
        let durable = if mutant!("ensemble-durable-is-tail") { self.log.tail() } else { self.log.durable() };
        // What a cut gives up is given up at once; a new beginning behind a snapshot counts once it is durable itself.
        let shrinks = durable.zxid < e.told_durable.zxid;
        if durable != e.told_durable && (shrinks || !self.log.is_cutting()) {
            e.told_durable = durable;
            self.zab_step(cx, Input::Durable { last: durable });
        }
        self.hand_over(cx);
        self.settle(cx);
        self.go_on_learning(cx);
    }

    /// A leader that is told to stop, has no room for writes, or has used up its epoch lets another one lead.
    fn hand_over(&mut self, cx: &mut Cx<'_, M>) {
        let leads = self.ensemble.is_some() && self.duty() == Duty::Decide;
        let full = self.log.is_full();
        let reason = self.stopping || full || (self.is_epoch_spent() && self.applied == self.proposed);
        let Some(e) = &mut self.ensemble else { return };
        if !reason {
            e.handed_over = false;
        } else if leads && !std::mem::replace(&mut e.handed_over, true) {
            self.zab_step(cx, Input::Abdicate);
        }
    }

    /// The end of a turn: what was proposed goes to the learners, what changed is told.
    pub(super) fn end_ensemble_turn(&mut self, cx: &mut Cx<'_, M>) {
        if self.ensemble.is_none() {
            return;
        }
        self.stream_closed(cx);
        let applied = self.applied;
        let digest = self.tree.digest();
        let Some(e) = &mut self.ensemble else { return };
        if applied != e.told_applied {
            e.told_applied = applied;
            self.zab_step(cx, Input::Applied { zxid: applied, digest });
        }
        self.zab_step(cx, Input::Flush);
    }

    /// A batch was applied: its digest is kept for comparison.
    pub(super) fn keep_digest(&mut self) {
        let (at, digest) = (self.applied, self.tree.digest());
        if let Some(e) = &mut self.ensemble {
            if e.digests.len() >= DIGESTS_MAX {
                e.digests.pop_front();
            }
            e.digests.push_back((at, digest));
        }
    }

    /// Two servers that applied the same transactions have the same tree. Who differs from its leader stops.
    fn compare_digest(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, pulse: &Pulse) {
        let Some(e) = &self.ensemble else { return };
        let Ok(found) = e.digests.binary_search_by_key(&pulse.applied, |(at, _)| *at) else { return };
        let (at, ours) = e.digests[found];
        // A server that keeps no digest says 0.
        if ours == pulse.digest || pulse.digest == 0 || self.tree.options().skip_digest {
            return;
        }
        let text = format!(
            "the tree at {at} differs from that of server {}: its digest here is {ours:016x}, there {:016x}. Both applied the same \
             transactions, so one of them is damaged or defective, or a member was restored from an older copy (a backup, a snapshot of its \
             machine)",
            peer.0, pulse.digest
        );
        let differs_from_leader = matches!(e.zab.role(), Role::Following { leader, .. } if leader == peer);
        if differs_from_leader && cx.fx.stop.is_none() {
            let remedy = "This server stops. Keep a copy of its data; if it is the one that is wrong, empty its directories except for myid \
                          and start it again: it is synchronised by the others";
            cx.fx.stop = Some(FatalError::new(Fatal::Digest, format!("{text}. {remedy}")));
        } else {
            self.complain(cx, &text);
        }
    }
}

/// An effect that only hands bytes to this server's own disk.
fn script<M>(script: crate::model::file::Script, ticket: Ticket) -> DiskEffect<M> {
    DiskEffect::Script { shard: None, script, ticket }
}
