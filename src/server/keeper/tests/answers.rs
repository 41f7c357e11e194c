//! Answers that differ from what one would expect of the operation: ZooKeeper gives them so.

use super::bench::{Bench, Seen, create};
use crate::model::op_code::OpCode;
use crate::model::request::{Create, CreateOp, Request};

const NULL: &[u8] = &[255; 4];

fn text(path: &str) -> Vec<u8> {
    [&u32::try_from(path.len()).unwrap().to_be_bytes()[..], path.as_bytes()].concat()
}

#[test]
fn what_is_no_operation_is_refused_without_a_zxid_and_ends_the_connection() {
    for (op, body) in [(9999, &b""[..]), (0, b""), (-1, b""), (-10, &[0, 0, 117, 48]), (20, &[0, 0, 0, 2, b'/', b'a']), (13, &[0; 8])] {
        let mut bench = Bench::new();
        let conn = bench.client();
        bench.must(conn, &create("/a", 0));
        assert_eq!(bench.ask_raw(conn, op, body), [Seen::bare(1, -1, -6), Seen::End], "{op}");
        assert_eq!(bench.ask(conn, &Request::Ping), [], "{op}: nothing is heard from it any more");
    }
}

#[test]
fn the_refusal_waits_its_turn() {
    let mut bench = Bench::new();
    let conn = bench.client();
    bench.disk_waits = true;
    assert_eq!(bench.ask(conn, &create("/a", 0)), []);
    assert_eq!(bench.ask_raw(conn, 9999, b""), []);
    bench.disk_waits = false;
    bench.settle();
    assert_eq!(bench.news(conn), [Seen::Reply(1, 2, 0, text("/a")), Seen::bare(1, -1, -6), Seen::End]);
}

#[test]
fn sasl_is_refused_with_a_null_token_and_never_looks_like_success() {
    let sasl = |body: &[u8]| {
        let mut bench = Bench::new();
        let conn = bench.client();
        bench.ask_raw(conn, OpCode::Sasl.wire(), body)
    };
    assert_eq!(sasl(&text("token")), [Seen::Reply(1, 0, -115, NULL.to_vec()), Seen::End]);
    assert_eq!(sasl(&text("")), [Seen::Reply(1, 0, -115, NULL.to_vec()), Seen::End]);
    for undecodable in [NULL, b"", b"\0\0\0\x05tok"] {
        assert_eq!(sasl(undecodable), [Seen::End], "{undecodable:?}");
    }
}

#[test]
fn credentials_that_are_null_or_undecodable() {
    let auth = |scheme: &[u8], rest: &[u8]| {
        let mut bench = Bench::new();
        let conn = bench.client();
        bench.ask_raw(conn, OpCode::Auth.wire(), &[&[0; 4], scheme, rest].concat())
    };
    let failed = [Seen::bare(1, 0, -115), Seen::End];
    assert_eq!(auth(&text("digest"), NULL), failed);
    assert_eq!(auth(&text("ensemble"), NULL), failed);
    assert_eq!(auth(NULL, &text("x")), failed);
    assert_eq!(auth(&text("ip"), NULL), [Seen::bare(1, 0, 0)]);
    assert_eq!(auth(&text("digest"), &text("u:p")), [Seen::bare(1, 0, 0)]);
    assert_eq!(auth(&text("digest"), b"\0\0"), [Seen::End], "closed without an answer");
}

#[test]
fn whoever_looks_for_another_ensemble_is_hung_up_on_without_an_answer() {
    let mut bench = Bench::new();
    bench.keeper.options.auth.ensemble_names = vec!["east".into()];
    let conn = bench.client();
    let mut auth = |name: &str| bench.ask_raw(conn, OpCode::Auth.wire(), &[&[0; 4], &text("ensemble")[..], &text(name)[..]].concat());
    assert_eq!(auth("east"), [Seen::bare(1, 0, 0)]);
    assert_eq!(auth("west"), [Seen::End], "an error would be the end of the session with every server");
}

