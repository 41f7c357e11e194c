//! Client frames: split, header, body of every operation, multi among them.

use super::meter;
use super::mutate;
use super::request_grammar::{Stock, all_ops, is_canonical};
use super::target::{Tally, Target};
use ringkeeper::base::prng::Prng;
use ringkeeper::model::acl::AclList;
use ringkeeper::model::op_code::OpCode;
use ringkeeper::model::request::Request;
use ringkeeper::wire::client_side::{put_request, request_op};
use ringkeeper::wire::{DecodeError, FrameSplitter, decode_header, decode_request};

/// See the module.
pub struct Requests;

/// What decoding may hold for each byte of a frame: the smallest operation of a multi has 14 bytes, a `Request` is some 130
/// bytes long, and a growing list is held twice at most while it moves.
const HELD_FOR_EACH_BYTE_MAX: usize = 40;
/// And for each frame at least.
const HELD_MIN: usize = 4096;
/// Bytes in front of a body in a frame: length, xid, operation.
const BODY_AT: usize = 12;

impl Target for Requests {
    fn name(&self) -> &'static str {
        "request"
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = all_ops().map(|op| ("accepted", format!("{op:?}"))).collect();
        let with_body = |op: &OpCode| !matches!(op, OpCode::Ping | OpCode::WhoAmI | OpCode::CloseSession);
        all.extend(all_ops().filter(with_body).map(|op| ("Truncated", format!("{op:?}"))));
        all.extend(all_ops().filter(with_body).map(|op| ("BadLength", format!("{op:?}"))));
        for op in ["Create", "CreateTtl", "Delete", "Exists", "GetAcl", "Multi", "MultiRead", "SetWatches", "SetWatches2", "Sasl"] {
            all.push(("Null", op.to_owned()));
        }
        for op in ["Create", "SetAcl", "Multi", "SetWatches", "SetWatches2"] {
            all.push(("BadCount", op.to_owned()));
        }
        all.extend([("BadMultiOp", "Multi"), ("BadMultiOp", "MultiRead"), ("BadMultiFlags", "Multi")].map(|(g, i)| (g, i.to_owned())));
        let frames = ["length refused", "more bytes needed", "header cut", "unknown operation", "end"];
        all.extend(frames.map(|item| ("frame", item.to_owned())));
        all
    }

    fn try_one(&self, prng: &mut Prng, tally: &mut Tally) -> Result<(), String> {
        let stock = Stock::draw(prng);
        let ops: Vec<OpCode> = all_ops().collect();
        let mut requests: Vec<Request<'_>> = Vec::new();
        for _ in 0..1 + prng.below(3) {
            let op = ops[prng.index(ops.len())];
            requests.push(stock.request(prng, op));
        }
        let mut stream = Vec::new();
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for (xid, request) in requests.iter().enumerate() {
            let mut frame = Vec::new();
            put_request(&mut frame, xid as i32, request);
            check_valid(prng, request, &frame)?;
            frames.push(frame);
        }
        let changes_bodies = prng.chance(3, 4);
        let other = frames[prng.index(frames.len())].clone();
        for frame in &mut frames {
            if changes_bodies {
                change_body(prng, frame, &other);
            }
            stream.extend_from_slice(frame);
        }
        if !changes_bodies {
            mutate::some(prng, &mut stream, &other);
        }
        tally.input("stream", &stream);
        walk(prng, &stream, tally)
    }
}

/// What was encoded is accepted and reads equal; cut anywhere it is refused.
fn check_valid(prng: &mut Prng, request: &Request<'_>, frame: &[u8]) -> Result<(), String> {
    let (op, body) = (request_op(request), &frame[BODY_AT..]);
    if !is_canonical(request) {
        return Ok(());
    }
    match decode_request(op, body) {
        Ok(read) if read == *request => {}
        other => return Err(format!("{request:?} reads as {other:?}")),
    }
    if !body.is_empty() {
        let cut = prng.index(body.len());
        if let Ok(read) = decode_request(op, &body[..cut]) {
            return Err(format!("the first {cut} bytes of {request:?} are accepted as {read:?}"));
        }
    }
    Ok(())
}

/// Changes the body (seldom the operation) and makes the frame's length right again.
fn change_body(prng: &mut Prng, frame: &mut Vec<u8>, other: &[u8]) {
    let mut body = frame.split_off(BODY_AT);
    mutate::some(prng, &mut body, &other[BODY_AT..]);
    frame.extend(body);
    if prng.chance(1, 8) {
        let ops: Vec<OpCode> = all_ops().collect();
        frame[8..BODY_AT].copy_from_slice(&ops[prng.index(ops.len())].wire().to_be_bytes());
    }
    let len = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&len.to_be_bytes());
}

