//! What really happened: every committed transaction, every request and what came back, per connection in order.

use super::ledger::Ledger;
use super::presence::Presence;
use super::protocol::Protocol;
use crate::base::ids::{SessionId, Zxid};
use crate::model::acl::Identity;
use crate::model::membership::Membership;
use crate::model::ops::OpBuf;
use crate::model::txn::TxnHead;
use crate::model::watch_kind::EventType;
use std::rc::Rc;

/// One transaction, as its record says.
#[derive(Clone, Debug)]
pub struct Txn {
    /// Who and when.
    pub head: TxnHead,
    /// What.
    pub ops: OpBuf,
    /// Events it must cause, filled by the replay.
    pub events: Vec<Caused>,
}

/// An event that a transaction causes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caused {
    /// What.
    pub event: EventType,
    /// Where.
    pub path: Vec<u8>,
    /// The list that decides who may know of it; `None` when the node came and went within the transaction.
    pub acl: Option<Vec<u8>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// From the header.
    pub zxid: i64,
    /// From the header.
    pub err: i32,
    /// Behind the header.
    pub body: Vec<u8>,
}

/// One request and its fate.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Index of the connection it was sent on.
    pub conn: usize,
    /// Whose.
    pub session: SessionId,
    /// The client's number.
    pub xid: i32,
    /// As sent.
    pub op: i32,
    /// Behind the header.
    pub body: Vec<u8>,
    /// What the connection was known as.
    pub identities: Rc<Vec<Identity>>,
    /// What the session had seen when it was sent.
    pub seen: Zxid,
    /// What anybody had seen when it was sent.
    pub seen_by_anybody: Zxid,
    /// `None`: the outcome is unknown.
    pub reply: Option<Reply>,
    /// For setWatches: the events that must come at once, filled by the replay.
    pub catch_up: Vec<(EventType, Vec<u8>)>,
}

/// Something that arrived on a connection.
#[derive(Clone, Debug)]
pub enum Arrived {
    /// The answer to a request, by index.
    Reply(usize),
    /// A notification.
    Event {
        /// From the header.
        zxid: i64,
        /// What.
        event: EventType,
        /// Where.
        path: Vec<u8>,
    },
}

/// One connection of a client.
#[derive(Clone, Debug)]
pub struct ConnLog {
    /// Which client.
    pub client: usize,
    /// Its session, once it has one.
    pub session: SessionId,
    /// In order.
    pub arrived: Vec<Arrived>,
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct History {
    /// All requests.
    pub asked: Vec<Asked>,
    /// All connections.
    pub conns: Vec<ConnLog>,
    /// Sessions that were told to be gone, and what was committed when they were.
    pub told_gone: Vec<(SessionId, Zxid)>,
    /// Requests before this one were judged already.
    pub judged_asked: usize,
    /// Connections before this one were judged already.
    pub judged_conns: usize,
    /// The highest zxid in any reply.
    pub seen_by_anybody: Zxid,
    /// Who holds what, and what is committed.
    pub ledger: Ledger,
    /// Who was heard when.
    pub presence: Presence,
    /// What servers say to each other.
    pub protocol: Protocol,
}

impl History {
    /// Nothing happened yet.
    #[must_use]
    pub fn new(members: Membership) -> History {
        History {
            asked: Vec::new(),
            conns: Vec::new(),
            told_gone: Vec::new(),
            judged_asked: 0,
            judged_conns: 0,
            seen_by_anybody: Zxid::ZERO,
            ledger: Ledger::new(members),
            presence: Presence::default(),
            protocol: Protocol::default(),
        }
    }

    /// The committed transactions, in order.
    #[must_use]
    pub fn txns(&self) -> &[Txn] {
        &self.ledger.txns
    }

    /// The transaction `zxid`.
    #[must_use]
    pub fn txn(&self, zxid: Zxid) -> Option<&Txn> {
        let found = self.txns().binary_search_by_key(&zxid, |t| t.head.zxid);
        found.ok().map(|idx| &self.txns()[idx])
    }

    /// The committed transaction before `zxid`.
    #[must_use]
    pub fn before(&self, zxid: Zxid) -> Zxid {
        let idx = self.txns().partition_point(|t| t.head.zxid < zxid);
        self.txns()[..idx].last().map_or(Zxid::ZERO, |t| t.head.zxid)
    }
}
