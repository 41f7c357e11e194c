//! Several keepers that are members of one ensemble, over disks that obey at once and links that lose nothing: what members owe each
//! other when nothing fails. Faults belong to the simulator.

use super::bench::create;
use crate::base::ids::{ConnId, FrontId, ServerId, SessionId, ZXID_COUNTER_MAX, Zxid};
use crate::base::memory::{HeapMemory, HeapPool};
use crate::base::prng::Prng;
use crate::base::time::{MonoMs, Now};
use crate::log::{DiskDone, DiskEffect};
use crate::model::acl::OPEN_UNSAFE;
use crate::model::file::NoFiles;
use crate::model::membership::{Member, Membership};
use crate::model::peer::{LANES, Message};
use crate::model::position::Identity;
use crate::model::request::{Connect, Create, CreateOp, Request};
use crate::server::boot::recover_server;
use crate::server::config::{Bootstrap, Config, ConfigFile, Ensemble, Input, check};
use crate::server::keeper::{Cx, Effects, Keeper, Tell};
use crate::server::mail::{Burst, Item};
use crate::server::peer_mail::{LinkId, PeerBurst, PeerItem};
use crate::server::words::Word;
use crate::wire::client::client_side::{decode_connected, decode_reply_header, put_connect, put_request, request_op};
use crate::wire::client::frame::FrameSplitter;
use crate::wire::peer::PeerFrames;
use crate::zab::Role;
use std::collections::BTreeMap;

pub(super) struct Node {
    pub(super) keeper: Keeper<HeapMemory>,
    pool: HeapPool,
    fx: Effects<HeapMemory>,
    dones: Vec<DiskDone>,
    pub(super) mail: PeerBurst,
    alive: bool,
    /// Its disk reports nothing for now.
    pub(super) disk_hangs: bool,
    /// Session, or reply (xid, zxid, error), or the end, by connection.
    seen: BTreeMap<u64, Vec<String>>,
}

pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<ServerId, Node>,
    now_ms: u64,
    serial: u64,
    notes: Vec<String>,
}

fn config(me: u8, servers: u8) -> Config {
    let text = format!("dataDir=/d{me}\nclientPort=0\ntickTime=200\n4lw.commands.whitelist=*\n");
    let input = Input { file: Some(ConfigFile { name: "zoo.cfg", bytes: text.as_bytes() }), overrides: &[], cores_available: 1 };
    let (mut config, _) = check(&input).into_config().expect("a good configuration");
    let member = |id: u8| Member {
        id: ServerId(id),
        votes: true,
        weight: 1,
        group: 0,
        host: "localhost".into(),
        quorum_port: 2888,
        election_port: 3888,
        client: None,
    };
    config.ensemble = Some(Ensemble {
        me: ServerId(me),
        membership: Membership::new(0, (1..=servers).map(member)),
        init_ms: 2000,
        sync_ms: 1000,
        pulse_interval_ms: 50,
        silence_ms: 400,
        gather_ms: 40,
        bootstrap: Bootstrap::All,
        founder: false,
        peer_backlog_bytes: 1 << 26,
        catchup_cache_bytes: 1 << 26,
        listen_on_all: false,
        read_only_enabled: true,
    });
    config
}

/// The number of the link between two servers, the same at both ends.
pub(super) fn link(a: ServerId, b: ServerId, lane: usize) -> LinkId {
    let (low, high) = (a.min(b).0, a.max(b).0);
    LinkId(u64::from(low) * 10_000 + u64::from(high) * 10 + lane as u64)
}

impl Cluster {
    pub(super) fn new(servers: u8) -> Cluster {
        let mut cluster = Cluster { nodes: BTreeMap::new(), now_ms: 1000, serial: 1, notes: Vec::new() };
        for id in 1..=servers {
            let config = config(id, servers);
            let boot = recover_server(&NoFiles, &config, &mut Prng::from_seed(u64::from(id))).expect("an empty directory");
            let (keeper, disk) = boot.keeper(&config, 1, cluster.now());
            let mut fx = Effects::new(1);
            fx.disk.extend(disk);
            let (pool, dones, mail) = (HeapPool::default(), Vec::new(), PeerBurst::default());
            cluster
                .nodes
                .insert(ServerId(id), Node { keeper, pool, fx, dones, mail, alive: true, disk_hangs: false, seen: BTreeMap::new() });
        }
        let ids: Vec<ServerId> = cluster.nodes.keys().copied().collect();
        for a in &ids {
            for b in ids.iter().filter(|b| *b != a) {
                let up = LANES.map(|lane| PeerItem::Up { peer: *b, lane, link: link(*a, *b, lane as usize) });
                cluster.nodes.get_mut(a).unwrap().mail.items.extend(up);
            }
        }
        cluster
    }

