//! Encodes the handshake and every request, each as one frame appended to a `Vec<u8>`.

use crate::model::op_code::OpCode;
use crate::model::request::{Connect, Create, CreateOp, Request};
use crate::wire::client::multi::MultiHeader;
use crate::wire::client::reply::frame_into;
use crate::wire::jute::writer::{put_bool, put_buffer, put_int, put_long, put_text, put_texts};

/// Appends a connect request, in the short form if `read_only` is `None`.
pub fn put_connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    frame_into(out, |out| {
        put_int(out, connect.protocol_version);
        put_long(out, connect.last_zxid_seen.as_i64());
        put_int(out, connect.timeout_ms);
        put_long(out, connect.session.0);
        put_text(out, connect.password);
        if let Some(value) = connect.read_only {
            put_bool(out, value);
        }
    });
}

/// Appends a request with its header.
pub fn put_request(out: &mut Vec<u8>, xid: i32, request: &Request<'_>) {
    frame_into(out, |out| {
        put_int(out, xid);
        put_int(out, request_op(request).wire());
        put_body(out, request);
    });
}

/// The operation of a request. setWatches is sent in its second form only if it has persistent watches.
#[must_use]
pub fn request_op(request: &Request<'_>) -> OpCode {
    match request {
        Request::Create(create) => create_op(create.op),
        Request::Delete { .. } => OpCode::Delete,
        Request::Exists { .. } => OpCode::Exists,
        Request::GetData { .. } => OpCode::GetData,
        Request::SetData { .. } => OpCode::SetData,
        Request::GetAcl { .. } => OpCode::GetAcl,
        Request::SetAcl { .. } => OpCode::SetAcl,
        Request::GetChildren { .. } => OpCode::GetChildren,
        Request::GetChildren2 { .. } => OpCode::GetChildren2,
        Request::Sync { .. } => OpCode::Sync,
        Request::Ping => OpCode::Ping,
        Request::Check { .. } => OpCode::Check,
        Request::Multi(_) => OpCode::Multi,
        Request::MultiRead(_) => OpCode::MultiRead,
        Request::Reconfig { .. } => OpCode::Reconfig,
        Request::CheckWatches { .. } => OpCode::CheckWatches,
        Request::RemoveWatches { .. } => OpCode::RemoveWatches,
        Request::AddWatch { .. } => OpCode::AddWatch,
        Request::Auth { .. } => OpCode::Auth,
        Request::SetWatches(lists) if lists.persistent.is_empty() && lists.persistent_recursive.is_empty() => OpCode::SetWatches,
        Request::SetWatches(_) => OpCode::SetWatches2,
        Request::Sasl { .. } => OpCode::Sasl,
        Request::GetEphemerals { .. } => OpCode::GetEphemerals,
        Request::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
        Request::WhoAmI => OpCode::WhoAmI,
        Request::CloseSession => OpCode::CloseSession,
    }
}

fn create_op(op: CreateOp) -> OpCode {
    match op {
        CreateOp::Create => OpCode::Create,
        CreateOp::Create2 => OpCode::Create2,
        CreateOp::Container => OpCode::CreateContainer,
        CreateOp::Ttl => OpCode::CreateTtl,
    }
}

fn put_body(out: &mut Vec<u8>, request: &Request<'_>) {
    match request {
        Request::Create(create) => put_create(out, create),
        Request::SetData { path, data, version } => {
            put_text(out, path);
            put_buffer(out, *data);
            put_int(out, *version);
        }
        Request::Exists { path, watch }
        | Request::GetData { path, watch }
        | Request::GetChildren { path, watch }
        | Request::GetChildren2 { path, watch } => {
            put_text(out, path);
            put_bool(out, *watch);
        }
        Request::Delete { path, version: number }
        | Request::Check { path, version: number }
        | Request::CheckWatches { path, kind: number }
        | Request::RemoveWatches { path, kind: number }
        | Request::AddWatch { path, mode: number } => {
            put_text(out, path);
            put_int(out, *number);
        }
        Request::GetAcl { path } | Request::GetAllChildrenNumber { path } => put_text(out, path),
        Request::Sync { path } => put_buffer(out, *path),
        Request::GetEphemerals { prefix: text } | Request::Sasl { token: text } => put_text(out, text),
        Request::Ping | Request::WhoAmI | Request::CloseSession => {}
        rare => put_rare_body(out, rare),
    }
}

fn put_rare_body(out: &mut Vec<u8>, request: &Request<'_>) {
    match request {
        Request::SetAcl { path, acl, version } => {
            put_text(out, path);
            put_raw_acl(out, *acl);
            put_int(out, *version);
        }
        Request::Multi(ops) | Request::MultiRead(ops) => {
            for op in ops {
                MultiHeader { kind: request_op(op).wire(), done: false, err: -1 }.put(out);
                put_body(out, op);
            }
            MultiHeader::END.put(out);
        }
        Request::Reconfig { joining, leaving, members, config_id } => {
            for text in [joining, leaving, members] {
                put_text(out, text);
            }
            put_long(out, *config_id);
        }
        Request::Auth { scheme, auth } => {
            put_int(out, 0);
            put_text(out, scheme);
            put_buffer(out, *auth);
        }
        Request::SetWatches(lists) => {
            put_long(out, lists.relative_zxid.as_i64());
            for list in [&lists.data, &lists.exist, &lists.child] {
                put_texts(out, list.iter().copied());
            }
            if request_op(request) == OpCode::SetWatches2 {
                for list in [&lists.persistent, &lists.persistent_recursive] {
                    put_texts(out, list.iter().copied());
                }
            }
        }
        // Every other request stands in `put_body`.
        other => crate::base::check::broken(format_args!("no encoding for {other:?}")),
    }
}

fn put_create(out: &mut Vec<u8>, create: &Create<'_>) {
    put_text(out, create.path);
    put_buffer(out, create.data);
    put_raw_acl(out, create.acl);
    put_int(out, create.flags);
    if create.op == CreateOp::Ttl {
        put_long(out, create.ttl_ms);
    }
}

/// A list in wire form, or null.
fn put_raw_acl(out: &mut Vec<u8>, acl: Option<&[u8]>) {
    match acl {
        Some(bytes) => out.extend_from_slice(bytes),
        None => put_int(out, -1),
    }
}
