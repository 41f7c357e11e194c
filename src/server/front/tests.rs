use super::*;
use crate::base::limits::FRAME_BYTES_DEFAULT;

const NOW: MonoMs = MonoMs(1000);

fn front() -> (Front, ConnId, Burst) {
    let options = FrontOptions { frame_bytes_max: FRAME_BYTES_DEFAULT, sessionless_timeout_ms: 10_000, stuck_timeout_ms: 30_000 };
    let mut front = Front::new(FrontId(0), options);
    let mut burst = Burst::default();
    let conn = front.on_accept("127.0.0.1:5".parse().unwrap(), NOW, &mut burst);
    burst.clear();
    (front, conn, burst)
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    frame(&[&xid.to_be_bytes()[..], &op.to_be_bytes()[..], body].concat())
}

#[test]
fn pipelined_requests_wait_for_the_session_and_splitting_changes_nothing() {
    let bytes = [frame(&[0; 45]), request(1, 4, b"abc"), request(2, 11, b"")].concat();
    for split in 0..bytes.len() {
        let (mut front, conn, mut burst) = front();
        front.on_bytes(conn, &bytes[..split], &mut burst);
        front.on_bytes(conn, &bytes[split..], &mut burst);
        assert_eq!(burst.items.len(), 1, "only the connect request, split at {split}");
        let verdict = front.on_answered(conn, 0, Then::SessionUp, 0, NOW, &mut burst);
        assert_eq!(verdict, Verdict::Read);
        let Item::Request { xid: 1, op: 4, body, .. } = burst.items[1].clone() else { panic!("{:?}", burst.items) };
        assert_eq!(&burst.bytes[body], b"abc");
        assert!(matches!(burst.items[2], Item::Request { xid: 2, op: 11, .. }));
    }
}

#[test]
fn an_ipv4_client_of_a_socket_of_both_families_has_its_own_address() {
    let (mut front, _, mut burst) = front();
    let conn = front.on_accept("[::ffff:10.1.2.3]:7".parse().unwrap(), NOW, &mut burst);
    let known: SocketAddr = "10.1.2.3:7".parse().unwrap();
    assert_eq!(front.peer(conn), Some(known));
    assert!(matches!(burst.items[..], [Item::Opened { peer, .. }] if peer == known), "{:?}", burst.items);
}

#[test]
fn lengths_that_lie_close_the_connection_without_reserving_memory() {
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\x7f\xff\xff\xff", b"GET / HTTP/1.1"] {
        let (mut front, conn, mut burst) = front();
        assert!(matches!(front.on_bytes(conn, bytes, &mut burst), Verdict::Close(Some(_))), "{bytes:?}");
        assert!(burst.is_empty());
    }
    let (mut front, conn, mut burst) = front();
    front.on_bytes(conn, b"\x00\x0f\xff\xff", &mut burst);
    assert!(front.conns[&conn].partial.capacity() < 100);
}

#[test]
fn too_many_unanswered_requests_pause_the_socket_until_replies_leave() {
    let (mut front, conn, mut burst) = front();
    front.on_bytes(conn, &frame(&[0; 44]), &mut burst);
    front.on_answered(conn, 0, Then::SessionUp, 0, NOW, &mut burst);
    let many: Vec<u8> = (0..CONN_OUTSTANDING_MAX + 5).flat_map(|i| request(i32::try_from(i).unwrap(), 11, b"")).collect();
    assert_eq!(front.on_bytes(conn, &many, &mut burst), Verdict::Pause);
    assert_eq!(burst.items.len(), 1 + CONN_OUTSTANDING_MAX);
    assert_eq!(front.on_answered(conn, 10, Then::Keep, 0, NOW, &mut burst), Verdict::Read);
    assert_eq!(burst.items.len(), 1 + CONN_OUTSTANDING_MAX + 5);
}

#[test]
fn a_word_is_taken_only_before_the_handshake() {
    let (mut front, conn, mut burst) = front();
    assert_eq!(front.on_bytes(conn, b"ruok\n", &mut burst), Verdict::Pause);
    assert_eq!(burst.items, [Item::Word { conn, word: Word::Ruok, argument: 0 }]);
    let (mut front, conn, mut burst) = self::front();
    front.on_bytes(conn, b"stmk\0\0\0\0", &mut burst);
    assert!(burst.is_empty());
    front.on_bytes(conn, b"\0\0\x01\0", &mut burst);
    assert_eq!(burst.items, [Item::Word { conn, word: Word::Stmk, argument: 256 }]);
}