    fn now(&self) -> Now {
        Now { mono: MonoMs(self.now_ms), mono_ns: self.now_ms * 1_000_000, wall_ms: 1_700_000_000_000 + self.now_ms as i64 }
    }

    /// Time passes, and nobody does anything: the host was suspended.
    pub(super) fn stand_still(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// Time passes in steps of 10 ms.
    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now_ms += 10;
            for _ in 0..8 {
                let ids: Vec<ServerId> = self.nodes.keys().copied().collect();
                ids.into_iter().for_each(|id| self.turn(id, true));
            }
        }
    }

    pub(super) fn turn(&mut self, id: ServerId, tick: bool) {
        let now = self.now();
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.alive {
            return;
        }
        let mut cx = Cx { now, pool: &mut node.pool, fx: &mut node.fx };
        if !node.disk_hangs {
            std::mem::take(&mut node.dones).into_iter().for_each(|done| node.keeper.on_disk(&mut cx, done));
        }
        let mail = std::mem::take(&mut node.mail);
        node.keeper.on_peers(&mut cx, &mail);
        if tick {
            node.keeper.on_tick(&mut cx);
        }
        node.keeper.turn(&mut cx);
        node.keeper.tell_progress(&mut cx, Tell::All);
        assert!(node.fx.stop.is_none() && !node.fx.reboot, "{:?}", node.fx.stop);
        self.notes.extend(node.fx.notes.drain(..).map(|n| format!("{now:?} server {}: {}", id.0, n.text)));
        node.dones.extend(node.fx.disk.drain(..).map(|effect| match effect {
            DiskEffect::Append { ticket, .. } | DiskEffect::Script { ticket, .. } => DiskDone::of(ticket, Ok(())),
            DiskEffect::Read { request, ticket } => DiskDone::read(ticket, crate::log::serve_read(&NoFiles, &request)),
        }));
        self.deliver_clients(id);
        self.deliver_peers(id);
    }

    fn deliver_clients(&mut self, id: ServerId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let outbox = node.fx.outboxes.of(FrontId(0));
        let mut at = 0;
        for part in &outbox.parts {
            let bytes = &outbox.bytes[at..at + part.len];
            at += part.len;
            let seen = node.seen.entry(part.conn.raw()).or_default();
            let mut frames = FrameSplitter::new(bytes, 1 << 20);
            while let Some(frame) = frames.next_frame().unwrap() {
                seen.push(match (seen.is_empty(), decode_connected(frame)) {
                    (true, Ok(c)) => format!("session {}", c.connected.session),
                    _ => {
                        let (head, _) = decode_reply_header(frame).unwrap();
                        format!("reply {} err {}", head.xid, head.err)
                    }
                });
            }
            if part.then == crate::server::mail::Then::Close {
                seen.push("end".into());
            }
        }
        outbox.clear();
    }

    fn deliver_peers(&mut self, id: ServerId) {
        let out = std::mem::take(&mut self.nodes.get_mut(&id).unwrap().fx.peers);
        for part in &out.parts {
            for (to, node) in self.nodes.iter_mut().filter(|(to, node)| **to != id && node.alive) {
                let Some(lane) = LANES.into_iter().find(|lane| link(id, *to, *lane as usize) == part.link) else { continue };
                assert!(!part.close, "server {} closes its link to server {}: {:#?}", id.0, to.0, self.notes);
                let mut bytes = &out.bytes[part.range.clone()];
                let mut frames = PeerFrames::new(crate::wire::peer::body_bytes_max(lane));
                while !bytes.is_empty() {
                    let (used, frame) = frames.next(bytes).unwrap();
                    let frame = frame.expect("whole frames");
                    let from = node.mail.bytes.len();
                    node.mail.bytes.extend_from_slice(frame.body);
                    let body = from..node.mail.bytes.len();
                    node.mail.items.push(PeerItem::Message { peer: id, lane, link: part.link, body });
                    bytes = &bytes[used..];
                }
            }
        }
    }

    /// A server dies; the others see their connections break.
    fn kill(&mut self, id: ServerId) {
        self.nodes.get_mut(&id).unwrap().alive = false;
        for (other, node) in self.nodes.iter_mut().filter(|(_, n)| n.alive) {
            let down = LANES.map(|lane| PeerItem::Down { peer: id, lane, link: link(*other, id, lane as usize) });
            node.mail.items.extend(down);
        }
    }

    pub(super) fn leader(&self) -> Option<ServerId> {
        let leads = |n: &Node| n.alive && matches!(n.keeper.role(), Some(Role::Leading { established: true, .. }));
        self.nodes.iter().find(|(_, n)| leads(n)).map(|(id, _)| *id)
    }

    pub(super) fn follower(&self) -> ServerId {
        let serves = |n: &Node| n.alive && matches!(n.keeper.role(), Some(Role::Following { serving: true, .. }));
        *self.nodes.iter().find(|(_, n)| serves(n)).expect("a serving follower").0
    }

    pub(super) fn burst(&mut self, id: ServerId, items: Vec<Item>, bytes: Vec<u8>) {
        let now = self.now();
        let node = self.nodes.get_mut(&id).unwrap();
        let mut cx = Cx { now, pool: &mut node.pool, fx: &mut node.fx };
        node.keeper.on_burst(&mut cx, &Burst { bytes, items, received_ns: 0 });
    }

    pub(super) fn connect(&mut self, id: ServerId, session: SessionId, password: &[u8]) -> ConnId {
        self.connect_as(id, session, password, false)
    }

    fn connect_as(&mut self, id: ServerId, session: SessionId, password: &[u8], read_only: bool) -> ConnId {
        let conn = self.begin_to_connect(id, session, password, read_only);
        self.run(50);
        conn
    }

    /// Its answer isn't waited for.
    pub(super) fn begin_to_connect(&mut self, id: ServerId, session: SessionId, password: &[u8], read_only: bool) -> ConnId {
        let conn = ConnId::new(FrontId(0), self.serial);
        self.serial += 1;
        let mut bytes = Vec::new();
        let last_zxid_seen = Zxid::ZERO;
        let hello = Connect { protocol_version: 0, last_zxid_seen, timeout_ms: 4000, session, password, read_only: Some(read_only) };
        put_connect(&mut bytes, &hello);
        let peer = "10.0.0.1:5".parse().unwrap();
        self.burst(id, vec![Item::Opened { conn, peer }, Item::Connect { conn, body: 4..bytes.len() }], bytes);
        conn
    }

    pub(super) fn ask(&mut self, id: ServerId, conn: ConnId, requests: &[Request<'_>]) -> Vec<String> {
        let before = self.seen(id, conn).len();
        self.post(id, conn, requests);
        self.run(50);
        self.seen(id, conn)[before..].to_vec()
    }

    /// Asks, and doesn't wait for an answer.
    pub(super) fn post(&mut self, id: ServerId, conn: ConnId, requests: &[Request<'_>]) {
        let (mut bytes, mut items) = (Vec::new(), Vec::new());
        for (xid, request) in (1..).zip(requests) {
            let from = bytes.len() + 12;
            put_request(&mut bytes, xid, request);
            items.push(Item::Request { conn, xid, op: request_op(request).wire(), body: from..bytes.len() });
        }
        self.burst(id, items, bytes);
    }

    /// The answer to a four-letter word.
    fn word(&mut self, id: ServerId, word: Word) -> String {
        let conn = ConnId::new(FrontId(0), self.serial);
        self.serial += 1;
        let peer = "10.0.0.1:6".parse().unwrap();
        self.burst(id, vec![Item::Opened { conn, peer }, Item::Word { conn, word, argument: 0 }], Vec::new());
        let outbox = self.nodes.get_mut(&id).unwrap().fx.outboxes.of(FrontId(0));
        let answer = String::from_utf8(std::mem::take(&mut outbox.bytes)).unwrap();
        outbox.clear();
        answer
    }

    pub(super) fn seen(&self, id: ServerId, conn: ConnId) -> Vec<String> {
        self.nodes[&id].seen.get(&conn.raw()).cloned().unwrap_or_default()
    }

    pub(super) fn same_trees(&self) {
        let all: Vec<_> = self.nodes.values().filter(|n| n.alive).map(|n| (n.keeper.applied(), n.keeper.tree().digest())).collect();
        assert!(all.windows(2).all(|w| w[0] == w[1]), "{all:?}\n{:#?}", self.notes);
    }
}

#[test]
fn an_empty_ensemble_elects_a_leader_and_serves_through_every_server() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let leader = c.leader().unwrap_or_else(|| panic!("no leader: {:#?}", c.notes));
    for id in [1, 2, 3].map(ServerId) {
        let conn = c.connect(id, SessionId::NONE, &[0; 16]);
        assert!(c.seen(id, conn)[0].starts_with("session 0x"), "{:?} {:#?}", c.seen(id, conn), c.notes);
        let name = format!("/n{}", id.0);
        let asked = [
            create(&name, 0),
            create(&name, 0),
            Request::Sync { path: Some(b"/") },
            Request::Exists { path: name.as_bytes(), watch: false },
        ];
        let answers = c.ask(id, conn, &asked);
        assert_eq!(
            answers,
            ["reply 1 err 0", "reply 2 err -110", "reply 3 err 0", "reply 4 err 0"],
            "server {} (leader {})",
            id.0,
            leader.0
        );
    }
    c.run(200);
    c.same_trees();
}

