//! Links as a machine: exact effects, items and lines for every way in which a handshake can end.

use super::*;
use crate::model::membership::Member;
use crate::model::peer::Message;
use crate::wire::peer::{FORMAT_VERSION, Goodbye, Hello, decode, decode_goodbye, decode_hello, put, put_goodbye, put_hello};
use proptest::prelude::*;

const T: MonoMs = MonoMs(10_000);

fn members(ids: &[u8]) -> Membership {
    let member = |id: &u8| Member {
        id: ServerId(*id),
        votes: true,
        weight: 1,
        group: 0,
        host: format!("host{id}"),
        quorum_port: 2888,
        election_port: 3888,
        client: None,
    };
    Membership::new(1, ids.iter().map(member))
}

fn options(me: u8) -> LinkOptions {
    LinkOptions {
        me: ServerId(me),
        membership: members(&[1, 2, 3]),
        cluster: ClusterId(7),
        incarnation: u64::from(me) * 1000,
        handshake_timeout_ms: 2000,
        quiet_timeout_ms: 1500,
    }
}

fn links(me: u8) -> Links {
    Links::new(options(me))
}

fn hello(sender: u8, addressee: u8, lane: Lane) -> Hello {
    Hello {
        format_version: FORMAT_VERSION,
        cluster: ClusterId(7),
        sender: ServerId(sender),
        addressee: ServerId(addressee),
        lane,
        membership_digest: members(&[1, 2, 3]).digest(),
        incarnation: u64::from(sender) * 1000,
    }
}

fn hello_bytes(hello: &Hello) -> Vec<u8> {
    let mut out = Vec::new();
    put_hello(&mut out, hello);
    out
}

/// Effects in a form that a test can spell out.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Hello(u64, Hello),
    Goodbye(u64, String),
    Up(u64, Lane),
    Close(u64),
    Note(Level, String),
}

fn effects(links: &mut Links) -> Vec<Seen> {
    let mut all = Vec::new();
    links.take_effects(&mut all);
    let seen = |effect| match effect {
        LinkEffect::Send { link, bytes } => {
            let mut frames = PeerFrames::new(GREETING_BODY_BYTES_MAX);
            let (used, frame) = frames.next(&bytes).unwrap();
            assert_eq!(used, bytes.len());
            match frame.unwrap().body {
                body @ [kind::HELLO, ..] => Seen::Hello(link.0, decode_hello(body).unwrap()),
                body => {
                    let Goodbye { reason } = decode_goodbye(body).unwrap();
                    Seen::Goodbye(link.0, String::from_utf8(reason.to_vec()).unwrap())
                }
            }
        }
        LinkEffect::Up { link, lane } => Seen::Up(link.0, lane),
        LinkEffect::Close { link } => Seen::Close(link.0),
        LinkEffect::Note(note) => Seen::Note(note.level, note.text),
    };
    all.into_iter().map(seen).collect()
}

fn info(text: &str) -> Seen {
    Seen::Note(Level::Info, text.to_owned())
}

fn up(peer: u8, lane: Lane, link: LinkId) -> PeerItem {
    PeerItem::Up { peer: ServerId(peer), lane, link }
}

fn down(peer: u8, lane: Lane, link: LinkId) -> PeerItem {
    PeerItem::Down { peer: ServerId(peer), lane, link }
}

/// A link to server 1 that server 3 accepted or not; here server 1 is `links` and `from` greets it.
fn accept(links: &mut Links, port: Port, greeting: &Hello) -> (LinkId, PeerBurst) {
    let mut burst = PeerBurst::default();
    let link = links.on_accepted(T, port, "10.0.0.9:50").unwrap();
    links.on_bytes(T, link, &hello_bytes(greeting), &mut burst);
    (link, burst)
}

