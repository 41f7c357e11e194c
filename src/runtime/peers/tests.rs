//! Servers in one process, each on an executor of its own, over real sockets of 127.0.0.1.

use super::super::boot::executor;
use super::*;
use crate::base::ids::Zxid;
use crate::model::membership::Membership;
use crate::model::peer::{LANES, Message, Pulse, Stance, Standing};
use crate::model::position::Identity;
use crate::server::peer_mail::PeerItem;
use crate::wire::peer::{decode, put, put_batch};
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Mutex;

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tests that start servers one after the other: executors that share two cores with more of them only get slower.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a test has a server do.
enum Order {
    Send(ServerId, Lane, Vec<u8>),
    /// Closes a link.
    Kill(ServerId, Lane),
    Hold(bool),
    SetCluster(ClusterId),
    End,
}

/// What a server tells its test.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Up(u8, u8, Lane),
    Down(u8, u8, Lane),
    Message(u8, u8, Lane, Vec<u8>),
    Note(u8, String),
    Started(u8, Result<(), (Fatal, String)>),
}

fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<StdListener> = (0..count).map(|_| StdListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|l| l.local_addr().unwrap().port()).collect()
}

fn membership(ids: &[u8], host: &str) -> Membership {
    let ports = free_ports(ids.len() * 2);
    let member = |(n, id): (usize, &u8)| Member {
        id: ServerId(*id),
        votes: true,
        weight: 1,
        group: 0,
        host: host.to_owned(),
        quorum_port: ports[n * 2],
        election_port: ports[n * 2 + 1],
        client: None,
    };
    Membership::new(1, ids.iter().enumerate().map(member))
}

/// One server: its sockets, and a turn that does what the test orders.
struct Server {
    id: u8,
    orders: Sender<Order>,
    thread: Option<glommio::ExecutorJoinHandle<()>>,
}

impl Server {
    fn start(id: u8, membership: &Membership, cluster: u128, events: &Sender<Event>) -> Server {
        let (orders, inbox) = unbounded();
        let (membership, events) = (membership.clone(), events.clone());
        let links = LinkOptions {
            me: ServerId(id),
            membership,
            cluster: ClusterId(cluster),
            incarnation: u64::from(id),
            handshake_timeout_ms: 5000,
            quiet_timeout_ms: 600_000,
        };
        let options = PeerOptions { links, listen_on_all_ips: false, backlog_bytes: 1 << 20, seed: u64::from(id) };
        let thread = executor(glommio::Placement::Unbound, "peers", 1).spawn(move || run(id, options, inbox, events)).unwrap();
        Server { id, orders, thread: Some(thread) }
    }

    fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }

    fn say(&self, to: u8, lane: Lane, messages: &[Message<'_>]) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| put(&mut bytes, ServerId(self.id), message));
        self.order(Order::Send(ServerId(to), lane, bytes));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run(id: u8, options: PeerOptions, orders: Receiver<Order>, events: Sender<Event>) {
    let wake = Wake::default();
    let started = Peers::start(options, Clock::start(), wake.clone());
    let _ = events.send(Event::Started(id, started.as_ref().map(|_| ()).map_err(|e| (e.kind, e.message.clone()))));
    let Ok(peers) = started else { return };
    let over = Rc::new(Cell::new(false));
    let (ticking, bell) = (Rc::clone(&over), wake.clone());
    glommio::spawn_local(async move {
        while !ticking.get() {
            glommio::timer::sleep(Duration::from_millis(2)).await;
            bell.ring();
        }
    })
    .detach();
    let mut links = BTreeMap::new();
    let mut outbox = PeerOutbox::default();
    let mut burst = PeerBurst::default();
    loop {
        wake.rung().await;
        peers.with_burst(|full| std::mem::swap(full, &mut burst));
        for item in &burst.items {
            let event = match item {
                PeerItem::Up { peer, lane, link } => {
                    links.insert((*peer, *lane), *link);
                    Event::Up(id, peer.0, *lane)
                }
                PeerItem::Down { peer, lane, link } => {
                    assert_eq!(links.remove(&(*peer, *lane)), Some(*link), "Down of a link that isn't up");
                    Event::Down(id, peer.0, *lane)
                }
                PeerItem::Message { peer, lane, link, body } => {
                    assert_eq!(links.get(&(*peer, *lane)), Some(link), "a message of a link that isn't up");
                    Event::Message(id, peer.0, *lane, burst.bytes[body.clone()].to_vec())
                }
            };
            let _ = events.send(event);
        }
        burst.clear();
        // One in a turn, so that what is ordered in a row isn't sent at once.
        if let Ok(order) = orders.try_recv() {
            match order {
                Order::Send(peer, lane, bytes) => {
                    if let Some(link) = links.get(&(peer, lane)) {
                        let from = outbox.bytes.len();
                        outbox.bytes.extend_from_slice(&bytes);
                        outbox.book(*link, from);
                    }
                }
                Order::Kill(peer, lane) => links.get(&(peer, lane)).into_iter().for_each(|link| outbox.close(*link)),
                Order::Hold(held) => peers.hold(held),
                Order::SetCluster(cluster) => peers.set_cluster(cluster),
                Order::End => {
                    over.set(true);
                    peers.stop();
                    // Canceled tasks let go of their sockets when they are run.
                    glommio::timer::sleep(Duration::from_millis(20)).await;
                    return;
                }
            }
        }
        peers.deliver(&mut outbox);
        peers.tick();
        peers.take_notes().into_iter().for_each(|note| drop(events.send(Event::Note(id, note.text))));
    }
}

/// Events until `wanted` have come, in any order; the others are given back.
fn await_all(events: &Receiver<Event>, mut wanted: Vec<Event>) -> Vec<Event> {
    let mut others = Vec::new();
    while !wanted.is_empty() {
        let event = events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never came: {wanted:?}; but {others:?}"));
        match wanted.iter().position(|w| *w == event) {
            Some(at) => drop(wanted.swap_remove(at)),
            None => others.push(event),
        }
    }
    others
}

/// The text of the first line of `server` that contains `part`.
fn await_note(events: &Receiver<Event>, server: u8, part: &str) -> String {
    let mut others = Vec::new();
    loop {
        match events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {part:?}; but {others:?}")) {
            Event::Note(id, text) if id == server && text.contains(part) => return text,
            other => others.push(other),
        }
    }
}

/// The first lines of servers 1 and 2 that contain `part`, whichever comes first; a line isn't said again at once.
fn await_both_notes(events: &Receiver<Event>, part: &str) -> (String, String) {
    let mut lines = [None, None];
    while lines.iter().any(Option::is_none) {
        match events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {part:?}; but {lines:?}")) {
            Event::Note(id, text) if text.contains(part) => drop(lines[usize::from(id) - 1].get_or_insert(text)),
            _ => {}
        }
    }
    let [one, two] = lines.map(Option::unwrap);
    (one, two)
}

/// `servers` with all lanes between them up.
fn connected(ids: &[u8], host: &str) -> (Vec<Server>, Receiver<Event>, Membership) {
    let membership = membership(ids, host);
    let (sender, events) = unbounded();
    let servers: Vec<Server> = ids.iter().map(|id| Server::start(*id, &membership, 7, &sender)).collect();
    let mut wanted = Vec::new();
    for (a, b) in ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b) {
        wanted.extend(LANES.map(|lane| Event::Up(a, b, lane)));
    }
    await_all(&events, wanted);
    (servers, events, membership)
}

fn pulse() -> Message<'static> {
    Message::Pulse(Pulse {
        cluster: ClusterId(7),
        standing: Standing::Voter,
        stance: Stance::Looking,
        accepted_epoch: 1,
        position: crate::model::position::Position::default(),
        hears_quorum: true,
        founder: false,
        applied: Zxid(5),
        digest: 6,
    })
}

fn body(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, ServerId(1), message);
    out.split_off(crate::wire::peer::frame::HEADER_BYTES)
}

