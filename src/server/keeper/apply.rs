//! What is committed is applied in zxid order; watches fire while it is, and only then do replies leave (T1).

use super::conns::{Conn, Conns, Phase, Refused, Waiting, WriteKind};
use super::replies::{Answer, latency_ms, write_name};
use super::snapshots::Snapshots;
use super::stats::Stats;
use super::{Cx, Effects, Keeper, replies};
use crate::base::check::broken;
use crate::base::ids::{SessionId, Zxid};
use crate::base::memory::BatchMemory;
use crate::invariant;
use crate::log::Record;
use crate::model::acl::{permits, perms};
use crate::model::image::NodeImage;
use crate::model::op_code::OpCode;
use crate::model::request::{Connected, CreateOp};
use crate::model::stat::Stat;
use crate::model::txn::{OpRef, TxnHead};
use crate::mutant;
use crate::server::mail::Then;
use crate::server::note::Level;
use crate::server::words::latency::Stage;
use crate::tree::watch::Watches;
use crate::tree::{ApplySink, Change};
use crate::wire::client::reply::Reply;

/// What an operation of a transaction left behind, for its reply.
#[derive(Clone, Debug)]
struct Done<'a> {
    op: OpRef<'a>,
    stat: Option<Stat>,
}

/// Fires watches and keeps a running snapshot exact while a transaction is applied.
struct Firing<'a, M> {
    zxid: Zxid,
    skip_acl: bool,
    watches: &'a mut Watches,
    conns: &'a mut Conns,
    stats: &'a mut Stats,
    fx: &'a mut Effects<M>,
    snapshots: &'a mut Snapshots,
}

