//! Client operations as values that borrow from the frame they came in. `wire::client` decodes them.
//!
//! Paths are bytes: neither normalised nor required to be UTF-8 here (a null path arrives as an empty one, if it is let through). Numbers that have
//! a range (flags, types, modes, versions) are still raw: whoever judges the request gives the error in ZooKeeper's order.

use crate::base::ids::{SessionId, Zxid};
use crate::model::txn::PASSWORD_BYTES;

/// Which of the four create operations was sent; decides the kind of node and the form of the reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateOp {
    /// Opcode 1: the reply is the path.
    Create,
    /// Opcode 15: path and stat.
    Create2,
    /// Opcode 19: path and stat.
    Container,
    /// Opcode 21: path and stat.
    Ttl,
}

/// A create in any of its forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Create<'a> {
    /// Which operation.
    pub op: CreateOp,
    /// Wanted path, without sequence number.
    pub path: &'a [u8],
    /// Null and empty differ.
    pub data: Option<&'a [u8]>,
    /// ACL list in wire form (count and entries); `None` for a null list.
    pub acl: Option<&'a [u8]>,
    /// Create mode, raw.
    pub flags: i32,
    /// Only of opcode 21, else 0.
    pub ttl_ms: i64,
}

/// The lists of setWatches; the last two only of setWatches2.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetWatches<'a> {
    /// The client has seen everything up to here.
    pub relative_zxid: Zxid,
    /// Paths of data watches.
    pub data: Vec<&'a [u8]>,
    /// Paths of exists watches.
    pub exist: Vec<&'a [u8]>,
    /// Paths of child watches.
    pub child: Vec<&'a [u8]>,
    /// Paths of persistent watches.
    pub persistent: Vec<&'a [u8]>,
    /// Paths of persistent recursive watches.
    pub persistent_recursive: Vec<&'a [u8]>,
}

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of ZooKeeper's records of the same name")]
pub enum Request<'a> {
    Create(Create<'a>),
    Delete { path: &'a [u8], version: i32 },
    Exists { path: &'a [u8], watch: bool },
    GetData { path: &'a [u8], watch: bool },
    SetData { path: &'a [u8], data: Option<&'a [u8]>, version: i32 },
    GetAcl { path: &'a [u8] },
    SetAcl { path: &'a [u8], acl: Option<&'a [u8]>, version: i32 },
    GetChildren { path: &'a [u8], watch: bool },
    GetChildren2 { path: &'a [u8], watch: bool },
    Sync { path: Option<&'a [u8]> },
    Ping,
    Check { path: &'a [u8], version: i32 },
    Multi(Vec<Request<'a>>),
    MultiRead(Vec<Request<'a>>),
    Reconfig { joining: &'a [u8], leaving: &'a [u8], members: &'a [u8], config_id: i64 },
    CheckWatches { path: &'a [u8], kind: i32 },
    RemoveWatches { path: &'a [u8], kind: i32 },
    AddWatch { path: &'a [u8], mode: i32 },
    Auth { scheme: &'a [u8], auth: Option<&'a [u8]> },
    SetWatches(SetWatches<'a>),
    Sasl { token: &'a [u8] },
    GetEphemerals { prefix: &'a [u8] },
    GetAllChildrenNumber { path: &'a [u8] },
    WhoAmI,
    CloseSession,
}

/// The first message of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connect<'a> {
    /// 0 in every known client.
    pub protocol_version: i32,
    /// The highest zxid that the client has seen anywhere.
    pub last_zxid_seen: Zxid,
    /// Wanted session timeout in milliseconds.
    pub timeout_ms: i32,
    /// [`SessionId::NONE`] asks for a new session.
    pub session: SessionId,
    /// As sent, of any length; only [`PASSWORD_BYTES`] bytes can be right.
    pub password: &'a [u8],
    /// Whether the client would be content with a read-only server; `None` in the form without that byte (44 bytes), which
    /// is then answered in kind.
    pub read_only: Option<bool>,
}

/// The answer to [`Connect`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connected {
    /// Negotiated; 0 says that the session is gone.
    pub timeout_ms: u32,
    /// The session, or [`SessionId::NONE`] with timeout 0.
    pub session: SessionId,
    /// For resuming; zeros when the session is gone.
    pub password: [u8; PASSWORD_BYTES],
}
