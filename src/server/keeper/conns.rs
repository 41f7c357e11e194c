//! The keeper's view of client connections: who is behind each, and what of theirs is still to be answered, in order.
//!
//! Replies leave a connection in the order of its requests (T4). A request whose answer isn't known yet stands in the
//! connection's queue, and everything behind it waits: reads as copies of their bytes, refused writes as the zxid at which
//! they were judged. Connections are addressed by a dense index, which the watch table uses too.

use crate::base::ids::{ConnId, SessionId, Zxid};
use crate::base::limits::CONN_OUTSTANDING_MAX;
use crate::base::time::MonoMs;
use crate::invariant;
use crate::model::acl::Identity;
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// How a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// No connect request yet.
    Fresh,
    /// Its session is being created, or asked for.
    Joining,
    /// It has a session.
    Ready,
    /// It was told to close; whatever still comes from it is ignored.
    Closing,
}

/// How a write is answered once it is applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteKind {
    /// A new session: the answer to the connect request.
    Session {
        /// In the form of the request: with the read-only byte or without.
        with_read_only: bool,
    },
    /// One operation.
    Single(OpCode),
    /// Several; checks leave no change but have a result.
    Multi(Box<[OpCode]>),
    /// The session ends.
    Close,
}

/// What a request that was forwarded to the leader asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A transaction.
    Write(WriteKind),
    /// A sync; the path is echoed, null stays null.
    Sync(Option<Box<[u8]>>),
    /// To go on with a session.
    Attach {
        /// In the form of the request: with the read-only byte or without.
        with_read_only: bool,
    },
}

/// What an answer that no transaction brings must wait for: everything that it was judged by is applied here, and a quorum
/// answered a message that the leader sent after it had judged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Due {
    /// The last transaction that it was judged by.
    pub at: Zxid,
    /// The round that must be confirmed; 0 without peers.
    pub beat: u64,
}

/// A request whose turn hasn't come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// Forwarded to the leader, which hasn't judged it yet.
    Forwarded {
        /// The client's number.
        xid: i32,
        /// What it asks for.
        asked: Asked,
        /// For the latency figures.
        received_ns: u64,
    },
    /// Answered when the transaction is applied.
    Write {
        /// Which transaction.
        zxid: Zxid,
        /// The client's number.
        xid: i32,
        /// The form of the answer.
        kind: WriteKind,
        /// For the latency figures.
        received_ns: u64,
    },
    /// A refused write: answered once everything that it was judged against is committed and applied.
    Refused {
        /// When it may be answered.
        due: Due,
        /// The client's number.
        xid: i32,
        /// The error.
        refusal: Refused,
        /// For the latency figures.
        received_ns: u64,
    },
    /// A sync: answered once the server has applied what was proposed when it came, and a quorum confirmed the leader.
    Sync {
        /// When it may be answered.
        due: Due,
        /// The client's number.
        xid: i32,
        /// The path, echoed; null stays null.
        path: Option<Box<[u8]>>,
        /// For the latency figures.
        received_ns: u64,
    },
    /// The answer to a connect request that names a session.
    Attach {
        /// When it may be answered.
        due: Due,
        /// The timeout that counts from now on; `None`: there is no such session.
        timeout_ms: Option<u32>,
        /// In the form of the request: with the read-only byte or without.
        with_read_only: bool,
    },
    /// A read or ping behind one of the others.
    Later {
        /// The client's number.
        xid: i32,
        /// The operation.
        op: OpCode,
        /// Bytes of its body in [`Conn::held`].
        len: usize,
        /// For the latency figures.
        received_ns: u64,
    },
}

impl Waiting {
    /// The last transaction that it was judged by; its own, if it made one. It never falls along a connection's queue.
    #[must_use]
    pub fn judged_at(&self) -> Option<Zxid> {
        match self {
            Waiting::Write { zxid, .. } => Some(*zxid),
            other => other.due().map(|due| due.at),
        }
    }

    /// When it may be answered, if that doesn't depend on a transaction of its own.
    #[must_use]
    pub fn due(&self) -> Option<Due> {
        match self {
            Waiting::Refused { due, .. } | Waiting::Sync { due, .. } | Waiting::Attach { due, .. } => Some(*due),
            Waiting::Forwarded { .. } | Waiting::Write { .. } | Waiting::Later { .. } => None,
        }
    }
}

