//! Requests: header, then the record of the operation.
//!
//! Guarantees: what comes out borrows from the frame; only multi and setWatches allocate, in proportion to the frame. Numbers
//! with a range are passed on raw, so that whoever judges them gives ZooKeeper's error. Null strings are refused where they
//! end in MARSHALLINGERROR in ZooKeeper too ([`Reader::path`]); elsewhere they count as empty ones ([`Reader::text`]), or
//! arrive as they are where that shows (sync, auth).

use crate::model::op_code::OpCode;
use crate::model::request::{Create, CreateOp, Request, SetWatches};
use crate::wire::client::multi::{decode_multi, decode_multi_read};
use crate::wire::jute::reader::{DecodeError, Reader};

/// Bytes of a request's header.
pub const HEADER_BYTES: usize = 8;

/// In front of every request but the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// The client's number for it, repeated in the reply; negative ones have a meaning (`XID_*`).
    pub xid: i32,
    /// Operation, raw; see [`OpCode::from_wire`].
    pub op: i32,
}

/// Splits a frame into header and body.
///
/// # Errors
/// `Truncated` below 8 bytes; there is no number to reply to, so the connection is closed.
#[inline]
pub fn decode_header(frame: &[u8]) -> Result<(RequestHeader, &[u8]), DecodeError> {
    let mut r = Reader::new(frame);
    let header = RequestHeader { xid: r.int()?, op: r.int()? };
    Ok((header, r.rest()))
}

/// Reads the body of a request.
///
/// # Errors
/// What is wrong; the reply is MARSHALLINGERROR.
pub fn decode_request(op: OpCode, body: &[u8]) -> Result<Request<'_>, DecodeError> {
    let r = &mut Reader::new(body);
    Ok(match op {
        OpCode::Create => Request::Create(create(r, CreateOp::Create)?),
        OpCode::Create2 => Request::Create(create(r, CreateOp::Create2)?),
        OpCode::CreateContainer => Request::Create(create(r, CreateOp::Container)?),
        OpCode::CreateTtl => Request::Create(create_ttl(r)?),
        OpCode::Delete => delete(r)?,
        OpCode::Exists => Request::Exists { path: r.path()?, watch: r.boolean()? },
        OpCode::GetData => Request::GetData { path: r.path()?, watch: r.boolean()? },
        OpCode::SetData => set_data(r)?,
        OpCode::GetAcl => Request::GetAcl { path: r.path()? },
        OpCode::SetAcl => Request::SetAcl { path: r.text()?, acl: r.acl()?, version: r.int()? },
        OpCode::GetChildren => Request::GetChildren { path: r.path()?, watch: r.boolean()? },
        OpCode::GetChildren2 => Request::GetChildren2 { path: r.path()?, watch: r.boolean()? },
        OpCode::Sync => Request::Sync { path: r.buffer()? },
        OpCode::Ping => Request::Ping,
        OpCode::Check => check(r)?,
        OpCode::Multi => Request::Multi(decode_multi(r)?),
        OpCode::MultiRead => Request::MultiRead(decode_multi_read(r)?),
        OpCode::Reconfig => reconfig(r)?,
        OpCode::CheckWatches => Request::CheckWatches { path: r.text()?, kind: r.int()? },
        OpCode::RemoveWatches => Request::RemoveWatches { path: r.text()?, kind: r.int()? },
        OpCode::AddWatch => Request::AddWatch { path: r.text()?, mode: r.int()? },
        OpCode::Auth => auth(r)?,
        OpCode::SetWatches => Request::SetWatches(set_watches(r, false)?),
        OpCode::SetWatches2 => Request::SetWatches(set_watches(r, true)?),
        OpCode::Sasl => Request::Sasl { token: r.path()? },
        OpCode::GetEphemerals => Request::GetEphemerals { prefix: r.text()? },
        OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber { path: r.path()? },
        OpCode::WhoAmI => Request::WhoAmI,
        OpCode::CloseSession => Request::CloseSession,
    })
}

pub(super) fn create<'a>(r: &mut Reader<'a>, op: CreateOp) -> Result<Create<'a>, DecodeError> {
    Ok(Create { op, path: r.path()?, data: r.buffer()?, acl: r.acl()?, flags: r.int()?, ttl_ms: 0 })
}

pub(super) fn create_ttl<'a>(r: &mut Reader<'a>) -> Result<Create<'a>, DecodeError> {
    let create = create(r, CreateOp::Ttl)?;
    Ok(Create { ttl_ms: r.long()?, ..create })
}

pub(super) fn delete<'a>(r: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    Ok(Request::Delete { path: r.path()?, version: r.int()? })
}

pub(super) fn set_data<'a>(r: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    Ok(Request::SetData { path: r.text()?, data: r.buffer()?, version: r.int()? })
}

pub(super) fn check<'a>(r: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    Ok(Request::Check { path: r.text()?, version: r.int()? })
}

fn reconfig<'a>(r: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    Ok(Request::Reconfig { joining: r.text()?, leaving: r.text()?, members: r.text()?, config_id: r.long()? })
}

fn auth<'a>(r: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    // The type in front is 0 in every client and read by no server.
    r.int()?;
    Ok(Request::Auth { scheme: r.text()?, auth: r.buffer()? })
}

fn set_watches<'a>(r: &mut Reader<'a>, with_persistent: bool) -> Result<SetWatches<'a>, DecodeError> {
    let mut lists =
        SetWatches { relative_zxid: r.zxid()?, data: r.paths()?, exist: r.paths()?, child: r.paths()?, ..SetWatches::default() };
    if with_persistent {
        lists.persistent = r.texts_not_null()?;
        lists.persistent_recursive = r.texts_not_null()?;
    }
    Ok(lists)
}
