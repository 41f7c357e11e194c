//! Encoding answers and events into the outbox of the front that owns the connection, and booking them.

use super::conns::{Conn, Conns, Phase, WriteKind};
use super::stats::Stats;
use super::{Cx, Effects};
use crate::base::ids::Zxid;
use crate::base::limits::CONN_UNSENT_SOFT_BYTES_MAX;
use crate::base::memory::BatchMemory;
use crate::base::time::Now;
use crate::model::error_code::ErrorCode;
use crate::model::request::Connected;
use crate::model::watch_kind::EventType;
use crate::server::mail::Then;
use crate::wire::client::connect::write_connected;
use crate::wire::client::event::write_event;
use crate::wire::client::reply::{Reply, write_sasl_failed};

/// In the header of an answer to what is no operation at all: ZooKeeper never asks its state for it.
pub(super) const NO_ZXID: Zxid = Zxid(u64::MAX);

/// The head of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// The client's number.
    pub(super) xid: i32,
    /// What the header says the server has applied.
    pub(super) zxid: Zxid,
    /// The error, if it is one.
    pub(super) err: Option<ErrorCode>,
    /// When the request was read.
    pub(super) received_ns: u64,
    /// What follows for the connection.
    pub(super) then: Then,
}

impl Answer {
    /// A good answer.
    pub(super) fn ok(xid: i32, zxid: Zxid, received_ns: u64) -> Answer {
        Answer { xid, zxid, err: None, received_ns, then: Then::Keep }
    }

    /// An error.
    pub(super) fn error(xid: i32, zxid: Zxid, code: ErrorCode, received_ns: u64) -> Answer {
        Answer { xid, zxid, err: Some(code), received_ns, then: Then::Keep }
    }

    /// The same, and the connection is closed after it.
    pub(super) fn last(self) -> Answer {
        Answer { then: Then::Close, ..self }
    }
}

/// Milliseconds since a request was read.
pub(super) fn latency_ms(now: Now, received_ns: u64) -> u64 {
    now.mono_ns.saturating_sub(received_ns) / 1_000_000
}

/// Whether a connection has now been answered so much in one turn that the client must take it before more is encoded: a
/// thousand pipelined reads of large nodes would otherwise fill the memory at once.
fn is_too_much(conn: &mut Conn, turn: u64, len: usize) -> bool {
    let (of, bytes) = conn.answered_in_turn;
    conn.answered_in_turn = (turn, if of == turn { bytes + len } else { len });
    let begins = conn.answered_in_turn.1 > CONN_UNSENT_SOFT_BYTES_MAX && !conn.congested;
    conn.congested |= begins;
    begins
}

