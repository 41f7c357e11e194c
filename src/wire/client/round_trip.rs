//! Properties of the codec: what the client side encodes is what the server side decodes, and no bytes make a decoder panic.
//! And the odd rules of multi, one by one.

use super::client_side::{decode_body, decode_connected, decode_event, decode_reply_header, put_connect, put_request, request_op};
use super::connect::{decode_connect, write_connected};
use super::decode::{decode_header, decode_request};
use super::frame::FrameSplitter;
use crate::base::ids::{SessionId, Zxid};
use crate::model::acl::{AclEntry, AclList, encode};
use crate::model::op_code::OpCode;
use crate::model::request::{Connect, Connected, Create, CreateOp, Request, SetWatches};
use crate::wire::jute::reader::DecodeError;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// What a request borrows from, drawn at random.
#[derive(Debug, Clone)]
struct Drawn {
    path: Vec<u8>,
    data: Option<Vec<u8>>,
    acl: Option<Vec<u8>>,
    number: i32,
    long: i64,
    flag: bool,
    list: Vec<Vec<u8>>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let bytes = || vec(any::<u8>(), 0..12);
    let acl = vec((any::<i32>(), bytes(), bytes()), 0..4)
        .prop_map(|entries| encode(entries.iter().map(|(perms, scheme, id)| AclEntry { perms: *perms, scheme, id })));
    (bytes(), option::of(bytes()), option::of(acl), any::<i32>(), any::<i64>(), any::<bool>(), vec(bytes(), 0..5))
        .prop_map(|(path, data, acl, number, long, flag, list)| Drawn { path, data, acl, number, long, flag, list })
}

impl Drawn {
    fn create(&self, op: CreateOp, flags: i32) -> Request<'_> {
        let ttl_ms = if op == CreateOp::Ttl { self.long } else { 0 };
        Request::Create(Create { op, path: &self.path, data: self.data.as_deref(), acl: self.acl.as_deref(), flags, ttl_ms })
    }

    /// There a null ACL isn't let through, except with a ttl.
    fn create_in_multi(&self, op: CreateOp, flags: i32) -> Request<'_> {
        match self.create(op, flags) {
            Request::Create(create) => Request::Create(Create { acl: create.acl.or(Some(&[0; 4])), ..create }),
            other => other,
        }
    }

    fn texts(&self) -> Vec<&[u8]> {
        self.list.iter().map(Vec::as_slice).collect()
    }

    fn requests(&self) -> Vec<Request<'_>> {
        let (path, data, acl, number, watch) = (&self.path[..], self.data.as_deref(), self.acl.as_deref(), self.number, self.flag);
        let some = data.unwrap_or_default();
        let (data_list, relative_zxid) = (self.texts(), Zxid::from_i64(self.long));
        vec![
            self.create(CreateOp::Create, number),
            self.create(CreateOp::Create2, number),
            self.create(CreateOp::Container, number),
            self.create(CreateOp::Ttl, number),
            Request::Delete { path, version: number },
            Request::Exists { path, watch },
            Request::GetData { path, watch },
            Request::SetData { path, data, version: number },
            Request::GetAcl { path },
            Request::SetAcl { path, acl, version: number },
            Request::GetChildren { path, watch },
            Request::GetChildren2 { path, watch },
            Request::Sync { path: data },
            Request::Check { path, version: number },
            Request::Reconfig { joining: path, leaving: some, members: path, config_id: self.long },
            Request::CheckWatches { path, kind: number },
            Request::RemoveWatches { path, kind: number },
            Request::AddWatch { path, mode: number },
            Request::Auth { scheme: path, auth: data },
            Request::SetWatches(SetWatches { relative_zxid, data: data_list.clone(), child: data_list.clone(), ..SetWatches::default() }),
            Request::SetWatches(SetWatches { relative_zxid, exist: data_list, persistent: vec![path], ..SetWatches::default() }),
            Request::Sasl { token: some },
            Request::GetEphemerals { prefix: path },
            Request::GetAllChildrenNumber { path },
            Request::Multi(vec![
                self.create_in_multi(CreateOp::Create, 0),
                self.create_in_multi(CreateOp::Create2, 3),
                self.create_in_multi(CreateOp::Container, 4),
                self.create(CreateOp::Ttl, 6),
                Request::SetData { path, data, version: number },
            ]),
            Request::MultiRead(vec![Request::GetData { path, watch: false }, Request::GetChildren { path, watch: false }]),
        ]
    }
}

