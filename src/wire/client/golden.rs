//! Every request and reply against bytes written out by hand from the documented layouts.

use super::client_side::{MultiResult, ReplyBody, decode_body, decode_event, decode_reply_header, put_request, request_op};
use super::decode::{decode_header, decode_request};
use super::event::write_event;
use super::reply::{Reply, write_header_only, write_sasl_failed};
use crate::base::ids::Zxid;
use crate::model::acl::{AclList, Identity, OPEN_UNSAFE};
use crate::model::error_code::ErrorCode;
use crate::model::op_code::OpCode;
use crate::model::request::{Create, CreateOp, Request, SetWatches};
use crate::model::stat::Stat;
use crate::model::watch_kind::EventType;
use crate::wire::jute::reader::DecodeError;
use crate::wire::jute::writer::put_stat;

/// The path `/a` as it is encoded.
const PATH: &[u8] = b"\0\0\0\x02/a";
const NULL: &[u8] = b"\xff\xff\xff\xff";
const MULTI_END: &[u8] = b"\xff\xff\xff\xff\x01\xff\xff\xff\xff";

fn create(op: CreateOp, data: Option<&'static [u8]>, flags: i32, ttl_ms: i64) -> Request<'static> {
    Request::Create(Create { op, path: b"/a", data, acl: Some(OPEN_UNSAFE), flags, ttl_ms })
}

fn watches(persistent: Vec<&'static [u8]>) -> Request<'static> {
    Request::SetWatches(SetWatches {
        relative_zxid: Zxid(9),
        data: vec![b"/a"],
        exist: vec![],
        child: vec![b"/b", b"/c"],
        persistent,
        persistent_recursive: vec![],
    })
}

/// Each request with its operation's number and its body's bytes.
fn requests() -> Vec<(Request<'static>, i32, Vec<u8>)> {
    let lists = b"\0\0\0\0\0\0\0\x09\0\0\0\x01\0\0\0\x02/a\0\0\0\0\0\0\0\x02\0\0\0\x02/b\0\0\0\x02/c";
    let acl = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";
    let cat = |parts: &[&[u8]]| parts.concat();
    vec![
        (create(CreateOp::Create, Some(b"xy"), 3, 0), 1, cat(&[PATH, b"\0\0\0\x02xy", acl, b"\0\0\0\x03"])),
        (create(CreateOp::Create2, None, 0, 0), 15, cat(&[PATH, NULL, acl, b"\0\0\0\0"])),
        (create(CreateOp::Container, Some(b""), 4, 0), 19, cat(&[PATH, b"\0\0\0\0", acl, b"\0\0\0\x04"])),
        (create(CreateOp::Ttl, Some(b""), 5, 500), 21, cat(&[PATH, b"\0\0\0\0", acl, b"\0\0\0\x05\0\0\0\0\0\0\x01\xf4"])),
        (Request::Delete { path: b"/a", version: -1 }, 2, cat(&[PATH, NULL])),
        (Request::Exists { path: b"/a", watch: true }, 3, cat(&[PATH, b"\x01"])),
        (Request::GetData { path: b"/a", watch: false }, 4, cat(&[PATH, b"\0"])),
        (Request::SetData { path: b"/a", data: Some(b"z"), version: 7 }, 5, cat(&[PATH, b"\0\0\0\x01z\0\0\0\x07"])),
        (Request::SetData { path: b"/a", data: None, version: -1 }, 5, cat(&[PATH, NULL, NULL])),
        (Request::GetAcl { path: b"/a" }, 6, PATH.to_vec()),
        (Request::SetAcl { path: b"/a", acl: Some(OPEN_UNSAFE), version: 1 }, 7, cat(&[PATH, acl, b"\0\0\0\x01"])),
        (Request::SetAcl { path: b"/a", acl: None, version: 1 }, 7, cat(&[PATH, NULL, b"\0\0\0\x01"])),
        (Request::GetChildren { path: b"/a", watch: true }, 8, cat(&[PATH, b"\x01"])),
        (Request::GetChildren2 { path: b"/a", watch: false }, 12, cat(&[PATH, b"\0"])),
        (Request::Sync { path: Some(b"/a") }, 9, PATH.to_vec()),
        (Request::Ping, 11, vec![]),
        (Request::Check { path: b"/a", version: 3 }, 13, cat(&[PATH, b"\0\0\0\x03"])),
        (
            Request::Reconfig { joining: b"j", leaving: b"", members: b"m", config_id: -1 },
            16,
            cat(&[b"\0\0\0\x01j\0\0\0\0\0\0\0\x01m", NULL, NULL]),
        ),
        (Request::CheckWatches { path: b"/a", kind: 3 }, 17, cat(&[PATH, b"\0\0\0\x03"])),
        (Request::RemoveWatches { path: b"/a", kind: 1 }, 18, cat(&[PATH, b"\0\0\0\x01"])),
        (Request::AddWatch { path: b"/a", mode: 1 }, 106, cat(&[PATH, b"\0\0\0\x01"])),
        (Request::Auth { scheme: b"digest", auth: Some(b"u:p") }, 100, b"\0\0\0\0\0\0\0\x06digest\0\0\0\x03u:p".to_vec()),
        (watches(vec![]), 101, lists.to_vec()),
        (watches(vec![b"/p"]), 105, cat(&[lists, b"\0\0\0\x01\0\0\0\x02/p\0\0\0\0"])),
        (Request::Sasl { token: b"tok" }, 102, b"\0\0\0\x03tok".to_vec()),
        (Request::GetEphemerals { prefix: b"/a" }, 103, PATH.to_vec()),
        (Request::GetAllChildrenNumber { path: b"/a" }, 104, PATH.to_vec()),
        (Request::WhoAmI, 107, vec![]),
        (Request::CloseSession, -11, vec![]),
        (
            Request::Multi(vec![Request::Delete { path: b"/a", version: 2 }, Request::Check { path: b"/a", version: 3 }]),
            14,
            cat(&[b"\0\0\0\x02\0", NULL, PATH, b"\0\0\0\x02\0\0\0\x0d\0", NULL, PATH, b"\0\0\0\x03", MULTI_END]),
        ),
        (Request::Multi(vec![]), 14, MULTI_END.to_vec()),
        (
            Request::MultiRead(vec![Request::GetData { path: b"/a", watch: false }, Request::GetChildren { path: b"/a", watch: false }]),
            22,
            cat(&[b"\0\0\0\x04\0", NULL, PATH, b"\0\0\0\0\x08\0", NULL, PATH, b"\0", MULTI_END]),
        ),
    ]
}

#[test]
fn every_request_has_its_documented_bytes_both_ways() {
    for (request, number, body) in requests() {
        let op = OpCode::from_wire(number).unwrap();
        assert_eq!(request_op(&request), op);
        assert_eq!(decode_request(op, &body), Ok(request.clone()), "decoding {op:?}");
        let longer = [&body[..], b"more"].concat();
        assert_eq!(decode_request(op, &longer), Ok(request.clone()), "bytes after the last field of {op:?}");

        let mut out = Vec::new();
        put_request(&mut out, 5, &request);
        let length = u32::try_from(body.len() + 8).unwrap().to_be_bytes();
        assert_eq!(out, [&length[..], b"\0\0\0\x05", &number.to_be_bytes(), &body].concat(), "encoding {op:?}");
        let (header, rest) = decode_header(&out[4..]).unwrap();
        assert_eq!((header.xid, header.op, rest), (5, number, &body[..]));
    }
}

#[test]
fn every_truncated_request_is_refused() {
    for (request, number, body) in requests() {
        let op = OpCode::from_wire(number).unwrap();
        for len in 0..body.len() {
            assert!(decode_request(op, &body[..len]).is_err(), "{len} bytes of {request:?}");
        }
    }
}

#[test]
fn every_operation_has_a_golden_request() {
    let covered: Vec<i32> = requests().iter().map(|(_, number, _)| *number).collect();
    let missing: Vec<i32> = (-200..200).filter(|n| OpCode::from_wire(*n).is_some() && !covered.contains(n)).collect();
    assert_eq!(missing, Vec::<i32>::new());
}

#[test]
fn a_null_path_is_refused_where_zookeeper_refuses_it_so() {
    use OpCode::*;
    let rest = [0u8; 40];
    let body = [NULL, &rest[..]].concat();
    for op in [
        Exists,
        GetData,
        GetAcl,
        GetChildren,
        GetChildren2,
        GetAllChildrenNumber,
        Create,
        Create2,
        CreateContainer,
        CreateTtl,
        Delete,
        Sasl,
    ] {
        assert_eq!(decode_request(op, &body), Err(DecodeError::Null), "{op:?}");
    }
    // Judged like an empty path, which is BADARGUMENTS.
    assert!(matches!(decode_request(SetData, &body), Ok(Request::SetData { path: b"", .. })));
    assert!(matches!(decode_request(SetAcl, &body), Ok(Request::SetAcl { path: b"", .. })));
    // Nothing is wrong with null here.
    assert_eq!(decode_request(Sync, &body), Ok(Request::Sync { path: None }));
    assert_eq!(decode_request(GetEphemerals, &body), Ok(Request::GetEphemerals { prefix: b"" }));
    assert_eq!(decode_request(AddWatch, &body), Ok(Request::AddWatch { path: b"", mode: 0 }));
    let auth = [&[0; 4], NULL, NULL].concat();
    assert_eq!(decode_request(Auth, &auth), Ok(Request::Auth { scheme: b"", auth: None }));
}

#[test]
fn null_lists_of_set_watches_are_refused() {
    let lists = |at: usize, list: &[u8]| (0..5).fold(vec![0; 8], |body, n| [&body[..], if n == at { list } else { &[0; 4] }].concat());
    for at in 0..5 {
        assert_eq!(decode_request(OpCode::SetWatches2, &lists(at, NULL)), Err(DecodeError::Null), "list {at}");
        let null_within = lists(at, b"\0\0\0\x01\xff\xff\xff\xff");
        assert_eq!(decode_request(OpCode::SetWatches2, &null_within).is_err(), at < 3, "list {at}");
    }
}

fn stat() -> Stat {
    Stat { czxid: Zxid(1), mzxid: Zxid(2), version: 3, data_len: 4, pzxid: Zxid(5), ..Stat::default() }
}

fn stat_bytes() -> Vec<u8> {
    let mut out = Vec::new();
    put_stat(&mut out, &stat());
    out
}

/// One reply: its operation, what writes its body, the body's bytes, and what a client reads from them.
type ReplyCase = (OpCode, fn(&mut Reply<'_>), Vec<u8>, ReplyBody<'static>);

fn replies() -> Vec<ReplyCase> {
    let with_stat = |head: &[u8]| [head, &stat_bytes()].concat();
    let names = b"\0\0\0\x02\0\0\0\x01b\0\0\0\x01c";
    vec![
        (OpCode::Create, |r| _ = r.put_text(b"/a"), PATH.to_vec(), ReplyBody::Path(b"/a")),
        (OpCode::Sync, |r| _ = r.put_text(b"/a"), PATH.to_vec(), ReplyBody::Path(b"/a")),
        (OpCode::Create2, |r| _ = r.put_text(b"/a").put_stat(&stat()), with_stat(PATH), ReplyBody::Created { path: b"/a", stat: stat() }),
        (OpCode::Exists, |r| _ = r.put_stat(&stat()), stat_bytes(), ReplyBody::Stat(stat())),
        (
            OpCode::GetData,
            |r| _ = r.put_buffer(Some(b"x")).put_stat(&stat()),
            with_stat(b"\0\0\0\x01x"),
            ReplyBody::Data { data: Some(b"x"), stat: stat() },
        ),
        (OpCode::GetData, |r| _ = r.put_buffer(None).put_stat(&stat()), with_stat(NULL), ReplyBody::Data { data: None, stat: stat() }),
        (
            OpCode::GetAcl,
            |r| _ = r.put_acl(AclList::parse(OPEN_UNSAFE).unwrap()).put_stat(&stat()),
            with_stat(OPEN_UNSAFE),
            ReplyBody::Acl { list: AclList::parse(OPEN_UNSAFE).unwrap(), stat: stat() },
        ),
        (OpCode::GetChildren, |r| _ = r.put_texts([&b"b"[..], b"c"]), names.to_vec(), ReplyBody::Names(vec![b"b", b"c"])),
        (
            OpCode::GetChildren2,
            |r| _ = r.put_texts([&b"b"[..], b"c"]).put_stat(&stat()),
            with_stat(names),
            ReplyBody::Children { names: vec![b"b", b"c"], stat: stat() },
        ),
        (OpCode::GetEphemerals, |r| _ = r.put_texts([]), b"\0\0\0\0".to_vec(), ReplyBody::Names(vec![])),
        (OpCode::GetAllChildrenNumber, |r| _ = r.put_int(258), b"\0\0\x01\x02".to_vec(), ReplyBody::Number(258)),
        (OpCode::AddWatch, |r| _ = r.put_ok_record(), b"\0\0\0\0".to_vec(), ReplyBody::ErrorRecord(0)),
        (
            OpCode::WhoAmI,
            |r| _ = r.put_identities(&[Identity { scheme: b"ip".to_vec(), id: b"::1".to_vec() }]),
            b"\0\0\0\x01\0\0\0\x02ip\0\0\0\x03::1".to_vec(),
            ReplyBody::Identities(vec![(b"ip", b"::1")]),
        ),
        (OpCode::Sasl, |r| _ = r.put_buffer(Some(b"t")), b"\0\0\0\x01t".to_vec(), ReplyBody::Token(Some(b"t"))),
        (OpCode::Delete, |_| {}, vec![], ReplyBody::Empty),
    ]
}

#[test]
fn every_reply_has_its_documented_bytes_both_ways() {
    for (op, put, body, read) in replies() {
        let mut out = b"earlier".to_vec();
        let mut reply = Reply::begin(&mut out, 6, Zxid(0x1_0000_0002), None);
        put(&mut reply);
        reply.finish();
        let length = u32::try_from(body.len() + 16).unwrap().to_be_bytes();
        let head = b"\0\0\0\x06\0\0\0\x01\0\0\0\x02\0\0\0\0";
        assert_eq!(out, [b"earlier", &length[..], head, &body].concat(), "{op:?}");
        let (header, rest) = decode_reply_header(&out[11..]).unwrap();
        assert_eq!((header.xid, header.zxid(), header.err), (6, Some(Zxid(0x1_0000_0002)), 0));
        assert_eq!(decode_body(op, rest), Ok(read), "{op:?}");
        for len in 0..body.len() {
            assert!(decode_body(op, &body[..len]).is_err(), "{len} bytes of {op:?}");
        }
    }
}

#[test]
fn errors_are_headers_only_but_for_sasl() {
    let mut out = Vec::new();
    write_header_only(&mut out, 7, Zxid(8), Some(ErrorCode::NoNode));
    assert_eq!(out, b"\0\0\0\x10\0\0\0\x07\0\0\0\0\0\0\0\x08\xff\xff\xff\x9b");
    out.clear();
    write_sasl_failed(&mut out, 7, ErrorCode::AuthFailed);
    assert_eq!(out, b"\0\0\0\x14\0\0\0\x07\0\0\0\0\0\0\0\0\xff\xff\xff\x8d\xff\xff\xff\xff");
}

#[test]
fn events_have_state_3_and_their_zxid_or_minus_one() {
    let mut out = Vec::new();
    write_event(&mut out, Some(Zxid(4)), EventType::NodeDataChanged, b"/a");
    let tail = b"\0\0\0\0\0\0\0\x03\0\0\0\x03\0\0\0\x02/a";
    assert_eq!(out, [b"\0\0\0\x1e\xff\xff\xff\xff\0\0\0\0\0\0\0\x04", &tail[..]].concat());
    let (header, body) = decode_reply_header(&out[4..]).unwrap();
    assert_eq!((header.xid, header.zxid), (-1, 4));
    let event = decode_event(body).unwrap();
    assert_eq!((event.event, event.state, event.path), (EventType::NodeDataChanged, 3, &b"/a"[..]));
    out.clear();
    write_event(&mut out, None, EventType::NodeDataChanged, b"/a");
    assert_eq!(out, [b"\0\0\0\x1e\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", &tail[..]].concat());
}

#[test]
fn multi_results() {
    let mut out = Vec::new();
    let mut reply = Reply::begin(&mut out, 1, Zxid(2), None);
    reply.put_multi_created(CreateOp::Create, b"/a", &stat());
    reply.put_multi_created(CreateOp::Container, b"/a", &stat());
    reply.put_multi_deleted();
    reply.put_multi_set(&stat());
    reply.put_multi_checked();
    reply.put_multi_children([&b"b"[..]]);
    reply.put_multi_data(None, &stat());
    reply.put_multi_error(Some(ErrorCode::NoNode));
    reply.put_multi_end();
    reply.finish();
    let stat_bytes = stat_bytes();
    let parts: [&[u8]; 14] = [
        b"\0\0\0\x01\0\0\0\0\0",
        PATH,
        b"\0\0\0\x0f\0\0\0\0\0",
        PATH,
        &stat_bytes,
        b"\0\0\0\x02\0\0\0\0\0",
        b"\0\0\0\x05\0\0\0\0\0",
        &stat_bytes,
        b"\0\0\0\x0d\0\0\0\0\0",
        b"\0\0\0\x08\0\0\0\0\0\0\0\0\x01\0\0\0\x01b",
        b"\0\0\0\x04\0\0\0\0\0\xff\xff\xff\xff",
        &stat_bytes,
        b"\xff\xff\xff\xff\0\xff\xff\xff\x9b\xff\xff\xff\x9b",
        MULTI_END,
    ];
    assert_eq!(&out[20..], parts.concat());
    let wanted = vec![
        MultiResult::Created { path: b"/a" },
        MultiResult::Created2 { path: b"/a", stat: stat() },
        MultiResult::Deleted,
        MultiResult::Set { stat: stat() },
        MultiResult::Checked,
        MultiResult::Children { names: vec![b"b"] },
        MultiResult::Data { data: None, stat: stat() },
        MultiResult::Error { code: -101 },
    ];
    assert_eq!(decode_body(OpCode::Multi, &out[20..]), Ok(ReplyBody::Multi(wanted)));
}

#[test]
fn a_failed_multi_is_zeros_the_error_and_inconsistencies() {
    let mut out = Vec::new();
    let mut reply = Reply::begin(&mut out, 1, Zxid(2), None);
    reply.put_failed_multi(3, 1, ErrorCode::BadVersion);
    reply.finish();
    let body = [
        &b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0"[..],
        b"\xff\xff\xff\xff\0\xff\xff\xff\x99\xff\xff\xff\x99",
        b"\xff\xff\xff\xff\0\xff\xff\xff\xfe\xff\xff\xff\xfe",
        MULTI_END,
    ];
    assert_eq!(out, [&b"\0\0\0\x40\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0"[..], &body.concat()].concat());
}