#[test]
fn who_ends_no_sessions_dumps_their_timeouts() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    c.connect(follower, SessionId::NONE, &[0; 16]);
    let session = c.nodes[&leader].keeper.sessions().images().next().expect("a session").session;
    c.run(50);
    let shown = c.word(follower, Word::Dump);
    assert!(
        shown.starts_with(&format!("SessionTracker dump:\nGlobal Sessions(1):\n{session}\t4000ms\nephemeral nodes dump:\n")),
        "{shown}"
    );
    let shown = c.word(leader, Word::Dump);
    assert!(shown.starts_with("SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at "), "{shown}");
}

#[test]
fn a_session_moves_between_servers_and_its_former_connection_ends_without_an_answer() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let conn = c.connect(follower, SessionId::NONE, &[0; 16]);
    let session = c.nodes[&leader].keeper.sessions().images().next().expect("a session");
    let there = c.connect(leader, session.session, &session.password);
    assert_eq!(c.seen(leader, there), [format!("session {}", session.session)]);
    assert_eq!(c.ask(follower, conn, &[create("/late", 0)]), ["end"]);
    assert_eq!(c.ask(leader, there, &[create("/e", 1)]), ["reply 1 err 0"]);
    let wrong = c.connect(follower, session.session, &[9; 16]);
    assert_eq!(c.seen(follower, wrong), ["session 0x0", "end"]);
}

