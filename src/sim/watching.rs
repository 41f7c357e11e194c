//! Watches, judged along each connection: a plain table of what is registered, fed with the transactions that really happened.
//!
//! Before a reply with zxid z, exactly the events of all transactions through z have arrived that the connection's watches ask
//! for, in their order; one-shots once, persistent ones always, nothing without READ. What arrives after the last reply is a
//! beginning of what must come.

use super::coverage::Coverage;
use super::history::{Arrived, Asked, Caused, ConnLog, History, Reply};
use super::replay::describe;
use super::workload;
use crate::base::ids::{SessionId, Zxid};
use crate::model::acl::{AclList, Identity, permits, perms};
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::request::{Request, SetWatches};
use crate::model::txn::OpRef;
use crate::model::watch_kind::EventType;
use crate::wire::client::decode::decode_request;
use std::collections::BTreeSet;

type Paths = BTreeSet<Vec<u8>>;

/// What one connection watches.
#[derive(Clone, Debug, Default)]
struct Table {
    data: Paths,
    child: Paths,
    persistent: Paths,
    recursive: Paths,
}

impl Table {
    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.child.is_empty() && self.persistent.is_empty() && self.recursive.is_empty()
    }

    /// Whether the event concerns this connection; uses up its one-shots.
    fn fire(&mut self, event: EventType, path: &[u8]) -> bool {
        if event == EventType::NodeChildrenChanged {
            return self.child.remove(path) | self.persistent.contains(path);
        }
        let mut hit = self.data.remove(path) | self.persistent.contains(path);
        if event == EventType::NodeDeleted {
            hit |= self.child.remove(path);
        }
        hit | self.recursive.iter().any(|above| crate::model::path::is_at_or_below(path, above))
    }

    fn has(&self, kind: i32, path: &[u8]) -> Option<bool> {
        let in_any = |sets: &[&Paths]| sets.iter().any(|set| set.contains(path));
        Some(match kind {
            1 => in_any(&[&self.child]),
            2 => in_any(&[&self.data]),
            3 => in_any(&[&self.child, &self.data, &self.persistent, &self.recursive]),
            4 => in_any(&[&self.persistent]),
            5 => in_any(&[&self.recursive]),
            _ => return None,
        })
    }

    fn remove(&mut self, kind: i32, path: &[u8]) {
        let sets: [(&mut Paths, &[i32]); 4] =
            [(&mut self.child, &[1, 3]), (&mut self.data, &[2, 3]), (&mut self.persistent, &[3, 4]), (&mut self.recursive, &[3, 5])];
        for (set, kinds) in sets {
            if kinds.contains(&kind) {
                set.remove(path);
            }
        }
    }
}

/// An event that must arrive, or may.
struct Due {
    zxid: Zxid,
    event: EventType,
    path: Vec<u8>,
    may_miss: bool,
    /// Its place among those of the same transaction is free.
    unordered: bool,
}

/// Judges every connection since the last call. Everything through `to` was replayed.
///
/// # Errors
/// The first thing that is wrong, in words.
pub fn judge(history: &mut History, skip_acl: bool, to: Zxid, coverage: &mut Coverage) -> Result<(), String> {
    for idx in history.judged_conns..history.conns.len() {
        let conn = history.conns[idx].clone();
        let mut walk = Walk {
            history,
            skip_acl,
            conn: &conn,
            table: Table::default(),
            identities: Vec::new(),
            before_auth: None,
            at: Zxid::ZERO,
            waiting: Vec::new(),
            coverage,
        };
        walk.run(to).map_err(|what| format!("connection {idx} of client {}: {what}", conn.client))?;
    }
    history.judged_conns = history.conns.len();
    Ok(())
}

struct Walk<'a> {
    history: &'a History,
    skip_acl: bool,
    conn: &'a ConnLog,
    table: Table,
    identities: Vec<Identity>,
    /// Before the first authentication since the last reply that has a place in the order.
    before_auth: Option<Vec<Identity>>,
    at: Zxid,
    waiting: Vec<(i64, EventType, Vec<u8>)>,
    coverage: &'a mut Coverage,
}