impl<M> ApplySink for Firing<'_, M> {
    fn changed(&mut self, change: Change<'_>) {
        if self.watches.is_empty() {
            return;
        }
        let Firing { zxid, skip_acl, watches, conns, stats, fx, .. } = self;
        let before = stats.events;
        watches.fire(change.path, change.event, &mut |idx| {
            let Some(conn) = conns.get(idx) else { return };
            // Without READ the event is dropped although the watch is used up (T29).
            if *skip_acl || permits(change.acl, perms::READ, &conn.identities) {
                replies::event(conns, stats, fx, idx, Some(*zxid), change.event, change.path);
            }
        });
        stats.triggered(change.event, before);
    }

    fn old_image(&mut self, image: NodeImage<'_>) {
        self.snapshots.old_image(image);
    }
}

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn commit_and_apply(&mut self, cx: &mut Cx<'_, M>) {
        self.stats.turns += 1;
        let committed = if mutant!("ack-before-durable") { self.proposed } else { self.committed() };
        self.stages_progress(committed, cx.now);
        let upto = self.applicable(committed);
        // Batches say so to whoever receives them: no more than is applied here.
        self.log.set_committed(if mutant!("ensemble-says-more-than-it-applied") { committed } else { upto });
        while let Some(batch) = self.log.next_applicable(upto) {
            let mut body_len = batch.body().len();
            for record in batch.records() {
                // The very bytes that this process encoded.
                let record = record.unwrap_or_else(|what| broken(format_args!("a record of the batch through {}: {what}", batch.last())));
                self.apply(cx, &record);
                // At once: a write behind a sync or a refusal must be at the head of its queue when its own turn comes.
                self.open_gates(cx);
                // The batch's bytes count once, with its first record.
                self.snapshots.on_applied(std::mem::take(&mut body_len));
            }
            self.keep_digest();
        }
    }

    /// How far of what is committed may be applied. Who was refused, or asked for a sync, is answered from the state at which that was judged, once
    /// a quorum has confirmed the leader; were a later transaction applied before, its answer, its events and reads would have to wait behind
    /// that one answer, each in its place. Nearly always the acknowledgements that commit a batch confirm the round too; after a pause of the
    /// leader's process they don't.
    fn applicable(&self, committed: Zxid) -> Zxid {
        if self.gates.is_empty() || mutant!("apply-overtakes-a-refusal") {
            return committed;
        }
        let Some(e) = &self.ensemble else { return committed };
        let confirmed = e.confirmed();
        // In order of their rounds.
        let unconfirmed = self.gates.partition_point(|gate| gate.due.beat <= confirmed);
        self.gates.get(unconfirmed).map_or(committed, |gate| gate.due.at.min(committed))
    }

    /// Answers whoever waited for what is applied now.
    pub(super) fn open_gates(&mut self, cx: &mut Cx<'_, M>) {
        while let Some(gate) = self.gates.front().copied().filter(|g| self.is_due(g.due)) {
            self.gates.pop_front();
            if let Some(idx) = self.conns.find(gate.conn) {
                self.drain(cx, idx);
            }
        }
    }

    fn apply(&mut self, cx: &mut Cx<'_, M>, record: &Record<'_>) {
        let head = record.head();
        let follows = self.applied.next() == Some(head.zxid) || (head.zxid.epoch() > self.applied.epoch() && head.zxid.counter() == 1);
        invariant!(follows, "{} is applied after {}", head.zxid, self.applied);
        let waiter = self.waiter(head.session, head.zxid);
        if mutant!("reply-before-watch")
            && let Some(idx) = waiter
            && let Some(Waiting::Write { kind: WriteKind::Single(OpCode::SetData), .. }) = self.conns.get(idx).and_then(|c| c.queue.front())
        {
            self.answer_early(cx, idx, head.zxid);
        }
        let mut results = Vec::new();
        for op in record.ops() {
            self.apply_op(cx, &head, op);
            if waiter.is_some() {
                let stat = self.stat_after(&op);
                results.push(Done { op, stat });
            }
        }
        self.tree.end_txn(head.zxid);
        self.applied = head.zxid;
        self.prep.applied(head.zxid);
        self.stats.commits += 1;
        self.words.on_applied(head.zxid, &self.tree);
        if let Some(idx) = waiter {
            self.answer_write(cx, idx, &results);
            self.drain(cx, idx);
        }
    }

    fn apply_op(&mut self, cx: &mut Cx<'_, M>, head: &TxnHead, op: OpRef<'_>) {
        if let OpRef::CreateSession { timeout_ms, password } = op {
            self.sessions.apply_create(self.session_clock.at(cx.now.mono), head.session, timeout_ms, password);
            return;
        }
        let mut firing = Firing {
            zxid: head.zxid,
            skip_acl: self.options.prep.skip_acl,
            watches: &mut self.watches,
            conns: &mut self.conns,
            stats: &mut self.stats,
            fx: cx.fx,
            snapshots: &mut self.snapshots,
        };
        self.tree.apply(head, op, &mut firing);
        if op == OpRef::CloseSession {
            self.end_session(cx, head.session);
        }
    }

    /// The connection of a session that is closed goes too, unless it waits for the answer to its own closeSession.
    fn end_session(&mut self, cx: &mut Cx<'_, M>, session: SessionId) {
        self.disown(session);
        let Some(idx) = self.sessions.apply_close(session) else { return };
        let asked = self.conns.get(idx).is_some_and(Conn::waits_for_its_close);
        if !asked {
            self.watches.drop_conn(idx);
            replies::close(&mut self.conns, cx.fx, idx);
        }
    }

    /// Who waits for this transaction's answer.
    fn waiter(&self, session: SessionId, zxid: Zxid) -> Option<u32> {
        let idx = self.joining.get(&session).copied().or_else(|| self.sessions.get(session)?.conn)?;
        match self.conns.get(idx)?.queue.front() {
            Some(Waiting::Write { zxid: waited, .. }) if *waited == zxid => Some(idx),
            _ => None,
        }
    }

    fn stat_after(&self, op: &OpRef<'_>) -> Option<Stat> {
        match op {
            OpRef::Create { path, .. } | OpRef::SetData { path, .. } | OpRef::SetAcl { path, .. } => {
                self.tree.find(path).map(|node| self.tree.stat(node))
            }
            _ => None,
        }
    }

    fn answer_write(&mut self, cx: &mut Cx<'_, M>, idx: u32, results: &[Done<'_>]) {
        let Some(conn) = self.conns.get_mut(idx) else { return };
        let Some(Waiting::Write { zxid, xid, kind, received_ns }) = conn.queue.pop_front() else { return };
        let took_ms = latency_ms(cx.now, received_ns);
        self.stages.record(Stage::Write, cx.now.mono_ns.saturating_sub(received_ns));
        if took_ms >= self.options.slow_request_ms {
            let (name, peer) = (write_name(&kind), conn.peer);
            // A disk that stands still makes thousands of them slow at once.
            if let Some(left_out) = self.slow.admit(cx.now.mono) {
                let more = if left_out > 0 { format!(" ({left_out} more like it weren't listed)") } else { String::new() };
                let waits = self.stages.waits(took_ms);
                cx.fx.note(Level::Warn, format!("slow request: {name} of {peer} ({zxid}) took {took_ms} ms: {waits}{more}"));
            }
        }
        let head = Answer::ok(xid, self.applied, received_ns);
        let (conns, stats) = (&mut self.conns, &mut self.stats);
        match kind {
            WriteKind::Session { with_read_only } => self.join(cx, idx, with_read_only),
            WriteKind::Close => replies::answer(conns, stats, cx, idx, Answer { then: Then::Close, ..head }, |_| {}),
            WriteKind::Single(op) => {
                let Some(result) = results.first() else {
                    return replies::answer(conns, stats, cx, idx, head, |_| {});
                };
                replies::answer(conns, stats, cx, idx, head, |reply| {
                    if let (OpRef::Create { path, .. }, true) = (result.op, op != OpCode::SetAcl) {
                        reply.put_text(path);
                    }
                    if let Some(stat) = result.stat.filter(|_| op != OpCode::Create) {
                        reply.put_stat(&stat);
                    }
                });
            }
            WriteKind::Multi(ops) => replies::answer(conns, stats, cx, idx, head, |reply| {
                let mut results = results.iter();
                for op in &ops {
                    let result = if *op == OpCode::Check { None } else { results.next() };
                    put_multi_result(reply, *op, result);
                }
                reply.put_multi_end();
            }),
        }
    }

    fn join(&mut self, cx: &mut Cx<'_, M>, idx: u32, with_read_only: bool) {
        let Some(session) = self.conns.get(idx).map(|c| c.session) else { return };
        self.joining.remove(&session);
        let Some(created) = self.sessions.get(session) else { return };
        let answer = Connected { timeout_ms: created.timeout_ms, session, password: created.password };
        self.sessions.attach(session, idx);
        replies::connected(&mut self.conns, &mut self.stats, cx.fx, idx, &answer, with_read_only);
    }

    /// Answers everything at the head of a connection's queue whose time has come.
    pub(super) fn drain(&mut self, cx: &mut Cx<'_, M>, idx: u32) {
        loop {
            let Some(conn) = self.conns.get(idx).filter(|conn| conn.phase != Phase::Closing) else { return };
            let Some(first) = conn.queue.front() else { return };
            if let Waiting::Write { zxid, .. } = first {
                invariant!(*zxid > self.applied, "the answer to {zxid} was missed: {} is applied", self.applied);
            }
            let is_read = matches!(first, Waiting::Later { .. });
            let due = first.due();
            if !is_read && !due.is_some_and(|due| self.is_due(due)) {
                return;
            }
            let Some(conn) = self.conns.get_mut(idx) else { return };
            match conn.queue.pop_front() {
                Some(Waiting::Refused { xid, refusal, received_ns, .. }) => self.answer_refused(cx, idx, xid, refusal, received_ns),
                Some(Waiting::Sync { xid, path, received_ns, .. }) => {
                    let head = Answer::ok(xid, self.applied, received_ns);
                    replies::answer(&mut self.conns, &mut self.stats, cx, idx, head, |r| {
                        r.put_buffer(path.as_deref());
                    });
                }
                Some(Waiting::Attach { timeout_ms, with_read_only, .. }) => self.answer_attach(cx, idx, timeout_ms, with_read_only),
                Some(Waiting::Later { xid, op, len, received_ns }) => {
                    let mut body = std::mem::take(&mut self.scratch);
                    body.clear();
                    body.extend(conn.held.drain(..len));
                    self.execute(cx, idx, xid, op, &body, received_ns);
                    self.scratch = body;
                }
                Some(Waiting::Write { .. } | Waiting::Forwarded { .. }) | None => return,
            }
        }
    }

    fn answer_refused(&mut self, cx: &mut Cx<'_, M>, idx: u32, xid: i32, refusal: Refused, received_ns: u64) {
        let (conns, stats, zxid) = (&mut self.conns, &mut self.stats, self.applied);
        match refusal {
            Refused::Code(code) => {
                replies::answer(conns, stats, cx, idx, Answer::error(xid, zxid, code, received_ns), |_| {});
            }
            Refused::Last(code) => {
                replies::answer(conns, stats, cx, idx, Answer::error(xid, replies::NO_ZXID, code, received_ns).last(), |_| {});
            }
            // ZooKeeper's clients are never shown SESSIONMOVED: the connection ends, and the client goes on with the session elsewhere (T37).
            Refused::Moved | Refused::HangUp => replies::close(conns, cx.fx, idx),
            Refused::Multi { failed_idx, code, count } => {
                let head = Answer::ok(xid, zxid, received_ns);
                replies::answer(conns, stats, cx, idx, head, |reply| reply.put_failed_multi(count, failed_idx, code));
            }
        }
    }

    /// The deliberate fault `reply-before-watch`: the answer leaves before the change is applied.
    fn answer_early(&mut self, cx: &mut Cx<'_, M>, idx: u32, zxid: Zxid) {
        let Some(Waiting::Write { xid, received_ns, .. }) = self.conns.get_mut(idx).and_then(|c| c.queue.pop_front()) else { return };
        let head = Answer::ok(xid, zxid, received_ns);
        replies::answer(&mut self.conns, &mut self.stats, cx, idx, head, |r| {
            r.put_stat(&Stat::default());
        });
    }
}

/// The result of one operation of a multi that went through.
fn put_multi_result(reply: &mut Reply<'_>, op: OpCode, result: Option<&Done<'_>>) {
    let stat = result.and_then(|r| r.stat).unwrap_or_default();
    match (op, result.map(|r| r.op)) {
        (OpCode::Create, Some(OpRef::Create { path, .. })) => reply.put_multi_created(CreateOp::Create, path, &stat),
        (_, Some(OpRef::Create { path, .. })) => reply.put_multi_created(CreateOp::Create2, path, &stat),
        (_, Some(OpRef::SetData { .. })) => reply.put_multi_set(&stat),
        (_, Some(_)) => reply.put_multi_deleted(),
        (_, None) => reply.put_multi_checked(),
    }
}
