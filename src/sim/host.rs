//! One life of the server process: fronts, keeper and disk lanes, as the real hosts run them, in virtual time.
//!
//! Mail of one sender to one receiver stays in order and takes any time up to the run's bound. An append is durable when it
//! completes; the steps of scripts are carried out one by one in lanes (one for each shard and one for the rest).

use super::agenda::{Agenda, Event, Who};
use super::checker::{Checker, NoticedBy};
use super::coverage::Coverage;
use super::history::History;
use super::peers::Peers;
use super::presence::Presence;
use super::role;
use crate::base::ids::{ConnId, FrontId, SessionId, Zxid};
use crate::base::memory::{HeapMemory, HeapPool};
use crate::base::time::MonoMs;
use crate::log::{DiskDone, DiskEffect, Identity};
use crate::model::file::{FilePath, Script, Ticket};
use crate::model::txn::OpRef;
use crate::server::front::{Front, FrontOptions, Verdict};
use crate::server::keeper::{Cx, Effects, Keeper, Tell};
use crate::server::mail::{Burst, Hold, Item, Outbox, Then};
use crate::server::peer_mail::PeerBurst;
use std::collections::{BTreeMap, VecDeque};

mod mail;

/// How long an orderly end may take.
const STOP_MS_MAX: u64 = 4000;
/// How often time is handed to the roles.
pub const TICK_US: u64 = 20_000;

/// A socket of a client at its front.
#[derive(Debug)]
struct Socket {
    link: u64,
    paused: bool,
    inbox: Vec<u8>,
}

struct FrontHost {
    front: Front,
    burst: Burst,
    sockets: BTreeMap<ConnId, Socket>,
    flush_due: bool,
}

/// An append on its way.
#[derive(Debug)]
pub struct InFlight {
    /// Where.
    pub file: FilePath,
    /// Where in it.
    pub at: u64,
    /// What.
    pub memory: HeapMemory,
    /// How much of it.
    pub len: usize,
    /// Its first transaction.
    pub first: Zxid,
    /// Its batch.
    pub identity: Identity,
}

/// A script being carried out.
#[derive(Debug)]
pub struct Running {
    /// For the completion.
    pub ticket: Ticket,
    /// The steps.
    pub script: Script,
    /// The next of them.
    pub next: usize,
}

/// What a turn says about the process.
#[derive(Debug, PartialEq, Eq)]
pub enum Mood {
    /// It goes on.
    Serves,
    /// It ended in order.
    Stopped,
    /// It had to end.
    Fatal(String),
    /// It was cut off between the effects of this turn.
    Cut,
    /// It wants to be recovered anew from its files.
    Reboot,
}

/// See the module's description.
pub struct Life {
    /// Whose, and which.
    pub who: Who,
    /// The keeper.
    pub keeper: Keeper<HeapMemory>,
    pool: HeapPool,
    fx: Effects<HeapMemory>,
    fronts: Vec<FrontHost>,
    /// Its links to other servers.
    pub peers: Peers,
    peer_bursts: VecDeque<PeerBurst>,
    peer_flush_due: bool,
    /// Its process ends between the effects of the next turn that has some for the disk and some for others: `true`, those for
    /// others leave and the disk gets none.
    pub cut_turn: Option<bool>,
    bursts: VecDeque<Burst>,
    dones: Vec<DiskDone>,
    tick_due: bool,
    turn_due: bool,
    turn_wanted: bool,
    hold: Hold,
    /// Appends on their way, by ticket.
    pub appends: BTreeMap<Ticket, InFlight>,
    /// Scripts on their way, by lane; lane 0 is for those of no shard.
    pub lanes: BTreeMap<usize, VecDeque<Running>>,
    stopping_since: Option<MonoMs>,
    sessions_of: BTreeMap<ConnId, SessionId>,
    /// Sessions that expired in the last turn.
    pub expired: Vec<SessionId>,
}

impl Life {
    /// A process over recovered state; `startup` are its first disk effects.
    #[must_use]
    pub fn new(
        who: Who,
        keeper: Keeper<HeapMemory>,
        startup: Vec<DiskEffect<HeapMemory>>,
        fronts: u8,
        options: FrontOptions,
        peers: Peers,
    ) -> Life {
        let front = |id: u8| FrontHost {
            front: Front::new(FrontId(u16::from(id)), options),
            burst: Burst::default(),
            sockets: BTreeMap::new(),
            flush_due: false,
        };
        let mut fx = Effects::new(usize::from(fronts));
        fx.disk = startup;
        Life {
            who,
            keeper,
            pool: HeapPool::default(),
            fx,
            fronts: (0..fronts).map(front).collect(),
            peers,
            peer_bursts: VecDeque::new(),
            peer_flush_due: false,
            cut_turn: None,
            bursts: VecDeque::new(),
            dones: Vec::new(),
            tick_due: false,
            turn_due: false,
            turn_wanted: false,
            hold: Hold::Nothing,
            appends: BTreeMap::new(),
            lanes: BTreeMap::new(),
            stopping_since: None,
            sessions_of: BTreeMap::new(),
            expired: Vec::new(),
        }
    }

