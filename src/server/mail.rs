//! What the roles hand each other: buffers, not messages. A burst of requests one way, a buffer of encoded replies the other.
//!
//! A front copies the body of each complete frame into a [`Burst`] once; the keeper decodes it there, in place. The keeper
//! encodes replies and events into the [`Outbox`] of the front that owns the connection, in the order in which that
//! connection must see them; the front sends each connection's bytes of a turn at once. Mail of one front to the keeper, and
//! of the keeper to one front, is never reordered: hosts keep it in order.

use crate::base::ids::{ConnId, FrontId};
use crate::wire::four_letter::Word;
use std::net::SocketAddr;
use std::ops::Range;

/// Bytes in a burst, as a range of [`Burst::bytes`].
pub type Body = Range<usize>;

/// One thing that happened on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A client connected.
    Opened {
        /// Its connection.
        conn: ConnId,
        /// Its address as seen at accept.
        peer: SocketAddr,
    },
    /// The first frame: a connect request.
    Connect {
        /// On which connection.
        conn: ConnId,
        /// The whole frame without its length.
        body: Body,
    },
    /// A later frame.
    Request {
        /// On which connection.
        conn: ConnId,
        /// The client's number of it, as sent.
        xid: i32,
        /// The operation, as sent.
        op: i32,
        /// What follows the header.
        body: Body,
    },
    /// A four-letter word instead of a connect request.
    Word {
        /// On which connection.
        conn: ConnId,
        /// Which word.
        word: Word,
        /// For `stmk`: the mask that follows it; else 0.
        argument: i64,
    },
    /// What the keeper asked to be told with [`Then::Report`]: the client has taken most of what waited for it.
    Ready {
        /// Which.
        conn: ConnId,
    },
    /// The client took something of what waits for it: it is there, although its requests and pings may be unread.
    Heard {
        /// Which.
        conn: ConnId,
    },
    /// The connection is gone; nothing more comes from it and nothing may be sent to it.
    Closed {
        /// Which.
        conn: ConnId,
    },
}

/// Which sockets the keeper wants unread for now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Hold {
    /// None.
    #[default]
    Nothing,
    /// Much is under way: those of clients that wait for an answer. The others are heard, in small pieces.
    Waiting,
    /// All of them: nobody is heard.
    All,
}

/// Read at once from one connection while much is under way: thousands of them may have something to say.
const PIECE_BYTES: usize = 4096;

impl Hold {
    /// How many of `bytes` may be read at once from a connection, by whether it waits for an answer. `None`: it stays unread.
    #[must_use]
    pub fn allows(self, waits: bool, bytes: usize) -> Option<usize> {
        match self {
            Hold::Nothing => Some(bytes),
            Hold::Waiting => (!waits).then_some(bytes.min(PIECE_BYTES)),
            Hold::All => None,
        }
    }
}

/// What a front hands to the keeper.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    /// Bodies of the frames, one behind the other.
    pub bytes: Vec<u8>,
    /// What happened, in order.
    pub items: Vec<Item>,
    /// When the first of it was read (nanoseconds of the host's monotonic clock).
    pub received_ns: u64,
}

impl Burst {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets everything, keeps the memory (within reason).
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BURST_BYTES_KEPT_MAX);
    }
}

/// Memory that an emptied burst or outbox keeps.
const BURST_BYTES_KEPT_MAX: usize = 4 << 20;

/// What happens to the connection after a part was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// It goes on.
    Keep,
    /// It has a session now: the front reads on.
    SessionUp,
    /// The front says [`Item::Ready`] once little of what was sent to it is left; until then the keeper answers nothing more.
    Report,
    /// The bytes are sent, then it is closed.
    Close,
}

/// A run of bytes for one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// For whom.
    pub conn: ConnId,
    /// How many of the outbox's bytes, following those of the part before.
    pub len: usize,
    /// How many requests it answers (events answer none).
    pub replies: u32,
    /// What follows.
    pub then: Then,
}

/// What the keeper hands to one front.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// Encoded replies and events, one behind the other.
    pub bytes: Vec<u8>,
    /// Whom they are for, in order; the lengths add up to `bytes`.
    pub parts: Vec<Part>,
}

impl Outbox {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Forgets everything, keeps the memory (within reason).
    pub fn clear(&mut self) {
        self.parts.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BURST_BYTES_KEPT_MAX);
    }

    /// Books everything after the first `from` bytes for `conn`, merged into the part before where that is for it too.
    pub fn book(&mut self, conn: ConnId, from: usize, replies: u32, then: Then) {
        let len = self.bytes.len() - from;
        if let Some(last) = self.parts.last_mut()
            && last.conn == conn
            && last.then == Then::Keep
        {
            last.len += len;
            last.replies += replies;
            last.then = then;
            return;
        }
        self.parts.push(Part { conn, len, replies, then });
    }
}

/// One [`Outbox`] for each front.
#[derive(Clone, Debug, Default)]
pub struct Outboxes(Vec<Outbox>);

impl Outboxes {
    /// Empty ones for `fronts` fronts.
    #[must_use]
    pub fn new(fronts: usize) -> Outboxes {
        Outboxes((0..fronts).map(|_| Outbox::default()).collect())
    }

    /// That of one front.
    ///
    /// # Panics
    /// If there is no such front: a connection's id comes from one that exists.
    pub fn of(&mut self, front: FrontId) -> &mut Outbox {
        &mut self.0[usize::from(front.0)]
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (FrontId, &mut Outbox)> {
        (0u16..).map(FrontId).zip(self.0.iter_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_wait_for_nothing_are_heard_while_much_is_under_way() {
        let allowed = [Hold::Nothing, Hold::Waiting, Hold::All].map(|hold| (hold.allows(false, 1 << 20), hold.allows(true, 1 << 20)));
        assert_eq!(allowed, [(Some(1 << 20), Some(1 << 20)), (Some(PIECE_BYTES), None), (None, None)]);
        assert_eq!(Hold::Waiting.allows(false, 100), Some(100));
    }

    #[test]
    fn neighbouring_parts_of_a_connection_merge_until_it_closes() {
        let (a, b) = (ConnId::new(FrontId(0), 1), ConnId::new(FrontId(0), 2));
        let mut out = Outbox::default();
        for (conn, then) in [(a, Then::Keep), (a, Then::Close), (a, Then::Keep), (b, Then::Keep)] {
            let from = out.bytes.len();
            out.bytes.extend_from_slice(b"xy");
            out.book(conn, from, 1, then);
        }
        let lens: Vec<_> = out.parts.iter().map(|p| (p.conn, p.len, p.replies, p.then)).collect();
        assert_eq!(lens, [(a, 4, 2, Then::Close), (a, 2, 1, Then::Keep), (b, 2, 1, Then::Keep)]);
    }
}
