//! Of whom something is heard, whom this server can't hear by its own doing, and who is silent.
//!
//! Guarantees: a client whose socket is unread because it waits for this server's answers counts as heard; so does one that takes its answers,
//! however slowly. A learner closes connections that are silent for their session's timeout, for nobody else does: a session that went on at
//! another server lives, and the connection that it had here may lead to a client that is gone. Leaves to others: expiry (`upkeep`), the
//! clock (`session_clock`), telling the leader (`ensemble::forwarding`).

use super::conns::Phase;
use super::ensemble::Duty;
use super::{Cx, Keeper, replies};
use crate::base::ids::ConnId;
use crate::base::memory::BatchMemory;

impl<M: BatchMemory> Keeper<M> {
    /// Something was heard of a connection, and so of its session.
    pub(super) fn hear(&mut self, cx: &mut Cx<'_, M>, idx: u32) {
        let now = self.session_now(cx);
        let Some(conn) = self.conns.get_mut(idx) else { return };
        conn.heard = Some(now);
        if let Some(local) = &mut conn.local {
            local.deadline = cx.now.mono.plus(u64::from(local.timeout_ms));
        }
        let session = conn.session;
        self.sessions.touch(session, now);
        self.heard_of(session, now);
    }

    /// The client took something of what waits for it.
    pub(super) fn on_heard(&mut self, cx: &mut Cx<'_, M>, id: ConnId) {
        if let Some(idx) = self.conns.find(id)
            && self.conns.get(idx).is_some_and(|conn| conn.phase == Phase::Ready)
        {
            self.hear(cx, idx);
        }
    }

    /// At each half tick: speaks for those that are unread because they wait for this server, and lets silent ones go.
    pub(super) fn look_over_conns(&mut self, cx: &mut Cx<'_, M>) {
        if cx.now.mono < self.next_look {
            return;
        }
        let tick_ms = u64::from(self.options.words.tick_ms());
        self.next_look = cx.now.mono.plus((tick_ms / 2).max(1));
        let (crowded, now) = (std::mem::take(&mut self.crowded_lately), self.session_now(cx));
        let follows = self.duty() == Duty::Forward;
        for idx in self.conns.indexes() {
            let Some(conn) = self.conns.get_mut(idx).filter(|conn| conn.phase == Phase::Ready) else { continue };
            if conn.is_unread_for_us(crowded) {
                self.hear(cx, idx);
                continue;
            }
            let silent_ms = now.since(*conn.heard.get_or_insert(now));
            // The leader's expiry closes its own connections.
            if follows && silent_ms > u64::from(conn.timeout_ms) + tick_ms {
                self.let_go(cx, idx, silent_ms);
            }
        }
    }

    /// Closes a silent connection. Its session lives or ends as the leader says.
    fn let_go(&mut self, cx: &mut Cx<'_, M>, idx: u32, silent_ms: u64) {
        let Some((peer, session)) = self.conns.get(idx).map(|conn| (conn.peer, conn.session)) else { return };
        self.complain(cx, &format!("closing the connection from {peer}: nothing was heard on it for {silent_ms} ms"));
        self.sessions.detach(session, idx);
        self.watches.drop_conn(idx);
        replies::close(&mut self.conns, cx.fx, idx);
    }
}