    /// A client connects.
    pub fn accept(&mut self, agenda: &mut Agenda, link: u64, front: usize, peer: std::net::SocketAddr) {
        let host = &mut self.fronts[front];
        if host.burst.is_empty() {
            host.burst.received_ns = agenda.now(self.who.node).mono_ns;
        }
        let conn = host.front.on_accept(peer, agenda.now(self.who.node).mono, &mut host.burst);
        host.sockets.insert(conn, Socket { link, paused: false, inbox: Vec::new() });
        agenda.links.get_mut(&link).expect("a link that was opened").conn = Some(conn);
        self.flush_soon(agenda, front);
    }

    /// Bytes of a client arrive.
    pub fn receive(&mut self, agenda: &mut Agenda, front: usize, conn: ConnId, bytes: &[u8]) {
        let Some(socket) = self.fronts[front].sockets.get_mut(&conn) else { return };
        socket.inbox.extend_from_slice(bytes);
        self.read(agenda, front, conn);
    }

    /// Reads a socket, as far as it may be read.
    fn read(&mut self, agenda: &mut Agenda, front: usize, conn: ConnId) {
        let host = &mut self.fronts[front];
        let Some(socket) = host.sockets.get_mut(&conn).filter(|socket| !socket.paused && !socket.inbox.is_empty()) else { return };
        let Some(room) = self.hold.allows(host.front.waits(conn), socket.inbox.len()) else { return };
        let bytes: Vec<u8> = socket.inbox.drain(..room).collect();
        if host.burst.is_empty() {
            host.burst.received_ns = agenda.now(self.who.node).mono_ns;
        }
        let verdict = host.front.on_bytes(conn, &bytes, &mut host.burst);
        // If that leaves something and says that it may be read, it is.
        self.follow(agenda, front, conn, verdict);
        self.flush_soon(agenda, front);
    }

    fn follow(&mut self, agenda: &mut Agenda, front: usize, conn: ConnId, verdict: Verdict) {
        let Some(socket) = self.fronts[front].sockets.get_mut(&conn) else { return };
        match verdict {
            Verdict::Read => {
                socket.paused = false;
                if !socket.inbox.is_empty() {
                    self.read(agenda, front, conn);
                }
            }
            Verdict::Pause => socket.paused = true,
            Verdict::Close(_) => self.cut(agenda, front, conn),
        }
    }

    /// Closes a client's socket from our side.
    fn cut(&mut self, agenda: &mut Agenda, front: usize, conn: ConnId) {
        let host = &mut self.fronts[front];
        if let Some(socket) = host.sockets.remove(&conn) {
            host.front.on_closed(conn, &mut host.burst);
            agenda.send_down(socket.link, Vec::new());
            self.flush_soon(agenda, front);
        }
    }

    /// The client closed its side.
    pub fn client_left(&mut self, agenda: &mut Agenda, front: usize, conn: ConnId) {
        let host = &mut self.fronts[front];
        if host.sockets.remove(&conn).is_some() {
            host.front.on_closed(conn, &mut host.burst);
            self.flush_soon(agenda, front);
        }
    }

    fn flush_soon(&mut self, agenda: &mut Agenda, front: usize) {
        let host = &mut self.fronts[front];
        if !host.burst.is_empty() && !std::mem::replace(&mut host.flush_due, true) {
            agenda.mail(self.who.node, front * 2, Event::Flush { who: self.who, front });
        }
    }

    /// A front's burst reaches the keeper.
    pub fn flush(&mut self, agenda: &mut Agenda, front: usize) {
        let host = &mut self.fronts[front];
        host.flush_due = false;
        self.bursts.push_back(std::mem::take(&mut host.burst));
        self.turn_soon(agenda);
    }

    /// A disk effect ended.
    pub fn done(&mut self, agenda: &mut Agenda, done: DiskDone) {
        self.dones.push(done);
        self.turn_soon(agenda);
    }

