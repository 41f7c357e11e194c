//! Service in a minority: a server without a leader reads to clients that asked for no more (`readonlymode.enabled`, T53).
//!
//! Guarantees: nothing is written; a session begun here is known to nobody else and ends with its connection; when a leader is found,
//! these clients are dropped, so that each gets a real session. A session of the ensemble isn't resumed here, and isn't called gone
//! either: its client asks on elsewhere. One that isn't known here is called gone (ZooKeeper: `ReadOnlyZooKeeperServer`): it was such a
//! session of this or another server, and whoever isn't told would ask for it for ever. It can't be one that the ensemble has and this
//! server has not heard of, once its client was answered anything: what it has seen is compared before. Leaves to others: reads
//! themselves (`reads`).

use super::{Duty, Keeper};
use crate::base::ids::SessionId;
use crate::base::memory::BatchMemory;
use crate::base::time::MonoMs;
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::request::{Connect, Connected};
use crate::model::txn::PASSWORD_BYTES;
use crate::server::keeper::Cx;
use crate::server::keeper::conns::{Local, Phase, Refused};
use crate::server::keeper::replies::{self, Answer};
use crate::server::mail::Then;

/// A server looks for a leader for so long, at least, before it serves without one.
const PATIENCE_MS: u64 = 2000;

impl<M: BatchMemory> Keeper<M> {
    /// Whether clients that asked for no more are served although there is no leader.
    pub(in crate::server::keeper) fn serves_read_only(&self, now: MonoMs) -> bool {
        let Some(e) = &self.ensemble else { return false };
        let patience_ms = PATIENCE_MS.max(e.tick_ms);
        self.duty() == Duty::Nothing && e.read_only_enabled && e.since.looks_for(now).is_some_and(|ms| ms >= patience_ms)
    }

    /// Whether writes are refused by what this server is; `None` while it serves nobody.
    pub(in crate::server::keeper) fn is_read_only(&self, now: MonoMs) -> Option<bool> {
        match self.duty() {
            _ if self.stopping => None,
            Duty::Nothing => self.serves_read_only(now).then_some(true),
            Duty::Decide | Duty::Forward => Some(false),
        }
    }

    /// A connect request while nobody leads.
    pub(in crate::server::keeper) fn connect_read_only(&mut self, cx: &mut Cx<'_, M>, idx: u32, connect: &Connect<'_>) {
        if connect.read_only != Some(true) {
            return self.hang_up(cx, idx, "this server has no leader: it serves only clients that asked for no more than reading");
        }
        if self.sessions.get(connect.session).is_some() {
            return self.hang_up(cx, idx, "this server has no leader: a session of the ensemble can't go on here");
        }
        if connect.session != SessionId::NONE {
            let Some(conn) = self.conns.get_mut(idx) else { return };
            // The answer says what kind of server gave it.
            conn.local = Some(Local { timeout_ms: 0, deadline: cx.now.mono });
            let gone = Connected { timeout_ms: 0, session: SessionId::NONE, password: [0; PASSWORD_BYTES] };
            return replies::connected(&mut self.conns, &mut self.stats, cx.fx, idx, &gone, true);
        }
        let timeout_ms = self.sessions.negotiate(connect.timeout_ms);
        let session = self.draw_session(cx.now);
        let mut password = [0; PASSWORD_BYTES];
        self.prng.fill(&mut password);
        let Some(conn) = self.conns.get_mut(idx) else { return };
        conn.session = session;
        conn.local = Some(Local { timeout_ms, deadline: cx.now.mono.plus(u64::from(timeout_ms)) });
        let answer = Connected { timeout_ms, session, password };
        replies::connected(&mut self.conns, &mut self.stats, cx.fx, idx, &answer, true);
    }

    /// A request of such a client, who was heard by it already.
    pub(in crate::server::keeper) fn take_read_only(
        &mut self,
        cx: &mut Cx<'_, M>,
        idx: u32,
        xid: i32,
        op: OpCode,
        body: &[u8],
        received_ns: u64,
    ) {
        match op {
            OpCode::CloseSession => {
                let head = Answer { then: Then::Close, ..Answer::ok(xid, self.applied, received_ns) };
                replies::answer(&mut self.conns, &mut self.stats, cx, idx, head, |_| {});
            }
            op if op.is_write() || op == OpCode::Sync => {
                self.refuse(cx, idx, xid, Refused::Code(ErrorCode::NotReadOnly), received_ns);
            }
            op => self.on_read(cx, idx, xid, op, body, received_ns),
        }
    }

    /// Closes local sessions that were silent for their timeout.
    pub(in crate::server::keeper) fn expire_local(&mut self, cx: &mut Cx<'_, M>) {
        let now = cx.now.mono;
        let over = |l: &Local| l.deadline <= now;
        let silent: Vec<u32> =
            self.conns.iter().filter(|(_, c)| c.phase == Phase::Ready && c.local.as_ref().is_some_and(over)).map(|(idx, _)| idx).collect();
        for idx in silent {
            self.watches.drop_conn(idx);
            replies::close(&mut self.conns, cx.fx, idx);
        }
    }
}
