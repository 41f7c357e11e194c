//! A learner's clients: what it can't answer itself goes to the leader, in order, and what the leader says of it comes back in that
//! order.
//!
//! Guarantees: requests of one connection are forwarded in their order, with everything behind them waiting; a verdict finds the
//! request that it is about by its place alone. Leaves to others: judging (`forwarded`, at the leader), answering (`apply`, `connect`).

use super::Keeper;
use super::learning::Learning;
use crate::base::ids::{ConnId, ServerId, SessionId};
use crate::base::memory::BatchMemory;
use crate::base::time::MonoMs;
use crate::model::op_code::OpCode;
use crate::model::peer::{Lane, Message};
use crate::model::txn::PASSWORD_BYTES;
use crate::mutant;
use crate::server::keeper::conns::{Asked, Due, Phase, Refused, Waiting, WriteKind};
use crate::server::keeper::{Cx, Gate};
use crate::server::peer_mail::LinkId;
use crate::wire::peer as wire;
use crate::wire::peer::forward::{self, ForwardOutcome, ForwardVerdict};
use crate::wire::peer::touched::{TOUCHED_BYTES, put_touched};

/// Items for one message; more makes another.
const FORWARD_BYTES_MAX: usize = 1 << 20;
/// Forwarded requests without a verdict at which the sockets are left unread.
const ASKED_MAX: usize = 20_000;
/// The same in bytes: far below what may wait for a link, or clients with large writes would end it.
const ASKED_BYTES_MAX: usize = 16 << 20;

impl<M: BatchMemory> Keeper<M> {
    /// Whether so much is with the leader that clients must wait.
    pub(in crate::server::keeper) fn is_waiting_for_leader(&self) -> bool {
        self.ensemble.as_ref().is_some_and(|e| e.learning.asked.len() >= ASKED_MAX || e.learning.asked_bytes >= ASKED_BYTES_MAX)
    }

    /// A write of a client goes to the leader.
    pub(in crate::server::keeper) fn forward_write(
        &mut self,
        cx: &mut Cx<'_, M>,
        idx: u32,
        (xid, op): (i32, OpCode),
        body: &[u8],
        kind: WriteKind,
        received_ns: u64,
    ) {
        let Some(conn) = self.conns.get(idx) else { return };
        let (id, session, identities) = (conn.id, conn.session, &conn.identities);
        if let Some(e) = &mut self.ensemble {
            forward::put_request(&mut e.learning.forward, id.raw(), session, xid, op.wire(), identities, body);
        }
        self.wait_for_verdict(cx, idx, xid, Asked::Write(kind), received_ns);
    }

    /// A new session: its id and password are drawn here.
    pub(in crate::server::keeper) fn forward_session(
        &mut self,
        cx: &mut Cx<'_, M>,
        idx: u32,
        (session, timeout_ms): (SessionId, u32),
        password: &[u8; PASSWORD_BYTES],
        kind: WriteKind,
        received_ns: u64,
    ) {
        let Some(id) = self.conns.get(idx).map(|c| c.id) else { return };
        if let Some(e) = &mut self.ensemble {
            forward::put_create(&mut e.learning.forward, id.raw(), session, timeout_ms, password);
        }
        self.wait_for_verdict(cx, idx, 0, Asked::Write(kind), received_ns);
    }

    /// Whether a session may go on is the leader's to say.
    pub(in crate::server::keeper) fn forward_attach(
        &mut self,
        cx: &mut Cx<'_, M>,
        idx: u32,
        (session, timeout_ms): (SessionId, u32),
        password: &[u8],
        with_read_only: bool,
        received_ns: u64,
    ) {
        let Some(id) = self.conns.get(idx).map(|c| c.id) else { return };
        if let Some(e) = &mut self.ensemble {
            forward::put_attach(&mut e.learning.forward, id.raw(), session, timeout_ms, password);
        }
        self.wait_for_verdict(cx, idx, 0, Asked::Attach { with_read_only }, received_ns);
    }