#[test]
fn one_answer_may_be_longer_than_what_a_client_may_leave_lying() {
    let (mut front, conn, mut burst) = front();
    front.on_bytes(conn, &frame(&[0; 44]), &mut burst);
    front.on_answered(conn, 0, Then::SessionUp, 0, NOW, &mut burst);
    let long = 3 * CONN_UNSENT_HARD_BYTES_MAX;
    assert_eq!(front.on_answered(conn, 0, Then::Report, long, NOW, &mut burst), Verdict::Pause);
    assert_eq!(front.on_unsent(conn, long + 1000, NOW, &mut burst), Verdict::Pause, "an event came behind it");
    assert!(matches!(front.on_unsent(conn, long + CONN_UNSENT_HARD_BYTES_MAX + 1, NOW, &mut burst), Verdict::Close(Some(_))));
    assert_eq!(front.on_unsent(conn, 10, NOW, &mut burst), Verdict::Read);
    assert_eq!(front.on_unsent(conn, CONN_UNSENT_SOFT_BYTES_MAX, NOW, &mut burst), Verdict::Read);
}

/// The handshake waits for the log or the quorum; who waits isn't to blame.
#[test]
fn a_handshake_has_the_time_of_the_session_that_it_asks_for() {
    for (asked_ms, closed) in [(30_000i32, 0), (4000, 1), (-1, 1)] {
        let (mut front, conn, mut burst) = front();
        let mut hello = [0; 44];
        hello[12..16].copy_from_slice(&asked_ms.to_be_bytes());
        front.on_bytes(conn, &frame(&hello), &mut burst);
        let mut out = Vec::new();
        front.on_tick(MonoMs(25_000), &mut out);
        assert_eq!(out.len(), closed, "{asked_ms} ms");
        out.clear();
        front.on_tick(MonoMs(32_000), &mut out);
        assert_eq!(out.len(), 1);
    }
}

#[test]
fn who_takes_its_answers_slowly_is_heard_and_not_stuck() {
    let (mut front, conn, mut burst) = front();
    front.on_progress(conn, NOW, &mut burst);
    assert!(burst.is_empty(), "it has no session");
    front.on_bytes(conn, &frame(&[0; 44]), &mut burst);
    front.on_answered(conn, 0, Then::SessionUp, CONN_UNSENT_SOFT_BYTES_MAX + 1, NOW, &mut burst);
    burst.clear();
    front.on_progress(conn, MonoMs(20_000), &mut burst);
    assert_eq!(burst.items, [Item::Heard { conn }]);
    let mut out = Vec::new();
    front.on_tick(MonoMs(49_000), &mut out);
    assert!(out.is_empty(), "{out:?}");
    front.on_tick(MonoMs(51_000), &mut out);
    assert_eq!(out.len(), 1, "none taken for 31 s");
}

#[test]
fn clients_that_never_ask_or_never_read_are_closed() {
    let (mut front, conn, mut burst) = front();
    let mut out = Vec::new();
    front.on_tick(MonoMs(10_000), &mut out);
    assert!(out.is_empty());
    front.on_tick(MonoMs(12_000), &mut out);
    assert_eq!(out.len(), 1);
    front.on_bytes(conn, &frame(&[0; 44]), &mut burst);
    front.on_answered(conn, 0, Then::SessionUp, 10, NOW, &mut burst);
    assert_eq!(front.on_unsent(conn, CONN_UNSENT_SOFT_BYTES_MAX + 1, NOW, &mut burst), Verdict::Pause);
    out.clear();
    front.on_tick(MonoMs(40_000), &mut out);
    assert_eq!(out.len(), 1);
    let more = 2 * CONN_UNSENT_HARD_BYTES_MAX;
    assert!(matches!(front.on_unsent(conn, more, NOW, &mut burst), Verdict::Close(Some(_))));
}
