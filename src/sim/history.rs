//! What really happened: every transaction as it went to the disk, every request and what came back, per connection in order.

use crate::base::ids::{SessionId, Zxid};
use crate::log::batch::{HEADER_BYTES, Header};
use crate::log::record::Records;
use crate::model::acl::Identity;
use crate::model::ops::OpBuf;
use crate::model::txn::TxnHead;
use crate::model::watch_kind::EventType;
use std::collections::BTreeMap;
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
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By zxid, the first at index 0.
    pub txns: Vec<Txn>,
    /// All requests.
    pub asked: Vec<Asked>,
    /// All connections.
    pub conns: Vec<ConnLog>,
    /// Sessions that were told to be gone, and at which length of the log at most.
    pub told_gone: Vec<SessionId>,
    /// Requests before this one were judged already.
    pub judged_asked: usize,
    /// Connections before this one were judged already.
    pub judged_conns: usize,
    /// The highest zxid in any reply.
    pub seen_by_anybody: Zxid,
    /// Batches on durable media, first to last, beyond `durable`.
    landed: BTreeMap<Zxid, Zxid>,
    /// Contiguously durable, as the disk has it.
    pub durable: Zxid,
}

impl History {
    /// A batch is handed to the disk: its records are the truth from now on. Returns its first and last zxid.
    ///
    /// # Errors
    /// When it isn't a whole batch, or doesn't follow what was written before.
    pub fn tap(&mut self, bytes: &[u8]) -> Result<(Zxid, Zxid), String> {
        let header = Header::read(bytes).map_err(|e| format!("an append that is no batch: {e}"))?;
        let body =
            bytes.get(HEADER_BYTES..HEADER_BYTES + header.replicated.body_len as usize).ok_or("a batch is longer than its append")?;
        for record in Records::new(body) {
            let record = record.map_err(|e| format!("a batch with a bad record: {e}"))?;
            let head = record.head();
            if head.zxid.0 != self.txns.len() as u64 + 1 {
                return Err(format!("{} is written after {}", head.zxid, self.txns.len()));
            }
            let mut ops = OpBuf::default();
            record.ops().for_each(|op| ops.push(op));
            self.txns.push(Txn { head, ops, events: Vec::new() });
        }
        Ok((header.replicated.first, header.replicated.last))
    }

    /// A batch is on durable media.
    pub fn landed(&mut self, first: Zxid, last: Zxid) {
        self.landed.insert(first, last);
        while let Some(last) = self.landed.remove(&Zxid(self.durable.0 + 1)) {
            self.durable = last;
        }
    }

    /// A start found everything through `zxid`. What was only readable may still be lost until the server serves.
    ///
    /// # Errors
    /// When something that anybody saw is lost, or something is there that nobody wrote.
    pub fn recovered(&mut self, zxid: Zxid) -> Result<(), String> {
        if zxid < self.seen_by_anybody {
            return Err(format!("acknowledged through {}, recovered through {zxid}: a lost write", self.seen_by_anybody));
        }
        if zxid < self.durable {
            return Err(format!("durable through {}, recovered through {zxid}: a lost write", self.durable));
        }
        if zxid.0 > self.txns.len() as u64 {
            return Err(format!("recovered through {zxid}, but only {} transactions were written", self.txns.len()));
        }
        self.txns.truncate(zxid.0 as usize);
        self.landed.clear();
        Ok(())
    }

    /// The start made everything that was recovered durable: the server serves.
    pub fn serves(&mut self) {
        self.durable = Zxid(self.txns.len() as u64);
    }

    /// The transaction `zxid`.
    #[must_use]
    pub fn txn(&self, zxid: Zxid) -> Option<&Txn> {
        self.txns.get(usize::try_from(zxid.0).ok()?.checked_sub(1)?)
    }
}