    pub(in crate::server::keeper) fn forward_sync(
        &mut self,
        cx: &mut Cx<'_, M>,
        idx: u32,
        xid: i32,
        path: Option<Box<[u8]>>,
        received_ns: u64,
    ) {
        let Some((id, session)) = self.conns.get(idx).map(|c| (c.id, c.session)) else { return };
        if let Some(e) = &mut self.ensemble {
            forward::put_sync(&mut e.learning.forward, id.raw(), session, xid);
        }
        self.wait_for_verdict(cx, idx, xid, Asked::Sync(path), received_ns);
    }

    fn wait_for_verdict(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, asked: Asked, received_ns: u64) {
        let Some(conn) = self.conns.get_mut(idx) else { return };
        conn.wait(Waiting::Forwarded { xid, asked, received_ns });
        let id = conn.id;
        let Some(e) = &mut self.ensemble else { return };
        let len = e.learning.forward.len() - std::mem::replace(&mut e.learning.counted, e.learning.forward.len());
        e.learning.asked_bytes += len;
        e.learning.asked.push_back((id, len));
        if e.learning.forward.len() >= FORWARD_BYTES_MAX {
            self.flush_forward(cx);
        }
    }

    /// What was forwarded in this turn leaves.
    pub(in crate::server::keeper) fn flush_forward(&mut self, cx: &mut Cx<'_, M>) {
        let Some(e) = &mut self.ensemble else { return };
        let Learning { leader: Some((leader, epoch)), forward, .. } = &mut e.learning else { return };
        if forward.is_empty() {
            return;
        }
        if let Some(link) = e.links.get(&(*leader, Lane::Main)) {
            let from = cx.fx.peers.bytes.len();
            wire::put(&mut cx.fx.peers.bytes, e.me, &Message::Forward { epoch: *epoch, bytes: forward });
            cx.fx.peers.book(*link, from);
        }
        forward.clear();
        e.learning.counted = 0;
    }

    /// Remembers that something was heard of a session at a time of the session clock, for the next report.
    pub(in crate::server::keeper) fn heard_of(&mut self, session: SessionId, at: MonoMs) {
        if let Some(e) = &mut self.ensemble
            && e.learning.leader.is_some()
        {
            e.learning.touched.insert(session, at);
        }
    }

    /// Reports which sessions were heard of, and how long ago, at each half tick. Time in which nobody was listened to here doesn't count:
    /// the leader couldn't know of it.
    pub(in crate::server::keeper) fn report_touched(&mut self, cx: &mut Cx<'_, M>) {
        let session_now = self.session_now(cx);
        let Some(e) = &mut self.ensemble else { return };
        let half_tick_ms = (e.tick_ms / 2).max(1);
        let Learning { leader: Some((leader, epoch)), touched, next_report, .. } = &mut e.learning else { return };
        if cx.now.mono < *next_report {
            return;
        }
        *next_report = cx.now.mono.plus(half_tick_ms);
        if self.session_clock.stands() {
            // Nobody is listened to here, and the leader's clock goes on: who is connected counts as heard.
            let served = self.conns.iter().filter(|(_, conn)| conn.phase == Phase::Ready && conn.local.is_none());
            touched.extend(served.map(|(_, conn)| (conn.session, session_now)));
        }
        if touched.is_empty() || mutant!("ensemble-touch-lost") {
            return;
        }
        let mut sessions: Vec<(SessionId, MonoMs)> = touched.drain().collect();
        sessions.sort_unstable();
        let mut bytes = Vec::with_capacity(sessions.len() * TOUCHED_BYTES);
        sessions.iter().for_each(|(session, at)| put_touched(&mut bytes, *session, session_now.since(*at)));
        let (leader, epoch) = (*leader, *epoch);
        e.send(&mut cx.fx.peers, leader, Lane::Main, &Message::Touched { epoch, bytes: &bytes });
    }

    /// What the leader says of forwarded requests.
    pub(super) fn on_verdicts(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, bytes: &[u8]) {
        for verdict in forward::verdicts(bytes) {
            let next = self.ensemble.as_mut().and_then(|e| {
                let (conn, len) = e.learning.asked.pop_front()?;
                e.learning.asked_bytes -= len;
                Some(conn)
            });
            let (Ok(verdict), Some(conn)) = (verdict, next) else {
                let why = format!("server {} judges what wasn't asked, or in bytes that don't decode", peer.0);
                return self.distrust(cx, peer, link, &why);
            };
            // A connection that is gone needs no answer.
            if let Some(idx) = self.conns.find(conn)
                && !self.take_verdict(cx, idx, conn, verdict)
            {
                let why = format!("server {} gave a verdict that doesn't fit the request", peer.0);
                return self.distrust(cx, peer, link, &why);
            }
        }
    }

