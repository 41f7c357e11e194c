//! Requests that learners forwarded, judged by the leader as if they were its own clients'.
//!
//! Guarantees: one verdict for each item, in order; a session's late request through a server that it has left is refused; what no
//! transaction answers waits for a round that begins after the judgement. Leaves to others: judging itself (`prep`, `writes`).

use super::Keeper;
use crate::base::ids::{ServerId, SessionId, Zxid};
use crate::base::memory::BatchMemory;
use crate::model::acl::Identity;
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::request::Request;
use crate::model::txn::{OpRef, PASSWORD_BYTES};
use crate::mutant;
use crate::server::keeper::conns::{Refused, WriteKind};
use crate::server::keeper::{Cx, replies};
use crate::server::peer_mail::LinkId;
use crate::wire::client::decode::decode_request;
use crate::wire::peer::forward::{self, ForwardItem, ForwardOutcome, ForwardVerdict};
use crate::wire::peer::touched::touched;

/// Bytes of one learner's requests that wait: several times what a learner forwards before it lets its clients wait.
const WAITING_BYTES_MAX: usize = 64 << 20;

impl<M: BatchMemory> Keeper<M> {
    /// Requests of a learner: judged now, or when fewer batches are held, as those of own clients wait in their sockets.
    pub(super) fn on_forward(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, bytes: &[u8]) {
        let crowded = self.is_crowded();
        let Some(e) = &mut self.ensemble else { return };
        if !crowded && !e.leading.holds_back(peer) {
            return self.judge_forwarded(cx, peer, link, bytes);
        }
        let waiting_bytes = e.leading.hold_back(peer, bytes);
        if waiting_bytes > WAITING_BYTES_MAX {
            let why = format!("server {} forwards more than it may: {waiting_bytes} bytes wait, {WAITING_BYTES_MAX} may", peer.0);
            self.distrust(cx, peer, link, &why);
        }
    }

    /// Judges what waited, as far as there is room again.
    pub(in crate::server::keeper) fn judge_held_back(&mut self, cx: &mut Cx<'_, M>) {
        while !self.is_crowded()
            && let Some((peer, link, bytes)) = self.ensemble.as_mut().and_then(|e| e.leading.take_held_back())
        {
            self.judge_forwarded(cx, peer, link, &bytes);
        }
    }

    fn judge_forwarded(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, bytes: &[u8]) {
        for item in forward::items(bytes) {
            let Ok(item) = item else {
                let why = format!("server {} forwards what doesn't decode", peer.0);
                return self.distrust(cx, peer, link, &why);
            };
            let Some(verdict) = self.judge_item(cx, peer, &item) else { continue };
            let Some(e) = &mut self.ensemble else { return };
            e.leading.answer(peer, &verdict);
        }
    }

    fn judge_item(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, item: &ForwardItem<'_>) -> Option<ForwardVerdict> {
        match *item {
            ForwardItem::Request { session, xid, op, identities, body, .. } => {
                if mutant!("ensemble-forward-twice") {
                    let _ = self.judge_request(cx, peer, session, (xid, op), &identities.to_vec(), body);
                }
                let verdict = self.judge_request(cx, peer, session, (xid, op), &identities.to_vec(), body);
                Some(verdict.unwrap_or_else(|outcome| self.answer_now(outcome)))
            }
            ForwardItem::Create { session, timeout_ms, password, .. } => Some(self.judge_session(cx, peer, session, timeout_ms, &password)),
            ForwardItem::Attach { session, timeout_ms, password, .. } => {
                Some(self.judge_forwarded_attach(cx, peer, session, timeout_ms, password))
            }
            ForwardItem::Sync { session, .. } => {
                let outcome = if self.is_owner(session, peer) { ForwardOutcome::Synced } else { ForwardOutcome::Moved };
                Some(self.answer_now(outcome))
            }
            ForwardItem::Gone { .. } => None,
        }
    }

    /// An answer that was judged now, with what it must wait for.
    fn answer_now(&mut self, outcome: ForwardOutcome) -> ForwardVerdict {
        let due = self.judged_now();
        ForwardVerdict::Answer { at: due.at, beat: due.beat, outcome }
    }

    fn is_owner(&self, session: SessionId, peer: ServerId) -> bool {
        let owner = self.ensemble.as_ref().and_then(|e| e.leading.owners.get(&session));
        owner == Some(&peer) || mutant!("ensemble-former-owner-writes")
    }

