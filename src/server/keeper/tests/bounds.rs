//! What a leader does when its learners ask for more than it can do at once: nobody is refused, nothing piles up.

use super::bench::{Bench, Seen, create};
use super::cluster::{Cluster, link};
use crate::base::ids::{ConnId, ServerId, SessionId, Zxid};
use crate::log::record::record_bytes_bound;
use crate::model::ops::OpBuf;
use crate::model::peer::{Lane, Message};
use crate::model::position::Identity;
use crate::model::request::Request;
use crate::model::txn::OpRef;
use crate::prep::{OP_BYTES, TXN_HEAD_BYTES};
use crate::server::mail::{Hold, Item};
use crate::server::peer_mail::PeerItem;
use crate::wire::client::client_side::{put_request, request_op};
use crate::wire::peer as wire;
use crate::wire::peer::PeerFrames;
use crate::wire::peer::forward::{self, ForwardVerdict};

#[test]
fn forwarded_writes_wait_while_nothing_commits_and_are_not_refused() {
    const WRITES: i32 = 1500;
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let conn = c.connect(follower, SessionId::NONE, &[0; 16]);
    assert_eq!(c.ask(follower, conn, &[create("/a", 0)]), ["reply 1 err 0"]);
    let before = c.seen(follower, conn).len();
    // The leader alone is durable, so each write makes a batch that no quorum has.
    c.nodes.iter_mut().filter(|(id, _)| **id != leader).for_each(|(_, n)| n.disk_hangs = true);
    for xid in 1..=WRITES {
        let (mut bytes, request) = (Vec::new(), create("/a/n", 2));
        put_request(&mut bytes, xid, &request);
        let item = Item::Request { conn, xid, op: request_op(&request).wire(), body: 12..bytes.len() };
        c.burst(follower, vec![item], bytes);
        c.turn(follower, false);
        c.turn(leader, false);
        c.turn(leader, false);
    }
    let held = c.nodes[&leader].keeper.log.stats().held;
    assert!((60..200).contains(&held), "{held} batches held");
    assert_eq!(c.seen(follower, conn).len(), before, "nothing is committed");
    c.nodes.values_mut().for_each(|n| n.disk_hangs = false);
    c.run(300);
    let answers = c.seen(follower, conn)[before..].to_vec();
    assert_eq!(answers, (1..=WRITES).map(|xid| format!("reply {xid} err 0")).collect::<Vec<_>>());
    c.run(200);
    c.same_trees();
}

/// The leader doesn't trust what it heard before the pause, so its rounds wait for fresh pulses; writes are acknowledged at once.
#[test]
fn after_a_pause_of_all_servers_each_request_is_answered_in_its_turn() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    for at in [leader, follower] {
        let conn = c.connect(at, SessionId::NONE, &[0; 16]);
        let path = format!("/n{}", at.0);
        assert_eq!(c.ask(at, conn, &[create(&path, 0)]), ["reply 1 err 0"]);
        c.stand_still(1200);
        let good = Request::SetData { path: path.as_bytes(), data: None, version: -1 };
        let bad = Request::SetData { path: b"/none", data: None, version: -1 };
        let before = c.seen(at, conn).len();
        c.ask(at, conn, &[bad.clone(), good.clone(), Request::Ping, bad, good]);
        c.run(500);
        let answers = c.seen(at, conn)[before..].to_vec();
        assert_eq!(answers, ["reply 1 err -101", "reply 2 err 0", "reply 3 err 0", "reply 4 err -101", "reply 5 err 0"], "server {}", at.0);
    }
}

/// A refusal that waits for its round keeps back what the leader applies, and so what it may say is committed.
#[test]
fn a_session_that_a_follower_has_opened_is_known_to_the_leader() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let refused = c.connect(leader, SessionId::NONE, &[0; 16]);
    c.stand_still(1200);
    c.post(leader, refused, &[Request::SetData { path: b"/none", data: None, version: -1 }]);
    let fresh = c.begin_to_connect(follower, SessionId::NONE, &[0; 16], false);
    let answered = |c: &Cluster| c.seen(follower, fresh).first().is_some_and(|first| first.starts_with("session 0x"));
    for _ in 0..10 {
        [1, 2, 3].map(ServerId).into_iter().for_each(|id| c.turn(id, false));
        if answered(&c) {
            break;
        }
    }
    (0..100).for_each(|_| {
        if !answered(&c) {
            c.run(10)
        }
    });
    assert_eq!(c.ask(follower, fresh, &[create("/mine", 1)]), ["reply 1 err 0"]);
}