#[test]
fn who_loses_its_role_ends_its_connections() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let leader = c.leader().unwrap();
    let conn = c.connect(leader, SessionId::NONE, &[0; 16]);
    assert_eq!(c.ask(leader, conn, &[create("/a", 0)]), ["reply 1 err 0"]);
    let others: Vec<ServerId> = c.nodes.keys().copied().filter(|id| *id != leader).collect();
    others.into_iter().for_each(|id| c.kill(id));
    c.run(3000);
    assert_eq!((c.leader(), c.seen(leader, conn).last().unwrap().as_str()), (None, "end"));
}

#[test]
fn a_dead_leader_is_replaced_and_nothing_is_lost() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let conn = c.connect(follower, SessionId::NONE, &[0; 16]);
    let session = c.nodes[&leader].keeper.sessions().images().next().expect("a session");
    assert_eq!(c.ask(follower, conn, &[create("/a", 0), create("/e", 1)]), ["reply 1 err 0", "reply 2 err 0"]);
    c.kill(leader);
    c.run(300);
    let next = c.leader().unwrap_or_else(|| panic!("no leader: {:#?}", c.notes));
    assert_eq!(c.seen(follower, conn).last().unwrap(), "end", "a server that loses its leader closes its clients");
    let again = c.connect(next, session.session, &session.password);
    assert_eq!(c.seen(next, again), [format!("session {}", session.session)]);
    let answers = c.ask(
        next,
        again,
        &[Request::Exists { path: b"/a", watch: false }, Request::Exists { path: b"/e", watch: false }, create("/b", 0)],
    );
    assert_eq!(answers, ["reply 1 err 0", "reply 2 err 0", "reply 3 err 0"]);
    c.run(200);
    c.same_trees();
    assert_eq!(c.nodes[&next].keeper.applied().epoch(), 2);
}

