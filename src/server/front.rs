//! A front: owns client connections, cuts what they send into frames, and keeps each within its bounds.
//!
//! Guarantees: a frame's length is believed only within `frame_bytes_max` and no memory is reserved for it before its bytes
//! are there; a connection has at most [`CONN_OUTSTANDING_MAX`] unanswered requests and a bounded backlog of unsent bytes,
//! else its socket isn't read (and past the hard bound it is closed); requests pipelined behind the connect request wait for
//! the session. Leaves to others: sockets (the host), decoding of bodies and every decision (the keeper).

use crate::base::ids::{ConnId, FrontId};
use crate::base::limits::{CONN_OUTSTANDING_MAX, CONN_UNSENT_HARD_BYTES_MAX, CONN_UNSENT_SOFT_BYTES_MAX, WORD_BYTES};
use crate::base::time::MonoMs;
use crate::server::mail::{Burst, Item, Then};
use crate::wire::client::frame::Foreign;
use crate::wire::four_letter::{STMK_MASK_BYTES, Word};
use hashbrown::HashMap;
use std::net::SocketAddr;

/// Memory that a connection keeps for the beginning of a frame once it has none.
const PARTIAL_BYTES_KEPT_MAX: usize = 4096;

/// Bounds of a front.
#[derive(Clone, Copy, Debug)]
pub struct FrontOptions {
    /// Largest frame (`jute.maxbuffer`).
    pub frame_bytes_max: usize,
    /// Life of a connection without a session.
    pub sessionless_timeout_ms: u64,
    /// How long a client may leave replies unread while more are waiting.
    pub stuck_timeout_ms: u64,
}

/// What the host does with a socket next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Read on.
    Read,
    /// Don't read until a later call says so.
    Pause,
    /// Close it; the text says why (`None`: the normal end of it).
    Close(Option<String>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing complete came yet.
    Fresh,
    /// The connect request is with the keeper.
    Connecting,
    /// It has a session.
    Open,
    /// It asked a four-letter word; nothing more is read.
    Worded,
}

#[derive(Debug)]
struct Conn {
    phase: Phase,
    peer: SocketAddr,
    opened: MonoMs,
    /// The session timeout that it asked for; 0 before it did.
    asked_timeout_ms: u32,
    /// Bytes that came and aren't handed on yet.
    partial: Vec<u8>,
    outstanding: usize,
    unsent: usize,
    /// How much may be unsent before it is closed.
    unsent_max: usize,
    /// The keeper waits to hear that the client took what it was sent.
    report: bool,
    /// Since when the client takes nothing although something waits.
    stuck_since: Option<MonoMs>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Front {
    id: FrontId,
    options: FrontOptions,
    next_serial: u64,
    /// Requests of all connections that are handed on and not answered.
    unanswered: usize,
    conns: HashMap<ConnId, Conn>,
}

impl Front {
    /// A front without connections.
    #[must_use]
    pub fn new(id: FrontId, options: FrontOptions) -> Front {
        Front { id, options, next_serial: 1, unanswered: 0, conns: HashMap::new() }
    }

    /// Number of open connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Whether a request of any connection waits for its answer.
    #[must_use]
    pub fn owes_answers(&self) -> bool {
        self.unanswered > 0
    }

    /// Whether the connection waits for an answer.
    #[must_use]
    pub fn waits(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|state| state.outstanding > 0)
    }

    /// A client connected.
    pub fn on_accept(&mut self, peer: SocketAddr, now: MonoMs, burst: &mut Burst) -> ConnId {
        // On a socket of both families an IPv4 client has a mapped address. From here on it has the one that it knows: limits by
        // address, log lines and words then mean the same one.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let conn = ConnId::new(self.id, self.next_serial);
        self.next_serial += 1;
        let fresh = Conn {
            phase: Phase::Fresh,
            peer,
            opened: now,
            asked_timeout_ms: 0,
            partial: Vec::new(),
            outstanding: 0,
            unsent: 0,
            unsent_max: CONN_UNSENT_HARD_BYTES_MAX,
            report: false,
            stuck_since: None,
        };
        self.conns.insert(conn, fresh);
        burst.items.push(Item::Opened { conn, peer });
        conn
    }

    /// The socket is closed, by whomever.
    pub fn on_closed(&mut self, conn: ConnId, burst: &mut Burst) {
        if let Some(state) = self.conns.remove(&conn) {
            self.unanswered -= state.outstanding;
            burst.items.push(Item::Closed { conn });
        }
    }