/// What `prep` lets pass must fit the log: it counts with bounds of its own.
#[test]
fn prep_counts_no_less_than_the_log_for_every_change() {
    let changes = [
        OpRef::Create { path: b"/a", data: Some(b"x"), acl: b"acl", owner: 3, parent_cversion: 4 },
        OpRef::SetData { path: b"/a", data: None, version: 1 },
        OpRef::SetAcl { path: b"/a", acl: b"", aversion: 1 },
        OpRef::Delete { path: b"/a" },
    ];
    for change in changes {
        let mut ops = OpBuf::default();
        for count in 0..50 {
            let bound = TXN_HEAD_BYTES + count * OP_BYTES + ops.payload_len();
            assert!(record_bytes_bound(&ops) <= bound, "{count} × {change:?}");
            ops.push(change);
        }
    }
}

/// One write for each turn of the leader, until it wants that much unread.
fn crowd(c: &mut Cluster, leader: ServerId, conn: ConnId, until: Hold) {
    for xid in 1..=400 {
        if c.nodes[&leader].keeper.hold() >= until {
            return;
        }
        let (mut bytes, request) = (Vec::new(), create("/a/n", 2));
        put_request(&mut bytes, xid, &request);
        let item = Item::Request { conn, xid, op: request_op(&request).wire(), body: 12..bytes.len() };
        c.burst(leader, vec![item], bytes);
        (0..2).for_each(|_| c.turn(leader, false));
    }
    panic!("the leader takes whatever comes");
}

/// Without a quorum, and with more written than is held for clients that wait, no socket is read.
#[test]
fn a_quorum_that_stands_still_costs_nobody_a_session() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let (idle, idle_there) = (c.connect(leader, SessionId::NONE, &[0; 16]), c.connect(follower, SessionId::NONE, &[0; 16]));
    let writer = c.connect(leader, SessionId::NONE, &[0; 16]);
    assert_eq!(c.ask(leader, writer, &[create("/a", 0)]), ["reply 1 err 0"]);
    c.nodes.iter_mut().filter(|(id, _)| **id != leader).for_each(|(_, n)| n.disk_hangs = true);
    crowd(&mut c, leader, writer, Hold::All);
    // No socket of the leader is read now: its clients' pings lie there. The follower reads.
    for _ in 0..9 {
        c.run(1000);
        assert_eq!(c.ask(follower, idle_there, &[Request::Ping]), ["reply 1 err 0"]);
    }
    assert_eq!(c.nodes[&leader].keeper.hold(), Hold::All);
    c.nodes.values_mut().for_each(|n| n.disk_hangs = false);
    c.run(200);
    let look = Request::Exists { path: b"/a", watch: false };
    assert_eq!(c.ask(leader, idle, std::slice::from_ref(&look)), ["reply 1 err 0"]);
    assert_eq!(c.ask(follower, idle_there, std::slice::from_ref(&look)), ["reply 1 err 0"]);
    // And whoever stays silent from here on is gone after its timeout.
    c.run(9500);
    assert_eq!((c.seen(leader, idle).last().unwrap().as_str(), c.nodes[&leader].keeper.sessions().count()), ("end", 0));
}