    /// The connection's first request without a verdict has one now. False if it can't be one of that request.
    fn take_verdict(&mut self, cx: &mut Cx<'_, M>, idx: u32, id: ConnId, verdict: ForwardVerdict) -> bool {
        let Some(conn) = self.conns.get_mut(idx) else { return true };
        let Some(at) = conn.queue.iter().position(|w| matches!(w, Waiting::Forwarded { .. })) else {
            // It is closing, and its queue is gone.
            return true;
        };
        let Waiting::Forwarded { xid, asked, received_ns } = conn.queue[at].clone() else { return false };
        let judged = match verdict {
            // A leader judges before it proposes, and says so before it sends the batch: what is applied here can't be judged now.
            ForwardVerdict::Proposed { zxid } if zxid <= self.applied => None,
            ForwardVerdict::Proposed { zxid } => match asked {
                Asked::Write(kind) => Some(Waiting::Write { zxid, xid, kind, received_ns }),
                Asked::Sync(_) | Asked::Attach { .. } => None,
            },
            ForwardVerdict::Answer { at, beat, outcome } => answer(outcome, asked, Due { at, beat }, xid, received_ns),
        };
        let Some(judged) = judged else { return false };
        // The leader judges in order. What claims otherwise would be applied before its turn, or be waited for by nobody.
        let before = conn.queue.iter().take(at).filter_map(Waiting::judged_at).max().unwrap_or_default();
        let is_write = matches!(judged, Waiting::Write { .. });
        let in_order = judged.judged_at().is_some_and(|now| now > before || (now == before && !is_write));
        let due = judged.due();
        let after_last_gate = due.is_none_or(|due| self.gates.back().is_none_or(|last| last.due.at <= due.at && last.due.beat <= due.beat));
        if !in_order || !after_last_gate {
            return false;
        }
        conn.queue[at] = judged;
        if let Some(due) = due {
            if self.is_due(due) {
                self.drain(cx, idx);
            } else {
                self.gates.push_back(Gate { due, conn: id });
            }
        }
        true
    }
}

/// An answer of the leader, in the form in which the connection waits for it.
fn answer(outcome: ForwardOutcome, asked: Asked, due: Due, xid: i32, received_ns: u64) -> Option<Waiting> {
    let refused = |refusal| Some(Waiting::Refused { due, xid, refusal, received_ns });
    match (outcome, asked) {
        (ForwardOutcome::Attached { timeout_ms, .. }, Asked::Attach { with_read_only }) => {
            Some(Waiting::Attach { due, timeout_ms: Some(timeout_ms), with_read_only })
        }
        (ForwardOutcome::Gone, Asked::Attach { with_read_only }) => Some(Waiting::Attach { due, timeout_ms: None, with_read_only }),
        (ForwardOutcome::Synced, Asked::Sync(path)) => Some(Waiting::Sync { due, xid, path, received_ns }),
        // A new session that can't be: the client is turned away and tries elsewhere.
        (_, Asked::Write(WriteKind::Session { .. })) => refused(Refused::HangUp),
        (ForwardOutcome::Refused(code), Asked::Write(_) | Asked::Sync(_)) => refused(Refused::Code(code)),
        (ForwardOutcome::Last(code), Asked::Write(_) | Asked::Sync(_)) => refused(Refused::Last(code)),
        (ForwardOutcome::RefusedMulti { failed_idx, code, count }, Asked::Write(WriteKind::Multi(ops))) => {
            let (failed_idx, count) = (failed_idx as usize, count as usize);
            if count != ops.len() { None } else { refused(Refused::Multi { failed_idx, code, count }) }
        }
        (ForwardOutcome::Moved, Asked::Write(_) | Asked::Sync(_)) => refused(Refused::Moved),
        _ => None,
    }
}
