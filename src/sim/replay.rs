//! The zxid witness: every reply claims a place in the one order; the reference model is led along that order and asked.
//!
//! A write that went through is in the log once, under the zxid of its reply, and answers what the model answers there. A read
//! equals the model at the zxid of its header. A refused write fails in the model at some place between what its session had
//! seen and the zxid of its header. Outcomes that nobody saw may be either. Leaves to others: watches (`watching`).

use super::checker::Checker;
use super::compare::{agrees, is_failed_multi};
use super::coverage::Coverage;
use super::history::{Caused, History, Txn};
use super::model::{Answer, Model, ModelOptions, Outcome, Turn};
use crate::auth::{self, AuthOptions};
use crate::base::ids::{SessionId, Zxid};
use crate::model::acl::{AclList, Identity};
use crate::model::create_mode::NodeKind;
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::path as paths;
use crate::model::request::{Request, SetWatches};
use crate::model::txn::{OpRef, PASSWORD_BYTES};
use crate::model::watch_kind::EventType;
use crate::wire::client::decode::decode_request;
use std::collections::BTreeMap;

/// A live session as the log tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Negotiated.
    pub timeout_ms: u32,
    /// For resuming.
    pub password: [u8; PASSWORD_BYTES],
}

/// See the module's description.
pub struct Replay {
    model: Model,
    at: Zxid,
    /// Transactions led along so far.
    done: usize,
    auth: AuthOptions,
    sessions: BTreeMap<SessionId, Member>,
    /// The number of each session's last request that went through.
    last_number: BTreeMap<SessionId, i32>,
    /// Closed sessions and where.
    pub closed: BTreeMap<SessionId, Zxid>,
    /// The server may say that it can't write now.
    pub may_refuse: bool,
    /// Reads may be older than what others saw: they are answered by servers that follow.
    pub may_lag: bool,
    /// Of an ensemble: what every member writes into `/zookeeper/config`, and the version of the membership.
    pub config: Option<(Vec<u8>, u64)>,
}

/// A refused write that looks for its place.
struct Refusal {
    asked: usize,
    low: Zxid,
    high: Zxid,
    last: String,
}

fn super_user() -> Vec<Identity> {
    vec![Identity { scheme: b"super".to_vec(), id: Vec::new() }]
}

impl Replay {
    /// At the beginning of everything.
    #[must_use]
    pub fn new(options: ModelOptions, auth: AuthOptions) -> Replay {
        let (sessions, closed, last_number) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Replay {
            model: Model::new(options),
            at: Zxid::ZERO,
            done: 0,
            auth,
            sessions,
            last_number,
            closed,
            may_refuse: false,
            may_lag: false,
            config: None,
        }
    }

    /// The sessions that live at this place.
    #[must_use]
    pub fn sessions(&self) -> &BTreeMap<SessionId, Member> {
        &self.sessions
    }

    /// The kind of a node.
    #[must_use]
    pub fn kind_of(&self, path: &[u8]) -> Option<NodeKind> {
        self.model.kind_of(path)
    }

    /// Whoever was told that its session is gone was told the truth then: the end of it was committed. That it ended later is no excuse,
    /// since every session that is left alone does. Servers that lag are none either, for whether a session is alive is the leader's to
    /// say, and the client that asks has been told of its beginning.
    ///
    /// # Errors
    /// The first session that was called gone while it lived.
    pub fn were_gone(&self, told: &[(SessionId, Zxid)]) -> Result<(), String> {
        let early = told.iter().find(|(session, then)| self.closed.get(session).is_none_or(|closed| closed > then));
        let Some((session, then)) = early else { return Ok(()) };
        let end = self.closed.get(session).map_or_else(|| "nobody closed it".to_owned(), |closed| format!("it was closed at {closed}"));
        Err(Checker::Sessions.says(&format!("session {session} was told to be gone when {then} was committed; {end}")))
    }

    /// Asks as a user who may do everything.
    pub fn ask_as_super(&mut self, request: &Request<'_>) -> Option<Outcome> {
        let who = super_user();
        let turn = Turn { session: SessionId::NONE, identities: &who, resolve: &|_| Err(ErrorCode::InvalidAcl), zxid: self.at, time_ms: 0 };
        self.model.ask(&turn, request)
    }