/// A log that is full of writes keeps unread whoever waits for one, and nobody else: who is silent has no excuse.
#[test]
fn while_much_is_under_way_who_waits_is_spared_and_who_is_silent_is_not() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let (silent, pinging) = (c.connect(leader, SessionId::NONE, &[0; 16]), c.connect(leader, SessionId::NONE, &[0; 16]));
    let writer = c.connect(leader, SessionId::NONE, &[0; 16]);
    let writer_there = c.connect(follower, SessionId::NONE, &[0; 16]);
    assert_eq!(c.ask(leader, writer, &[create("/a", 0)]), ["reply 1 err 0"]);
    c.nodes.iter_mut().filter(|(id, _)| **id != leader).for_each(|(_, n)| n.disk_hangs = true);
    crowd(&mut c, leader, writer, Hold::Waiting);
    assert_eq!(c.ask(follower, writer_there, &[create("/a/n", 2)]), [] as [&str; 0]);
    for _ in 0..9 {
        c.run(1000);
        assert_eq!(c.ask(leader, pinging, &[Request::Ping]), ["reply 1 err 0"]);
        assert_eq!(c.nodes[&leader].keeper.hold(), Hold::Waiting);
    }
    c.nodes.values_mut().for_each(|n| n.disk_hangs = false);
    c.run(500);
    assert_eq!(c.seen(leader, silent).last().unwrap(), "end");
    let look = Request::Exists { path: b"/a", watch: false };
    for conn in [pinging, writer] {
        assert_eq!(c.ask(leader, conn, std::slice::from_ref(&look)), ["reply 1 err 0"]);
    }
}

/// So much of its clients is with the leader that it reads none of them.
#[test]
fn a_follower_that_stands_still_speaks_for_its_clients() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let (idle, writer) = (c.connect(follower, SessionId::NONE, &[0; 16]), c.connect(leader, SessionId::NONE, &[0; 16]));
    let writer_there = c.connect(follower, SessionId::NONE, &[0; 16]);
    assert_eq!(c.ask(leader, writer, &[create("/a", 0)]), ["reply 1 err 0"]);
    c.nodes.iter_mut().filter(|(id, _)| **id != leader).for_each(|(_, n)| n.disk_hangs = true);
    crowd(&mut c, leader, writer, Hold::Waiting);
    let data = vec![0; 1_000_000];
    let large = vec![Request::SetData { path: b"/a", data: Some(&data), version: -1 }; 20];
    assert_eq!(c.ask(follower, writer_there, &large), [] as [&str; 0]);
    for _ in 0..9 {
        c.run(1000);
        assert_eq!(c.nodes[&follower].keeper.hold(), Hold::All);
        // The leader's own clients are heard.
        c.ask(leader, writer, &[Request::Ping]);
    }
    c.nodes.values_mut().for_each(|n| n.disk_hangs = false);
    c.run(500);
    assert_eq!(c.ask(follower, idle, &[Request::Exists { path: b"/a", watch: false }]), ["reply 1 err 0"]);
}

/// The pings lie in the sockets of the fronts, and the time comes first.
#[test]
fn a_process_that_stood_still_hears_its_clients_before_it_judges_them() {
    let mut bench = Bench::new();
    let conn = bench.client();
    bench.pass(29_900);
    bench.stand_still(60_000);
    assert_eq!(bench.ask(conn, &Request::Ping).len(), 1);
    bench.pass(29_900);
    assert_eq!(bench.ask(conn, &Request::Ping).len(), 1);
    bench.pass(34_100);
    assert_eq!(bench.news(conn), [Seen::End]);
}

/// It takes what was sent to it, and its socket isn't read until it has.
#[test]
fn who_takes_its_answers_slowly_keeps_its_session() {
    let mut bench = Bench::new();
    let conn = bench.client();
    for _ in 0..5 {
        bench.pass(25_000);
        bench.takes_some(conn);
    }
    bench.pass(25_000);
    assert_eq!(bench.news(conn), []);
    bench.pass(10_000);
    assert_eq!(bench.news(conn), [Seen::End]);
}

/// The client goes on at another server; nothing ever comes on its old connection.
#[test]
fn a_session_that_moved_leaves_no_connection_behind() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let (old, other) = (c.connect(follower, SessionId::NONE, &[0; 16]), c.connect(follower, SessionId::NONE, &[0; 16]));
    assert_eq!(c.ask(follower, old, &[create("/a", 0)]), ["reply 1 err 0"]);
    let keeper = &c.nodes[&follower].keeper;
    let session = keeper.conns.find(old).and_then(|idx| keeper.conns.get(idx)).unwrap().session;
    let password = keeper.sessions().get(session).unwrap().password;
    let new = c.connect(leader, session, &password);
    for _ in 0..6 {
        c.run(900);
        assert_eq!(c.ask(leader, new, &[Request::Ping]), ["reply 1 err 0"]);
        assert_eq!(c.ask(follower, other, &[Request::Ping]), ["reply 1 err 0"]);
    }
    assert_eq!(c.seen(follower, old).last().unwrap(), "end");
    assert_ne!(c.seen(leader, new).last().unwrap(), "end");
}

