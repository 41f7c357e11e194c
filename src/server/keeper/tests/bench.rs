//! A keeper over an empty disk that obeys at once (or when it is told to), and clients that speak the wire protocol to it.
//!
//! What a client receives is kept as [`Seen`], in order. Leaves to others: everything that needs time, several fronts, or
//! a disk that fails.

use crate::base::ids::{ConnId, FrontId, SessionId, Zxid};
use crate::base::memory::{HeapMemory, HeapPool};
use crate::base::prng::Prng;
use crate::base::time::{MonoMs, Now};
use crate::log::{DiskDone, DiskEffect};
use crate::model::acl::OPEN_UNSAFE;
use crate::model::file::NoFiles;
use crate::model::request::{Connect, Create, CreateOp, Request};
use crate::server::boot::recover_server;
use crate::server::config::{ConfigFile, Input, check};
use crate::server::keeper::{Cx, Effects, Keeper, Tell};
use crate::server::mail::{Burst, Item, Then};
use crate::wire::client::client_side::{decode_connected, decode_event, decode_reply_header, put_connect, put_request, request_op};
use crate::wire::client::frame::FrameSplitter;
use hashbrown::HashMap;

const CONFIG: &str = "dataDir=/d\nclientPort=0\nextendedTypesEnabled=true\n";
const ROUNDS_MAX: usize = 100;

/// One thing that reached a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Xid, zxid and error of the header, and what follows.
    Reply(i32, i64, i32, Vec<u8>),
    /// Zxid of the header, type and path.
    Event(i64, i32, String),
    /// A session.
    Session,
    /// The end of the connection.
    End,
}

impl Seen {
    /// A reply without a body.
    pub(super) fn bare(xid: i32, zxid: i64, err: i32) -> Seen {
        Seen::Reply(xid, zxid, err, Vec::new())
    }

    /// The number of the request that it answers; 0 for everything but a reply.
    pub(super) fn xid(&self) -> i32 {
        match self {
            Seen::Reply(xid, ..) => *xid,
            Seen::Event(..) | Seen::Session | Seen::End => 0,
        }
    }
}

pub(super) struct Bench {
    pub(super) keeper: Keeper<HeapMemory>,
    pool: HeapPool,
    fx: Effects<HeapMemory>,
    dones: Vec<DiskDone>,
    /// While true, nothing becomes durable.
    pub(super) disk_waits: bool,
    seen: HashMap<ConnId, Vec<Seen>>,
    next_serial: u64,
    /// Passes only where a test says so.
    now_ms: u64,
}

/// When every bench begins.
const BEGIN_MS: u64 = 1000;

fn now_at(ms: u64) -> Now {
    Now { mono: MonoMs(ms), mono_ns: ms * 1_000_000, wall_ms: 1_700_000_000_000 }
}

