//! A client: speaks the wire protocol, keeps its session over connections, registers its watches again, and writes down
//! everything it sends and hears. What breaks the protocol itself (order of replies, frames that don't decode) is an error here.

use super::checker::{Checker, NoticedBy};
use super::coverage::Coverage;
use super::history::{Arrived, Asked, ConnLog, History, Reply};
use super::options::Options;
use super::workload::{self, CREDENTIALS, Frame, Remembered};
use crate::base::ids::{SessionId, Zxid};
use crate::base::prng::Prng;
use crate::model::acl::Identity;
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::request::{Connect, Request};
use crate::model::txn::PASSWORD_BYTES;
use crate::model::watch_kind::EventType;
use crate::wire::client::client_side::{decode_connected, decode_event, decode_reply_header, put_connect};
use crate::wire::client::decode::decode_request;
use std::collections::VecDeque;
use std::rc::Rc;

/// Nodes in one transaction that fills the tree.
const FILL_AT_ONCE: u16 = 100;

/// How it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Without a connection.
    Away,
    /// Waits for the handshake's answer.
    Joining,
    /// Has a session.
    Up,
}

/// What a client does next, besides sending requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whim {
    /// Goes on.
    None,
    /// Drops its connection.
    Drop,
    /// Opens another connection for the same session and leaves the old one.
    Move,
    /// Says nothing for this long.
    Silence(u64),
}

/// See the module's description.
pub struct Client {
    /// Its number.
    pub id: usize,
    /// How it stands.
    pub phase: Phase,
    /// The connection it uses.
    pub link: u64,
    /// When something arrived last, or it connected.
    pub heard_us: u64,
    /// Only cares to be served: no whims, and reads that show what it missed.
    pub polite: bool,
    /// Requests that went through since it became polite.
    pub polite_writes: u32,
    /// Has nothing more to say: the session was closed on its own wish.
    prng: Prng,
    conn: usize,
    session: SessionId,
    password: [u8; PASSWORD_BYTES],
    wrong_password: bool,
    short_form: bool,
    xid: i32,
    waiting: VecDeque<usize>,
    inbox: Vec<u8>,
    seen: Zxid,
    identities: Rc<Vec<Identity>>,
    watches: Remembered,
    filled: u16,
}

impl Client {
    /// A client that was never connected.
    #[must_use]
    pub fn new(id: usize, prng: Prng) -> Client {
        Client {
            id,
            phase: Phase::Away,
            link: 0,
            heard_us: 0,
            polite: false,
            polite_writes: 0,
            prng,
            conn: 0,
            session: SessionId::NONE,
            password: [0; PASSWORD_BYTES],
            wrong_password: false,
            short_form: false,
            xid: 0,
            waiting: VecDeque::new(),
            inbox: Vec::new(),
            seen: Zxid::ZERO,
            identities: Rc::default(),
            watches: Remembered::default(),
            filled: 0,
        }
    }

    /// Its address.
    #[must_use]
    pub fn peer(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::from(([10, 0, 0, 1 + self.id as u8], 30_000 + (self.link % 30_000) as u16))
    }

