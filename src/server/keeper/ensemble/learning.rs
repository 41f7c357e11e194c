//! The learner's side of synchronisation: where its history joins the leader's, and how it gets there.
//!
//! ```text
//!  Ask ──Follow──► Asked ──Diff──► Streaming            every batch from here on comes by itself
//!   ▲                │ ──Back──► Cutting ──► Ask        the log is cut where both histories part
//!   │                │ ──Fetch──► Fetching ──► Ask      ranges come on the bulk lane until there are no more
//!   └────────────────┘ ──Snapshot──► Receiving ──► Installing ──► the server starts anew from it
//! ```
//! Guarantees: nothing that is applied is ever cut; a batch is taken only where it continues the log. Leaves to others: when a history
//! counts (`zab`).

use super::Keeper;
use super::receiving::Receiving;
use crate::base::fatal::{Fatal, FatalError};
use crate::base::ids::{ConnId, ServerId, SessionId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::time::MonoMs;
use crate::log::ReceiveError;
use crate::log::batch::{REPLICATED_BYTES, Replicated};
use crate::model::file::Ticket;
use crate::model::peer::{Lane, Message};
use crate::model::position::Identity;
use crate::mutant;
use crate::server::keeper::Cx;
use crate::server::note::Level;
use crate::server::peer_mail::LinkId;
use crate::server::words::ensemble::SyncKind;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// A looking server waits so long for a range; as long as it fetches it neither votes nor follows.
const CATCH_UP_SILENCE_MS: u64 = 5000;

/// How far a learner is.
#[derive(Debug, Default)]
pub(super) enum Step {
    /// It follows nobody.
    #[default]
    Idle,
    /// It says where its history ends, once it may.
    Ask,
    /// It said so.
    Asked,
    /// The log is being cut.
    Cutting(Ticket),
    /// Ranges of the leader's log come on the bulk lane.
    Fetching(Fetching),
    /// A looking server fetched what a better candidate has; it waits for its log to come to rest.
    CaughtUp,
    /// A snapshot comes on the bulk lane.
    Receiving(Box<Receiving>),
    /// Batches come by themselves.
    Streaming,
}

/// A range of the leader's log on its way.
#[derive(Debug)]
pub(super) struct Fetching {
    /// Who has it.
    pub(super) from: ServerId,
    /// An answer is due.
    pub(super) asked: bool,
    /// Batches that the log hasn't taken yet: the first `taken` bytes of it are gone.
    pub(super) bytes: Vec<u8>,
    pub(super) taken: usize,
    /// The leader has more.
    pub(super) more: bool,
    /// Of a server that looks: a peer that doesn't answer by then has gone.
    until: MonoMs,
}

impl Fetching {
    fn of(from: ServerId, now: MonoMs) -> Fetching {
        Fetching { from, asked: false, bytes: Vec::new(), taken: 0, more: false, until: now.plus(CATCH_UP_SILENCE_MS) }
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Learning {
    /// Whom it follows, in which epoch.
    pub(super) leader: Option<(ServerId, u32)>,
    pub(super) step: Step,
    /// Connections of forwarded requests without a verdict, in order, and the bytes of each.
    pub(super) asked: VecDeque<(ConnId, usize)>,
    /// All of them.
    pub(super) asked_bytes: usize,
    /// Bytes of `forward` that are counted.
    pub(super) counted: usize,
    /// Items that leave at the end of the turn.
    pub(super) forward: Vec<u8>,
    /// Sessions heard of since the last report, and when, by the session clock.
    pub(super) touched: HashMap<SessionId, MonoMs>,
    pub(super) next_report: MonoMs,
    /// Batches of the stream that the log hasn't taken yet: it holds as many as it may. Bounded by what the host reads at once, since it reads
    /// no more while there are any.
    pub(super) backlog: VecDeque<Vec<u8>>,
}

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn begin_learning(&mut self, cx: &mut Cx<'_, M>, leader: ServerId, epoch: u32) {
        let Some(e) = &mut self.ensemble else { return };
        e.learning = Learning { leader: Some((leader, epoch)), step: Step::Ask, next_report: cx.now.mono, ..Learning::default() };
        // A server without a history makes the leader's identity its own, durably, before it follows.
        let (theirs, own) = (e.zab.leader_cluster(), self.log.cluster());
        crate::invariant!(theirs.is_none_or(|theirs| theirs == own), "a leader of {theirs:?} is followed by a server of {own}");
        self.go_on_learning(cx);
    }

    /// Whatever waited for the disk goes on.
    pub(super) fn go_on_learning(&mut self, cx: &mut Cx<'_, M>) {
        let Some(e) = &self.ensemble else { return };
        match &e.learning.step {
            Step::Ask if !e.settling && e.storing.is_none() => self.follow(cx, self.log.tail(), false),
            Step::Fetching(fetching) if !fetching.bytes.is_empty() => self.take_fetched(cx),
            Step::Fetching(fetching) if e.learning.leader.is_none() && cx.now.mono > fetching.until => {
                self.give_up_catching_up(fetching.from)
            }
            Step::Receiving(_) => self.go_on_receiving(cx),
            Step::Streaming => self.take_backlog(cx),
            Step::CaughtUp => self.end_catching_up(cx),
            _ => {}
        }
    }

    /// Looking, and another server that can't lead has a newer history: it is fetched, so that this one can lead with it.
    pub(super) fn catch_up(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, last: Identity) {
        let Some(e) = &mut self.ensemble else { return };
        cx.fx.note(Level::Info, format!("fetching what server {} has through {}: it hears too few others to lead", peer.0, last.zxid));
        e.learning = Learning { step: Step::Fetching(Fetching::of(peer, cx.now.mono)), ..Learning::default() };
        if e.link(peer, Lane::Bulk).is_none() {
            e.learning.step = Step::CaughtUp;
        }
        self.ask_range(cx, peer);
    }

    /// Whom this looking server fetched from is gone. It takes part again with what it got.
    pub(super) fn give_up_catching_up(&mut self, from: ServerId) {
        let Some(e) = &mut self.ensemble else { return };
        let catches_up = e.learning.leader.is_none() && matches!(&e.learning.step, Step::Fetching(f) if f.from == from);
        if catches_up {
            e.learning.step = Step::CaughtUp;
        }
    }

    fn end_catching_up(&mut self, cx: &mut Cx<'_, M>) {
        let Some(e) = &mut self.ensemble else { return };
        if self.log.is_idle() {
            e.learning.step = Step::Idle;
            e.settling = true;
            self.settle(cx);
        }
    }

    fn follow(&mut self, cx: &mut Cx<'_, M>, last: Identity, probe: bool) {
        let Some(e) = &mut self.ensemble else { return };
        let Some((leader, epoch)) = e.learning.leader else { return };
        e.learning.step = Step::Asked;
        e.send(&mut cx.fx.peers, leader, Lane::Main, &Message::Follow { epoch, last, probe });
    }

    /// The leader goes on where this server's history ends.
    pub(super) fn on_diff(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, after: Identity) {
        let tail = self.log.tail();
        let Some(e) = &mut self.ensemble else { return };
        if !matches!(e.learning.step, Step::Asked) || after != tail {
            let why = format!("server {} goes on after {after:?}, this server's history ends at {tail:?}", peer.0);
            return self.distrust(cx, peer, link, &why);
        }
        e.learning.step = Step::Streaming;
        e.since.sync_kind.get_or_insert(SyncKind::Diff);
    }

    /// The leader doesn't have what this server's history ends with.
    pub(super) fn on_back(&mut self, cx: &mut Cx<'_, M>, to: Identity) {
        if !self.ensemble.as_ref().is_some_and(|e| matches!(e.learning.step, Step::Asked)) {
            return;
        }
        if mutant!("zk2832-no-truncation") {
            return self.follow(cx, self.log.tail(), false);
        }
        // What is known to be committed is in every later leader's history.
        if to.zxid < self.applied.max(self.log.tail().zxid.min(self.log.known_committed())) {
            return self.diverged(cx, to);
        }
        if !self.log.knows(to) {
            // What this server holds at that very zxid is another batch.
            return match self.log.nearest_at_or_below(Zxid(to.zxid.0.saturating_sub(1))) {
                Some(near) if near.zxid >= self.applied => self.follow(cx, near, true),
                _ => self.diverged(cx, to),
            };
        }
        if to == self.log.tail() {
            return self.follow(cx, to, false);
        }
        cx.fx.note(
            Level::Info,
            format!("cutting the log from {} back to {}: the leader has another history", self.log.tail().zxid, to.zxid),
        );
        let one_less = self.log.nearest_at_or_below(Zxid(to.zxid.0.saturating_sub(1))).filter(|near| near.zxid >= self.applied);
        let to = one_less.filter(|_| mutant!("zk1156-cuts-too-much")).unwrap_or(to);
        let Some(e) = &mut self.ensemble else { return };
        e.learning.step = Step::Ask;
        if self.log.is_idle() {
            e.since.sync_kind = Some(SyncKind::Trunc);
            let ticket = self.log.cut(to, &mut cx.fx.disk);
            e.learning.step = Step::Cutting(ticket);
        }
    }

    pub(super) fn diverged(&mut self, cx: &mut Cx<'_, M>, to: Identity) {
        let text = format!(
            "this server holds committed transactions through {}, the leader's history parts from it at or before {}. One of the two was \
             damaged or belongs to another past, or a member was restored from an older copy (a backup, a snapshot of its machine): then \
             the leader may be the one that lacks acknowledged writes, so look at that first. This server stops: keep a copy of its data; if it \
             is the one that is wrong, empty its directories except for myid and start it again, and it is synchronised by the others",
            self.applied.max(self.log.tail().zxid.min(self.log.known_committed())),
            to.zxid
        );
        if cx.fx.stop.is_none() {
            cx.fx.stop = Some(FatalError::new(Fatal::Digest, text));
        }
    }

    /// The cut is durable.
    pub(super) fn on_learning_disk(&mut self, cx: &mut Cx<'_, M>, ticket: Ticket, ok: bool) {
        let Some(e) = &mut self.ensemble else { return };
        if !ok || !matches!(e.learning.step, Step::Cutting(waited) if waited == ticket) {
            return;
        }
        e.learning.step = Step::Ask;
        self.go_on_learning(cx);
    }

    /// Takes a batch of the stream. False: the link is closed.
    pub(super) fn receive(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, bytes: &[u8]) -> bool {
        if !self.ensemble.as_ref().is_some_and(|e| matches!(e.learning.step, Step::Streaming)) {
            self.distrust(cx, peer, link, &format!("a batch of server {} came before it was agreed where the log goes on", peer.0));
            return false;
        }
        let waits = self.ensemble.as_ref().is_some_and(|e| !e.learning.backlog.is_empty());
        match if waits { Err(ReceiveError::Busy) } else { self.log.receive(cx.pool, bytes) } {
            Ok(_) => true,
            Err(ReceiveError::Busy) => {
                if let Some(e) = &mut self.ensemble {
                    e.learning.backlog.push_back(bytes.to_vec());
                }
                true
            }
            Err(error) => {
                self.distrust(cx, peer, link, &format!("a batch of server {} isn't taken: {error}", peer.0));
                false
            }
        }
    }

    /// Hands batches that came too fast to the log, as far as it takes them.
    fn take_backlog(&mut self, cx: &mut Cx<'_, M>) {
        while let Some(e) = &mut self.ensemble
            && let Some(bytes) = e.learning.backlog.front()
        {
            match self.log.receive(cx.pool, bytes) {
                Ok(_) => drop(e.learning.backlog.pop_front()),
                Err(ReceiveError::Busy) => return,
                Err(error) => {
                    let Some((leader, _)) = e.learning.leader else { return };
                    let why = format!("a batch of server {} isn't taken: {error}", leader.0);
                    if let Some(link) = e.link(leader, Lane::Main) {
                        self.distrust(cx, leader, link, &why);
                    }
                    return;
                }
            }
        }
    }

    // ---- ranges of the log

    pub(super) fn on_fetch(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, after: Identity) {
        let tail = self.log.tail();
        let Some(e) = &mut self.ensemble else { return };
        if !matches!(e.learning.step, Step::Asked) || after != tail {
            return;
        }
        cx.fx.note(Level::Info, format!("fetching the log of server {} after {}", peer.0, after.zxid));
        e.learning.step = Step::Fetching(Fetching::of(peer, cx.now.mono));
        self.ask_range(cx, peer);
    }

    fn ask_range(&mut self, cx: &mut Cx<'_, M>, leader: ServerId) {
        let after = self.log.tail();
        let Some(e) = &mut self.ensemble else { return };
        let up = e.link(leader, Lane::Bulk).is_some();
        let Step::Fetching(fetching) = &mut e.learning.step else { return };
        fetching.asked = up;
        let message = Message::FetchAsk { after, bytes_max: super::bulk::RANGE_BYTES_MAX };
        e.send(&mut cx.fx.peers, leader, Lane::Bulk, &message);
    }

    /// The bulk lane to `peer` is up (again): what was asked for on an earlier one is asked for anew.
    pub(super) fn go_on_fetching(&mut self, cx: &mut Cx<'_, M>, peer: ServerId) {
        let Some(e) = &mut self.ensemble else { return };
        let leader = e.learning.leader.map(|(leader, _)| leader);
        match &mut e.learning.step {
            Step::Fetching(fetching) if fetching.bytes.is_empty() && fetching.from == peer => self.ask_range(cx, peer),
            Step::Receiving(receiving) if leader == Some(peer) => {
                receiving.ask_again();
                self.go_on_receiving(cx);
            }
            _ => {}
        }
    }

    pub(super) fn on_fetched(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, after: Identity, more: bool, bytes: &[u8]) {
        let tail = self.log.tail();
        let Some(e) = &mut self.ensemble else { return };
        let Step::Fetching(fetching) = &mut e.learning.step else { return };
        if !fetching.asked || after != tail || fetching.from != peer {
            return;
        }
        fetching.asked = false;
        fetching.until = cx.now.mono.plus(CATCH_UP_SILENCE_MS);
        fetching.more = more;
        fetching.bytes.clear();
        fetching.bytes.extend_from_slice(bytes);
        fetching.taken = 0;
        self.take_fetched(cx);
    }

    /// Hands fetched batches to the log as far as it takes them; the rest waits for the disk.
    fn take_fetched(&mut self, cx: &mut Cx<'_, M>) {
        let Some(e) = &mut self.ensemble else { return };
        let Step::Fetching(fetching) = &mut e.learning.step else { return };
        let leader = fetching.from;
        let mut trouble = None;
        while fetching.taken < fetching.bytes.len() {
            let rest = &fetching.bytes[fetching.taken..];
            // A header that is none, or one that promises more than is there: the log says what is wrong with it.
            let len = wire_len(rest).filter(|len| *len <= rest.len()).unwrap_or(rest.len());
            match self.log.receive(cx.pool, &rest[..len]) {
                Ok(_) => fetching.taken += len,
                Err(ReceiveError::Busy) => return,
                Err(error) => {
                    trouble = Some(error);
                    break;
                }
            }
        }
        fetching.bytes.clear();
        fetching.taken = 0;
        let more = fetching.more;
        match trouble {
            Some(error) => {
                let why = format!("a fetched batch of server {} isn't taken: {error}", leader.0);
                if e.learning.leader.is_none() {
                    e.learning.step = Step::CaughtUp;
                }
                if let Some(link) = e.link(leader, Lane::Main) {
                    self.distrust(cx, leader, link, &why);
                }
            }
            None if more => self.ask_range(cx, leader),
            None if e.learning.leader.is_none() => e.learning.step = Step::CaughtUp,
            None => {
                e.learning.step = Step::Ask;
                self.go_on_learning(cx);
            }
        }
    }
}

/// Bytes of the batch at the start of `bytes`, as it travels between servers.
fn wire_len(bytes: &[u8]) -> Option<usize> {
    let (replicated, _) = Replicated::read(bytes).ok()?;
    Some(REPLICATED_BYTES + replicated.body_len as usize)
}