impl Bench {
    pub(super) fn new() -> Bench {
        let input = Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: CONFIG.as_bytes() }), overrides: &[], cores_available: 1 };
        let (config, _) = check(&input).into_config().expect("a good configuration");
        let boot = recover_server(&NoFiles, &config, &mut Prng::from_seed(7)).expect("an empty directory");
        let (keeper, effects) = boot.keeper(&config, 1, now_at(BEGIN_MS));
        let mut fx = Effects::new(1);
        fx.disk.extend(effects);
        let (pool, dones, seen) = (HeapPool::default(), Vec::new(), HashMap::new());
        let mut bench = Bench { keeper, pool, fx, dones, disk_waits: false, seen, next_serial: 1, now_ms: BEGIN_MS };
        bench.settle();
        bench
    }

    fn burst(&mut self, items: Vec<Item>, bytes: Vec<u8>) {
        let burst = Burst { bytes, items, received_ns: 0 };
        let mut cx = Cx { now: now_at(self.now_ms), pool: &mut self.pool, fx: &mut self.fx };
        self.keeper.on_burst(&mut cx, &burst);
        self.settle();
    }

    fn tick(&mut self) {
        let mut cx = Cx { now: now_at(self.now_ms), pool: &mut self.pool, fx: &mut self.fx };
        self.keeper.on_tick(&mut cx);
        self.settle();
    }

    /// Time passes, as a host hands it in.
    pub(super) fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            self.now_ms += 20;
            self.tick();
        }
    }

    /// Time passes at once: the process didn't run.
    pub(super) fn stand_still(&mut self, ms: u64) {
        self.now_ms += ms;
        self.tick();
    }

    /// The client took something of what waits for it.
    pub(super) fn takes_some(&mut self, conn: ConnId) {
        self.burst(vec![Item::Heard { conn }], Vec::new());
    }

    /// Lines for the process's log that contain `part`.
    pub(super) fn notes(&self, part: &str) -> Vec<&str> {
        self.fx.notes.iter().map(|note| note.text.as_str()).filter(|text| text.contains(part)).collect()
    }

    /// Turns until nothing moves any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut cx = Cx { now: now_at(self.now_ms), pool: &mut self.pool, fx: &mut self.fx };
            let durable = if self.disk_waits { Vec::new() } else { std::mem::take(&mut self.dones) };
            let moved = !durable.is_empty();
            durable.into_iter().for_each(|done| self.keeper.on_disk(&mut cx, done));
            self.keeper.turn(&mut cx);
            self.keeper.tell_progress(&mut cx, Tell::All);
            let left = self.fx.disk.len();
            self.dones.extend(self.fx.disk.drain(..).map(|effect| match effect {
                DiskEffect::Append { ticket, .. } | DiskEffect::Script { ticket, .. } | DiskEffect::Read { ticket, .. } => {
                    DiskDone::of(ticket, Ok(()))
                }
            }));
            self.deliver();
            if !moved && (left == 0 || self.disk_waits) {
                return;
            }
        }
        panic!("the keeper doesn't come to rest");
    }

    fn deliver(&mut self) {
        let outbox = self.fx.outboxes.of(FrontId(0));
        let mut rest = &outbox.bytes[..];
        for part in &outbox.parts {
            let (bytes, after) = rest.split_at(part.len);
            rest = after;
            let seen = self.seen.entry(part.conn).or_default();
            let mut frames = FrameSplitter::new(bytes, 1 << 20);
            while let Some(frame) = frames.next_frame().unwrap() {
                let first = seen.is_empty() && !frame.starts_with(&[255; 4]);
                seen.push(if first { session_of(frame) } else { message(frame) });
            }
            if part.then == Then::Close {
                seen.push(Seen::End);
            }
        }
        outbox.clear();
    }

    /// A connection whose handshake says `last_zxid_seen`, and what came of it.
    pub(super) fn connect(&mut self, last_zxid_seen: i64) -> (ConnId, Vec<Seen>) {
        let conn = ConnId::new(FrontId(0), self.next_serial);
        self.next_serial += 1;
        let mut bytes = Vec::new();
        let connect = Connect {
            protocol_version: 0,
            last_zxid_seen: Zxid::from_i64(last_zxid_seen),
            timeout_ms: 30_000,
            session: SessionId::NONE,
            password: &[0; 16],
            read_only: Some(false),
        };
        put_connect(&mut bytes, &connect);
        let peer = "10.0.0.1:5".parse().unwrap();
        let items = vec![Item::Opened { conn, peer }, Item::Connect { conn, body: 4..bytes.len() }];
        self.burst(items, bytes);
        (conn, self.seen.get(&conn).cloned().unwrap_or_default())
    }

    /// A connection with a session.
    pub(super) fn client(&mut self) -> ConnId {
        let (conn, seen) = self.connect(0);
        assert_eq!(seen, [Seen::Session]);
        self.news(conn);
        conn
    }

    /// What `conn` received since the last call.
    pub(super) fn news(&mut self, conn: ConnId) -> Vec<Seen> {
        let seen = self.seen.entry(conn).or_default();
        let news = seen.iter().filter(|s| **s != Seen::Session).cloned().collect();
        seen.clear();
        seen.push(Seen::Session);
        news
    }

    /// Sends requests at once, numbered from 1, and says what came back.
    pub(super) fn ask_all(&mut self, conn: ConnId, requests: &[Request<'_>]) -> Vec<Seen> {
        let (mut bytes, mut items) = (Vec::new(), Vec::new());
        for (xid, request) in (1..).zip(requests) {
            let from = bytes.len() + 12;
            put_request(&mut bytes, xid, request);
            items.push(Item::Request { conn, xid, op: request_op(request).wire(), body: from..bytes.len() });
        }
        self.burst(items, bytes);
        self.news(conn)
    }

    pub(super) fn ask(&mut self, conn: ConnId, request: &Request<'_>) -> Vec<Seen> {
        self.ask_all(conn, std::slice::from_ref(request))
    }

    /// The client took what was sent to it.
    pub(super) fn ready(&mut self, conn: ConnId) -> Vec<Seen> {
        self.burst(vec![Item::Ready { conn }], Vec::new());
        self.news(conn)
    }

    /// A request as raw bytes, numbered 1.
    pub(super) fn ask_raw(&mut self, conn: ConnId, op: i32, body: &[u8]) -> Vec<Seen> {
        self.burst(vec![Item::Request { conn, xid: 1, op, body: 0..body.len() }], body.to_vec());
        self.news(conn)
    }

    /// A write that goes through; its zxid.
    pub(super) fn must(&mut self, conn: ConnId, request: &Request<'_>) -> i64 {
        match &self.ask(conn, request)[..] {
            [.., Seen::Reply(1, zxid, 0, _)] => *zxid,
            other => panic!("{request:?}: {other:?}"),
        }
    }
}

fn session_of(frame: &[u8]) -> Seen {
    assert!(decode_connected(frame).unwrap().connected.timeout_ms > 0);
    Seen::Session
}

fn message(frame: &[u8]) -> Seen {
    let (head, body) = decode_reply_header(frame).unwrap();
    if head.xid == -1 {
        let event = decode_event(body).unwrap();
        return Seen::Event(head.zxid, event.event as i32, String::from_utf8(event.path.to_vec()).unwrap());
    }
    Seen::Reply(head.xid, head.zxid, head.err, body.to_vec())
}

/// A create of a plain (0) or ephemeral (1) node, open to all.
pub(super) fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create(Create { op: CreateOp::Create, path: path.as_bytes(), data: None, acl: Some(OPEN_UNSAFE), flags, ttl_ms: 0 })
}