#[test]
fn a_minority_reads_to_those_who_asked_for_no_more_until_a_leader_is_there() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let leader = c.leader().unwrap();
    let conn = c.connect(leader, SessionId::NONE, &[0; 16]);
    assert_eq!(c.ask(leader, conn, &[create("/a", 0)]), ["reply 1 err 0"]);
    c.run(200);
    let left = c.follower();
    let others: Vec<ServerId> = c.nodes.keys().copied().filter(|id| *id != left).collect();
    others.iter().for_each(|id| c.kill(*id));
    c.run(1000);
    let early = c.connect_as(left, SessionId::NONE, &[0; 16], true);
    assert_eq!(c.seen(left, early), ["end"], "it looks for a leader first");
    c.run(2000);
    let writer = c.connect(left, SessionId::NONE, &[0; 16]);
    assert_eq!(c.seen(left, writer), ["end"]);
    let reader = c.connect_as(left, SessionId::NONE, &[0; 16], true);
    assert!(c.seen(left, reader)[0].starts_with("session 0x"), "{:?}", c.seen(left, reader));
    let asked = [Request::Exists { path: b"/a", watch: false }, create("/b", 0), Request::Sync { path: Some(b"/") }, Request::Ping];
    assert_eq!(c.ask(left, reader, &asked), ["reply 1 err 0", "reply 2 err -119", "reply 3 err -119", "reply 4 err 0"]);
    let known = c.nodes[&left].keeper.sessions().images().next().expect("a session").session;
    let resumed = c.connect_as(left, known, &[0; 16], true);
    assert_eq!(c.seen(left, resumed), ["end"], "a session of the ensemble goes on elsewhere, and isn't called gone");
    let unknown = c.connect_as(left, SessionId(77), &[0; 16], true);
    assert_eq!(c.seen(left, unknown), ["session 0x0", "end"], "one that nobody here knows of is");
    c.run(5000);
    assert_eq!(c.seen(left, reader).last().unwrap(), "end", "a silent session ends here too");
}

#[test]
fn all_that_is_due_is_reaped_and_no_faster_than_it_may() {
    const CONTAINERS: usize = 20;
    let mut c = Cluster::new(3);
    c.run(1000);
    let leader = c.leader().unwrap();
    let conn = c.connect(leader, SessionId::NONE, &[0; 16]);
    for n in 0..CONTAINERS {
        let (path, child) = (format!("/c{n}"), format!("/c{n}/x"));
        let create_it = Create { op: CreateOp::Container, path: path.as_bytes(), data: None, acl: Some(OPEN_UNSAFE), flags: 4, ttl_ms: 0 };
        let delete_child = Request::Delete { path: child.as_bytes(), version: -1 };
        let asked = [Request::Create(create_it), create(&child, 0), delete_child];
        assert_eq!(c.ask(leader, conn, &asked), ["reply 1 err 0", "reply 2 err 0", "reply 3 err 0"]);
    }
    let left = |c: &Cluster| {
        let tree = c.nodes[&leader].keeper.tree();
        (0..CONTAINERS).filter(|n| tree.find(format!("/c{n}").as_bytes()).is_some()).count()
    };
    assert_eq!(left(&c), CONTAINERS, "they are looked for once a minute");
    let keeper = &mut c.nodes.get_mut(&leader).unwrap().keeper;
    (keeper.options.reap_per_minute_max, keeper.next_reap) = (600, MonoMs(0));
    c.run(1000);
    assert!((8..=12).contains(&left(&c)), "{} are left after a second at ten a second", left(&c));
    c.run(1500);
    assert_eq!(left(&c), 0, "what is due isn't left for the next look");
}