/// Sends one answer; `body` writes what follows the header (nothing for errors).
pub(super) fn answer<M: BatchMemory>(
    conns: &mut Conns,
    stats: &mut Stats,
    cx: &mut Cx<'_, M>,
    idx: u32,
    answer: Answer,
    body: impl FnOnce(&mut Reply<'_>),
) {
    answer_if_it_fits(conns, stats, cx, idx, answer, |reply| {
        body(reply);
        true
    });
}

/// As [`answer`]; nothing is sent, and false returned, if `body` says false because the answer would be too long.
pub(super) fn answer_if_it_fits<M: BatchMemory>(
    conns: &mut Conns,
    stats: &mut Stats,
    cx: &mut Cx<'_, M>,
    idx: u32,
    answer: Answer,
    body: impl FnOnce(&mut Reply<'_>) -> bool,
) -> bool {
    let Some(conn) = conns.get_mut(idx).filter(|conn| conn.phase != Phase::Closing) else { return true };
    let outbox = cx.fx.outboxes.of(conn.id.front());
    let from = outbox.bytes.len();
    let mut reply = Reply::begin(&mut outbox.bytes, answer.xid, answer.zxid, answer.err);
    if !body(&mut reply) {
        return false;
    }
    reply.finish();
    let len = outbox.bytes.len() - from;
    let then = if answer.then == Then::Keep && is_too_much(conn, stats.turns, len) { Then::Report } else { answer.then };
    outbox.book(conn.id, from, 1, then);
    if then == Then::Close {
        conn.phase = Phase::Closing;
    }
    let latency = latency_ms(cx.now, answer.received_ns);
    conn.stats.sent += 1;
    let shown = if answer.zxid == NO_ZXID { conn.stats.last_zxid } else { answer.zxid };
    conn.stats.answer(latency, shown, cx.now.mono.0);
    stats.answer(latency);
    stats.respond(len as u64);
    true
}

/// Sends the answer to a SASL step that can't succeed, and closes.
pub(super) fn sasl_failed<M: BatchMemory>(conns: &mut Conns, stats: &mut Stats, cx: &mut Cx<'_, M>, idx: u32, xid: i32, received_ns: u64) {
    let Some(conn) = conns.get_mut(idx) else { return };
    let outbox = cx.fx.outboxes.of(conn.id.front());
    let from = outbox.bytes.len();
    write_sasl_failed(&mut outbox.bytes, xid, ErrorCode::AuthFailed);
    stats.respond((outbox.bytes.len() - from) as u64);
    stats.answer(latency_ms(cx.now, received_ns));
    conn.stats.sent += 1;
    conn.phase = Phase::Closing;
    outbox.book(conn.id, from, 1, Then::Close);
}

/// Sends the answer to a connect request. A session that is gone closes the connection.
pub(super) fn connected<M>(conns: &mut Conns, stats: &mut Stats, fx: &mut Effects<M>, idx: u32, answer: &Connected, with_read_only: bool) {
    let Some(conn) = conns.get_mut(idx) else { return };
    let outbox = fx.outboxes.of(conn.id.front());
    let from = outbox.bytes.len();
    write_connected(&mut outbox.bytes, answer, with_read_only.then_some(conn.local.is_some()));
    stats.respond((outbox.bytes.len() - from) as u64);
    conn.stats.sent += 1;
    let alive = answer.timeout_ms > 0;
    conn.phase = if alive { Phase::Ready } else { Phase::Closing };
    // However long the handshake took, what is heard counts from here on.
    (conn.timeout_ms, conn.heard) = (answer.timeout_ms, None);
    outbox.book(conn.id, from, 0, if alive { Then::SessionUp } else { Then::Close });
}

/// Sends one event.
pub(super) fn event<M>(
    conns: &mut Conns,
    stats: &mut Stats,
    fx: &mut Effects<M>,
    idx: u32,
    zxid: Option<Zxid>,
    kind: EventType,
    path: &[u8],
) {
    let Some(conn) = conns.get_mut(idx) else { return };
    if conn.phase != Phase::Ready {
        return;
    }
    let outbox = fx.outboxes.of(conn.id.front());
    let from = outbox.bytes.len();
    write_event(&mut outbox.bytes, zxid, kind, path);
    outbox.book(conn.id, from, 0, Then::Keep);
    conn.stats.sent += 1;
    stats.sent += 1;
    stats.events[kind as usize - 1] += 1;
}

/// Sends raw text (a four-letter word's answer) and closes.
pub(super) fn text<M>(conns: &mut Conns, stats: &mut Stats, fx: &mut Effects<M>, idx: u32, text: &str) {
    let Some(conn) = conns.get_mut(idx) else { return };
    let outbox = fx.outboxes.of(conn.id.front());
    let from = outbox.bytes.len();
    outbox.bytes.extend_from_slice(text.as_bytes());
    outbox.book(conn.id, from, 0, Then::Close);
    conn.phase = Phase::Closing;
    stats.sent += 1;
}

/// Closes a connection without another byte.
pub(super) fn close<M>(conns: &mut Conns, fx: &mut Effects<M>, idx: u32) {
    let Some(conn) = conns.get_mut(idx) else { return };
    if conn.phase != Phase::Closing {
        conn.phase = Phase::Closing;
        let outbox = fx.outboxes.of(conn.id.front());
        let from = outbox.bytes.len();
        outbox.book(conn.id, from, 0, Then::Close);
    }
}

/// Name of a write in notes.
pub(super) fn write_name(kind: &WriteKind) -> &'static str {
    match kind {
        WriteKind::Session { .. } => "createSession",
        WriteKind::Single(op) => op.short_name(),
        WriteKind::Multi(_) => "MULT",
        WriteKind::Close => "CLOS",
    }
}