    /// Bytes came in. Every complete frame goes into `burst`.
    pub fn on_bytes(&mut self, conn: ConnId, bytes: &[u8], burst: &mut Burst) -> Verdict {
        let Some(state) = self.conns.get_mut(&conn) else { return Verdict::Close(None) };
        let before = state.outstanding;
        let verdict = if state.partial.is_empty() {
            match cut(state, conn, bytes, &self.options, burst) {
                Ok(used) => {
                    state.partial.extend_from_slice(&bytes[used..]);
                    state.verdict()
                }
                Err(verdict) => verdict,
            }
        } else {
            state.partial.extend_from_slice(bytes);
            Self::cut_partial(state, conn, &self.options, burst)
        };
        self.unanswered += state.outstanding - before;
        verdict
    }

    /// The host took `replies` replies of `conn` from the outbox; `unsent` bytes of it are still to be sent.
    pub fn on_answered(&mut self, conn: ConnId, replies: u32, then: Then, unsent: usize, now: MonoMs, burst: &mut Burst) -> Verdict {
        let Some(state) = self.conns.get_mut(&conn) else { return Verdict::Close(None) };
        let answered = state.outstanding.min(replies as usize);
        state.outstanding -= answered;
        self.unanswered -= answered;
        state.report |= then == Then::Report;
        if then == Then::SessionUp {
            state.phase = Phase::Open;
        }
        self.on_unsent(conn, unsent, now, burst)
    }

    /// `unsent` bytes for `conn` are still to be sent.
    pub fn on_unsent(&mut self, conn: ConnId, unsent: usize, now: MonoMs, burst: &mut Burst) -> Verdict {
        let Some(state) = self.conns.get_mut(&conn) else { return Verdict::Close(None) };
        if unsent == 0 {
            state.stuck_since = None;
        } else if unsent < state.unsent || state.stuck_since.is_none() {
            state.stuck_since = Some(now);
        }
        // One answer may be longer than all that a client may leave lying: it gets the time to take it, if it takes any.
        if unsent <= CONN_UNSENT_SOFT_BYTES_MAX {
            state.unsent_max = CONN_UNSENT_HARD_BYTES_MAX;
        } else if state.unsent <= CONN_UNSENT_SOFT_BYTES_MAX {
            state.unsent_max = state.unsent_max.max(unsent.saturating_add(CONN_UNSENT_HARD_BYTES_MAX));
        }
        state.unsent = unsent;
        if state.report && unsent <= CONN_UNSENT_SOFT_BYTES_MAX {
            state.report = false;
            burst.items.push(Item::Ready { conn });
        }
        if unsent > state.unsent_max {
            return Verdict::Close(Some(format!("the client leaves {unsent} bytes of replies and events unread")));
        }
        if state.partial.is_empty() {
            return state.verdict();
        }
        let before = state.outstanding;
        let verdict = Self::cut_partial(state, conn, &self.options, burst);
        self.unanswered += state.outstanding - before;
        verdict
    }

    /// The client took something of what was sent, be it only of what its socket holds. While it does that slowly its socket may be unread,
    /// and its pings lie there: this speaks for them. The host says so a few times a second, not more.
    pub fn on_progress(&mut self, conn: ConnId, now: MonoMs, burst: &mut Burst) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if state.stuck_since.is_some() {
            state.stuck_since = Some(now);
        }
        if state.phase == Phase::Open {
            burst.items.push(Item::Heard { conn });
        }
    }

    /// Connections to close because they had no session for too long, or take nothing.
    pub fn on_tick(&mut self, now: MonoMs, out: &mut Vec<(ConnId, String)>) {
        for (conn, state) in &self.conns {
            // From its connect request on a client has the time of the session that it asks for, however slow the log or the quorum is.
            let patience_ms = self.options.sessionless_timeout_ms.max(u64::from(state.asked_timeout_ms));
            if state.phase != Phase::Open && now.since(state.opened) > patience_ms {
                out.push((*conn, format!("no session within {patience_ms} ms")));
            } else if state.stuck_since.is_some_and(|since| now.since(since) > self.options.stuck_timeout_ms) {
                let (unsent, ms) = (state.unsent, self.options.stuck_timeout_ms);
                out.push((*conn, format!("the client took none of {unsent} waiting bytes for {ms} ms")));
            }
        }
    }

    /// Address of a connection's client.
    #[must_use]
    pub fn peer(&self, conn: ConnId) -> Option<SocketAddr> {
        self.conns.get(&conn).map(|c| c.peer)
    }

    fn cut_partial(state: &mut Conn, conn: ConnId, options: &FrontOptions, burst: &mut Burst) -> Verdict {
        let mut partial = std::mem::take(&mut state.partial);
        let cut = cut(state, conn, &partial, options, burst);
        match cut {
            Ok(used) => {
                partial.drain(..used);
                if partial.is_empty() {
                    partial.shrink_to(PARTIAL_BYTES_KEPT_MAX);
                }
                state.partial = partial;
                state.verdict()
            }
            Err(verdict) => verdict,
        }
    }
}