    fn ask(&mut self, history: &History, asked: usize, zxid: Zxid, time_ms: i64, on_copy: bool) -> Result<Outcome, String> {
        let asked = &history.asked[asked];
        let op = OpCode::from_wire(asked.op).ok_or("an unknown operation went through")?;
        let Ok(request) = decode_request(op, &asked.body) else { return Ok(Err(ErrorCode::MarshallingError)) };
        let auth_options = &self.auth;
        let resolve = |list: Option<&[u8]>| {
            if list.and_then(AclList::parse).is_some_and(|list| list.entries().any(|entry| entry.scheme == b"nobody")) {
                // Said apart from the server's own words for it.
                return Err(ErrorCode::InvalidAcl);
            }
            let mut out = Vec::new();
            auth::resolve_acl(list, &asked.identities, auth_options, &mut out).map(|()| out)
        };
        let turn = Turn { session: asked.session, identities: &asked.identities, resolve: &resolve, zxid, time_ms };
        let outcome = if on_copy { self.model.clone().ask(&turn, &request) } else { self.model.ask(&turn, &request) };
        outcome.ok_or_else(|| format!("the model knows nothing of {op:?}"))
    }

    /// Judges everything that was asked since the last call, and goes on through `to`.
    ///
    /// # Errors
    /// The first thing that is wrong, in words.
    pub fn advance(&mut self, history: &mut History, to: Zxid, coverage: &mut Coverage) -> Result<(), String> {
        let by_number: BTreeMap<(SessionId, i32), usize> =
            (history.judged_asked..history.asked.len()).map(|idx| ((history.asked[idx].session, history.asked[idx].xid), idx)).collect();
        let in_log: BTreeMap<(SessionId, i32), Zxid> =
            history.txns()[self.done..].iter().filter(|t| t.head.cxid != 0).map(|t| ((t.head.session, t.head.cxid), t.head.zxid)).collect();
        let (mut reads, mut refusals) = (BTreeMap::<Zxid, Vec<usize>>::new(), Vec::new());
        for idx in history.judged_asked..history.asked.len() {
            self.sort_out(history, idx, &in_log, &mut reads, &mut refusals, coverage)?;
        }
        loop {
            for idx in reads.remove(&self.at).unwrap_or_default() {
                self.judge_read(history, idx)?;
            }
            self.judge_refusals(history, &mut refusals)?;
            if self.at >= to {
                break;
            }
            self.step(history, &by_number, coverage)?;
        }
        if let Some((zxid, idx)) = reads.pop_first() {
            return Err(format!("a reply claims zxid {zxid}, the server never got there: {}", describe(history, idx[0])));
        }
        if let Some(left) = refusals.first() {
            return Err(format!("{} was refused and shouldn't have been: {}", describe(history, left.asked), left.last));
        }
        history.judged_asked = history.asked.len();
        Ok(())
    }