#[test]
fn null_paths() {
    let mut bench = Bench::new();
    let conn = bench.client();
    let body = [NULL, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    use OpCode::*;
    for op in [Exists, GetData, GetAcl, GetChildren, GetChildren2, GetAllChildrenNumber, Create2, CreateContainer, CreateTtl, Delete] {
        assert_eq!(bench.ask_raw(conn, op.wire(), &body), [Seen::bare(1, 1, -5)], "{op:?}");
    }
    for op in [SetData, SetAcl] {
        assert_eq!(bench.ask_raw(conn, op.wire(), &[NULL, &[0; 12]].concat()), [Seen::bare(1, 1, -8)], "{op:?}");
    }
    assert!(bench.keeper.watches.is_empty());
    assert_eq!(bench.ask_raw(conn, Sync.wire(), NULL), [Seen::Reply(1, 1, 0, NULL.to_vec())]);
    assert_eq!(bench.ask_raw(conn, Sync.wire(), &text("no path")), [Seen::Reply(1, 1, 0, text("no path"))]);
}

#[test]
fn create_ttl_needs_a_ttl_mode_whatever_the_ttl_is() {
    let mut bench = Bench::new();
    let conn = bench.client();
    for (flags, ttl_ms) in [(0, -1), (1, i64::MIN), (2, -5), (3, 5000), (4, -1), (5, -1), (6, 0), (7, 5)] {
        let request = Request::Create(Create { op: CreateOp::Ttl, path: b"/t", data: None, acl: Some(&[0; 4]), flags, ttl_ms });
        assert_eq!(bench.ask(conn, &request), [Seen::bare(1, 1, -8)], "flags {flags}, ttl {ttl_ms}");
    }
}

#[test]
fn blanks_around_the_prefix_of_all_ephemerals() {
    let mut bench = Bench::new();
    let conn = bench.client();
    bench.must(conn, &create("/e", 1));
    let all = [&[0, 0, 0, 1][..], &text("/e")].concat();
    for prefix in ["", "/", " ", " / ", "\t/\n", "/e", "\u{1f}", "\0/"] {
        let request = Request::GetEphemerals { prefix: prefix.as_bytes() };
        assert_eq!(bench.ask(conn, &request), [Seen::Reply(1, 2, 0, all.clone())], "{prefix:?}");
    }
    for prefix in [" /e", "e", "\u{3000}", "\u{a0}"] {
        let request = Request::GetEphemerals { prefix: prefix.as_bytes() };
        assert_eq!(bench.ask(conn, &request), [Seen::Reply(1, 2, 0, vec![0; 4])], "{prefix:?}");
    }
}

#[test]
fn the_root_by_its_other_name() {
    let mut bench = Bench::new();
    let conn = bench.client();
    let mut count = |path: &[u8]| bench.ask(conn, &Request::GetAllChildrenNumber { path });
    assert_eq!(count(b"/"), [Seen::Reply(1, 1, 0, vec![0, 0, 0, 3])]);
    assert_eq!(count(b""), [Seen::Reply(1, 1, 0, vec![0, 0, 0, 4])]);
}

#[test]
fn zxids_that_clients_have_seen_are_signed() {
    let mut bench = Bench::new();
    assert_eq!(bench.connect(-1).1, [Seen::Session]);
    assert_eq!(bench.connect(1 << 50).1, [Seen::End]);
}

#[test]
fn many_looks_at_a_large_node_in_one_request_are_refused() {
    const MARSHALLING: i32 = -5;
    let mut bench = Bench::new();
    let conn = bench.client();
    let data = vec![7; 900_000];
    bench.must(conn, &create("/large", 0));
    bench.must(conn, &Request::SetData { path: b"/large", data: Some(&data), version: -1 });
    let look = Request::GetData { path: b"/large", watch: false };
    let answer = bench.ask_all(conn, &[Request::MultiRead(vec![look.clone(); 2200]), Request::Ping]);
    assert!(matches!(&answer[..], [Seen::Reply(1, _, MARSHALLING, body), Seen::Reply(2, _, 0, _)] if body.is_empty()), "{answer:.80?}");
    assert_eq!(bench.notes("more than 67108864 bytes in one answer").len(), 1);
}

#[test]
fn large_answers_wait_until_the_client_takes_them() {
    let mut bench = Bench::new();
    let conn = bench.client();
    let data = vec![7; 900_000];
    bench.must(conn, &create("/large", 0));
    bench.must(conn, &Request::SetData { path: b"/large", data: Some(&data), version: -1 });
    let mut requests = vec![Request::GetData { path: b"/large", watch: false }; 20];
    requests.push(Request::Delete { path: b"/large", version: -1 });
    requests.push(Request::Exists { path: b"/large", watch: false });
    let mut answers = bench.ask_all(conn, &requests);
    assert_eq!(answers.len(), 5, "as many as pass 4 MiB; nothing behind them, writes neither");
    for _ in 0..10 {
        answers.extend(bench.ready(conn));
    }
    let order: Vec<i32> = answers.iter().map(Seen::xid).collect();
    assert_eq!(order, (1..=22).collect::<Vec<_>>());
}
