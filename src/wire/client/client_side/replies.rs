//! Decodes the handshake's answer, reply headers and bodies, and notifications. Bounded by the frame like every decoder.

use crate::base::ids::{SessionId, Zxid};
use crate::model::acl::AclList;
use crate::model::op_code::OpCode;
use crate::model::request::Connected;
use crate::model::stat::Stat;
use crate::model::txn::PASSWORD_BYTES;
use crate::model::watch_kind::EventType;
use crate::wire::client::multi::{MultiResult, decode_results};
use crate::wire::jute::reader::{DecodeError, Reader};

/// The handshake's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectedReply {
    /// Timeout 0 says that the session is gone.
    pub connected: Connected,
    /// Whether the server only reads; `None` in the short form.
    pub read_only: Option<bool>,
}

/// In front of every reply and notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyHeader {
    /// The request's number, or -1 for a notification.
    pub xid: i32,
    /// What the server had applied; -1 in some notifications.
    pub zxid: i64,
    /// 0, or an [`crate::model::error_code::ErrorCode`]; then no body follows.
    pub err: i32,
}

/// A notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// What happened.
    pub event: EventType,
    /// 3 from every server.
    pub state: i32,
    /// Where.
    pub path: &'a [u8],
}

/// Scheme and user of somebody that a connection is known as.
pub type IdentityRef<'a> = (&'a [u8], &'a [u8]);

/// The body of a successful reply.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of ZooKeeper's response records")]
pub enum ReplyBody<'a> {
    /// delete, ping, auth, setWatches, checkWatches, removeWatches, closeSession.
    Empty,
    /// create, sync.
    Path(&'a [u8]),
    /// create2, createContainer, createTTL.
    Created { path: &'a [u8], stat: Stat },
    /// exists, setData, setACL.
    Stat(Stat),
    /// getData, reconfig.
    Data { data: Option<&'a [u8]>, stat: Stat },
    /// getACL.
    Acl { list: AclList<'a>, stat: Stat },
    /// getChildren, getEphemerals.
    Names(Vec<&'a [u8]>),
    /// getChildren2.
    Children { names: Vec<&'a [u8]>, stat: Stat },
    /// getAllChildrenNumber.
    Number(i32),
    /// addWatch: 0.
    ErrorRecord(i32),
    /// whoAmI.
    Identities(Vec<IdentityRef<'a>>),
    /// sasl.
    Token(Option<&'a [u8]>),
    /// multi, multiRead.
    Multi(Vec<MultiResult<'a>>),
}

/// Reads the handshake's answer.
///
/// # Errors
/// What is wrong: also a negative timeout and a password that isn't 16 bytes.
pub fn decode_connected(frame: &[u8]) -> Result<ConnectedReply, DecodeError> {
    let mut r = Reader::new(frame);
    r.int()?;
    let timeout_ms = r.int()?;
    let session = SessionId(r.long()?);
    let password = r.text()?;
    let read_only = if r.rest().is_empty() { None } else { Some(r.boolean()?) };
    let timeout_ms = u32::try_from(timeout_ms).map_err(|_| DecodeError::BadNumber(timeout_ms.into()))?;
    let password = <[u8; PASSWORD_BYTES]>::try_from(password).map_err(|_| DecodeError::BadNumber(password.len() as i64))?;
    Ok(ConnectedReply { connected: Connected { timeout_ms, session, password }, read_only })
}

/// Splits a frame into header and body.
///
/// # Errors
/// `Truncated`.
#[inline]
pub fn decode_reply_header(frame: &[u8]) -> Result<(ReplyHeader, &[u8]), DecodeError> {
    let mut r = Reader::new(frame);
    let header = ReplyHeader { xid: r.int()?, zxid: r.long()?, err: r.int()? };
    Ok((header, r.rest()))
}

impl ReplyHeader {
    /// The zxid, unless the header has none.
    #[must_use]
    pub fn zxid(&self) -> Option<Zxid> {
        (self.zxid > 0).then(|| Zxid::from_i64(self.zxid))
    }
}

/// Reads a notification's body.
///
/// # Errors
/// What is wrong; `BadType` for an event that servers don't send.
pub fn decode_event(body: &[u8]) -> Result<Event<'_>, DecodeError> {
    let mut r = Reader::new(body);
    let raw = r.int()?;
    let event = match raw {
        1 => EventType::NodeCreated,
        2 => EventType::NodeDeleted,
        3 => EventType::NodeDataChanged,
        4 => EventType::NodeChildrenChanged,
        _ => return Err(DecodeError::BadType(raw)),
    };
    Ok(Event { event, state: r.int()?, path: r.text()? })
}

/// Reads the body of a reply to `op` whose header has no error.
///
/// # Errors
/// What is wrong.
pub fn decode_body(op: OpCode, body: &[u8]) -> Result<ReplyBody<'_>, DecodeError> {
    let r = &mut Reader::new(body);
    Ok(match op {
        OpCode::Create | OpCode::Sync => ReplyBody::Path(r.text()?),
        OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => ReplyBody::Created { path: r.text()?, stat: r.stat()? },
        OpCode::Exists | OpCode::SetData | OpCode::SetAcl => ReplyBody::Stat(r.stat()?),
        OpCode::GetData | OpCode::Reconfig => ReplyBody::Data { data: r.buffer()?, stat: r.stat()? },
        OpCode::GetAcl => ReplyBody::Acl { list: r.acl_list()?, stat: r.stat()? },
        OpCode::GetChildren | OpCode::GetEphemerals => ReplyBody::Names(r.texts()?),
        OpCode::GetChildren2 => ReplyBody::Children { names: r.texts()?, stat: r.stat()? },
        OpCode::GetAllChildrenNumber => ReplyBody::Number(r.int()?),
        OpCode::AddWatch => ReplyBody::ErrorRecord(r.int()?),
        OpCode::WhoAmI => ReplyBody::Identities(identities(r)?),
        OpCode::Sasl => ReplyBody::Token(r.buffer()?),
        OpCode::Multi | OpCode::MultiRead => ReplyBody::Multi(decode_results(r)?),
        OpCode::Delete
        | OpCode::Ping
        | OpCode::Check
        | OpCode::Auth
        | OpCode::SetWatches
        | OpCode::SetWatches2
        | OpCode::CheckWatches
        | OpCode::RemoveWatches
        | OpCode::CloseSession => ReplyBody::Empty,
    })
}

fn identities<'a>(r: &mut Reader<'a>) -> Result<Vec<IdentityRef<'a>>, DecodeError> {
    let count = r.count(8)?.unwrap_or(0);
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push((r.text()?, r.text()?));
    }
    Ok(list)
}