    fn sort_out(
        &mut self,
        history: &History,
        idx: usize,
        in_log: &BTreeMap<(SessionId, i32), Zxid>,
        reads: &mut BTreeMap<Zxid, Vec<usize>>,
        refusals: &mut Vec<Refusal>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let asked = &history.asked[idx];
        let logged = in_log.get(&(asked.session, asked.xid)).copied();
        let Some(reply) = &asked.reply else {
            if OpCode::from_wire(asked.op).is_some_and(OpCode::is_write) {
                coverage.hit(if logged.is_some() { "unknown-outcome-kept" } else { "unknown-outcome-lost" });
            }
            return Ok(());
        };
        let Some(op) = OpCode::from_wire(asked.op).filter(|op| *op != OpCode::Check) else {
            let told = reply.err == ErrorCode::Unimplemented.code();
            return if told { Ok(()) } else { Err(format!("{} got error {}", describe(history, idx), reply.err)) };
        };
        if matches!(op, OpCode::Auth | OpCode::Sasl) {
            return Ok(());
        }
        let zxid = Zxid::from_i64(reply.zxid);
        if zxid < asked.seen {
            let what = format!("{} was answered at {zxid} after its session saw {}", describe(history, idx), asked.seen);
            return Err(Checker::ZxidOrder.says(&what));
        }
        if !op.is_write() {
            // A server may lag behind others, but not behind a sync.
            if zxid < asked.seen_by_anybody && (op == OpCode::Sync || !self.may_lag) {
                let floor = asked.seen_by_anybody;
                let what =
                    format!("{} was answered at {zxid}, although {floor} was acknowledged before it was sent", describe(history, idx));
                let by = if op == OpCode::Sync { Checker::SyncThenRead } else { Checker::ZxidOrder };
                return Err(by.says(&what));
            }
            reads.entry(zxid).or_default().push(idx);
            return Ok(());
        }
        if reply.err == 0 && !is_failed_multi(op, reply) {
            if logged != Some(zxid) {
                return Err(format!("{} was acknowledged at {zxid}, the log has it at {logged:?}", describe(history, idx)));
            }
            if zxid <= asked.seen_by_anybody {
                let floor = asked.seen_by_anybody;
                let what = format!("{} got {zxid}, although {floor} was seen before it was sent", describe(history, idx));
                return Err(Checker::ZxidOrder.says(&what));
            }
            return Ok(());
        }
        if let Some(logged) = logged {
            return Err(format!("{} was refused with {}, but the log has it at {logged}", describe(history, idx), reply.err));
        }
        if let Some(kind) = refusal_kind(op, reply.err) {
            coverage.hit(kind);
        }
        if reply.err == ErrorCode::SystemError.code() && self.may_refuse {
            coverage.hit("disk-full-refusal");
            return Ok(());
        }
        if reply.err == ErrorCode::SessionExpired.code() {
            let closes = |t: &&Txn| t.head.session == asked.session && t.ops.iter().any(|op| op == OpRef::CloseSession);
            let closing = history.txns().iter().find(closes).is_some_and(|t| t.head.zxid <= zxid);
            let told = || Checker::Sessions.says(&format!("{} was told that its session is gone", describe(history, idx)));
            return if closing { Ok(()) } else { Err(told()) };
        }
        if reply.err == ErrorCode::SessionMoved.code() {
            return Err(Checker::Sessions.says(&format!("{} was told that its session moved", describe(history, idx))));
        }
        let own = |range: &mut dyn Iterator<Item = (&(SessionId, i32), &Zxid)>| range.next().map(|(_, z)| *z);
        let before = own(&mut in_log.range((asked.session, 0)..(asked.session, asked.xid)).rev());
        let after = own(&mut in_log.range((asked.session, asked.xid)..=(asked.session, i32::MAX)));
        // Refusals come from the newest state: it holds whatever was acknowledged before.
        let low = asked.seen_by_anybody.max(before.unwrap_or_default()).max(self.at);
        let high = zxid.min(after.map_or(zxid, |z| history.before(z)));
        refusals.push(Refusal { asked: idx, low, high, last: "no place is left for it".to_owned() });
        Ok(())
    }

    fn judge_read(&mut self, history: &mut History, idx: usize) -> Result<(), String> {
        let asked = &history.asked[idx];
        let Some((op, reply)) = OpCode::from_wire(asked.op).zip(asked.reply.clone()) else { return Ok(()) };
        let request = decode_request(op, &asked.body);
        let outcome = match &request {
            Err(_) => Err(ErrorCode::MarshallingError),
            Ok(Request::Ping) => Ok(Answer::Nothing),
            Ok(Request::WhoAmI) => {
                let want: Vec<_> = auth::who_am_i(&asked.identities);
                let got = crate::wire::client::client_side::decode_body(op, &reply.body);
                let same = matches!(&got, Ok(crate::wire::client::client_side::ReplyBody::Identities(list))
                    if list.len() == want.len() && list.iter().zip(&want).all(|(g, w)| g.0 == w.scheme && g.1 == w.id));
                return if same { Ok(()) } else { Err(format!("whoAmI: expected {want:?}, got {got:?}")) };
            }
            Ok(Request::SetWatches(lists)) => {
                let lists = lists.clone();
                let found = self.catch_up(&lists);
                history.asked[idx].catch_up = found;
                return Ok(());
            }
            // Judged along the connection, by `watching`.
            Ok(Request::AddWatch { .. } | Request::CheckWatches { .. } | Request::RemoveWatches { .. }) => return Ok(()),
            Ok(_) => self.ask(history, idx, self.at, 0, false)?,
        };
        agrees(op, &outcome, &reply).map_err(|what| format!("{} at {}: {what}", describe(history, idx), self.at))
    }

    /// The events that setWatches must bring at this place (T30).
    fn catch_up(&mut self, lists: &SetWatches<'_>) -> Vec<(EventType, Vec<u8>)> {
        let mut events = Vec::new();
        let mut stat = |path: &[u8]| match self.ask_as_super(&Request::Exists { path, watch: false }) {
            Some(Ok(Answer::Stat(stat))) => Some(stat),
            _ => None,
        };
        for path in &lists.data {
            match stat(path) {
                None => events.push((EventType::NodeDeleted, path.to_vec())),
                Some(stat) if stat.mzxid > lists.relative_zxid => events.push((EventType::NodeDataChanged, path.to_vec())),
                Some(_) => {}
            }
        }
        for path in &lists.exist {
            if stat(path).is_some() {
                events.push((EventType::NodeCreated, path.to_vec()));
            }
        }
        for path in &lists.child {
            match stat(path) {
                None => events.push((EventType::NodeDeleted, path.to_vec())),
                Some(stat) if stat.pzxid > lists.relative_zxid => events.push((EventType::NodeChildrenChanged, path.to_vec())),
                Some(_) => {}
            }
        }
        events
    }