#[test]
fn three_servers_exchange_messages_on_all_lanes_in_order() {
    let _guard = ONE_AT_A_TIME.lock();
    let (servers, events, _) = connected(&[1, 2, 3], "127.0.0.1");
    // Larger than any socket's buffer, so that it leaves in many parts.
    let large: Vec<u8> = (0..6_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut wanted = Vec::new();
    for server in &servers {
        for to in [1, 2, 3].into_iter().filter(|to| *to != server.id) {
            let fetched = Message::Fetched { after: Identity::default(), more: false, bytes: &large[..2_000_000] };
            server.say(to, Lane::Bulk, &[fetched]);
            let (from, zxid) = (server.id, Zxid::new(3, u64::from(to)));
            let mut batch = Vec::new();
            put_batch(&mut batch, ServerId(from), 3, zxid, 1, 0, [b"header", &large]);
            server.order(Order::Send(ServerId(to), Lane::Main, batch));
            server.say(to, Lane::Main, &[Message::Lead { epoch: 3 }, Message::Ack { epoch: 3, durable: zxid, beat: 2 }]);
            server.say(to, Lane::Pulse, &[pulse()]);
            let both = [b"header", &large[..]].concat();
            let whole = Message::Batch { epoch: 3, committed: zxid, beat: 1, confirmed: 0, bytes: &both };
            let ack = Message::Ack { epoch: 3, durable: zxid, beat: 2 };
            wanted.extend([&whole, &Message::Lead { epoch: 3 }, &ack].map(|m| (to, from, Lane::Main, body(m))));
            wanted.extend([(to, from, Lane::Bulk, body(&fetched)), (to, from, Lane::Pulse, body(&pulse()))]);
        }
    }
    let mut got = Vec::new();
    while got.len() < wanted.len() {
        match events.recv_timeout(PATIENCE).expect("all messages arrive") {
            Event::Message(at, from, lane, bytes) => got.push((at, from, lane, bytes)),
            Event::Note(..) => {}
            other => panic!("{other:?}"),
        }
    }
    // Order is that of each link.
    for lane in LANES {
        for (at, from) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
            let of = |all: &[(u8, u8, Lane, Vec<u8>)]| -> Vec<Vec<u8>> {
                all.iter().filter(|m| (m.0, m.1, m.2) == (at, from, lane)).map(|m| m.3.clone()).collect()
            };
            assert!(of(&got) == of(&wanted), "{lane:?} from {from} to {at}");
            assert!(of(&got).iter().all(|bytes| decode(bytes).is_ok()));
        }
    }
}

#[test]
fn a_broken_connection_comes_back_and_the_others_stay() {
    let _guard = ONE_AT_A_TIME.lock();
    let (servers, events, _) = connected(&[1, 2], "localhost");
    for killer in [&servers[1], &servers[0]] {
        killer.order(Order::Kill(ServerId(3 - killer.id), Lane::Main));
        let (one, two) = ((1, 2), (2, 1));
        let mut wanted = vec![Event::Down(one.0, one.1, Lane::Main), Event::Down(two.0, two.1, Lane::Main)];
        wanted.extend([Event::Up(one.0, one.1, Lane::Main), Event::Up(two.0, two.1, Lane::Main)]);
        let others = await_all(&events, wanted);
        assert!(others.iter().all(|e| matches!(e, Event::Note(..))), "{others:?}");
    }
    servers[0].say(2, Lane::Main, &[Message::Lead { epoch: 9 }]);
    await_all(&events, vec![Event::Message(2, 1, Lane::Main, body(&Message::Lead { epoch: 9 }))]);
}

#[test]
fn a_server_that_ends_is_down_and_up_again_when_it_returns() {
    let _guard = ONE_AT_A_TIME.lock();
    let (mut servers, events, membership) = connected(&[1, 2], "127.0.0.1");
    drop(servers.remove(0));
    await_all(&events, LANES.map(|lane| Event::Down(2, 1, lane)).into());
    let (sender, again) = unbounded();
    let _returned = Server::start(1, &membership, 7, &sender);
    await_all(&events, LANES.map(|lane| Event::Up(2, 1, lane)).into());
    await_all(&again, LANES.map(|lane| Event::Up(1, 2, lane)).into());
}