/// What a refused write is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// One error.
    Code(ErrorCode),
    /// A multi: errors in the places of its operations.
    Multi {
        /// Which one failed.
        failed_idx: usize,
        /// How.
        code: ErrorCode,
        /// How many there are.
        count: usize,
    },
    /// One error whose header names no zxid, after which the connection is closed.
    Last(ErrorCode),
    /// The session speaks through another server now: the connection is closed, without an answer.
    Moved,
    /// No answer: the connection is closed.
    HangUp,
}

/// Counters and last facts of a connection, as `cons` shows them.
#[derive(Clone, Debug, Default)]
pub struct ConnStats {
    /// Frames and words received.
    pub received: u64,
    /// Replies and events sent.
    pub sent: u64,
    /// Wall clock of the accept, milliseconds.
    pub established_ms: i64,
    /// Short name of the last operation.
    pub last_op: Option<&'static str>,
    /// Number of the last request.
    pub last_cxid: i64,
    /// Zxid of the last reply.
    pub last_zxid: Zxid,
    /// Monotonic milliseconds of the last reply.
    pub last_response_ms: u64,
    /// Latencies in milliseconds.
    pub last_latency_ms: u64,
    /// Lowest; meaningless while `answered` is 0.
    pub min_latency_ms: u64,
    /// Highest.
    pub max_latency_ms: u64,
    /// Sum of all.
    pub total_latency_ms: u64,
    /// Requests answered.
    pub answered: u64,
}

impl ConnStats {
    /// Books an answer that took `latency_ms`.
    pub fn answer(&mut self, latency_ms: u64, zxid: Zxid, mono_ms: u64) {
        self.min_latency_ms = if self.answered == 0 { latency_ms } else { self.min_latency_ms.min(latency_ms) };
        self.max_latency_ms = self.max_latency_ms.max(latency_ms);
        self.total_latency_ms += latency_ms;
        self.last_latency_ms = latency_ms;
        self.last_zxid = zxid;
        self.last_response_ms = mono_ms;
        self.answered += 1;
    }

    /// Forgets what `crst` resets.
    pub fn reset(&mut self) {
        let kept = ConnStats { established_ms: self.established_ms, last_cxid: -1, ..ConnStats::default() };
        *self = kept;
    }
}

/// A session that only this server knows: of a client that is served without a leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Local {
    /// Negotiated.
    pub timeout_ms: u32,
    /// It ends then, unless something is heard of it.
    pub deadline: MonoMs,
}

/// A request that isn't looked at yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// The client's number.
    pub xid: i32,
    /// The operation, as sent.
    pub op: i32,
    /// What follows the header.
    pub body: Box<[u8]>,
    /// For the latency figures.
    pub received_ns: u64,
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    /// Its name at the front.
    pub id: ConnId,
    /// The client's address.
    pub peer: SocketAddr,
    /// How it stands.
    pub phase: Phase,
    /// Its session once it is [`Phase::Joining`] or later.
    pub session: SessionId,
    /// Its session is known to this server alone.
    pub local: Option<Local>,
    /// Who it is known as; starts with its address.
    pub identities: Vec<Identity>,
    /// What isn't answered, oldest first.
    pub queue: VecDeque<Waiting>,
    /// Bodies of the queue's [`Waiting::Later`] entries, in their order.
    pub held: VecDeque<u8>,
    /// Requests that wait because the client must first take what it was sent; behind everything in the queue.
    pub parked: VecDeque<Parked>,
    /// Whether requests are parked.
    pub congested: bool,
    /// Bytes of answers in the turn of that number.
    pub answered_in_turn: (u64, usize),
    /// The timeout that it was told.
    pub timeout_ms: u32,
    /// When something was last heard of it, by the clock of the sessions; `None`: nothing since it has a session.
    pub heard: Option<MonoMs>,
    /// For `cons`.
    pub stats: ConnStats,
}

/// All connections, by dense index.
#[derive(Debug, Default)]
pub struct Conns {
    slots: Vec<Option<Conn>>,
    free: Vec<u32>,
    by_id: HashMap<ConnId, u32>,
    per_address: HashMap<IpAddr, usize>,
}

