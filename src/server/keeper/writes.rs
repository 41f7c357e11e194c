//! Writes: judged against the tree and what is outstanding, encoded once into the open batch, queued for their answer.

use super::conns::{Refused, Waiting, WriteKind};
use super::ensemble::Duty;
use super::{Cx, Keeper};
use crate::auth;
use crate::base::ids::{SessionId, ZXID_COUNTER_MAX, Zxid};
use crate::base::limits::RECORD_BYTES_MAX;
use crate::base::memory::BatchMemory;
use crate::model::acl::Identity;
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::request::{CreateOp, Request};
use crate::model::txn::TxnHead;
use crate::prep::{Asker, Refusal};
use crate::server::words::latency::Stage;
use crate::wire::client::decode::decode_request;
use crate::zab::Role;

/// Batches in memory at which writes are refused. The host stops handing requests in long before; only what one burst brings
/// counts on top.
const BATCHES_HELD_HARD_MAX: usize = 900;

/// Zxids at the end of an epoch that are left for sessions that end, while the leader hands over: those aren't refused as writes are.
const ZXIDS_FOR_CLOSING: u64 = 1 << 20;

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn on_write(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, op: OpCode, body: &[u8], received_ns: u64) {
        self.stages.record(Stage::Prepare, cx.now.mono_ns.saturating_sub(received_ns));
        let verdict = match decode_request(op, body) {
            Err(_) => Err(Refused::Code(ErrorCode::MarshallingError)),
            Ok(request) if self.duty() == Duty::Forward => {
                let kind = kind_of(op, &request);
                return self.forward_write(cx, idx, (xid, op), body, kind, received_ns);
            }
            Ok(_) if !self.conns.get(idx).is_some_and(|c| self.owns_here(c.session)) => Err(Refused::Moved),
            Ok(request) => self.judge_own(cx, idx, xid, op, &request),
        };
        match verdict {
            Ok((zxid, kind)) => {
                if let Some(conn) = self.conns.get_mut(idx) {
                    conn.wait(Waiting::Write { zxid, xid, kind, received_ns });
                }
            }
            Err(refusal) => self.refuse(cx, idx, xid, refusal, received_ns),
        }
    }

    /// Judges one write and, if it may happen, puts its transaction into the open batch.
    pub(super) fn judge(
        &mut self,
        cx: &mut Cx<'_, M>,
        session: SessionId,
        identities: &[Identity],
        xid: i32,
        op: OpCode,
        request: &Request<'_>,
    ) -> Result<(Zxid, WriteKind), Refused> {
        let may_close = op == OpCode::CloseSession && self.log.fault().is_none() && !self.has_no_zxid_left();
        if self.refuses_writes() && !may_close {
            return Err(Refused::Code(ErrorCode::SystemError));
        }
        let next = self.next_zxid();
        self.ops.clear();
        if op == OpCode::CloseSession {
            self.sessions.mark_closing(session);
            self.prep.judge_close(&self.tree, session, next, &mut self.ops);
            return Ok((self.propose(cx, session, xid), WriteKind::Close));
        }
        let auth_options = &self.options.auth;
        let resolve = |list: Option<&[u8]>, out: &mut Vec<u8>| auth::resolve_acl(list, identities, auth_options, out);
        let asker = Asker { session, identities, resolve: &resolve };
        match self.prep.judge(&self.tree, &asker, request, next, &mut self.ops) {
            Ok(()) => {}
            Err(Refusal::Code(code)) => return Err(Refused::Code(code)),
            Err(Refusal::Multi { failed_idx, code, count }) => return Err(Refused::Multi { failed_idx, code, count }),
        }
        Ok((self.propose(cx, session, xid), kind_of(op, request)))
    }

    /// Whether a write would find no room, or nothing after a fault may be acknowledged.
    pub(super) fn refuses_writes(&self) -> bool {
        self.is_epoch_spent()
            || self.log.is_full()
            || self.log.fault().is_some()
            || self.stopping
            || self.log.stats().held >= BATCHES_HELD_HARD_MAX
    }

    /// A leader whose epoch's counter is nearly used up must be elected anew before it can go on.
    pub(super) fn is_epoch_spent(&self) -> bool {
        self.has_counted_to(ZXID_COUNTER_MAX - ZXIDS_FOR_CLOSING)
    }

    /// Not even a session can end in this epoch any more.
    pub(super) fn has_no_zxid_left(&self) -> bool {
        self.has_counted_to(ZXID_COUNTER_MAX)
    }

    fn has_counted_to(&self, counter: u64) -> bool {
        // A history that ends with a used-up epoch says nothing of the leader's own.
        let own = |epoch| self.proposed.epoch() >= epoch && self.proposed.counter() >= counter;
        matches!(self.role(), Some(Role::Leading { epoch, .. }) if own(epoch))
    }

    pub(super) fn next_zxid(&self) -> Zxid {
        // 2^40 transactions in one epoch are two weeks at a million a second; a standalone server's epoch is 0, and its
        // counter runs on into the next epoch's range, which keeps the order. A leader begins its epoch with the first one.
        match self.role() {
            Some(Role::Leading { epoch, .. }) if self.proposed.epoch() < epoch => Zxid::new(epoch, 1),
            _ => Zxid(self.proposed.0 + 1),
        }
    }

    /// Encodes the changes in `self.ops` as the next transaction.
    pub(super) fn propose(&mut self, cx: &mut Cx<'_, M>, session: SessionId, cxid: i32) -> Zxid {
        let zxid = self.next_zxid();
        let head = TxnHead { zxid, session, cxid, time_ms: cx.now.wall_ms };
        crate::invariant!(self.ops.payload_len() <= RECORD_BYTES_MAX, "a transaction of {} bytes at {zxid}", self.ops.payload_len());
        let appended = self.log.append(cx.pool, &head, &self.ops);
        crate::invariant!(appended.is_ok(), "{zxid} was judged although the log takes nothing: {appended:?}");
        self.proposed = zxid;
        zxid
    }
}

/// The form in which a write is answered.
fn kind_of(op: OpCode, request: &Request<'_>) -> WriteKind {
    match request {
        _ if op == OpCode::CloseSession => WriteKind::Close,
        Request::Multi(ops) => WriteKind::Multi(ops.iter().map(op_in_multi).collect()),
        _ => WriteKind::Single(op),
    }
}

fn op_in_multi(request: &Request<'_>) -> OpCode {
    match request {
        Request::Create(create) => match create.op {
            CreateOp::Create => OpCode::Create,
            CreateOp::Create2 | CreateOp::Container | CreateOp::Ttl => OpCode::Create2,
        },
        Request::Delete { .. } => OpCode::Delete,
        Request::SetData { .. } => OpCode::SetData,
        _ => OpCode::Check,
    }
}