impl Walk<'_> {
    fn run(&mut self, to: Zxid) -> Result<(), String> {
        for arrived in &self.conn.arrived {
            match arrived {
                Arrived::Event { zxid, event, path } => {
                    self.coverage.hit("event");
                    self.waiting.push((*zxid, *event, path.clone()));
                }
                Arrived::Reply(idx) => self.reply(*idx)?,
            }
        }
        let due = self.due(to);
        let got = std::mem::take(&mut self.waiting);
        match_events(&due, &got, true).map_err(|what| format!("after the last reply (through {to}): {what}"))
    }

    fn reply(&mut self, idx: usize) -> Result<(), String> {
        let asked = &self.history.asked[idx];
        let (Some(reply), Some(op)) = (&asked.reply, OpCode::from_wire(asked.op)) else { return Ok(()) };
        if self.before_auth.is_none() {
            self.identities.clone_from(&asked.identities);
        }
        if matches!(op, OpCode::Auth | OpCode::Sasl) {
            if let Ok(Request::Auth { auth, .. }) = decode_request(op, &asked.body)
                && reply.err == 0
            {
                // Known as from now on; an authentication has no place in the order, so what happened since the last reply
                // that has one may have been judged before or after it.
                // Of several in a row the first: each adds to what is known.
                self.before_auth.get_or_insert_with(|| self.identities.clone());
                self.identities = workload::known_as(auth.unwrap_or_default(), &self.identities);
            }
            return Ok(());
        }
        if reply.zxid < 0 {
            // Some refusals name no place.
            return Ok(());
        }
        let zxid = Zxid::from_i64(reply.zxid);
        if zxid < self.at {
            return Err(format!("{} was answered at {zxid} after {}", describe(self.history, idx), self.at));
        }
        let due = self.due(zxid);
        self.before_auth = None;
        let (now, caught_up): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(|(z, ..)| *z != -1);
        match_events(&due, &now, false).map_err(|what| format!("before the reply at {zxid} to {}: {what}", describe(self.history, idx)))?;
        self.register(idx, asked, op, reply, caught_up)
    }

    /// The events of all transactions through `to`.
    fn due(&mut self, to: Zxid) -> Vec<Due> {
        let mut due = Vec::new();
        if self.at >= to || self.table.is_empty() {
            self.at = self.at.max(to);
            return due;
        }
        let history = self.history;
        let from = history.txns().partition_point(|t| t.head.zxid <= self.at);
        for txn in history.txns()[from..].iter().take_while(|t| t.head.zxid <= to) {
            if self.table.is_empty() {
                break;
            }
            let closes = txn.ops.iter().any(|op| op == OpRef::CloseSession);
            let own_end = closes && txn.head.session == self.conn.session && self.conn.session != SessionId::NONE;
            for Caused { event, path, acl } in &txn.events {
                let table = &mut self.table;
                if !table.fire(*event, path) {
                    continue;
                }
                let allows = |list: &[u8], who: &[Identity]| AclList::parse(list).is_some_and(|list| permits(list, perms::READ, who));
                let allowed = |list: &Vec<u8>| {
                    let now = allows(list, &self.identities);
                    let before = self.before_auth.as_ref().is_none_or(|who| allows(list, who) == now);
                    before.then_some(now)
                };
                let shown = if self.skip_acl { Some(true) } else { acl.as_ref().and_then(allowed) };
                if shown != Some(false) {
                    let may_miss = own_end || shown.is_none();
                    due.push(Due { zxid: txn.head.zxid, event: *event, path: path.clone(), may_miss, unordered: closes });
                }
            }
        }
        self.at = to;
        due
    }

    fn register(
        &mut self,
        idx: usize,
        asked: &Asked,
        op: OpCode,
        reply: &Reply,
        caught_up: Vec<(i64, EventType, Vec<u8>)>,
    ) -> Result<(), String> {
        let request = decode_request(op, &asked.body);
        let is_set_watches = matches!(request, Ok(Request::SetWatches(_)));
        if !is_set_watches && !caught_up.is_empty() {
            return Err(format!("events without a transaction before the reply to {}: {caught_up:?}", describe(self.history, idx)));
        }
        let Ok(request) = request else { return Ok(()) };
        let (ok, no_node) = (reply.err == 0, reply.err == ErrorCode::NoNode.code());
        match request {
            Request::GetData { path, watch: true } if ok => drop(self.table.data.insert(path.to_vec())),
            Request::Exists { path, watch: true } if ok || no_node => drop(self.table.data.insert(path.to_vec())),
            Request::GetChildren { path, watch: true } | Request::GetChildren2 { path, watch: true } if ok => {
                self.table.child.insert(path.to_vec());
            }
            Request::AddWatch { path, mode } if ok => {
                self.coverage.hit("persistent-watch");
                let set = if mode == 0 { &mut self.table.persistent } else { &mut self.table.recursive };
                set.insert(path.to_vec());
            }
            Request::CheckWatches { path, kind } | Request::RemoveWatches { path, kind } => {
                let there = self.table.has(kind, path);
                let want = match there {
                    None => ErrorCode::MarshallingError.code(),
                    Some(false) => ErrorCode::NoWatcher.code(),
                    Some(true) => 0,
                };
                if reply.err != want {
                    return Err(format!("{} got {}, expected {want}", describe(self.history, idx), reply.err));
                }
                if op == OpCode::RemoveWatches {
                    self.table.remove(kind, path);
                }
            }
            Request::SetWatches(lists) => {
                self.coverage.hit("set-watches");
                self.set_watches(idx, asked, &lists, &caught_up)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn set_watches(&mut self, idx: usize, asked: &Asked, lists: &SetWatches<'_>, got: &[(i64, EventType, Vec<u8>)]) -> Result<(), String> {
        let got: Vec<_> = got.iter().map(|(_, event, path)| (*event, path.clone())).collect();
        if got != asked.catch_up {
            return Err(format!("{} brought {got:?}, expected {:?}", describe(self.history, idx), asked.catch_up));
        }
        let told = |path: &[u8], kinds: &[EventType]| asked.catch_up.iter().any(|(event, p)| p == path && kinds.contains(event));
        use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
        let exists_gone = |path: &[u8]| told(path, &[NodeDeleted]);
        self.table.data.extend(lists.data.iter().filter(|p| !exists_gone(p) && !told(p, &[NodeDataChanged])).map(|p| p.to_vec()));
        self.table.data.extend(lists.exist.iter().filter(|p| !told(p, &[NodeCreated])).map(|p| p.to_vec()));
        self.table.child.extend(lists.child.iter().filter(|p| !exists_gone(p) && !told(p, &[NodeChildrenChanged])).map(|p| p.to_vec()));
        self.table.persistent.extend(lists.persistent.iter().map(|p| p.to_vec()));
        self.table.recursive.extend(lists.persistent_recursive.iter().map(|p| p.to_vec()));
        Ok(())
    }
}

/// Whether `got` is what is due: all of it, or (`open_end`) a beginning of it.
fn match_events(due: &[Due], got: &[(i64, EventType, Vec<u8>)], open_end: bool) -> Result<(), String> {
    let mut left: Vec<&Due> = due.iter().collect();
    for (zxid, event, path) in got {
        let fits = |d: &&Due| d.zxid.as_i64() == *zxid && d.event == *event && d.path == *path;
        let found = left.iter().position(fits);
        let skips = |d: &&Due| d.may_miss || d.unordered && d.zxid.as_i64() == *zxid;
        match found {
            Some(at) if left[..at].iter().all(skips) => {
                let unordered = left[at].unordered;
                left.remove(at);
                if !unordered {
                    left.drain(..at);
                }
            }
            Some(at) => return Err(format!("{event:?} {} of {zxid:#x} came before {}", String::from_utf8_lossy(path), say(left[at - 1]))),
            None => return Err(format!("{event:?} {} of {zxid:#x} wasn't asked for", String::from_utf8_lossy(path))),
        }
    }
    match left.iter().find(|d| !d.may_miss) {
        Some(missing) if !open_end => Err(format!("{} is missing", say(missing))),
        _ => Ok(()),
    }
}

fn say(due: &Due) -> String {
    format!("{:?} {} of {}", due.event, String::from_utf8_lossy(&due.path), due.zxid)
}