proptest! {
    #[test]
    fn what_a_client_sends_is_what_a_server_reads(drawn in drawn(), xid in any::<i32>()) {
        let requests = drawn.requests();
        let mut bytes = Vec::new();
        for request in &requests {
            put_request(&mut bytes, xid, request);
        }
        let mut frames = FrameSplitter::new(&bytes, 1 << 20);
        for request in &requests {
            let (header, body) = decode_header(frames.next_frame().unwrap().unwrap()).unwrap();
            prop_assert_eq!((header.xid, header.op), (xid, request_op(request).wire()));
            prop_assert_eq!(&decode_request(request_op(request), body).unwrap(), request);
        }
        prop_assert_eq!(frames.next_frame(), Ok(None));
    }

    #[test]
    fn the_handshake_round_trips(drawn in drawn(), timeout_ms in any::<i32>(), read_only in option::of(any::<bool>())) {
        let connect = Connect {
            protocol_version: drawn.number,
            last_zxid_seen: Zxid::from_i64(drawn.long),
            timeout_ms,
            session: SessionId(!drawn.long),
            password: &drawn.path,
            read_only,
        };
        let mut bytes = Vec::new();
        put_connect(&mut bytes, &connect);
        prop_assert_eq!(decode_connect(&bytes[4..]), Ok(connect));
        let connected = Connected { timeout_ms: timeout_ms.unsigned_abs() >> 1, session: SessionId(drawn.long), password: [7; 16] };
        bytes.clear();
        write_connected(&mut bytes, &connected, read_only);
        let reply = decode_connected(&bytes[4..]).unwrap();
        prop_assert_eq!((reply.connected, reply.read_only), (connected, read_only));
    }

    /// Small numbers are drawn often, so that counts and lengths lie in every way and are right now and then.
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(prop_oneof![4 => Just(0u8), 4 => 0u8..24, 2 => Just(255u8), 1 => any::<u8>()], 0..160)) {
        let _ = decode_connect(&bytes);
        let _ = decode_connected(&bytes);
        let _ = decode_event(&bytes);
        let _ = decode_header(&bytes);
        let _ = decode_reply_header(&bytes);
        let _ = FrameSplitter::new(&bytes, 64).next_frame();
        for op in (-20..120).filter_map(OpCode::from_wire) {
            let _ = decode_body(op, &bytes);
            for acl in decode_request(op, &bytes).iter().flat_map(acls) {
                prop_assert!(AclList::parse(acl).is_some(), "an ACL list that isn't one: {:?}", acl);
            }
        }
    }
}

/// The ACL lists of a request.
fn acls<'a>(request: &Request<'a>) -> Vec<&'a [u8]> {
    match request {
        Request::Create(create) => create.acl.into_iter().collect(),
        Request::SetAcl { acl, .. } => acl.iter().copied().collect(),
        Request::Multi(ops) => ops.iter().flat_map(acls).collect(),
        _ => vec![],
    }
}

/// A multi of one operation of type `kind` with the body of `op` (that of a create with an empty ACL).
fn multi_of(kind: i32, flags: i32, ttl_ms: Option<i64>) -> Vec<u8> {
    let mut bytes = [&kind.to_be_bytes()[..], b"\0\xff\xff\xff\xff\0\0\0\x02/a\0\0\0\0\0\0\0\0", &flags.to_be_bytes()].concat();
    bytes.extend(ttl_ms.map(i64::to_be_bytes).into_iter().flatten());
    bytes.extend_from_slice(b"\xff\xff\xff\xff\x01\xff\xff\xff\xff");
    bytes
}

fn only_create(bytes: &[u8]) -> Result<(CreateOp, i32, i64), DecodeError> {
    match decode_request(OpCode::Multi, bytes)? {
        Request::Multi(ops) => match &ops[..] {
            [Request::Create(create)] => Ok((create.op, create.flags, create.ttl_ms)),
            other => panic!("not one create: {other:?}"),
        },
        other => panic!("not a multi: {other:?}"),
    }
}