/// Here every request has waited since the clock began.
#[test]
fn a_flood_of_slow_requests_becomes_a_few_lines_that_say_what_they_waited_for() {
    let mut bench = Bench::new();
    let conn = bench.client();
    let requests = vec![create("/n", 2); 500];
    assert_eq!(bench.ask_all(conn, &requests).len(), 500);
    let lines = bench.notes("slow request: ");
    assert!((1..=5).contains(&lines.len()), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("took 1000 ms: 1000 ms until it was in a batch here, 0 until that went to the disk")));
}

/// `to` has a message of `from` in its mail.
fn hear(c: &mut Cluster, from: ServerId, to: ServerId, lane: Lane, message: &Message<'_>) {
    let mut framed = Vec::new();
    wire::put(&mut framed, from, message);
    let mut frames = PeerFrames::new(wire::body_bytes_max(lane));
    let frame = frames.next(&framed).unwrap().1.unwrap();
    let mail = &mut c.nodes.get_mut(&to).unwrap().mail;
    let at = mail.bytes.len();
    mail.bytes.extend_from_slice(frame.body);
    mail.items.push(PeerItem::Message { peer: from, lane, link: link(to, from, lane as usize), body: at..mail.bytes.len() });
}

/// One of the two would never be applied in its turn. The cluster of the test doesn't bear that a link is closed.
#[test]
#[should_panic(expected = "closes its link")]
fn verdicts_out_of_order_end_the_link_and_nothing_else() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let conn = c.connect(follower, SessionId::NONE, &[0; 16]);
    let (mut bytes, mut items) = (Vec::new(), Vec::new());
    for xid in 1..=2 {
        let (from, request) = (bytes.len() + 12, create("/a", 2));
        put_request(&mut bytes, xid, &request);
        items.push(Item::Request { conn, xid, op: request_op(&request).wire(), body: from..bytes.len() });
    }
    c.burst(follower, items, bytes);
    c.turn(follower, false);
    let mut verdicts = Vec::new();
    for counter in [900, 800] {
        forward::put_verdict(&mut verdicts, &ForwardVerdict::Proposed { zxid: Zxid::new(1, counter) });
    }
    hear(&mut c, leader, follower, Lane::Main, &Message::Verdicts { epoch: 1, bytes: &verdicts });
    c.turn(follower, false);
}

#[test]
fn of_several_reads_that_a_learner_asks_for_at_once_the_newest_is_answered() {
    let mut c = Cluster::new(3);
    c.run(1000);
    let (leader, follower) = (c.leader().unwrap(), c.follower());
    let at = |counter| Identity { zxid: Zxid::new(1, counter), checksum: 7 };
    let ask = |c: &mut Cluster, after: Identity| hear(c, follower, leader, Lane::Bulk, &Message::FetchAsk { after, bytes_max: 1000 });
    let answers = |c: &mut Cluster| {
        (0..4).for_each(|_| c.turn(leader, false));
        let mail = std::mem::take(&mut c.nodes.get_mut(&follower).unwrap().mail);
        let fetched = mail.items.iter().filter_map(|item| match item {
            PeerItem::Message { body, .. } => match wire::decode(&mail.bytes[body.clone()]) {
                Ok(Message::Fetched { after, .. }) => Some(after),
                _ => None,
            },
            _ => None,
        });
        fetched.collect::<Vec<_>>()
    };
    (1..=3).for_each(|counter| ask(&mut c, at(counter)));
    assert_eq!(answers(&mut c), [at(3)]);
    (0..3).for_each(|_| ask(&mut c, at(4)));
    assert_eq!(answers(&mut c), [at(4)], "the same again is one question");
}