    fn judge_request(
        &mut self,
        cx: &mut Cx<'_, M>,
        peer: ServerId,
        session: SessionId,
        (xid, op): (i32, i32),
        identities: &[Identity],
        body: &[u8],
    ) -> Result<ForwardVerdict, ForwardOutcome> {
        if !self.is_owner(session, peer) {
            return Err(ForwardOutcome::Moved);
        }
        self.sessions.touch(session, self.session_now(cx));
        let Some(op) = OpCode::from_wire(op).filter(|op| op.is_write()) else {
            return Err(ForwardOutcome::Last(ErrorCode::Unimplemented));
        };
        if self.prep.is_closing(session) || self.sessions.get(session).is_none() {
            return Err(ForwardOutcome::Refused(ErrorCode::SessionExpired));
        }
        let Ok(request) = decode_request(op, body) else { return Err(ForwardOutcome::Refused(ErrorCode::MarshallingError)) };
        match self.judge(cx, session, identities, xid, op, &request) {
            Ok((zxid, _)) => Ok(ForwardVerdict::Proposed { zxid }),
            Err(Refused::Multi { failed_idx, code, count }) => {
                let (failed_idx, count) = (failed_idx as u32, count as u32);
                Err(ForwardOutcome::RefusedMulti { failed_idx, code, count })
            }
            Err(Refused::Code(code)) => Err(ForwardOutcome::Refused(code)),
            Err(Refused::Last(code)) => Err(ForwardOutcome::Last(code)),
            Err(Refused::HangUp | Refused::Moved) => Err(ForwardOutcome::Moved),
        }
    }

    fn judge_session(
        &mut self,
        cx: &mut Cx<'_, M>,
        peer: ServerId,
        session: SessionId,
        timeout_ms: u32,
        password: &[u8; PASSWORD_BYTES],
    ) -> ForwardVerdict {
        // An id that is taken would give one client another one's session.
        let taken = self.sessions.get(session).is_some() || self.ensemble.as_ref().is_some_and(|e| e.leading.owners.contains_key(&session));
        if self.refuses_writes() || taken || session == SessionId::NONE {
            return self.answer_now(ForwardOutcome::Last(ErrorCode::SystemError));
        }
        let timeout_ms = self.sessions.negotiate(i32::try_from(timeout_ms).unwrap_or(i32::MAX));
        self.own(session, peer);
        self.ops.clear();
        self.ops.push(OpRef::CreateSession { timeout_ms, password });
        ForwardVerdict::Proposed { zxid: self.propose(cx, session, 0) }
    }

    fn judge_forwarded_attach(
        &mut self,
        cx: &mut Cx<'_, M>,
        peer: ServerId,
        session: SessionId,
        timeout_ms: u32,
        password: &[u8],
    ) -> ForwardVerdict {
        let timeout_ms = i32::try_from(timeout_ms).unwrap_or(i32::MAX);
        let Some(timeout_ms) = self.judge_attach(cx.now, session, password, timeout_ms) else {
            return self.answer_now(ForwardOutcome::Gone);
        };
        self.own(session, peer);
        // A connection that this server still has for it is a former one.
        if let Some(known) = self.sessions.get(session)
            && let Some(old) = known.conn
        {
            self.sessions.detach(session, old);
            self.watches.drop_conn(old);
            replies::close(&mut self.conns, cx.fx, old);
        }
        let password = self.sessions.get(session).map_or([0; PASSWORD_BYTES], |s| s.password);
        self.answer_now(ForwardOutcome::Attached { timeout_ms, password })
    }

    /// From now on `session` speaks through `server` alone.
    pub(in crate::server::keeper) fn own(&mut self, session: SessionId, server: ServerId) {
        if let Some(e) = &mut self.ensemble {
            e.leading.owners.insert(session, server);
        }
    }

    /// The same for this server.
    pub(in crate::server::keeper) fn own_here(&mut self, session: SessionId) {
        if let Some(me) = self.ensemble.as_ref().map(|e| e.me) {
            self.own(session, me);
        }
    }

    /// A session is gone: nobody speaks for it any more.
    pub(in crate::server::keeper) fn disown(&mut self, session: SessionId) {
        if let Some(e) = &mut self.ensemble {
            e.leading.owners.remove(&session);
        }
    }

    /// Whether requests of a connection here still count: its session may have moved on to another server.
    pub(in crate::server::keeper) fn owns_here(&self, session: SessionId) -> bool {
        self.ensemble.as_ref().is_none_or(|e| self.is_owner(session, e.me))
    }

    /// A learner heard of sessions: each lives its whole timeout from then on.
    pub(super) fn on_touched(&mut self, cx: &mut Cx<'_, M>, bytes: &[u8]) {
        for (session, silent_ms) in touched(bytes) {
            self.sessions.touch_since(session, self.session_clock.before(cx.now.mono, silent_ms));
        }
    }

    /// The identities of a connection, lent out while its request is judged.
    pub(in crate::server::keeper) fn judge_own(
        &mut self,
        cx: &mut Cx<'_, M>,
        idx: u32,
        xid: i32,
        op: OpCode,
        request: &Request<'_>,
    ) -> Result<(Zxid, WriteKind), Refused> {
        let Some(conn) = self.conns.get_mut(idx) else { return Err(Refused::Code(ErrorCode::SystemError)) };
        let session = conn.session;
        let identities = std::mem::take(&mut conn.identities);
        let judged = self.judge(cx, session, &identities, xid, op, request);
        if let Some(conn) = self.conns.get_mut(idx) {
            conn.identities = identities;
        }
        judged
    }
}
