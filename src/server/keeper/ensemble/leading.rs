//! The leader's side: where each learner's history joins its own, and the stream of batches from there on.
//!
//! Guarantees: a learner is given batches only after the identity at which its own history ends (or is cut), each once and in order,
//! on one connection. Leaves to others: who counts for what (`zab`), ranges from disk (`bulk`).

use super::Keeper;
use super::bulk::Reading;
use crate::base::ids::{ServerId, SessionId, Zxid};
use crate::base::memory::BatchMemory;
use crate::log::{Batch, Located};
use crate::model::peer::{Lane, Message};
use crate::model::position::Identity;
use crate::mutant;
use crate::server::keeper::Cx;
use crate::server::note::Level;
use crate::server::peer_mail::LinkId;
use crate::server::words::ensemble::{ProposalBytes, SyncKind};
use crate::wire::peer as wire;
use crate::wire::peer::forward::{self, ForwardVerdict};
use crate::zab::{Input, Role};
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};

/// One learner.
#[derive(Debug)]
struct Stream {
    link: LinkId,
    /// Every batch goes to it.
    live: bool,
    /// It fetches ranges of the log, from a place that was found in it.
    ranges: bool,
    /// What it was told last: committed, beat, confirmed.
    said: (Zxid, u64, u64),
    /// Through where its clients wait for the commit.
    owed: Zxid,
    /// Verdicts that leave at the end of the turn.
    verdicts: Vec<u8>,
    /// Forwarded requests that wait until fewer batches are held.
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of them.
    waiting_bytes: usize,
}

/// A learner's question that the files answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    /// On this connection.
    pub(super) link: LinkId,
    /// Of the leader of this epoch.
    pub(super) epoch: u32,
    /// Where its history ends, or may join.
    pub(super) last: Identity,
    /// Only whether it is there.
    pub(super) probe: bool,
}

/// What of its progress a leader tells at the end of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tell {
    /// Everything.
    All,
    /// What the clients of a learner wait for, and rounds. The rest may wait a little for a batch that carries it.
    Awaited,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Leading {
    streams: BTreeMap<ServerId, Stream>,
    /// Through which server each session attached last, in the order of judgements.
    pub(super) owners: HashMap<SessionId, ServerId>,
    /// Learners synchronised from the log, told to give something up, given a snapshot.
    served: [u64; 3],
}

impl Leading {
    pub(super) fn forget(&mut self, peer: ServerId) {
        self.streams.remove(&peer);
    }

    pub(super) fn clear(&mut self) {
        self.streams.clear();
        self.owners.clear();
    }

    /// How many learners were synchronised, by kind.
    pub(super) fn served(&self) -> [u64; 3] {
        self.served
    }

    /// Whether requests of `peer` wait already.
    pub(super) fn holds_back(&self, peer: ServerId) -> bool {
        self.streams.get(&peer).is_some_and(|s| !s.waiting.is_empty())
    }

    /// Puts requests of `peer` behind those that wait. Returns how many bytes wait then.
    pub(super) fn hold_back(&mut self, peer: ServerId, bytes: &[u8]) -> usize {
        let Some(stream) = self.streams.get_mut(&peer) else { return 0 };
        stream.waiting.push_back(bytes.to_vec());
        stream.waiting_bytes += bytes.len();
        stream.waiting_bytes
    }

    /// The next requests that wait, of whichever learner, with its connection.
    pub(super) fn take_held_back(&mut self) -> Option<(ServerId, LinkId, Vec<u8>)> {
        // Who waits with most: nobody is left behind for ever.
        let (peer, stream) = self.streams.iter_mut().max_by_key(|(_, s)| s.waiting_bytes)?;
        let bytes = stream.waiting.pop_front()?;
        stream.waiting_bytes -= bytes.len();
        Some((*peer, stream.link, bytes))
    }

    /// Whether `peer` was told to fetch ranges of the log, and hasn't asked anew since where its history joins.
    pub(super) fn is_sent_for_ranges(&self, peer: ServerId) -> bool {
        self.streams.get(&peer).is_some_and(|s| s.ranges)
    }

