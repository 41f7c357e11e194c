//! ZooKeeper's error codes (`KeeperException.Code`), as far as a server sends them.

/// What a reply header carries when a request failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i32)]
pub enum ErrorCode {
    /// A failure of the server itself, for instance a full disk.
    SystemError = -1,
    /// In a failed multi: an operation after the one that failed.
    RuntimeInconsistency = -2,
    /// The request's body doesn't decode.
    MarshallingError = -5,
    /// The operation isn't known, or not offered by this server.
    Unimplemented = -6,
    /// A path, flag or value out of its range.
    BadArguments = -8,
    /// No node of that path.
    NoNode = -101,
    /// The connection's identities don't permit it.
    NoAuth = -102,
    /// The expected version isn't the node's.
    BadVersion = -103,
    /// An ephemeral node can't have children.
    NoChildrenForEphemerals = -108,
    /// The node exists.
    NodeExists = -110,
    /// The node has children.
    NotEmpty = -111,
    /// The session is closing or gone.
    SessionExpired = -112,
    /// An ACL that is empty, or names an unknown scheme or an invalid id.
    InvalidAcl = -114,
    /// Authentication failed; the connection is closed.
    AuthFailed = -115,
    /// The session is served by another connection now.
    SessionMoved = -118,
    /// A write on a server that only reads.
    NotReadOnly = -119,
    /// An ephemeral node on a session that isn't replicated.
    EphemeralOnLocalSession = -120,
    /// No such watch.
    NoWatcher = -121,
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123,
    /// The server wants SASL first.
    SessionClosedRequireSaslAuth = -124,
    /// A hard quota would be exceeded.
    QuotaExceeded = -125,
    /// The request waited too long in the throttle.
    ThrottledOp = -127,
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i32 {
        self as i32
    }
}