impl Conn {
    /// Whether more may be taken from it now.
    fn may_take(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Open)
            && self.outstanding < CONN_OUTSTANDING_MAX
            && self.unsent <= CONN_UNSENT_SOFT_BYTES_MAX
    }

    fn verdict(&self) -> Verdict {
        if self.may_take() { Verdict::Read } else { Verdict::Pause }
    }
}

/// Hands on every complete frame at the beginning of `bytes` that the connection's bounds allow. Returns the bytes used up.
fn cut(state: &mut Conn, conn: ConnId, bytes: &[u8], options: &FrontOptions, burst: &mut Burst) -> Result<usize, Verdict> {
    let mut used = 0;
    while state.may_take() {
        let rest = &bytes[used..];
        let Some(head) = rest.first_chunk::<4>() else { break };
        if state.phase == Phase::Fresh
            && let Some(word) = Word::recognise(rest)
        {
            return on_word(state, conn, word, rest, burst).map(|len| used + len);
        }
        let raw = i32::from_be_bytes(*head);
        let Some(len) = usize::try_from(raw).ok().filter(|len| *len <= options.frame_bytes_max) else {
            return Err(Verdict::Close(Some(bad_length(raw, options.frame_bytes_max))));
        };
        let Some(frame) = rest.get(4..4 + len) else { break };
        on_frame(state, conn, frame, burst)?;
        used += 4 + len;
    }
    Ok(used)
}

/// `stmk` is followed by the mask; every other word stands alone. Returns the bytes used up: none while the mask isn't there.
fn on_word(state: &mut Conn, conn: ConnId, word: Word, rest: &[u8], burst: &mut Burst) -> Result<usize, Verdict> {
    let mut used = WORD_BYTES;
    let mut argument = 0;
    match word {
        Word::TelnetBreak => return Err(Verdict::Close(None)),
        Word::Stmk => {
            let Some(mask) = rest[used..].first_chunk::<STMK_MASK_BYTES>() else { return Ok(0) };
            argument = i64::from_be_bytes(*mask);
            used += STMK_MASK_BYTES;
        }
        _ => {}
    }
    state.phase = Phase::Worded;
    burst.items.push(Item::Word { conn, word, argument });
    Ok(used)
}

fn bad_length(len: i32, frame_bytes_max: usize) -> String {
    let hint = Foreign::recognise(len).map_or_else(String::new, |foreign| format!(" (this looks like {})", foreign.name()));
    format!("a frame of {len} bytes{hint}; jute.maxbuffer allows 0 to {frame_bytes_max}")
}

fn on_frame(state: &mut Conn, conn: ConnId, frame: &[u8], burst: &mut Burst) -> Result<(), Verdict> {
    let from = burst.bytes.len();
    if state.phase == Phase::Fresh {
        state.asked_timeout_ms = asked_timeout_ms(frame);
        burst.bytes.extend_from_slice(frame);
        burst.items.push(Item::Connect { conn, body: from..burst.bytes.len() });
        state.phase = Phase::Connecting;
        return Ok(());
    }
    let (Some((xid, rest)), len) = (frame.split_first_chunk::<4>(), frame.len()) else {
        return Err(short_frame(frame.len()));
    };
    let Some((op, body)) = rest.split_first_chunk::<4>() else { return Err(short_frame(len)) };
    burst.bytes.extend_from_slice(body);
    burst.items.push(Item::Request { conn, xid: i32::from_be_bytes(*xid), op: i32::from_be_bytes(*op), body: from..burst.bytes.len() });
    state.outstanding += 1;
    Ok(())
}

/// The session timeout in a connect request: behind the protocol's version and the last zxid seen. The keeper decodes the rest.
fn asked_timeout_ms(frame: &[u8]) -> u32 {
    let field = frame.get(12..).and_then(<[u8]>::first_chunk::<4>);
    field.and_then(|bytes| u32::try_from(i32::from_be_bytes(*bytes)).ok()).unwrap_or(0)
}

fn short_frame(len: usize) -> Verdict {
    Verdict::Close(Some(format!("a frame of {len} bytes; a request has a header of 8")))
}

#[cfg(test)]
mod tests;
