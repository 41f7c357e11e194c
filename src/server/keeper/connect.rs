//! Connections come, get their session, and go.

use super::conns::{Due, Phase, Waiting, WriteKind};
use super::ensemble::Duty;
use super::{Cx, Keeper, replies};
use crate::base::ids::{ConnId, SessionId};
use crate::base::memory::BatchMemory;
use crate::base::time::Now;
use crate::model::request::{Connect, Connected};
use crate::model::txn::{OpRef, PASSWORD_BYTES};
use crate::server::mail::Then;
use crate::wire::client::connect::decode_connect;
use std::net::SocketAddr;

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn on_opened(&mut self, cx: &mut Cx<'_, M>, id: ConnId, peer: SocketAddr) {
        let idx = self.conns.add(id, peer, cx.now.wall_ms);
        let per_address_max = self.options.conns_per_address_max;
        let here = self.conns.from_address(peer.ip());
        let reason = if per_address_max > 0 && here > per_address_max {
            format!("too many connections from {}: {here}, maxClientCnxns allows {per_address_max}", peer.ip())
        } else if self.options.conns_max > 0 && self.conns.count() > self.options.conns_max {
            format!("too many connections: {}, maxCnxns allows {}", self.conns.count(), self.options.conns_max)
        } else {
            return;
        };
        self.stats.connections_rejected += 1;
        self.complain(cx, &reason);
        replies::close(&mut self.conns, cx.fx, idx);
    }

    pub(super) fn on_closed(&mut self, id: ConnId) {
        let Some(idx) = self.conns.find(id) else { return };
        self.watches.drop_conn(idx);
        if let Some(conn) = self.conns.remove(idx) {
            self.sessions.detach(conn.session, idx);
            if self.joining.get(&conn.session) == Some(&idx) {
                self.joining.remove(&conn.session);
            }
        }
    }

    /// The handshake (ZooKeeper: `ZooKeeperServer.processConnectRequest`).
    pub(super) fn on_connect(&mut self, cx: &mut Cx<'_, M>, id: ConnId, body: &[u8], received_ns: u64) {
        if self.conns.find(id).is_none() {
            // It was opened before this keeper began anew from a snapshot.
            let outbox = cx.fx.outboxes.of(id.front());
            let from = outbox.bytes.len();
            return outbox.book(id, from, 0, Then::Close);
        }
        let Some(idx) = self.ready_to_hear(id, body.len()) else { return };
        self.stats.connect_requests += 1;
        let connect = match decode_connect(body) {
            Ok(connect) => connect,
            Err(error) => return self.hang_up(cx, idx, &format!("a connect request that doesn't decode: {error}")),
        };
        // As signed numbers: a client that has seen nothing may say -1.
        if connect.last_zxid_seen.as_i64() > self.applied.as_i64() {
            let (seen, applied) = (connect.last_zxid_seen, self.applied);
            let text = format!("the client has seen zxid {seen}, this server has applied {applied}: it must ask another server");
            return self.hang_up(cx, idx, &text);
        }
        if self.serves_read_only(cx.now.mono) {
            return self.connect_read_only(cx, idx, &connect);
        }
        if self.duty() == Duty::Nothing {
            return self.hang_up(cx, idx, "this server follows no leader and leads nobody: it serves once that changes");
        }
        if connect.session == SessionId::NONE {
            self.new_session(cx, idx, &connect, received_ns);
        } else {
            self.resume_session(cx, idx, &connect, received_ns);
        }
    }

    /// Books a frame; `None` when the connection is unknown or told to close.
    pub(super) fn ready_to_hear(&mut self, id: ConnId, len: usize) -> Option<u32> {
        let idx = self.conns.find(id)?;
        let conn = self.conns.get_mut(idx)?;
        self.stats.received += 1;
        self.stats.received_bytes += len as u64 + 4;
        conn.stats.received += 1;
        (conn.phase != Phase::Closing).then_some(idx)
    }

    pub(super) fn hang_up(&mut self, cx: &mut Cx<'_, M>, idx: u32, why: &str) {
        if let Some(peer) = self.conns.get(idx).map(|c| c.peer) {
            self.complain(cx, &format!("closing the connection from {peer}: {why}"));
        }
        replies::close(&mut self.conns, cx.fx, idx);
    }

    /// An id that no session has, and most likely none had when the clock was here before.
    pub(super) fn draw_session(&mut self, now: Now) -> SessionId {
        self.sessions.next_id(now.wall_ms, self.session_salt)
    }

    fn new_session(&mut self, cx: &mut Cx<'_, M>, idx: u32, connect: &Connect<'_>, received_ns: u64) {
        if self.duty() == Duty::Decide && self.refuses_writes() {
            return self.hang_up(cx, idx, "no session can be created while the log takes no writes");
        }
        let timeout_ms = self.sessions.negotiate(connect.timeout_ms);
        let session = self.draw_session(cx.now);
        let mut password = [0; PASSWORD_BYTES];
        self.prng.fill(&mut password);
        let kind = WriteKind::Session { with_read_only: connect.read_only.is_some() };
        let Some(conn) = self.conns.get_mut(idx) else { return };
        conn.phase = Phase::Joining;
        conn.session = session;
        if self.duty() == Duty::Forward {
            self.joining.insert(session, idx);
            return self.forward_session(cx, idx, (session, timeout_ms), &password, kind, received_ns);
        }
        self.own_here(session);
        self.ops.clear();
        self.ops.push(OpRef::CreateSession { timeout_ms, password: &password });
        let zxid = self.propose(cx, session, 0);
        let Some(conn) = self.conns.get_mut(idx) else { return };
        conn.wait(Waiting::Write { zxid, xid: 0, kind, received_ns });
        self.joining.insert(session, idx);
    }

    fn resume_session(&mut self, cx: &mut Cx<'_, M>, idx: u32, connect: &Connect<'_>, received_ns: u64) {
        self.stats.revalidated += 1;
        let with_read_only = connect.read_only.is_some();
        if self.duty() == Duty::Forward {
            if let Some(conn) = self.conns.get_mut(idx) {
                conn.phase = Phase::Joining;
                conn.session = connect.session;
            }
            // Whoever holds the session here is closed at once: what it sends later mustn't be forwarded behind what the new one sends.
            if self.sessions.check_password(connect.session, connect.password)
                && let Some(old) = self.sessions.get(connect.session).and_then(|known| known.conn)
                && old != idx
            {
                self.sessions.detach(connect.session, old);
                self.watches.drop_conn(old);
                replies::close(&mut self.conns, cx.fx, old);
            }
            let timeout_ms = self.sessions.negotiate(connect.timeout_ms);
            return self.forward_attach(cx, idx, (connect.session, timeout_ms), connect.password, with_read_only, received_ns);
        }
        let timeout_ms = self.judge_attach(cx.now, connect.session, connect.password, connect.timeout_ms);
        let due = self.judged_now();
        self.attach(cx, idx, connect.session, timeout_ms, due, with_read_only);
    }

    /// Whether a session may go on, and with which timeout; its timer starts anew then.
    pub(super) fn judge_attach(&mut self, now: Now, session: SessionId, password: &[u8], timeout_ms: i32) -> Option<u32> {
        let alive =
            self.sessions.get(session).is_some() && !self.prep.is_closing(session) && self.sessions.check_password(session, password);
        if !alive {
            return None;
        }
        let timeout_ms = self.sessions.negotiate(timeout_ms);
        self.sessions.renegotiate(session, timeout_ms, self.session_clock.at(now.mono));
        Some(timeout_ms)
    }

    /// Gives the connection its session, or learns that there is none. The answer waits until what was judged is committed: a
    /// session that a crash brings back must not have been called gone.
    pub(super) fn attach(
        &mut self,
        cx: &mut Cx<'_, M>,
        idx: u32,
        session: SessionId,
        timeout_ms: Option<u32>,
        due: Due,
        with_read_only: bool,
    ) {
        if let Some(conn) = self.conns.get_mut(idx) {
            conn.phase = Phase::Joining;
            if timeout_ms.is_some() {
                conn.session = session;
            }
        }
        if timeout_ms.is_some() {
            self.own_here(session);
            self.hold_session(cx, idx, session);
        }
        self.answer_when_due(cx, idx, Waiting::Attach { due, timeout_ms, with_read_only });
    }

    /// The connection speaks for the session here; whoever did before is closed at once.
    fn hold_session(&mut self, cx: &mut Cx<'_, M>, idx: u32, session: SessionId) {
        if let Some(old) = self.sessions.attach(session, idx)
            && old != idx
        {
            self.watches.drop_conn(old);
            replies::close(&mut self.conns, cx.fx, old);
        }
    }

    /// The answer to a connect request that names a session. It may have ended since it was judged.
    pub(super) fn answer_attach(&mut self, cx: &mut Cx<'_, M>, idx: u32, timeout_ms: Option<u32>, with_read_only: bool) {
        let gone = Connected { timeout_ms: 0, session: SessionId::NONE, password: [0; PASSWORD_BYTES] };
        let session = self.conns.get(idx).map_or(SessionId::NONE, |c| c.session);
        let answer = match (timeout_ms, self.sessions.get(session)) {
            (Some(timeout_ms), Some(known)) => {
                self.hold_session(cx, idx, session);
                Connected { timeout_ms, session, password: known.password }
            }
            _ => gone,
        };
        replies::connected(&mut self.conns, &mut self.stats, cx.fx, idx, &answer, with_read_only);
    }
}