#[test]
fn sessions_expire_by_the_leaders_word_and_not_while_they_are_heard_elsewhere() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let (heard, silent) = (c.connect(follower, SessionId::NONE, &[0; 16]), c.connect(follower, SessionId::NONE, &[0; 16]));
    assert_eq!(c.ask(follower, heard, &[create("/heard", 1)]), ["reply 1 err 0"]);
    assert_eq!(c.ask(follower, silent, &[create("/silent", 1)]), ["reply 1 err 0"]);
    for _ in 0..8 {
        c.run(1000);
        assert_eq!(c.ask(follower, heard, &[Request::Ping]), ["reply 1 err 0"]);
    }
    assert_eq!(c.seen(follower, silent).last().unwrap(), "end");
    let asked = [Request::Exists { path: b"/heard", watch: false }, Request::Exists { path: b"/silent", watch: false }];
    assert_eq!(c.ask(follower, heard, &asked), ["reply 1 err 0", "reply 2 err -101"]);
    assert_eq!(c.nodes[&leader].keeper.sessions().count(), 1);
}

#[test]
fn what_a_follower_heard_counts_from_then_and_not_from_its_report() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let conn = c.connect(follower, SessionId::NONE, &[0; 16]);
    let due = |c: &Cluster| c.nodes[&leader].keeper.sessions().deadlines().map(|(due, _)| due.0).collect::<Vec<_>>();
    // Reports go out at each half tick of 100 ms: heard at all places between two.
    for _ in 0..20 {
        let heard_ms = c.now_ms;
        assert_eq!(c.ask(follower, conn, &[Request::Ping]), ["reply 1 err 0"]);
        c.run(160);
        assert_eq!(due(&c), [(heard_ms + 4000) / 200 * 200 + 200], "heard at {heard_ms}, now it is {}", c.now_ms);
    }
}

#[test]
fn an_epoch_without_zxids_proposes_nothing_not_even_ends_of_sessions() {
    for left in [1 << 20, 1, 0] {
        let mut c = Cluster::new(3);
        c.run(1000);
        let leader = c.leader().unwrap();
        let conn = c.connect(leader, SessionId::NONE, &[0; 16]);
        let keeper = &mut c.nodes.get_mut(&leader).unwrap().keeper;
        let proposed = Zxid::new(keeper.applied().epoch(), ZXID_COUNTER_MAX - left);
        keeper.proposed = proposed;
        assert_eq!(c.ask(leader, conn, &[create("/late", 0)]), [] as [&str; 0], "what is left is for sessions that end");
        if left == 0 {
            assert_eq!(c.ask(leader, conn, &[Request::CloseSession]), [] as [&str; 0]);
            // Nor when its timeout is over.
            c.run(10_000);
        }
        assert_eq!((c.nodes[&leader].keeper.proposed, c.leader()), (proposed, Some(leader)));
        assert_eq!(c.nodes[&leader].keeper.sessions().count(), 1);
    }
}

#[test]
fn a_learner_whose_place_in_the_log_cant_be_read_is_offered_a_snapshot() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let conn = c.connect(leader, SessionId::NONE, &[0; 16]);
    for _ in 0..4 {
        assert_eq!(c.ask(leader, conn, &[create("/a", 2)]), ["reply 1 err 0"]);
    }
    c.nodes.get_mut(&leader).unwrap().keeper.snapshots.want();
    c.run(1000);
    let now = c.now();
    let node = c.nodes.get_mut(&leader).unwrap();
    assert!(node.keeper.snapshots.newest_verified().is_some());
    let mut cx = Cx { now, pool: &mut node.pool, fx: &mut node.fx };
    // No file of these servers is ever there.
    node.keeper.ask_files_for(&mut cx, follower, Identity { zxid: Zxid::new(1, 2), checksum: 7 });
    (0..2).for_each(|_| c.turn(leader, false));
    assert!(c.notes.iter().any(|note| note.contains("finds damage")), "{:#?}", c.notes);
    let mail = &c.nodes[&follower].mail;
    let is_offer = |item: &PeerItem| match item {
        PeerItem::Message { body, .. } => matches!(crate::wire::peer::decode(&mail.bytes[body.clone()]), Ok(Message::Snapshot { .. })),
        _ => false,
    };
    assert!(mail.items.iter().any(is_offer), "{:#?}", c.notes);
}