#[test]
fn flags_decide_what_a_create_in_a_multi_is() {
    for (kind, op) in [(1, CreateOp::Create), (15, CreateOp::Create2), (19, CreateOp::Container)] {
        for flags in 0..4 {
            assert_eq!(only_create(&multi_of(kind, flags, None)), Ok((op, flags, 0)));
        }
        assert_eq!(only_create(&multi_of(kind, 4, None)), Ok((CreateOp::Container, 4, 0)));
        for flags in [5, 6, 7, -1] {
            assert_eq!(only_create(&multi_of(kind, flags, None)), Err(DecodeError::BadMultiFlags(flags)));
        }
    }
    for flags in [5, 6] {
        assert_eq!(only_create(&multi_of(21, flags, Some(900))), Ok((CreateOp::Ttl, flags, 900)));
    }
    for flags in [0, 3, 7, -1] {
        assert_eq!(only_create(&multi_of(21, flags, Some(900))), Ok((CreateOp::Create, flags, 0)), "not a TTL mode");
    }
    assert_eq!(only_create(&multi_of(21, 4, Some(900))), Ok((CreateOp::Container, 4, 0)));
}

#[test]
fn nulls_that_a_multi_cannot_hold() {
    let multi = |body: &[u8]| decode_request(OpCode::Multi, &[body, b"\xff\xff\xff\xff\x01\xff\xff\xff\xff"].concat()).map(drop);
    for kind in [1u8, 2, 5, 13, 15, 19, 21] {
        let null_path = [&[0, 0, 0, kind], &b"\0\xff\xff\xff\xff"[..], b"\xff\xff\xff\xff", &[0; 30]].concat();
        assert_eq!(multi(&null_path), Err(DecodeError::Null), "{kind}");
    }
    let null_acl =
        |kind: u8, flags: u8| [&[0, 0, 0, kind], &b"\0\xff\xff\xff\xff\0\0\0\x02/a\0\0\0\0\xff\xff\xff\xff\0\0\0"[..], &[flags]].concat();
    for (kind, flags) in [(1, 0), (15, 0), (19, 4)] {
        assert_eq!(multi(&null_acl(kind, flags)), Err(DecodeError::Null), "{kind}");
    }
    assert_eq!(multi(&[null_acl(21, 5), vec![0; 8]].concat()), Ok(()), "left for whoever judges it");
    for kind in [4u8, 8] {
        let read = [&[0, 0, 0, kind], &b"\0\xff\xff\xff\xff\xff\xff\xff\xff\0"[..]].concat();
        assert_eq!(decode_request(OpCode::MultiRead, &read), Err(DecodeError::Null), "{kind}");
    }
}

#[test]
fn reads_writes_and_unknown_operations_do_not_mix() {
    let mut frame = Vec::new();
    let (read, write) = (Request::GetData { path: b"/a", watch: false }, Request::Delete { path: b"/a", version: 0 });
    put_request(&mut frame, 1, &Request::Multi(vec![write, read]));
    let mixture = &frame[12..];
    assert_eq!(decode_request(OpCode::Multi, mixture), Err(DecodeError::BadMultiOp(4)));
    assert_eq!(decode_request(OpCode::MultiRead, mixture), Err(DecodeError::BadMultiOp(2)));
    for kind in [0, 3, 6, 7, 9, 12, 14, 20, 22, 107, -1, -11] {
        assert_eq!(decode_request(OpCode::Multi, &multi_of(kind, 0, None)), Err(DecodeError::BadMultiOp(kind)));
        assert_eq!(decode_request(OpCode::MultiRead, &multi_of(kind, 0, None)), Err(DecodeError::BadMultiOp(kind)));
    }
}

#[test]
fn watch_flags_in_a_multi_read_do_not_count() {
    let bytes = b"\0\0\0\x04\0\xff\xff\xff\xff\0\0\0\x02/a\x01\0\0\0\x08\0\xff\xff\xff\xff\0\0\0\x02/a\x01\0\0\0\0\x01\0\0\0\0";
    let wanted = vec![Request::GetData { path: b"/a", watch: false }, Request::GetChildren { path: b"/a", watch: false }];
    assert_eq!(decode_request(OpCode::MultiRead, bytes), Ok(Request::MultiRead(wanted)));
}