/// Goes over a stream as a front does.
fn walk(prng: &mut Prng, stream: &[u8], tally: &mut Tally) -> Result<(), String> {
    let limit = [1 << 20, 64, 1024][prng.index(3)];
    check_splitting(prng, stream, limit)?;
    let mut frames = FrameSplitter::new(stream, limit);
    loop {
        match frames.next_frame() {
            Err(error) => {
                let what = error.foreign().map_or("length refused", |foreign| foreign.name());
                tally.met("frame", what);
                return if error.to_string().is_empty() { Err("an error without words".to_owned()) } else { Ok(()) };
            }
            Ok(None) => {
                tally.met("frame", if frames.consumed() == stream.len() { "end" } else { "more bytes needed" });
                return Ok(());
            }
            Ok(Some(frame)) => one_frame(prng, frame, tally)?,
        }
    }
}

/// However the bytes arrive, the same frames come out.
fn check_splitting(prng: &mut Prng, stream: &[u8], limit: usize) -> Result<(), String> {
    let all = |bytes: &[u8]| {
        let mut splitter = FrameSplitter::new(bytes, limit);
        let mut out: Vec<Vec<u8>> = Vec::new();
        let end = loop {
            match splitter.next_frame() {
                Ok(Some(frame)) => out.push(frame.to_vec()),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        (out, end, splitter.consumed())
    };
    let whole = all(stream);
    let cut = prng.index(stream.len() + 1);
    let (mut out, end, consumed) = all(&stream[..cut]);
    if end.is_some() {
        return if end == whole.1 && out == whole.0 { Ok(()) } else { Err(format!("cut at {cut}, another error comes: {end:?}")) };
    }
    let (rest, end, _) = all(&stream[consumed..]);
    out.extend(rest);
    if out == whole.0 && end == whole.1 { Ok(()) } else { Err(format!("cut at {cut}, other frames come out")) }
}

fn one_frame(prng: &mut Prng, frame: &[u8], tally: &mut Tally) -> Result<(), String> {
    let Ok((header, body)) = decode_header(frame) else {
        tally.met("frame", "header cut");
        return if frame.len() < 8 { Ok(()) } else { Err("a whole header is refused".to_owned()) };
    };
    let Some(op) = OpCode::from_wire(header.op) else {
        tally.met("frame", "unknown operation");
        return Ok(());
    };
    let bytes_max = body.len() * HELD_FOR_EACH_BYTE_MAX + HELD_MIN;
    match meter::bounded("decoding a request", bytes_max, || decode_request(op, body))? {
        Err(error) => tally.met(group_of(error), format!("{op:?}")),
        Ok(request) => {
            tally.met("accepted", format!("{op:?}"));
            tally.accepted += 1;
            check_accepted(prng, op, body, &request)?;
        }
    }
    Ok(())
}

fn group_of(error: DecodeError) -> &'static str {
    match error {
        DecodeError::Truncated => "Truncated",
        DecodeError::Null => "Null",
        DecodeError::BadLength(_) => "BadLength",
        DecodeError::BadCount(_) => "BadCount",
        DecodeError::BadMultiOp(_) => "BadMultiOp",
        DecodeError::BadMultiFlags(_) => "BadMultiFlags",
        DecodeError::BadType(_) => "BadType",
        DecodeError::BadNumber(_) => "BadNumber",
    }
}

/// Its ACL lists are lists; bytes after its last field don't count; written again it reads equal.
fn check_accepted(prng: &mut Prng, op: OpCode, body: &[u8], request: &Request<'_>) -> Result<(), String> {
    for acl in acls(request) {
        AclList::parse(acl).ok_or_else(|| format!("an ACL list that isn't one: {acl:?}"))?;
    }
    let mut longer = body.to_vec();
    let mut tail = vec![0; 1 + prng.index(12)];
    prng.fill(&mut tail);
    longer.extend(tail);
    if decode_request(op, &longer).as_ref() != Ok(request) {
        return Err(format!("bytes after the last field count: {request:?}"));
    }
    if is_canonical(request) {
        let mut again = Vec::new();
        put_request(&mut again, 1, request);
        let read = decode_request(request_op(request), &again[BODY_AT..]);
        if read.as_ref() != Ok(request) {
            return Err(format!("{request:?} written again reads as {read:?}"));
        }
    }
    Ok(())
}

fn acls<'a>(request: &Request<'a>) -> Vec<&'a [u8]> {
    match request {
        Request::Create(create) => create.acl.into_iter().collect(),
        Request::SetAcl { acl, .. } => acl.iter().copied().collect(),
        Request::Multi(ops) => ops.iter().flat_map(acls).collect(),
        _ => Vec::new(),
    }
}