#[test]
fn strangers_are_refused_with_a_line_and_a_farewell() {
    let _guard = ONE_AT_A_TIME.lock();
    let (servers, events, membership) = connected(&[1, 2], "127.0.0.1");
    let port = membership.get(ServerId(1)).unwrap().quorum_port;
    let mut stranger = StdStream::connect(("127.0.0.1", port)).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = Vec::new();
    stranger.read_to_end(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("this is no server of Ringkeeper's: an HTTP request"));
    let line = await_note(&events, 1, "an HTTP request");
    assert!(line.starts_with("ending the connection of 127.0.0.1:") && line.contains(" on the quorum port: "), "{line}");
    // Something that says nothing and goes away is no news.
    StdStream::connect(("127.0.0.1", port)).unwrap().shutdown(Shutdown::Both).unwrap();
    servers[0].say(2, Lane::Main, &[Message::Lead { epoch: 1 }]);
    await_all(&events, vec![Event::Message(2, 1, Lane::Main, body(&Message::Lead { epoch: 1 }))]);
}

#[test]
fn servers_of_two_ensembles_refuse_each_other_with_the_same_words() {
    let _guard = ONE_AT_A_TIME.lock();
    let membership = membership(&[1, 2], "127.0.0.1");
    let (sender, events) = unbounded();
    let one = Server::start(1, &membership, 7, &sender);
    await_all(&events, vec![Event::Started(1, Ok(()))]);
    let _two = Server::start(2, &membership, 8, &sender);
    let (here, there) = await_both_notes(&events, "these never mix");
    let reason = here.split_once(": ").unwrap().1;
    assert!(there.ends_with(reason) && there.contains("ends the connection"), "{here}\n{there}");
    one.order(Order::SetCluster(ClusterId(8)));
    await_all(&events, LANES.iter().flat_map(|lane| [Event::Up(1, 2, *lane), Event::Up(2, 1, *lane)]).collect());
}

#[test]
fn what_waits_for_a_peer_that_takes_nothing_is_bounded() {
    let _guard = ONE_AT_A_TIME.lock();
    let (servers, events, _) = connected(&[1, 2], "127.0.0.1");
    servers[1].order(Order::Hold(true));
    let bytes = vec![1; 1 << 20];
    let batch = Message::Batch { epoch: 1, committed: Zxid(1), beat: 1, confirmed: 1, bytes: &bytes };
    // The kernel's buffers on both sides take some MiB.
    for _ in 0..40 {
        servers[0].say(2, Lane::Main, &[batch]);
    }
    await_note(&events, 1, "bytes wait for it, 1048576 may");
    servers[1].order(Order::Hold(false));
    await_all(&events, vec![Event::Up(1, 2, Lane::Main), Event::Up(2, 1, Lane::Main)]);
}

#[test]
fn a_port_that_is_taken_is_said_with_its_use() {
    let _guard = ONE_AT_A_TIME.lock();
    let membership = membership(&[1, 2], "127.0.0.1");
    let port = membership.get(ServerId(1)).unwrap().election_port;
    let _holder = StdListener::bind(("127.0.0.1", port)).unwrap();
    let (sender, events) = unbounded();
    let _one = Server::start(1, &membership, 7, &sender);
    let Event::Started(1, Err((Fatal::AddressInUse, text))) = events.recv_timeout(PATIENCE).unwrap() else { panic!("it started") };
    assert!(text.starts_with(&format!("the election address 127.0.0.1:{port} is in use by another process.")), "{text}");
    assert!(text.ends_with("set another second port in this server's line of every server's configuration"), "{text}");
}

#[test]
fn a_server_that_cannot_be_reached_is_named_with_the_reason() {
    let _guard = ONE_AT_A_TIME.lock();
    for (host, reason) in [("127.0.0.1", "Connection refused"), ("no-such-host.invalid", "its name")] {
        let mut membership = membership(&[1, 2], "127.0.0.1");
        let [one, two] = [1, 2].map(|id| membership.get(ServerId(id)).unwrap().clone());
        membership = Membership::new(2, [Member { host: host.to_owned(), ..one }, two]);
        let (sender, events) = unbounded();
        let _two = Server::start(2, &membership, 7, &sender);
        let line = await_note(&events, 2, "can't be reached: ");
        assert!(line.starts_with(&format!("server 1 at {host}:")) && line.contains(reason), "{line}");
    }
}