    /// Its session, if it has one.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Unanswered requests.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.waiting.len()
    }

    /// Begins a connection and returns what it sends first.
    pub fn connect(&mut self, link: u64, history: &mut History, options: &Options, coverage: &mut Coverage) -> Vec<u8> {
        self.hang_up();
        self.phase = Phase::Joining;
        self.link = link;
        self.conn = history.conns.len();
        self.wrong_password = !self.polite && self.session != SessionId::NONE && self.prng.chance(1, 20);
        self.short_form = self.prng.chance(1, 8);
        self.identities = Rc::new(vec![Identity { scheme: b"ip".to_vec(), id: self.peer().ip().to_string().into_bytes() }]);
        history.conns.push(ConnLog { client: self.id, session: self.session, arrived: Vec::new() });
        if self.session != SessionId::NONE {
            coverage.hit("session-resume");
        }
        let mut password = self.password;
        if self.wrong_password {
            password[3] ^= 1;
        }
        let mut out = Vec::new();
        put_connect(
            &mut out,
            &Connect {
                protocol_version: 0,
                last_zxid_seen: self.seen,
                timeout_ms: options.session_timeout_ms as i32,
                session: self.session,
                password: &password,
                read_only: (!self.short_form).then_some(false),
            },
        );
        out
    }

    /// The connection is gone, or is left.
    pub fn hang_up(&mut self) {
        self.phase = Phase::Away;
        self.waiting.clear();
        self.inbox.clear();
    }

    /// Bytes arrive. Returns what it sends at once.
    ///
    /// # Errors
    /// What breaks the protocol, in words.
    pub fn hear(&mut self, bytes: &[u8], history: &mut History, coverage: &mut Coverage) -> Result<Vec<u8>, String> {
        self.inbox.extend_from_slice(bytes);
        let mut out = Vec::new();
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = inbox.as_slice();
        while let Some((len, tail)) = rest.split_first_chunk::<4>() {
            let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| "a frame of negative length".to_owned())?;
            let Some(frame) = tail.get(..len) else { break };
            rest = &tail[len..];
            match self.phase {
                Phase::Away => break,
                Phase::Joining => self.joined(frame, history, coverage, &mut out)?,
                Phase::Up => self.frame(frame, history)?,
            }
        }
        self.inbox = rest.to_vec();
        Ok(out)
    }

    fn joined(&mut self, frame: &[u8], history: &mut History, coverage: &mut Coverage, out: &mut Vec<u8>) -> Result<(), String> {
        let answer = decode_connected(frame).map_err(|e| format!("the handshake's answer doesn't decode: {e}"))?;
        if answer.read_only.is_some() == self.short_form {
            return Err("the handshake's answer has another form than the request".to_owned());
        }
        let connected = answer.connected;
        if connected.timeout_ms == 0 {
            if self.session == SessionId::NONE {
                return Err("a new session is told that it is gone".to_owned());
            }
            if self.wrong_password {
                coverage.hit("wrong-password");
            } else {
                coverage.hit("told-gone");
                history.told_gone.push((self.session, history.ledger.end().zxid));
                self.forget();
            }
            self.hang_up();
            return Ok(());
        }
        if self.wrong_password {
            return Err(Checker::Sessions.says(&format!("a wrong password resumed {}", self.session)));
        }
        if self.session != SessionId::NONE && (connected.session != self.session || connected.password != self.password) {
            return Err(Checker::Sessions.says(&format!("{} asked for, {} given", self.session, connected.session)));
        }
        (self.session, self.password, self.phase) = (connected.session, connected.password, Phase::Up);
        history.conns[self.conn].session = self.session;
        if !self.watches.is_empty() {
            let request = self.watches.request(self.seen);
            self.send(&request, -8, history, out);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.session = SessionId::NONE;
        self.password = [0; PASSWORD_BYTES];
        self.seen = Zxid::ZERO;
        self.xid = 0;
        self.watches = Remembered::default();
    }

    fn frame(&mut self, frame: &[u8], history: &mut History) -> Result<(), String> {
        let (header, body) = decode_reply_header(frame).map_err(|e| format!("a reply without a header: {e}"))?;
        if let Some(zxid) = header.zxid() {
            self.seen = self.seen.max(zxid);
            history.seen_by_anybody = history.seen_by_anybody.max(zxid);
            history.ledger.shown(zxid).map_err(|what| format!("client {}: {what}", self.id)).by(Checker::Durability)?;
        }
        if header.xid == -1 {
            let event = decode_event(body).map_err(|e| format!("a notification doesn't decode: {e}"))?;
            if event.state != 3 {
                return Err(format!("a notification with state {}", event.state));
            }
            self.forget_watch(event.event, event.path);
            let arrived = Arrived::Event { zxid: header.zxid, event: event.event, path: event.path.to_vec() };
            history.conns[self.conn].arrived.push(arrived);
            return Ok(());
        }
        let idx = self.waiting.pop_front().ok_or_else(|| format!("a reply to number {} that nobody waits for", header.xid))?;
        let asked = &mut history.asked[idx];
        if asked.xid != header.xid {
            return Err(format!("client {}: number {} is answered before {}", self.id, header.xid, asked.xid));
        }
        asked.reply = Some(Reply { zxid: header.zxid, err: header.err, body: body.to_vec() });
        history.conns[self.conn].arrived.push(Arrived::Reply(idx));
        let asked = asked.clone();
        self.learn(&asked, header.err);
        Ok(())
    }

    /// What a reply changes for the client itself.
    fn learn(&mut self, asked: &Asked, err: i32) {
        let Some(op) = OpCode::from_wire(asked.op) else { return };
        let Ok(request) = decode_request(op, &asked.body) else { return };
        let no_node = err == ErrorCode::NoNode.code();
        match request {
            Request::CloseSession => self.forget(),
            Request::Auth { auth, .. } if err == 0 => {
                self.identities = Rc::new(workload::known_as(auth.unwrap_or_default(), &self.identities));
            }
            Request::GetData { path, watch: true } | Request::Exists { path, watch: true } if err == 0 => {
                self.watches.data.insert(path.to_vec());
            }
            Request::Exists { path, watch: true } if no_node => drop(self.watches.exist.insert(path.to_vec())),
            Request::GetChildren { path, watch: true } | Request::GetChildren2 { path, watch: true } if err == 0 => {
                self.watches.child.insert(path.to_vec());
            }
            Request::AddWatch { path, mode: 0 } if err == 0 => drop(self.watches.persistent.insert(path.to_vec())),
            Request::AddWatch { path, .. } if err == 0 => drop(self.watches.recursive.insert(path.to_vec())),
            Request::RemoveWatches { path, kind } if err == 0 => self.remove_watches(path, kind),
            _ => {}
        }
        if self.polite && err == 0 && op.is_write() {
            self.polite_writes += 1;
        }
    }

    fn remove_watches(&mut self, path: &[u8], kind: i32) {
        let w = &mut self.watches;
        if matches!(kind, 2 | 3) {
            w.data.remove(path);
            w.exist.remove(path);
        }
        if matches!(kind, 1 | 3) {
            w.child.remove(path);
        }
        if matches!(kind, 3 | 4) {
            w.persistent.remove(path);
        }
        if matches!(kind, 3 | 5) {
            w.recursive.remove(path);
        }
    }

    fn forget_watch(&mut self, event: EventType, path: &[u8]) {
        let w = &mut self.watches;
        if event == EventType::NodeChildrenChanged {
            w.child.remove(path);
            return;
        }
        w.data.remove(path);
        w.exist.remove(path);
        if event == EventType::NodeDeleted {
            w.child.remove(path);
        }
    }

    fn send(&mut self, frame: &Frame, xid: i32, history: &mut History, out: &mut Vec<u8>) {
        let len = i32::try_from(frame.body.len() + 8).unwrap_or(i32::MAX);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&xid.to_be_bytes());
        out.extend_from_slice(&frame.op.to_be_bytes());
        out.extend_from_slice(&frame.body);
        self.waiting.push_back(history.asked.len());
        history.asked.push(Asked {
            conn: self.conn,
            session: self.session,
            xid,
            op: frame.op,
            body: frame.body.clone(),
            identities: Rc::clone(&self.identities),
            seen: self.seen,
            seen_by_anybody: history.seen_by_anybody,
            reply: None,
            catch_up: Vec::new(),
        });
    }

    /// Sends some requests, as many as it feels like. Returns how many.
    pub fn act(&mut self, history: &mut History, options: &Options, coverage: &mut Coverage, out: &mut Vec<u8>) -> u32 {
        if self.phase != Phase::Up || self.session == SessionId::NONE {
            return 0;
        }
        if self.is_barred(history) {
            return 0;
        }
        let most = if self.polite { 3 } else { usize::from(options.pipeline) };
        let room = most.saturating_sub(self.waiting.len());
        let count = if room == 0 { 0 } else { self.prng.between(1, room as u64) };
        for _ in 0..count {
            let frame = if self.polite { self.polite_request() } else { self.any_request(options, coverage) };
            let closes = frame.op == OpCode::CloseSession.wire();
            if frame.op == OpCode::Auth.wire() {
                // Its answer may overtake others, so it travels alone.
                if self.waiting.is_empty() {
                    self.send(&frame, -4, history, out);
                }
                return 1;
            }
            self.xid += 1;
            let xid = if frame.op == OpCode::Ping.wire() { -2 } else { self.xid };
            self.send(&frame, xid, history, out);
            if closes {
                break;
            }
        }
        count as u32
    }

    /// Behind an authentication or the end of the session nothing is sent.
    fn is_barred(&self, history: &History) -> bool {
        self.waiting.iter().any(|idx| {
            let op = history.asked[*idx].op;
            op == OpCode::Auth.wire() || op == OpCode::CloseSession.wire() || OpCode::from_wire(op).is_none()
        })
    }

    fn any_request(&mut self, options: &Options, coverage: &mut Coverage) -> Frame {
        if self.id == 0 && self.filled < options.bulk {
            self.filled += FILL_AT_ONCE;
            return workload::fill(self.filled - FILL_AT_ONCE, FILL_AT_ONCE);
        }
        if options.sessions > 0 && self.prng.chance(u64::from(options.sessions), 200) {
            return workload::frame(&Request::CloseSession);
        }
        if options.acls > 0 && self.waiting.is_empty() && self.prng.chance(u64::from(options.acls), 40) {
            coverage.hit("auth");
            let auth = CREDENTIALS[self.prng.index(CREDENTIALS.len())];
            let auth: &[u8] = if self.prng.chance(1, 3) { auth } else { CREDENTIALS[self.id % 2] };
            return workload::frame(&Request::Auth { scheme: b"digest", auth: Some(auth) });
        }
        let frame = workload::draw(&mut self.prng, options);
        if frame.op == OpCode::Sync.wire() {
            coverage.hit("sync");
        }
        frame
    }

    fn polite_request(&mut self) -> Frame {
        let path: &[u8] = b"/polite";
        match self.prng.below(5) {
            0 => workload::frame(&Request::Create(crate::model::request::Create {
                op: crate::model::request::CreateOp::Create2,
                path: b"/polite-",
                data: Some(b"here"),
                acl: Some(crate::model::acl::OPEN_UNSAFE),
                flags: 3,
                ttl_ms: 0,
            })),
            1 => workload::frame(&Request::SetData { path: b"/", data: Some(b"root"), version: -1 }),
            2 => workload::frame(&Request::GetChildren2 { path: b"/", watch: false }),
            3 => workload::frame(&Request::Exists { path, watch: false }),
            _ => workload::frame(&Request::Sync { path: Some(path) }),
        }
    }

    /// What it does besides.
    pub fn whim(&mut self, options: &Options) -> Whim {
        if self.polite || options.sessions == 0 || !self.prng.chance(u64::from(options.sessions), 60) {
            return Whim::None;
        }
        match self.prng.below(4) {
            0 | 1 => Whim::Drop,
            2 => Whim::Move,
            _ => Whim::Silence(u64::from(options.session_timeout_ms) * self.prng.between(5, 30) / 10),
        }
    }
}
