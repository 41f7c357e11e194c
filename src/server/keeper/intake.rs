//! Requests come in: decoded once, judged or answered at once, or put behind what the connection still waits for.

use super::conns::{Due, Parked, Phase, Refused, Waiting};
use super::ensemble::Duty;
use super::replies::Answer;
use super::{Cx, Gate, Keeper, replies};
use crate::auth;
use crate::base::ids::{ConnId, Zxid};
use crate::base::memory::BatchMemory;
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::request::Request;
use crate::mutant;
use crate::server::mail::Then;
use crate::wire::client::decode::decode_request;

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn on_request(&mut self, cx: &mut Cx<'_, M>, id: ConnId, xid: i32, op: i32, body: &[u8], received_ns: u64) {
        let Some(idx) = self.ready_to_hear(id, body.len() + 8) else { return };
        let Some(conn) = self.conns.get_mut(idx) else { return };
        if conn.phase != Phase::Ready {
            return self.hang_up(cx, idx, "a request before the session");
        }
        // Pings and what clients send by themselves have no number, and the last one stays shown.
        if xid >= 0 {
            conn.stats.last_cxid = i64::from(xid);
        }
        conn.stats.last_op = Some(OpCode::from_wire(op).map_or("NA", OpCode::short_name));
        self.hear(cx, idx);
        let Some(conn) = self.conns.get_mut(idx) else { return };
        if conn.congested {
            conn.parked.push_back(Parked { xid, op, body: body.into(), received_ns });
            return;
        }
        self.take_request(cx, idx, xid, op, body, received_ns);
    }

    /// The client took most of what was sent to it: what was parked has its turn, until that is too much again.
    pub(super) fn on_client_ready(&mut self, cx: &mut Cx<'_, M>, id: ConnId) {
        let Some(idx) = self.conns.find(id) else { return };
        if let Some(conn) = self.conns.get_mut(idx) {
            conn.congested = false;
        }
        while let Some(conn) = self.conns.get_mut(idx).filter(|c| !c.congested && c.phase == Phase::Ready) {
            let Some(Parked { xid, op, body, received_ns }) = conn.parked.pop_front() else { return };
            self.take_request(cx, idx, xid, op, &body, received_ns);
        }
    }

    fn take_request(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, op: i32, body: &[u8], received_ns: u64) {
        let Some(session) = self.conns.get(idx).map(|c| c.session) else { return };
        match OpCode::from_wire(op) {
            // They pass by everything that waits (T5).
            Some(OpCode::Auth) => self.on_auth(cx, idx, xid, body, received_ns),
            Some(OpCode::Sasl) => self.on_sasl(cx, idx, xid, body, received_ns),
            // A check stands only inside a multi (T19).
            None | Some(OpCode::Check) => self.refuse(cx, idx, xid, Refused::Last(ErrorCode::Unimplemented), received_ns),
            Some(op) if self.conns.get(idx).is_some_and(|c| c.local.is_some()) => {
                self.take_read_only(cx, idx, xid, op, body, received_ns);
            }
            Some(_) if self.prep.is_closing(session) => {
                self.refuse(cx, idx, xid, Refused::Code(ErrorCode::SessionExpired), received_ns);
            }
            Some(op) if op.is_write() => self.on_write(cx, idx, xid, op, body, received_ns),
            Some(OpCode::Sync) => self.on_sync(cx, idx, xid, body, received_ns),
            Some(op) => self.on_read(cx, idx, xid, op, body, received_ns),
        }
    }

    /// A read or ping: at once when nothing of the connection waits, else behind it.
    pub(super) fn on_read(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, op: OpCode, body: &[u8], received_ns: u64) {
        let Some(conn) = self.conns.get_mut(idx) else { return };
        if conn.queue.is_empty() {
            self.execute(cx, idx, xid, op, body, received_ns);
        } else {
            conn.hold(xid, op, body, received_ns);
        }
    }

    /// Confirmed by everything that was proposed before it (T12; in an ensemble also by a quorum).
    fn on_sync(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, body: &[u8], received_ns: u64) {
        let path = match decode_request(OpCode::Sync, body) {
            Ok(Request::Sync { path }) => path,
            _ => return self.refuse(cx, idx, xid, Refused::Code(ErrorCode::MarshallingError), received_ns),
        };
        if self.duty() == Duty::Forward {
            return self.forward_sync(cx, idx, xid, path.map(Into::into), received_ns);
        }
        if !self.conns.get(idx).is_some_and(|c| self.owns_here(c.session)) {
            return self.refuse(cx, idx, xid, Refused::Moved, received_ns);
        }
        let waiting = Waiting::Sync { due: self.judged_now(), xid, path: path.map(Into::into), received_ns };
        self.answer_when_due(cx, idx, waiting);
    }

    /// An error for a request in its turn: once everything that it was judged against is committed and applied, so that it
    /// never shows a state that could still be lost.
    pub(super) fn refuse(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, refusal: Refused, received_ns: u64) {
        let due = self.judged_now();
        self.answer_when_due(cx, idx, Waiting::Refused { due, xid, refusal, received_ns });
    }

    /// What an answer that is judged now must wait for.
    pub(super) fn judged_now(&mut self) -> Due {
        match (self.duty(), &mut self.ensemble) {
            // What a learner judges itself depends on no state.
            (Duty::Forward | Duty::Nothing, _) => Due::default(),
            (Duty::Decide, None) => Due { at: self.proposed, beat: 0 },
            (Duty::Decide, Some(_)) if mutant!("ensemble-answers-without-round") => Due { at: self.proposed, beat: 0 },
            (Duty::Decide, Some(e)) => Due { at: self.proposed, beat: e.open_round() },
        }
    }

    pub(super) fn is_due(&self, due: Due) -> bool {
        due.at <= self.applied && (due.beat == 0 || self.ensemble.as_ref().is_none_or(|e| due.beat <= e.confirmed()))
    }

    /// Puts an answer behind what the connection waits for already.
    pub(super) fn answer_when_due(&mut self, cx: &mut Cx<'_, M>, idx: u32, waiting: Waiting) {
        let Some(due) = waiting.due() else { return };
        let Some(conn) = self.conns.get_mut(idx) else { return };
        conn.wait(waiting);
        let id = conn.id;
        if self.is_due(due) {
            self.drain(cx, idx);
        } else {
            self.gates.push_back(Gate { due, conn: id });
        }
    }

    /// Adds an identity to the connection. The answer carries zxid 0; a failure closes the connection, the wrong ensemble and a body that
    /// doesn't decode do so without an answer.
    fn on_auth(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, body: &[u8], received_ns: u64) {
        let Ok(Request::Auth { scheme, auth }) = decode_request(OpCode::Auth, body) else {
            return self.hang_up(cx, idx, "an auth packet that doesn't decode");
        };
        let Some(conn) = self.conns.get_mut(idx) else { return };
        let outcome = match auth {
            // Null is no credential, except where none is looked at.
            None if scheme != b"ip" => auth::Outcome::Failed,
            auth => auth::authenticate(scheme, auth.unwrap_or_default(), &self.options.auth, &mut conn.identities),
        };
        let (err, then) = match outcome {
            auth::Outcome::Accepted => (None, Then::Keep),
            auth::Outcome::Failed => (Some(ErrorCode::AuthFailed), Then::Close),
            auth::Outcome::HangUp => return self.hang_up(cx, idx, "the client looks for an ensemble of another name"),
        };
        if err.is_some() {
            self.stats.auth_failed += 1;
            let peer = conn.peer;
            self.complain(cx, &format!("authentication of {peer} failed; its connection is closed"));
        }
        let head = Answer { xid, zxid: Zxid::ZERO, err, received_ns, then };
        replies::answer(&mut self.conns, &mut self.stats, cx, idx, head, |_| {});
    }

    /// SASL isn't built: the exchange fails in the protocol's own words (error and null token, T68), then the connection
    /// closes. ZooKeeper without SASL answers err 0 with a null token, which a client may take for the end of a successful
    /// exchange; a client that asks for SASL shall not go on unauthenticated without noticing.
    fn on_sasl(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, body: &[u8], received_ns: u64) {
        if decode_request(OpCode::Sasl, body).is_err() {
            return self.hang_up(cx, idx, "a SASL packet that doesn't decode");
        }
        self.stats.auth_failed += 1;
        self.complain(cx, "a client wants SASL, which this server doesn't offer yet; its connection is closed");
        replies::sasl_failed(&mut self.conns, &mut self.stats, cx, idx, xid, received_ns);
    }
}