    fn judge_refusals(&mut self, history: &History, refusals: &mut Vec<Refusal>) -> Result<(), String> {
        let mut idx = 0;
        while idx < refusals.len() {
            let Refusal { asked, low, high, .. } = refusals[idx];
            if self.at < low {
                idx += 1;
                continue;
            }
            let op = OpCode::from_wire(history.asked[asked].op).ok_or("an unknown operation")?;
            let outcome = self.ask(history, asked, Zxid(self.at.0 + 1), 0, true)?;
            let reply = history.asked[asked].reply.as_ref().ok_or("a refusal without a reply")?;
            match agrees(op, &outcome, reply) {
                Ok(()) => drop(refusals.swap_remove(idx)),
                Err(what) if self.at >= high => {
                    return Err(format!("{} was refused between {low} and {high}: {what}", describe(history, asked)));
                }
                Err(what) => {
                    refusals[idx].last = what;
                    idx += 1;
                }
            }
        }
        Ok(())
    }

    /// One transaction further.
    fn step(
        &mut self,
        history: &mut History,
        by_number: &BTreeMap<(SessionId, i32), usize>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let txn = history.txns().get(self.done).cloned().ok_or_else(|| format!("nothing is committed after {}", self.at))?;
        let zxid = txn.head.zxid;
        let before = self.lists_of(&txn);
        let closes = txn.ops.iter().any(|op| op == OpRef::CloseSession);
        let mut gone = Vec::new();
        match txn.ops.get(0) {
            Some(OpRef::CreateSession { timeout_ms, password }) => {
                self.model.open(txn.head.session);
                self.sessions.insert(txn.head.session, Member { timeout_ms, password: *password });
            }
            _ if closes => gone = self.close(&txn, coverage)?,
            Some(OpRef::Delete { path }) if txn.head.session == SessionId::NONE => {
                coverage.hit("reaped");
                if !self.model.reap(path, zxid) {
                    return Err(format!("{zxid} reaps {}, which mustn't be", String::from_utf8_lossy(path)));
                }
            }
            _ => self.write(history, &txn, by_number, coverage)?,
        }
        self.at = zxid;
        self.done += 1;
        let after = self.lists_of(&txn);
        let events = if closes { closing_events(gone, &before) } else { caused(&txn, &before, &after) };
        history.ledger.txns[self.done - 1].events = events;
        Ok(())
    }

    fn close(&mut self, txn: &Txn, coverage: &mut Coverage) -> Result<Vec<Vec<u8>>, String> {
        let session = txn.head.session;
        if self.sessions.remove(&session).is_none() {
            return Err(format!("{} closes {session}, which isn't open", txn.head.zxid));
        }
        self.closed.insert(session, txn.head.zxid);
        coverage.hit(if txn.head.cxid == 0 { "session-expired" } else { "close-session" });
        let gone: Vec<Vec<u8>> = self.model.close(session, txn.head.zxid).into_iter().collect();
        if !gone.is_empty() {
            coverage.hit("ephemeral-gone");
        }
        Ok(gone)
    }

    fn write(
        &mut self,
        history: &History,
        txn: &Txn,
        by_number: &BTreeMap<(SessionId, i32), usize>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let zxid = txn.head.zxid;
        let idx = *by_number
            .get(&(txn.head.session, txn.head.cxid))
            .ok_or_else(|| format!("{zxid} of {} with number {}: nobody asked for it", txn.head.session, txn.head.cxid))?;
        if let Some(last) = self.last_number.insert(txn.head.session, txn.head.cxid).filter(|last| *last >= txn.head.cxid) {
            return Err(format!("{} went through at {zxid} behind number {last} of its session", describe(history, idx)));
        }
        let op = OpCode::from_wire(history.asked[idx].op).ok_or("an unknown operation went through")?;
        match op {
            OpCode::Multi => coverage.hit("multi"),
            OpCode::CreateContainer => coverage.hit("container"),
            _ => {}
        }
        let outcome = self.ask(history, idx, zxid, txn.head.time_ms, false)?;
        if outcome.is_err() || matches!(outcome, Ok(Answer::FailedMulti(..))) {
            return Err(format!("{} went through at {zxid}, the model says {outcome:?}", describe(history, idx)));
        }
        if let Ok(Answer::Path(path) | Answer::PathStat(path, _)) = &outcome
            && path.last_chunk::<10>().is_some_and(|tail| tail.iter().all(u8::is_ascii_digit))
        {
            coverage.hit("sequence");
        }
        match &history.asked[idx].reply {
            Some(reply) => agrees(op, &outcome, reply).map_err(|what| format!("{} at {zxid}: {what}", describe(history, idx))),
            None => Ok(()),
        }
    }