#[test]
fn a_server_that_stays_away_is_a_warning_and_one_that_is_late_is_not() {
    let mut three = links(3);
    let mut levels = Vec::new();
    for ms in (0..20_000).step_by(1000) {
        three.on_dial_failed(T.plus(ms), ServerId(1), "host1:2888", "refused");
        levels.extend(effects(&mut three).into_iter().map(|seen| match seen {
            Seen::Note(level, _) => (ms, level),
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(levels, [(0, Level::Info), (5000, Level::Warn)]);
    three.on_dialed(T.plus(20_000), ServerId(1), Lane::Main, "host1:2888");
    effects(&mut three);
    three.on_dial_failed(T.plus(61_000), ServerId(1), "host1:2888", "refused");
    assert!(matches!(effects(&mut three)[..], [Seen::Note(Level::Info, _)]), "it was reached meanwhile");
}

#[test]
fn who_connects_greets_first_and_both_are_up_after_a_greeting_each() {
    let (mut three, mut one) = (links(3), links(1));
    assert_eq!(one.to_dial().count(), 0);
    assert_eq!(three.to_dial().count(), 6, "two peers, three lanes");
    let a = three.on_dialed(T, ServerId(1), Lane::Main, "10.0.0.1:2888");
    let mine = hello(3, 1, Lane::Main);
    assert_eq!(effects(&mut three), [Seen::Hello(1, mine)]);
    let (b, burst) = accept(&mut one, Port::Quorum, &mine);
    assert_eq!(burst.items, [up(3, Lane::Main, b)]);
    let answer = hello(1, 3, Lane::Main);
    let line = info("the main connection to server 3 at 10.0.0.9:50 is up");
    assert_eq!(effects(&mut one), [Seen::Hello(1, answer), Seen::Up(1, Lane::Main), line]);
    let mut burst = PeerBurst::default();
    three.on_bytes(T, a, &hello_bytes(&answer), &mut burst);
    assert_eq!(burst.items, [up(1, Lane::Main, a)]);
    assert_eq!(effects(&mut three), [Seen::Up(1, Lane::Main), info("the main connection to server 1 at 10.0.0.1:2888 is up")]);
    three.on_closed(T, a, &mut burst);
    assert_eq!(burst.items[1..], [down(1, Lane::Main, a)]);
    assert_eq!(effects(&mut three), [info("the main connection to server 1 at 10.0.0.1:2888 is gone")]);
    three.on_closed(T, a, &mut burst);
    three.on_bytes(T, a, b"anything", &mut burst);
    assert_eq!((burst.items.len(), effects(&mut three).len()), (2, 0), "a link that is gone is gone");
}

/// What server 1 says to a greeting that doesn't fit; the line and the farewell give the same reason.
fn refusal(mut options: LinkOptions, port: Port, greeting: &Hello) -> String {
    options.me = ServerId(1);
    let mut one = Links::new(options);
    let (link, burst) = accept(&mut one, port, greeting);
    assert!(burst.is_empty(), "{:?}", burst.items);
    let mut seen = effects(&mut one);
    assert_eq!(seen.pop(), Some(Seen::Close(link.0)));
    let Some(Seen::Goodbye(1, reason)) = seen.pop() else { panic!("no farewell") };
    let port = if port == Port::Quorum { "quorum" } else { "election" };
    let line = format!("ending the connection of 10.0.0.9:50 on the {port} port: {reason}");
    assert_eq!(seen, [Seen::Note(Level::Warn, line)]);
    reason
}

#[test]
fn what_does_not_fit_is_refused_with_one_reason_on_both_sides() {
    let good = hello(3, 1, Lane::Main);
    let says = |greeting: Hello, part: &str| {
        let reason = refusal(options(1), Port::Quorum, &greeting);
        assert!(reason.contains(part), "{reason}");
        assert!(reason.len() <= 512, "{reason}");
    };
    says(Hello { format_version: 1, ..good }, "server 3 speaks version 1 of the servers' protocol, the other end version 2: run the same");
    says(Hello { cluster: ClusterId(8), ..good }, "server 3 holds data of the ensemble 00000000000000000000000000000008, server 1 of");
    says(Hello { sender: ServerId(7), ..good }, "server 7 isn't among the members that server 1 knows (1, 2, 3): add a line server.7");
    says(Hello { addressee: ServerId(2), ..good }, "server 3 wants to reach server 2 but found server 1 at that address");
    says(Hello { sender: ServerId(1), ..good }, "both ends say that they are server 1");
    says(Hello { lane: Lane::Pulse, ..good }, "a pulse connection came to the quorum port of server 1");
    let reason = refusal(options(1), Port::Election, &Hello { lane: Lane::Bulk, ..good });
    assert!(reason.contains("a bulk connection came to the election port of server 1"), "{reason}");
    let lower = LinkOptions { membership: members(&[0, 1, 3]), ..options(1) };
    let reason = refusal(lower, Port::Quorum, &Hello { sender: ServerId(0), ..good });
    assert_eq!(reason, "server 0 connects to server 1, but the one with the higher id connects");
}

#[test]
fn who_connected_refuses_a_wrong_answer_too() {
    for (answer, part) in [
        (hello(2, 3, Lane::Main), "server 3 wants to reach server 1 but found server 2"),
        (hello(1, 3, Lane::Bulk), "a greeting for the bulk lane on a main connection"),
        (hello(3, 3, Lane::Main), "both ends say that they are server 3"),
        (Hello { cluster: ClusterId(9), ..hello(1, 3, Lane::Main) }, "server 1 holds data of the ensemble"),
    ] {
        let mut three = links(3);
        let link = three.on_dialed(T, ServerId(1), Lane::Main, "10.0.0.1:2888");
        effects(&mut three);
        let mut burst = PeerBurst::default();
        three.on_bytes(T, link, &hello_bytes(&answer), &mut burst);
        assert!(burst.is_empty());
        let seen = effects(&mut three);
        let [Seen::Note(Level::Warn, line), Seen::Goodbye(1, reason), Seen::Close(1)] = &seen[..] else { panic!("{seen:?}") };
        assert!(line.starts_with("ending the connection of server 1 at 10.0.0.1:2888 (main lane): ") && line.ends_with(reason));
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn servers_without_an_identity_fit_all() {
    let mut one = Links::new(LinkOptions { cluster: ClusterId(0), ..options(1) });
    let (link, burst) = accept(&mut one, Port::Quorum, &hello(3, 1, Lane::Main));
    assert_eq!(burst.items, [up(3, Lane::Main, link)]);
    effects(&mut one);
    let mut burst = PeerBurst::default();
    one.set_cluster(ClusterId(7), &mut burst);
    assert!(burst.is_empty() && !one.has_effects(), "the same one");
    one.set_cluster(ClusterId(8), &mut burst);
    assert_eq!(burst.items, [down(3, Lane::Main, link)]);
    assert!(effects(&mut one).contains(&Seen::Close(link.0)));
}

#[test]
fn a_differing_membership_is_a_warning() {
    let mut one = links(1);
    let other = Hello { membership_digest: 5, ..hello(3, 1, Lane::Main) };
    let (link, burst) = accept(&mut one, Port::Quorum, &other);
    assert_eq!(burst.items, [up(3, Lane::Main, link)]);
    let warnings = |links: &mut Links| effects(links).into_iter().filter(|e| matches!(e, Seen::Note(Level::Warn, _))).count();
    assert_eq!(warnings(&mut one), 1);
    accept(&mut one, Port::Quorum, &other);
    assert_eq!(warnings(&mut one), 0, "said once");
}

#[test]
fn a_newer_link_replaces_the_one_before_and_down_comes_first() {
    let mut one = links(1);
    let (a, _) = accept(&mut one, Port::Quorum, &hello(3, 1, Lane::Main));
    let (bulk, _) = accept(&mut one, Port::Quorum, &hello(3, 1, Lane::Bulk));
    effects(&mut one);
    let (b, burst) = accept(&mut one, Port::Quorum, &hello(3, 1, Lane::Main));
    assert_eq!(burst.items, [down(3, Lane::Main, a), up(3, Lane::Main, b)]);
    assert_eq!(effects(&mut one)[0], Seen::Close(a.0));
    let mut burst = PeerBurst::default();
    one.on_closed(T, a, &mut burst);
    assert!(burst.is_empty(), "the old socket's end is no news");
    // A new life of the server ends all lanes of the one before.
    let (c, burst) = accept(&mut one, Port::Election, &Hello { incarnation: 5, ..hello(3, 1, Lane::Pulse) });
    assert_eq!(burst.items, [down(3, Lane::Main, b), down(3, Lane::Bulk, bulk), up(3, Lane::Pulse, c)]);
}

#[test]
fn of_two_servers_with_one_id_the_one_that_was_replaced_stays_out() {
    let mut one = links(1);
    let (first, second) = (hello(3, 1, Lane::Main), Hello { incarnation: 5, ..hello(3, 1, Lane::Main) });
    accept(&mut one, Port::Quorum, &first);
    let (later, _) = accept(&mut one, Port::Quorum, &second);
    effects(&mut one);
    let (_, burst) = accept(&mut one, Port::Quorum, &first);
    assert!(burst.is_empty());
    let seen = effects(&mut one);
    assert!(matches!(&seen[1], Seen::Goodbye(_, why) if why.contains("two servers run with that number")), "{seen:?}");
    // Once the later one is gone, the first may come back.
    one.on_closed(T, later, &mut PeerBurst::default());
    let (back, burst) = accept(&mut one, Port::Quorum, &first);
    assert_eq!(burst.items, [up(3, Lane::Main, back)]);
}

#[test]
fn a_greeting_has_its_time() {
    let mut one = links(1);
    let mut burst = PeerBurst::default();
    let link = one.on_accepted(T, Port::Quorum, "10.0.0.9:50").unwrap();
    one.on_bytes(T, link, &hello_bytes(&hello(3, 1, Lane::Main))[..30], &mut burst);
    one.on_tick(T.plus(2000), &mut burst);
    assert!(!one.has_effects());
    one.on_tick(T.plus(2001), &mut burst);
    let seen = effects(&mut one);
    assert_eq!(seen[1..], [Seen::Goodbye(1, "no greeting came within 2000 ms".into()), Seen::Close(1)]);
    let (up, _) = accept(&mut one, Port::Quorum, &hello(3, 1, Lane::Main));
    effects(&mut one);
    one.on_tick(T.plus(100_000), &mut burst);
    assert!(!one.has_effects(), "{up:?} has greeted");
}

#[test]
fn a_server_without_heartbeats_loses_all_its_links() {
    let mut one = links(1);
    let (main, _) = accept(&mut one, Port::Quorum, &hello(3, 1, Lane::Main));
    let (other, _) = accept(&mut one, Port::Quorum, &hello(2, 1, Lane::Main));
    let (pulse, _) = accept(&mut one, Port::Election, &hello(3, 1, Lane::Pulse));
    effects(&mut one);
    let mut burst = PeerBurst::default();
    let mut beat = Vec::new();
    put(&mut beat, ServerId(3), &Message::Lead { epoch: 1 });
    one.on_bytes(T.plus(1000), main, &beat, &mut burst);
    burst.clear();
    for ms in (0..=1500).step_by(100) {
        one.on_tick(T.plus(ms), &mut burst);
    }
    assert!(burst.is_empty());
    one.on_tick(T.plus(1501), &mut burst);
    assert_eq!(burst.items, [down(3, Lane::Pulse, pulse), down(3, Lane::Main, main)]);
    let seen = effects(&mut one);
    let line = "closing the connection to server 3 at 10.0.0.9:50 (pulse lane): no heartbeat came for 1500 ms";
    assert_eq!(seen[..2], [Seen::Note(Level::Warn, line.into()), Seen::Close(pulse.0)]);
    assert!(!one.up.is_empty(), "{other:?} never had a pulse lane");
    // After a pause of the own process what came meanwhile is still to be read.
    accept(&mut one, Port::Election, &hello(3, 1, Lane::Pulse));
    burst.clear();
    one.on_tick(T.plus(60_000), &mut burst);
    assert!(burst.is_empty());
}

#[test]
fn those_that_say_nothing_are_bounded() {
    let mut one = links(1);
    let taken = (0..200).filter(|_| one.on_accepted(T, Port::Quorum, "10.0.0.9:50").is_some()).count();
    assert_eq!(taken, GREETINGS_MAX);
    assert_eq!(effects(&mut one).len(), 1, "one line");
    one.on_tick(T.plus(3000), &mut PeerBurst::default());
    assert!(one.on_accepted(T.plus(3000), Port::Quorum, "10.0.0.9:50").is_some());
}

/// Server 1 with the main lane of server 3 up.
fn established() -> (Links, LinkId) {
    let mut one = links(1);
    let (link, _) = accept(&mut one, Port::Quorum, &hello(3, 1, Lane::Main));
    effects(&mut one);
    (one, link)
}

fn lead(sender: u8) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, ServerId(sender), &Message::Lead { epoch: 4 });
    out
}

#[test]
fn messages_behind_the_greeting_in_one_read_are_handed_on() {
    let mut one = links(1);
    let mut burst = PeerBurst::default();
    let link = one.on_accepted(T, Port::Quorum, "10.0.0.9:50").unwrap();
    let bytes = [hello_bytes(&hello(3, 1, Lane::Main)), lead(3), lead(3)].concat();
    let (head, tail) = bytes.split_at(bytes.len() - 3);
    one.on_bytes(T, link, head, &mut burst);
    one.on_bytes(T, link, tail, &mut burst);
    let bodies: Vec<&[u8]> = burst
        .items
        .iter()
        .filter_map(|item| match item {
            PeerItem::Message { body, .. } => Some(&burst.bytes[body.clone()]),
            _ => None,
        })
        .collect();
    assert_eq!((burst.items.len(), bodies.len()), (3, 2));
    assert!(bodies.iter().all(|body| decode(body) == Ok(Message::Lead { epoch: 4 })));
}

#[test]
fn frames_of_another_sender_lane_or_greeting_end_the_link() {
    let mut pulse = Vec::new();
    put(&mut pulse, ServerId(3), &Message::FetchAsk { after: crate::model::position::Identity::default(), bytes_max: 1 });
    for (bytes, reason) in [
        (lead(2), "a frame of server 2 on the main connection of server 3"),
        (pulse, "server 3 sent a message of kind 96 on the main lane, where it doesn't belong"),
        (hello_bytes(&hello(3, 1, Lane::Main)), "server 3 sent a message of kind 1 on the main lane, where it doesn't belong"),
        (b"GET / HTTP".to_vec(), "this is no server of Ringkeeper's: an HTTP request"),
    ] {
        let (mut one, link) = established();
        let mut burst = PeerBurst::default();
        // What came before is handed on, what comes behind isn't looked at.
        one.on_bytes(T, link, &[lead(3), bytes, lead(3)].concat(), &mut burst);
        assert_eq!(burst.items.len(), 2);
        assert_eq!(burst.items[1], down(3, Lane::Main, link));
        assert_eq!(effects(&mut one)[1..], [Seen::Goodbye(1, reason.into()), Seen::Close(1)]);
    }
}

#[test]
fn before_the_handshake_only_a_greeting_is_looked_at() {
    let mut one = links(1);
    let mut burst = PeerBurst::default();
    let link = one.on_accepted(T, Port::Quorum, "10.0.0.9:50").unwrap();
    one.on_bytes(T, link, &lead(3), &mut burst);
    assert!(burst.is_empty());
    let seen = effects(&mut one);
    assert!(matches!(&seen[1], Seen::Goodbye(1, why) if why.starts_with("the first message is no greeting")), "{seen:?}");
    let link = one.on_accepted(T, Port::Quorum, "10.0.0.9:50").unwrap();
    let mut long = lead(3);
    long[8..12].copy_from_slice(&2000u32.to_le_bytes());
    one.on_bytes(T, link, &long, &mut burst);
    let seen = effects(&mut one);
    assert!(matches!(&seen[1], Seen::Goodbye(2, why) if why.contains("2000 bytes, 1 to 1024")), "{seen:?}");
}

#[test]
fn a_farewell_is_said_in_the_log_once_a_minute_and_cannot_forge_lines() {
    let mut lines = Vec::new();
    let mut one = links(1);
    for n in 0..100 {
        let now = T.plus(n * 1000);
        let mut burst = PeerBurst::default();
        let link = one.on_accepted(now, Port::Quorum, "10.0.0.9:50").unwrap();
        let mut bytes = Vec::new();
        put_goodbye(&mut bytes, ServerId(3), "no\nERROR forged");
        one.on_bytes(now, link, &bytes, &mut burst);
        lines.extend(effects(&mut one).into_iter().filter(|e| matches!(e, Seen::Note(..))));
    }
    let text = "10.0.0.9:50 on the quorum port ends the connection: no\u{fffd}ERROR forged";
    let again = format!("{text} (59 lines like it left out)");
    assert_eq!(lines, [Seen::Note(Level::Warn, text.into()), Seen::Note(Level::Warn, again)]);
}

proptest! {
    /// Whatever strangers and peers send, in whatever pieces: each `Up` is followed by its `Down` before the next one of the same peer
    /// and lane, and messages come only between the two.
    #[test]
    fn items_are_well_nested_for_any_bytes(steps in proptest::collection::vec((0usize..5, 0u8..6, any::<u8>(), 1usize..80), 0..60)) {
        let mut one = links(1);
        let mut burst = PeerBurst::default();
        let mut open: Vec<LinkId> = Vec::new();
        for (which, what, byte, len) in steps {
            if let Some(link) = open.get(which).copied() {
                let greeting = hello(2 + byte % 2, 1, [Lane::Main, Lane::Bulk][usize::from(byte / 2 % 2)]);
                match what {
                    0 => one.on_closed(T, link, &mut burst),
                    1 => one.on_bytes(T, link, &vec![byte; len], &mut burst),
                    2 => one.on_bytes(T, link, &lead(2 + byte % 2), &mut burst),
                    _ => one.on_bytes(T, link, &hello_bytes(&Hello { incarnation: u64::from(byte % 3), ..greeting }), &mut burst),
                }
            } else {
                open.extend(one.on_accepted(T, Port::Quorum, "10.0.0.9:50"));
            }
        }
        let mut up = BTreeMap::new();
        for item in &burst.items {
            match *item {
                PeerItem::Up { peer, lane, link } => prop_assert_eq!(up.insert((peer, lane), link), None),
                PeerItem::Down { peer, lane, link } => prop_assert_eq!(up.remove(&(peer, lane)), Some(link)),
                PeerItem::Message { peer, lane, link, .. } => prop_assert_eq!(up.get(&(peer, lane)), Some(&link)),
            }
        }
        prop_assert_eq!(&up, &one.up);
    }
}