    /// Time passed.
    pub fn tick(&mut self, agenda: &mut Agenda, lives: &[Option<u64>]) {
        self.tick_due = true;
        self.turn_soon(agenda);
        agenda.after(TICK_US, Event::Tick { who: self.who });
        self.peers.on_tick(agenda, lives);
        self.after_links(agenda);
        let now = agenda.now(self.who.node).mono;
        for front in 0..self.fronts.len() {
            let mut over = Vec::new();
            self.fronts[front].front.on_tick(now, &mut over);
            over.sort();
            over.into_iter().for_each(|(conn, _)| self.cut(agenda, front, conn));
        }
    }

    /// The turn that the keeper wanted is due.
    pub fn wanted(&mut self, agenda: &mut Agenda) {
        self.turn_wanted = false;
        self.turn_soon(agenda);
    }

    fn turn_soon(&mut self, agenda: &mut Agenda) {
        if !std::mem::replace(&mut self.turn_due, true) {
            agenda.after(1, Event::Turn { who: self.who });
        }
    }

    /// An orderly end begins.
    pub fn stop(&mut self, agenda: &mut Agenda) {
        if self.stopping_since.is_none() {
            self.stopping_since = Some(agenda.now(self.who.node).mono);
            self.keeper.stop();
            self.turn_soon(agenda);
        }
    }

    /// One turn of the keeper, as the real hosts take it.
    ///
    /// # Errors
    /// When what it hands to the disk can't be right.
    pub fn turn(&mut self, agenda: &mut Agenda, history: &mut History, coverage: &mut Coverage) -> Result<Mood, String> {
        self.turn_due = false;
        let now = agenda.now(self.who.node);
        let bursts = std::mem::take(&mut self.bursts);
        let serves = role::role(&self.keeper).serves();
        bursts.iter().filter(|_| serves).for_each(|burst| self.hear(burst, agenda.now_ms(), &mut history.presence));
        let mut cx = Cx { now, pool: &mut self.pool, fx: &mut self.fx };
        for done in self.dones.drain(..) {
            self.keeper.on_disk(&mut cx, done);
        }
        for burst in self.peer_bursts.drain(..) {
            self.keeper.on_peers(&mut cx, &burst);
        }
        for burst in &bursts {
            self.keeper.on_burst(&mut cx, burst);
        }
        let ticks = std::mem::take(&mut self.tick_due);
        if ticks {
            self.keeper.on_tick(&mut cx);
        }
        self.keeper.turn(&mut cx);
        // Every other life leaves what nobody waits for to the next batch or tick.
        let leaves = (self.who.node as u64 + self.who.life) % 2 == 1;
        self.keeper.tell_progress(&mut cx, if ticks || !leaves { Tell::All } else { Tell::Awaited });
        self.note(agenda);
        self.keeper.forgotten_answer().map_or(Ok(()), |what| Err(Checker::Liveness.says(&what)))?;
        history.ledger.committed(self.who.node, self.keeper.applied()).by(Checker::OneHistory)?;
        let mail = std::mem::take(&mut self.fx.peers);
        self.judge_mail(agenda, history, coverage, &mail)?;
        if let Some(mail_first) = self.cut_turn.filter(|_| !mail.is_empty() && !self.fx.disk.is_empty()) {
            // The process is cut off after one half of the turn's effects.
            if mail_first {
                self.send_mail(agenda, &mail);
            } else {
                self.start_disk(agenda, history)?;
            }
            return Ok(Mood::Cut);
        }
        self.start_disk(agenda, history)?;
        if !mail.is_empty() {
            agenda.mail(self.who.node, 300, Event::PeerOutbox { who: self.who, outbox: Box::new(mail) });
        }
        self.deliver(agenda);
        self.peers.set_cluster(agenda, self.keeper.bound_cluster());
        self.peers.hold(agenda, !self.keeper.takes_batches());
        self.after_links(agenda);
        if self.keeper.wants_turn() && !std::mem::replace(&mut self.turn_wanted, true) {
            agenda.mail(self.who.node, 100, Event::Wanted { who: self.who });
        }
        Ok(self.mood(now.mono))
    }

    fn mood(&mut self, now: MonoMs) -> Mood {
        if let Some(stop) = self.fx.stop.take() {
            return Mood::Fatal(stop.message);
        }
        if std::mem::take(&mut self.fx.reboot) {
            return Mood::Reboot;
        }
        match self.stopping_since {
            Some(since) if self.keeper.is_settled() || now.since(since) > STOP_MS_MAX => Mood::Stopped,
            _ => Mood::Serves,
        }
    }