impl Conns {
    /// Adds a fresh connection.
    pub fn add(&mut self, id: ConnId, peer: SocketAddr, established_ms: i64) -> u32 {
        // On a socket of both families an IPv4 client has a mapped address; it is shown and counted as the client knows it.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let identity = Identity { scheme: b"ip".to_vec(), id: peer.ip().to_string().into_bytes() };
        let conn = Conn {
            id,
            peer,
            phase: Phase::Fresh,
            session: SessionId::NONE,
            local: None,
            identities: vec![identity],
            queue: VecDeque::new(),
            held: VecDeque::new(),
            parked: VecDeque::new(),
            congested: false,
            answered_in_turn: (0, 0),
            timeout_ms: 0,
            heard: None,
            stats: ConnStats { established_ms, last_cxid: -1, ..ConnStats::default() },
        };
        *self.per_address.entry(peer.ip()).or_default() += 1;
        let idx = self.free.pop().unwrap_or_else(|| {
            if self.slots.len() == self.slots.capacity() {
                // By a quarter: doubling would leave room for thousands of clients that never come.
                self.slots.reserve_exact(self.slots.len() / 4 + 16);
            }
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer connections than 2^32")
        });
        self.slots[idx as usize] = Some(conn);
        let before = self.by_id.insert(id, idx);
        invariant!(before.is_none(), "{id:?} opened twice");
        idx
    }

    /// Removes one.
    pub fn remove(&mut self, idx: u32) -> Option<Conn> {
        let conn = self.slots.get_mut(idx as usize)?.take()?;
        self.by_id.remove(&conn.id);
        self.free.push(idx);
        let ip = conn.peer.ip();
        if let Some(count) = self.per_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&ip);
            }
        }
        Some(conn)
    }

    /// Index of a connection by its name.
    #[must_use]
    pub fn find(&self, id: ConnId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// The connection at `idx`.
    #[must_use]
    pub fn get(&self, idx: u32) -> Option<&Conn> {
        self.slots.get(idx as usize)?.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, idx: u32) -> Option<&mut Conn> {
        self.slots.get_mut(idx as usize)?.as_mut()
    }

    /// All of them with their index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Conn)> {
        (0u32..).zip(&self.slots).filter_map(|(idx, slot)| Some((idx, slot.as_ref()?)))
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Conn> {
        self.slots.iter_mut().flatten()
    }

    /// Connections from `ip`.
    #[must_use]
    pub fn from_address(&self, ip: IpAddr) -> usize {
        self.per_address.get(&ip).copied().unwrap_or(0)
    }

    /// Every index that may be in use.
    pub fn indexes(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_id.len()
    }
}

impl Conn {
    /// Whether it asked for the end of its session.
    #[must_use]
    pub fn waits_for_its_close(&self) -> bool {
        self.queue.iter().any(|waiting| {
            matches!(
                waiting,
                Waiting::Write { kind: WriteKind::Close, .. } | Waiting::Forwarded { asked: Asked::Write(WriteKind::Close), .. }
            )
        })
    }

    /// Whether it is unread because this server owes it answers, and so can't be heard: much is under way everywhere (`crowded`), or it has as
    /// much unanswered as it may.
    #[must_use]
    pub fn is_unread_for_us(&self, crowded: bool) -> bool {
        self.queue.len() >= CONN_OUTSTANDING_MAX || (crowded && !self.queue.is_empty())
    }

    /// Puts a read or ping behind what waits already.
    pub fn hold(&mut self, xid: i32, op: OpCode, body: &[u8], received_ns: u64) {
        self.held.extend(body);
        self.wait(Waiting::Later { xid, op, len: body.len(), received_ns });
    }

    /// Puts something behind what waits already.
    pub fn wait(&mut self, waiting: Waiting) {
        if self.queue.capacity() == 0 {
            // Most clients have one request outstanding at a time, and the collection's own first step is four.
            self.queue.reserve_exact(1);
        }
        self.queue.push_back(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::FrontId;

    #[test]
    fn indexes_are_reused_and_addresses_counted() {
        let mut conns = Conns::default();
        let peer: SocketAddr = "10.0.0.1:7".parse().unwrap();
        let (a, b) = (ConnId::new(FrontId(0), 1), ConnId::new(FrontId(0), 2));
        let (ia, ib) = (conns.add(a, peer, 0), conns.add(b, peer, 0));
        assert_eq!(conns.from_address(peer.ip()), 2);
        assert!(conns.remove(ia).is_some() && conns.remove(ia).is_none());
        assert_eq!(conns.add(ConnId::new(FrontId(0), 3), peer, 0), ia);
        assert_eq!((conns.find(a), conns.find(b)), (None, Some(ib)));
    }
}