    /// The lists of all nodes that a transaction and its events are about, as they are now.
    fn lists_of(&mut self, txn: &Txn) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut wanted = Vec::new();
        for op in txn.ops.iter() {
            if let OpRef::Create { path, .. } | OpRef::Delete { path } | OpRef::SetData { path, .. } = op {
                wanted.push(path.to_vec());
                wanted.extend(paths::parent(path).map(<[u8]>::to_vec));
            }
        }
        if txn.ops.iter().any(|op| op == OpRef::CloseSession) {
            let who = super_user();
            let turn =
                Turn { session: txn.head.session, identities: &who, resolve: &|_| Err(ErrorCode::InvalidAcl), zxid: self.at, time_ms: 0 };
            if let Some(Ok(Answer::Paths(owned))) = self.model.ask(&turn, &Request::GetEphemerals { prefix: b"" }) {
                for path in owned {
                    wanted.extend(paths::parent(&path).map(<[u8]>::to_vec));
                    wanted.push(path);
                }
            }
        }
        let mut lists = BTreeMap::new();
        for path in wanted {
            if let Some(Ok(Answer::Acl(list, _))) = self.ask_as_super(&Request::GetAcl { path: &path }) {
                lists.insert(path, list);
            }
        }
        lists
    }
}

fn refusal_kind(op: OpCode, err: i32) -> Option<&'static str> {
    match err {
        0 if op == OpCode::Multi => Some("failed-multi"),
        -102 => Some("acl-refused"),
        -5 | -8 => Some("bad-request"),
        _ => None,
    }
}

/// Events of a transaction in the order of its changes (T23).
fn caused(txn: &Txn, before: &BTreeMap<Vec<u8>, Vec<u8>>, after: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<Caused> {
    let several = txn.ops.len() > 1;
    let mut events = Vec::new();
    let mut add = |event: EventType, path: &[u8]| {
        let acl = match event {
            EventType::NodeDeleted if several => before.get(path).filter(|list| after.get(path).is_none_or(|a| a == *list)),
            EventType::NodeDeleted => before.get(path),
            _ if several => after.get(path).filter(|list| before.get(path).is_none_or(|b| b == *list)),
            _ => after.get(path),
        };
        events.push(Caused { event, path: path.to_vec(), acl: acl.cloned() });
    };
    for op in txn.ops.iter() {
        match op {
            OpRef::Create { path, .. } => {
                add(EventType::NodeCreated, path);
                add(EventType::NodeChildrenChanged, paths::parent(path).unwrap_or(b"/"));
            }
            OpRef::Delete { path } => {
                add(EventType::NodeDeleted, path);
                add(EventType::NodeChildrenChanged, paths::parent(path).unwrap_or(b"/"));
            }
            OpRef::SetData { path, .. } => add(EventType::NodeDataChanged, path),
            _ => {}
        }
    }
    events
}

fn closing_events(gone: Vec<Vec<u8>>, before: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<Caused> {
    let mut events = Vec::new();
    for path in gone {
        let parent = paths::parent(&path).unwrap_or(b"/").to_vec();
        let (acl, parent_acl) = (before.get(&path).cloned(), before.get(&parent).cloned());
        events.push(Caused { event: EventType::NodeDeleted, path, acl });
        events.push(Caused { event: EventType::NodeChildrenChanged, path: parent, acl: parent_acl });
    }
    events
}

/// A request in words.
#[must_use]
pub fn describe(history: &History, idx: usize) -> String {
    let asked = &history.asked[idx];
    let client = history.conns.get(asked.conn).map_or(0, |c| c.client);
    let what = match OpCode::from_wire(asked.op).map(|op| (op, decode_request(op, &asked.body))) {
        Some((_, Ok(request))) => format!("{request:?}"),
        Some((op, Err(_))) => format!("{op:?} that doesn't decode"),
        None => format!("operation {}", asked.op),
    };
    let what: String = what.chars().take(300).collect();
    format!("client {client}, {} number {}, {what}", asked.session, asked.xid)
}