    /// Remembers whom the keeper hears from.
    fn hear(&mut self, burst: &Burst, now_ms: u64, presence: &mut Presence) {
        for item in &burst.items {
            match item {
                Item::Request { conn, .. } => {
                    if let Some(session) = self.sessions_of.get(conn) {
                        presence.heard(*session, now_ms);
                    }
                }
                Item::Closed { conn } => drop(self.sessions_of.remove(conn)),
                _ => {}
            }
        }
    }

    /// A connection has a session.
    pub fn has_session(&mut self, conn: ConnId, session: SessionId) {
        self.sessions_of.insert(conn, session);
    }

    fn note(&mut self, agenda: &mut Agenda) {
        for note in std::mem::take(&mut self.fx.notes) {
            agenda.say(|| format!("server {}: {}", self.who.node + 1, note.text));
            let expired = note.text.strip_prefix("session 0x").and_then(|rest| rest.split_once(" expired"));
            if let Some(id) = expired.and_then(|(id, _)| u64::from_str_radix(id, 16).ok()) {
                self.expired.push(SessionId(id.cast_signed()));
            }
        }
    }

    fn start_disk(&mut self, agenda: &mut Agenda, history: &mut History) -> Result<(), String> {
        for effect in std::mem::take(&mut self.fx.disk) {
            match effect {
                DiskEffect::Append { shard, file, at, memory, len, ticket } => {
                    let bytes = crate::base::memory::BatchMemory::bytes(&memory);
                    let bytes = bytes.get(..len).ok_or("an append longer than its memory")?;
                    let (first, identity) = history.ledger.tap(self.who.node, bytes).by(Checker::OneHistory)?;
                    for txn in history.ledger.batch(identity).into_iter().flat_map(|b| &b.txns) {
                        if let Some(OpRef::CreateSession { timeout_ms, .. }) = txn.ops.get(0) {
                            history.presence.created(txn.head.session, timeout_ms, agenda.now_ms());
                        }
                    }
                    agenda.say(|| {
                        let last = identity.zxid;
                        format!("server {} shard {}: {first} to {last} go to {file} at {at}, {len} bytes", self.who.node + 1, shard.0)
                    });
                    self.pool.keep(&memory);
                    self.appends.insert(ticket, InFlight { file, at, memory, len, first, identity });
                    agenda.disk_steps += 1;
                    agenda.disk(self.who.node, Event::AppendEnds { who: self.who, ticket });
                }
                DiskEffect::Script { shard, script, ticket } => {
                    let lane = shard.map_or(0, |s| s.idx() + 1);
                    let queue = self.lanes.entry(lane).or_default();
                    queue.push_back(Running { ticket, script, next: 0 });
                    if queue.len() == 1 {
                        agenda.disk(self.who.node, Event::ScriptStep { who: self.who, lane });
                    }
                }
                DiskEffect::Read { request, ticket } => agenda.disk(self.who.node, Event::ReadEnds { who: self.who, ticket, request }),
            }
        }
        Ok(())
    }

    fn deliver(&mut self, agenda: &mut Agenda) {
        for (front, outbox) in self.fx.outboxes.iter_mut() {
            if !outbox.is_empty() {
                let front = usize::from(front.0);
                agenda.mail(self.who.node, front * 2 + 1, Event::Outbox { who: self.who, front, outbox: Box::new(std::mem::take(outbox)) });
            }
        }
        let hold = self.keeper.hold();
        if std::mem::replace(&mut self.hold, hold) > hold {
            for front in 0..self.fronts.len() {
                let conns: Vec<ConnId> = self.fronts[front].sockets.keys().copied().collect();
                conns.into_iter().for_each(|conn| self.read(agenda, front, conn));
            }
        }
    }

    /// The keeper's mail reaches a front, which sends it on.
    pub fn outbox(&mut self, agenda: &mut Agenda, front: usize, outbox: &Outbox) {
        let now = agenda.now(self.who.node).mono;
        let mut at = 0;
        for part in &outbox.parts {
            let bytes = &outbox.bytes[at..at + part.len];
            at += part.len;
            let host = &mut self.fronts[front];
            let Some(socket) = host.sockets.get(&part.conn) else { continue };
            if !bytes.is_empty() {
                agenda.send_down(socket.link, bytes.to_vec());
            }
            let verdict = host.front.on_answered(part.conn, part.replies, part.then, 0, now, &mut host.burst);
            if part.then == Then::Close {
                self.cut(agenda, front, part.conn);
            } else {
                self.follow(agenda, front, part.conn, verdict);
            }
        }
        self.flush_soon(agenda, front);
    }
}