    /// A verdict for `peer`, if it is a learner: it leaves at the end of the turn, and the commit that it names is waited for.
    pub(super) fn answer(&mut self, peer: ServerId, verdict: &ForwardVerdict) {
        let Some(stream) = self.streams.get_mut(&peer) else { return };
        forward::put_verdict(&mut stream.verdicts, verdict);
        let (ForwardVerdict::Proposed { zxid: owed } | ForwardVerdict::Answer { at: owed, .. }) = *verdict;
        stream.owed = stream.owed.max(owed);
    }
}

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn leads(&self) -> Option<u32> {
        match self.ensemble.as_ref()?.zab.role() {
            Role::Leading { epoch, .. } => Some(epoch),
            _ => None,
        }
    }

    /// A learner says where its history ends.
    pub(super) fn on_follow(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, last: Identity, probe: bool) {
        // So that what the learner is given below is everything there is.
        self.stream_closed(cx);
        let Some(e) = &mut self.ensemble else { return };
        let Some(link) = e.link(peer, Lane::Main) else { return };
        let said = (Zxid::ZERO, 0, 0);
        e.leading.streams.insert(
            peer,
            Stream {
                link,
                live: false,
                ranges: false,
                said,
                owed: Zxid::ZERO,
                verdicts: Vec::new(),
                waiting: VecDeque::new(),
                waiting_bytes: 0,
            },
        );
        if self.log.knows(last) {
            if probe {
                return self.answer_follow(cx, peer, &|epoch| Message::Back { epoch, to: last });
            }
            return match self.log.recent_after(last) {
                Some(batches) => self.begin_stream(cx, peer, link, last, &batches),
                None if !self.log.reaches_back_to(last) => self.offer_snapshot(cx, peer, link, last),
                None => self.send_for_ranges(cx, peer, link, last),
            };
        }
        if mutant!("zk2846-diff-over-divergence")
            && let Some(to) = self.log.nearest_at_or_below(last.zxid)
            && let Some(batches) = self.log.recent_after(to)
        {
            return self.begin_stream(cx, peer, link, last, &batches);
        }
        match self.log.nearest_at_or_below(last.zxid) {
            Some(to) => self.answer_follow(cx, peer, &|epoch| Message::Back { epoch, to }),
            None => self.locate(cx, peer, link, last, probe),
        }
    }

    /// Asks the files, when memory doesn't reach that far back.
    fn locate(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, last: Identity, probe: bool) {
        let Some(epoch) = self.leads() else { return };
        self.begin_read(cx, Reading::Locate { peer, asked: Asked { link, epoch, last, probe } });
    }

    /// What the files say of a learner's question; `None`: they are damaged where they would say it. Then only a snapshot can help, which
    /// asks nothing of them.
    pub(super) fn on_located(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, asked: Asked, found: Option<Located>) {
        let Asked { link, epoch, last, probe } = asked;
        // An answer to what was asked in an earlier epoch would have the learner cut what it has acknowledged since.
        if self.leads() != Some(epoch) || self.ensemble.as_ref().and_then(|e| e.link(peer, Lane::Main)) != Some(link) {
            return;
        }
        match found {
            Some(Located::Here) if probe => self.answer_follow(cx, peer, &|epoch| Message::Back { epoch, to: last }),
            Some(Located::Here) => self.send_for_ranges(cx, peer, link, last),
            Some(Located::Before(to)) => self.answer_follow(cx, peer, &|epoch| Message::Back { epoch, to }),
            Some(Located::Older) | None => self.offer_snapshot(cx, peer, link, last),
        }
    }

    /// The learner is to fetch what follows from the log, unless a read behind that place has found damage.
    fn send_for_ranges(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, last: Identity) {
        if self.ensemble.as_ref().is_some_and(|e| e.unreadable_after.is_some_and(|after| last.zxid <= after)) {
            return self.offer_snapshot(cx, peer, link, last);
        }
        self.snapshots.holds.hold(peer, last.zxid, cx.now.mono);
        if let Some(stream) = self.ensemble.as_mut().and_then(|e| e.leading.streams.get_mut(&peer)) {
            stream.ranges = true;
        }
        self.answer_follow(cx, peer, &|epoch| Message::Fetch { epoch, after: last });
    }

    fn offer_snapshot(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, last: Identity) {
        match self.snapshots.newest_verified() {
            // An older one would take from the learner what it has.
            Some(at) if at.zxid > last.zxid => {
                self.snapshots.holds.hold(peer, at.zxid, cx.now.mono);
                self.answer_follow(cx, peer, &|epoch| Message::Snapshot { epoch, at, len: 0 });
            }
            _ => {
                let text =
                    format!("server {} needs a snapshot beyond {} to catch up, and there is none yet: it is taken now", peer.0, last.zxid);
                cx.fx.note(Level::Warn, text);
                self.snapshots.want();
                self.distrust(cx, peer, link, "it asks again later");
            }
        }
    }

    fn answer_follow(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, make: &dyn Fn(u32) -> Message<'static>) {
        let Some(epoch) = self.leads() else { return };
        let message = make(epoch);
        let Some(e) = &mut self.ensemble else { return };
        match message {
            Message::Snapshot { .. } => e.leading.served[SyncKind::Snap as usize] += 1,
            Message::Back { .. } => e.leading.served[SyncKind::Trunc as usize] += 1,
            _ => {}
        }
        e.send(&mut cx.fx.peers, peer, Lane::Main, &message);
    }

    fn begin_stream(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, after: Identity, batches: &[Batch<M>]) {
        let Some(epoch) = self.leads() else { return };
        let tail = self.log.tail();
        self.snapshots.holds.release(peer);
        let Some(e) = &mut self.ensemble else { return };
        e.leading.served[SyncKind::Diff as usize] += 1;
        e.send_on(&mut cx.fx.peers, link, &Message::Diff { epoch, after });
        let (committed, beat, confirmed) = e.say(self.applied);
        let committed = if mutant!("ensemble-diff-is-committed") { tail.zxid } else { committed };
        let skipped = usize::from(mutant!("ensemble-diff-skips-first") && batches.len() > 1);
        for batch in &batches[skipped..] {
            let from = cx.fx.peers.bytes.len();
            let parts = [batch.replicated_bytes(), batch.body()];
            wire::put_batch(&mut cx.fx.peers.bytes, e.me, epoch, committed, beat, confirmed, parts);
            cx.fx.peers.book(link, from);
        }
        if let Some(stream) = e.leading.streams.get_mut(&peer) {
            stream.live = true;
        }
        self.zab_step(cx, Input::Streamed { peer, last: tail });
    }

    /// Batches that were closed since go to every learner that is joined: the same bytes to all.
    pub(super) fn stream_closed(&mut self, cx: &mut Cx<'_, M>) {
        let epoch = self.leads();
        self.flush_verdicts(cx);
        let mut any = false;
        while let Some(batch) = self.log.next_to_send() {
            let (Some(epoch), Some(e)) = (epoch, &mut self.ensemble) else { continue };
            any = true;
            let records = u64::from(batch.header().replicated.records);
            ProposalBytes::record(&mut e.since.proposal_bytes, batch.body().len() as u64 / records.max(1));
            let say = e.say(self.applied);
            let live = e.leading.streams.values_mut().filter(|s| s.live);
            let out = &mut cx.fx.peers;
            let from = out.bytes.len();
            let mut encoded = false;
            for stream in live {
                if !std::mem::replace(&mut encoded, true) {
                    let parts = [batch.replicated_bytes(), batch.body()];
                    wire::put_batch(&mut out.bytes, e.me, epoch, say.0, say.1, say.2, parts);
                }
                stream.said = say;
                out.book(stream.link, from);
            }
        }
        if any {
            let last = self.log.tail();
            self.zab_step(cx, Input::Proposed { last });
        }
    }

    fn flush_verdicts(&mut self, cx: &mut Cx<'_, M>) {
        let Some(epoch) = self.leads() else { return };
        let Some(e) = &mut self.ensemble else { return };
        let me = e.me;
        for stream in e.leading.streams.values_mut().filter(|s| !s.verdicts.is_empty()) {
            let from = cx.fx.peers.bytes.len();
            wire::put(&mut cx.fx.peers.bytes, me, &Message::Verdicts { epoch, bytes: &stream.verdicts });
            cx.fx.peers.book(stream.link, from);
            stream.verdicts.clear();
        }
    }

    /// Tells the learners what no batch has carried: commits, and rounds that somebody waits for. After each turn; a host that expects
    /// a request soon may leave what nobody waits for to the batch that will carry it, and must tell it before long. Whether anything was left.
    pub fn tell_progress(&mut self, cx: &mut Cx<'_, M>, what: Tell) -> bool {
        let Some(epoch) = self.leads() else { return false };
        let Some(e) = &mut self.ensemble else { return false };
        let say = e.say(self.applied);
        let (me, mut left) = (e.me, false);
        for stream in e.leading.streams.values_mut().filter(|s| s.live && s.said != say) {
            let is_awaited = (stream.said.1, stream.said.2) != (say.1, say.2) || stream.said.0 < stream.owed;
            if what == Tell::Awaited && !is_awaited {
                left = true;
                continue;
            }
            stream.said = say;
            let from = cx.fx.peers.bytes.len();
            let message = Message::Progress { epoch, committed: say.0, beat: say.1, confirmed: say.2 };
            wire::put(&mut cx.fx.peers.bytes, me, &message);
            cx.fx.peers.book(stream.link, from);
        }
        left
    }
}
